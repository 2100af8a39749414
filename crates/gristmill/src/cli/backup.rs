//! `backup`, `restore`, `move`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Context, check_owner, output, runtime};
use crate::backup::{self, BackupOptions, KeysSummary, Progress};
use crate::config::Config;

#[derive(Args)]
pub(super) struct BackupArgs {
    /// The file to make; there must be none yet
    file: PathBuf,
    /// Leave the archives out: the storage is kept otherwise
    #[arg(long)]
    without_blobs: bool,
    /// The server's key too: whoever has this file can then open the ssh keys in it
    #[arg(long)]
    with_key: bool,
    /// Go on where archives are missing or damaged in the storage, and list them in the backup
    #[arg(long)]
    skip_missing: bool,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// A file that `gristmill backup` made
    file: PathBuf,
}

#[derive(Args)]
pub(super) struct MoveArgs {
    /// The configuration file that names the new database and storage
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

fn json(context: &Context, summary: &impl Serialize) -> anyhow::Result<bool> {
    if context.format == output::Format::Json {
        println!("{:#}", serde_json::to_value(summary)?);
    }
    Ok(context.format == output::Format::Json)
}

pub(super) fn backup(context: &Context, args: &BackupArgs) -> anyhow::Result<()> {
    let config = context.config()?;
    check_owner(&config)?;
    let options = BackupOptions {
        without_blobs: args.without_blobs,
        with_key: args.with_key,
        skip_missing: args.skip_missing,
    };
    let (runtime, mut progress) = (runtime()?, Progress::stderr());
    let done =
        backup::backup(&config, &context.around, runtime.handle(), &args.file, options, &mut progress)?;
    if !done.has_key {
        eprintln!(
            "the server's key is not in it: without that key the ssh keys in it cannot be opened; keep a copy apart"
        );
    }
    if done.missing > 0 {
        eprintln!("warning: {} blobs were missing or damaged and are not in it", done.missing);
    }
    if json(context, &done)? {
        return Ok(());
    }
    let (file, seconds) = (args.file.display(), done.seconds);
    println!(
        "{file}: {} rows with {} runs and {} deliveries, {} blobs with {} bytes, in {seconds:.1} s",
        done.rows, done.runs, done.deliveries, done.blobs, done.blob_bytes
    );
    Ok(())
}

pub(super) fn restore(context: &Context, args: &RestoreArgs) -> anyhow::Result<()> {
    let config = context.config()?;
    check_owner(&config)?;
    let (runtime, mut progress) = (runtime()?, Progress::stderr());
    let done = backup::restore(&config, &context.around, runtime.handle(), &args.file, &mut progress)?;
    warn(&done.warnings);
    if done.missing > 0 {
        eprintln!("warning: {} blobs were missing when the backup was made", done.missing);
    }
    if json(context, &done)? {
        return Ok(());
    }
    println!(
        "restored as of {}: {} rows with {} runs and {} deliveries, {} blobs with {} bytes, in {:.1} s",
        done.created, done.rows, done.runs, done.deliveries, done.blobs, done.blob_bytes, done.seconds
    );
    print_keys(&done.keys);
    Ok(())
}

pub(super) fn move_to(context: &Context, args: &MoveArgs) -> anyhow::Result<()> {
    let config = context.config()?;
    check_owner(&config)?;
    let to = Context { file: Some(args.to.clone()), around: context.around.clone(), format: context.format };
    let target: Config = to.config()?;
    let (runtime, mut progress) = (runtime()?, Progress::stderr());
    let done = backup::move_to(&config, &target, &context.around, runtime.handle(), &mut progress)?;
    warn(&done.warnings);
    if json(context, &done)? {
        return Ok(());
    }
    println!(
        "moved: {} rows with {} runs and {} deliveries, {} blobs with {} bytes, in {:.1} s",
        done.rows, done.runs, done.deliveries, done.blobs, done.blob_bytes, done.seconds
    );
    print_keys(&done.keys);
    println!("start the server with {} from now on; the old place is as it was", args.to.display());
    Ok(())
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
}

fn print_keys(keys: &KeysSummary) {
    println!("{} public keys verified, byte for byte", keys.verified);
    if keys.later > 0 {
        println!("{} public keys show later versions than the backup knows; they stay so", keys.later);
    }
    if keys.missing > 0 {
        println!("{} public keys have no bytes", keys.missing);
    }
}
