//! A zip file whose bytes follow from its members alone.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::IN_MEMORY_MAX;
use crate::index::{Index, IndexBuilder, KEY_BYTES_MAX, Located};
use crate::member::{Compressor, Member, MemberInfo, Method, compress};
use crate::name::{NAME_BYTES_MAX, NameError, check_member_name, shown};
use crate::names::{Clash, NameSet};
use crate::output::Output;
use crate::record::{Header, MAX32, Tail, put_end};
use crate::stream::{Deflated, compressed_bound, deflate};

/// Symbolic links with longer targets are refused; the kernel stops at 4096 bytes.
pub const SYMLINK_BYTES_MAX: usize = 64 << 10;

const MODE_FILE: u32 = 0o100_644;
const MODE_EXECUTABLE: u32 = 0o100_755;
const MODE_SYMLINK: u32 = 0o120_777;
const MODE_DIRECTORY: u32 = 0o040_755;

/// The two kinds of file that git knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// 0644.
    Regular,
    /// 0755.
    Executable,
}

impl FileMode {
    fn bits(self) -> u32 {
        match self {
            Self::Regular => MODE_FILE,
            Self::Executable => MODE_EXECUTABLE,
        }
    }
}

/// A file to be written.
#[derive(Debug, Clone, Copy)]
pub struct FileEntry<'a> {
    /// Its path in the archive, see [`check_member_name`].
    pub name: &'a [u8],
    /// Whether it can be executed.
    pub mode: FileMode,
    /// The key under which the [`Index`] finds its raw bytes, 1 to [`KEY_BYTES_MAX`] bytes. It must stand for
    /// the content and for all that changed the content on its way.
    pub key: Option<&'a [u8]>,
}

/// Why a member or an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The name cannot stand in an archive.
    #[error("{name}: {fault}")]
    Name {
        /// The name, escaped and shortened.
        name: String,
        /// What is wrong with it.
        fault: NameError,
    },
    /// The name was written before.
    #[error("{0}: the name is there twice")]
    Duplicate(String),
    /// The name is a file, and a folder of another member.
    #[error("{0}: the name is a file and a folder at once")]
    FileAndFolder(String),
    /// The symbolic link's target is longer than [`SYMLINK_BYTES_MAX`].
    #[error("{0}: the symbolic link's target is longer than {SYMLINK_BYTES_MAX} bytes")]
    SymlinkTooLong(String),
    /// The symbolic link's target is empty or holds a NUL byte, which a tar file cannot say.
    #[error(
        "{0}: the symbolic link's target is empty or holds a NUL byte; no tar file can hold it, a zip can"
    )]
    SymlinkTarget(String),
    /// The key is empty or longer than [`KEY_BYTES_MAX`].
    #[error("a member key has {0} bytes, 1 to {KEY_BYTES_MAX} were expected")]
    Key(usize),
    /// The raw bytes are not what this format makes of such a content; compress the content anew.
    #[error("{0}: the raw bytes do not follow the rules of this format")]
    NotCanonical(String),
    /// The reader gave another number of bytes than was said before.
    #[error("{name}: the reader gave {found} bytes, {expected} were expected")]
    Length {
        /// The member.
        name: String,
        /// What was said.
        expected: u64,
        /// What was read; one more than expected stands for any number.
        found: u64,
    },
    /// An earlier error left half a member behind; the archive cannot be finished.
    #[error("an earlier error left the archive unfinished")]
    Broken,
    /// Reading the content or writing the archive failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A written archive.
#[derive(Debug)]
pub struct Finished<W> {
    /// Where it was written to, flushed.
    pub inner: W,
    /// Where the raw bytes of the members with keys are.
    pub index: Index,
    /// Members, folders and symbolic links included.
    pub entries: u64,
    /// Length of the archive in bytes.
    pub len: u64,
}

/// Writes a zip file member by member, in the order of the calls.
///
/// Writes go out in large pieces, so `W` needs no buffer of its own. After an error of reading or writing the
/// archive is [`WriteError::Broken`]; after a refused name or member it can go on.
#[derive(Debug)]
pub struct ZipWriter<W> {
    out: Output<W>,
    names: NameSet,
    /// The central directory so far.
    central: Vec<u8>,
    entries: u64,
    index: IndexBuilder,
    /// For streamed members that turn out to be small.
    compressor: Option<Compressor>,
    /// A member was begun and not ended.
    is_broken: bool,
    own_git: bool,
}

impl<W: Write> ZipWriter<W> {
    /// An archive that begins at the first byte written to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            out: Output::new(inner),
            names: NameSet::default(),
            central: Vec::new(),
            entries: 0,
            index: IndexBuilder::default(),
            compressor: None,
            is_broken: false,
            own_git: false,
        }
    }

    /// From here on members below the folder `.git` at the top are taken: files of a repository that the caller made.
    /// Without this, whatever stands for `.git` is refused everywhere.
    pub fn take_own_git(&mut self) {
        self.own_git = true;
    }

    /// Writes a file from raw bytes, made by [`compress`] or copied from an earlier archive.
    pub fn member(&mut self, entry: &FileEntry<'_>, member: &Member<'_>) -> Result<(), WriteError> {
        let info = member.info();
        let begun = self.begin_file(entry, &info)?;
        self.out.put(&member.data)?;
        self.end(&begun, &info);
        Ok(())
    }

    /// Writes a file by copying its raw bytes from a reader that stands at their beginning, such as an earlier
    /// archive sought to [`Located::offset`]. Exactly `info.compressed` bytes are read. They are trusted, see
    /// [`crate::verify`]. Gives the offset in this archive where they begin.
    pub fn member_from<R: Read + ?Sized>(
        &mut self,
        entry: &FileEntry<'_>,
        info: &MemberInfo,
        reader: &mut R,
    ) -> Result<u64, WriteError> {
        let begun = self.begin_file(entry, info)?;
        let found = self.out.copy(reader, info.compressed)?;
        if found != info.compressed {
            return Err(length_error(entry, info.compressed, found));
        }
        self.end(&begun, info);
        Ok(begun.data_offset)
    }

    /// Writes a file of any size from a reader that gives exactly `size` bytes. Up to [`IN_MEMORY_MAX`] it is
    /// read into memory and compressed as [`compress`] does; above it is compressed on its way.
    pub fn streamed<R: Read + ?Sized>(
        &mut self,
        entry: &FileEntry<'_>,
        size: u64,
        reader: &mut R,
    ) -> Result<(), WriteError> {
        if size <= IN_MEMORY_MAX {
            return self.streamed_small(entry, size, reader);
        }
        // The checksum and the compressed size follow in the descriptor.
        let begun = self.begin(
            Entry::from_file(entry),
            &MemberInfo { method: Method::Deflated, crc32: 0, size, compressed: 0 },
        )?;
        let out = &mut self.out;
        let Deflated { crc32, size: read, compressed } = deflate(reader, size, |piece| out.put(piece))?;
        let found = read + u64::from(read == size && has_more(reader)?);
        if found != size {
            return Err(length_error(entry, size, found));
        }
        self.end(&begun, &MemberInfo { method: Method::Deflated, crc32, size, compressed });
        Ok(())
    }

    fn streamed_small<R: Read + ?Sized>(
        &mut self,
        entry: &FileEntry<'_>,
        size: u64,
        reader: &mut R,
    ) -> Result<(), WriteError> {
        let mut content = Vec::new();
        Read::take(&mut *reader, size + 1).read_to_end(&mut content)?;
        let found = content.len() as u64;
        if found != size {
            return Err(length_error(entry, size, found));
        }
        let mut compressor = self.compressor.take().unwrap_or_default();
        let written = self.member(entry, &compress(&content, &mut compressor));
        self.compressor = Some(compressor);
        written
    }

    /// Writes a symbolic link. The target is any bytes; it is stored, never compressed.
    pub fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), WriteError> {
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(WriteError::SymlinkTooLong(shown(name)));
        }
        let info = stored(target);
        let begun = self.begin(Entry { name, mode: MODE_SYMLINK, key: None }, &info)?;
        self.out.put(target)?;
        self.end(&begun, &info);
        Ok(())
    }

    /// Writes a folder of its own, for what git tracks without any file: a submodule. The name has no slash
    /// at its end.
    pub fn directory(&mut self, name: &[u8]) -> Result<(), WriteError> {
        // The header's 16 bits must hold the slash too.
        if name.len() >= NAME_BYTES_MAX {
            return Err(WriteError::Name { name: shown(name), fault: NameError::TooLong });
        }
        let info = stored(b"");
        let begun = self.begin(Entry { name, mode: MODE_DIRECTORY, key: None }, &info)?;
        self.end(&begun, &info);
        Ok(())
    }

    /// Writes the central directory and gives everything back.
    pub fn finish(mut self) -> Result<Finished<W>, WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        let directory_offset = self.out.position();
        self.out.put(&self.central)?;
        put_end(self.out.buffer(), self.entries, directory_offset, self.central.len() as u64);
        let len = self.out.position();
        let inner = self.out.into_inner()?;
        Ok(Finished { inner, index: self.index.finish(len), entries: self.entries, len })
    }
}

/// A member of any kind.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    name: &'a [u8],
    mode: u32,
    key: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn from_file(file: &FileEntry<'a>) -> Self {
        Self { name: file.name, mode: file.mode.bits(), key: file.key }
    }

    fn is_folder(&self) -> bool {
        self.mode == MODE_DIRECTORY
    }

    /// The name as it stands in the headers.
    fn header_name(&self) -> Cow<'a, [u8]> {
        if self.is_folder() { [self.name, b"/"].concat().into() } else { self.name.into() }
    }
}

/// A member whose local header is written.
#[derive(Debug)]
struct Begun<'a> {
    entry: Entry<'a>,
    /// Where the local header starts.
    header_offset: u64,
    /// Where the raw bytes start.
    data_offset: u64,
}

impl<'a> Begun<'a> {
    fn header<'b>(&self, name: &'b [u8], info: &MemberInfo) -> Header<'b> {
        Header {
            name,
            mode: self.entry.mode,
            method: info.method.code(),
            crc32: info.crc32,
            size: info.size,
            compressed: info.compressed,
            offset: self.header_offset,
            tail: tail_for(info.size),
        }
    }
}

impl<W: Write> ZipWriter<W> {
    fn begin_file<'a>(&mut self, file: &FileEntry<'a>, info: &MemberInfo) -> Result<Begun<'a>, WriteError> {
        if !info.is_canonical() {
            return Err(WriteError::NotCanonical(shown(file.name)));
        }
        self.begin(Entry::from_file(file), info)
    }

    /// Checks everything, then writes the local header.
    fn begin<'a>(&mut self, entry: Entry<'a>, info: &MemberInfo) -> Result<Begun<'a>, WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        let Entry { name, key, .. } = entry;
        if let Some(length) = key.map(<[u8]>::len).filter(|length| !(1..=KEY_BYTES_MAX).contains(length)) {
            return Err(WriteError::Key(length));
        }
        take_name(&mut self.names, name, entry.is_folder(), self.own_git)?;
        self.is_broken = true;
        let mut begun = Begun { entry, header_offset: self.out.position(), data_offset: 0 };
        begun.header(&entry.header_name(), info).put_local(self.out.buffer());
        begun.data_offset = self.out.position();
        Ok(begun)
    }

    /// Writes what follows the raw bytes, and the central header.
    fn end(&mut self, begun: &Begun<'_>, info: &MemberInfo) {
        let name = begun.entry.header_name();
        let header = begun.header(&name, info);
        header.put_descriptor(self.out.buffer());
        header.put_central(&mut self.central);
        if let Some(key) = begun.entry.key {
            self.index.add(key, Located { offset: begun.data_offset, info: *info });
        }
        self.entries += 1;
        self.is_broken = false;
    }
}

/// Checks a name by itself and against those before it, and takes it.
pub(crate) fn take_name(
    names: &mut NameSet,
    name: &[u8],
    is_folder: bool,
    own_git: bool,
) -> Result<(), WriteError> {
    // Only what lies below the very name `.git` at the top, and nothing in there that stands for `.git` again.
    let judged = name.strip_prefix(b".git/").filter(|_| own_git).unwrap_or(name);
    check_member_name(judged).map_err(|fault| WriteError::Name { name: shown(name), fault })?;
    names.add(name, is_folder).map_err(|clash| match clash {
        Clash::FileAndFolder => WriteError::FileAndFolder(shown(name)),
        Clash::Duplicate | Clash::Folded => WriteError::Duplicate(shown(name)),
    })?;
    Ok(())
}

fn stored(bytes: &[u8]) -> MemberInfo {
    let size = bytes.len() as u64;
    MemberInfo { method: Method::Stored, crc32: crc32fast::hash(bytes), size, compressed: size }
}

/// The size alone decides where sizes stand, so that a copied member looks like a streamed one.
fn tail_for(size: u64) -> Tail {
    if size <= IN_MEMORY_MAX {
        Tail::None
    } else if compressed_bound(size) < MAX32 {
        Tail::Descriptor
    } else {
        Tail::Descriptor64
    }
}

/// Whether a reader that gave all it should has more.
pub(crate) fn has_more<R: Read + ?Sized>(reader: &mut R) -> io::Result<bool> {
    Ok(Read::take(&mut *reader, 1).read_to_end(&mut Vec::new())? > 0)
}

fn length_error(entry: &FileEntry<'_>, expected: u64, found: u64) -> WriteError {
    WriteError::Length { name: shown(entry.name), expected, found }
}
