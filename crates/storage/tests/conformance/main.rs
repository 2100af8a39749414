//! One contract, over every kind of storage.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![expect(clippy::print_stdout, reason = "tests say what they skip, and which gaps are known")]

mod bucket;
mod campaign;
mod contract;
mod headers;
mod servers;

use contract::CASES;
use gristmill_storage::Storage;

/// A case that a server is known to fail, and why. A gap that closed is an error: the list may only shrink.
type Gap = (&'static str, &'static str);

/// Runs every case over a fresh storage that `open` gives for its name.
async fn suite(open: impl AsyncFn(&'static str) -> Storage, gaps: &[Gap]) {
    let mut failed = Vec::new();
    for case in CASES {
        let storage = open(case.name).await;
        let run = case.run;
        let outcome = tokio::spawn(async move { run(&storage).await }).await;
        let gap = gaps.iter().find(|(name, _)| *name == case.name);
        match (outcome, gap) {
            (Ok(()), None) => {}
            (Err(_), Some((name, why))) => println!("gap: {name}: {why}"),
            (Ok(()), Some((name, _))) => {
                failed.push(format!("{name}: the gap has closed, take it off the list"));
            }
            (Err(error), None) => failed.push(format!("{}: {error}", case.name)),
        }
    }
    let known = |name: &str| CASES.iter().any(|case| case.name == name);
    failed.extend(
        gaps.iter().filter(|(name, _)| !known(name)).map(|(name, _)| format!("{name}: no such case")),
    );
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder() {
    // In memory where the machine has such a folder: quicker, and no less a file system.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    suite(async |name| Storage::open_folder(folder.path().join(name)).unwrap(), &[]).await;
}
