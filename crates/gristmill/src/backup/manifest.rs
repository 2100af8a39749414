//! What stands at the beginning and at the end of a backup, the names of its members, and its rows.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gristmill_db::Param;
use gristmill_db::dump::{Kind, Table};
use gristmill_model::{Digest, hex};
use ring::digest::{Context as Hasher, SHA256};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

/// The form of backups that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// The first member.
pub(super) const HEADER: &str = "gristmill-backup.json";
/// The server's key.
pub(super) const KEY: &str = "server.key";
/// The last member.
pub(super) const MANIFEST: &str = "manifest.json";

/// How a backup begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: u32,
    /// The version of the program that wrote it.
    pub(super) program: String,
    /// When the rows were so.
    pub(super) created: String,
    /// The schema that the rows are of.
    pub(super) schema: i64,
    /// Whether the blobs are in it.
    pub(super) blobs: bool,
    pub(super) tables: Vec<Table>,
}

/// How a backup ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) header: Digest,
    pub(super) tables: Vec<TableParts>,
    pub(super) key: Option<Part>,
    pub(super) blobs: BlobParts,
    /// Blobs that rows refer to and that were not there, or not whole, when the backup was made.
    pub(super) missing: Vec<Digest>,
}

impl Manifest {
    /// The digest of what the rows are.
    pub(super) fn content(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.tables).expect("names and numbers"))
    }
}

/// The rows of one table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableParts {
    pub(super) name: String,
    pub(super) rows: u64,
    pub(super) parts: Vec<Part>,
}

/// One member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

impl Part {
    pub(super) fn of(bytes: &[u8]) -> Part {
        Part { bytes: bytes.len() as u64, digest: Digest::of(bytes) }
    }
}

/// All blobs. Each is named by its digest; `digest` is that of their names and sizes, a line each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobParts {
    pub(super) count: u64,
    pub(super) bytes: u64,
    pub(super) digest: Digest,
}

/// Counts blobs for [`BlobParts`].
pub(super) struct BlobCount {
    count: u64,
    bytes: u64,
    names: Hasher,
    last: Option<Digest>,
}

impl BlobCount {
    pub(super) fn new() -> BlobCount {
        BlobCount { count: 0, bytes: 0, names: Hasher::new(&SHA256), last: None }
    }

    /// One more; they come in the order of their digests, each once.
    pub(super) fn add(&mut self, digest: Digest, size: u64) -> anyhow::Result<()> {
        ensure!(self.last < Some(digest), "its blobs are not in order");
        self.last = Some(digest);
        self.count += 1;
        self.bytes += size;
        self.names.update(format!("{} {size}\n", digest.to_hex()).as_bytes());
        Ok(())
    }

    pub(super) fn end(self) -> BlobParts {
        BlobParts { count: self.count, bytes: self.bytes, digest: digest_of(self.names) }
    }
}

/// The digest of what was hashed piece by piece.
pub(super) fn digest_of(hasher: Hasher) -> Digest {
    Digest::from_slice(hasher.finish().as_ref()).expect("SHA-256 has 32 bytes")
}

/// What a member is, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Member {
    /// The n-th part of the rows of a table, which is given by its place in the header.
    Rows(usize, usize),
    Key,
    Blob(Digest),
    Manifest,
}

impl Member {
    /// `None` where no member of a backup has such a name.
    pub(super) fn parse(name: &str, tables: &[Table]) -> Option<Member> {
        let member = match name.split('/').collect::<Vec<_>>().as_slice() {
            [KEY] => Member::Key,
            [MANIFEST] => Member::Manifest,
            ["blobs", "sha256", digest] => Member::Blob(Digest::from_slice(&hex::decode(digest)?)?),
            ["rows", table, part] => {
                let table = tables.iter().position(|known| known.name == *table)?;
                Member::Rows(table, part.strip_suffix(".jsonl")?.parse().ok()?)
            }
            _ => return None,
        };
        // One name each: no zeros in front, no capitals.
        (member.name(tables) == name).then_some(member)
    }

    pub(super) fn name(&self, tables: &[Table]) -> String {
        match self {
            Member::Rows(table, part) => format!("rows/{}/{part}.jsonl", tables[*table].name),
            Member::Key => KEY.to_owned(),
            Member::Blob(digest) => format!("blobs/sha256/{}", digest.to_hex()),
            Member::Manifest => MANIFEST.to_owned(),
        }
    }
}

/// The header, or why it is none that can be used.
pub(super) fn parse_header(bytes: &[u8]) -> anyhow::Result<Header> {
    /// All that can be relied on, whatever comes later.
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(bytes).context("its header cannot be read")?;
    if form.format > FORMAT {
        bail!(
            "it has format {}, and this program reads up to {FORMAT}; restore it with the program that made it, or a newer one",
            form.format
        );
    }
    let header: Header = serde_json::from_slice(bytes).context("its header cannot be read")?;
    let known = gristmill_db::dump::schema_known();
    if header.schema > known {
        bail!(
            "its rows are of schema {}, and this program knows up to {known}; restore it with the program that made it ({}), or a newer one",
            header.schema,
            header.program
        );
    }
    ensure!(header.format == FORMAT && header.schema > 0, "its header makes no sense");
    Ok(header)
}

struct Row<'a>(&'a [Param<'a>]);

struct Cell<'a>(&'a Param<'a>);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut cells = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|cell| cells.serialize_element(&Cell(cell)))?;
        cells.end()
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Param::Null => serializer.serialize_unit(),
            Param::Int(number) => serializer.serialize_i64(*number),
            Param::Bool(truth) => serializer.serialize_bool(*truth),
            Param::Text(text) => serializer.serialize_str(text),
            Param::Bytes(bytes) => serializer.serialize_str(&BASE64.encode(bytes)),
        }
    }
}

/// Appends a row as a line.
pub(super) fn push_row(line: &mut Vec<u8>, row: &[Param<'_>]) {
    serde_json::to_writer(&mut *line, &Row(row)).expect("a vector takes all");
    line.push(b'\n');
}

/// The row in a line.
pub(super) fn parse_row(line: &[u8], table: &Table) -> anyhow::Result<Vec<Param<'static>>> {
    use serde_json::Value;
    let cells: Vec<Value> = serde_json::from_slice(line).context("a row in it cannot be read")?;
    ensure!(
        cells.len() == table.columns.len(),
        "a row of `{}` in it has too few or many columns",
        table.name
    );
    let pairs = cells.into_iter().zip(&table.columns);
    let parsed = pairs.map(|(cell, (column, kind))| {
        Ok(match (cell, kind) {
            (Value::Null, _) => Param::Null,
            (Value::Bool(truth), Kind::Bool) => Param::Bool(truth),
            (Value::String(text), Kind::Text) => Param::Text(text.into()),
            (Value::Number(number), Kind::Int) => {
                Param::Int(number.as_i64().context("a number in it is too large")?)
            }
            (Value::String(text), Kind::Bytes) => {
                Param::Bytes(BASE64.decode(text).context("bytes in it are not base64")?.into())
            }
            _ => bail!("`{}.{column}` in it holds something else than it should", table.name),
        })
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str, kind| (name.to_owned(), kind);
        Table {
            name: "t".to_owned(),
            columns: vec![column("a", Kind::Text), column("b", Kind::Bytes), column("c", Kind::Int)],
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        for row in [
            vec![
                Param::from("a\n\u{0}\u{1f600}\""),
                Param::Bytes(vec![0, 255, 7].into()),
                Param::Int(i64::MIN),
            ],
            vec![Param::from(""), Param::Bytes(Vec::new().into()), Param::Int(i64::MAX)],
            vec![Param::Null, Param::Null, Param::Null],
        ] {
            let mut line = Vec::new();
            push_row(&mut line, &row);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(parse_row(&line, &table()).unwrap(), row);
        }
        for line in ["", "[]", "[1,null,null]", "[null,null]", "[null,\"=\",null]", "[null,null,1.5]", "{}"] {
            assert!(parse_row(line.as_bytes(), &table()).is_err(), "{line}");
        }
    }

    #[test]
    fn only_names_of_members_are_names() {
        let tables = [table()];
        let digest = Digest::of(b"x");
        for member in
            [Member::Rows(0, 1), Member::Rows(0, 12), Member::Key, Member::Blob(digest), Member::Manifest]
        {
            assert_eq!(Member::parse(&member.name(&tables), &tables), Some(member));
        }
        let upper = digest.to_hex().to_uppercase();
        for name in [
            "",
            "/",
            "../manifest.json",
            "/etc/passwd",
            "rows/../x.jsonl",
            "rows/other/1.jsonl",
            "rows/t/01.jsonl",
            "rows/t/+1.jsonl",
            "rows/t/1.jsonl/x",
            "blobs/sha256/ab",
            "blobs/sha256/../../x",
            "server.key/",
            "gristmill-backup.json",
            &format!("blobs/sha256/{upper}"),
        ] {
            assert_eq!(Member::parse(name, &tables), None, "{name}");
        }
    }
}
