//! `doctor` and `gc`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{Context, output, runtime};
use gristmill_db::clock;

use crate::app::App;
use crate::boots;
use crate::collect;
use crate::doctor::{self, CheckState};
use crate::upkeep;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Read every stored byte again, and compare all of it with its digest and with the database
    #[arg(long, alias = "deep")]
    verify: bool,

    /// Make the bucket of [storage] first, with versions and closed to the public; change nothing else
    #[arg(long)]
    create_bucket: bool,

    /// Only print the rights that the bucket of [storage] needs, as a policy of IAM
    #[arg(long, conflicts_with_all = ["verify", "create_bucket"])]
    policy: bool,
}

#[derive(Args)]
pub(super) struct GcArgs {
    /// Really delete; without this, only say what would go
    #[arg(long)]
    apply: bool,
}

pub(super) fn doctor(context: &Context, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    if args.policy {
        println!("{}", doctor::bucket_policy(&config)?);
        return Ok(ExitCode::SUCCESS);
    }
    if args.create_bucket {
        for done in runtime()?.block_on(doctor::create_bucket(&config))? {
            eprintln!("{done}");
        }
    }
    let checks = runtime()?.block_on(doctor::examine(&config, &context.around, args.verify));
    match context.format {
        output::Format::Json => println!("{:#}", serde_json::to_value(&checks)?),
        output::Format::Text => checks.iter().for_each(|check| println!("{check}")),
    }
    let is_bad = checks.iter().any(|check| check.state == CheckState::Error);
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn gc(context: &Context, args: &GcArgs) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let report = runtime()?.block_on(async {
        let app = App::open_beside(config, &context.around).await?;
        let clock = app.db.read(|tx| Ok((clock::read(tx)?, tx.now()))).await?;
        if let Some(fault) = doctor::clock_fault(clock.0, clock.1) {
            eprintln!("warning: {fault}");
        }
        if !args.apply {
            return collect::plan(&app).await;
        }
        let collected = boots::alone_now(&app, upkeep::COLLECT, collect::run(&app)).await?;
        collected.context("a server collects at this moment, and one at a time is enough; see its log")
    })?;
    match context.format {
        output::Format::Json => println!("{:#}", serde_json::to_value(report)?),
        output::Format::Text => println!("{report}"),
    }
    if !args.apply {
        eprintln!("nothing was deleted; --apply does it");
    }
    Ok(ExitCode::SUCCESS)
}
