//! The way out: rows of one snapshot, then the blobs they refer to, into a file that appears when it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use gristmill_db::dump::{self, Table};
use gristmill_db::{Db, DbError, Tx, verify};
use gristmill_model::Digest;
use ring::digest::{Context as Hasher, SHA256};
use serde::Serialize;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::blobs::{Ahead, Hold, Opened, PIECE_BYTES, needed, open, refuse_missing};
use super::container::Writer;
use super::manifest::{
    BlobCount, BlobParts, FORMAT, HEADER, Header, KEY, MANIFEST, Manifest, Member, Part, TableParts,
    digest_of, push_row,
};
use super::progress::Progress;
use super::{Place, open_storage, refuse_unfinished};
use crate::clock::rfc3339;
use crate::config::{Config, Surroundings};
use crate::{database, seal};

/// How large a member with rows becomes; with the last row it may be larger.
const ROWS_BYTES: usize = 4 << 20;

/// What goes into a backup.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupOptions {
    /// Leave the blobs out: the storage is kept otherwise.
    pub without_blobs: bool,
    /// The server's key too.
    pub with_key: bool,
    /// Go on where blobs are missing or damaged, and list them.
    pub skip_missing: bool,
}

/// What a backup holds.
#[derive(Clone, Debug, Serialize)]
pub struct BackupSummary {
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of what its rows are: two backups with equal rows have the same.
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
    /// Blobs that should be in it and were not there.
    pub missing: u64,
    /// Whether the server's key is in it.
    pub has_key: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Writes a backup. Blocks; not for threads of the async runtime.
///
/// # Errors
/// Where there is something under the name already, or anything cannot be read or written; nothing is left then.
pub fn backup(
    config: &Config,
    around: &Surroundings,
    handle: &Handle,
    to: &Path,
    options: BackupOptions,
    progress: &mut Progress,
) -> anyhow::Result<BackupSummary> {
    let began = Instant::now();
    if to.exists() {
        bail!("there is something at {} already; choose another name, or move it away", to.display());
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("the backup {} cannot be written", to.display());
    let mut builder = tempfile::Builder::new();
    // One that a killed backup leaves goes with what cleans up after backups: its name begins as theirs.
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{name}.unfinished-");
    builder.prefix(&prefix).permissions(std::fs::Permissions::from_mode(0o600));
    let file = builder.tempfile_in(folder).with_context(cannot)?;
    let key = options.with_key.then(|| seal::texts(config, &*around.env)).transpose()?;
    let place = Place {
        db: database::open_existing(config, &*around.env)?,
        storage: open_storage(config, handle)?,
        handle: handle.clone(),
    };
    let manifest = write(&place, file.as_file(), options, key, progress).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let bytes = file.as_file().metadata()?.len();
    file.persist_noclobber(to).map_err(|error| error.error).with_context(cannot)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)?;
    Ok(BackupSummary {
        bytes,
        content: manifest.content(),
        rows: manifest.tables.iter().map(|table| table.rows).sum(),
        runs: rows_of(&manifest, "run"),
        deliveries: rows_of(&manifest, "delivery"),
        blobs: manifest.blobs.count,
        blob_bytes: manifest.blobs.bytes,
        missing: manifest.missing.len() as u64,
        has_key: manifest.key.is_some(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// How many rows of a table there are.
pub(super) fn rows_of(manifest: &Manifest, name: &str) -> u64 {
    manifest.tables.iter().find(|table| table.name == name).map_or(0, |table| table.rows)
}

/// Writes all of it; the manifest.
fn write(
    place: &Place,
    file: &File,
    options: BackupOptions,
    key: Option<Zeroizing<Vec<u8>>>,
    progress: &mut Progress,
) -> anyhow::Result<Manifest> {
    // First of all: what the snapshot refers to must not be going.
    let hold = if options.without_blobs { None } else { Some(Hold::take(&place.db)?) };
    let taken = snapshot(&place.db, file, options.without_blobs, progress)?;
    let mut out = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let (mut manifest, needed) = taken.manifest(&mut out, key.as_deref())?;
    if let Some(hold) = &hold {
        (manifest.blobs, manifest.missing) = write_blobs(place, &mut out, &needed, progress)?;
        hold.prove()?;
        if !options.skip_missing {
            refuse_missing(
                &manifest.missing,
                "`gristmill doctor --verify` names them all; with --skip-missing the backup is made without them",
            )?;
        }
    }
    end(out, &manifest)?;
    Ok(manifest)
}

/// Writes the manifest and ends the file.
pub(super) fn end(mut out: Writer<BufWriter<&File>>, manifest: &Manifest) -> anyhow::Result<()> {
    out.member(MANIFEST, &serde_json::to_vec_pretty(manifest)?)?;
    out.finish()?;
    Ok(())
}

/// What was written of a snapshot.
pub(super) struct Taken {
    pub(super) header: Digest,
    pub(super) tables: Vec<TableParts>,
    /// The blobs that its rows refer to, in order.
    pub(super) needed: Vec<Digest>,
}

impl Taken {
    /// What stands before the blobs, with the key written behind the rows; and the blobs that are needed.
    pub(super) fn manifest(
        self,
        out: &mut Writer<BufWriter<&File>>,
        key: Option<&Vec<u8>>,
    ) -> anyhow::Result<(Manifest, Vec<Digest>)> {
        if let Some(key) = key {
            out.member(KEY, key)?;
        }
        let manifest = Manifest {
            header: self.header,
            tables: self.tables,
            key: key.map(|key| Part::of(key)),
            blobs: BlobCount::new().end(),
            missing: Vec::new(),
        };
        Ok((manifest, self.needed))
    }
}

/// Writes header and rows of one snapshot to the beginning of the file, beside those who write to the database.
pub(super) fn snapshot(
    db: &Db,
    file: &File,
    without_blobs: bool,
    progress: &mut Progress,
) -> anyhow::Result<Taken> {
    let progress = std::cell::RefCell::new(progress);
    let fault = std::cell::RefCell::new(None);
    let taken = db.read_blocking(|tx| {
        // It may run again, where a server broke the snapshot off.
        let taken = write_rows(tx, file, without_blobs, &mut progress.borrow_mut());
        taken.map_err(|error| match error.downcast::<DbError>() {
            Ok(error) => error,
            Err(error) => {
                fault.replace(Some(error));
                DbError::Stopped
            }
        })
    });
    match (taken, fault.into_inner()) {
        (Err(DbError::Stopped), Some(fault)) => Err(fault),
        (taken, _) => Ok(taken?),
    }
}

fn write_rows(
    tx: &mut Tx<'_>,
    file: &File,
    without_blobs: bool,
    progress: &mut Progress,
) -> anyhow::Result<Taken> {
    refuse_unfinished(tx)?;
    refuse_damaged(tx)?;
    file.set_len(0)?;
    (&mut &*file).seek(SeekFrom::Start(0))?;
    let header = Header {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created: rfc3339(tx.now()),
        schema: dump::schema(tx)?,
        blobs: !without_blobs,
        tables: dump::tables(tx)?,
    };
    let mut out = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let bytes = serde_json::to_vec_pretty(&header)?;
    out.member(HEADER, &bytes)?;
    let mut tables = Vec::new();
    let mut rows = 0;
    for index in 0..header.tables.len() {
        let table = write_table(tx, &mut out, &header.tables, index, &mut |more| {
            rows += more;
            progress.at("rows", rows, None);
        })?;
        tables.push(table);
    }
    io::Write::flush(&mut out.into_inner())?;
    let needed = needed(tx)?;
    progress.over(&format!("{rows} rows written"));
    Ok(Taken { header: Digest::of(&bytes), tables, needed })
}

/// A damaged row in all backups is one that no backup has.
fn refuse_damaged(tx: &mut Tx<'_>) -> anyhow::Result<()> {
    match verify::rows(tx)?.first() {
        None => Ok(()),
        Some(first) => {
            bail!("the database is damaged ({first}); keep the backups you have, and see `gristmill doctor`")
        }
    }
}

fn write_table(
    tx: &mut Tx<'_>,
    out: &mut Writer<BufWriter<&File>>,
    tables: &[Table],
    index: usize,
    told: &mut dyn FnMut(u64),
) -> anyhow::Result<TableParts> {
    let table = &tables[index];
    let mut written = TableParts { name: table.name.clone(), rows: 0, parts: Vec::new() };
    let mut lines: Vec<u8> = Vec::new();
    let mut fault = None;
    let mut end_part = |lines: &mut Vec<u8>, parts: &mut Vec<Part>| -> io::Result<()> {
        parts.push(Part::of(lines));
        out.member(&Member::Rows(index, parts.len()).name(tables), lines)?;
        lines.clear();
        Ok(())
    };
    let read = dump::rows(tx, table, |row| {
        push_row(&mut lines, row);
        written.rows += 1;
        told(1);
        if lines.len() < ROWS_BYTES {
            return Ok(());
        }
        end_part(&mut lines, &mut written.parts).map_err(|error| {
            fault = Some(error);
            DbError::Stopped
        })
    });
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    read?;
    if !lines.is_empty() {
        end_part(&mut lines, &mut written.parts)?;
    }
    Ok(written)
}

/// Writes the blobs; what was written, and which were missing.
fn write_blobs(
    place: &Place,
    out: &mut Writer<BufWriter<&File>>,
    needed: &[Digest],
    progress: &mut Progress,
) -> anyhow::Result<(BlobParts, Vec<Digest>)> {
    let (mut count, mut missing) = (BlobCount::new(), Vec::new());
    let mut ahead = Ahead::new(&place.handle);
    let mut waiting = needed.iter().copied();
    let mut asked = std::collections::VecDeque::new();
    let mut done = 0;
    loop {
        while ahead.has_room()
            && let Some(digest) = waiting.next()
        {
            asked.push_back(digest);
            ahead.begin(open(place.storage.clone(), digest));
        }
        let Some(opened) = ahead.next()? else { break };
        let digest = asked.pop_front().expect("one was asked for each");
        match opened? {
            Some(opened) if is_whole(place, &opened)? => {
                write_blob(place, out, &opened)?;
                count.add(digest, opened.reader.len())?;
            }
            _ => missing.push(digest),
        }
        done += 1;
        progress.at("blobs", done, Some(needed.len() as u64));
    }
    progress.over(&format!("{done} blobs written"));
    Ok((count.end(), missing))
}

/// Whether a blob's bytes are those of its name: read before they are written, as a tar file cannot be taken back.
fn is_whole(place: &Place, opened: &Opened) -> anyhow::Result<bool> {
    let mut hasher = Hasher::new(&SHA256);
    pieces(place, opened, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    Ok(digest_of(hasher) == opened.digest)
}

fn write_blob(place: &Place, out: &mut Writer<BufWriter<&File>>, opened: &Opened) -> anyhow::Result<()> {
    out.begin(&Member::Blob(opened.digest).name(&[]), opened.reader.len())?;
    pieces(place, opened, |piece| Ok(out.write(piece)?))?;
    Ok(out.end()?)
}

fn pieces(
    place: &Place,
    opened: &Opened,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    each(&opened.first)?;
    let mut at = opened.first.len() as u64;
    while at < opened.reader.len() {
        let end = opened.reader.len().min(at + PIECE_BYTES);
        each(&place.handle.block_on(opened.reader.read_range(at..end))?)?;
        at = end;
    }
    Ok(())
}
