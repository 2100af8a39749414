//! Why a tar file is refused, beside what every kind of archive is refused for.

use super::pax::EXTENDED_BYTES_MAX;
use super::read::TRAILING_ZEROS_MAX;

/// What is wrong with a tar file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TarFault {
    /// The compressed stream around it is damaged, cut off, or needs what is not known here.
    #[error("the compressed stream is damaged or cut off")]
    Damaged,
    /// Bytes follow the compressed stream; some programs would read them as more of it.
    #[error("there are bytes behind the compressed stream")]
    SecondStream,
    /// A block that should be a header is none, or was changed.
    #[error("there is no tar header, or one with a wrong checksum, at block {block}")]
    NoHeader {
        /// Counted from 0, in blocks of 512 bytes.
        block: u64,
    },
    /// The two blocks of zeros are missing: not a tar file, or cut off.
    #[error("the two blocks of zeros at the end are missing; the file is no tar file, or cut off")]
    NoEnd,
    /// Something other than zeros follows the end, or too many of these.
    #[error(
        "the end is followed by something other than zeros, or by more than {TRAILING_ZEROS_MAX} of these"
    )]
    TrailingBytes,
    /// An extended header, a global one or a long name cannot be read in one way only.
    #[error("an extended header is not acceptable: {0}")]
    Extended(&'static str),
    /// An extended header is too large.
    #[error("an extended header is larger than {EXTENDED_BYTES_MAX} bytes")]
    ExtendedTooLarge,
}

/// What is wrong with one member of a tar file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TarEntryFault {
    /// A second name for another member.
    #[error("it is a hard link; only files, folders and symbolic links are accepted")]
    HardLink,
    /// A device or a pipe.
    #[error("it is a device or a pipe; only files, folders and symbolic links are accepted")]
    Device,
    /// A file with holes, of which there are several forms.
    #[error("it is a sparse file; write the archive without them")]
    Sparse,
    /// Any other type.
    #[error("it has the unknown type {0:#04x}")]
    Type(u8),
    /// A number is none.
    #[error("its {0} is not a number")]
    Number(&'static str),
    /// The header and the extended one disagree on where the next member starts.
    #[error("its headers disagree on its size")]
    SizesDisagree,
    /// A symbolic link that has bytes of its own.
    #[error("it is a symbolic link with content")]
    LinkWithContent,
    /// Its name or target is given in two ways.
    #[error("its name or target stands in two extended headers")]
    NamedTwice,
    /// Something other than zeros fills its last block.
    #[error("its last block is not filled with zeros")]
    Padding,
}
