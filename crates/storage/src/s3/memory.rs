//! What a bucket was found to do, remembered in the cache's folder, so that not each command tries it out anew.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::probe::BucketCapabilities;
use super::settings::S3Settings;

/// A server of one's own is brought up to date now and then: what it was found to do counts for a day.
const FRESH_MS: i64 = 24 * 3600 * 1000;
/// No file of ours is larger.
const BYTES_MAX: u64 = 64 << 10;

/// What was found, where and when. A version of the program that tries out more cannot read it, and tries anew.
#[derive(Serialize, Deserialize)]
pub(super) struct Memory {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
    tried_ms: i64,
    pub(super) capabilities: BucketCapabilities,
}

fn path(settings: &S3Settings) -> PathBuf {
    settings.cache.join("bucket.json")
}

impl Memory {
    pub(super) fn new(
        (bucket, prefix): (&str, &str),
        settings: &S3Settings,
        tried_ms: i64,
        capabilities: BucketCapabilities,
    ) -> Memory {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let (endpoint, region) = (settings.endpoint.clone(), settings.region.clone());
        Memory { bucket, prefix, endpoint, region, tried_ms, capabilities }
    }

    /// What is remembered of this very bucket.
    pub(super) fn read((bucket, prefix): (&str, &str), settings: &S3Settings) -> Option<Memory> {
        let path = path(settings);
        if std::fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        let memory: Memory = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let is_it = memory.bucket == bucket
            && memory.prefix == prefix
            && memory.endpoint == settings.endpoint
            && memory.region == settings.region;
        is_it.then_some(memory)
    }

    pub(super) fn is_fresh(&self, now_ms: i64) -> bool {
        (0..FRESH_MS).contains(&(now_ms - self.tried_ms))
    }

    /// Keeps it as far as that works: without, more calls are made. Nothing is lost with it.
    pub(super) fn write(&self, settings: &S3Settings) {
        let path = path(settings);
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let written = serde_json::to_vec(self).is_ok_and(|bytes| std::fs::write(&draft, bytes).is_ok());
        if !written || std::fs::rename(&draft, path).is_err() {
            forget(&draft);
        }
    }
}

fn forget(draft: &Path) {
    let _ = std::fs::remove_file(draft);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_bucket_and_of_this_day() {
        let folder = tempfile::tempdir().unwrap();
        let settings = S3Settings { endpoint: Some("http://s".to_owned()), ..S3Settings::new(folder.path()) };
        assert!(Memory::read(("b", "p"), &settings).is_none());
        let capabilities = BucketCapabilities { versions: true, ..BucketCapabilities::default() };
        Memory::new(("b", "p"), &settings, 1000, capabilities).write(&settings);
        let memory = Memory::read(("b", "p"), &settings).unwrap();
        assert_eq!(memory.capabilities, capabilities);
        for (now_ms, is_fresh) in [(999, false), (1000, true), (86_400_999, true), (86_401_000, false)] {
            assert_eq!(memory.is_fresh(now_ms), is_fresh, "{now_ms}");
        }
        assert!(Memory::read(("other", "p"), &settings).is_none());
        assert!(Memory::read(("b", ""), &settings).is_none());
        let elsewhere = S3Settings { endpoint: None, ..settings.clone() };
        assert!(Memory::read(("b", "p"), &elsewhere).is_none());
        std::fs::write(path(&settings), "{}").unwrap();
        assert!(Memory::read(("b", "p"), &settings).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }
}
