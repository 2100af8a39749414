//! Checking a storage: every blob, every version record, every public file.

use std::io;

use gristmill_model::ObjectKey;
use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;

use super::blobs::{digest_of_name, hash_file};
use super::disk::{self, FileType};
use super::records::{KeyFolder, folder_name};
use super::{FileStorage, RESERVED_PREFIX};
use crate::error::StorageError;
use crate::object::{Checked, Finding};

/// Counts what is checked and hands on what is found.
struct Report<'a> {
    checked: Checked,
    deep: bool,
    tell: &'a mut dyn FnMut(Finding),
}

impl Report<'_> {
    fn find(&mut self, finding: Finding) {
        self.checked.findings += 1;
        (self.tell)(finding);
    }
}

impl FileStorage {
    /// Goes through everything; `deep` also reads and hashes it. What changes meanwhile is judged
    /// as it is found, each key under its lock.
    pub(crate) fn verify(&self, deep: bool, tell: &mut dyn FnMut(Finding)) -> Result<Checked, StorageError> {
        let mut report = Report { checked: Checked::default(), deep, tell };
        let failed = |error| StorageError::from_io("checking the storage", error);
        self.verify_blobs(&mut report).map_err(failed)?;
        self.verify_keys(&mut report).map_err(failed)?;
        let public = disk::open_dir(&self.public, ".").map_err(failed)?;
        self.verify_public(&public, "", &mut report).map_err(failed)?;
        Ok(report.checked)
    }

    fn verify_blobs(&self, report: &mut Report<'_>) -> io::Result<()> {
        for entry in disk::entries_with_kind(&self.blobs)? {
            let (folder_name, kind) = entry?;
            let stray = |path| Finding::StrayBlob { path: format!("blobs/sha256/{path}") };
            if kind != FileType::Directory || folder_name.len() != 2 {
                report.find(stray(folder_name));
                continue;
            }
            let folder = disk::open_dir(&self.blobs, &folder_name)?;
            for entry in disk::entries_with_kind(&folder)? {
                let (name, kind) = entry?;
                match digest_of_name(&folder_name, &name).filter(|_| kind == FileType::RegularFile) {
                    None => report.find(stray(format!("{folder_name}/{name}"))),
                    Some(digest) => {
                        let Some(file) = disk::if_there(disk::open_file(&folder, &name))? else {
                            continue; // deleted since
                        };
                        report.checked.blobs += 1;
                        report.checked.bytes += disk::size(&disk::stat_open(&file)?);
                        if report.deep {
                            let found = hash_file(&file)?;
                            if found != digest {
                                report.find(Finding::BlobCorrupt { digest, found });
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn verify_keys(&self, report: &mut Report<'_>) -> io::Result<()> {
        for entry in disk::entries(&self.versions)? {
            let (name, _) = entry?;
            match self.lock_folder(&name, FlockOperation::LockShared) {
                Ok(Some(folder)) => self.verify_key(&name, &folder, report)?,
                Ok(None) => {} // gone since
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    report.find(Finding::RecordDamaged {
                        path: format!("versions/{name}"),
                        why: "it is no folder".to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn verify_key(&self, name: &str, folder: &KeyFolder<'_>, report: &mut Report<'_>) -> io::Result<()> {
        let damaged = |error: io::Error| Finding::RecordDamaged {
            path: format!("versions/{name}"),
            why: error.to_string(),
        };
        let seqs = folder.seqs()?;
        let mut latest: Option<(i64, ObjectKey)> = None;
        let mut whole = true;
        for seq in seqs {
            report.checked.versions += 1;
            let record = match folder.read(seq) {
                Ok(record) => record,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    whole = false;
                    report.find(damaged(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if self.stat_blob(&record.digest)?.is_none() {
                report.find(Finding::VersionBlobMissing {
                    key: record.key.to_string(),
                    seq,
                    digest: record.digest,
                });
            }
            if latest.as_ref().is_none_or(|(last, _)| *last < seq) {
                latest = Some((seq, record.key));
            }
        }
        let Some((seq, key)) = latest else { return Ok(()) };
        report.checked.keys += 1;
        if !whole {
            return Ok(()); // What the key should hold cannot be told.
        }
        match folder.withdrawn() {
            Ok(withdrawn) => {
                let withdrawn = withdrawn.is_some_and(|withdrawn| withdrawn >= seq);
                self.verify_held(folder, key, seq, withdrawn, report)
            }
            Err(error) => {
                report.find(damaged(error));
                Ok(())
            }
        }
    }

    fn verify_held(
        &self,
        folder: &KeyFolder<'_>,
        key: ObjectKey,
        seq: i64,
        withdrawn: bool,
        report: &mut Report<'_>,
    ) -> io::Result<()> {
        // What stands in the key's way is told of as a stray file, or is another key.
        let found = self.find(&key).ok().flatten();
        let finding = match found {
            None if withdrawn => None,
            None => Some(Finding::KeyMissing { key, seq }),
            Some(_) if withdrawn => Some(Finding::KeyNotWithdrawn { key }),
            Some(found) => {
                let record = self.current_record(folder, &key, &found, report.deep)?;
                let wanted = folder.read(seq)?;
                // Two versions may have the same bytes.
                let right = record.is_some_and(|record| record.digest == wanted.digest);
                (!right).then_some(Finding::KeyDiffers { key, seq })
            }
        };
        if let Some(finding) = finding {
            report.find(finding);
        }
        Ok(())
    }

    /// Looks for files that no key put there.
    fn verify_public(&self, dir: &OwnedFd, path: &str, report: &mut Report<'_>) -> io::Result<()> {
        for entry in disk::entries_with_kind(dir)? {
            let (name, kind) = entry?;
            if path.is_empty() && name.starts_with(RESERVED_PREFIX) {
                continue;
            }
            let path = format!("{path}{name}");
            if kind == FileType::Directory {
                // None: pruned since.
                if let Some(inner) = disk::if_there(disk::open_dir(dir, &name))? {
                    self.verify_public(&inner, &format!("{path}/"), report)?;
                }
                continue;
            }
            let known = match path.parse::<ObjectKey>() {
                Ok(key) if kind == FileType::RegularFile => {
                    disk::stat(&self.versions, &folder_name(&key))?.is_some()
                }
                _ => false,
            };
            if !known {
                report.find(Finding::StrayPublic { path });
            }
        }
        Ok(())
    }
}
