//! Several servers and workers on one PostgreSQL: one of them, or PostgreSQL, is killed again and again.

use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gristmill_lossfs::Rng;
use gristmill_testkit::forge::{Delivery, Reply};
use gristmill_testkit::postgres::Options;
use gristmill_testkit::server::{PATIENCE, Server, Store, pause, signal, wait_for};
use gristmill_testkit::{FakeGithub, Postgres};
use tempfile::TempDir;

use super::check::{self, Watched};
use super::sender::{Receiver, Sender, Sent};
use super::{PROJECTS, Size, seed, size};
use crate::world::{BINARY, SECRET, project};

/// How long a killed program is away.
const AWAY: Duration = Duration::from_millis(500);
/// How long after it is back PostgreSQL's clients may take until a delivery is accepted, where that is measured: with
/// little else to do for the machine.
const ACCEPTING_AGAIN_MAX: Duration = Duration::from_secs(5);

/// One program, with a data folder of its own.
struct Member {
    server: Server,
    child: Mutex<Option<Child>>,
}

impl Member {
    fn start(&self) {
        let child = self.server.launch().expect("the program starts");
        *self.child.lock().expect("no panic") = Some(child);
    }

    /// Sends a signal to the program and to what it started.
    fn signal(&self, name: &str) {
        let child = self.child.lock().expect("no panic");
        signal(name, &format!("-{}", child.as_ref().expect("it runs").id()));
    }

    fn kill(&self) {
        let mut child = self.child.lock().expect("no panic").take().expect("it runs");
        let ended = child.try_wait().expect("a child");
        assert_eq!(ended, None, "it ended by itself:\n{}", self.server.log());
        signal("KILL", &format!("-{}", child.id()));
        child.wait().expect("a child can be reaped");
    }
}

/// Programs, and what they have in common.
struct Fleet {
    /// Go first.
    members: Vec<Member>,
    servers: usize,
    postgres: Arc<Postgres>,
    database: String,
    storage: TempDir,
    github: FakeGithub,
    seed: u64,
    size: Size,
    /// How many kills are over.
    round: AtomicU32,
    next: AtomicUsize,
    accepted: Mutex<Vec<Instant>>,
}

impl Fleet {
    /// `None` where there is no PostgreSQL.
    fn gather(test: &str, servers: usize, workers: usize, size: Size) -> Option<Fleet> {
        let postgres = Arc::new(Postgres::launch(test, Options::default())?);
        let database = postgres.create_database();
        let github = FakeGithub::start();
        for name in PROJECTS {
            github.create(name, SECRET);
        }
        let storage = tempfile::tempdir().expect("a folder");
        let member = |number: usize| {
            let mut server = Server::new(BINARY);
            server.use_postgres(
                &database,
                &format!("[storage]\nurl = \"file:{}\"\n", storage.path().display()),
            );
            server.set_projects(PROJECTS.map(|name| project(&github, name)));
            // What is left is looked at in PostgreSQL.
            server.expect_leftovers();
            let worker = ["worker", "--listen", "127.0.0.1:0", "--jobs", "2"];
            server.set_task(if number < servers { &["serve", "--no-work"] } else { &worker });
            Member { server, child: Mutex::default() }
        };
        let members: Vec<Member> = (0..servers + workers).map(member).collect();
        let fleet = Fleet {
            members,
            servers,
            postgres,
            database,
            storage,
            github,
            seed: seed(),
            size,
            round: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            accepted: Mutex::default(),
        };
        for member in &fleet.members {
            // One after the other: the first makes the tables.
            member.start();
            let listens = wait_for(PATIENCE, || member.server.address());
            assert!(listens.is_some(), "it does not listen:\n{}", member.server.log());
        }
        Some(fleet)
    }

    fn store(&self) -> Store {
        Store::on_postgres(&self.postgres, &self.database, self.storage.path())
    }

    fn number(&self, sql: &str) -> i64 {
        self.store().number(sql)
    }

    /// Has senders send while `trouble` goes on, which counts its rounds; then all that must hold.
    fn run(mut self, trouble: impl FnOnce(&Fleet)) -> Fleet {
        let (store, over) = (self.store(), AtomicBool::new(false));
        let this = &self;
        let (sent, watched) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| Watched::until(&over, &store, &PROJECTS));
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let senders: Vec<_> = PROJECTS
                    .iter()
                    .enumerate()
                    .map(|(number, name)| scope.spawn(move || Sender::new(this, name, number).run()))
                    .collect();
                trouble(this);
                let join = |sender: std::thread::ScopedJoinHandle<'_, Vec<Sent>>| sender.join();
                let sent: Vec<_> = senders.into_iter().map(join).collect();
                let sent: Vec<Sent> =
                    sent.into_iter().flat_map(|sent| sent.expect("a sender that did not fail")).collect();
                check::wait_until_done(&this.members[0].server, &store);
                sent
            }));
            // Senders that wait for a moment that does not come any more.
            this.round.store(u32::MAX, Ordering::Relaxed);
            over.store(true, Ordering::Relaxed);
            let watched = reader.join().expect("a reader that did not fail");
            (done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), watched)
        });
        for member in &mut self.members {
            let child = member.child.get_mut().expect("no panic").take().expect("it runs");
            member.server.adopt(child);
            member.server.stop();
        }
        check::all(&self.github, &PROJECTS, &store, &sent);
        watched.assert_only_whole_and_never_older(&store);
        let made_twice = "SELECT step_key FROM artifact GROUP BY step_key HAVING count(DISTINCT digest) > 1";
        assert_eq!(store.query(made_twice), Vec::<String>::new());
        self
    }

    /// How many jobs were taken from a start of the program.
    fn lost(&self, boot: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM job_attempt WHERE boot_id = '{boot}' AND result = 'lost'"))
    }

    /// Has a worker stop in the middle of a job, as soon as it has one in its hands; which start of the program it is.
    fn freeze(&self, worker: &Member, patience: Duration) -> Option<String> {
        let place = worker.server.data().display();
        let sql = format!(
            "SELECT b.id FROM boot b WHERE b.place LIKE '%{place}' AND EXISTS (SELECT 1 FROM job j WHERE j.boot_id = b.id AND j.state = 'leased' AND j.kind <> 'look')"
        );
        wait_for(patience, || {
            // Asked while it stands still: most jobs are shorter than a question.
            worker.signal("STOP");
            let boot = self.store().query(&sql).pop();
            if boot.is_none() {
                worker.signal("CONT");
            }
            boot
        })
    }
}

impl Receiver for Fleet {
    fn github(&self) -> &FakeGithub {
        &self.github
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn each(&self) -> usize {
        self.size.each()
    }

    fn allowed(&self) -> usize {
        self.size.allowed(self.round.load(Ordering::Relaxed))
    }

    /// To one after the other, as a balancer would; those that are not there give an error.
    fn send(&self, project: &str, delivery: &Delivery) -> Result<Reply, String> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.servers;
        let reply = self.members[next].server.send(project, delivery)?;
        if reply.status == 202 {
            self.accepted.lock().expect("no panic").push(Instant::now());
        }
        Ok(reply)
    }

    fn log(&self) -> String {
        self.members.iter().map(|member| member.server.log()).collect()
    }
}

#[test]
fn a_fleet_of_which_one_is_killed_again_and_again_and_one_is_a_zombie() {
    let (servers, workers, every, frozen, size) = size(
        (
            2,
            3,
            Duration::from_secs(2),
            Duration::from_secs(10),
            Size { deliveries: 120, kills: 10, longest: Duration::ZERO },
        ),
        (
            3,
            8,
            Duration::from_secs(5),
            Duration::from_secs(60),
            Size { deliveries: 1000, kills: 60, longest: Duration::ZERO },
        ),
    );
    let Some(fleet) = Fleet::gather("a_fleet_of_which_one_is_killed", servers, workers, size) else { return };
    let mut rng = Rng::new(fleet.seed);
    let mut zombie = String::new();
    let fleet = fleet.run(|fleet| {
        let kills = fleet.size.kills;
        // The last member is not killed, but frozen: for this long, and until another one has taken from it what it
        // had. That one must have watched for a whole lease, which those that are killed often do not.
        let last = fleet.members.last().expect("there are some");
        let mut until: Option<Instant> = None;
        for _ in 0..kills {
            let next = Instant::now() + every;
            if zombie.is_empty()
                && let Some(boot) = fleet.freeze(last, every)
            {
                zombie = boot;
                until = Some(Instant::now() + frozen);
            }
            pause(next.saturating_duration_since(Instant::now()));
            if until.is_some_and(|until| until <= Instant::now()) && fleet.lost(&zombie) > 0 {
                last.signal("CONT");
                until = None;
            }
            let chosen = usize::try_from(rng.up_to(fleet.members.len() as u64 - 2)).expect("small");
            fleet.members[chosen].kill();
            pause(AWAY);
            fleet.members[chosen].start();
            fleet.round.fetch_add(1, Ordering::Relaxed);
        }
        if until.is_some() {
            let taken = wait_for(PATIENCE, || (fleet.lost(&zombie) > 0).then_some(()));
            last.signal("CONT");
            assert!(taken.is_some(), "nothing was taken from a zombie");
        }
    });
    let lost = fleet.lost(&zombie);
    let others = fleet.number("SELECT count(*) FROM job_attempt WHERE result = 'lost'") - lost;
    let (runs, jobs) = (fleet.number("SELECT count(*) FROM run"), fleet.number("SELECT count(*) FROM job"));
    println!(
        "{runs} runs, {jobs} jobs; {others} were taken from killed programs and {lost} from a frozen one, and done again"
    );
    assert!(lost > 0, "what a zombie has is taken from it ({zombie})");
}

#[test]
fn a_database_that_is_killed_again_and_again_loses_nothing() {
    let (every, size) = size(
        (Duration::from_secs(4), Size { deliveries: 90, kills: 5, longest: Duration::ZERO }),
        (Duration::from_secs(10), Size { deliveries: 1500, kills: 30, longest: Duration::ZERO }),
    );
    let Some(fleet) = Fleet::gather("a_database_that_is_killed", 2, 2, size) else { return };
    let mut back = Vec::new();
    let fleet = fleet.run(|fleet| {
        for _ in 0..fleet.size.kills {
            pause(every);
            fleet.postgres.kill();
            pause(AWAY);
            fleet.postgres.start();
            back.push(Instant::now());
            fleet.round.fetch_add(1, Ordering::Relaxed);
        }
    });
    let accepted = fleet.accepted.lock().expect("no panic");
    let again = |back: &Instant| {
        let first = accepted.iter().filter(|moment| *moment >= back).min();
        first.map(|first| *first - *back)
    };
    // Each kill lets the senders go on, so that something is sent after each.
    let waits: Vec<Duration> = back.iter().filter_map(again).collect();
    let longest = waits.iter().max().expect("something was accepted");
    println!(
        "{} deliveries, {} runs; {} kills of PostgreSQL, accepting again after at most {longest:?}",
        accepted.len(),
        fleet.number("SELECT count(*) FROM run"),
        back.len()
    );
    if std::env::var_os("GRISTMILL_SOAK").is_some() {
        assert!(*longest <= ACCEPTING_AGAIN_MAX, "{waits:?}");
    }
}
