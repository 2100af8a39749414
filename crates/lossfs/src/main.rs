//! `lossfs`: the file system of crash tests as a process of its own.

use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gristmill_lossfs::{LossFs, Rules, control};

/// A file system in memory that forgets, on demand, what was not synced. For crash tests only.
#[derive(Parser)]
#[command(name = "lossfs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Mount an empty file system and serve it until `lossfs unmount`. Prints `ready` once it is mounted.
    Mount {
        /// The folder to mount on; made if missing.
        mountpoint: PathBuf,
        /// Where to listen for the other commands.
        #[arg(long)]
        socket: PathBuf,
        #[command(flatten)]
        rules: RuleArgs,
    },
    /// Drop what was not synced. Kill the processes that use the mount first.
    Crash {
        /// The socket of the mount.
        #[arg(long)]
        socket: PathBuf,
        /// What decides where the rules leave a choice.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Print what has happened since the mount.
    Stats {
        /// The socket of the mount.
        #[arg(long)]
        socket: PathBuf,
    },
    /// Unmount and end the serving process. Everything on it is gone.
    Unmount {
        /// The socket of the mount.
        #[arg(long)]
        socket: PathBuf,
    },
}

#[derive(Args)]
struct RuleArgs {
    /// At a crash, keep a random subset of the un-synced pages.
    #[arg(long)]
    torn: bool,
    /// At a crash, keep a random prefix of the un-synced name changes.
    #[arg(long)]
    journal: bool,
    /// Let the fsync of a file make its names durable too, as ext4 does.
    #[arg(long)]
    file_sync_keeps_names: bool,
    /// Make both halves of a rename across directories durable together, as journaling file systems do.
    #[arg(long)]
    atomic_renames: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // With nowhere left to say it, the exit code must do.
            let _ = writeln!(io::stderr(), "lossfs: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Mount { mountpoint, socket, rules } => mount(&mountpoint, &socket, &rules),
        Command::Crash { socket, seed } => tell(&socket, &format!("crash {seed}")),
        Command::Stats { socket } => tell(&socket, "stats"),
        Command::Unmount { socket } => tell(&socket, "unmount"),
    }
}

fn mount(mountpoint: &Path, socket: &Path, rules: &RuleArgs) -> Result<(), String> {
    let rules = Rules {
        torn: rules.torn,
        journal: rules.journal,
        file_sync_keeps_names: rules.file_sync_keeps_names,
        atomic_renames: rules.atomic_renames,
    };
    let failed = |error: io::Error| format!("the socket {} cannot be served: {error}", socket.display());
    let listener = UnixListener::bind(socket).map_err(failed)?;
    let served = LossFs::mount(mountpoint, rules).map_err(|error| error.to_string()).and_then(|lossfs| {
        say("ready")?;
        control::serve(lossfs, &listener).map_err(failed)
    });
    // A socket left behind is refused at the next start with its name, so failing here is no news.
    let _ = std::fs::remove_file(socket);
    served
}

fn tell(socket: &Path, command: &str) -> Result<(), String> {
    let answer = control::send(socket, command)
        .map_err(|error| format!("{command} at {}: {error}", socket.display()))?;
    say(&answer)
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to the output: {error}"))
}
