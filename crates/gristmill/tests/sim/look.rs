//! The step `look`: deliveries are read, the remote is asked, and what it said is applied later.

use gristmill::intake::{self, Seen, Understood};
use gristmill_db::job;
use gristmill_db::project::{self, Project};
use gristmill_db::run::{self, Run};
use gristmill_db::{DbError, Tx, delivery};
use gristmill_model::{CommitId, Event as Told, FirstLook, ProjectId, RunId, RunState};

use crate::sabotage::Sabotage;
use crate::steps::{Next, State, succeeded};
use crate::worker::{Did, Refused, Task};
use crate::world::{Done, Fault, RunFact, World};

/// Small, so that it is reached.
const DELIVERIES_MAX: i64 = 6;
const BYTES_MAX: i64 = 1_200;

/// A look under way.
#[derive(Clone, Debug)]
pub struct Looking {
    project: Box<Project>,
    left: Vec<Understood>,
    seen: Seen,
    more: bool,
}

fn understand(delivery: &delivery::Delivery) -> Understood {
    let events = serde_json::from_slice::<Vec<Told>>(delivery.body.as_ref().expect("nothing bends it"))
        .map_err(|fault| fault.to_string());
    Understood { id: delivery.id, is_replay: delivery.replays > 0, events }
}

impl World {
    pub fn look_read(&mut self, task: &Task) -> Result<Option<Next>, Fault> {
        let id = task.lease.project.expect("looks belong to projects");
        let did = self.commit(
            task,
            |tx| {
                let project = project::by_id(tx, id)?.expect("projects stay");
                let (waiting, more) = delivery::waiting(tx, id, DELIVERIES_MAX, BYTES_MAX)?;
                let understood = waiting.iter().map(understand).collect();
                let left = intake::settle_without_look(tx, &project, understood)?;
                Ok(Looking { project: Box::new(project), left, seen: Seen::new(), more })
            },
            |_, _| Ok(()),
        )?;
        Ok(match did {
            Did::Yes(looking) if !looking.project.active => {
                self.count("looks at disabled projects");
                Some(Next::Go(State::End(succeeded("{}".to_owned())), 1, 20))
            }
            Did::Yes(looking) => Some(Next::Go(State::LookAsk(looking), 1, 300)),
            other => World::ended(&other),
        })
    }

    /// The observation is of this moment; the program gets to know it later.
    pub fn look_ask(&mut self, id: Option<ProjectId>, mut looking: Looking) -> Result<Option<Next>, Fault> {
        if self.fails(6) {
            self.count("looks that failed");
            let id = id.expect("looks belong to projects");
            self.tx(|tx| project::looked(tx, id, Some("it does not answer")))?;
            let retry = job::Finish::Retry {
                reason: "it does not answer".to_owned(),
                public: None,
                after: None,
                within: None,
            };
            return Ok(Some(Next::Go(State::End(retry), 1, 3_000)));
        }
        let index = self.project_index(looking.project.id);
        looking.seen = self.projects[index].remote.seen();
        self.note(|| format!("look at {index} sees {} refs", looking.seen.len()));
        Ok(Some(Next::Go(State::LookApply(looking), 5, 3_000)))
    }

    pub fn look_apply(&mut self, task: &Task, looking: Looking) -> Result<Option<Next>, Fault> {
        let Looking { project, left, seen, more } = &looking;
        let mut left = left.clone();
        if self.does(Sabotage::ForgetOvertaken) {
            forget_overtaken(&mut left, seen);
        }
        if self.does(Sabotage::StaleLook)
            && !self.tx(|tx| job::still_mine(tx, task.lease.job, task.lease.attempt))?
        {
            let runs = self.tx(|tx| apply(tx, project, &left, seen))?;
            self.record_look(project, seen, runs)?;
            return Ok(Some(Next::Gone));
        }
        let (job, attempt, id) = (task.lease.job, task.lease.attempt, project.id);
        let how = succeeded("{}".to_owned());
        let this = how.clone();
        let did = self.commit(
            task,
            |tx| {
                let runs = apply(tx, project, &left, seen)?;
                if *more {
                    job::ask_for_look(tx, id, job::PRIORITY_HOOK)?;
                }
                Ok((runs, job::finish(tx, job, attempt, this)?))
            },
            |world, (runs, state)| {
                if *more {
                    world.count("looks with more to answer than fits");
                }
                world.count("looks applied");
                world.record_look(project, seen, runs.clone())?;
                world.record_end(task, &how, *state)
            },
        )?;
        Ok(World::ended(&did))
    }

    fn record_look(&mut self, project: &Project, seen: &Seen, runs: Vec<Run>) -> Done {
        let index = self.project_index(project.id);
        let builds_first = project.spec.pipelines[0].first_look == FirstLook::Build;
        for (git_ref, tip) in seen.iter().filter(|(git_ref, _)| project.spec.wants(git_ref) && builds_first) {
            self.truth.looked.insert((index, git_ref.clone(), tip.commit));
        }
        for run in runs {
            self.record_run(index, run)?;
        }
        if project.spec.pipelines[0].supersede {
            self.record_superseded(index)?;
        }
        Ok(())
    }

    pub fn record_run(&mut self, index: usize, run: Run) -> Done {
        self.count(match run.cause.as_str() {
            "delivery" => "runs by delivery",
            "poll" => "runs by poll",
            "manual" => "runs by hand",
            "schedule" => "runs by schedule",
            _ => "runs again",
        });
        if run.seq.is_none() {
            self.count("runs of overtaken commits");
        }
        self.note(|| {
            format!(
                "run {} {} {} seq {:?} by {}",
                run.id,
                run.git_ref,
                run.commit.short(),
                run.seq,
                run.cause
            )
        });
        if let (Some(seq), "delivery" | "poll") = (run.seq, run.cause.as_str()) {
            let moved = (index, run.git_ref.clone(), seq, run.is_release);
            let times = self.truth.moves.entry(moved).or_default();
            *times += 1;
            if *times > 1 + self.projects[index].replays {
                return Err(Fault(format!("move {seq} of {} was built {times} times", run.git_ref)));
            }
        }
        let fact = RunFact {
            project: index,
            git_ref: run.git_ref,
            commit: run.commit,
            rev: run.spec_rev,
            excuse: None,
            is_stopped: false,
        };
        self.truth.runs.insert(run.id, fact);
        Ok(())
    }

    /// Which runs a younger one has taken the place of.
    fn record_superseded(&mut self, index: usize) -> Done {
        let open: Vec<RunId> = self
            .truth
            .runs
            .iter()
            .filter(|(_, fact)| fact.project == index && !fact.is_stopped)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            let row = self.tx(|tx| run::by_id(tx, id))?.expect("runs stay");
            if row.state == RunState::Superseded {
                self.count("runs superseded");
                self.stop_run(id, "superseded");
            }
        }
        Ok(())
    }
}

fn apply(tx: &mut Tx<'_>, project: &Project, left: &[Understood], seen: &Seen) -> Result<Vec<Run>, Refused> {
    let applied = intake::apply(tx, project, left, seen)?;
    let rows: Result<Vec<Run>, DbError> =
        applied.runs.iter().map(|id| Ok(run::by_id(tx, *id)?.expect("just made"))).collect();
    Ok(rows?)
}

fn forget_overtaken(left: &mut [Understood], seen: &Seen) {
    let is_tip = |event: &Told| {
        let tip = event.git_ref.as_ref().and_then(|git_ref| seen.get(git_ref));
        tip.is_some_and(|tip| event.after == Some(tip.commit) || event.after == Some(CommitId(tip.object)))
    };
    for one in left {
        if let Ok(events) = &mut one.events {
            events.retain(is_tip);
        }
    }
}
