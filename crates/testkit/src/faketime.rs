//! A clock that is set for one program alone.

use std::path::{Path, PathBuf};

/// The library that sets the clock of the program that it is loaded into; `None` where it is not installed. See
/// <https://github.com/wolfcw/libfaketime>.
pub fn faketime() -> Option<PathBuf> {
    let below = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/lib64"];
    let mut paths = below.iter().map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"));
    paths.find(|path| path.exists())
}
