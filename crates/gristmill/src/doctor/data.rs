//! The data: folder, database, storage, and who works on them.

use std::path::{Path, PathBuf};

use gristmill_db::clock::{self, Seen};
use gristmill_model::Timestamp;
use gristmill_storage::{
    BucketCapabilities, Capabilities, Finding, FolderCapabilities, Opening, Storage, StorageError, StorageUrl,
};

use super::{Check, CheckState};
use crate::app::lock_data;
use crate::backup;
use crate::clock::rfc3339;
use crate::config::{Config, DatabaseUrl, Surroundings};
use crate::database;

/// With less room than this the next archive may not fit.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// With less room than this not even the database can go on.
const FREE_BYTES_NONE: u64 = 32 << 20;
/// The most findings of the storage that are told.
const FINDINGS_MAX: usize = 20;

/// Whether a server works on the data.
pub(super) fn server(config: &Config) -> Check {
    let name = "server";
    // Asking for the lock would make the folder.
    if !config.data_dir.is_dir() {
        return Check::ok(name, "not running");
    }
    match lock_data(&config.data_dir) {
        Ok(None) => Check::ok(name, format!("running on {}", config.server.listen)),
        Ok(Some(_)) => Check::ok(name, "not running; start it with `gristmill serve`"),
        Err(error) => Check::error(name, format!("{error:#}"), "run as the user that owns the data folder"),
    }
}

/// Whether the data folder can be written, and how much room it has.
pub(super) fn folder(config: &Config) -> Vec<Check> {
    let name = "data folder";
    let folder = &config.data_dir;
    let shown = folder.display();
    if !folder.exists() {
        let above = nearest_existing(folder);
        let text = format!("{shown} is not there yet; the first start makes it");
        return vec![writable(name, &above, text), room(name, &above)];
    }
    vec![writable(name, folder, format!("{shown} can be written")), room(name, folder)]
}

fn nearest_existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Tries with a file without a name, which is gone whatever happens.
fn writable(name: &str, folder: &Path, text: String) -> Check {
    match tempfile::tempfile_in(folder) {
        Ok(_) => Check::ok(name, text),
        Err(error) => Check::error(
            name,
            format!("{} cannot be written: {error}", folder.display()),
            "make it writable for the user that runs gristmill, or choose another data_dir",
        ),
    }
}

fn room(name: &str, folder: &Path) -> Check {
    match rustix::fs::statvfs(folder) {
        Ok(stat) => judge_room(name, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Check::warning(name, format!("how much room is left cannot be learnt: {error}"), ""),
    }
}

fn judge_room(name: &str, bytes: u64) -> Check {
    let text = format!("{} MiB are free", bytes >> 20);
    match bytes {
        0..FREE_BYTES_NONE => Check::error(name, text, "free some space: nothing can be accepted without"),
        FREE_BYTES_NONE..FREE_BYTES_LOW => {
            Check::warning(name, text, "free some space, or let pipelines `keep` less")
        }
        _ => Check::ok(name, text),
    }
}

/// Whether the database opens and is whole.
pub(super) async fn database(config: &Config, around: &Surroundings) -> Vec<Check> {
    let name = "database";
    let shown = database::shown(config);
    if database::is_missing(config) {
        return vec![Check::ok(name, format!("{shown} is not there yet; the first start makes it"))];
    }
    let remedy = match &config.database {
        DatabaseUrl::Sqlite(_) => "stop the server and restore the database from a backup; check the disk",
        DatabaseUrl::Postgres(_) => "change the server's settings",
    };
    let (config, env) = (config.clone(), around.env.clone());
    let checked = tokio::task::spawn_blocking(move || {
        let db = database::open_existing(&config, &*env)?;
        backup::read(&db, backup::refuse_unfinished)?;
        let clock = db.read_blocking(|tx| Ok((clock::read(tx)?, tx.now())))?;
        anyhow::Ok((db.check()?, clock, db.advice()?))
    });
    let (faults, clock, advice) = match checked.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return vec![Check::error(name, format!("{error:#}"), "")],
        Err(error) => {
            return vec![Check::error(name, format!("{shown}: the check ended badly: {error}"), "")];
        }
    };
    let whole = if faults.is_empty() {
        Check::ok(name, format!("{shown} is whole"))
    } else {
        Check::error(name, format!("{shown} is not sound: {}", faults.join("; ")), remedy)
    };
    let advice = advice.into_iter().map(|text| {
        Check::warning(
            name,
            text,
            "pg_checksums --enable, with the server stopped, or initdb --data-checksums",
        )
    });
    [whole, judge_clock(clock.0, clock.1)].into_iter().chain(advice).collect()
}

fn judge_clock(seen: Seen, now: Timestamp) -> Check {
    let remedy = "set the clock right, best by the network, before anything is deleted by its age";
    match clock_fault(seen, now) {
        Some(fault) => Check::warning("clock", fault, remedy),
        None => Check::ok("clock", format!("it is {}", rfc3339(now))),
    }
}

/// What is strange about the clock, in view of what the database has seen of it.
pub fn clock_fault(seen: Seen, now: Timestamp) -> Option<String> {
    let shown = rfc3339(now);
    if seen.behind(now).is_some() {
        return Some(format!("it is {shown}, and {} was seen before", rfc3339(seen.newest)));
    }
    let until = rfc3339(seen.spares(now)?);
    Some(format!(
        "it is {shown}; it went ahead, or nobody was here for long: the server deletes nothing by its age before {until}"
    ))
}

/// What the storage can do, and whether all in it is as it should be.
pub(super) async fn storage(config: &Config, deep: bool) -> Vec<Check> {
    let name = "storage";
    let url = config.storage.as_str();
    let parsed: StorageUrl = match url.parse() {
        Ok(parsed) => parsed,
        Err(error) => return vec![Check::error(name, format!("{error}"), "")],
    };
    let room_in = match &parsed {
        StorageUrl::File(root) if !root.exists() => {
            return vec![Check::ok(name, format!("{url} is not there yet; the first start makes it"))];
        }
        StorageUrl::File(root) => root.clone(),
        StorageUrl::S3 { .. } => config.s3.cache.clone(),
    };
    let storage = match Storage::open(&parsed, &config.s3, Opening::Anew).await {
        Ok(storage) => storage,
        Err(error) => return vec![Check::error(name, format!("{url}: {error}"), remedy(&error))],
    };
    let mut checks = vec![capabilities(name, url, storage.capabilities()), room(name, &room_in)];
    checks.extend(verify(name, &storage, deep).await);
    checks
}

/// What is not said by the error itself.
fn remedy(error: &StorageError) -> &'static str {
    match error {
        StorageError::Bucket { .. } | StorageError::Server { .. } => {
            "docs/storage.md says how a bucket is reached, and which rights are needed"
        }
        _ => "",
    }
}

fn capabilities(name: &str, url: &str, capabilities: Capabilities) -> Check {
    let text = format!("{url}: {capabilities}");
    match capabilities {
        Capabilities::Folder(FolderCapabilities { folder_sync: true, hard_links: true, .. }) => {
            Check::ok(name, text)
        }
        Capabilities::Folder(_) => {
            Check::warning(name, text, "a local Linux file system (ext4, xfs, btrfs) can do all of it")
        }
        Capabilities::Bucket(BucketCapabilities { versions: false, .. }) => {
            let remedy = "turn versioning on for the bucket: without, what is replaced or withdrawn is gone";
            Check::warning(name, text, remedy)
        }
        Capabilities::Bucket(_) => Check::ok(name, text),
    }
}

async fn verify(name: &str, storage: &Storage, deep: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    let verified = storage.verify(deep, |finding| {
        if checks.len() < FINDINGS_MAX {
            checks.push(Check::bad(name, severity(&finding), finding.to_string(), ""));
        }
    });
    match verified.await {
        Ok(checked) => {
            let found = checked.findings;
            let how = if deep { "read and compared" } else { "looked at" };
            let text = format!(
                "{} blobs with {} bytes, {} keys with {} versions {how}; {found} findings",
                checked.blobs, checked.bytes, checked.keys, checked.versions
            );
            checks.insert(0, Check::ok(name, text));
        }
        Err(error) => checks.push(Check::error(name, format!("{error}"), "")),
    }
    checks
}

/// What somebody else put there harms nobody.
fn severity(finding: &Finding) -> CheckState {
    match finding {
        Finding::StrayBlob { .. } | Finding::StrayPublic { .. } => CheckState::Warning,
        _ => CheckState::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_what_comes_next() {
        for (bytes, state) in [
            (0, CheckState::Error),
            ((32 << 20) - 1, CheckState::Error),
            (32 << 20, CheckState::Warning),
            ((1 << 30) - 1, CheckState::Warning),
            (1 << 30, CheckState::Ok),
        ] {
            assert_eq!(judge_room("x", bytes).state, state, "{bytes}");
        }
        assert_eq!(judge_room("x", (1 << 30) + 5).text, "1024 MiB are free");
    }

    #[test]
    fn a_folder_that_is_not_there_is_looked_for_further_up() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&dir.path().join("a/b")), dir.path());
        assert_eq!(nearest_existing(dir.path()), dir.path());
    }

    #[test]
    fn file_systems_that_can_do_less_are_told_of() {
        let all = FolderCapabilities {
            hard_links: true,
            case_folding: false,
            public_elsewhere: false,
            modes: true,
            folder_sync: true,
            name_bytes_max: 255,
        };
        assert_eq!(capabilities("x", "file:/x", Capabilities::Folder(all)).state, CheckState::Ok);
        let no_links = FolderCapabilities { hard_links: false, ..all };
        assert_eq!(capabilities("x", "file:/x", Capabilities::Folder(no_links)).state, CheckState::Warning);
        let no_sync = FolderCapabilities { folder_sync: false, ..all };
        assert_eq!(capabilities("x", "file:/x", Capabilities::Folder(no_sync)).state, CheckState::Warning);
        let bucket = BucketCapabilities { versions: true, ..BucketCapabilities::default() };
        assert_eq!(capabilities("x", "s3://x", Capabilities::Bucket(bucket)).state, CheckState::Ok);
        let plain = capabilities("x", "s3://x", Capabilities::Bucket(BucketCapabilities::default()));
        assert_eq!(plain.state, CheckState::Warning);
    }
}
