//! Why an archive is not extracted.

use std::io;
use std::path::{Path, PathBuf};

use crate::member::ContentFault;
use crate::name::{NameError, shown};
use crate::tar::{TarEntryFault, TarFault};

/// Why an archive could not be read or extracted. Nothing of it is left at the destination.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The file as a whole is not a zip file that can be read in one way only.
    #[error("not an acceptable zip file: {0}")]
    Container(#[from] ContainerFault),
    /// The file as a whole is not a tar file that can be read in one way only.
    #[error("not an acceptable tar file: {0}")]
    Tar(#[from] TarFault),
    /// One member is not acceptable.
    #[error("{name}: {fault}")]
    Member {
        /// The member's name, shortened and without control characters.
        name: String,
        /// What is wrong with it.
        fault: EntryFault,
    },
    /// More members, folders above them included, than [`crate::Limits::files_max`].
    #[error("the archive holds more than {limit} files and folders")]
    TooManyFiles {
        /// The limit.
        limit: u64,
    },
    /// More content than [`crate::Limits::bytes_total_max`], or than fits all symbolic links.
    #[error("the archive's content is larger than {limit} bytes")]
    TotalTooLarge {
        /// The limit.
        limit: u64,
    },
    /// All the content is more than [`crate::Limits::ratio_max`] times the archive.
    #[error("the archive's content is more than {limit} times as large as the archive")]
    TotalRatio {
        /// The limit.
        limit: u64,
    },
    /// The destination is not an empty folder.
    #[error("{}: exists and is not an empty folder; name a path that does not exist yet", .0.display())]
    Destination(PathBuf),
    /// The archive could not be read.
    #[error("the archive could not be read: {0}")]
    Read(#[source] io::Error),
    /// A file, folder or link could not be made.
    #[error("{}: {source}", path.display())]
    Write {
        /// What was to be made.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

impl ExtractError {
    pub(crate) fn member(name: &[u8], fault: impl Into<EntryFault>) -> Self {
        Self::Member { name: shown(name), fault: fault.into() }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Write { path: path.to_owned(), source }
    }
}

/// What is wrong with the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContainerFault {
    /// There is no end record: not a zip file, or cut off.
    #[error("there is no end record; the file is no zip file, or cut off")]
    NoEnd,
    /// Bytes follow the end record and its comment.
    #[error("there are bytes behind the end of the archive")]
    TrailingBytes,
    /// Bytes stand before the first member, or the offsets do not count from the start of the file.
    #[error("there are bytes before the first member")]
    LeadingBytes,
    /// Programs would disagree on which end record counts.
    #[error("there is more than one end record")]
    AmbiguousEnd,
    /// The archive continues in other files.
    #[error("the archive is spread over several files")]
    MultiDisk,
    /// The zip64 records are missing, or disagree with the others.
    #[error("the zip64 end records are missing or disagree with the end record")]
    Zip64,
    /// The directory does not lie right before the end records.
    #[error("the directory does not lie where the end record says")]
    DirectoryBounds,
    /// The directory is too large to be held in memory.
    #[error("the directory is larger than {limit} bytes")]
    DirectoryTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The directory holds more, fewer or other records than the end record says.
    #[error("the directory does not hold as many members as the end record says")]
    Count,
}

/// What is wrong with one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The name cannot be a path below the destination.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// The symbolic link is not kept inside the tree.
    #[error(transparent)]
    Link(#[from] LinkFault),
    /// The content is not what the headers say.
    #[error(transparent)]
    Content(#[from] ContentFault),
    /// Something that only tar files have.
    #[error(transparent)]
    Tar(#[from] TarEntryFault),
    /// The content is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// General purpose flags that this reader does not know.
    #[error("it has unknown flags {0:#06x}")]
    Flags(u16),
    /// A method other than stored and deflated.
    #[error("it is compressed by method {0}; only 0 (stored) and 8 (deflated) are known")]
    Method(u16),
    /// A device, a pipe, a socket or something unknown.
    #[error("it is neither file, folder nor symbolic link, but has the unix mode {0:o}")]
    Special(u32),
    /// The slash at the end of the name and the unix mode disagree on whether it is a folder.
    #[error("its name and its mode disagree on whether it is a folder")]
    KindMismatch,
    /// A folder that has bytes of its own.
    #[error("it is a folder with content")]
    FolderWithContent,
    /// The header before the content and the one in the directory disagree.
    #[error("its two headers disagree on the {0}")]
    HeadersDisagree(&'static str),
    /// There is no header where the directory says.
    #[error("there is no header where the directory says")]
    NoHeader,
    /// The record that follows the content is missing or disagrees with the directory.
    #[error("the record behind its content is missing or disagrees with the directory")]
    Descriptor,
    /// The extra fields cannot be read, or name it differently.
    #[error("its extra fields are damaged or ambiguous")]
    Extra,
    /// The zip64 field is missing or disagrees with the header.
    #[error("its zip64 field is missing or disagrees with its header")]
    Zip64,
    /// It shares bytes with another member or with the directory.
    #[error("it overlaps another member")]
    Overlap,
    /// Bytes before it belong to no member.
    #[error("there are bytes before it that belong to no member")]
    Gap,
    /// Larger than [`crate::Limits::file_bytes_max`].
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The content is more than [`crate::Limits::ratio_max`] times its compressed size.
    #[error("its content is more than {limit} times its compressed size")]
    Ratio {
        /// The limit.
        limit: u64,
    },
}

/// Why a name is no path below the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// No member may have such a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Longer than [`crate::Limits::path_bytes_max`].
    #[error("the path is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// More components than [`crate::Limits::depth_max`].
    #[error("the path has more than {limit} components")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A backslash separates components on some systems.
    #[error("the path holds a backslash")]
    Backslash,
    /// A component such as `C:` leaves the tree on some systems.
    #[error("a component of the path starts with a drive letter")]
    Drive,
    /// The very name is there twice.
    #[error("the name is there twice")]
    Duplicate,
    /// Another name differs only in case.
    #[error("the path differs from another one only in upper and lower case")]
    CaseClash,
    /// The name is a file, and a folder of another member.
    #[error("the name is a file and a folder at once")]
    FileAndFolder,
}

/// Why a symbolic link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// No target.
    #[error("the symbolic link has no target")]
    Empty,
    /// Longer than [`crate::Limits::path_bytes_max`].
    #[error("the symbolic link's target is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A NUL byte or a backslash in the target.
    #[error("the symbolic link's target holds a NUL byte or a backslash")]
    BadByte,
    /// An absolute target, also one with a drive letter.
    #[error("the symbolic link's target is an absolute path")]
    Absolute,
    /// The target climbs above the destination.
    #[error("the symbolic link leaves the tree")]
    Climbs,
    /// `..` behind a name: where that leads depends on other links.
    #[error("the symbolic link's target has `..` behind a name, which can leave the tree by another link")]
    ClimbsLate,
}
