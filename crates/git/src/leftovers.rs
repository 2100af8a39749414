//! Unfinished things in a mirror: those of this process, and those that a killed one left.
//!
//! A data folder belongs to one process at a time, so what another one has made is left over. The number of a process
//! does not tell them apart: in a container it is the same after each start.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use crate::repair;

/// This process and no other.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has randomness after it has started");
    format!("{:016x}", u64::from_ne_bytes(bytes))
});

/// What the names of this process's unfinished things of a kind begin with.
pub(crate) fn prefix(kind: &str) -> String {
    format!("{kind}-{}-", *PROCESS)
}

/// Removes what other processes left of a kind, files and folders.
pub(crate) fn remove(dir: &Path, kind: &str) -> io::Result<()> {
    let (all, ours) = (format!("{kind}-"), prefix(kind));
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&all) || name.starts_with(&ours) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            repair::remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
