//! Finds the end records and from them the directory (APPNOTE.TXT 4.3.14 to 4.3.16). Strict: where two
//! programs could find two directories, there is none.

use std::io::{Read, Seek};

use super::fields::Fields;
use super::source::Source;
use crate::fault::{ContainerFault, ExtractError};
use crate::record::{END_SIGNATURE, END64_SIGNATURE, LOCATOR64_SIGNATURE, MAX16, MAX32};

const END_BYTES: usize = 22;
const END64_BYTES: u64 = 56;
const LOCATOR64_BYTES: u64 = 20;
/// The end record with the longest comment.
const TAIL_BYTES_MAX: u64 = END_BYTES as u64 + MAX16;

/// Where the directory lies, and how many members it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
}

pub(super) fn find<R: Read + Seek>(source: &mut Source<R>) -> Result<Directory, ExtractError> {
    let tail_len = source.len().min(TAIL_BYTES_MAX);
    let tail_offset = source.len() - tail_len;
    let tail = source.read_at(tail_offset, tail_len as usize)?;
    let at = find_end_record(&tail)?;
    let end_offset = tail_offset + at as u64;
    let narrow = read_end_record(&tail[at..])?;
    let (directory, records_offset) = match read_end64(source, end_offset, &narrow)? {
        Some(found) => found,
        None if narrow.entries >= MAX16 || narrow.size >= MAX32 || narrow.offset >= MAX32 => {
            return Err(ContainerFault::Zip64.into());
        }
        None => (narrow, end_offset),
    };
    check_bounds(&directory, records_offset)?;
    Ok(directory)
}

/// The one end record whose comment ends with the file.
fn find_end_record(tail: &[u8]) -> Result<usize, ContainerFault> {
    let signature = END_SIGNATURE.to_le_bytes();
    let mut seen = false;
    let mut found = None;
    for at in (0..tail.len()).filter(|&at| tail[at..].starts_with(&signature)) {
        // Behind a complete end record, this one stands in its comment.
        if found.is_some() {
            return Err(ContainerFault::AmbiguousEnd);
        }
        seen = true;
        if let Some((_, comment)) = tail[at..].split_at_checked(END_BYTES) {
            let stated = u16::from_le_bytes([tail[at + END_BYTES - 2], tail[at + END_BYTES - 1]]);
            if comment.len() == usize::from(stated) {
                found = Some(at);
            }
        }
    }
    found.ok_or(if seen { ContainerFault::TrailingBytes } else { ContainerFault::NoEnd })
}

fn read_end_record(record: &[u8]) -> Result<Directory, ContainerFault> {
    let mut fields = Fields(record);
    let mut read = || {
        let _signature = fields.u32()?;
        let disks = [fields.u16()?, fields.u16()?];
        let counts = [fields.u16()?, fields.u16()?];
        let (size, offset) = (fields.u32()?, fields.u32()?);
        Some((disks, counts, size, offset))
    };
    let (disks, counts, size, offset) = read().ok_or(ContainerFault::NoEnd)?;
    if disks != [0, 0] || counts[0] != counts[1] {
        return Err(ContainerFault::MultiDisk);
    }
    Ok(Directory { entries: counts[0].into(), offset: offset.into(), size: size.into() })
}

/// The directory by the zip64 records, and where these start; None where there is no locator.
fn read_end64<R: Read + Seek>(
    source: &mut Source<R>,
    end_offset: u64,
    narrow: &Directory,
) -> Result<Option<(Directory, u64)>, ExtractError> {
    let Some(locator_offset) = end_offset.checked_sub(LOCATOR64_BYTES) else { return Ok(None) };
    let locator = source.read_at(locator_offset, LOCATOR64_BYTES as usize)?;
    if !locator.starts_with(&LOCATOR64_SIGNATURE.to_le_bytes()) {
        return Ok(None);
    }
    let record_offset = locator_offset.checked_sub(END64_BYTES).ok_or(ContainerFault::Zip64)?;
    let mut fields = Fields(&locator[4..]);
    let (disk, stated, disks) = (fields.u32(), fields.u64(), fields.u32());
    if (disk, stated, disks) != (Some(0), Some(record_offset), Some(1)) {
        return Err(ContainerFault::Zip64.into());
    }
    let record = source.read_at(record_offset, END64_BYTES as usize)?;
    let wide = read_end64_record(&record)?;
    let agrees = |narrow: u64, wide: u64, max: u64| narrow == max || narrow == wide;
    if !agrees(narrow.entries, wide.entries, MAX16)
        || !agrees(narrow.size, wide.size, MAX32)
        || !agrees(narrow.offset, wide.offset, MAX32)
    {
        return Err(ContainerFault::Zip64.into());
    }
    Ok(Some((wide, record_offset)))
}

fn read_end64_record(record: &[u8]) -> Result<Directory, ContainerFault> {
    let mut fields = Fields(record);
    let mut read = || {
        let head = (fields.u32()?, fields.u64()?);
        let _versions = fields.u32()?;
        let disks = [fields.u32()?, fields.u32()?];
        let counts = [fields.u64()?, fields.u64()?];
        Some((head, disks, counts, fields.u64()?, fields.u64()?))
    };
    let (head, disks, counts, size, offset) = read().ok_or(ContainerFault::Zip64)?;
    // The length counts what follows it; more would be data that is not known here.
    if head != (END64_SIGNATURE, END64_BYTES - 12) {
        return Err(ContainerFault::Zip64);
    }
    if disks != [0, 0] || counts[0] != counts[1] {
        return Err(ContainerFault::MultiDisk);
    }
    Ok(Directory { entries: counts[0], offset, size })
}

/// The directory reaches exactly to the end records.
fn check_bounds(directory: &Directory, records_offset: u64) -> Result<(), ContainerFault> {
    let start = records_offset.checked_sub(directory.size).ok_or(ContainerFault::DirectoryBounds)?;
    if directory.offset < start {
        return Err(ContainerFault::LeadingBytes);
    }
    if directory.offset > start {
        return Err(ContainerFault::DirectoryBounds);
    }
    Ok(())
}
