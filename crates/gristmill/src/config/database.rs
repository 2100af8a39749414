//! `[database]`.

use std::path::Path;

use gristmill_db::PostgresUrl;

use super::reader::{Field, Section};
use super::server::{clean_join, path};
use super::{DatabaseUrl, PostgresAt, Surroundings, secret};

const EXPECTED: &str = "a URL, such as \"sqlite:./gristmill-data/gristmill.db\" or \"postgres://gristmill@db.example.org/gristmill\"";

/// Reads the table; what is wrong with it leaves the default in place.
pub(super) fn read(
    mut section: Section<'_>,
    folder: &Path,
    around: &Surroundings,
    database: &mut DatabaseUrl,
) {
    let url = section.get("url").and_then(|field| url(&field, folder));
    let (password, ca) = (section.get("password"), section.get("ca"));
    match url {
        Some(DatabaseUrl::Postgres(mut at)) => {
            if let Some(field) = password {
                at.password = secret::read_source(&field, folder);
                if let Some(source) = at.password.as_ref().filter(|_| around.needs_secrets) {
                    secret::check(&field, source, &*around.env);
                }
            }
            at.ca = ca.and_then(|field| path(&field)).map(|path| clean_join(folder, &path));
            *database = DatabaseUrl::Postgres(at);
        }
        other => {
            for (name, field) in [("password", password), ("ca", ca)] {
                if let Some(field) = field {
                    field.error(format!("`{name}` is for PostgreSQL; a file of SQLite has none"));
                }
            }
            if let Some(url) = other {
                *database = url;
            }
        }
    }
    section.finish();
}

fn url(field: &Field<'_>, folder: &Path) -> Option<DatabaseUrl> {
    let text = field.text(EXPECTED)?;
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        return postgres(field, text);
    }
    field.text_as(EXPECTED, |text| {
        let path = text.strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let good = !path.is_empty() && !path.ends_with('/') && !path.contains([':', '?', '\0']);
        good.then(|| DatabaseUrl::Sqlite(clean_join(folder, Path::new(path))))
    })
}

fn postgres(field: &Field<'_>, text: &str) -> Option<DatabaseUrl> {
    match text.parse::<PostgresUrl>() {
        // What may hold a password is not repeated.
        Ok(url) if url.has_password() => {
            field.error("the database's password stands in its URL; put it into a file that only the server can read, or into its environment, and write password = { file = \"path\" } or { env = \"NAME\" }");
            None
        }
        Ok(_) => Some(DatabaseUrl::Postgres(PostgresAt { url: text.to_owned(), password: None, ca: None })),
        Err(error) => {
            field.error(error.to_string());
            None
        }
    }
}
