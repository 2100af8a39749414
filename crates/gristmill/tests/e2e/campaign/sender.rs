//! Somebody who pushes to one repository, and a forge that sends what it must, until it is accepted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_lossfs::Rng;
use gristmill_testkit::forge::{Delivery, Reply};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::pause;
use gristmill_testkit::{FakeGithub, TestRepo};

use super::BRANCHES;

/// The most deliveries that wait to be sent: they overtake one another within it.
const WAITING_MAX: usize = 4;
/// How long a sender waits before it sends again what was not accepted.
const AGAIN: Duration = Duration::from_millis(30);
/// The longest that a delivery may stay unaccepted.
const ACCEPTED_MAX: Duration = Duration::from_secs(120);

/// What takes the deliveries, and how many of them.
pub(super) trait Receiver: Sync {
    /// Where is pushed to.
    fn github(&self) -> &FakeGithub;
    /// What all chance follows from.
    fn seed(&self) -> u64;
    /// How many deliveries each sender has to have accepted.
    fn each(&self) -> usize;
    /// How many it may have sent by now.
    fn allowed(&self) -> usize;
    /// One try.
    fn send(&self, project: &str, delivery: &Delivery) -> Result<Reply, String>;
    /// For people, where it does not go on.
    fn log(&self) -> String;
}

/// A delivery that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The project.
    pub(super) project: &'static str,
    /// The forge's id of the delivery.
    pub(super) id: String,
    /// Ref and commit of a push.
    pub(super) pushed: Option<(String, String)>,
}

/// Pushes and sends.
pub(super) struct Sender<'c> {
    to: &'c dyn Receiver,
    project: &'static str,
    repo: Arc<TestRepo>,
    rng: Rng,
    /// All commits so far.
    commits: Vec<String>,
    /// Where each branch is.
    tips: HashMap<String, String>,
    waiting: Vec<(Delivery, Sent)>,
    accepted: Vec<(Delivery, Sent)>,
}

impl<'c> Sender<'c> {
    pub(super) fn new(to: &'c dyn Receiver, project: &'static str, number: usize) -> Sender<'c> {
        // Objects are written by this thread alone; the forge moves the refs.
        let repo = to.github().repository_handle(project);
        let rng = Rng::new(to.seed() ^ (number as u64 + 1));
        Sender {
            to,
            project,
            repo,
            rng,
            commits: Vec::new(),
            tips: HashMap::new(),
            waiting: Vec::new(),
            accepted: Vec::new(),
        }
    }

    /// Goes on until as many deliveries are accepted as are wanted; returns these.
    pub(super) fn run(mut self) -> Vec<Sent> {
        while self.accepted.len() < self.to.each() {
            while self.accepted.len() >= self.to.allowed() {
                pause(AGAIN);
            }
            if self.waiting.len() < WAITING_MAX && self.rng.up_to(2) > 0 || self.waiting.is_empty() {
                self.push();
                continue;
            }
            let chosen = usize::try_from(self.rng.up_to(self.waiting.len() as u64 - 1)).expect("small");
            let (delivery, sent) = self.waiting.swap_remove(chosen);
            self.send(&delivery);
            self.accepted.push((delivery, sent));
            if self.rng.up_to(5) == 0 {
                // The same once more, much later than the first time.
                let old = usize::try_from(self.rng.up_to(self.accepted.len() as u64 - 1)).expect("small");
                self.send(&self.accepted[old].0.clone());
            }
        }
        while let Some((delivery, sent)) = self.waiting.pop() {
            self.send(&delivery);
            self.accepted.push((delivery, sent));
        }
        self.accepted.into_iter().map(|(_, sent)| sent).collect()
    }

    /// Moves a branch: mostly forward, sometimes to where another one is or was.
    fn push(&mut self) {
        let git_ref = format!("refs/heads/b{}", self.rng.up_to(BRANCHES - 1));
        let back = self.rng.up_to(7) == 0 && !self.commits.is_empty();
        let commit = if back {
            let old = usize::try_from(self.rng.up_to(self.commits.len() as u64 - 1)).expect("small");
            self.commits[old].clone()
        } else {
            self.commit(&git_ref)
        };
        let made = self.to.github().push(self.project, &git_ref, Some(&commit));
        self.tips.insert(git_ref.clone(), commit.clone());
        for delivery in made {
            let pushed = (delivery.event == "push").then(|| (git_ref.clone(), commit.clone()));
            let sent = Sent { project: self.project, id: delivery.id.clone(), pushed };
            self.waiting.push((delivery, sent));
        }
    }

    fn commit(&mut self, git_ref: &str) -> String {
        let number = self.commits.len();
        let mut changes = Changes::new().file("number", format!("{} {number}\n", self.project));
        if number == 0 {
            for file in 0..30 {
                changes = changes.file(format!("src/file{file}"), format!("line {file}\n").repeat(200));
            }
        }
        // On the first commit or on the branch: the archives share most of their members.
        let parent = self.tips.get(git_ref).or(self.commits.first()).cloned();
        let commit = self.repo.commit_unreferenced(parent.as_slice(), &changes);
        self.commits.push(commit.clone());
        commit
    }

    /// Sends until the answer is 2xx.
    fn send(&self, delivery: &Delivery) {
        let begun = Instant::now();
        loop {
            match self.to.send(self.project, delivery) {
                Ok(reply) if reply.status == 202 => return,
                Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.body),
                Err(_) => {}
            }
            assert!(begun.elapsed() < ACCEPTED_MAX, "not accepted:\n{}", self.to.log());
            pause(AGAIN);
        }
    }
}
