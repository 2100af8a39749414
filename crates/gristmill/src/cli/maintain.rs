//! `doctor` and `gc`.

use std::process::ExitCode;

use clap::Args;

use super::{Context, output, runtime};
use gristmill_db::clock;

use crate::app::App;
use crate::collect;
use crate::doctor::{self, CheckState};

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Read every stored byte again and compare it with its digest
    #[arg(long)]
    verify: bool,
}

#[derive(Args)]
pub(super) struct GcArgs {
    /// Really delete; without this, only say what would go
    #[arg(long)]
    apply: bool,
}

pub(super) fn doctor(context: &Context, args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
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
        if args.apply { collect::run(&app).await } else { collect::plan(&app).await }
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
