//! Reading a backup: all of it, before anything is changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use gristmill_db::dump::Table;
use gristmill_db::{Param, blob};
use gristmill_model::Digest;
use ring::digest::{Context as Hasher, SHA256};
use zeroize::Zeroizing;

use super::blobs::PIECE_BYTES;
use super::container::Reader;
use super::manifest::{
    BlobCount, HEADER, Header, Manifest, Member, Part, TableParts, digest_of, parse_header, parse_row,
};
use super::progress::Progress;

/// The largest header: names of tables and columns.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// The largest member with rows: one part, and one row that may hold the largest webhook.
const ROWS_BYTES_MAX: u64 = 512 << 20;
/// The largest manifest: what rows are in, four MiB each, and what is missing.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// The largest member with keys.
const KEY_BYTES_MAX: u64 = 64 << 10;

type Input = Reader<BufReader<File>>;

/// A backup that was read to its end and found whole.
pub(super) struct Verified {
    path: PathBuf,
    pub(super) header: Header,
    pub(super) manifest: Manifest,
    /// Of what its rows are.
    pub(super) id: Digest,
    pub(super) key: Option<Zeroizing<Vec<u8>>>,
    /// Where the first member with rows stands, and the first behind the rows and the key.
    rows_at: u64,
    blobs_at: u64,
}

/// Reads a backup.
///
/// # Errors
/// Where it is none, or not whole, or newer than the program; says which.
pub(super) fn verify(path: &Path, progress: &mut Progress) -> anyhow::Result<Verified> {
    read_all(path, progress)
        .with_context(|| format!("the backup {} cannot be used, nothing was changed", path.display()))
}

fn open(path: &Path, at: u64) -> anyhow::Result<Input> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    Ok(Reader::new(BufReader::with_capacity(1 << 20, file), at))
}

fn content<R: Read>(input: &mut Reader<R>, size: u64, max: u64) -> anyhow::Result<Vec<u8>> {
    ensure!(size <= max, "a member in it is larger than it can be");
    let mut bytes = vec![0; usize::try_from(size)?];
    input.content(&mut bytes)?;
    Ok(bytes)
}

/// The blob's bytes, piece by piece.
fn pieces<R: Read>(
    input: &mut Reader<R>,
    size: u64,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut piece = vec![0; usize::try_from(size.min(PIECE_BYTES))?];
    let mut left = size;
    while left > 0 {
        let now = &mut piece[..usize::try_from(left.min(PIECE_BYTES))?];
        input.content(now)?;
        each(now)?;
        left -= now.len() as u64;
    }
    Ok(())
}

/// What was found in a backup so far.
struct Found {
    tables: Vec<TableParts>,
    key: Option<Zeroizing<Vec<u8>>>,
    blobs: BlobCount,
    blobs_at: u64,
}

fn read_all(path: &Path, progress: &mut Progress) -> anyhow::Result<Verified> {
    let mut input = open(path, 0)?;
    let first =
        input.next().ok().flatten().filter(|(name, size)| name == HEADER && *size <= HEADER_BYTES_MAX);
    let (_, size) = first.context("it is not a backup of Gristmill's")?;
    let bytes = content(&mut input, size, HEADER_BYTES_MAX)?;
    let header = parse_header(&bytes)?;
    let rows_at = input.at();
    let mut found = Found {
        tables: header.tables.iter().map(|table| no_rows(&table.name)).collect(),
        key: None,
        blobs: BlobCount::new(),
        blobs_at: 0,
    };
    let (text, at) = loop {
        let at = input.at();
        let (name, size) = input.next()?.context("it ends without its manifest")?;
        let member = Member::parse(&name, &header.tables).context("it holds what no backup holds")?;
        if member == Member::Manifest {
            break (content(&mut input, size, MANIFEST_BYTES_MAX)?, at);
        }
        read_member(&mut input, member, size, &header, at, &mut found)?;
        progress.at("MiB of the backup verified", input.at() >> 20, None);
    };
    ensure!(input.next()?.is_none(), "there is something behind its manifest");
    let manifest: Manifest = serde_json::from_slice(&text).context("its manifest cannot be read")?;
    let expected = Manifest {
        header: Digest::of(&bytes),
        tables: found.tables,
        key: found.key.as_ref().map(|key| Part::of(key)),
        blobs: found.blobs.end(),
        missing: manifest.missing.clone(),
    };
    ensure!(manifest == expected, "it holds something else than its manifest says");
    ensure!(header.blobs || manifest.blobs.count == 0, "it has blobs and says that it has none");
    let blobs_at = if found.blobs_at == 0 { at } else { found.blobs_at };
    let id = manifest.content();
    let path = path.to_owned();
    progress.over(&format!("the backup of {} is whole", header.created));
    Ok(Verified { path, header, manifest, id, key: found.key, rows_at, blobs_at })
}

fn no_rows(name: &str) -> TableParts {
    TableParts { name: name.to_owned(), rows: 0, parts: Vec::new() }
}

/// Reads one member and sees that it is the one that may follow.
fn read_member(
    input: &mut Input,
    member: Member,
    size: u64,
    header: &Header,
    at: u64,
    found: &mut Found,
) -> anyhow::Result<()> {
    let is_behind = found.key.is_some() || found.blobs_at > 0;
    match member {
        Member::Rows(index, part) => {
            let later = found.tables[index + 1..].iter().any(|table| !table.parts.is_empty());
            let is_next = part == found.tables[index].parts.len() + 1;
            ensure!(is_next && !later && !is_behind, "its rows are not in order");
            let lines = content(input, size, ROWS_BYTES_MAX)?;
            let table = &mut found.tables[index];
            table.parts.push(Part::of(&lines));
            each_row(&lines, &header.tables[index], |_| {
                table.rows += 1;
                Ok(())
            })
        }
        Member::Key => {
            ensure!(!is_behind, "it has two keys, or one in the wrong place");
            found.key = Some(Zeroizing::new(content(input, size, KEY_BYTES_MAX)?));
            Ok(())
        }
        Member::Blob(digest) => {
            if found.blobs_at == 0 {
                found.blobs_at = at;
            }
            found.blobs.add(digest, size)?;
            let mut hasher = Hasher::new(&SHA256);
            pieces(input, size, |piece| {
                hasher.update(piece);
                Ok(())
            })?;
            ensure!(digest_of(hasher) == digest, "blob {digest} in it holds other bytes");
            Ok(())
        }
        Member::Manifest => bail!("it has two manifests"),
    }
}

fn each_row(
    lines: &[u8],
    table: &Table,
    mut each: impl FnMut(Vec<Param<'static>>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let lines = lines.strip_suffix(b"\n").context("a line in it has no end")?;
    lines.split(|byte| *byte == b'\n').try_for_each(|line| each(parse_row(line, table)?))
}

impl Verified {
    /// The rows once more, each with the place of its table; every part is compared with its digest again.
    pub(super) fn rows(
        &self,
        mut each: impl FnMut(usize, Vec<Param<'static>>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut input = open(&self.path, self.rows_at)?;
        for (index, table) in self.manifest.tables.iter().enumerate() {
            for part in &table.parts {
                let (_, size) = input.next()?.context("it ends too early")?;
                let lines = content(&mut input, size, ROWS_BYTES_MAX)?;
                ensure!(Part::of(&lines) == *part, "it was changed while it was read");
                each_row(&lines, &self.header.tables[index], |row| each(index, row))?;
            }
        }
        Ok(())
    }

    /// The blobs that its rows refer to, without those that were missing when it was made.
    pub(super) fn needed(&self) -> anyhow::Result<BTreeSet<Digest>> {
        let refers = |table: &Table, column: &str| {
            blob::REFERRING.contains(&format!("{}.{column}", table.name).as_str())
        };
        let columns: Vec<Vec<usize>> = self
            .header
            .tables
            .iter()
            .map(|table| {
                let columns = table.columns.iter().enumerate();
                columns.filter(|(_, (name, _))| refers(table, name)).map(|(index, _)| index).collect()
            })
            .collect();
        let mut needed = BTreeSet::new();
        self.rows(|table, row| {
            for column in &columns[table] {
                if let Param::Bytes(bytes) = &row[*column] {
                    needed.insert(Digest::from_slice(bytes).context("a digest in it has another length")?);
                }
            }
            Ok(())
        })?;
        self.manifest.missing.iter().for_each(|missing| {
            needed.remove(missing);
        });
        Ok(needed)
    }

    /// The blobs once more: each one's digest and size, with a reader of its content, which must read all of it.
    pub(super) fn blobs(
        &self,
        mut each: impl FnMut(Digest, u64, &mut BlobInput<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut input = open(&self.path, self.blobs_at)?;
        for _ in 0..self.manifest.blobs.count {
            let (name, size) = input.next()?.context("it ends too early")?;
            let Some(Member::Blob(digest)) = Member::parse(&name, &[]) else {
                bail!("it was changed while it was read");
            };
            each(digest, size, &mut BlobInput { input: &mut input, size })?;
        }
        Ok(())
    }
}

/// A blob's content in a backup.
pub(super) struct BlobInput<'i> {
    input: &'i mut Input,
    size: u64,
}

impl BlobInput<'_> {
    /// All of a blob of at most [`PIECE_BYTES`].
    pub(super) fn whole(&mut self) -> anyhow::Result<Vec<u8>> {
        content(self.input, self.size, PIECE_BYTES)
    }

    /// Piece by piece.
    pub(super) fn pieces(&mut self, each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        pieces(self.input, self.size, each)
    }
}
