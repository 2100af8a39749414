//! [`AssetSet`]: the files that a build of one commit left, as the manifest beside them tells it; [`AssetKeys`]: where
//! they lie.
//!
//! ```text
//! <prefix>/artifacts/<commit>/<file>                the files
//! <prefix>/cache/<code hash>/<file>                 the same for all commits with that code
//! <prefix>/.gristmill/sets/<commit>.json            the manifest of the first
//! <prefix>/.gristmill/sets/cache/<code hash>.json   the manifest of the second
//! ```

use serde::{Deserialize, Serialize};

use crate::{CommitId, Digest, Timestamp};

/// What a manifest says of itself, so that other JSON is not taken for one.
pub const ASSET_SET_FORMAT: &str = "gristmill-asset-set/1";

/// How far a set has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetState {
    /// Being written, or left so by a writer that died: readers have none.
    Uploading,
    /// All of it is there.
    Complete,
    /// Being removed: readers have none.
    Removing,
}

/// Where the files came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssetOrigin {
    /// From a build of this commit.
    Build,
    /// From the cache: another commit with the same code.
    Cache,
}

/// One file of a set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AssetFile {
    /// Its path below the set's key.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes; `None` where they were stored by a program that did not tell it.
    pub digest: Option<Digest>,
    /// Its media type.
    pub media_type: String,
    /// The ETag of the object, once it is there and where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// The manifest of a set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AssetSet {
    /// [`ASSET_SET_FORMAT`].
    pub format: String,
    /// How far it has come.
    pub state: AssetState,
    /// The commit that was built. For a set of the cache, the one that was built first.
    pub commit: CommitId,
    /// The hash of the code that it depends on, where there is a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_hash: Option<String>,
    /// Where its files came from.
    pub origin: AssetOrigin,
    /// Whose writing it is; another one each time.
    pub writer: String,
    /// When the writing began.
    pub begun_ms: Timestamp,
    /// When it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_ms: Option<Timestamp>,
    /// Its files by their paths.
    pub files: Vec<AssetFile>,
}

impl AssetSet {
    /// Reads a manifest; `None` where it is none.
    pub fn parse(json: &[u8]) -> Option<AssetSet> {
        serde_json::from_slice::<AssetSet>(json).ok().filter(|set| set.format == ASSET_SET_FORMAT)
    }

    /// The manifest's text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest has only texts and numbers");
        text.push('\n');
        text
    }

    /// Whether both have the same files with the same bytes.
    pub fn has_same_files(&self, other: &AssetSet) -> bool {
        let is_same = |(one, other): (&AssetFile, &AssetFile)| {
            (&one.path, one.size, one.digest) == (&other.path, other.size, other.digest)
        };
        self.files.len() == other.files.len() && self.files.iter().zip(&other.files).all(is_same)
    }
}

/// Where sets lie in a bucket, below a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssetKeys {
    /// Empty, or ends in a slash.
    prefix: String,
}

impl AssetKeys {
    /// Below a prefix without slashes at its ends; maybe empty.
    pub fn new(prefix: &str) -> AssetKeys {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        AssetKeys { prefix }
    }

    /// What the files of all commits begin with.
    pub fn artifacts(&self) -> String {
        format!("{}artifacts/", self.prefix)
    }

    /// What the files of one commit begin with.
    pub fn commit(&self, commit: &str) -> String {
        format!("{}artifacts/{commit}/", self.prefix)
    }

    /// What all of the cache begins with.
    pub fn cache(&self) -> String {
        format!("{}cache/", self.prefix)
    }

    /// What the files of one code hash begin with.
    pub fn code(&self, hash: &str) -> String {
        format!("{}cache/{hash}/", self.prefix)
    }

    /// What all manifests begin with.
    pub fn manifests(&self) -> String {
        format!("{}.gristmill/sets/", self.prefix)
    }

    /// A commit's manifest.
    pub fn commit_manifest(&self, commit: &str) -> String {
        format!("{}{commit}.json", self.manifests())
    }

    /// A code hash's manifest.
    pub fn code_manifest(&self, hash: &str) -> String {
        format!("{}cache/{hash}.json", self.manifests())
    }

    /// The manifest of the set that a file with this key would be of; `None` where it can be of none.
    pub fn manifest_of(&self, key: &str) -> Option<String> {
        let of = |all: &str| key.strip_prefix(all)?.split_once('/').map(|(name, _)| name);
        let commit = of(&self.artifacts()).filter(|name| name.parse::<CommitId>().is_ok());
        let code = of(&self.cache()).filter(|name| is_code_hash(name));
        commit.map(|name| self.commit_manifest(name)).or_else(|| code.map(|name| self.code_manifest(name)))
    }
}

/// Whether a text can be a code hash: digits of MD5 or of SHA-256.
pub fn is_code_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> AssetSet {
        let file = |path: &str, bytes: &[u8]| AssetFile {
            path: path.to_owned(),
            size: bytes.len() as u64,
            digest: Some(Digest::of(bytes)),
            media_type: "application/zip".to_owned(),
            etag: None,
        };
        AssetSet {
            format: ASSET_SET_FORMAT.to_owned(),
            state: AssetState::Uploading,
            commit: "00000000000000000000000000000000000000aa".parse().unwrap(),
            code_hash: None,
            origin: AssetOrigin::Build,
            writer: "w".to_owned(),
            begun_ms: Timestamp(7),
            completed_ms: None,
            files: vec![file("a.zip", b"a")],
        }
    }

    #[test]
    fn manifests_are_read_as_they_were_written() {
        let set = set();
        expect_test::expect![[r#"
            {
              "format": "gristmill-asset-set/1",
              "state": "uploading",
              "commit": "00000000000000000000000000000000000000aa",
              "origin": "build",
              "writer": "w",
              "begun_ms": 7,
              "files": [
                {
                  "path": "a.zip",
                  "size": 1,
                  "digest": "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
                  "media_type": "application/zip"
                }
              ]
            }
        "#]]
        .assert_eq(&set.to_json());
        assert_eq!(AssetSet::parse(set.to_json().as_bytes()), Some(set.clone()));
        let other = AssetSet { format: "x".to_owned(), ..set };
        assert_eq!(AssetSet::parse(other.to_json().as_bytes()), None);
        assert_eq!(AssetSet::parse(b"{}"), None);
    }

    #[test]
    fn sets_are_compared_by_their_files_alone() {
        let one = set();
        let mut other = AssetSet { state: AssetState::Complete, writer: "x".to_owned(), ..set() };
        other.files[0].etag = Some("e".to_owned());
        assert!(one.has_same_files(&other));
        for change in [
            |file: &mut AssetFile| file.path.push('x'),
            |file: &mut AssetFile| file.size += 1,
            |file: &mut AssetFile| file.digest = None,
        ] {
            let mut changed = set();
            change(&mut changed.files[0]);
            assert!(!one.has_same_files(&changed));
        }
        other.files.push(other.files[0].clone());
        assert!(!one.has_same_files(&other));
    }

    #[test]
    fn keys_are_those_of_before_and_manifests_lie_beside_them() {
        let keys = AssetKeys::new("");
        assert_eq!(keys.commit("c0"), "artifacts/c0/");
        assert_eq!(keys.code("ab"), "cache/ab/");
        assert_eq!(keys.commit_manifest("c0"), ".gristmill/sets/c0.json");
        let keys = AssetKeys::new("team/a");
        assert_eq!((keys.artifacts(), keys.cache()), ("team/a/artifacts/".into(), "team/a/cache/".into()));
        assert_eq!(keys.code_manifest("ab"), "team/a/.gristmill/sets/cache/ab.json");
    }

    #[test]
    fn code_hashes_are_hexadecimal() {
        assert!(is_code_hash(&"a0".repeat(16)) && is_code_hash(&"0".repeat(64)));
        for wrong in ["", "a", &"A".repeat(32), &"../".repeat(32)] {
            assert!(!is_code_hash(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_file_leads_to_its_sets_manifest() {
        let (commit, hash) = ("a".repeat(40), "b".repeat(64));
        for prefix in ["", "team/shop"] {
            let keys = AssetKeys::new(prefix);
            let file = format!("{}sub/x.zip", keys.commit(&commit));
            assert_eq!(keys.manifest_of(&file), Some(keys.commit_manifest(&commit)));
            assert_eq!(keys.manifest_of(&format!("{}x", keys.code(&hash))), Some(keys.code_manifest(&hash)));
            for other in ["artifacts/README", "artifacts/main/x", "cache/x/y", "x", &keys.artifacts()] {
                assert_eq!(keys.manifest_of(other), None, "{other}");
            }
        }
    }
}
