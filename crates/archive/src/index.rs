//! Where the raw bytes of each member lie in an archive, kept beside it so that the next archive can copy
//! them.
//!
//! Encoded form, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `GMZINDEX` |
//! | 4 | version of this encoding, 1 |
//! | 4 | width of a key field, 0 to 64 |
//! | 8 | length of the archive in bytes |
//! | 8 | number of records |
//! | n × (30 + width) | records, ascending by key |
//! | 32 | SHA-256 of all before |
//!
//! A record: length of the key (1), key filled up with zeros (width), offset of the raw bytes (8), their
//! length (8), size of the content (8), CRC-32 (4), method (1: 0 stored, 8 deflated).
//!
//! The trailer notices damage, not malice: who can write the index can write the trailer. Index and archive
//! are to be found by digests that the reader trusts; then a raw copy needs no further check. Without such
//! digests use [`crate::verify`].

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest, Sha256};

use crate::member::{MemberInfo, Method};

/// Keys are at most this long: a digest and a few words.
pub const KEY_BYTES_MAX: usize = 64;

const MAGIC: &[u8; 8] = b"GMZINDEX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const TRAILER_BYTES: usize = 32;
/// A record without its key field.
const FIXED_BYTES: usize = 30;

/// A member's raw bytes in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Where the raw bytes start, after the local header.
    pub offset: u64,
    /// Their length and what they hold.
    pub info: MemberInfo,
}

impl Located {
    /// The first offset behind the raw bytes.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.info.compressed)
    }
}

/// A map from member keys to raw bytes in one archive. Looking up is a binary search in the encoded records;
/// nothing is built when decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    archive_len: u64,
    key_width: usize,
    records: Vec<u8>,
}

/// Why bytes are not an index. Whatever the reason, the archive can be written without it, only slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Too short, or without the magic.
    #[error("not an archive index")]
    NotAnIndex,
    /// Another version of the encoding.
    #[error("an archive index of version {0}, this program reads {VERSION}")]
    Version(u32),
    /// The counts do not fit the length.
    #[error("an archive index with a wrong length: cut off or damaged")]
    Length,
    /// The trailer is not the digest of the rest.
    #[error("an archive index whose SHA-256 does not fit: damaged")]
    Digest,
    /// A record that no writer makes; the number counts from 0.
    #[error("an archive index whose record {0} is invalid")]
    Record(usize),
}

impl Index {
    /// The length of the archive that the index belongs to, in bytes.
    pub fn archive_len(&self) -> u64 {
        self.archive_len
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.records.len() / self.record_bytes()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The raw bytes of the member with this key.
    pub fn get(&self, key: &[u8]) -> Option<Located> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let record = self.record(middle);
            match record.key().cmp(key) {
                Ordering::Equal => return record.located(),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// All keys, ascending, with their raw bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Located)> {
        (0..self.len()).filter_map(|number| {
            let record = self.record(number);
            Some((record.key(), record.located()?))
        })
    }

    /// The bytes to keep beside the archive.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.records.len() + TRAILER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.key_width as u32).to_le_bytes());
        out.extend_from_slice(&self.archive_len.to_le_bytes());
        out.extend_from_slice(&(self.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.records);
        let digest = Sha256::digest(&out);
        out.extend_from_slice(&digest);
        out
    }

    /// Reads what [`Index::encode`] wrote. Never takes more memory than `bytes` have.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let fields = bytes.strip_prefix(MAGIC).ok_or(IndexError::NotAnIndex)?;
        let (version, fields) = split_u32(fields).ok_or(IndexError::NotAnIndex)?;
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        let (key_width, fields) = split_u32(fields).ok_or(IndexError::Length)?;
        let (archive_len, fields) = split_u64(fields).ok_or(IndexError::Length)?;
        let (count, fields) = split_u64(fields).ok_or(IndexError::Length)?;
        let (records, trailer) = fields.split_last_chunk::<TRAILER_BYTES>().ok_or(IndexError::Length)?;
        let key_width = usize::try_from(key_width).map_err(|_| IndexError::Length)?;
        if key_width > KEY_BYTES_MAX
            || count.checked_mul((FIXED_BYTES + key_width) as u64) != Some(records.len() as u64)
        {
            return Err(IndexError::Length);
        }
        let digest = Sha256::digest(&bytes[..bytes.len() - TRAILER_BYTES]);
        if digest[..] != trailer[..] {
            return Err(IndexError::Digest);
        }
        let index = Self { archive_len, key_width, records: records.to_vec() };
        index.check_records()?;
        Ok(index)
    }

    fn check_records(&self) -> Result<(), IndexError> {
        let mut previous: Option<&[u8]> = None;
        for number in 0..self.len() {
            let record = self.record(number);
            let fault = IndexError::Record(number);
            let key_len = usize::from(record.0[0]);
            if key_len == 0 || key_len > self.key_width || record.padding().iter().any(|&byte| byte != 0) {
                return Err(fault);
            }
            let located = record.located().ok_or(fault)?;
            let is_inside = located
                .offset
                .checked_add(located.info.compressed)
                .is_some_and(|end| end <= self.archive_len);
            let is_ascending = previous.is_none_or(|previous| previous < record.key());
            if !is_inside || !is_ascending || !located.info.is_canonical() {
                return Err(fault);
            }
            previous = Some(record.key());
        }
        Ok(())
    }

    fn record_bytes(&self) -> usize {
        FIXED_BYTES + self.key_width
    }

    fn record(&self, number: usize) -> Record<'_> {
        let start = number * self.record_bytes();
        Record(&self.records[start..start + self.record_bytes()])
    }
}

/// One record: 1 byte length of the key, the key field, 29 bytes of numbers.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn key(&self) -> &'a [u8] {
        &self.0[1..1 + usize::from(self.0[0])]
    }

    fn padding(&self) -> &'a [u8] {
        &self.0[1 + usize::from(self.0[0])..self.0.len() - (FIXED_BYTES - 1)]
    }

    /// None only for a method that does not exist.
    fn located(&self) -> Option<Located> {
        let numbers = &self.0[self.0.len() - (FIXED_BYTES - 1)..];
        let (offset, numbers) = split_u64(numbers)?;
        let (compressed, numbers) = split_u64(numbers)?;
        let (size, numbers) = split_u64(numbers)?;
        let (crc32, numbers) = split_u32(numbers)?;
        let method = Method::from_code(u16::from(*numbers.first()?))?;
        Some(Located { offset, info: MemberInfo { method, crc32, size, compressed } })
    }
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*first), rest))
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), rest))
}

/// Gathers keys while an archive is written.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    members: HashMap<Box<[u8]>, Located>,
}

impl IndexBuilder {
    /// Remembers where a key's raw bytes are. The first place of a key that comes again is kept.
    pub(crate) fn add(&mut self, key: &[u8], located: Located) {
        if let Entry::Vacant(slot) = self.members.entry(key.into()) {
            slot.insert(located);
        }
    }

    pub(crate) fn finish(self, archive_len: u64) -> Index {
        let mut members: Vec<_> = self.members.into_iter().collect();
        members.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let key_width = members.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
        let mut records = Vec::with_capacity(members.len() * (FIXED_BYTES + key_width));
        for (key, Located { offset, info }) in &members {
            records.push(key.len() as u8);
            records.extend_from_slice(key);
            records.resize(records.len() + key_width - key.len(), 0);
            records.extend_from_slice(&offset.to_le_bytes());
            records.extend_from_slice(&info.compressed.to_le_bytes());
            records.extend_from_slice(&info.size.to_le_bytes());
            records.extend_from_slice(&info.crc32.to_le_bytes());
            records.push(info.method.code() as u8);
        }
        Index { archive_len, key_width, records }
    }
}
