//! The step `look`: asks a project's remote where its refs are, by git or by the forge's API, and has the intake act on it.
//!
//! One look answers all hooks that wait. Looks at one remote never overlap, and what a look saw counts
//! only while its lease holds: an older observation can not be applied after a newer one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use gristmill_db::delivery::{self, Delivery};
use gristmill_db::job::{self, Finish};
use gristmill_db::project::{self, Project};
use gristmill_db::{DbError, request};
use gristmill_forge::{StoredDelivery, Verified};
use gristmill_git::ListLimits;
use gristmill_model::{CommitId, ProjectId};

use crate::fail;
use crate::forges::content;
use crate::intake::{self, Applied, Seen, Tip, Understood};
use crate::reach::Asks;
use crate::worker::step::{Ending, Step, StepError, ending};

/// The most deliveries one look answers; the rest have another look.
const DELIVERIES_MAX: i64 = 200;
/// The most bytes of bodies it holds in memory for that.
const BODIES_BYTES_MAX: i64 = 16 << 20;

/// How long a remote may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The same for a forge's API, which tells in many answers what git tells in one: then no more is asked.
const PAGES_MAX: Duration = Duration::from_secs(120);

/// Runs the step.
pub async fn run(step: &Step) -> Result<Ending, StepError> {
    let id = step.lease.project.ok_or_else(|| StepError::fail("a look without a project"))?;
    let (project, (waiting, more)) = read(step, id).await?;
    let understood: Vec<Understood> = waiting.iter().map(|delivery| understand(&project, delivery)).collect();
    let left = settle(step, &project, understood).await?;
    if !project.active {
        step.log.line("the project is disabled: its deliveries stay, its remote is not asked");
        return Ok(ending(done()));
    }
    let seen = match ask(step, &project).await {
        Ok(seen) => seen,
        Err((reason, after)) => {
            note_failure(step, id, &reason).await?;
            // Nothing about a remote is for ever: settings are mended and networks come back. The
            // deliveries stay until a look succeeds.
            return Err(StepError::Retry { reason, public: None, after });
        }
    };
    fail::point("look.seen");
    let (log, is_said) = (step.log.clone(), AtomicBool::new(false));
    Ok(Arc::new(move |tx| {
        let applied = intake::apply(tx, &project, &left, &seen)?;
        if more {
            job::ask_for_look(tx, project.id, job::PRIORITY_HOOK)?;
        }
        // A transaction that others were in the way of runs again.
        if applied != Applied::default() && !is_said.swap(true, Ordering::Relaxed) {
            let (refs, answered) = (seen.len(), left.len());
            let (moves, runs) = (applied.moves, applied.runs.len());
            log.line(&format!(
                "{refs} branches and tags, {moves} moved; {answered} deliveries answered, {runs} runs made"
            ));
        }
        Ok(done())
    }))
}

fn done() -> Finish {
    Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: None }
}

async fn read(step: &Step, id: ProjectId) -> Result<(Project, (Vec<Delivery>, bool)), StepError> {
    let found = step.app.db.read(move |tx| {
        let Some(project) = project::by_id(tx, id)? else { return Ok(None) };
        Ok(Some((project, delivery::waiting(tx, id, DELIVERIES_MAX, BODIES_BYTES_MAX)?)))
    });
    found.await?.ok_or_else(|| StepError::fail("the project is gone"))
}

/// Parses a stored delivery. It was verified before it was stored.
fn understand(project: &Project, delivery: &Delivery) -> Understood {
    if let Err(error) = &delivery.body {
        tracing::error!(delivery.id = %delivery.id, %error, "a delivery cannot be read; its project's remote is asked all the same");
    }
    let events = parse(project, delivery).map_err(|error| format!("{error:#}"));
    Understood { id: delivery.id, is_replay: delivery.replays > 0, events }
}

fn parse(project: &Project, delivery: &Delivery) -> anyhow::Result<Vec<gristmill_model::Event>> {
    let verified = Verified::from_store(StoredDelivery {
        forge: project.spec.forge.parse().context("the project's forge")?,
        verifier: delivery.verifier.parse().context("the stored verifier")?,
        event: delivery.event.clone(),
        delivery_id: delivery.remote_id.clone(),
        body: delivery.body.clone()?.into(),
    });
    Ok(gristmill_forge::parse(&verified)?)
}

async fn settle(
    step: &Step,
    project: &Project,
    understood: Vec<Understood>,
) -> Result<Vec<Understood>, StepError> {
    let (project, job, attempt) = (project.clone(), step.lease.job, step.lease.attempt);
    let settled = step.app.db.transact(move |tx| {
        if !job::still_mine(tx, job, attempt)? {
            return Err(StepError::retry("the lease is lost"));
        }
        Ok(intake::settle_without_look(tx, &project, understood.clone())?)
    });
    settled.await
}

/// Where the refs are; else why that is not known, and when to ask again at the earliest.
async fn ask(step: &Step, project: &Project) -> Result<Seen, (String, Option<Duration>)> {
    if project.spec.fetch.is_git() {
        return ask_git(step, project).await.map_err(|reason| (reason, None));
    }
    let refs = content::refs(&step.app, &project.spec, PAGES_MAX).await.map_err(|error| {
        let now = step.app.clock.now();
        let after = error.not_before(now).map(|until| until.since(now));
        (error.to_string(), after)
    })?;
    // Of an annotated tag only the commit is told.
    let tip = |commit: CommitId| Tip { object: commit.0, commit };
    Ok(refs.into_iter().map(|found| (found.git_ref, tip(found.commit))).collect())
}

async fn ask_git(step: &Step, project: &Project) -> Result<Seen, String> {
    let limits = ListLimits { time_max: ANSWER_MAX, ..ListLimits::default() };
    let git = &step.app.git;
    let listed = step.app.reach(project.id, &project.spec, Asks::Always, |remote| async move {
        git.ls_remote(&remote, limits).await
    });
    let refs = listed.await.map_err(|error| error.to_string())?;
    if refs.refs_skipped > 0 {
        step.log.line(&format!("{} refs have names that cannot be taken", refs.refs_skipped));
    }
    let tip = |found: gristmill_git::RemoteRef| Tip { object: found.id, commit: found.commit };
    Ok(refs.refs.into_iter().map(|(git_ref, found)| (git_ref, tip(found))).collect())
}

async fn note_failure(step: &Step, id: ProjectId, reason: &str) -> Result<(), DbError> {
    let reason = reason.to_owned();
    tracing::warn!(project.id = %id, reason, "a remote cannot be looked at; trying again");
    step.app.db.transact(move |tx| project::looked(tx, id, Some(&reason))).await
}

/// Asks for all (or one project's) refs to be looked at now, and where `build` says so, built again.
pub fn ask_now(
    tx: &mut gristmill_db::Tx<'_>,
    id: ProjectId,
    build: Option<&request::BuildRequest>,
) -> Result<(), DbError> {
    match build {
        Some(build) => request::add(tx, id, build).map(drop),
        None => job::ask_for_look(tx, id, job::PRIORITY_HOOK),
    }
}
