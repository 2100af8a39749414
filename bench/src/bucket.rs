//! `bucket`: what goes over the line to a bucket, by servers of S3 that `scripts/setup.sh test` installs.
//!
//! How many bytes are sent for a large archive of which little changed, beside sending all of it; and which calls lie
//! between a push and its version, each of them slowed down as a line across a continent does.

use crate::kit::report::{self, Bars};
use crate::kit::target::Common;
use anyhow::{Context, Result};
use gristmill_storage::{Blob, CopiedRange, Opening, S3Settings, Storage, StorageUrl};
use gristmill_testkit::FakeGithub;
use gristmill_testkit::faults::{Fault, Operation, Proxy, Rule, Seen};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::s3::{Kind, Server};
use gristmill_testkit::server::{Project, Server as Program};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SENT_MAX: f64 = 0.20;
const ROUND_TRIPS_MAX: usize = 8;
/// The best of so many counts.
const ROUNDS: usize = 5;
/// Two of the same kind differ so much.
const NOISE: f64 = 1.05;
const CHANGED: usize = 5;
const CHANGED_BYTES: usize = 40_000;
const SLOWER: Duration = Duration::from_millis(20);
const PROJECT: &str = "acme/shop";
const MAIN: &str = "refs/heads/main";
const SECRET: &str = "a secret of sixteen or more bytes";

/// Arguments of `bucket`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// The size of the large archive.
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    println!("bucket: {CHANGED} of the files in {} MB change; {SLOWER:?} more for each call", args.megabytes);
    report::machine(folder.path())?;
    let mut bars = Bars::default();
    let runtime = tokio::runtime::Runtime::new()?;
    for kind in Kind::ALL {
        // One that is not installed is named, and left out.
        let Some(server) = Server::start(kind, "bucket") else { continue };
        let folder = folder.path().join(kind.name());
        std::fs::create_dir(&folder)?;
        runtime.block_on(bytes(&server, &folder, args.megabytes << 20, &mut bars))?;
        if kind.has_versions() {
            trips(&server, &args.common.program()?, &mut bars)?;
        }
    }
    Ok(bars.failed(args.common.strict))
}

/// A storage in a bucket of its own, by way of a proxy, with a cache of its own.
async fn storage(server: &Server, folder: &Path, name: &str) -> Result<(Storage, Proxy)> {
    let credentials = folder.join("credentials");
    let (id, secret) = (&server.access_key, &server.secret_key);
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(&credentials, text)?;
    let proxy = Proxy::start(&server.endpoint);
    let settings = S3Settings {
        region: Some(server.region.clone()),
        endpoint: Some(proxy.endpoint()),
        path_style: true,
        credentials_file: Some(credentials),
        ..S3Settings::new(folder.join(name))
    };
    let url: StorageUrl = format!("s3://{}", server.bucket(server.kind.has_versions())).parse()?;
    let storage = Storage::open(&url, &settings, Opening::Anew).await?;
    Ok((storage, proxy))
}

/// Stores bytes; how long the bucket took, and how many bytes were sent.
async fn store(
    (storage, proxy): (&Storage, &Proxy),
    bytes: &[u8],
    like: Option<(Blob, Vec<CopiedRange>)>,
) -> Result<(Blob, Duration, u64)> {
    let mut staged = storage.stage().await?;
    staged.write_all(bytes)?;
    staged.flush()?;
    if let Some((base, ranges)) = like {
        staged.say_copied(base.digest, ranges);
    }
    proxy.take_seen();
    let begun = Instant::now();
    let blob = staged.commit().await?;
    Ok((blob, begun.elapsed(), proxy.bytes_sent()))
}

/// Bytes that nothing repeats.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// The archive before with some files replaced by slightly longer ones, and what stayed.
fn changed(base: &[u8]) -> (Vec<u8>, Vec<CopiedRange>) {
    let (mut new, mut ranges, mut from) = (Vec::with_capacity(base.len() + CHANGED_BYTES), Vec::new(), 0);
    let mut keep = |new: &mut Vec<u8>, from: usize, until: usize| {
        ranges.push(CopiedRange { to: new.len() as u64, from: from as u64, len: (until - from) as u64 });
        new.extend_from_slice(&base[from..until]);
    };
    for number in 1..=CHANGED {
        let at = base.len() * number / (CHANGED + 1);
        keep(&mut new, from, at);
        new.extend(noise(number as u64 + 100, CHANGED_BYTES + 100));
        from = at + CHANGED_BYTES;
    }
    // At a zip's end is the list of its members, which differs.
    keep(&mut new, from, base.len() - CHANGED_BYTES);
    new.extend(noise(200, CHANGED_BYTES));
    (new, ranges)
}

async fn bytes(server: &Server, folder: &Path, size: usize, bars: &mut Bars) -> Result<()> {
    let base = noise(1, size);
    let (new, ranges) = changed(&base);
    let (storage, proxy) = storage(server, folder, "cache").await?;
    let can = storage.capabilities();
    println!("{}: {can}", server.kind.name());
    let (before, ..) = store((&storage, &proxy), &base, None).await?;
    drop(base);
    // The first that a program makes of copied parts is read back: whether this server copies them right.
    let like = Some((before, ranges));
    let (blob, first, sent) = store((&storage, &proxy), &new, like.clone()).await?;
    storage.delete_blob(&blob.digest).await?;
    let (mut whole, mut copied, mut later) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let (blob, took, _) = store((&storage, &proxy), &new, None).await?;
        whole = whole.min(took);
        storage.delete_blob(&blob.digest).await?;
        let took;
        (_, took, later) = store((&storage, &proxy), &new, like.clone()).await?;
        copied = copied.min(took);
        storage.delete_blob(&blob.digest).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio of sizes")]
    let part = sent as f64 / blob.size as f64;
    // Where copying was seen to take longer it is left.
    println!(
        "{}: {sent} bytes sent in {first:.2?} the first time; in the end {later} in {copied:.2?}; all of it in {whole:.2?}",
        server.kind.name()
    );
    print!("{}", proxy.table());
    if can.bucket().is_some_and(|bucket| bucket.copies_parts) {
        let what = format!("{}: sent of a changed archive", server.kind.name());
        bars.check(&what, &format!("{:.1} %", part * 100.0), "≤ 20 %", part <= SENT_MAX);
        let what = format!("{}: the time, beside sending all of it", server.kind.name());
        let is_met = copied.as_secs_f64() <= whole.as_secs_f64() * NOISE;
        bars.check(&what, &format!("{copied:.2?} to {whole:.2?}"), "no slower, but for noise of 5 %", is_met);
    }
    Ok(())
}

/// From a push to its version: a small repository, the second commit.
fn trips(s3: &Server, program: &Path, bars: &mut Bars) -> Result<()> {
    let github = FakeGithub::start();
    let repo = github.create(PROJECT, SECRET);
    let mut server = Program::new(program.to_str().context("a path in UTF-8")?);
    let proxy = Proxy::start(&s3.endpoint);
    let (id, secret) = (&s3.access_key, &s3.secret_key);
    let credentials = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(server.folder().join("credentials"), credentials)?;
    server.set_settings(&format!(
        "[storage]\nurl = \"s3://{}/mill\"\nendpoint = \"{}\"\nregion = \"{}\"\n\
         credentials_file = \"credentials\"\n",
        s3.bucket(true),
        proxy.endpoint(),
        s3.region
    ));
    server.set_projects([Project::new(PROJECT, &github.clone_url(PROJECT), SECRET)]);
    server.start();
    let push = |content: &str| {
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("file.txt", content));
        let begun = Instant::now();
        server.accept(PROJECT, &github.push(PROJECT, MAIN, Some(&commit)));
        server.wait_until_idle();
        begun.elapsed()
    };
    push("one");
    proxy.take_seen();
    proxy.rule(Rule::new(Fault::Delay(SLOWER)));
    let took = push("two");
    let seen = proxy.take_seen();
    // The copy makes it visible; what follows asks what the server called it.
    let visible =
        seen.iter().rposition(|call| call.operation == Operation::CopyObject).context("a copy")? + 1;
    let trips: usize = seen[..visible].iter().map(Seen::round_trips).sum();
    for call in &seen {
        println!("  {:?} {} ({} round trips)", call.operation, call.key, call.round_trips());
    }
    let name = s3.kind.name();
    println!("{name}: push to version {took:.2?}, with {} calls in all", seen.len());
    let what = format!("{name}: round trips from a push to its visible version, also those at the same time");
    bars.check(&what, &trips.to_string(), "≤ 8", trips <= ROUND_TRIPS_MAX);
    Ok(())
}
