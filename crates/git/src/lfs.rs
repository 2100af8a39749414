//! Pointers: the small files that stand in a tree for the large ones of git-lfs.
//!
//! The format is that of git-lfs's specification (docs/spec.md, "The Pointer"). It is read strictly: "there is exactly
//! one valid encoding for a pointer file". As git-lfs does when it fetches, `.gitattributes` is not asked.

use std::fmt;

use gristmill_model::{BlobId, TreeId};

use crate::error::{GitError, ObjectError};
use crate::limit::Limit;
use crate::objects::Objects;
use crate::walk::{Entry, WalkLimits};

/// "Pointer files must be less than 1024 bytes in size".
const POINTER_BYTES_MAX: u64 = 1023;

/// The first line of every pointer since 2015.
const VERSION: &str = "version https://git-lfs.github.com/spec/v1\n";

/// Versions that nobody writes any more. Their files are large ones too, so they are refused, not passed on.
const OLD_VERSIONS: &[&str] =
    &["version http://git-media.io/v/2\n", "version https://hawser.github.com/spec/v1\n"];

/// The SHA-256 of a large file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LfsOid([u8; 32]);

/// What stands in a tree for a large file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LfsPointer {
    /// Its content.
    pub oid: LfsOid,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a file that begins like a pointer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerFault {
    /// A version before the specification.
    #[error("it is a pointer of an old version; convert it with `git lfs migrate`")]
    Old,
    /// Its content went through another program before it was stored.
    #[error("it has extensions, which only the program that wrote it can undo")]
    Extension,
    /// Lines are missing, too many, or in another order.
    #[error("its lines are not `version`, `oid sha256:…` and `size …`")]
    Lines,
    /// Not 64 lower-case digits.
    #[error("its oid is not a SHA-256")]
    Oid,
    /// Not a number as it would be written.
    #[error("its size is not a number of bytes")]
    Size,
}

impl LfsPointer {
    /// Reads a file. `None` where it does not begin like a pointer: most files do not.
    ///
    /// # Errors
    ///
    /// [`PointerFault`] where it begins like one and is none: packing that file instead would be wrong.
    pub fn parse(content: &[u8]) -> Option<Result<LfsPointer, PointerFault>> {
        let begins = |version: &&str| content.starts_with(version.as_bytes());
        if u64::try_from(content.len()).is_ok_and(|bytes| bytes > POINTER_BYTES_MAX) {
            return None;
        }
        if OLD_VERSIONS.iter().any(begins) {
            return Some(Err(PointerFault::Old));
        }
        begins(&VERSION).then(|| parse_rest(&content[VERSION.len()..]))
    }

    /// The file that stands for it.
    pub fn to_text(&self) -> String {
        format!("{VERSION}oid sha256:{}\nsize {}\n", self.oid, self.size)
    }
}

fn parse_rest(rest: &[u8]) -> Result<LfsPointer, PointerFault> {
    let rest = std::str::from_utf8(rest).map_err(|_| PointerFault::Lines)?;
    if rest.starts_with("ext-") {
        return Err(PointerFault::Extension);
    }
    let rest = rest.strip_prefix("oid ").ok_or(PointerFault::Lines)?;
    let (oid, rest) = rest.split_once('\n').ok_or(PointerFault::Lines)?;
    let size =
        rest.strip_prefix("size ").and_then(|rest| rest.strip_suffix('\n')).ok_or(PointerFault::Lines)?;
    let hex = oid.strip_prefix("sha256:").ok_or(PointerFault::Oid)?;
    let oid = LfsOid::from_hex(hex).ok_or(PointerFault::Oid)?;
    let plain = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
    let size = Some(size).filter(|_| plain).and_then(|size| size.parse().ok()).ok_or(PointerFault::Size)?;
    // git-lfs counts in signed numbers.
    if size > i64::MAX as u64 { Err(PointerFault::Size) } else { Ok(LfsPointer { oid, size }) }
}

impl LfsOid {
    /// From 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<LfsOid> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if hex.len() != 64 || !hex.bytes().all(digit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(LfsOid(bytes))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for LfsOid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LfsOid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Objects {
    /// The pointer that a blob is; `None` for every other file. Larger files are not unpacked for this.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Malformed`] for a pointer that is none, and as [`Objects::blob`].
    pub fn lfs_pointer(&self, id: BlobId) -> Result<Option<LfsPointer>, ObjectError> {
        let bytes = self.blob_size(id)?;
        let bytes_min = u64::try_from(VERSION.len()).unwrap_or(u64::MAX).min(32);
        if bytes > POINTER_BYTES_MAX || bytes < bytes_min {
            return Ok(None);
        }
        let mut content = Vec::new();
        self.blob(id, &mut content)?;
        let malformed = |why: PointerFault| ObjectError::Malformed { id: id.0, why: why.to_string() };
        LfsPointer::parse(&content).transpose().map_err(malformed)
    }

    /// All pointers of a tree with their paths, in git's order.
    ///
    /// # Errors
    ///
    /// [`GitError::TooLarge`] for more than `pointers_max`, and as [`Objects::walk`] and [`Objects::lfs_pointer`].
    pub fn lfs_pointers(
        &self,
        tree: TreeId,
        limits: WalkLimits,
        pointers_max: usize,
    ) -> Result<Vec<(Vec<u8>, LfsPointer)>, GitError> {
        let mut found = Vec::new();
        self.walk(tree, limits, |path, entry| {
            if let Entry::File { blob, .. } = entry
                && let Some(pointer) = self.lfs_pointer(blob)?
            {
                found.push((path.to_owned(), pointer));
            }
            if found.len() > pointers_max {
                let max = u64::try_from(pointers_max).unwrap_or(u64::MAX);
                return Err(GitError::TooLarge { what: Limit::LargeFiles, max });
            }
            Ok(())
        })?;
        Ok(found)
    }
}
