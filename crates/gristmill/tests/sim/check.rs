//! The checker: what was promised, compared with the history kept outside.

use gristmill_db::{DbError, artifact, delivery, params, publication, run};
use gristmill_model::{
    CommitId, DeliveryState, Digest, EventKind, FirstLook, GitRef, JobState, ObjectKey, PublicationState,
    RunState,
};

use crate::sabotage::Sabotage;
use crate::steps::bytes_of;
use crate::world::{Done, Fault, World, fault};

/// Attempts of a job that fail, at most; as many may be lost with their workers.
const ATTEMPTS_MAX: i64 = 40;

const MISCOUNTED: &str = "SELECT id FROM run WHERE jobs_left <> (SELECT count(*) FROM job WHERE run_id = run.id AND job.state IN ('blocked', 'ready', 'leased')) LIMIT 1";
const OVER_WITH_JOBS: &str =
    "SELECT run.id FROM run WHERE (run.state IN ('queued', 'running')) <> (jobs_left > 0) LIMIT 1";
const LEFT_PINS: &str =
    "SELECT run_id FROM pin JOIN run ON run.id = run_id WHERE run.state NOT IN ('queued', 'running') LIMIT 1";
const OPEN_ATTEMPTS: &str = "SELECT job_id FROM job_attempt JOIN job ON job.id = job_id WHERE ended_ms IS NULL AND (job.state <> 'leased' OR job.attempt <> job_attempt.attempt) LIMIT 1";
const BAD_ATTEMPTS: &str = "SELECT max(n) FROM (SELECT count(*) AS n FROM job_attempt WHERE result IN ('retry', 'lost') GROUP BY job_id, result)";
const OPEN_JOBS: &str =
    "SELECT kind, state, id FROM job WHERE state IN ('blocked', 'ready', 'leased') LIMIT 5";
const ARTIFACT_BLOBS: &str = "SELECT digest, created_ms FROM artifact";
const STEP_BLOBS: &str =
    "SELECT digest FROM step_blob JOIN step ON step.key = step_key WHERE step.state = 'ready'";
const VERSIONS: &str = "SELECT key, seq, digest, state FROM publication";
const REQUESTS: &str = "SELECT count(*) FROM build_request";
const DRIFT: &str = "UPDATE run SET jobs_left = jobs_left + 1 WHERE jobs_left > 0";

impl World {
    /// What holds at every moment.
    pub fn audit(&mut self) -> Done {
        if self.does(Sabotage::Miscount) {
            self.tx(|tx| tx.execute(DRIFT, params![]))?;
        }
        for (sql, broken) in [
            (MISCOUNTED, "the open jobs of a run are miscounted"),
            (OVER_WITH_JOBS, "a run is over although jobs are left, or the other way round"),
            (LEFT_PINS, "a run that is over holds a step"),
            (OPEN_ATTEMPTS, "an attempt has no end although its lease is gone"),
        ] {
            if let Some(id) = self.tx(|tx| tx.query_one(sql, params![], |row| row.get::<String>(0)))? {
                return fault(format!("{broken}: {id}"));
            }
        }
        let most = self.tx(|tx| tx.query_one(BAD_ATTEMPTS, params![], |row| row.get::<Option<i64>>(0)))?;
        if most.flatten().unwrap_or(0) > ATTEMPTS_MAX {
            return fault(format!("{most:?} bad attempts of one job"));
        }
        if let Some((job, ends)) = self.truth.bad_ends.iter().find(|(_, ends)| **ends > ATTEMPTS_MAX) {
            return fault(format!("job {job} ended badly {ends} times"));
        }
        Ok(())
    }

    /// What holds when all is quiet.
    pub fn check_end(&mut self) -> Done {
        self.audit()?;
        self.check_nothing_is_left()?;
        self.check_deliveries()?;
        self.check_artifacts()?;
        self.check_order()?;
        self.check_final_tips()?;
        self.check_bytes()
    }

    fn check_nothing_is_left(&mut self) -> Done {
        let read = |row: &gristmill_db::Row<'_, '_>| -> Result<(String, JobState, String), DbError> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        };
        let open = self.tx(|tx| tx.query(OPEN_JOBS, params![], read))?;
        if !open.is_empty() {
            return fault(format!("jobs are stuck: {open:?}"));
        }
        let runs: Vec<_> = self.truth.runs.keys().copied().collect();
        for id in runs {
            let row = self.tx(|tx| run::by_id(tx, id))?.expect("runs stay");
            if !row.state.is_over() {
                return fault(format!("run {id} is still {}", row.state));
            }
            let fact = &self.truth.runs[&id];
            let is_fine = matches!(row.state, RunState::Succeeded | RunState::Failed);
            if fact.is_stopped == is_fine {
                return fault(format!("run {id} is {}, stopped: {}", row.state, fact.is_stopped));
            }
        }
        if self.tx(|tx| tx.query_one(REQUESTS, params![], |row| row.get::<i64>(0)))? != Some(0) {
            return fault("build requests are left");
        }
        Ok(())
    }

    fn check_deliveries(&mut self) -> Done {
        for number in 0..self.sent.len() {
            let Some(id) = self.sent[number].accepted else { continue };
            let Some(row) = self.tx(|tx| delivery::by_id(tx, id))? else {
                return fault(format!("delivery {id} was accepted and is lost"));
            };
            match row.state {
                DeliveryState::Handled => {}
                DeliveryState::Ignored if row.reason.is_some() => {}
                state => return fault(format!("delivery {id} is {state}, {:?}", row.reason)),
            }
        }
        Ok(())
    }

    /// Every commit that was told of, and every tip that was seen, has its archive.
    fn check_artifacts(&mut self) -> Done {
        let mut owed: Vec<(usize, GitRef, CommitId)> = self.truth.looked.iter().cloned().collect();
        for one in self.sent.iter().filter(|one| one.accepted.is_some() && !one.is_forged) {
            let project = &self.projects[one.project];
            for event in &one.told {
                let is_ours = event
                    .repository
                    .as_ref()
                    .is_some_and(|named| named.full_name == project.spec.repository.as_str());
                let (Some(git_ref), Some(after)) = (&event.git_ref, event.after) else { continue };
                let is_built = matches!(event.kind, EventKind::Push | EventKind::Tag | EventKind::Release);
                if is_ours && is_built && project.spec.wants(git_ref) {
                    owed.push((one.project, git_ref.clone(), project.remote.peel(after)));
                }
            }
        }
        for (project, git_ref, commit) in owed {
            let has = self.truth.artifacts.iter().any(|recorded| {
                recorded.project == project && recorded.git_ref == git_ref && recorded.commit == commit
            });
            if !has && !self.is_excused(project, &git_ref, commit) {
                return fault(format!("{git_ref} {commit} has no archive"));
            }
        }
        Ok(())
    }

    fn is_excused(&self, project: usize, git_ref: &GitRef, commit: CommitId) -> bool {
        let remote = &self.projects[project].remote;
        self.truth.runs.values().any(|fact| {
            fact.project == project
                && fact.git_ref == *git_ref
                && remote.peel(fact.commit) == commit
                && fact.excuse.is_some()
        })
    }

    /// What readers saw follows the order of the remote's tips.
    fn check_order(&mut self) -> Done {
        for index in 0..self.projects.len() {
            let refs: Vec<GitRef> = self.projects[index].remote.ref_names().cloned().collect();
            for git_ref in refs {
                for is_release in [false, true] {
                    self.check_order_of(index, &git_ref, is_release)?;
                }
            }
        }
        Ok(())
    }

    fn key_of(&self, index: usize, git_ref: &GitRef, is_release: bool) -> Option<ObjectKey> {
        if !self.projects[index].spec.wants(git_ref) || (is_release && git_ref.tag().is_none()) {
            return None;
        }
        let name = self.projects[index].spec.repository.as_str();
        let key = match (git_ref.tag(), is_release) {
            (None, _) => format!("{name}/{}.zip", git_ref.short()),
            (Some(tag), false) => format!("{name}/tags/{tag}.zip"),
            (Some(tag), true) => format!("{name}/release/{tag}.zip"),
        };
        Some(key.parse().expect("a key"))
    }

    fn check_order_of(&mut self, index: usize, git_ref: &GitRef, is_release: bool) -> Done {
        let Some(key) = self.key_of(index, git_ref, is_release) else { return Ok(()) };
        let history = self.projects[index].remote.history(git_ref);
        let shown = self.bucket.keys.get(&key).map_or(&[][..], Vec::as_slice);
        let mut position = 0;
        let mut before: Option<(CommitId, Digest)> = None;
        for version in shown {
            let is_rebuilt =
                before.is_some_and(|(commit, digest)| commit == version.commit && digest != version.digest);
            let from = if is_rebuilt || before.is_none() { position } else { position + 1 };
            let found = (from..history.len())
                .find(|at| history[*at].1 == Some(version.commit) && history[*at].0 <= version.at);
            let Some(found) = found else {
                return fault(format!(
                    "{key}: readers saw {} (version {}) after position {position} of {history:?}",
                    version.commit.short(),
                    version.seq
                ));
            };
            position = found;
            before = Some((version.commit, version.digest));
        }
        if shown.len() > 2 {
            self.count("keys that moved three times and more");
        }
        Ok(())
    }

    /// In the end each key holds what its ref is.
    fn check_final_tips(&mut self) -> Done {
        for index in 0..self.projects.len() {
            let refs: Vec<GitRef> = self.projects[index].remote.ref_names().cloned().collect();
            for git_ref in refs {
                let Some(tip) = self.projects[index].remote.tip(&git_ref) else { continue };
                let Some(key) = self.key_of(index, &git_ref, false) else { continue };
                let is_recorded = self.projects[index].spec.pipelines[0].first_look == FirstLook::Record;
                let is_told = self.sent.iter().any(|one| {
                    let tells = |event: &gristmill_model::Event| {
                        event.kind != EventKind::Release
                            && event.git_ref.as_ref() == Some(&git_ref)
                            && event.after == Some(CommitId(tip.object))
                    };
                    one.accepted.is_some() && one.project == index && one.told.iter().any(tells)
                });
                self.check_left_out(index, &git_ref, &key, tip.commit)?;
                // Told of while it was not the tip, and found as a new ref later: that is recorded, not built.
                let is_only_recorded =
                    is_recorded && (!is_told || !self.was_tip(index, &git_ref, tip.commit)?);
                if self.is_excused(index, &git_ref, tip.commit) || is_only_recorded {
                    continue;
                }
                self.check_final_tip(index, &git_ref, &key, tip.commit)?;
            }
        }
        Ok(())
    }

    /// Whether a move of the ref to the commit was built.
    fn was_tip(&mut self, index: usize, git_ref: &GitRef, commit: CommitId) -> Result<bool, Fault> {
        const MOVED: &str = "SELECT 1 FROM run WHERE project_id = $1 AND ref = $2 AND commit_id = $3 AND seq IS NOT NULL LIMIT 1";
        let project = self.projects[index].id;
        let found = self.tx(|tx| tx.query_one(MOVED, params![project, git_ref, commit], |_| Ok(())))?;
        Ok(found.is_some())
    }

    fn check_final_tip(&mut self, index: usize, git_ref: &GitRef, key: &ObjectKey, tip: CommitId) -> Done {
        let Some(shown) = self.bucket.head(key) else {
            return fault(format!("{key} holds nothing; {git_ref} is {}", tip.short()));
        };
        let tree = self.projects[index].remote.tree(tip);
        let recipes: Vec<i64> = self
            .truth
            .recipes
            .iter()
            .filter(|((project, _), _)| *project == self.projects[index].id)
            .map(|(_, recipe)| *recipe)
            .collect();
        if shown.commit != tip || !recipes.iter().any(|recipe| bytes_of(tree, *recipe) == shown.digest) {
            return fault(format!(
                "{key} holds {} (version {}); {git_ref} is {}",
                shown.commit.short(),
                shown.seq,
                tip.short()
            ));
        }
        self.count("keys that hold the last tip");
        let top = self.tx(|tx| publication::top(tx, key))?;
        let agrees = top.as_ref().is_some_and(|top| {
            let shown = self.bucket.head(key).expect("seen above");
            top.state == PublicationState::Published && (top.seq, top.digest) == (shown.seq, shown.digest)
        });
        if !agrees {
            return fault(format!("{key}: the database says {top:?}"));
        }
        let kept = self.tx(|tx| artifact::of_commit(tx, key, tip))?;
        if kept.is_none() {
            return fault(format!("{key}@{tip} is not to be had"));
        }
        Ok(())
    }

    /// Nothing that anybody refers to was deleted.
    fn check_bytes(&mut self) -> Done {
        let artifacts = self.tx(|tx| tx.query(ARTIFACT_BLOBS, params![], |row| row.get::<Digest>(0)))?;
        let steps = self.tx(|tx| tx.query(STEP_BLOBS, params![], |row| row.get::<Digest>(0)))?;
        if let Some(digest) =
            artifacts.iter().chain(&steps).find(|digest| !self.bucket.blobs.contains(*digest))
        {
            return fault(format!("blob {digest} was deleted although it is referred to"));
        }
        let versions = self.tx(|tx| {
            tx.query(VERSIONS, params![], |row| {
                Ok((
                    row.get::<ObjectKey>(0)?,
                    row.get::<i64>(1)?,
                    row.get::<Digest>(2)?,
                    row.get::<PublicationState>(3)?,
                ))
            })
        })?;
        for (key, seq, digest, state) in versions {
            let shown = self.bucket.keys.get(&key).into_iter().flatten().find(|shown| shown.seq == seq);
            match (state, shown) {
                (PublicationState::Published, None) => {
                    return fault(format!("{key}: version {seq} counts as published and never was"));
                }
                (_, Some(shown)) if shown.digest != digest => {
                    return fault(format!("{key}: version {seq} has other bytes"));
                }
                _ if !self.bucket.blobs.contains(&digest) => {
                    return fault(format!("{key}: the blob of version {seq} was deleted"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the checker found, with all there is to see it again.
pub fn describe(seed: u64, found: &Fault, trace: &[String]) -> String {
    let tail = trace.iter().skip(trace.len().saturating_sub(4000)).cloned().collect::<Vec<_>>().join("\n");
    format!(
        "seed {seed}: {}\n\nhow it came about:\n{tail}\n\nagain: SIM_SEED={seed} cargo test -p gristmill --test sim histories",
        found.0
    )
}
