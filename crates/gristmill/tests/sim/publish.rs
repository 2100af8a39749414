//! The step `publish`: the artifact is recorded, the key desired, and the bucket made to follow.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gristmill::pipelines::archive::{ARCHIVE, FETCH};
use gristmill_db::artifact::{self, Artifact};
use gristmill_db::job::{self, Finish};
use gristmill_db::publication::{self, Desire, Desired, Holder, Publication};
use gristmill_db::{Tx, head};
use gristmill_model::{ArtifactId, KeyFields, ObjectKey, PipelineKind, ProjectSpec};

use crate::sabotage::Sabotage;
use crate::steps::{Fetched, Made, Next, SIZE, State, bytes_of, succeeded};
use crate::worker::{Did, Refused, Task};
use crate::world::{Done, Event, Fault, Recorded, World, fault};

/// The hard limit of one request to the bucket.
const PUT_MS: i64 = 10_000;
/// How long a key is held: a request that is begun within the rest ends in time.
const HOLD_MS: i64 = 12_000;

fn inputs(tx: &mut Tx<'_>, task: &Task) -> Result<(Fetched, Made), Refused> {
    let run = task.lease.run.expect("it belongs to a run");
    let fetched = job::run_outcome(tx, run, FETCH)?.expect("the fetch before it succeeded");
    let made = job::run_outcome(tx, run, ARCHIVE)?.expect("the archive before it succeeded");
    Ok((
        serde_json::from_str(&fetched).expect("as it was written"),
        serde_json::from_str(&made).expect("as it was written"),
    ))
}

fn key_for(spec: &ProjectSpec, run: &gristmill_db::run::Run, fetched: &Fetched) -> ObjectKey {
    let PipelineKind::Archive(settings) = &spec.pipelines[0].kind;
    let fields = KeyFields {
        repository: &spec.repository,
        git_ref: &run.git_ref,
        commit: fetched.commit,
        tree: fetched.tree,
        date: "2026-01-01",
    };
    settings.template(&run.git_ref, run.is_release).render(&fields).expect("a template for every ref")
}

impl World {
    pub fn desire(&mut self, task: &Task) -> Result<Option<Next>, Fault> {
        let fact = self.truth.runs[&task.lease.run.expect("it belongs to a run")].clone();
        let spec = self.projects[fact.project].spec.clone();
        let own_seq = self.does(Sabotage::OwnSeq);
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let did = self.commit(
            task,
            |tx| {
                let run = World::run_row(tx, task)?;
                let (fetched, made) = inputs(tx, task)?;
                let key = key_for(&spec, &run, &fetched);
                let artifact = artifact_of(tx, &run, &fetched, &made, &key);
                artifact::insert(tx, &artifact)?;
                let Some(mut seq) = run.seq else {
                    let how = succeeded("{}".to_owned());
                    let state = job::finish(tx, job, attempt, how.clone())?;
                    return Ok((fetched, made, key, None, Some((how, state))));
                };
                if own_seq {
                    seq = head::next_move(tx)?;
                }
                let desired = publication::desire(tx, &desire_of(&run, &fetched, &made, &key, seq))?;
                let how = match &desired {
                    Desired::Committed { .. } => None,
                    Desired::Already { .. } | Desired::Overtaken { .. } => Some(succeeded("{}".to_owned())),
                    Desired::Taken { by } => Some(Finish::Failed { reason: by.clone(), public: None }),
                };
                let ended = match how {
                    None => None,
                    Some(how) => Some((how.clone(), job::finish(tx, job, attempt, how)?)),
                };
                Ok((fetched, made, key, Some(desired), ended))
            },
            |world, (fetched, made, _, desired, ended)| {
                world.record_artifact(task, fetched, made)?;
                match desired {
                    Some(Desired::Overtaken { .. }) => world.count("publications overtaken"),
                    Some(Desired::Already { .. }) => world.count("publications already there"),
                    Some(Desired::Taken { by }) => return fault(format!("a key was taken by {by}")),
                    _ => {}
                }
                ended.as_ref().map_or(Ok(()), |(how, state)| world.record_end(task, how, *state))
            },
        )?;
        Ok(match did {
            Did::Yes((_, _, key, _, None)) => Some(Next::Go(State::Hold(key), 1, 300)),
            other => World::ended(&other),
        })
    }

    fn record_artifact(&mut self, task: &Task, fetched: &Fetched, made: &Made) -> Done {
        let fact = self.truth.runs[&task.lease.run.expect("it belongs to a run")].clone();
        let project = &self.projects[fact.project];
        let commit = project.remote.peel(fact.commit);
        let right = bytes_of(project.remote.tree(commit), self.truth.recipes[&(project.id, fact.rev)]);
        if made.digest != right || fetched.commit != commit {
            return fault(format!("the archive of {commit} has the bytes of another tree"));
        }
        self.truth.artifacts.push(Recorded { project: fact.project, git_ref: fact.git_ref, commit });
        Ok(())
    }

    pub fn hold(&mut self, task: &Task, key: ObjectKey) -> Result<Option<Next>, Fault> {
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let (now, until) = (World::span(self.now()), self.now() + HOLD_MS);
        let watch = RefCell::new(std::mem::take(&mut self.workers[task.worker].holders));
        let stood = |holder: &Holder| watch.borrow_mut().stood(&key, holder, now);
        let did = self.commit(
            task,
            |tx| {
                let wait = publication::hold(tx, &key, (job, attempt), World::span(HOLD_MS), stood)?;
                Ok((wait, publication::top(tx, &key)?.expect("it was desired"), until))
            },
            |_, _| Ok(()),
        );
        self.workers[task.worker].holders = watch.into_inner();
        let did = did?;
        Ok(match did {
            Did::Yes((Some(wait), _, _)) => {
                self.count("waits for a key");
                let wait = wait.min(std::time::Duration::from_secs(4));
                Some(Next::Go(
                    State::End(Finish::Deferred { reason: "its key is held".to_owned(), wait }),
                    1,
                    10,
                ))
            }
            Did::Yes((None, top, until)) => Some(Next::Go(State::Put(Box::new(top), until), 1, 200)),
            other => World::ended(&other),
        })
    }

    /// Looks what the key holds, and writes where that is older.
    pub fn put(&mut self, task: &Task, top: Box<Publication>, until: i64) -> Result<Option<Next>, Fault> {
        let key = top.key.clone();
        if self.now() + PUT_MS > until {
            self.count("holds taken again");
            return Ok(Some(Next::Go(State::Hold(key), 1, 10)));
        }
        if self.bucket.down_until > self.now() {
            self.count("requests to a bucket that is down");
            return Ok(Some(Next::Go(State::End(retry("the bucket is down")), 1, 3_000)));
        }
        let shown = self.bucket.head(&key).map(|shown| shown.seq);
        if shown.is_some_and(|seq| seq >= top.seq) && !self.does(Sabotage::PutBlindly) {
            self.count("keys found as they should be");
            return Ok(Some(Next::Go(State::Published(key, top.seq), 1, 50)));
        }
        let seq = top.seq;
        match if self.faults { self.rng.below(100) } else { 99 } {
            0..=3 => {
                self.count("requests that failed");
                Ok(Some(Next::Go(State::End(retry("the bucket refused")), 1, 2_000)))
            }
            // The answer never comes; the request may land at any moment until its hard limit.
            4..=9 => {
                self.count("requests without an answer");
                if self.rng.chance(60) {
                    self.soon(10, PUT_MS, Event::Land(top));
                }
                if self.does(Sabotage::LetGoEarly) {
                    let job = task.lease.job;
                    self.tx(|tx| publication::let_go(tx, &key, job))?;
                    return Ok(Some(Next::Go(State::End(retry("no answer")), 10, 100)));
                }
                Ok(Some(Next::Go(State::End(retry("no answer")), PUT_MS, PUT_MS + 100)))
            }
            _ => {
                let lands = self.rng.between(5, 400);
                self.at(self.now() + lands, Event::Land(top));
                Ok(Some(Next::Go(State::Published(key, seq), lands + 1, lands + 100)))
            }
        }
    }

    /// A PUT reaches the bucket.
    pub fn land(&mut self, what: &Publication) -> Done {
        self.count("versions published");
        self.note(|| format!("bucket {} = {} {}", what.key, what.seq, what.commit.short()));
        self.bucket.put(self.now(), what).map_err(Fault)
    }

    pub fn published(&mut self, task: &Task, key: ObjectKey, seq: i64) -> Result<Option<Next>, Fault> {
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let how = succeeded("{}".to_owned());
        let this = how.clone();
        let did = self.commit(
            task,
            |tx| {
                publication::published(tx, &key, seq, Some("v"))?;
                publication::let_go(tx, &key, job)?;
                Ok(job::finish(tx, job, attempt, this)?)
            },
            |world, state| world.record_end(task, &how, *state),
        )?;
        Ok(World::ended(&did))
    }
}

fn retry(reason: &str) -> Finish {
    Finish::Retry { reason: reason.to_owned(), public: None, after: None, within: None }
}

fn artifact_of(
    tx: &mut Tx<'_>,
    run: &gristmill_db::run::Run,
    fetched: &Fetched,
    made: &Made,
    key: &ObjectKey,
) -> Artifact {
    Artifact {
        id: ArtifactId::new(tx.now(), tx.random()),
        run: run.id,
        project: run.project,
        pipeline: run.pipeline.clone(),
        git_ref: run.git_ref.clone(),
        commit: fetched.commit,
        tree: fetched.tree,
        recipe: "zip".to_owned(),
        step: made.key,
        digest: made.digest,
        size: i64::try_from(SIZE).unwrap(),
        media_type: "application/zip".to_owned(),
        index: None,
        key: key.clone(),
        created: tx.now(),
    }
}

fn desire_of(
    run: &gristmill_db::run::Run,
    fetched: &Fetched,
    made: &Made,
    key: &ObjectKey,
    seq: i64,
) -> Desire {
    Desire {
        key: key.clone(),
        seq,
        digest: made.digest,
        size: i64::try_from(SIZE).unwrap(),
        content_type: "application/zip".to_owned(),
        metadata: BTreeMap::new(),
        project: run.project,
        pipeline: run.pipeline.clone(),
        git_ref: run.git_ref.clone(),
        commit: fetched.commit,
        run: run.id,
        allow_shared_key: false,
    }
}
