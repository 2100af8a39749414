//! What the rows say, compared with what the storage holds: for `--verify`, as every key is read for it.

use std::collections::BTreeSet;

use anyhow::Context as _;
use gristmill_db::{Db, blob};
use gristmill_model::Digest;
use gristmill_storage::{Opening, Storage, StorageUrl};

use super::Check;
use crate::backup::{difference, newest_of_keys};
use crate::config::{Config, Surroundings};
use crate::database;

/// The most things of a kind that are named.
const NAMED_MAX: usize = 20;
/// Rows and blobs read at once.
const PAGE: i64 = 10_000;
const PAGE_BLOBS: usize = 1000;

/// Whether every key shows what the rows say, and every blob that rows refer to is there.
pub(super) async fn compare(config: &Config, around: &Surroundings) -> Vec<Check> {
    let name = "rows";
    if database::is_missing(config) {
        return Vec::new();
    }
    match open(config, around).await {
        // A database or storage that cannot be opened has a check of its own.
        Err(_) => Vec::new(),
        Ok((db, storage)) => {
            let mut checks = Vec::new();
            for found in [keys(&db, &storage).await, blobs(&db, &storage).await] {
                match found {
                    Ok(found) => checks.extend(found),
                    Err(error) => checks.push(Check::error(name, format!("{error:#}"), "")),
                }
            }
            checks
        }
    }
}

async fn open(config: &Config, around: &Surroundings) -> anyhow::Result<(Db, Storage)> {
    let url: StorageUrl = config.storage.as_str().parse()?;
    let storage = Storage::open(&url, &config.s3, Opening::Anew).await?;
    let (config, env) = (config.clone(), around.env.clone());
    let db = tokio::task::spawn_blocking(move || database::open_existing(&config, &*env)).await??;
    Ok((db, storage))
}

/// Every key is read and compared with its newest published version.
async fn keys(db: &Db, storage: &Storage) -> anyhow::Result<Vec<Check>> {
    let (mut seen, mut wrong, mut named) = (0_u64, 0_u64, Vec::new());
    let mut after = String::new();
    loop {
        let (db, from) = (db.clone(), after.clone());
        let page = tokio::task::spawn_blocking(move || newest_of_keys(&db, &from)).await??;
        let Some((last, _)) = page.last() else { break };
        after = last.as_str().to_owned();
        for (key, wanted) in page.into_iter().filter_map(|(key, wanted)| Some((key, wanted?))) {
            seen += 1;
            let what = match storage.current(&key, true).await {
                // A job may have moved it on since its row was read.
                Ok(Some(shown)) if shown.seq > wanted.seq => None,
                Ok(shown) => difference(storage, shown.as_ref(), &wanted),
                Err(error) => Some(error.to_string()),
            };
            if let Some(what) = what {
                wrong += 1;
                if named.len() < NAMED_MAX {
                    named.push(Check::error(
                        "public key",
                        format!("`{key}`: {what}"),
                        "a running server projects it again within the day, where its blob is there",
                    ));
                }
            }
        }
    }
    let text = format!("{seen} read and compared with the database; {wrong} differ");
    named.insert(0, Check::ok("public keys", text));
    Ok(named)
}

/// Blobs that rows refer to and that are not there; blobs that are there and no row names.
async fn blobs(db: &Db, storage: &Storage) -> anyhow::Result<Vec<Check>> {
    let mut needed: BTreeSet<Digest> = BTreeSet::new();
    loop {
        let after = needed.last().copied();
        let page = db.read(move |tx| blob::needed(tx, after, PAGE)).await?;
        if page.is_empty() {
            break;
        }
        needed.extend(page);
    }
    let (all, mut unnamed, mut unnamed_bytes) = (needed.len(), 0_u64, 0_u64);
    let mut after = None;
    loop {
        let page = storage.list_blobs(after, PAGE_BLOBS).await.context("the blobs cannot be listed")?;
        let Some(last) = page.last() else { break };
        after = Some(last.blob.digest);
        for entry in &page {
            if !needed.remove(&entry.blob.digest) {
                unnamed += 1;
                unnamed_bytes += entry.blob.size;
            }
        }
    }
    let text = format!(
        "{all} are named by rows, {} of these are missing; {unnamed} with {unnamed_bytes} bytes are named by none, and go with a collection",
        needed.len()
    );
    let mut checks = vec![Check::ok("blobs", text)];
    let remedy = "bring it back from a backup; what is pushed again is made again";
    let missing = needed.iter().take(NAMED_MAX);
    checks.extend(missing.map(|digest| {
        Check::error("blobs", format!("rows name {digest}, which is not in the storage"), remedy)
    }));
    Ok(checks)
}
