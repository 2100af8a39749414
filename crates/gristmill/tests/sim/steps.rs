//! What a worker does for a leased job, one small act after the other; anything may happen in between.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill::pipelines::archive::{ARCHIVE, FETCH, PUBLISH};
use gristmill_db::job::{self, Finish, Lease};
use gristmill_db::publication::Publication;
use gristmill_db::step::{self, Begin};
use gristmill_db::{blob, run};
use gristmill_model::{
    CommitId, Digest, EdgeKind, JobState, ObjectKey, Plan, PlannedEdge, PlannedJob, TreeId,
};
use serde::{Deserialize, Serialize};

use crate::look::Looking;
use crate::sabotage::Sabotage;
use crate::worker::{Did, Refused, Task};
use crate::world::{Done, Event, Fan, Fault, World, fault};

/// The length of every archive.
pub const SIZE: u64 = 1_000;

/// Where a step is.
#[derive(Debug)]
pub enum State {
    LookRead,
    LookAsk(Looking),
    LookApply(Looking),
    Fetch,
    LeaveOut(BTreeSet<CommitId>),
    Work,
    Begin,
    Store(Made),
    Record(Made),
    Desire,
    Hold(ObjectKey),
    Put(Box<Publication>, i64),
    Published(ObjectKey, i64),
    End(Finish),
}

impl State {
    pub fn first(lease: &Lease) -> State {
        match lease.kind.as_str() {
            "look" => State::LookRead,
            FETCH => State::Fetch,
            ARCHIVE => State::Begin,
            PUBLISH => State::Desire,
            _ => State::Work,
        }
    }
}

/// What the step `archive` makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    pub key: Digest,
    pub digest: Digest,
}

/// What the step `fetch` learns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    pub commit: CommitId,
    pub tree: TreeId,
}

/// What is next, and how long until then.
pub enum Next {
    Go(State, i64, i64),
    Gone,
}

/// The bytes that a tree becomes under a recipe.
pub fn bytes_of(tree: TreeId, recipe: i64) -> Digest {
    Digest::of_parts([b"zip".as_slice(), tree.0.as_bytes(), &recipe.to_be_bytes()])
}

fn key_of(tree: TreeId, recipe: i64) -> Digest {
    Digest::of_parts([b"step".as_slice(), tree.0.as_bytes(), &recipe.to_be_bytes()])
}

pub fn succeeded(outcome: String) -> Finish {
    Finish::Succeeded { outcome, cached: false, expand: None }
}

fn retry(reason: &str) -> Finish {
    Finish::Retry { reason: reason.to_owned(), public: None, after: None, within: None }
}

impl World {
    /// A step goes on.
    pub fn go_on(&mut self, number: u64) -> Done {
        let Some(task) = self.tasks.get(&number) else { return Ok(()) };
        let until = self.workers[task.worker].frozen_until;
        if until > self.now() {
            let late = self.rng.between(0, 50);
            self.at(until + late, Event::Task(number));
            return Ok(());
        }
        let mut task = self.tasks.remove(&number).expect("it was there");
        let next = self.act(&mut task)?;
        let state = std::mem::replace(&mut task.state, State::Work);
        self.tasks.insert(number, task);
        match next {
            Some(Next::Gone) => self.forget(number),
            Some(Next::Go(next, low, high)) => {
                self.tasks.get_mut(&number).expect("just put there").state = next;
                self.soon(low, high, Event::Task(number));
            }
            None => {
                self.tasks.get_mut(&number).expect("just put there").state = state;
                self.soon(100, 1_000, Event::Task(number));
            }
        }
        Ok(())
    }

    /// One act; `None`: nobody knows whether it was done, it is tried again.
    fn act(&mut self, task: &mut Task) -> Result<Option<Next>, Fault> {
        match &task.state {
            State::LookRead => self.look_read(task),
            State::LookAsk(looking) => self.look_ask(task.lease.project, looking.clone()),
            State::LookApply(looking) => self.look_apply(task, looking.clone()),
            State::Fetch => self.fetch(task),
            State::LeaveOut(compared) => self.leave_out(task, compared),
            State::Work => Ok(Some(self.work(task))),
            State::Begin => self.begin(task),
            State::Store(made) => self.store(task, made.clone()),
            State::Record(made) => self.record_made(task, made.clone()),
            State::Desire => self.desire(task),
            State::Hold(key) => self.hold(task, key.clone()),
            State::Put(what, until) => self.put(task, what.clone(), *until),
            State::Published(key, seq) => self.published(task, key.clone(), *seq),
            State::End(finish) => self.end(task, finish.clone()),
        }
    }

    /// What follows from a transaction that ended the job.
    pub fn ended<T>(did: &Did<T>) -> Option<Next> {
        match did {
            Did::Yes(_) | Did::Stale => Some(Next::Gone),
            Did::Unknown => None,
        }
    }

    fn end(&mut self, task: &Task, finish: Finish) -> Result<Option<Next>, Fault> {
        let (job, attempt, run) = (task.lease.job, task.lease.attempt, task.lease.run);
        let (how, this) = (finish.clone(), finish.clone());
        let forgets_tries = self.does(Sabotage::ForgetTries);
        let forgets_waiters = self.does(Sabotage::ForgetWaiters);
        let fan_in_early = self.does(Sabotage::FanInEarly);
        let work = |tx: &mut gristmill_db::Tx<'_>| {
            let state = job::finish(tx, job, attempt, this)?;
            if forgets_tries {
                tx.execute("UPDATE job SET tries = 0, losses = 0 WHERE id = $1", gristmill_db::params![job])?;
            }
            if forgets_waiters && matches!(how, Finish::WaitFor { .. }) {
                tx.execute("UPDATE job SET deps_left = 2 WHERE id = $1", gristmill_db::params![job])?;
            }
            if fan_in_early {
                const EARLY: &str = "UPDATE job SET state = 'ready', deps_left = 0 WHERE run_id = $1 AND kind = 'join' AND state = 'blocked'";
                tx.execute(EARLY, gristmill_db::params![run])?;
            }
            Ok::<JobState, Refused>(state)
        };
        let did = self.commit(task, work, |world, state| {
            if let Finish::Succeeded { expand: Some(plan), .. } = &finish
                && let Some(run) = task.lease.run
            {
                world.count("expansions");
                let jobs = plan.jobs.iter().filter(|job| job.kind == "work").count();
                world.truth.fans.insert(run, Fan { jobs, over: 0 });
            }
            world.record_end(task, &finish, *state)
        })?;
        Ok(World::ended(&did))
    }

    fn fetch(&mut self, task: &Task) -> Result<Option<Next>, Fault> {
        let run = task.lease.run.expect("fetches belong to runs");
        let fact = self.truth.runs[&run].clone();
        let remote = &self.projects[fact.project].remote;
        let commit = remote.peel(fact.commit);
        let tip = remote.tip(&fact.git_ref).map_or(commit, |tip| tip.commit);
        let built = if self.does(Sabotage::BuildTip) { tip } else { commit };
        let fetched = Fetched { commit, tree: remote.tree(built) };
        let is_broken = remote.broken.contains(&commit);
        // Decided by the job, so that every attempt ends alike.
        let is_poison = Digest::of(task.lease.job.to_string().as_bytes()).as_bytes()[0] == 0;
        if !is_broken
            && !is_poison
            && let Some(next) = self.leave_out_or(task, fetched.tree)?
        {
            return Ok(Some(next));
        }
        let finish = if is_broken {
            self.count("permanent failures");
            self.excuse(Some(run), "cannot be fetched");
            Finish::Failed { reason: "the remote does not have it".to_owned(), public: None }
        } else if is_poison {
            retry("it never works")
        } else if self.fails(6) {
            retry("the network")
        } else if self.fails(3) {
            Finish::Deferred { reason: "the mirror is in use".to_owned(), wait: Duration::from_secs(1) }
        } else {
            let outcome = serde_json::to_string(&fetched).expect("plain data");
            let expand = self.rng.chance(10).then(|| self.fan(run));
            Finish::Succeeded { outcome, cached: false, expand }
        };
        Ok(Some(Next::Go(State::End(finish), 10, 2_000)))
    }

    /// Two jobs side by side and one that waits for both.
    fn fan(&mut self, run: gristmill_model::RunId) -> Plan {
        let kind = if self.rng.chance(50) { EdgeKind::OnFinish } else { EdgeKind::OnSuccess };
        let jobs: Vec<PlannedJob> = (0..3)
            .map(|index| {
                let fails = index < 2 && self.rng.chance(10);
                if fails && kind == EdgeKind::OnSuccess {
                    self.excuse(Some(run), "a job before the archive failed");
                }
                let kind = if index < 2 { "work" } else { "join" };
                PlannedJob::new(kind, if fails { "fail" } else { "ok" }.to_owned())
            })
            .collect();
        let edges = [0, 1].map(|from| PlannedEdge { from, to: 2, kind }).into();
        Plan { jobs, edges }
    }

    fn work(&mut self, task: &Task) -> Next {
        let finish = if task.lease.payload == "fail" {
            self.count("side jobs that fail");
            Finish::Failed { reason: "it was to fail".to_owned(), public: None }
        } else {
            succeeded("{}".to_owned())
        };
        Next::Go(State::End(finish), 10, 3_000)
    }

    fn begin(&mut self, task: &Task) -> Result<Option<Next>, Fault> {
        let run = task.lease.run.expect("archives belong to runs");
        let fact = self.truth.runs[&run].clone();
        let recipe = self.truth.recipes[&(self.projects[fact.project].id, fact.rev)];
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let at_once = self.rng.chance(50);
        let did = self.commit(
            task,
            |tx| {
                let outcome = job::run_outcome(tx, run, FETCH)?.expect("the fetch before it succeeded");
                let fetched: Fetched = serde_json::from_str(&outcome).expect("as it was written");
                let key = key_of(fetched.tree, recipe);
                let begun = step::begin(tx, key, job, Some(run))?;
                let ended = match &begun {
                    Begin::Hit(outcome) => {
                        let hit = Finish::Succeeded { outcome: outcome.clone(), cached: true, expand: None };
                        Some((hit.clone(), job::finish(tx, job, attempt, hit)?))
                    }
                    Begin::Wait(other) if at_once => {
                        let wait = Finish::WaitFor { job: *other };
                        Some((wait.clone(), job::finish(tx, job, attempt, wait)?))
                    }
                    _ => None,
                };
                Ok((Made { key, digest: bytes_of(fetched.tree, recipe) }, begun, ended))
            },
            |world, (made, begun, ended)| {
                if *begun == Begin::Make {
                    world.check_single_flight(task, made.key)?;
                }
                ended.as_ref().map_or(Ok(()), |(how, state)| world.record_end(task, how, *state))
            },
        )?;
        Ok(match did {
            Did::Yes((made, begun, None)) => Some(match begun {
                Begin::Wait(other) if !self.does(Sabotage::MakeTwice) => {
                    Next::Go(State::End(Finish::WaitFor { job: other }), 1, 3_000)
                }
                Begin::Wait(_) => {
                    self.check_single_flight(task, made.key)?;
                    Next::Go(State::Store(made), 10, 4_000)
                }
                _ => Next::Go(State::Store(made), 10, 4_000),
            }),
            did => World::ended(&did),
        })
    }

    fn check_single_flight(&mut self, task: &Task, key: Digest) -> Done {
        self.count("steps made");
        let this = (task.lease.job, task.lease.attempt);
        if let Some((job, attempt)) = self.truth.makers.insert(key, this)
            && job != this.0
            && self
                .truth
                .held
                .get(&job)
                .is_some_and(|held| held.attempt == attempt && held.until > self.now())
        {
            return fault(format!("step {key} is made by {job} and by {} at once", this.0));
        }
        if self.truth.made.get(&key).is_some_and(|made| *made > self.truth.collected_at) {
            return fault(format!("step {key} was made, not collected, and is made again"));
        }
        Ok(())
    }

    /// The bytes: recorded, then stored; the end of the job proves that they are still there.
    fn store(&mut self, task: &Task, made: Made) -> Result<Option<Next>, Fault> {
        if !self.does(Sabotage::RecordLate) {
            let digest = made.digest;
            let add = |tx: &mut gristmill_db::Tx<'_>| Ok(blob::add(tx, digest, SIZE).is_ok());
            match self.commit(task, add, |_, _| Ok(()))? {
                Did::Yes(true) => {}
                Did::Yes(false) => return Ok(Some(self.deleting())),
                other => return Ok(World::ended(&other)),
            }
        }
        if self.fails(3) {
            return Ok(Some(Next::Go(State::End(retry("the storage")), 10, 500)));
        }
        self.bucket.blobs.insert(made.digest);
        // Slow enough that the collector comes in between now and then.
        let high = if self.does(Sabotage::RecordLate) { 15_000 } else { 4_000 };
        Ok(Some(Next::Go(State::Record(made), 10, high)))
    }

    fn deleting(&mut self) -> Next {
        self.count("blobs met while they are deleted");
        Next::Go(State::End(retry("the same bytes are being deleted")), 1, 10)
    }

    fn record_made(&mut self, task: &Task, made: Made) -> Result<Option<Next>, Fault> {
        let (job, attempt, run) = (task.lease.job, task.lease.attempt, task.lease.run);
        let outcome = serde_json::to_string(&made).expect("plain data");
        let how = succeeded(outcome.clone());
        let this = how.clone();
        let twice = self.does(Sabotage::MakeTwice);
        let late = self.does(Sabotage::RecordLate);
        let did = self.commit(
            task,
            |tx| {
                let kept =
                    if late { blob::add(tx, made.digest, SIZE) } else { blob::confirm(tx, made.digest) };
                if kept.is_err() {
                    return Ok(None);
                }
                if !step::made(tx, made.key, job, run, &outcome, &[made.digest])? && !twice {
                    return Err(Refused::Fault(Fault(format!("step {} was taken from its maker", made.key))));
                }
                Ok(Some(job::finish(tx, job, attempt, this)?))
            },
            |world, state| {
                let Some(state) = state else { return Ok(()) };
                world.truth.made.insert(made.key, world.now());
                world.record_end(task, &how, *state)
            },
        )?;
        match did {
            Did::Yes(None) => Ok(Some(self.deleting())),
            did => Ok(World::ended(&did)),
        }
    }

    /// Which run the step works for, and whether the database still agrees on what it is.
    pub fn run_row(tx: &mut gristmill_db::Tx<'_>, task: &Task) -> Result<run::Run, Refused> {
        let id = task.lease.run.expect("it belongs to a run");
        Ok(run::by_id(tx, id)?.expect("runs are not deleted here"))
    }
}
