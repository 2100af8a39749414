//! Tells the forges what became of commits.
//!
//! What is left to tell stands with the runs ([`told`]), so a crash or an outage loses nothing, and a run is never
//! delayed or failed by it. One pass after the other tells; within a pass each API is told one thing after the other,
//! so the statuses of a commit keep their order.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gristmill_db::project::{self, Project};
use gristmill_db::run::Run;
use gristmill_db::told::{self, Told, Untold};
use gristmill_db::{DbError, Tx, job, run};
use gristmill_forge::api::{Api, CommitStatus, Operation, StatusState};
use gristmill_model::retry::backoff;
use gristmill_model::{JobState, ProjectId, RunId, RunState, Timestamp};

use super::{CallError, Fault, access, blocking, configured};
use crate::app::App;
use crate::pipelines::archive;

/// How many runs are told of at once.
const RUNS_MAX: i64 = 100;
/// How often that in one pass; the next pass goes on.
const PAGES_MAX: usize = 20;
/// How often telling of one run is tried. With the waits between, an outage of an hour is outlived.
const TRIES_MAX: i64 = 20;

/// Tells what is left to tell, as far as the forges take it now; how many runs something was told of.
pub async fn tell(app: &App) -> anyhow::Result<usize> {
    if !app.db.read(told::is_due).await? {
        return Ok(0);
    }
    let (mut told, mut after) = (0, None);
    // Those of a forge that is left alone for now must not stand in the way of the others.
    for _ in 0..PAGES_MAX {
        let page = read_page(app, after).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.run.id);
        told += tell_page(app, page).await?;
    }
    Ok(told)
}

/// Runs to be told of, each with its project.
type Page = Vec<(Untold, Option<Project>)>;

async fn read_page(app: &App, after: Option<RunId>) -> Result<Page, DbError> {
    let read = app.db.read(move |tx| {
        let mut projects: HashMap<ProjectId, Option<Project>> = HashMap::new();
        let mut page = Vec::new();
        for one in told::due(tx, after, RUNS_MAX)? {
            let project = match projects.get(&one.run.project) {
                Some(known) => known.clone(),
                None => project::by_id(tx, one.run.project)?,
            };
            projects.insert(one.run.project, project.clone());
            page.push((one, project));
        }
        Ok(page)
    });
    read.await
}

async fn tell_page(app: &App, page: Page) -> anyhow::Result<usize> {
    let (mut silent, mut by_api): (_, BTreeMap<String, Vec<Due>>) = (Vec::new(), BTreeMap::new());
    for (one, project) in page {
        // Its new token is in force in a moment: neither is this one told, nor is it given up.
        if project.as_ref().is_some_and(|project| is_between(app, project)) {
            continue;
        }
        let due = project.filter(|_| !one.is_outdated).and_then(|project| {
            let name = configured(&project.spec).to_owned();
            Some((api_for(app, &project)?, name))
        });
        match due {
            Some((api, name)) => {
                by_api.entry(api.base().to_string()).or_default().push(Due { api, name, one });
            }
            None => silent.push(one.run.id),
        }
    }
    if !silent.is_empty() {
        let never =
            app.db.transact(move |tx| silent.iter().try_for_each(|id| told::record(tx, *id, Told::Never)));
        never.await.map_err(|error: DbError| error)?;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (_, untold) in by_api {
        tasks.spawn(tell_api(app.clone(), untold));
    }
    let mut told = 0;
    while let Some(ended) = tasks.join_next().await {
        told += ended??;
    }
    Ok(told)
}

/// The API that is told of a project's runs: where a token is given and statuses are wanted.
fn api_for(app: &App, project: &Project) -> Option<Api> {
    let live = app.live();
    let access = access(&live, &project.spec).filter(|access| access.statuses && project.active)?;
    // Forges without an API, or with one that is asked for content alone, have no statuses.
    access.api(&project.spec).ok().filter(|api| api.can(Operation::Statuses))
}

/// Whether the project is new or at another server since its settings were imported, and they are not in force yet.
fn is_between(app: &App, project: &Project) -> bool {
    let live = app.live();
    if app.seat.get().is_some() && project.active && !live.knows(&project.spec) {
        // Another server has imported it.
        return true;
    }
    project.active && access(&live, &project.spec).is_some_and(|access| !access.origin.has(&project.spec.git))
}

/// A run that an API is to be told of.
struct Due {
    api: Api,
    /// Under which name its project is configured.
    name: String,
    one: Untold,
}

/// Tells one API, until it does not want to hear more.
async fn tell_api(app: App, all: Vec<Due>) -> anyhow::Result<usize> {
    let mut count = 0;
    for Due { api, name, one } in all {
        let (base, now) = (api.base().clone(), app.clock.now());
        if app.forges.is_paused(&base, now) {
            break;
        }
        if let Some(until) = app.forges.is_paused_for(&base, &name, now) {
            // Counted as tried, so that what nobody mends does not pile up in front of the others.
            put_off(&app, &one, "nothing of the project is taken", until).await?;
            continue;
        }
        let Err(error) = tell_one(&app, api, one.run.id).await? else {
            count += 1;
            continue;
        };
        let now = app.clock.now();
        let until = match error.fault() {
            Fault::Call => {
                give_up(&app, &one, &error.to_string()).await?;
                continue;
            }
            Fault::Passing => app.forges.pause(&base, &error, now),
            Fault::Lasting => {
                tracing::warn!(project.name = name, %error, "the forge takes no statuses of the project; it is told later, for about an hour");
                app.forges.pause_for(&base, &name, now)
            }
        };
        put_off(&app, &one, &error.to_string(), until).await?;
    }
    Ok(count)
}

/// Tells of one run, and records that.
async fn tell_one(app: &App, api: Api, id: RunId) -> anyhow::Result<Result<(), CallError>> {
    // It may have gone on since it was read.
    let read = app.db.read(move |tx| Ok((run::by_id(tx, id)?, failed_step(tx, id)?)));
    let (Some(run), failed) = read.await? else { return Ok(Ok(())) };
    let (link, is_over) = (link(app, &run), run.state.is_over());
    let sent = blocking(app, move |mut carry| {
        let context = format!("gristmill/{}", run.pipeline);
        let (state, description) = said(&run, failed.as_deref());
        let description = &description;
        let status = CommitStatus {
            commit: run.commit,
            git_ref: Some(&run.git_ref),
            context: &context,
            state,
            description,
            url: link.as_deref(),
        };
        api.set_status(&status, &mut carry)
    });
    if let Err(error) = sent.await {
        return Ok(Err(error));
    }
    let told = if is_over { Told::Over } else { Told::Pending };
    app.db.transact(move |tx| told::record(tx, id, told)).await.map_err(|error: DbError| error)?;
    Ok(Ok(()))
}

async fn put_off(app: &App, one: &Untold, error: &str, until: Timestamp) -> anyhow::Result<()> {
    if one.tries + 1 >= TRIES_MAX {
        return give_up(app, one, error).await;
    }
    let (id, tries) = (one.run.id, one.tries + 1);
    tracing::debug!(run.id = %id, error, tries, "the forge could not be told of a run; trying again");
    let put_off = app.db.transact(move |tx| {
        let random = u64::try_from(tx.random() & u128::from(u64::MAX)).unwrap_or(0);
        let wait: Duration = backoff(tries, random);
        let after = tx.now().plus(wait).max(until);
        told::later(tx, id, after)
    });
    put_off.await.map_err(|error: DbError| error.into())
}

async fn give_up(app: &App, one: &Untold, error: &str) -> anyhow::Result<()> {
    let id = one.run.id;
    tracing::warn!(run.id = %id, error, "the forge is not told of a run; `statuses = false` in its project ends this");
    app.db.transact(move |tx| told::record(tx, id, Told::Never)).await.map_err(|error: DbError| error.into())
}

/// Where more is to be read about the run.
fn link(app: &App, run: &Run) -> Option<String> {
    let live = app.live();
    live.config.server.public_url.as_ref().map(|base| format!("{base}/runs/{}", run.id))
}

/// The most jobs of a run that are looked through.
const JOBS_MAX: i64 = 100;

/// The kind of the first job of the run that failed.
fn failed_step(tx: &mut Tx<'_>, id: RunId) -> Result<Option<String>, DbError> {
    let jobs = job::of_run(tx, id, JOBS_MAX)?;
    let failed = jobs.into_iter().find(|job| matches!(job.state, JobState::Failed | JobState::Dead));
    Ok(failed.map(|job| job.kind))
}

/// How a run is told: its state in the forges' terms, and a sentence. Who sees the repository sees it. So it is never
/// the run's own reason, which may tell of addresses and folders here and is where the link leads, but what everybody
/// may know of that; and where that is nothing, the step.
fn said(run: &Run, failed_step: Option<&str>) -> (StatusState, String) {
    let (state, sentence) = match run.state {
        RunState::Queued => (StatusState::Pending, "it waits to be made"),
        RunState::Running => (StatusState::Pending, "it is being made"),
        RunState::Succeeded if run.seq.is_some() => (StatusState::Success, "it is published"),
        // Its name stays with the tip.
        RunState::Succeeded => (StatusState::Success, "it is made"),
        RunState::Skipped => (StatusState::Success, "there was nothing to make"),
        RunState::Failed => (
            StatusState::Failure,
            match failed_step {
                Some(archive::FETCH) => "the step `fetch` failed",
                Some(archive::ARCHIVE) => "the step `archive` failed",
                Some(archive::PUBLISH) => "the step `publish` failed",
                _ => "it could not be made",
            },
        ),
        RunState::Cancelled => (StatusState::Cancelled, "it was cancelled"),
        RunState::Superseded => (StatusState::Cancelled, "a later commit took its place"),
    };
    match run.state {
        RunState::Failed | RunState::Cancelled => (state, run.public.sentence(sentence)),
        _ => (state, sentence.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_model::{PublicEnd, PublicReason};

    use super::*;

    fn run(state: RunState, reason: Option<&str>, public: PublicEnd, seq: Option<i64>) -> Run {
        let now = Timestamp(1);
        Run {
            id: RunId::new(now, 1),
            project: ProjectId::new(now, 1),
            pipeline: "archive".to_owned(),
            spec_rev: 1,
            git_ref: "refs/heads/main".parse().unwrap(),
            commit: "1111111111111111111111111111111111111111".parse().unwrap(),
            seq,
            is_release: false,
            cause: "poll".to_owned(),
            cause_id: None,
            state,
            reason: reason.map(str::to_owned),
            public,
            jobs_left: 0,
            created: now,
            started: None,
            finished: None,
        }
    }

    #[test]
    fn every_state_of_a_run_has_one_at_the_forge_and_no_private_reason_is_told() {
        use StatusState::{Cancelled, Failure, Pending, Success};
        let reason = Some("git.acme.org is 10.1.2.3; /srv/gristmill: no space left");
        let nothing = PublicEnd::default();
        for (state, seq, failed, told, sentence) in [
            (RunState::Queued, Some(1), None, Pending, "it waits to be made"),
            (RunState::Running, Some(1), None, Pending, "it is being made"),
            (RunState::Succeeded, Some(1), None, Success, "it is published"),
            (RunState::Succeeded, None, None, Success, "it is made"),
            (RunState::Skipped, Some(1), None, Success, "there was nothing to make"),
            (RunState::Failed, Some(1), Some("fetch"), Failure, "the step `fetch` failed"),
            (RunState::Failed, Some(1), Some("archive"), Failure, "the step `archive` failed"),
            (RunState::Failed, Some(1), Some("publish"), Failure, "the step `publish` failed"),
            (RunState::Failed, Some(1), Some("10.1.2.3"), Failure, "it could not be made"),
            (RunState::Failed, Some(1), None, Failure, "it could not be made"),
            (RunState::Cancelled, Some(1), None, Cancelled, "it was cancelled"),
            (RunState::Superseded, None, None, Cancelled, "a later commit took its place"),
        ] {
            let run = run(state, reason, nothing, seq);
            assert_eq!(said(&run, failed), (told, sentence.to_owned()), "{state:?} {failed:?}");
        }
    }

    #[test]
    fn what_everybody_may_know_of_a_bad_end_is_told_and_of_a_good_one_nothing() {
        let (reason, failed) = (Some("10.1.2.3 does not answer"), Some(archive::FETCH));
        let unreached = Some(PublicReason::NotReached);
        for (state, why, attempts, sentence) in [
            (RunState::Failed, unreached, None, "the remote cannot be reached"),
            (
                RunState::Failed,
                unreached,
                Some(40),
                "the remote cannot be reached; given up after 40 attempts",
            ),
            (RunState::Failed, None, Some(40), "the step `fetch` failed; given up after 40 attempts"),
            (RunState::Cancelled, Some(PublicReason::CancelledByPerson), None, "cancelled by a person"),
            // Told while one of its jobs has failed, and others still run.
            (RunState::Running, unreached, None, "it is being made"),
            (RunState::Superseded, unreached, None, "a later commit took its place"),
            (RunState::Skipped, unreached, None, "there was nothing to make"),
        ] {
            let run = run(state, reason, PublicEnd { why, attempts }, Some(1));
            assert_eq!(said(&run, failed).1, sentence, "{state:?}");
        }
    }
}
