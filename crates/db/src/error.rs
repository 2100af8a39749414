//! [`DbError`]: what can go wrong with the database.

/// What can go wrong with the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DbError {
    /// No room on the disk; nothing of the transaction was kept. Passes when there is room again.
    #[error("the database's disk is full; make room and it goes on by itself")]
    Full,
    /// Another process held the database for too long. Passes.
    #[error("the database is held by another process for too long")]
    Busy,
    /// The file is damaged.
    #[error("the database is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// The database thread has ended: the program is stopping.
    #[error("the database is closed")]
    Closed,
    /// A column does not hold what the program writes there.
    #[error("column {column} of a row cannot be read: {fault}")]
    Row {
        /// Its index in the statement.
        column: usize,
        /// What was wrong.
        fault: String,
    },
    /// The work was not done because of an error in its program.
    #[error("a database transaction failed in an unforeseen way (panic); it was taken back")]
    Panic,
    /// The database was written by a newer version of the program.
    #[error("the database has schema {found}, this program knows up to {known}; use the newer program")]
    Newer {
        /// The schema in the file.
        found: i64,
        /// The newest schema known.
        known: i64,
    },
    /// The server of the database does not answer. Passes.
    #[error("the database's server cannot be reached: {0}")]
    Unreachable(String),
    /// The server does not let us in, or has no such database.
    #[error(
        "the database's server refuses: {0}; check the user, database.password and the database's name in database.url"
    )]
    Refused(String),
    /// The connection broke while the transaction was ended: it is kept whole or not at all, and which is not known.
    #[error(
        "the connection to the database broke while something was written; look whether it was before trying again"
    )]
    Unsure,
    /// A row is there already that must be there only once.
    #[error("database: {0}")]
    Duplicate(String),
    /// Whoever read the rows wants no more of them.
    #[error("the rows are not read to their end")]
    Stopped,
    /// Anything else.
    #[error("database: {0}")]
    Sql(String),
}

impl DbError {
    /// Whether the same transaction may succeed when it is run again at once or in a moment.
    pub(crate) fn is_again(&self) -> bool {
        matches!(self, DbError::Busy | DbError::Unreachable(_))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> DbError {
        use rusqlite::ErrorCode;
        // Where the index of the write-ahead log cannot grow on a full disk, SQLite calls it an IO error.
        if error
            .sqlite_error()
            .is_some_and(|fault| fault.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
        {
            return DbError::Full;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DbError::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => DbError::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Corrupt(error.to_string()),
            _ => DbError::Sql(error.to_string()),
        }
    }
}
