use std::path::PathBuf;

use gristmill_model::ProjectName;

use super::*;
use crate::config::{Config, Surroundings};

const OLD: &str = "https://github.com/acme/shop.git";
const NEW: &str = "https://gitlab.com/acme/shop.git";
const OLD_SSH: &str = "git@github.com:acme/shop.git";
const NEW_SSH: &str = "git@gitlab.com:acme/shop.git";

/// A program whose project lies there and has this line besides.
async fn program(folder: &std::path::Path, git: &str, line: &str) -> App {
    let file = folder.join("gristmill.toml");
    let text = format!(
        "data_dir = \"data\"\n[[project]]\nname = \"acme/shop\"\ngit = \"{git}\"\nforge = \"generic\"\n{line}\n[[project.pipeline]]\nkind = \"archive\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let env = |name: &str| match name {
        "TOKEN" => Some("t".to_owned()),
        "PATH" => Some("/usr/local/bin:/usr/bin:/bin".to_owned()),
        _ => None,
    };
    let around = Surroundings::new(PathBuf::from(folder), env);
    App::open(Config::load(Some(&file), &around).unwrap(), &around).await.unwrap()
}

/// The settings of the project, had it this address; with `imported`, they are the newest.
async fn spec(app: &App, git: &str, imported: bool) -> (ProjectId, ProjectSpec) {
    let name: ProjectName = "acme/shop".parse().unwrap();
    let found = app.db.read(move |tx| project::by_name(tx, &name)).await.unwrap().unwrap();
    let spec = ProjectSpec { git: git.to_owned(), ..found.spec };
    if imported {
        let specs = [spec.clone()];
        app.db.transact(move |tx| project::import(tx, &specs, &[])).await.unwrap();
    }
    (found.id, spec)
}

/// What comes of it where a project with `line` lies at `configured`, and is asked for at `asked`.
async fn reached(configured: &str, line: &str, asked: &str, imported: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let app = program(folder.path(), configured, line).await;
    let (id, spec) = spec(&app, asked, imported).await;
    match app.remote(id, &spec).await {
        Ok(remote) => format!("token {}, key {}", remote.credentials.is_some(), remote.ssh.is_some()),
        Err(error @ ReachError::Elsewhere { .. }) => format!("again {}", error.is_transient()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_lets_us_in_is_for_the_server_it_was_configured_for() {
    let token = "token = { env = \"TOKEN\" }";
    let helper = "credential_helper = [\"/bin/false\"]";
    for (configured, line, asked, imported, expected) in [
        (OLD, token, OLD, false, "token true, key false"),
        (OLD, token, "https://GitHub.com:443/other/name.git", false, "token true, key false"),
        // A run of settings that were replaced.
        (NEW, token, OLD, false, "again false"),
        (NEW, helper, OLD, false, "again false"),
        (NEW, token, OLD_SSH, false, "again false"),
        (NEW_SSH, "", OLD_SSH, false, "again false"),
        // The new settings are imported and not in force yet.
        (OLD, token, NEW, true, "again true"),
        (OLD, helper, NEW, true, "again true"),
        (OLD_SSH, "", NEW_SSH, true, "again true"),
        (OLD_SSH, "", OLD_SSH, false, "token false, key true"),
        // There is nothing to show.
        (NEW, "", OLD, false, "token false, key false"),
        (NEW_SSH, "", OLD, false, "token false, key false"),
    ] {
        let found = reached(configured, line, asked, imported).await;
        assert_eq!(found, expected, "{configured} {line} {asked} {imported}");
    }
}

#[tokio::test]
async fn the_key_of_a_disabled_project_is_for_where_it_was_last() {
    for (asked, expected) in [(OLD_SSH, "token false, key true"), (NEW_SSH, "again false")] {
        let folder = tempfile::tempdir().unwrap();
        let app = program(folder.path(), OLD_SSH, "").await;
        let (id, spec) = spec(&app, asked, false).await;
        drop(app);
        let app = program(folder.path(), OLD_SSH, "enabled = false").await;
        let found = match app.remote(id, &spec).await {
            Ok(remote) => format!("token false, key {}", remote.ssh.is_some()),
            Err(error) => format!("again {}", error.is_transient()),
        };
        assert_eq!(found, expected, "{asked}");
    }
}
