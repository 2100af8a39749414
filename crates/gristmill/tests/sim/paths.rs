//! Pipelines that build only what touches certain paths: commits that are left out, and what readers have instead.

use std::collections::BTreeSet;
use std::time::Duration;

use gristmill::pipelines::archive::paths::{self, Base};
use gristmill_db::job::{self, Finish};
use gristmill_db::{base, run};
use gristmill_model::{CommitId, GitRef, ObjectKey, TreeId};

use crate::sabotage::Sabotage;
use crate::steps::{Next, State};
use crate::worker::Task;
use crate::world::{Done, Fault, World, fault};

/// Why a run that was left out needs no artifact.
pub const LEFT_OUT: &str = "left out";

/// What a tree has at the paths that count.
fn counted(tree: TreeId) -> u8 {
    tree.0.as_bytes()[19] & 1
}

impl World {
    /// What the commit of a fetch was compared with, where it may be left out.
    pub fn untouched(&mut self, task: &Task, tree: TreeId) -> Result<Option<BTreeSet<CommitId>>, Fault> {
        let fact = self.truth.runs[&task.lease.run.expect("fetches belong to runs")].clone();
        let pipeline = self.projects[fact.project].spec.pipelines[0].clone();
        let gristmill_model::PipelineKind::Archive(archive) = &pipeline.kind;
        if archive.options.paths.is_empty() {
            return Ok(None);
        }
        let shown_alone = self.does(Sabotage::CompareWithShownAlone);
        let id = task.lease.run.expect("fetches belong to runs");
        let found = self.tx(|tx| {
            let run = run::by_id(tx, id)?.expect("runs stay");
            match (paths::base(tx, &run, &pipeline)?, base::shown_before(tx, &run)?) {
                (Base::Commits(_), Some(shown)) if shown_alone => Ok(Base::Commits([shown.commit].into())),
                (base, _) => Ok::<_, gristmill_db::DbError>(base),
            }
        })?;
        let Base::Commits(commits) = found else { return Ok(None) };
        let remote = &self.projects[fact.project].remote;
        let is_equal = commits.iter().all(|commit| counted(remote.tree(*commit)) == counted(tree));
        Ok(is_equal.then_some(commits))
    }

    /// Ends the run, unless there is more to compare with by now.
    pub fn leave_out(&mut self, task: &Task, compared: &BTreeSet<CommitId>) -> Result<Option<Next>, Fault> {
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let id = task.lease.run.expect("fetches belong to runs");
        let pipeline = self.projects[self.truth.runs[&id].project].spec.pipelines[0].clone();
        let shown_alone = self.does(Sabotage::CompareWithShownAlone);
        let did = self.commit(
            task,
            |tx| {
                let run = World::run_row(tx, task)?;
                let how = match paths::base(tx, &run, &pipeline)? {
                    Base::Commits(commits) if shown_alone || commits.is_subset(compared) => {
                        Finish::Skipped { reason: "nothing that counts differs".to_owned() }
                    }
                    _ => Finish::Deferred { reason: "it changed".to_owned(), wait: Duration::ZERO },
                };
                Ok((how.clone(), job::finish(tx, job, attempt, how)?))
            },
            |world, (how, state)| {
                world.record_end(task, how, *state)?;
                match how {
                    Finish::Skipped { .. } => {
                        world.count("pushes left out");
                        world.stop_run(id, LEFT_OUT);
                    }
                    _ => world.count("pushes compared again"),
                }
                Ok(())
            },
        )?;
        Ok(World::ended(&did))
    }

    /// Whether it may be left out, and the end of it.
    pub fn leave_out_or(&mut self, task: &Task, tree: TreeId) -> Result<Option<Next>, Fault> {
        let compared = self.untouched(task, tree)?;
        Ok(compared.map(|compared| Next::Go(State::LeaveOut(compared), 10, 2_000)))
    }

    /// A tip that was left out: readers have a commit that is the same in what counts.
    pub fn check_left_out(&mut self, index: usize, git_ref: &GitRef, key: &ObjectKey, tip: CommitId) -> Done {
        let remote = &self.projects[index].remote;
        let excuses: Vec<_> = self
            .truth
            .runs
            .values()
            .filter(|fact| {
                fact.project == index && fact.git_ref == *git_ref && remote.peel(fact.commit) == tip
            })
            .filter_map(|fact| fact.excuse)
            .collect();
        if excuses.is_empty() || excuses.iter().any(|excuse| *excuse != LEFT_OUT) {
            return Ok(());
        }
        let Some(shown) = self.bucket.head(key) else {
            return fault(format!("{key} holds nothing; {git_ref} is {}, left out", tip.short()));
        };
        if counted(remote.tree(shown.commit)) != counted(remote.tree(tip)) {
            return fault(format!(
                "{key} holds {}; {git_ref} is {}, which was left out and differs",
                shown.commit.short(),
                tip.short()
            ));
        }
        self.count("keys that hold what a left-out tip has");
        Ok(())
    }
}
