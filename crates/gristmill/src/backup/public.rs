//! Public keys, made anew from the rows, and compared with them.

use std::sync::Arc;

use anyhow::Context as _;
use gristmill_db::publication::{self, Publication};
use gristmill_db::{Db, DbError};
use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{ProjectError, PublicObject, Storage};
use serde::Serialize;
use tokio::runtime::Handle;

use super::blobs::Ahead;
use super::progress::Progress;
use crate::pipelines::archive::publish;

/// Keys read, and recorded, at once.
const PAGE: i64 = 200;
/// The most keys that are named.
const NAMED_MAX: usize = 20;

/// What became of the keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct KeysSummary {
    /// Keys that show what the rows say: digest, size, version and metadata, with every byte read.
    pub verified: u64,
    /// Keys that show a later version than the rows know of, and stay so.
    pub later: u64,
    /// Keys whose bytes were missing when the backup was made: they show nothing.
    pub missing: u64,
    /// How many do not show what they should.
    pub wrong: u64,
    /// The first of those, with what is wrong.
    pub named: Vec<(ObjectKey, String)>,
}

/// What a key shows that it should not; `None` where it shows this version.
pub fn difference(storage: &Storage, shown: Option<&PublicObject>, wanted: &Publication) -> Option<String> {
    let Some(shown) = shown else {
        return Some(format!("readers find nothing, and should find version {}", wanted.seq));
    };
    let expected = storage.as_shown(&publish::object(wanted));
    let what = if shown.seq != expected.seq {
        format!("it shows version {}, and should show {}", shown.seq, expected.seq)
    } else if shown.digest != expected.digest {
        format!("it shows {}, and should show {}", shown.digest, expected.digest)
    } else if shown.size != expected.size {
        format!("it has {} bytes, and should have {}", shown.size, expected.size)
    } else if shown.content_type != expected.content_type {
        format!("it is shown as {}, and should be as {}", shown.content_type, expected.content_type)
    } else if shown.metadata != expected.metadata {
        "its metadata is not what was published".to_owned()
    } else {
        return None;
    };
    Some(what)
}

/// How one key came out.
enum Outcome {
    /// It shows this version; the storage's name of it.
    Shows(ObjectKey, i64, String),
    Later,
    Wrong(ObjectKey, String),
}

async fn make(storage: Storage, wanted: Arc<Publication>) -> Outcome {
    let key = wanted.key.clone();
    let projected = match storage.project(&key, &publish::object(&wanted)).await {
        Ok(projected) => projected,
        Err(ProjectError::Older { .. }) => return Outcome::Later,
        Err(error) => return Outcome::Wrong(key, error.to_string()),
    };
    match storage.current(&key, true).await {
        Err(error) => Outcome::Wrong(key, error.to_string()),
        Ok(shown) => match difference(&storage, shown.as_ref(), &wanted) {
            Some(what) => Outcome::Wrong(key, what),
            None => Outcome::Shows(key, wanted.seq, projected.version_id),
        },
    }
}

/// Has every key show its newest published version, reads each again, and records the storage's names of them. Blocks.
pub(super) fn make_all(
    db: &Db,
    storage: &Storage,
    handle: &Handle,
    missing: &[Digest],
    progress: &mut Progress,
) -> anyhow::Result<KeysSummary> {
    let mut summary = KeysSummary::default();
    let (mut after, mut done) = (String::new(), 0);
    loop {
        let page = read_page(db, &after)?;
        let Some((last, _)) = page.last() else { break };
        after = last.as_str().to_owned();
        let (gone, wanted): (Vec<_>, Vec<_>) =
            page.into_iter().filter_map(|(_, wanted)| wanted).partition(|one| missing.contains(&one.digest));
        summary.missing += gone.len() as u64;
        let mut wanted = wanted.into_iter();
        let (mut ahead, mut shown) = (Ahead::new(handle), Vec::new());
        loop {
            while ahead.has_room()
                && let Some(wanted) = wanted.next()
            {
                ahead.begin(make(storage.clone(), Arc::new(wanted)));
            }
            match ahead.next()? {
                None => break,
                Some(Outcome::Shows(key, seq, version_id)) => shown.push((key, seq, version_id)),
                Some(Outcome::Later) => summary.later += 1,
                Some(Outcome::Wrong(key, what)) => {
                    summary.wrong += 1;
                    if summary.named.len() < NAMED_MAX {
                        summary.named.push((key, what));
                    }
                }
            }
            done += 1;
            progress.at("keys verified", done, None);
        }
        summary.verified += shown.len() as u64;
        let recorded: Result<(), DbError> = db.transact_blocking(move |tx| {
            shown.iter().try_for_each(|(key, seq, id)| publication::found(tx, key, *seq, id))
        });
        recorded.context("the keys could not be recorded")?;
    }
    progress.over(&format!("{} keys verified", summary.verified));
    Ok(summary)
}

/// The next keys in order, each with the version that readers are to see, where there is one.
pub(crate) fn read_page(db: &Db, after: &str) -> Result<Vec<(ObjectKey, Option<Publication>)>, DbError> {
    db.read_blocking(|tx| {
        let keys = publication::keys(tx, after, PAGE)?;
        keys.into_iter().map(|key| publish::visible(tx, &key).map(|wanted| (key, wanted))).collect()
    })
}
