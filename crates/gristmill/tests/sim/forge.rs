//! Pushes, and the deliveries that a forge sends for them: lost, twice, out of order, late, altered.

use gristmill::intake::Tip;
use gristmill_db::delivery::{self, Accepted, NewDelivery};
use gristmill_model::{CommitId, DeliveryId, Event as Told, EventKind, EventRepository, GitRef};

use crate::sabotage::Sabotage;
use crate::world::{Done, Event, World, fault};

/// The number of different trees: few, so that reverts and equal trees in two projects are common.
const TREES: u64 = 8;
const REFS: [&str; 6] = [
    "refs/heads/main",
    "refs/heads/main",
    "refs/heads/release/1",
    "refs/tags/v1",
    "refs/tags/v2",
    "refs/heads/junk",
];

/// A delivery as its sender knows it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub project: usize,
    pub remote_id: String,
    pub body: Vec<u8>,
    pub told: Vec<Told>,
    /// What the server answered with, if the sender's copy of this body was accepted.
    pub accepted: Option<DeliveryId>,
    /// It is another body under an id that was used before.
    pub is_forged: bool,
}

fn event(kind: EventKind, name: &str, git_ref: Option<GitRef>, after: Option<CommitId>) -> Told {
    let repository = Some(EventRepository { full_name: name.to_owned(), id: None });
    Told { kind, repository, git_ref, before: None, after, reason: None }
}

impl World {
    /// One push to one remote, of one or more refs, and what the forge sends for it.
    pub fn push(&mut self) -> Done {
        let project = usize::try_from(self.rng.below(self.projects.len() as u64)).unwrap();
        let mut told = Vec::new();
        let refs = if self.rng.chance(15) { 3 } else { 1 };
        if refs > 1 {
            self.count("several refs in one push");
        }
        for _ in 0..refs {
            let git_ref: GitRef = self.rng.pick(&REFS).parse().unwrap();
            told.push(self.move_ref(project, &git_ref));
        }
        let tagged = told.iter().find(|one| one.kind == EventKind::Tag).cloned();
        if let Some(tagged) = tagged.filter(|_| self.rng.chance(40)) {
            self.send(project, vec![Told { kind: EventKind::Release, ..tagged }]);
            self.count("releases");
        }
        if self.rng.chance(70) {
            self.send(project, told);
        } else {
            told.into_iter().for_each(|one| self.send(project, vec![one]));
        }
        if self.rng.chance(8) {
            self.noise(project);
        }
        Ok(())
    }

    fn move_ref(&mut self, project: usize, git_ref: &GitRef) -> Told {
        let now = self.now();
        let name = self.projects[project].spec.repository.to_string();
        let (dice, tree) = (self.rng.below(100), u32::try_from(self.rng.below(TREES)).unwrap());
        let is_broken = self.rng.chance(4);
        let remote = &mut self.projects[project].remote;
        let older = remote.older(git_ref);
        let exists = remote.tip(git_ref).is_some();
        let mut what = "pushes";
        let tip = match dice {
            0..=6 if exists => {
                what = "refs deleted";
                None
            }
            7..=24 if !older.is_empty() => {
                what = "moves back to an older tip";
                let commit = older[usize::try_from(dice).unwrap() % older.len()];
                Some(Tip { object: commit.0, commit })
            }
            _ => {
                let commit = remote.commit(tree);
                if is_broken {
                    remote.broken.insert(commit);
                }
                let is_annotated = git_ref.tag().is_some() && dice % 2 == 0;
                let object = if is_annotated { remote.annotate(commit) } else { commit.0 };
                if is_annotated {
                    what = "annotated tags";
                }
                Some(Tip { object, commit })
            }
        };
        remote.set(now, git_ref, tip);
        self.count(what);
        self.note(|| format!("push {project} {git_ref} -> {:?}", tip.map(|tip| tip.commit.short())));
        match tip {
            None => event(EventKind::Delete, &name, Some(git_ref.clone()), None),
            Some(tip) => {
                let kind = if git_ref.tag().is_some() { EventKind::Tag } else { EventKind::Push };
                event(kind, &name, Some(git_ref.clone()), Some(CommitId(tip.object)))
            }
        }
    }

    /// Deliveries that nothing is built for.
    fn noise(&mut self, project: usize) {
        let name = self.projects[project].spec.repository.to_string();
        let told = match self.rng.below(4) {
            0 => vec![event(EventKind::Ping, &name, None, None)],
            1 => vec![event(EventKind::Push, "some/one-else", REFS[0].parse().ok(), None)],
            2 => vec![Told::ignored("a star")],
            _ => Vec::new(),
        };
        self.count("deliveries without anything to build");
        self.send(project, told);
    }

    fn send(&mut self, project: usize, told: Vec<Told>) {
        let unreadable = told.is_empty() && self.rng.chance(50);
        let body = if unreadable { b"{".to_vec() } else { serde_json::to_vec(&told).unwrap() };
        let number = self.sent.len();
        let remote_id = format!("d{number}");
        self.sent.push(Sent { project, remote_id, body, told, accepted: None, is_forged: false });
        if self.fails(10) {
            self.count("deliveries lost on the way");
            return;
        }
        self.soon(5, 400, Event::Deliver(number));
        if self.fails(8) {
            self.count("deliveries that come late again");
            let copies = if self.rng.chance(40) { 5 } else { 1 };
            for _ in 0..copies {
                self.soon(500, 90_000, Event::Deliver(number));
            }
        }
        if self.fails(3) {
            let mut forged = self.sent[number].clone();
            forged.body.push(b' ');
            forged.is_forged = true;
            self.sent.push(forged);
            self.soon(1, 60_000, Event::Deliver(number + 1));
        }
    }

    /// A delivery reaches the server.
    pub fn deliver(&mut self, number: usize) -> Done {
        let one = self.sent[number].clone();
        let project = self.projects[one.project].id;
        if !self.projects[one.project].is_active || !self.workers.iter().any(super::worker::Worker::is_up) {
            self.count("deliveries refused");
            if self.faults && self.rng.chance(50) {
                self.soon(1_000, 30_000, Event::Deliver(number));
            }
            return Ok(());
        }
        let new = NewDelivery {
            remote_id: one.remote_id.clone(),
            id_stands_for: None,
            event: "push".to_owned(),
            verifier: "sim".to_owned(),
            body: delivery::Body::pack(&one.body),
        };
        let answer = if self.does(Sabotage::LoseDelivery) && self.rng.chance(5) {
            Accepted::New(DeliveryId::new(
                gristmill_model::Timestamp(self.now()),
                u128::from(self.rng.next()),
            ))
        } else {
            self.tx(|tx| delivery::accept(tx, project, &new))?
        };
        self.check_answer(number, answer)?;
        if self.does(Sabotage::HandleTwice)
            && let Accepted::Again(id) = answer
        {
            self.tx(|tx| delivery::replay(tx, id))?;
        }
        if self.fails(5) {
            self.count("answers to senders lost");
            self.soon(1_000, 20_000, Event::Deliver(number));
        }
        Ok(())
    }

    fn check_answer(&mut self, number: usize, answer: Accepted) -> Done {
        let one = &self.sent[number];
        let same_id = |other: &&Sent| other.project == one.project && other.remote_id == one.remote_id;
        let first = self.sent.iter().filter(same_id).find_map(|other| {
            let id = other.accepted?;
            Some((id, other.body == one.body))
        });
        let expected = match (first, answer) {
            (None, Accepted::New(_)) => true,
            (Some((id, true)), Accepted::Again(again)) => id == again,
            (Some((id, false)), Accepted::Conflict(other)) => id == other,
            _ => false,
        };
        if !expected {
            return fault(format!(
                "delivery {} was answered with {answer:?}, after {first:?}",
                one.remote_id
            ));
        }
        match answer {
            Accepted::New(id) => {
                self.note(|| format!("accept {} {:?}", one.remote_id, one.told));
                self.sent[number].accepted = Some(id);
                self.count("deliveries accepted");
            }
            Accepted::Again(_) => self.count("deliveries again"),
            Accepted::Conflict(_) => self.count("deliveries in conflict"),
        }
        Ok(())
    }
}
