//! `webhook parse`; `webhook send` has a file of its own.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use gristmill_forge::{Forge, parse_unverified};

use super::{Context, webhook_send};

/// The longest body read from standard input: GitHub's own limit.
const BODY_BYTES_MAX: u64 = 25 << 20;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what a webhook's body means: one JSON object per event. Nothing is verified, nothing is done
    Parse {
        /// Who sent it
        #[arg(long)]
        forge: Forge,
        /// The event's name, as the forge's header says [default: found in the headers or the body]
        #[arg(long)]
        event: Option<String>,
        /// A file with the request's headers, one `Name: value` a line
        #[arg(long, value_name = "FILE")]
        headers: Option<PathBuf>,
    },
    /// Tell a server of a push to a bare repository: called by its hook `post-receive`, whose input it reads
    Send(webhook_send::SendArgs),
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Parse { forge, event, headers } => parse(forge, event, headers),
        Command::Send(args) => webhook_send::run(context, &args),
    }
}

fn parse(forge: Forge, event: Option<String>, headers: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let event = match (event, headers) {
        (Some(event), _) => Some(event),
        (None, Some(file)) => event_header(forge, &file)?,
        (None, None) => None,
    };
    let mut body = Vec::new();
    std::io::stdin().lock().take(BODY_BYTES_MAX + 1).read_to_end(&mut body)?;
    if body.len() as u64 > BODY_BYTES_MAX {
        anyhow::bail!("the body is longer than {BODY_BYTES_MAX} bytes, which no forge sends");
    }
    for event in parse_unverified(forge, event.as_deref(), &body)? {
        println!("{}", serde_json::to_string(&event)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn event_header(forge: Forge, file: &std::path::Path) -> anyhow::Result<Option<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let wanted = forge.event_header();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let value = |(name, value): (&str, &str)| {
        name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
    };
    Ok(lines.filter_map(value).next())
}
