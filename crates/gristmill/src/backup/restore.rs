//! The way back: a backup onto an empty machine.
//!
//! 1. The whole backup is read and every digest compared. Nothing was changed until here.
//! 2. Its blobs are stored. Broken off here, it begins again; what is stored is stored.
//! 3. Its rows are brought, in one transaction, which also notes that the restore is not over.
//! 4. Every key is made, read, and compared with the rows. Then the note goes. While it stands no server starts.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use gristmill_db::{Db, Tx, dump};
use gristmill_model::Digest;
use gristmill_storage::{Storage, StorageError};
use serde::Serialize;
use tokio::runtime::Handle;

use super::blobs::{Ahead, PIECE_BYTES, absent, put, refuse_missing};
use super::export::rows_of;
use super::load::{self, State};
use super::progress::Progress;
use super::public::{KeysSummary, make_all};
use super::verify::{BlobInput, Verified, verify};
use super::{Place, open_storage};
use crate::app::{DataLock, lock_data};
use crate::config::{Config, Surroundings};
use crate::seal::{self, Keyring};
use crate::{database, fail, keys};

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreSummary {
    /// When the rows were so.
    pub created: String,
    /// The SHA-256 of what the rows are.
    pub content: Digest,
    /// Rows of all tables.
    pub rows: u64,
    /// Rows of `run`.
    pub runs: u64,
    /// Rows of `delivery`.
    pub deliveries: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Blobs that the backup says were missing when it was made.
    pub missing: u64,
    /// What became of the public keys.
    pub keys: KeysSummary,
    /// What somebody still has to do.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Refuses a database whose restore was interrupted.
pub fn refuse_unfinished(tx: &mut Tx<'_>) -> anyhow::Result<()> {
    if let Some(id) = dump::unfinished(tx)? {
        bail!(
            "a restore into this database was interrupted: its rows are there, its public keys are not all verified. Begin it again with the same backup, whose content is {id}: gristmill restore FILE"
        );
    }
    Ok(())
}

/// Restores a backup. Blocks; not for threads of the async runtime.
///
/// # Errors
/// Where the backup is not whole, the database is not empty, a server runs, or a key cannot be verified.
pub fn restore(
    config: &Config,
    around: &Surroundings,
    handle: &Handle,
    from: &Path,
    progress: &mut Progress,
) -> anyhow::Result<RestoreSummary> {
    let began = Instant::now();
    let backup = Arc::new(verify(from, progress)?);
    let _lock = lock(config)?;
    let db = open_for(config, around, &backup)?;
    let place = Place { db, storage: open_storage(config, handle)?, handle: handle.clone() };
    if backup.header.blobs {
        store_blobs(&place, &backup, progress)?;
    }
    fail::point("restore.stored");
    bring(&place, &backup, progress)?;
    fail::point("restore.brought");
    let mut warnings = Vec::new();
    if let Some(key) = &backup.key {
        warnings.extend(put_key_back(config, around, key)?);
    }
    let keys = finish(place, config, around, &backup.manifest.missing, progress)?;
    warnings.extend(lost_keys(config, around, handle)?);
    Ok(summary(&backup, keys, warnings, began))
}

fn summary(backup: &Verified, keys: KeysSummary, warnings: Vec<String>, began: Instant) -> RestoreSummary {
    RestoreSummary {
        created: backup.header.created.clone(),
        content: backup.id,
        rows: backup.manifest.tables.iter().map(|table| table.rows).sum(),
        runs: rows_of(&backup.manifest, "run"),
        deliveries: rows_of(&backup.manifest, "delivery"),
        blobs: backup.manifest.blobs.count,
        blob_bytes: backup.manifest.blobs.bytes,
        missing: backup.manifest.missing.len() as u64,
        keys,
        warnings,
        seconds: began.elapsed().as_secs_f64(),
    }
}

/// Takes the data folder: no server may run on it.
pub(super) fn lock(config: &Config) -> anyhow::Result<DataLock> {
    lock_data(&config.data_dir)?
        .with_context(|| format!("a server works on {}; stop it first", config.data_dir.display()))
}

/// Opens the database with the schema of the backup's rows, and sees whether they can be brought there.
pub(super) fn open_for(config: &Config, around: &Surroundings, backup: &Verified) -> anyhow::Result<Db> {
    let db = database::open_at(config, &*around.env, backup.header.schema)?;
    let id = backup.id.to_string();
    let state = read(&db, |tx| load::examine(tx, &backup.header, &id))?;
    if state == State::Brought {
        tracing::info!("a restore from this backup was interrupted; it goes on");
    }
    Ok(db)
}

/// Reads with errors of our own.
pub(crate) fn read<T>(db: &Db, work: impl Fn(&mut Tx<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let result = std::cell::RefCell::new(None);
    db.read_blocking(|tx| {
        result.replace(Some(work(tx)));
        Ok(())
    })?;
    result.into_inner().expect("the closure ran")
}

/// Stores the blobs of a backup, small ones several at once.
fn store_blobs(place: &Place, backup: &Verified, progress: &mut Progress) -> anyhow::Result<()> {
    let all = backup.manifest.blobs.count;
    let mut ahead = Ahead::new(&place.handle);
    let mut done = 0;
    let mut stored = |ahead: &mut Ahead<anyhow::Result<_>>| -> anyhow::Result<bool> {
        let Some(outcome) = ahead.next()? else { return Ok(false) };
        outcome?;
        done += 1;
        progress.at("blobs stored", done, Some(all));
        Ok(true)
    };
    backup.blobs(|digest, size, input| {
        if size > PIECE_BYTES {
            while stored(&mut ahead)? {}
            return store_large(&place.handle, &place.storage, digest, input);
        }
        if !ahead.has_room() {
            stored(&mut ahead)?;
        }
        ahead.begin(put(place.storage.clone(), digest, input.whole()?));
        Ok(())
    })?;
    while stored(&mut ahead)? {}
    progress.over(&format!("{all} blobs stored"));
    Ok(())
}

fn store_large(
    handle: &Handle,
    storage: &Storage,
    digest: Digest,
    input: &mut BlobInput<'_>,
) -> anyhow::Result<()> {
    let mut staged = handle.block_on(storage.stage())?;
    input.pieces(|piece| {
        Ok(staged.write_all(piece).map_err(|error| StorageError::from_io("writing a blob", error))?)
    })?;
    let stored = handle.block_on(staged.commit())?;
    ensure!(stored.digest == digest, "the backup was changed while it was read");
    Ok(())
}

/// Brings the rows, unless the blobs they need are not there.
pub(super) fn bring(place: &Place, backup: &Arc<Verified>, progress: &mut Progress) -> anyhow::Result<()> {
    let needed: Vec<Digest> = backup.needed()?.into_iter().collect();
    let gone = absent(&place.storage, &place.handle, &needed)?;
    refuse_missing(&gone, "bring the bucket's `blobs/` back first; the database was not changed")?;
    load::load(&place.db, backup)?;
    progress.over("the rows are there");
    Ok(())
}

/// Makes and verifies all keys and ends the restore.
pub(super) fn finish(
    place: Place,
    config: &Config,
    around: &Surroundings,
    missing: &[Digest],
    progress: &mut Progress,
) -> anyhow::Result<KeysSummary> {
    let Place { db, storage, handle } = place;
    drop(db);
    // With the newest schema from here on.
    let db = database::open(config, &*around.env)?;
    let keys = make_all(&db, &storage, &handle, missing, progress)?;
    if keys.wrong > 0 {
        let named: Vec<String> = keys.named.iter().map(|(key, what)| format!("`{key}`: {what}")).collect();
        bail!(
            "{} public keys do not show what they should; mend what is named and begin the restore again: {}",
            keys.wrong,
            named.join("; ")
        );
    }
    if let Some(first) = db.read_blocking(gristmill_db::verify::rows)?.first() {
        bail!("rows of the backup are damaged ({first}); take an earlier one");
    }
    db.transact_blocking(dump::finished)?;
    Ok(keys)
}

/// Puts the server's key of a backup where the configuration wants it; what to do where that is not for us to write.
fn put_key_back(config: &Config, around: &Surroundings, key: &[u8]) -> anyhow::Result<Option<String>> {
    if config.server.key.is_empty() {
        seal::put_back(config, key)?;
        let now = seal::texts(config, &*around.env)?;
        let is_same = key.starts_with(&now);
        return Ok((!is_same).then(|| {
            "the data folder has a server key already, and not the backup's: it stays as it is".to_owned()
        }));
    }
    let now = seal::texts(config, &*around.env)?;
    let is_same = key.split(|byte| *byte == b'\n').next() == now.split(|byte| *byte == b'\n').next();
    Ok((!is_same).then(|| {
        "the backup holds another server key than `server.key` names; take it out of the backup by hand (tar) and name it there".to_owned()
    }))
}

/// What the server's keys that are here do not open.
pub(super) fn lost_keys(
    config: &Config,
    around: &Surroundings,
    handle: &Handle,
) -> anyhow::Result<Option<String>> {
    let db = database::open(config, &*around.env)?;
    let keyring = Keyring::open(config, &*around.env).ok().flatten();
    let sealed = db.read_blocking(|tx| Ok(!gristmill_db::deploy_key::sealed(tx, "", 1)?.is_empty()))?;
    if keyring.is_none() && sealed {
        return Ok(Some(format!(
            "the ssh keys of projects are sealed with the server's key, which is not here; put it back as {} before the server is started",
            seal::default_file(config).display()
        )));
    }
    Ok(handle.block_on(keys::lost(&db, config, keyring.as_ref()))?)
}
