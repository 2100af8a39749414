//! Many deliveries, many `kill -9`, with and without the loss of what was not synced.
//!
//! `GRISTMILL_SOAK=1` makes them large; `GRISTMILL_SOAK_SEED` chooses another history.

mod check;
mod fleet;
mod sender;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use gristmill_lossfs::{Killer, LossFs, Rules};
use gristmill_testkit::forge::{Delivery, Reply};
use gristmill_testkit::server::{Server, Store};
use gristmill_testkit::{FakeGithub, skip};

use crate::world::{BINARY, SECRET, project};
use check::Watched;
use sender::{Receiver, Sender, Sent};

/// The projects; each has its own sender.
const PROJECTS: [&str; 3] = ["acme/one", "acme/two", "other/one"];
/// The branches of each.
const BRANCHES: u64 = 4;

/// How much is done.
struct Size {
    deliveries: u32,
    kills: u32,
    /// The latest moment after a start at which the server is killed.
    longest: Duration,
}

impl Size {
    /// How many deliveries each sender sends.
    fn each(&self) -> usize {
        self.deliveries.div_ceil(u32::try_from(PROJECTS.len()).expect("few")) as usize
    }

    /// How many of them by the time that so many kills are over.
    fn allowed(&self, kills: u32) -> usize {
        let each = self.each();
        if kills >= self.kills { each } else { each * (kills as usize + 1) / (self.kills as usize + 1) }
    }
}

/// The large one where somebody asked for it.
fn size<T>(ci: T, soak: T) -> T {
    if std::env::var_os("GRISTMILL_SOAK").is_some() { soak } else { ci }
}

fn seed() -> u64 {
    let chosen = std::env::var_os("GRISTMILL_SOAK_SEED").and_then(|text| text.to_str()?.parse().ok());
    chosen.unwrap_or(20_240_607)
}

/// A server, its forge, and what the senders need to know of both.
struct Campaign {
    server: Server,
    github: FakeGithub,
    seed: u64,
    size: Size,
    /// How many lives of the server are over.
    round: AtomicU32,
}

impl Campaign {
    fn new(seed: u64, size: Size, data: Option<&Path>) -> Campaign {
        let github = FakeGithub::start();
        let mut server = Server::new(BINARY);
        if let Some(data) = data {
            server.set_data(data);
        }
        for name in PROJECTS {
            github.create(name, SECRET);
        }
        server.set_projects(PROJECTS.map(|name| project(&github, name)));
        Campaign { server, github, seed, size, round: AtomicU32::new(0) }
    }

    /// Kills the server again and again while the senders send; `between` runs while it is dead. Returns what
    /// the senders had accepted, with the server running.
    fn run(&mut self, mut between: impl FnMut(u64)) -> Vec<Sent> {
        let mut killer = Killer::new(self.seed).window(Duration::from_millis(20), self.size.longest);
        let this = &*self;
        let accepted = std::thread::scope(|scope| {
            let senders: Vec<_> = PROJECTS
                .iter()
                .enumerate()
                .map(|(number, name)| scope.spawn(move || Sender::new(this, name, number).run()))
                .collect();
            let killed = killer.run(
                this.size.kills,
                |_| this.server.launch(),
                |round| {
                    assert_eq!(round.exited, None, "it died by itself:\n{}", this.server.log());
                    between(round.seed);
                    this.round.fetch_add(1, Ordering::Relaxed);
                    std::io::Result::Ok(())
                },
            );
            let killed = killed.expect("processes can be started and killed").killed;
            assert_eq!(killed, this.size.kills);
            // The last life, which is not ended: the senders finish on it.
            let last = this.server.launch().expect("the program starts");
            let sent: Vec<Sent> = senders
                .into_iter()
                .flat_map(|sender| sender.join().expect("a sender that did not fail"))
                .collect();
            (last, sent)
        });
        let (last, sent) = accepted;
        self.server.adopt(last);
        sent
    }
}

impl Receiver for Campaign {
    fn github(&self) -> &FakeGithub {
        &self.github
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn each(&self) -> usize {
        self.size.each()
    }

    /// They are spread over all lives.
    fn allowed(&self) -> usize {
        self.size.allowed(self.round.load(Ordering::Relaxed))
    }

    fn send(&self, project: &str, delivery: &Delivery) -> Result<Reply, String> {
        self.server.send(project, delivery)
    }

    fn log(&self) -> String {
        self.server.log()
    }
}

#[test]
fn many_kills_lose_nothing_and_publish_nothing_twice_or_in_halves() {
    let size = size(
        Size { deliveries: 150, kills: 40, longest: Duration::from_millis(1200) },
        Size { deliveries: 1000, kills: 300, longest: Duration::from_secs(3) },
    );
    let mut campaign = Campaign::new(seed(), size, None);
    let store = campaign.server.store();
    let over = AtomicBool::new(false);
    let (sent, watched) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| Watched::until(&over, &store, &PROJECTS));
        let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let sent = campaign.run(|_| {});
            check::wait_until_done(&campaign.server, &store);
            sent
        }));
        over.store(true, Ordering::Relaxed);
        let watched = reader.join().expect("a reader that did not fail");
        (sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), watched)
    });
    campaign.server.stop();
    assert_eq!(store.integrity(), ["ok"]);
    check::all(&campaign.github, &PROJECTS, &store, &sent);
    watched.assert_only_whole_and_never_older(&store);
}

#[test]
fn many_power_losses_lose_nothing_that_was_accepted() {
    if let Err(why) = LossFs::available() {
        return skip("many_power_losses_lose_nothing_that_was_accepted", &why);
    }
    let size = size(
        Size { deliveries: 60, kills: 20, longest: Duration::from_secs(2) },
        Size { deliveries: 1000, kills: 300, longest: Duration::from_secs(4) },
    );
    let folder = tempfile::tempdir().expect("a folder");
    // Unmounted after the server's end: declared before it.
    let rules = Rules { torn: true, journal: true, ..Rules::default() };
    let mut lossfs = LossFs::mount(folder.path().join("disk"), rules).expect("mounted");
    let data = lossfs.path().join("data");
    let mut campaign = Campaign::new(seed(), size, Some(&data));
    // Its database is never opened by this process, which serves the file system.
    campaign.server.expect_leftovers();
    let sent = campaign.run(|seed| {
        lossfs.crash(seed).expect("mounted again");
    });
    check::wait_until_done_by_cli(&campaign.server);
    campaign.server.stop();
    let copy = copied(&data, folder.path());
    let store = Store::at(&copy);
    assert_eq!(store.integrity(), ["ok"]);
    check::all(&campaign.github, &PROJECTS, &store, &sent);
    let dropped = lossfs.stats();
    assert!(dropped.crashes > 0 && dropped.pages_dropped > 0, "something was lost each time: {dropped:?}");
}

/// A copy on a real disk.
fn copied(data: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join("copy");
    let done = std::process::Command::new("cp").arg("-R").arg("--").arg(data).arg(&copy).status();
    assert!(done.expect("the program `cp`").success());
    copy
}
