//! `config validate`.

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Say what is wrong with the configuration, by file and line
    Validate,
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Validate = command;
    let config = context.config()?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    for file in &config.files {
        println!("{}: fine", file.display());
    }
    if config.files.is_empty() {
        println!("there is no configuration file; everything is at its default");
    }
    println!("{} projects", config.projects.len());
    Ok(ExitCode::SUCCESS)
}
