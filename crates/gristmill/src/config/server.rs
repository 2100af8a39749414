//! What is not about a project: `[server]`, `[database]`, `[storage]`, `[worker]`, `[network]`, `data_dir`.

use std::path::{Path, PathBuf};

use gristmill_storage::S3Settings;

use super::database;
use super::network::{self, Network, networks};
use super::reader::{Field, Section};
use super::secret::{self, SecretSource};
use super::{DatabaseUrl, Server, StorageUrl, Surroundings, Worker, storage, units, url};
use crate::seal;

/// More than a rotation's two are a mistake.
const KEYS_MAX: usize = 4;

const MIB: u64 = 1024 * 1024;

/// The settings of the main file.
pub(super) struct Settings {
    pub(super) server: Server,
    pub(super) data_dir: PathBuf,
    pub(super) database: DatabaseUrl,
    pub(super) storage: StorageUrl,
    pub(super) s3: S3Settings,
    pub(super) worker: Worker,
    pub(super) network: Network,
}

impl Settings {
    pub(super) fn default_in(folder: &Path, cores: usize) -> Settings {
        Settings::with_data(folder.join("gristmill-data"), cores)
    }

    fn with_data(data_dir: PathBuf, cores: usize) -> Settings {
        Settings {
            server: Server {
                listen: "127.0.0.1:8484".to_owned(),
                public_url: None,
                anonymous_read: true,
                trusted_proxies: Vec::new(),
                key: Vec::new(),
                body_bytes_max: 25 * MIB, // the most that GitHub sends
                bodies_in_flight_bytes_max: 64 * MIB,
                history_keep_days: 90,
            },
            database: DatabaseUrl::Sqlite(data_dir.join("gristmill.db")),
            storage: StorageUrl(format!("file:{}", data_dir.join("storage").display())),
            s3: S3Settings::new(data_dir.join("cache")),
            worker: Worker {
                // Jobs wait for the network and the disk about as long as they compute.
                jobs_max: (2 * cores).clamp(6, 64),
                git: PathBuf::from("git"),
                git_timeout_seconds: 3600,
                repository_bytes_max: 20 * 1024 * MIB,
                archive_bytes_max: 10 * 1024 * MIB,
            },
            network: Network::default(),
            data_dir,
        }
    }
}

/// Reads all tables but the projects.
pub(super) fn read(top: &mut Section<'_>, folder: &Path, around: &Surroundings) -> Settings {
    let cores = around.cores;
    let data_dir = top.get("data_dir").and_then(|field| path(&field)).map(|path| clean_join(folder, &path));
    let mut settings = match data_dir {
        Some(data_dir) => Settings::with_data(data_dir, cores),
        None => Settings::default_in(folder, cores),
    };
    if let Some(section) = section(top, "server", "[server]") {
        read_server(section, folder, around, &mut settings.server);
    }
    if let Some(section) = section(top, "database", "[database]") {
        database::read(section, folder, around, &mut settings.database);
    }
    if let Some(section) = section(top, "storage", "[storage]") {
        storage::read(section, folder, &mut settings.storage, &mut settings.s3);
    }
    if let Some(section) = section(top, "worker", "[worker]") {
        read_worker(section, folder, &mut settings.worker);
    }
    if let Some(section) = section(top, "network", "[network]") {
        settings.network = network::read(section, folder, around);
    }
    settings
}

fn section<'a>(top: &mut Section<'a>, key: &'static str, title: &'static str) -> Option<Section<'a>> {
    top.get(key)?.section(title, &format!("a table that begins with {title}"))
}

/// Puts the value in its place, where there is one that is right.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn read_server(mut section: Section<'_>, folder: &Path, around: &Surroundings, server: &mut Server) {
    let listen = section.get("listen").and_then(|field| {
        field.text_as("a host and a port, such as \"127.0.0.1:8484\"", |text| {
            listen_host(text).map(|_| text.to_owned())
        })
    });
    set(&mut server.listen, listen);
    server.public_url = section.get("public_url").and_then(|field| {
        let text = field.text("a URL, such as \"https://mill.example.org\"")?;
        url::public_url(text).map_err(|fault| field.error(format!("`public_url`: {fault}"))).ok()
    });
    server.anonymous_read =
        listen_host(&server.listen).is_some_and(url::is_loopback) && server.public_url.is_none();
    set(&mut server.anonymous_read, section.get("anonymous_read").and_then(|field| field.bool()));
    set(&mut server.trusted_proxies, section.get("trusted_proxies").and_then(|field| networks(&field)));
    set(&mut server.body_bytes_max, section.get("body_max").and_then(|field| size(&field, 1024, "25MiB")));
    let in_flight = section.get("bodies_in_flight_max").and_then(|field| {
        let bytes = size(&field, 1024, "64MiB")?;
        if bytes < server.body_bytes_max {
            field.error(
                "`bodies_in_flight_max` is less than `body_max`, so the largest body could never be taken",
            );
            return None;
        }
        Some(bytes)
    });
    server.bodies_in_flight_bytes_max =
        in_flight.unwrap_or(server.bodies_in_flight_bytes_max.max(server.body_bytes_max));
    let keep = section.get("history_keep_days").and_then(|field| field.integer(30..=36_500));
    set(&mut server.history_keep_days, keep);
    let key = section.get("key").and_then(|field| read_keys(&field, folder, around));
    set(&mut server.key, key);
    section.finish();
}

/// The server's key, or several of them: the first seals, each opens.
fn read_keys(field: &Field<'_>, folder: &Path, around: &Surroundings) -> Option<Vec<SecretSource>> {
    let fields = if field.is_list() { field.list("keys")? } else { vec![field.clone()] };
    if fields.is_empty() || fields.len() > KEYS_MAX {
        field.error(format!(
            "`key` lists {} keys; expected 1 to {KEYS_MAX} (to have one made in the data folder, leave it out)",
            fields.len()
        ));
        return None;
    }
    let mut keys = Vec::with_capacity(fields.len());
    for field in &fields {
        let source = secret::read_source(field, folder)?;
        if around.needs_secrets {
            secret::check(field, &source, &*around.env);
            if let Err(error @ seal::SealError::Format(_)) = seal::check(&source, &*around.env) {
                field.error(error.to_string());
            }
        }
        keys.push(source);
    }
    Some(keys)
}

/// The host of `host:port`.
fn listen_host(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|_| port.bytes().all(|c| c.is_ascii_digit()))?;
    if let Some(host) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return host.parse::<std::net::Ipv6Addr>().ok().map(|_| host);
    }
    let good = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    (!host.is_empty() && host.chars().all(good)).then_some(host)
}

fn read_worker(mut section: Section<'_>, folder: &Path, worker: &mut Worker) {
    let jobs_max = section.get("jobs_max").and_then(|field| field.integer(1..=1000));
    set(&mut worker.jobs_max, jobs_max.and_then(|jobs| usize::try_from(jobs).ok()));
    if let Some(git) = section.get("git").and_then(|field| path(&field)) {
        // A bare name is looked for in PATH; anything with a slash is a path.
        worker.git = if git.components().count() == 1 { git } else { clean_join(folder, &git) };
    }
    let timeout = section.get("git_timeout").and_then(|field| duration(&field, 1, 86_400, "10m"));
    set(&mut worker.git_timeout_seconds, timeout);
    let repository = section.get("repository_max").and_then(|field| size(&field, MIB, "20GiB"));
    set(&mut worker.repository_bytes_max, repository);
    let archive = section.get("archive_max").and_then(|field| size(&field, MIB, "10GiB"));
    set(&mut worker.archive_bytes_max, archive);
    section.finish();
}

/// A size, in bytes.
pub(super) fn size(field: &Field<'_>, min: u64, example: &str) -> Option<u64> {
    let expected = format!("a size of {min} bytes or more, such as \"{example}\" (KiB, MiB, GiB, TiB)");
    field.text_as(&expected, |text| units::bytes(text).filter(|bytes| *bytes >= min))
}

/// A duration within bounds, in seconds.
pub(super) fn duration(field: &Field<'_>, min: i64, max: i64, example: &str) -> Option<i64> {
    let expected = format!("a duration from {min} to {max} seconds, such as \"{example}\" (s, m, h, d)");
    field.text_as(&expected, |text| units::seconds(text).filter(|seconds| (min..=max).contains(seconds)))
}

pub(super) fn path(field: &Field<'_>) -> Option<PathBuf> {
    field.text_as("a path", |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)))
}

/// Joins without the `./` that people write before relative paths.
pub(super) fn clean_join(folder: &Path, path: &Path) -> PathBuf {
    folder.join(path.strip_prefix(".").unwrap_or(path))
}
