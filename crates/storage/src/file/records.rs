//! Version records: `versions/<sha256 of key>/<seq>.json`.
//!
//! The last record says what a key should hold, unless `withdrawn.json` names the same or a later
//! seq. A record is written durably before readers see its version, and never changes (but for the
//! mark of a copy, when the copy is made again).

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use gristmill_model::{Digest, ObjectKey};
use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::session::Session;
use super::{FileStorage, disk};
use crate::object::PublicObject;

/// Digits of the largest seq; names of equal length sort as their numbers do.
const SEQ_DIGITS: usize = 19;
/// The longest record read. Metadata comes from the program; the bound keeps a foreign file from
/// filling the memory.
const RECORD_BYTES_MAX: u64 = 1024 * 1024;
const WITHDRAWN: &str = "withdrawn.json";

/// One version, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub key: ObjectKey,
    pub seq: i64,
    pub digest: Digest,
    pub size: u64,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
    /// Present where the public file is a copy and no link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyMark>,
}

/// How a public file that is a copy is known again without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct CopyMark {
    pub inode: u64,
    pub modified_ns: i64,
}

impl CopyMark {
    pub(super) fn of(stat: &disk::Stat) -> CopyMark {
        CopyMark { inode: stat.st_ino, modified_ns: disk::modified_ns(stat) }
    }
}

#[derive(Serialize, Deserialize)]
struct Withdrawn {
    key: ObjectKey,
    /// The last version when the key was withdrawn; a later one undoes it.
    withdrawn: i64,
}

impl Record {
    pub(super) fn new(key: &ObjectKey, object: &PublicObject) -> Record {
        Record {
            key: key.clone(),
            seq: object.seq,
            digest: object.digest,
            size: object.size,
            content_type: object.content_type.clone(),
            metadata: object.metadata.clone(),
            copy: None,
        }
    }

    pub(super) fn into_object(self) -> PublicObject {
        PublicObject {
            seq: self.seq,
            digest: self.digest,
            size: self.size,
            content_type: self.content_type,
            metadata: self.metadata,
        }
    }
}

fn file_name(seq: i64) -> String {
    format!("{seq:0SEQ_DIGITS$}.json")
}

/// The seq that a record's file name tells.
pub(super) fn seq_of_name(name: &str) -> Option<i64> {
    let seq = name.strip_suffix(".json")?.parse().ok()?;
    (seq >= 0 && file_name(seq) == name).then_some(seq)
}

/// The name of a key's folder below `versions/`.
pub(super) fn folder_name(key: &ObjectKey) -> String {
    Digest::of(key.as_str().as_bytes()).to_hex()
}

/// A key's version records, under the key's lock.
#[derive(Debug)]
pub(super) struct KeyFolder<'a> {
    versions: &'a OwnedFd,
    session: &'a Session,
    name: String,
    dir: OwnedFd,
}

impl FileStorage {
    /// Waits for the sole right to change `key`. Makes its folder where there is none.
    pub(super) fn lock_key(&self, key: &ObjectKey) -> io::Result<KeyFolder<'_>> {
        let name = folder_name(key);
        loop {
            disk::make_dir(&self.versions, &name, disk::MODE_PRIVATE_DIR)?;
            if let Some(folder) = self.lock_folder(&name, FlockOperation::LockExclusive)? {
                return Ok(folder);
            }
        }
    }

    /// Waits until nobody changes `key`, and keeps it so. `None` where it has no folder.
    pub(super) fn lock_key_shared(&self, key: &ObjectKey) -> io::Result<Option<KeyFolder<'_>>> {
        self.lock_folder(&folder_name(key), FlockOperation::LockShared)
    }

    /// Waits for the sole right to change `key`. `None` where it has no folder.
    pub(super) fn lock_existing_key(&self, key: &ObjectKey) -> io::Result<Option<KeyFolder<'_>>> {
        self.lock_folder(&folder_name(key), FlockOperation::LockExclusive)
    }

    /// `None` where the folder is not there, or was taken away while this waited.
    pub(super) fn lock_folder(
        &self,
        name: &str,
        operation: FlockOperation,
    ) -> io::Result<Option<KeyFolder<'_>>> {
        let Some(dir) = disk::if_there(disk::open_dir(&self.versions, name))? else { return Ok(None) };
        disk::lock(&dir, operation)?;
        let held = disk::stat_open(&dir)?.st_ino;
        let named = disk::stat(&self.versions, name)?.map(|stat| stat.st_ino);
        let folder =
            KeyFolder { versions: &self.versions, session: &self.session, name: name.to_owned(), dir };
        Ok((named == Some(held)).then_some(folder))
    }
}

impl KeyFolder<'_> {
    /// The seqs on record, in no order.
    pub(super) fn seqs(&self) -> io::Result<Vec<i64>> {
        let mut seqs = Vec::new();
        for entry in disk::entries(&self.dir)? {
            seqs.extend(seq_of_name(&entry?.0));
        }
        Ok(seqs)
    }

    /// The last seq on record.
    pub(super) fn latest_seq(&self) -> io::Result<Option<i64>> {
        Ok(self.seqs()?.into_iter().max())
    }

    /// The highest seq that this key ever had, as far as is known: recorded, or withdrawn and its
    /// record deleted since.
    pub(super) fn highest_seq(&self) -> io::Result<Option<i64>> {
        Ok(self.latest_seq()?.max(self.withdrawn()?))
    }

    /// Reads a record; `InvalidData` where it cannot be understood or is another key's or seq's.
    pub(super) fn read(&self, seq: i64) -> io::Result<Record> {
        let invalid = |why: String| {
            let path = format!("versions/{}/{}", self.name, file_name(seq));
            io::Error::new(io::ErrorKind::InvalidData, format!("`{path}` is damaged ({why}); take it away"))
        };
        let bytes = read_bounded(&self.dir, &file_name(seq))?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if record.seq != seq || folder_name(&record.key) != self.name {
            return Err(invalid(format!("it belongs to version {} of `{}`", record.seq, record.key)));
        }
        Ok(record)
    }

    /// Writes a record durably, in one step. `first`: none was durable before, so that the folder
    /// itself may not be either.
    pub(super) fn write(&self, record: &Record, first: bool) -> io::Result<()> {
        self.write_json(&file_name(record.seq), record, first)
    }

    fn write_json(&self, name: &str, value: &impl Serialize, first: bool) -> io::Result<()> {
        if first {
            disk::sync_dir(self.versions)?;
        }
        let mut json = serde_json::to_vec_pretty(value)?;
        json.push(b'\n');
        let (temporary, mut file) = self.session.create()?;
        file.write_all(&json)?;
        disk::sync_file(&file)?;
        disk::rename(self.session.dir(), temporary.name(), &self.dir, name)?;
        disk::sync_dir(&self.dir)
    }

    /// Makes sure that what is on record is durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        disk::sync_dir(self.versions)?;
        disk::sync_dir(&self.dir)
    }

    /// Takes a record away, durably; says whether it was there.
    pub(super) fn remove(&self, seq: i64) -> io::Result<bool> {
        let was_there = disk::remove_file(&self.dir, &file_name(seq))?;
        disk::sync_dir(&self.dir)?;
        Ok(was_there)
    }

    /// The last seq when the key was withdrawn, where it was.
    pub(super) fn withdrawn(&self) -> io::Result<Option<i64>> {
        let Some(bytes) = disk::if_there(read_bounded(&self.dir, WITHDRAWN))? else { return Ok(None) };
        Ok(Some(serde_json::from_slice::<Withdrawn>(&bytes)?.withdrawn))
    }

    /// Notes durably that the key is withdrawn as of `seq`.
    pub(super) fn set_withdrawn(&self, key: &ObjectKey, seq: i64) -> io::Result<()> {
        self.write_json(WITHDRAWN, &Withdrawn { key: key.clone(), withdrawn: seq }, false)
    }

    /// Forgets, durably, that the key was withdrawn.
    pub(super) fn clear_withdrawn(&self) -> io::Result<()> {
        if disk::remove_file(&self.dir, WITHDRAWN)? {
            disk::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Takes the folder away if it is empty. Needs the exclusive lock.
    pub(super) fn remove_if_empty(self) -> io::Result<()> {
        disk::remove_empty_dir(self.versions, &self.name)?;
        Ok(())
    }
}

fn read_bounded(dir: &OwnedFd, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    disk::open_file(dir, name)?.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do() {
        assert_eq!(file_name(0), "0000000000000000000.json");
        assert_eq!(file_name(42), "0000000000000000042.json");
        assert_eq!(file_name(i64::MAX), "9223372036854775807.json");
        for seq in [0, 1, 9, 10, i64::MAX] {
            assert_eq!(seq_of_name(&file_name(seq)), Some(seq));
        }
        for name in ["1.json", "0000000000000000001", "withdrawn.json", "-000000000000000001.json", "x"] {
            assert_eq!(seq_of_name(name), None, "{name}");
        }
    }
}
