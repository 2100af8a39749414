//! The command line: one file per noun; the doc comments of the arguments are the help.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]

mod asset;
mod backup;
mod clicks;
mod config;
mod delivery;
mod forge;
mod key;
mod maintain;

mod output;
mod project;
mod project_add;
mod run;
mod serve;
mod token;
mod webhook;
mod webhook_send;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};
use gristmill_db::{Db, DbError, Tx, project as projects};
use gristmill_model::{ProjectName, Timestamp};

use crate::config::{Config, DatabaseUrl, Surroundings};
use crate::database;
use crate::folders;
use output::Format;

/// Takes a git push to a published artifact.
///
/// Exit codes: 0 it worked; 1 it did not; 2 the command line or the configuration is wrong.
#[derive(Parser)]
#[command(name = "gristmill", version, disable_help_subcommand = true)]
struct Cli {
    /// The configuration file [default: ./gristmill.toml, else /etc/gristmill/gristmill.toml]
    #[arg(long, global = true, env = "GRISTMILL_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How listings are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Short for --output json
    #[arg(long, global = true)]
    json: bool,
    /// What is logged: error, warn, info, debug, or a filter such as gristmill=debug
    #[arg(long, global = true, env = "GRISTMILL_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// Log as JSON lines
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: accept webhooks, build, publish, serve
    Serve(serve::ServeArgs),
    /// Do the work of servers on other machines, which share a PostgreSQL
    Worker(serve::WorkerArgs),
    /// Look at every source once, do what is due, exit
    Sync(serve::SyncArgs),
    /// The main job end to end on this machine, with nothing to prepare
    Demo(serve::DemoArgs),
    /// Sources and what is made of them
    #[command(subcommand)]
    Project(project::Command),
    /// The work for one commit in one pipeline
    #[command(subcommand)]
    Run(run::Command),
    /// Webhooks as they came
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Rights to read through the server
    #[command(subcommand)]
    Token(token::Command),
    /// What forges send
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// What builds leave, in a bucket and without a server: around the build in CI
    #[command(subcommand)]
    Asset(asset::Command),
    /// The configuration
    #[command(subcommand)]
    Config(config::Command),

    /// Examine this installation
    Doctor(maintain::DoctorArgs),
    /// Delete what the retention rules let go (says what, unless --apply)
    Gc(maintain::GcArgs),
    /// Write all rows, and the archives that they refer to, into one file; beside a running server
    Backup(backup::BackupArgs),
    /// Bring a backup back onto an empty machine
    Restore(backup::RestoreArgs),
    /// Move everything to another database or storage
    Move(backup::MoveArgs),
    /// Write shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write the man page
    Man,
}

/// What every command gets.
struct Context {
    file: Option<PathBuf>,
    around: Surroundings,
    format: Format,
}

/// The configuration is wrong: exit code 2.
#[derive(Debug)]
struct ConfigWrong(crate::config::ConfigErrors);

impl std::fmt::Display for ConfigWrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the configuration cannot be used:\n{}", self.0)
    }
}

impl std::error::Error for ConfigWrong {}

impl Context {
    fn config(&self) -> anyhow::Result<Config> {
        Config::load(self.file.as_deref(), &self.around).map_err(|errors| ConfigWrong(errors).into())
    }

    /// The same for a command that uses no secret: whoever runs it need not be able to read them.
    fn without_secrets(&self) -> Context {
        Context { file: self.file.clone(), around: self.around.without_secrets(), format: self.format }
    }

    /// The database alone, for commands that work beside a running server.
    fn db(&self) -> anyhow::Result<Db> {
        let config = self.config()?;
        check_owner(&config)?;
        database::open_existing(&config, &*self.around.env)
    }
}

/// Refuses to make, as root, files that the server could not open.
fn check_owner(config: &Config) -> anyhow::Result<()> {
    let DatabaseUrl::Sqlite(path) = &config.database else { return Ok(()) };
    let Some(owner) = folders::other_owner(path, &config.data_dir) else { return Ok(()) };
    anyhow::bail!(
        "the data folder {} belongs to another user, number {owner}, who could not open what root makes there; run this as that user, such as by `sudo -u '#{owner}' gristmill …`",
        config.data_dir.display()
    )
}

/// The project of that name, or an error that says which there are.
fn find_project(tx: &mut Tx<'_>, name: &ProjectName) -> anyhow::Result<projects::Project> {
    if let Some(project) = projects::by_name(tx, name)? {
        return Ok(project);
    }
    let known = projects::list(tx, "", 20)?;
    let known: Vec<&str> = known.iter().map(|project| project.name.as_str()).collect();
    anyhow::bail!(
        "there is no project `{name}`; known are: {}. One that is configured is known once `gristmill serve` or `gristmill sync` has run",
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    )
}

/// How many projects one query brings.
const PAGE: i64 = 1000;

/// All projects by name, a page at a time within one transaction.
fn all_projects(tx: &mut Tx<'_>, page: i64) -> anyhow::Result<Vec<projects::Project>> {
    let mut found: Vec<projects::Project> = Vec::new();
    loop {
        let after = found.last().map_or(String::new(), |last| last.name.to_string());
        let next = projects::list(tx, &after, page)?;
        if next.is_empty() {
            return Ok(found);
        }
        found.extend(next);
    }
}

/// How long ago, for people.
fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// An error that a transaction of the command line may end with.
#[derive(Debug)]
struct TxError(anyhow::Error);

impl From<DbError> for TxError {
    fn from(error: DbError) -> TxError {
        TxError(error.into())
    }
}

impl From<anyhow::Error> for TxError {
    fn from(error: anyhow::Error) -> TxError {
        TxError(error)
    }
}

/// Runs a transaction for a command.
fn transact<T: Send + 'static>(
    db: &Db,
    work: impl Fn(&mut Tx<'_>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    db.transact_blocking(move |tx| work(tx).map_err(TxError)).map_err(|error| error.0)
}

/// Reads for a command.
fn read<T>(db: &Db, work: impl Fn(&mut Tx<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let result = std::cell::RefCell::new(None);
    db.read_blocking(|tx| {
        result.replace(Some(work(tx)));
        Ok(())
    })?;
    result.into_inner().expect("the closure ran")
}

/// Options that say nothing where there is no server.
const OF_THE_SERVER: [&str; 3] = ["config", "log", "log_json"];

/// The command line as a description.
pub fn command() -> clap::Command {
    let all = Cli::command();
    let unseen = all.get_arguments().filter(|argument| OF_THE_SERVER.contains(&argument.get_id().as_str()));
    let unseen: Vec<clap::Arg> = unseen.map(|argument| argument.clone().hide(true)).collect();
    all.mut_subcommand("asset", |asset| asset.args(unseen))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if let Some(code) = asset::by_name() {
        return code;
    }
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    let format = if cli.json { Format::Json } else { cli.output };
    start_log(&cli.log, cli.log_json);
    if let Command::Asset(command) = cli.command {
        return asset::run(command, format);
    }
    let folder = match std::env::current_dir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("error: the current folder cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    #[expect(clippy::disallowed_methods, reason = "the one place where the program reads its environment")]
    let around = Surroundings::new(folder, |name| std::env::var(name).ok());
    if let Some(place) = (around.env)("GRISTMILL_FAILPOINT") {
        crate::fail::arm(place);
    }
    let context = Context { file: cli.config, around, format };
    match dispatch(&context, cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<ConfigWrong>() { 2 } else { 1 })
        }
    }
}

fn dispatch(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let plain = &context.without_secrets();
    match command {
        Command::Serve(args) => serve::serve(context, &args),
        Command::Worker(args) => serve::worker(context, &args),
        Command::Sync(args) => serve::sync(context, &args),
        Command::Demo(args) => serve::demo(context, &args),
        Command::Project(command) => project::run(plain, command),
        Command::Run(command) => run::run(plain, command),
        Command::Delivery(command) => delivery::run(plain, command),
        Command::Token(command) => token::run(plain, command),
        Command::Webhook(command) => webhook::run(plain, command),
        Command::Asset(command) => Ok(asset::run(command, plain.format)),
        Command::Config(command) => config::run(context, command),
        Command::Doctor(args) => maintain::doctor(context, &args),
        Command::Gc(args) => maintain::gc(plain, &args),
        Command::Backup(args) => backup::backup(plain, &args).map(|()| ExitCode::SUCCESS),
        Command::Restore(args) => backup::restore(plain, &args).map(|()| ExitCode::SUCCESS),
        Command::Move(args) => backup::move_to(plain, &args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut self::command(), "gristmill", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            clap_mangen::Man::new(self::command()).render(&mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn start_log(filter: &str, json: bool) {
    // What looks for credentials would tell each time which it found, and errors that are told where they matter, with
    // the answers they are about. A filter that names it comes before this.
    const CREDENTIALS: &str = "aws_config=off,aws_config::imds=warn";
    let with = |filter: &str| tracing_subscriber::EnvFilter::try_new(format!("{CREDENTIALS},{filter}"));
    let filter = with(filter).unwrap_or_else(|error| {
        eprintln!("warning: --log: {error}; logging at info");
        with("info").expect("a filter")
    });
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}

/// An async runtime for commands that need one.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads could be started")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{SystemClock, system_random};

    #[test]
    fn projects_are_listed_beyond_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let db = Db::open(&path, std::sync::Arc::new(SystemClock), system_random()).unwrap();
        let spec = |name: &str| gristmill_model::ProjectSpec {
            name: name.parse().unwrap(),
            pattern: None,
            git: "https://127.0.0.1/a.git".to_owned(),
            fetch: gristmill_model::FetchBy::Git,
            forge: "github".to_owned(),
            repository: "acme/shop".parse().unwrap(),
            repository_id: None,
            poll_seconds: 0,
            jobs_max: 1,
            pipelines: Vec::new(),
        };
        let specs = ["a", "b", "c", "d", "e"].map(spec);
        transact(&db, move |tx| Ok(projects::import(tx, &specs, &[])?)).unwrap();
        for page in [1, 2, 5, 6] {
            let found = read(&db, |tx| all_projects(tx, page)).unwrap();
            let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c", "d", "e"], "{page} a page");
        }
    }
}
