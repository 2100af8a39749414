//! Blobs and public keys.
//!
//! A **blob** is bytes that never change, named by their SHA-256. A **public key** is a name that
//! ordinary clients read; it is a *projection*: what it should hold is decided elsewhere (a row in
//! the database), [`Storage::project`] makes it so, and may be asked again after any failure.
//!
//! There are two backends: a bucket of S3 or a compatible server (`s3:`, see `s3/mod.rs`), and a local folder
//! (`file:`), laid out so that any web server can serve its `public/`:
//!
//! ```text
//! <root>/blobs/sha256/ab/<hex>             the bytes, mode 0444, in folders only the owner's group enters
//! <root>/public/<key>                      what readers see: hard links to blobs, or copies
//! <root>/versions/<sha256 of key>/<seq>.json   one record a version, readable by people
//! <root>/tmp/<session>/                    unfinished files; those of dead processes go at the next open
//! ```
//!
//! [`Bucket`] is beside both: plain objects under keys that others chose.
//!
//! Files in `public/` are hard links to blobs where the file system allows. A reader under another
//! user cannot change them (mode 0444, another owner). The owner and root can, and would change the
//! blob with it: serve `public/` under another user, or read-only; `verify` with `deep` finds it.

#[cfg(not(unix))]
compile_error!("the `file:` storage needs a Unix file system: hard links, folders that can be synced, flock");

mod bucket;
mod error;
mod file;
mod object;
mod reader;
mod s3;
mod staged;
mod storage;
mod url;

pub use bucket::{
    About, Body, Bucket, BucketAccess, BucketCredentials, BucketKeys, Head, Listed, Write, WriteIf,
};
pub use error::{ProjectError, StorageError};
pub use file::probe::FolderCapabilities;
pub use object::{Blob, BlobEntry, Checked, CopiedRange, Finding, Projected, PublicObject};
pub use reader::BlobReader;
pub use s3::plain::{Proxies, ProxyAddressError};
pub use s3::probe::BucketCapabilities;
pub use s3::settings::{Role, S3Settings, Sse};
pub use s3::{create_bucket, policy};
pub use staged::Staged;
pub use storage::{Capabilities, Opening, Storage};
pub use url::{StorageUrl, StorageUrlError};
