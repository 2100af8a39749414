//! [`Postgres`]: a real PostgreSQL of the test's own, on a free port of 127.0.0.1 and a folder that goes away with it.
//!
//! Tests of one program share a server ([`Postgres::shared`]) and have a database each; a test that stops or kills
//! the server starts one for itself ([`Postgres::launch`]). Loopback ports are open to everybody on the machine, and
//! a superuser of PostgreSQL can run programs, so that the server wants a password, which is in its URLs.

mod cluster;
mod sql;

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::keeper::Keeper;

/// The only role.
const USER: &str = "gristmill";

/// How the server writes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Syncs what it commits, as it must where a test is about lost power. Off by default: what a killed process
    /// wrote is safe with the kernel.
    pub fsync: bool,
}

/// How [`Postgres::stop`] ends the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Waits until all clients have left by themselves.
    Smart,
    /// Rolls back what runs, ends all sessions and writes a checkpoint, as a restart by an operator does.
    Fast,
    /// Ends at once and recovers at the next start.
    Immediate,
}

/// A server. It ends, and its data goes away, when it is dropped or when the test's process ends.
#[derive(Debug)]
pub struct Postgres {
    postmaster: Mutex<Option<Child>>,
    /// Names of the templates that [`Postgres::create_database_from`] has made.
    templates: Mutex<BTreeMap<String, String>>,
    databases: AtomicU32,
    cluster: cluster::Cluster,
    keeper: Keeper,
}

impl Postgres {
    /// The one server of this program's tests. `None`, said loudly for `test`, where there is no PostgreSQL.
    pub fn shared(test: &str) -> Option<&'static Postgres> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        match SHARED.get_or_init(|| Postgres::try_launch(Options::default())) {
            Ok(server) => Some(server),
            Err(why) => {
                crate::skip(test, why);
                None
            }
        }
    }

    /// A server of its own. `None`, said loudly, where there is no PostgreSQL.
    pub fn launch(test: &str, options: Options) -> Option<Postgres> {
        Postgres::try_launch(options).map_err(|why| crate::skip(test, &why)).ok()
    }

    /// Why there is none here, as an error. Panics where there is one and it does not start.
    fn try_launch(options: Options) -> Result<Postgres, String> {
        let programs = cluster::Programs::find()?;
        let keeper = Keeper::new();
        let cluster = cluster::Cluster::create(&keeper, programs, options);
        let server = Postgres {
            postmaster: Mutex::default(),
            templates: Mutex::default(),
            databases: AtomicU32::new(0),
            cluster: cluster.unwrap_or_else(|error| panic!("no PostgreSQL can be made: {error}")),
            keeper,
        };
        server.start();
        Ok(server)
    }

    /// Its version, such as 15.
    pub fn version(&self) -> u32 {
        self.cluster.version()
    }

    /// The URL of a database, over TCP, with the password.
    pub fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// A new, empty database. Returns its URL.
    pub fn create_database(&self) -> String {
        self.copy_of("template0")
    }

    /// A new database that begins as `prepare` made another one, to which it got the URL; that is done once for each
    /// `name`. `prepare` must have closed its connections when it returns.
    pub fn create_database_from(&self, name: &str, prepare: impl FnOnce(&str)) -> String {
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if !templates.contains_key(name) {
            let url = self.create_database();
            prepare(&url);
            let made = url.rsplit('/').next().unwrap_or_default();
            templates.insert(name.to_owned(), made.to_owned());
        }
        // Held until it is copied: PostgreSQL refuses where another session has the template at that moment.
        self.copy_of(&templates[name])
    }

    fn copy_of(&self, template: &str) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let created = self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        created.unwrap_or_else(|error| panic!("no database: {error}"));
        self.url(&name)
    }

    /// Runs SQL in a database, by its name or URL, as `psql` does. Returns one line a row, columns separated by `|`.
    ///
    /// # Errors
    ///
    /// What the server or psql said.
    pub fn sql(&self, database: &str, text: &str) -> Result<String, String> {
        sql::run(&self.cluster, database.rsplit('/').next().unwrap_or_default(), text)
    }

    /// Ends the server and waits for its end. Its port and data stay.
    pub fn stop(&self, mode: Mode) {
        let mut postmaster = self.postmaster();
        let child = postmaster.as_mut().expect("the server runs");
        cluster::stop(child, mode).unwrap_or_else(|error| panic!("{error}:\n{}", self.log()));
        *postmaster = None;
    }

    /// Starts a server that was stopped or killed, on the port it had, and waits until it lets clients in.
    pub fn start(&self) {
        let mut postmaster = self.postmaster();
        assert!(postmaster.is_none(), "the server runs already");
        let child = self.cluster.start(&self.keeper);
        *postmaster = Some(child.unwrap_or_else(|error| panic!("{error}:\n{}", self.log())));
    }

    /// `kill -9` of the server and of all its processes at once. Returns when they are gone.
    pub fn kill(&self) {
        let mut postmaster = self.postmaster();
        cluster::kill(postmaster.take().expect("the server runs")).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Whether it was started and neither stopped nor killed since.
    pub fn is_running(&self) -> bool {
        self.postmaster().is_some()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.keeper.log("postgres")
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    #[expect(clippy::print_stderr, reason = "part of a failing test's output, which the harness collects")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", self.log());
        }
        let postmaster = self.postmaster.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = postmaster.take() {
            // The guard would end it; what it leaves would be in the way of removing the folder.
            let _ = cluster::kill(child);
        }
    }
}
