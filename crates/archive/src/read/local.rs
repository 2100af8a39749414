//! The headers in front of the members' content (APPNOTE.TXT 4.3.7), and that all members together fill the
//! file up to the directory without gap or overlap.

use std::io::{Read, Seek};

use super::ArchiveEntry;
use super::extra::{read_extra, widen};
use super::fields::Fields;
use super::source::Source;
use crate::fault::{ContainerFault, EntryFault, ExtractError};
use crate::record::{DESCRIPTOR_SIGNATURE, FLAG_DESCRIPTOR, LOCAL_SIGNATURE};

const LOCAL_BYTES: u64 = 30;

/// Checks each member's local header and finds its content. `entries` are ascending by offset; the last
/// content, or the record behind it, ends at `directory_offset`.
pub(super) fn check_all<R: Read + Seek>(
    source: &mut Source<R>,
    entries: &mut [ArchiveEntry],
    directory_offset: u64,
) -> Result<(), ExtractError> {
    let first = entries.first().map_or(directory_offset, |entry| entry.header_offset);
    if first != 0 {
        return Err(ContainerFault::LeadingBytes.into());
    }
    for number in 0..entries.len() {
        let end = entries.get(number + 1).map_or(directory_offset, |next| next.header_offset);
        let entry = &mut entries[number];
        check_one(source, entry, end)?.map_err(|fault| ExtractError::member(&entry.name, fault))?;
    }
    Ok(())
}

/// The outer error is of reading, the inner one of the member.
fn check_one<R: Read + Seek>(
    source: &mut Source<R>,
    entry: &mut ArchiveEntry,
    end: u64,
) -> Result<Result<(), EntryFault>, ExtractError> {
    // Nothing is read behind `end`, so that overlapping members cannot make the reader slow.
    if end.saturating_sub(entry.header_offset) < LOCAL_BYTES {
        return Ok(Err(EntryFault::Overlap));
    }
    let fixed = source.read_at(entry.header_offset, LOCAL_BYTES as usize)?;
    let local = match read_fixed(&fixed) {
        Some(local) => local,
        None => return Ok(Err(EntryFault::NoHeader)),
    };
    let lengths = u64::from(local.name_len) + u64::from(local.extra_len);
    let data_offset = entry.header_offset + LOCAL_BYTES + lengths;
    if data_offset > end {
        return Ok(Err(EntryFault::Overlap));
    }
    let mut variable = vec![0; lengths as usize];
    source.read_exact(&mut variable)?;
    let (name, extra) = variable.split_at(local.name_len.into());
    if let Err(fault) = check_header(entry, &local, name, extra) {
        return Ok(Err(fault));
    }
    entry.data_offset = data_offset;
    let gap =
        match data_offset.checked_add(entry.info.compressed).and_then(|data_end| end.checked_sub(data_end)) {
            Some(gap) => gap,
            None => return Ok(Err(EntryFault::Overlap)),
        };
    check_tail(source, entry, gap)
}

/// The fixed part of a local header, without times and version.
struct Local {
    flags: u16,
    method: u16,
    crc32: u32,
    compressed: u32,
    size: u32,
    name_len: u16,
    extra_len: u16,
}

fn read_fixed(fixed: &[u8]) -> Option<Local> {
    let mut fields = Fields(fixed);
    if fields.u32()? != LOCAL_SIGNATURE {
        return None;
    }
    let _version_needed = fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let _time = fields.u32()?;
    let (crc32, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name_len, extra_len) = (fields.u16()?, fields.u16()?);
    Some(Local { flags, method, crc32, compressed, size, name_len, extra_len })
}

fn check_header(entry: &ArchiveEntry, local: &Local, name: &[u8], extra: &[u8]) -> Result<(), EntryFault> {
    if *name != *entry.name {
        return Err(EntryFault::HeadersDisagree("name"));
    }
    if local.flags != entry.flags {
        return Err(EntryFault::HeadersDisagree("flags"));
    }
    if local.method != entry.info.method.code() {
        return Err(EntryFault::HeadersDisagree("method"));
    }
    let extra = read_extra(extra, name)?;
    let [size, compressed] = widen(extra.zip64, [local.size, local.compressed]).ok_or(EntryFault::Zip64)?;
    // With a descriptor the values may be left out here.
    let may_be_zero = local.flags & FLAG_DESCRIPTOR != 0;
    let agrees = |here: u64, there: u64| here == there || (may_be_zero && here == 0);
    if !agrees(local.crc32.into(), entry.info.crc32.into()) {
        return Err(EntryFault::HeadersDisagree("checksum"));
    }
    if !agrees(size, entry.info.size) || !agrees(compressed, entry.info.compressed) {
        return Err(EntryFault::HeadersDisagree("size"));
    }
    Ok(())
}

/// What lies between the content and the next header: nothing, or the data descriptor, which has four forms
/// (APPNOTE.TXT 4.3.9).
fn check_tail<R: Read + Seek>(
    source: &mut Source<R>,
    entry: &ArchiveEntry,
    gap: u64,
) -> Result<Result<(), EntryFault>, ExtractError> {
    let has_descriptor = entry.flags & FLAG_DESCRIPTOR != 0;
    if !has_descriptor {
        return Ok(if gap == 0 { Ok(()) } else { Err(EntryFault::Gap) });
    }
    if !matches!(gap, 12 | 16 | 20 | 24) {
        return Ok(Err(EntryFault::Descriptor));
    }
    let bytes = source.read_at(entry.data_offset + entry.info.compressed, gap as usize)?;
    let is_right =
        read_descriptor(&bytes) == Some((entry.info.crc32, entry.info.compressed, entry.info.size));
    Ok(if is_right { Ok(()) } else { Err(EntryFault::Descriptor) })
}

fn read_descriptor(bytes: &[u8]) -> Option<(u32, u64, u64)> {
    let mut fields = Fields(bytes);
    if matches!(bytes.len(), 16 | 24) && fields.u32()? != DESCRIPTOR_SIGNATURE {
        return None;
    }
    let crc32 = fields.u32()?;
    if fields.0.len() == 16 {
        return Some((crc32, fields.u64()?, fields.u64()?));
    }
    Some((crc32, fields.u32()?.into(), fields.u32()?.into()))
}
