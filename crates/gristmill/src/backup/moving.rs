//! From one installation to another, whatever their databases and storages: the rows through a file of a moment, the
//! blobs from storage to storage.

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use gristmill_db::boot;
use gristmill_model::Digest;
use gristmill_storage::Storage;
use serde::Serialize;
use tokio::runtime::Handle;

use super::blobs::{Ahead, Hold, copy, refuse_missing};
use super::container::Writer;
use super::export::{end, rows_of, snapshot};
use super::progress::Progress;
use super::public::KeysSummary;
use super::restore::{bring, finish, lock, lost_keys, open_for};
use super::verify::verify;
use super::{Place, open_storage};
use crate::config::{Config, Surroundings};
use crate::{database, folders, seal};

/// What was moved.
#[derive(Clone, Debug, Serialize)]
pub struct MoveSummary {
    /// Rows of all tables.
    pub rows: u64,
    /// Rows of `run`.
    pub runs: u64,
    /// Rows of `delivery`.
    pub deliveries: u64,
    /// Blobs that were copied.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// What became of the public keys.
    pub keys: KeysSummary,
    /// What somebody still has to do.
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Moves everything to where another configuration says. What is there stays as it is. Blocks.
///
/// # Errors
/// Where a server runs on either side, the other database is not empty, or anything is missing.
pub fn move_to(
    config: &Config,
    target: &Config,
    around: &Surroundings,
    handle: &Handle,
    progress: &mut Progress,
) -> anyhow::Result<MoveSummary> {
    let began = Instant::now();
    ensure!(
        database::shown(config) != database::shown(target),
        "both configurations name the database {}; the other one must name a new one",
        database::shown(config)
    );
    let _lock = lock(config)?;
    let _other = if same_folder(&config.data_dir, &target.data_dir) { None } else { Some(lock(target)?) };
    let from = Place {
        db: database::open_existing(config, &*around.env)?,
        storage: open_storage(config, handle)?,
        handle: handle.clone(),
    };
    let up = from.db.read_blocking(boot::up)?;
    ensure!(
        up.is_empty(),
        "stop the other programs on the database {} first: what they accept from now on would be missing there: {}",
        database::shown(config),
        up.iter()
            .map(|boot| format!("{} at {}", boot.kind.as_str(), boot.place))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let hold = Hold::take(&from.db)?;
    folders::make_data(&target.data_dir)?;
    let folder = tempfile::tempdir_in(&target.data_dir).context("no folder for the rows can be made")?;
    let path = folder.path().join("rows.tar");
    let needed = write_rows(&from, &path, progress)?;
    let backup = Arc::new(verify(&path, progress)?);
    let db = open_for(target, around, &backup)?;
    let to = Place { db, storage: open_storage(target, handle)?, handle: handle.clone() };
    let (mut blobs, mut blob_bytes) = (0, 0);
    if config.storage.as_str() != target.storage.as_str() {
        (blobs, blob_bytes) = copy_blobs(&from, &to.storage, &needed, progress)?;
    }
    hold.prove()?;
    bring(&to, &backup, progress)?;
    let key = move_key(config, target, around)?;
    let keys = finish(to, target, around, &[], progress)?;
    let mut warnings: Vec<String> = key.into_iter().collect();
    warnings.extend(lost_keys(target, around, handle)?);
    Ok(MoveSummary {
        rows: backup.manifest.tables.iter().map(|table| table.rows).sum(),
        runs: rows_of(&backup.manifest, "run"),
        deliveries: rows_of(&backup.manifest, "delivery"),
        blobs,
        blob_bytes,
        keys,
        warnings,
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn same_folder(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// A backup of the rows alone; the blobs that they refer to.
fn write_rows(from: &Place, path: &Path, progress: &mut Progress) -> anyhow::Result<Vec<Digest>> {
    let file = folders::open_private(path)?;
    let taken = snapshot(&from.db, &file, false, progress)?;
    let mut out = Writer::new(BufWriter::with_capacity(1 << 20, &file));
    let (manifest, needed) = taken.manifest(&mut out, None)?;
    end(out, &manifest)?;
    Ok(needed)
}

/// Copies blobs, a few at once; how many, and their bytes.
fn copy_blobs(
    from: &Place,
    to: &Storage,
    needed: &[Digest],
    progress: &mut Progress,
) -> anyhow::Result<(u64, u64)> {
    let (mut blobs, mut bytes, mut missing) = (0, 0, Vec::new());
    let mut ahead = Ahead::new(&from.handle);
    let mut waiting = needed.iter().copied();
    loop {
        while ahead.has_room()
            && let Some(digest) = waiting.next()
        {
            let copying = copy(from.storage.clone(), to.clone(), digest);
            ahead.begin(async move { copying.await.map(|size| (digest, size)) });
        }
        let Some(copied) = ahead.next()? else { break };
        match copied? {
            (_, Some(size)) => {
                blobs += 1;
                bytes += size;
            }
            (digest, None) => missing.push(digest),
        }
        progress.at("blobs copied", blobs, Some(needed.len() as u64));
    }
    refuse_missing(&missing, "`gristmill doctor --verify` names them all; nothing was moved")?;
    progress.over(&format!("{blobs} blobs copied"));
    Ok((blobs, bytes))
}

/// Copies the server's key from one data folder to the other, where both keep it there.
fn move_key(config: &Config, target: &Config, around: &Surroundings) -> anyhow::Result<Option<String>> {
    let is_kept = config.server.key.is_empty() && target.server.key.is_empty();
    if !is_kept || same_folder(&config.data_dir, &target.data_dir) || !seal::default_file(config).exists() {
        return Ok(None);
    }
    seal::put_back(target, &seal::texts(config, &*around.env)?)?;
    Ok(None)
}
