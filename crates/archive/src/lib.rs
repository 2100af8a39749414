//! Deterministic writing and safe extraction of archives that nobody vouches for: zip and tar.
//!
//! The crate is synchronous, needs only [`std::io`], and reads no repository: names, symbolic link
//! targets and member keys are bytes, and what git's attributes make of a content is a function of bytes too,
//! see [`attributes`].
//!
//! Writing: [`ZipWriter`] puts members one after another; equal members in equal order give equal bytes,
//! on every machine and whether a member was compressed now or copied from an earlier archive. The
//! [`Index`] made beside an archive says where the raw bytes of each member lie, so that the next archive
//! can copy them.
//!
//! Reading: [`extract_zip`] puts a zip file that nobody vouches for into a folder, within [`Limits`], whole
//! or not at all. [`ZipReader`] reads its members one by one. Extraction is for unix systems.
//!
//! Tar files, bare, in gzip or in Zstandard: [`TarWriter`], [`TarReader`] and [`extract_tar`] are the same for
//! them. [`ArchiveWriter`] and [`extract`] take any [`Format`].
//!
//! The zip format is PKWARE's APPNOTE.TXT 6.3.10, with unix modes in the external attributes as Info-ZIP
//! writes them; tar files are POSIX's.

pub mod attributes;
pub mod changes;
mod extract;
mod fault;
mod format;
mod index;
mod limits;
mod member;
mod name;
mod names;
mod output;
mod paths;
mod read;
mod record;
mod sink;
mod stream;
mod tar;
mod writer;

pub use extract::{extract, extract_tar, extract_zip, list};
pub use fault::{ContainerFault, EntryFault, ExtractError, LinkFault, PathFault};
pub use format::{ArchiveWriter, Format};
pub use index::{Index, IndexError, KEY_BYTES_MAX, Located};
pub use limits::Limits;
pub use member::{Compressor, ContentFault, Member, MemberInfo, Method, compress, verify};
pub use name::{NAME_BYTES_MAX, NameError, check_member_name, is_dot_git};
pub use read::{ArchiveEntry, Kind, ZipReader};
pub use sink::Summary;
pub use tar::{Packing, TarEntry, TarEntryFault, TarFault, TarReader, TarWriter};
pub use writer::{FileEntry, FileMode, Finished, SYMLINK_BYTES_MAX, WriteError, ZipWriter};

/// Stands for every rule by which bytes follow from content: member order aside, the compressors and
/// their levels, when a member is stored, [`IN_MEMORY_MAX`], headers and times.
///
/// It belongs into every key under which a finished archive or a raw member is found again. It must rise
/// whenever one of these rules changes, also by a new version of a compressor; a test pins the bytes.
pub const FORMAT_VERSION: u32 = 1;

/// Members of at most this many bytes are compressed in memory by libdeflate; larger ones are streamed
/// through zlib-rs and followed by a data descriptor. Part of [`FORMAT_VERSION`].
pub const IN_MEMORY_MAX: u64 = 32 << 20;
