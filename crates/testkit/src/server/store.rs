//! [`Store`]: what a server keeps, read beside it or after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};
use sha2::{Digest as _, Sha256};

use crate::Postgres;

/// How long a writer may keep a reader waiting.
const BUSY: Duration = Duration::from_secs(10);

/// What is left to do, as one table of counts. Runs and jobs that are over, handled deliveries and published
/// publications are not in it, nor what a failed run wanted to publish: it waits for a person.
const LEFT: &str = "
    SELECT 'job ' || kind || ' ' || state || ': ' || coalesce(reason, '') FROM job
        WHERE state IN ('blocked', 'ready', 'leased')
    UNION ALL SELECT 'run ' || ref || ' ' || state FROM run WHERE state IN ('queued', 'running')
    UNION ALL SELECT 'delivery ' || event || ' ' || state FROM delivery WHERE state = 'received'
    UNION ALL SELECT 'publication ' || p.key || ' desired' FROM publication p JOIN run r ON r.id = p.run_id
        WHERE p.state = 'desired' AND r.state <> 'failed'
    UNION ALL SELECT 'request ' || cause FROM build_request
    LIMIT 50";

/// The rows and the folder of blobs and public keys of one server, or of several that share them.
#[derive(Clone, Debug)]
pub struct Store {
    rows: Rows,
    storage: PathBuf,
}

/// Where the rows are.
#[derive(Clone, Debug)]
enum Rows {
    /// In this file.
    Sqlite(PathBuf),
    /// In the database with this URL.
    Postgres(Arc<Postgres>, String),
}

/// A version of a public key, as the database has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// The key.
    pub key: String,
    /// Its place in the order of moves.
    pub seq: i64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// The commit it was made of.
    pub commit: String,
    /// `desired` or `published`.
    pub state: String,
    /// The run that wanted it.
    pub run: String,
}

impl Store {
    /// The store in a data folder.
    pub fn at(data: &Path) -> Store {
        Store { rows: Rows::Sqlite(data.join("gristmill.db")), storage: data.join("storage") }
    }

    /// Rows in a database of PostgreSQL, which must run whenever something is read, and a storage in a folder.
    pub fn on_postgres(server: &Arc<Postgres>, database: &str, storage: &Path) -> Store {
        Store { rows: Rows::Postgres(server.clone(), database.to_owned()), storage: storage.to_owned() }
    }

    /// The folder of the public keys.
    pub fn public_folder(&self) -> PathBuf {
        self.storage.join("public")
    }

    fn connection(&self) -> Option<Connection> {
        let Rows::Sqlite(path) = &self.rows else { panic!("only SQLite is read in this process") };
        if !path.exists() {
            return None;
        }
        // A reader of a database with a write-ahead log writes beside it, so that it cannot be read-only.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).expect("the database can be opened");
        connection.busy_timeout(BUSY).expect("a number");
        Some(connection)
    }

    /// The first columns of a query's rows, as text; nothing where there is no database yet. What the engines call
    /// differently is left to [`Store::hex`].
    pub fn query(&self, sql: &str) -> Vec<String> {
        match &self.rows {
            Rows::Sqlite(_) => self.rows(sql, |row| row.get::<_, rusqlite::types::Value>(0).map(shown)),
            Rows::Postgres(server, database) => {
                let text = server.sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
                text.lines().map(str::to_owned).collect()
            }
        }
    }

    /// The one number that a query gives.
    pub fn number(&self, sql: &str) -> i64 {
        let found = self.query(sql).pop().expect("one row");
        found.parse().unwrap_or_else(|_| panic!("{sql}: {found}"))
    }

    /// SQL that shows a column's bytes in hexadecimal.
    pub fn hex(&self, column: &str) -> String {
        match self.rows {
            Rows::Sqlite(_) => format!("lower(hex({column}))"),
            Rows::Postgres(..) => format!("encode({column}, 'hex')"),
        }
    }

    /// Changes the database of a server that has stopped: what cannot be brought about otherwise.
    pub fn execute(&self, sql: &str) {
        let connection = self.connection().expect("a database");
        connection.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn rows<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let Some(connection) = self.connection() else { return Vec::new() };
        let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], read).and_then(Iterator::collect);
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What is left to do, a line each; at most 50.
    pub fn left(&self) -> Vec<String> {
        self.query(LEFT)
    }

    /// All versions of all keys, oldest first.
    pub fn versions(&self) -> Vec<Version> {
        let digest = self.hex("digest");
        // None of them has a bar in it.
        let columns = ["key", "seq", &digest, "commit_id", "state", "run_id"].join(" || '|' || ");
        let rows = self.query(&format!("SELECT {columns} FROM publication ORDER BY seq, key"));
        let read = |row: &String| {
            let mut cells = row.split('|').map(str::to_owned);
            let mut cell = || cells.next().expect("six columns");
            let (key, seq) = (cell(), cell().parse().expect("a number"));
            Version { key, seq, digest: cell(), commit: cell(), state: cell(), run: cell() }
        };
        rows.iter().map(read).collect()
    }

    /// The versions of one key, oldest first.
    pub fn versions_of(&self, key: &str) -> Vec<Version> {
        self.versions().into_iter().filter(|version| version.key == key).collect()
    }

    /// What SQLite's `integrity_check` says: `ok`.
    pub fn integrity(&self) -> Vec<String> {
        self.query("PRAGMA integrity_check")
    }

    /// What readers of a public key get, if anything.
    pub fn public(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.public_folder().join(key)).ok()
    }

    /// The bytes of a blob.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let path = self.storage.join("blobs/sha256").join(&digest[..2]).join(digest);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(sha256(&bytes), digest, "a blob's name is its digest");
        bytes
    }

    /// The archive that a commit has under a key, whether or not the key ever led to it.
    pub fn artifact(&self, key: &str, commit: &str) -> Vec<u8> {
        let sql = format!(
            "SELECT {} FROM artifact WHERE key = '{key}' AND commit_id = '{commit}' ORDER BY id DESC LIMIT 1",
            self.hex("digest")
        );
        let digest = self.query(&sql).pop().unwrap_or_else(|| panic!("{key} has no archive of {commit}"));
        self.blob(&digest)
    }
}

fn shown(value: rusqlite::types::Value) -> String {
    use rusqlite::types::Value;
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
