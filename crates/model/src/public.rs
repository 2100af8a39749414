//! Why a run came to nothing, for everybody who sees the repository: a closed set of texts.
//!
//! A reason that a person reads here may name addresses, folders and servers. What is told at the forge is one of
//! these instead. None has room for a text: numbers and the ids of commits are all that can be said besides.

use std::fmt;
use std::str::FromStr;

use crate::CommitId;

/// A value that may stand in a public reason.
trait Harmless: Copy {
    /// As it stands in the database.
    fn stored(self) -> String;
    /// Out of the database.
    fn read(text: &str) -> Option<Self>;
    /// In a sentence.
    fn shown(self) -> String;
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Bytes(pub u64);

impl Harmless for Bytes {
    fn stored(self) -> String {
        self.0.to_string()
    }

    fn read(text: &str) -> Option<Bytes> {
        text.parse().ok().map(Bytes)
    }

    /// In the largest unit of the configuration that it is a whole number of.
    fn shown(self) -> String {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.iter().find(|(shift, _)| self.0 >> shift << shift == self.0 && self.0 > 0);
        match whole {
            Some((shift, unit)) => format!("{} {unit}", self.0 >> shift),
            None => format!("{} bytes", self.0),
        }
    }
}

impl Harmless for u32 {
    fn stored(self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<u32> {
        text.parse().ok()
    }

    fn shown(self) -> String {
        self.to_string()
    }
}

impl Harmless for CommitId {
    fn stored(self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<CommitId> {
        text.parse().ok()
    }

    fn shown(self) -> String {
        self.short()
    }
}

/// Each reason with its word in the database and its sentence, where `{}` stands for the value.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $(($value:ty))? = $word:literal, $sentence:literal;)*) => {
        /// Why something failed. Everybody may read it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum PublicReason { $($(#[$doc])* $name $(($value))?,)* }

        impl PublicReason {
            /// The word in the database, and the value behind it.
            fn stored(self) -> (&'static str, Option<String>) {
                match self {
                    $(reasons!(@pattern $name, value $(, $value)?) =>
                        ($word, reasons!(@call stored, value $(, $value)?)),)*
                }
            }

            fn read(word: &str, value: Option<&str>) -> Option<PublicReason> {
                match word {
                    $($word => reasons!(@read $name, value $(, $value)?),)*
                    _ => None,
                }
            }

            /// The sentence that is told.
            pub fn sentence(self) -> String {
                let (sentence, value) = match self {
                    $(reasons!(@pattern $name, value $(, $value)?) =>
                        ($sentence, reasons!(@call shown, value $(, $value)?)),)*
                };
                value.map_or_else(|| sentence.to_owned(), |value| sentence.replace("{}", &value))
            }

            /// Each reason's word and sentence, and whether it has a value.
            #[cfg(test)]
            const TABLE: &'static [(&'static str, &'static str, Option<&'static str>)] =
                &[$(($word, $sentence, reasons!(@kind $($value)?)),)*];
        }
    };
    (@pattern $name:ident, $bound:ident) => { PublicReason::$name };
    (@pattern $name:ident, $bound:ident, $value:ty) => { PublicReason::$name($bound) };
    (@call $method:ident, $bound:ident) => { None };
    (@call $method:ident, $bound:ident, $value:ty) => { Some(Harmless::$method($bound)) };
    (@read $name:ident, $given:ident) => { $given.is_none().then_some(PublicReason::$name) };
    (@read $name:ident, $given:ident, $value:ty) => {
        $given.and_then(<$value as Harmless>::read).map(PublicReason::$name)
    };
    (@kind) => { None };
    (@kind $value:ty) => { Some(stringify!($value)) };
}

reasons! {
    /// The network, the proxy or the remote's server failed.
    NotReached = "not_reached", "the remote cannot be reached";
    /// Its certificate or host key is none that is trusted.
    NotTrusted = "not_trusted", "the remote's certificate or host key is not trusted";
    /// It wants a token or key, or refused the one it got.
    NotLetIn = "not_let_in", "the remote does not let us in";
    /// It has no such repository, or says so to those who may not see it.
    NoRepository = "no_repository", "the remote has no such repository, or does not show it to us";
    /// It has another address now.
    Moved = "moved", "the repository has moved to another address";
    /// The ref was deleted.
    RefGone = "ref_gone", "the branch or tag is not at the remote any more";
    /// Nobody gives the commit out.
    CommitGone = "commit_gone", "the commit is not at the remote any more";
    /// A partial mirror asks for the contents of a commit's files, and the remote does not give one out.
    ContentsGone = "contents_gone", "the remote does not give out what is in the commit's files";
    /// The tag leads to something else.
    NotACommit = "not_a_commit", "the tag leads to no commit";
    /// Git, or a download, did not end in time.
    TooSlow = "too_slow", "it took longer than is allowed";
    /// The project's repository, or all that goes into the archive.
    RepositoryTooLarge(Bytes) = "repository_too_large", "what the archive is made from is larger than {}";
    /// The archive.
    ArchiveTooLarge(Bytes) = "archive_too_large", "the archive would be larger than {}";
    /// The tree has too many files, levels, or bytes in a path.
    TreeTooLarge = "tree_too_large", "the tree has more files, or longer paths, than is allowed";
    /// A name or a link that the archive's format cannot hold.
    TreeRefused = "tree_refused", "the tree has a name or link that the archive cannot hold";
    /// `.gitattributes` are too large, or ask for what cannot be done.
    AttributesRefused = "attributes_refused", "what .gitattributes asks for cannot be done";
    /// `.gitmodules` does not fit the tree, or says what is not taken.
    ModulesRefused = "modules_refused", "a submodule in .gitmodules is incomplete or not allowed";
    /// The submodule lies where nothing is fetched from.
    ModuleServer = "module_server", "a submodule's server is not allowed";
    /// The submodule's repository cannot be fetched.
    ModuleUnfetched = "module_unfetched", "a submodule cannot be fetched from its server";
    /// The submodule's server does not give the pinned commit out.
    ModuleCommitGone(CommitId) = "module_commit_gone", "a submodule's commit {} is not at its server";
    /// There are too many.
    ModulesTooMany(u32) = "modules_too_many", "there are more than {} submodules";
    /// The server does not have it.
    LargeFileMissing = "large_file_missing", "a large file is missing at the server";
    /// The server has it, perhaps, and does not give it out.
    LargeFileRefused = "large_file_refused", "the server does not give out a large file";
    /// A pointer that says what cannot be.
    LargeFilePointer = "large_file_pointer", "a file begins like a pointer of git-lfs, and is none";
    /// Too many pointers.
    LargeFilesTooMany(u32) = "large_files_too_many", "there are more than {} large files";
    /// What the forge gives out for the commit is not its tree.
    Filtered = "filtered", "the forge's archive is not what the commit holds";
    /// What the forge gives out is no archive that is taken.
    ForgeArchiveRefused = "forge_archive_refused", "the forge's archive is broken or not allowed";
    /// The forge's archive has more bytes than a download may.
    ForgeArchiveTooLarge(Bytes) = "forge_archive_too_large", "the forge's archive is larger than {}";
    /// The ref makes a key that no storage takes.
    KeyRefused = "key_refused", "the branch or tag makes a name that cannot be published";
    /// Another pipeline publishes under the key.
    KeyTaken = "key_taken", "another pipeline publishes under the same name";
    /// The storage does not take it.
    StorageFailed = "storage_failed", "the storage does not take the archive";
    /// Whoever did it vanished in the middle.
    WorkerLost = "worker_lost", "its worker was lost";
    /// A person stopped the run.
    CancelledByPerson = "cancelled_by_person", "cancelled by a person";
    /// A person had all of the project deleted.
    Purged = "purged", "cancelled: the project is being deleted";
}

impl fmt::Display for PublicReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stored() {
            (word, None) => f.write_str(word),
            (word, Some(value)) => write!(f, "{word} {value}"),
        }
    }
}

/// How a run ended badly, for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct PublicEnd {
    /// Why, where there is a public word for it.
    pub why: Option<PublicReason>,
    /// How often it was tried before it was given up; `None` where once was enough.
    pub attempts: Option<u32>,
}

impl PublicEnd {
    /// The end for this reason, at once.
    pub fn at_once(why: Option<PublicReason>) -> PublicEnd {
        PublicEnd { why, attempts: None }
    }

    /// The sentence that is told. `otherwise` where nothing public is known of the reason.
    pub fn sentence(self, otherwise: &'static str) -> String {
        let why = self.why.map_or_else(|| otherwise.to_owned(), PublicReason::sentence);
        match self.attempts {
            Some(attempts) => format!("{why}; given up after {attempts} attempts"),
            None => why,
        }
    }
}

/// Stands before the number of attempts in the database.
const GIVEN_UP: &str = "given_up ";

/// As it stands in the database: `commit_gone`, `archive_too_large 1048576, given_up 40`, `given_up 40`, or nothing.
impl fmt::Display for PublicEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.why {
            write!(f, "{why}")?;
        }
        match self.attempts {
            Some(attempts) if self.why.is_some() => write!(f, ", {GIVEN_UP}{attempts}"),
            Some(attempts) => write!(f, "{GIVEN_UP}{attempts}"),
            None => Ok(()),
        }
    }
}

/// The text stands for no end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no public reason")]
pub struct PublicEndError(String);

impl FromStr for PublicEnd {
    type Err = PublicEndError;

    fn from_str(text: &str) -> Result<PublicEnd, PublicEndError> {
        let error = || PublicEndError(crate::shorten(text));
        let mut end = PublicEnd::default();
        for part in text.split(", ").filter(|part| !part.is_empty()) {
            if let Some(attempts) = part.strip_prefix(GIVEN_UP) {
                end.attempts = Some(attempts.parse().map_err(|_| error())?);
                continue;
            }
            let (word, value) =
                part.split_once(' ').map_or((part, None), |(word, value)| (word, Some(value)));
            end.why = Some(PublicReason::read(word, value).ok_or_else(error)?);
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests;
