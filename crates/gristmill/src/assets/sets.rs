//! [`Sets`]: what a bucket has of assets, and whether it counts.
//!
//! A set with a manifest counts where that is complete and all its files are there: by their sizes and ETags, or, where an
//! ETag is another one, by the object's bytes. A set without one is s3-asset-manager's, which counts
//! any object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, stream};
use gristmill_model::{AssetFile, AssetKeys, AssetSet, AssetState, Digest};
use gristmill_storage::{Bucket, Head, Listed, StorageError};

/// Calls on their way at once.
pub const AT_ONCE: usize = 32;

/// Metadata's names, as s3-asset-manager has them.
pub const PACKAGE_HASH: &str = "package-hash";
/// The commit.
pub const COMMIT_HASH: &str = "commit-hash";
/// What the code is.
pub const CODE_HASH: &str = "code-hash";

/// The sets of a bucket.
#[derive(Clone, Debug)]
pub struct Sets {
    /// The bucket.
    pub bucket: Bucket,
    /// Where they lie in it.
    pub keys: AssetKeys,
    root: String,
}

/// Which set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Of a commit.
    Commit(String),
    /// Of a code hash, in the cache.
    Code(String),
}

/// What lies at a set's place.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The manifest and its ETag. One that cannot be read has no set.
    pub manifest: Option<(Option<AssetSet>, String)>,
    /// The objects.
    pub objects: Vec<Listed>,
}

/// Whether a set counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All of it is there.
    Whole(AssetSet),
    /// Without a manifest: any object counts.
    Counted(usize),
    /// An upload was begun and did not end, or it is being removed.
    Unfinished,
    /// It was complete, and these are missing or others now.
    Damaged(Vec<String>),
    /// Nothing is there.
    Nothing,
}

impl Sets {
    /// The sets in a bucket; `root` is what people read before a key.
    pub fn new(bucket: Bucket, keys: AssetKeys, root: String) -> Sets {
        Sets { bucket, keys, root }
    }

    /// A key as people read it.
    pub fn shown(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// What a set's files begin with.
    pub fn prefix(&self, target: &Target) -> String {
        match target {
            Target::Commit(commit) => self.keys.commit(commit),
            Target::Code(hash) => self.keys.code(hash),
        }
    }

    /// A set's manifest.
    pub fn manifest(&self, target: &Target) -> String {
        match target {
            Target::Commit(commit) => self.keys.commit_manifest(commit),
            Target::Code(hash) => self.keys.code_manifest(hash),
        }
    }

    /// Looks at a set's place: two calls at once; where objects have no manifest, one more. A manifest is written before
    /// the first object, and whoever has seen that one finds it then.
    ///
    /// # Errors
    ///
    /// Where the bucket cannot be asked, here and below.
    pub async fn look(&self, target: &Target) -> Result<Seen, StorageError> {
        let (manifest, prefix) = (self.manifest(target), self.prefix(target));
        let (mut found, objects) = tokio::try_join!(self.bucket.get(&manifest), self.bucket.list(&prefix))?;
        if found.is_none() && !objects.is_empty() {
            found = self.bucket.get(&manifest).await?;
        }
        let manifest = found.map(|(bytes, etag)| (AssetSet::parse(&bytes), etag));
        Ok(Seen { manifest, objects })
    }

    /// Whether what was seen counts.
    pub async fn judge(&self, target: &Target, seen: &Seen) -> Result<Verdict, StorageError> {
        let set = match &seen.manifest {
            None if seen.objects.is_empty() => return Ok(Verdict::Nothing),
            None => return Ok(Verdict::Counted(seen.objects.len())),
            Some((Some(set), _)) if set.state == AssetState::Complete => set,
            Some(_) => return Ok(Verdict::Unfinished),
        };
        let damaged = self.damaged(&self.prefix(target), set, &seen.objects).await?;
        Ok(if damaged.is_empty() { Verdict::Whole(set.clone()) } else { Verdict::Damaged(damaged) })
    }

    /// The files of a set that are not there as they should be. Where an ETag is another one somebody has written the object
    /// again, and it is read: what stands with it may be another job's on servers that write it apart from the bytes.
    pub async fn damaged(
        &self,
        prefix: &str,
        set: &AssetSet,
        objects: &[Listed],
    ) -> Result<Vec<String>, StorageError> {
        let (mut damaged, mut doubtful) = (Vec::new(), Vec::new());
        for file in &set.files {
            let key = format!("{prefix}{}", file.path);
            let at = objects.binary_search_by(|object| object.key.as_str().cmp(&key));
            match at.ok().map(|at| &objects[at]) {
                Some(object) if object.size != file.size => damaged.push(file.path.clone()),
                Some(object) if object.etag.is_some() && file.etag.is_some() && object.etag != file.etag => {
                    doubtful.push((key, file));
                }
                Some(_) => {}
                None => damaged.push(file.path.clone()),
            }
        }
        let checks = stream::iter(doubtful).map(|(key, file)| async move {
            let has = self.has_bytes(&key, file).await?;
            Ok::<_, StorageError>((!has).then(|| file.path.clone()))
        });
        let mut checks = checks.buffer_unordered(AT_ONCE);
        while let Some(checked) = checks.next().await {
            damaged.extend(checked?);
        }
        damaged.sort();
        Ok(damaged)
    }

    /// Whether the object has the file's bytes; reads it where nothing is told of them.
    pub async fn is_same(&self, key: &str, head: &Head, file: &AssetFile) -> Result<bool, StorageError> {
        match (is_told_same(head, file), file.digest) {
            (Some(is_same), _) => Ok(is_same),
            (None, Some(_)) if head.size == file.size => self.has_bytes(key, file).await,
            (None, _) => Ok(false),
        }
    }

    /// Whether the object has the file's bytes, all of which are read.
    pub async fn has_bytes(&self, key: &str, file: &AssetFile) -> Result<bool, StorageError> {
        let Some(digest) = file.digest else { return Ok(false) };
        let nowhere = std::fs::File::options().write(true).open("/dev/null");
        let nowhere = nowhere.map_err(|error| StorageError::from_io("opening /dev/null", error))?;
        Ok(self.bucket.download(key, nowhere.into()).await? == Some((file.size, digest)))
    }
}

/// Whether an object has a file's bytes, as far as its metadata tells.
fn is_told_same(head: &Head, file: &AssetFile) -> Option<bool> {
    if head.size != file.size {
        return Some(false);
    }
    let told = head.metadata.get(PACKAGE_HASH)?;
    file.digest.map(|digest| *told == package_hash(&digest))
}

/// The hash as Lambda tells it (`CodeSha256`).
pub fn package_hash(digest: &Digest) -> String {
    STANDARD.encode(digest.as_bytes())
}

/// The digest that such a hash is of.
pub fn digest_of(package_hash: &str) -> Option<Digest> {
    Digest::from_slice(&STANDARD.decode(package_hash).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_hashes_are_as_lambda_tells_them() {
        let digest = Digest::of(b"zip1");
        assert_eq!(package_hash(&digest), "aIlrzX7uACd/DeIdwKwR9rq8nGjom00wzkd6NvEJsvU=");
        assert_eq!(digest_of(&package_hash(&digest)), Some(digest));
        assert_eq!(digest_of("aIlr"), None);
        assert_eq!(digest_of("%"), None);
    }
}
