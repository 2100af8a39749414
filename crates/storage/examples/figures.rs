//! Prints what staging and publishing cost in a folder: `cargo run --release -p gristmill-storage
//! --example figures [FOLDER]`. Each figure is the median of eleven.

#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gristmill_model::ObjectKey;
use gristmill_storage::{Blob, PublicObject, Storage};

const ROUNDS: usize = 11;
const BLOB_BYTES: usize = 28_700_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    let metadata = BTreeMap::from([("commit".to_owned(), "0123456789abcdef".to_owned())]);
    PublicObject {
        seq,
        digest: blob.digest,
        size: blob.size,
        content_type: "application/zip".to_owned(),
        metadata,
    }
}

/// The same bytes written and synced, with no storage around them.
fn plain(folder: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = folder.join("plain");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::remove_file(path)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let root = folder.path().join("storage");
    let begun = Instant::now();
    let storage = Storage::open_folder(&root)?;
    println!("first open                    {:?}", begun.elapsed());
    let begun = Instant::now();
    drop(Storage::open_folder(&root)?);
    println!("open again                    {:?}", begun.elapsed());

    let mut bytes = vec![7_u8; BLOB_BYTES];
    let (mut staged, mut plainly, mut again) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        bytes[..8].copy_from_slice(&round.to_le_bytes());
        let begun = Instant::now();
        plain(folder.path(), &bytes)?;
        plainly.push(begun.elapsed());
        for times in [&mut staged, &mut again] {
            let begun = Instant::now();
            let mut stage = storage.stage().await?;
            stage.write_all(&bytes)?;
            stage.commit().await?;
            times.push(begun.elapsed());
        }
    }
    println!("write + sync 28.7 MB, plain   {:?}", median(plainly));
    println!("stage + commit 28.7 MB        {:?}", median(staged));
    println!("the same bytes again          {:?}", median(again));

    let (mut small, mut first, mut next, mut noop, mut read) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let key: ObjectKey = format!("acme/shop/branch-{round}/acme_shop.zip").parse()?;
        for seq in 1..=2_i64 {
            let begun = Instant::now();
            let blob = storage.put_bytes(format!("{round} {seq}")).await?;
            small.push(begun.elapsed());
            for times in [if seq == 1 { &mut first } else { &mut next }, &mut noop] {
                let begun = Instant::now();
                storage.project(&key, &version(seq, blob)).await?;
                times.push(begun.elapsed());
            }
        }
        let begun = Instant::now();
        storage.current(&key, false).await?;
        read.push(begun.elapsed());
    }
    println!("put_bytes, small              {:?}", median(small));
    println!("project, new key and folder   {:?}", median(first));
    println!("project, next version         {:?}", median(next));
    println!("project, nothing to do        {:?}", median(noop));
    println!("current                       {:?}", median(read));
    Ok(())
}
