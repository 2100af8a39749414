//! The directory's records (APPNOTE.TXT 4.3.12).

use super::extra::{read_extra, widen};
use super::fields::Fields;
use super::{ArchiveEntry, Kind};
use crate::fault::{ContainerFault, EntryFault, ExtractError};
use crate::limits::Limits;
use crate::member::{MemberInfo, Method};
use crate::record::{CENTRAL_SIGNATURE, FLAG_DESCRIPTOR, FLAG_UTF8};

/// A record of the directory without name, extra fields and comment.
pub(super) const CENTRAL_BYTES: u64 = 46;

/// Encrypted by one of three ways (bits 0, 6 and 13).
const FLAGS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Bits 1 and 2 only tell how hard the compressor tried.
const FLAGS_KNOWN: u16 = 1 << 1 | 1 << 2 | FLAG_DESCRIPTOR | FLAG_UTF8;

/// Systems whose upper attributes are a unix mode: Unix and OS X.
const MADE_BY_UNIX: [u8; 2] = [3, 19];

const MODE_TYPE: u32 = 0o170_000;
const MODE_FOLDER: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_SYMLINK: u32 = 0o120_000;
/// The owner may execute it.
const MODE_EXECUTABLE: u32 = 0o100;

/// The fixed fields, as they stand there.
struct Raw<'a> {
    made_by: u16,
    flags: u16,
    method: u16,
    crc32: u32,
    compressed: u32,
    size: u32,
    disk: u16,
    attributes: u32,
    offset: u32,
    name: &'a [u8],
    extra: &'a [u8],
}

/// Reads exactly `count` records from exactly `bytes`.
pub(super) fn read_all(bytes: &[u8], count: u64, limits: &Limits) -> Result<Vec<ArchiveEntry>, ExtractError> {
    let mut fields = Fields(bytes);
    let mut entries = Vec::new();
    for _ in 0..count {
        let raw = read_raw(&mut fields).ok_or(ContainerFault::Count)?;
        let entry = check(&raw, limits).map_err(|fault| ExtractError::member(raw.name, fault))?;
        if raw.disk != 0 {
            return Err(ContainerFault::MultiDisk.into());
        }
        entries.push(entry);
    }
    if !fields.0.is_empty() {
        return Err(ContainerFault::Count.into());
    }
    Ok(entries)
}

fn read_raw<'a>(fields: &mut Fields<'a>) -> Option<Raw<'a>> {
    if fields.u32()? != CENTRAL_SIGNATURE {
        return None;
    }
    let made_by = fields.u16()?;
    let _version_needed = fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time = fields.u32()?;
    let (crc32, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name_len, extra_len, comment_len) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    let _internal_attributes = fields.u16()?;
    let (attributes, offset) = (fields.u32()?, fields.u32()?);
    let name = fields.bytes(name_len.into())?;
    let extra = fields.bytes(extra_len.into())?;
    let _comment = fields.bytes(comment_len.into())?;
    Some(Raw { made_by, flags, method, crc32, compressed, size, disk, attributes, offset, name, extra })
}

fn check(raw: &Raw<'_>, limits: &Limits) -> Result<ArchiveEntry, EntryFault> {
    if raw.flags & FLAGS_ENCRYPTED != 0 {
        return Err(EntryFault::Encrypted);
    }
    if raw.flags & !FLAGS_KNOWN != 0 {
        return Err(EntryFault::Flags(raw.flags));
    }
    let method = Method::from_code(raw.method).ok_or(EntryFault::Method(raw.method))?;
    let extra = read_extra(raw.extra, raw.name)?;
    let [size, compressed, header_offset] =
        widen(extra.zip64, [raw.size, raw.compressed, raw.offset]).ok_or(EntryFault::Zip64)?;
    let kind = kind(raw)?;
    if method == Method::Stored && size != compressed {
        return Err(EntryFault::HeadersDisagree("size"));
    }
    if kind == Kind::Directory && size != 0 {
        return Err(EntryFault::FolderWithContent);
    }
    if size > limits.file_bytes_max {
        return Err(EntryFault::TooLarge { limit: limits.file_bytes_max });
    }
    if !limits.is_ratio_fine(size, compressed) {
        return Err(EntryFault::Ratio { limit: limits.ratio_max });
    }
    Ok(ArchiveEntry {
        name: raw.name.into(),
        kind,
        info: MemberInfo { method, crc32: raw.crc32, size, compressed },
        flags: raw.flags,
        header_offset,
        data_offset: 0,
    })
}

fn kind(raw: &Raw<'_>) -> Result<Kind, EntryFault> {
    let is_folder = raw.name.ends_with(b"/");
    let [_, system] = raw.made_by.to_le_bytes();
    let mode = if MADE_BY_UNIX.contains(&system) { raw.attributes >> 16 } else { 0 };
    let kind = match mode & MODE_TYPE {
        0 if is_folder => Kind::Directory,
        MODE_FOLDER => Kind::Directory,
        MODE_SYMLINK => Kind::Symlink,
        0 | MODE_FILE if mode & MODE_EXECUTABLE != 0 => Kind::Executable,
        0 | MODE_FILE => Kind::File,
        _ => return Err(EntryFault::Special(mode)),
    };
    if is_folder == (kind == Kind::Directory) { Ok(kind) } else { Err(EntryFault::KindMismatch) }
}
