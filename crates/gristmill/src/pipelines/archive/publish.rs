//! The step `publish`: records the artifact and, where the commit is the tip, moves the name.
//!
//! First the publication is committed as *desired*, in a transaction that proves the lease; from then on
//! the run is past the point where it can be cancelled. Then the holder of the key projects it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill_db::artifact::{self, Artifact};
use gristmill_db::job::{self, Finish};
use gristmill_db::publication::{self, Desire, Desired, Holder, Publication};
use gristmill_db::{DbError, Tx};
use gristmill_model::{ArtifactId, JobId, KeyFields, KeyTemplate, ObjectKey, PipelineKind, PublicReason};
use gristmill_storage::{ProjectError, PublicObject};

use super::fetch::Fetched;
use super::make::Made;
use crate::clock;
use crate::fail;
use crate::worker::step::{Ending, Step, StepError, Subject, ending};

/// How long to wait at most before asking for a held key again.
const HELD_AGAIN: Duration = Duration::from_secs(1);

/// Runs the step.
pub async fn run(step: &Step) -> Result<Ending, StepError> {
    let subject = step.subject().await?;
    let (fetched, made) = inputs(step).await?;
    let plan = Publish::new(&subject, &fetched, &made)?;
    let key = plan.key.clone();
    let committed = commit(step, plan).await?;
    fail::point("publish.desired");
    match committed {
        Committed::NoMove(why) => {
            step.log.line(&why);
            Ok(ending(published_as(&key, None)))
        }
        Committed::Desired(seq) => project(step, key, seq).await,
    }
}

fn published_as(key: &ObjectKey, seq: Option<i64>) -> Finish {
    let outcome = serde_json::json!({ "key": key, "version": seq }).to_string();
    Finish::Succeeded { outcome, cached: false, expand: None }
}

async fn inputs(step: &Step) -> Result<(Fetched, Made), StepError> {
    let run = step.lease.run.ok_or_else(|| StepError::fail("the job belongs to no run"))?;
    let found = step.app.db.read(move |tx| {
        Ok((job::run_outcome(tx, run, super::FETCH)?, job::run_outcome(tx, run, super::ARCHIVE)?))
    });
    let (fetched, made) = found.await?;
    let fetched = fetched.and_then(|text| serde_json::from_str(&text).ok());
    let made = made.and_then(|text| serde_json::from_str(&text).ok());
    fetched.zip(made).ok_or_else(|| StepError::fail("the jobs before this one left no result"))
}

/// What is to be published, worked out before any transaction.
struct Publish {
    key: ObjectKey,
    artifact: Artifact,
    desire: Desire,
    /// The commit is not the tip, but its key is its own: nothing is moved by publishing it.
    own_key: bool,
    is_tip: bool,
}

impl Publish {
    fn new(subject: &Subject, fetched: &Fetched, made: &Made) -> Result<Publish, StepError> {
        let (run, spec) = (&subject.run, &subject.spec);
        let PipelineKind::Archive(settings) = &subject.pipeline.kind;
        let template = settings.template(&run.git_ref, run.is_release);
        let date = clock::date(fetched.committed);
        let fields = KeyFields {
            repository: &spec.repository,
            git_ref: &run.git_ref,
            commit: fetched.commit,
            tree: fetched.tree,
            date: &date,
        };
        let refused = |error| StepError::fail(error).told(PublicReason::KeyRefused);
        let key = template.render(&fields).map_err(refused)?;
        let size = i64::try_from(made.size).unwrap_or(i64::MAX);
        let artifact = Artifact {
            // Replaced in the transaction, which has the time and the randomness.
            id: ArtifactId::new(run.created, 0),
            run: run.id,
            project: run.project,
            pipeline: run.pipeline.clone(),
            git_ref: run.git_ref.clone(),
            commit: fetched.commit,
            tree: fetched.tree,
            recipe: made.recipe.clone(),
            step: made.step,
            digest: made.digest,
            size,
            media_type: super::format(&subject.pipeline).media_type().to_owned(),
            index: Some(made.index),
            key: key.clone(),
            created: run.created,
        };
        let desire = Desire {
            key: key.clone(),
            seq: run.seq.unwrap_or(0),
            digest: made.digest,
            size,
            content_type: super::format(&subject.pipeline).media_type().to_owned(),
            metadata: metadata(subject, fetched, made),
            project: run.project,
            pipeline: run.pipeline.clone(),
            git_ref: run.git_ref.clone(),
            commit: fetched.commit,
            run: run.id,
            allow_shared_key: settings.allow_shared_key,
        };
        let own_key = names_content(template);
        Ok(Publish { key, artifact, desire, own_key, is_tip: run.seq.is_some() })
    }
}

/// Whether no two contents can have the key.
fn names_content(template: &KeyTemplate) -> bool {
    ["{commit", "{short_commit", "{tree"].iter().any(|field| template.as_str().contains(field))
}

fn metadata(subject: &Subject, fetched: &Fetched, made: &Made) -> BTreeMap<String, String> {
    let run = &subject.run;
    let mut metadata: BTreeMap<String, String> = [
        ("commit", fetched.commit.to_string()),
        ("tree", fetched.tree.to_string()),
        ("ref", run.git_ref.to_string()),
        ("project", subject.spec.name.to_string()),
        ("repository", subject.spec.repository.to_string()),
        ("run", run.id.to_string()),
        ("cause", run.cause.clone()),
        ("recipe", made.recipe.clone()),
        ("sha256", made.digest.to_hex()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    metadata.extend(fetched.filtered.clone().map(|told| ("filtered".to_owned(), told)));
    metadata
}

enum Committed {
    /// No name moves, and why.
    NoMove(String),
    /// The key is to hold this version.
    Desired(i64),
}

/// The point of no return: artifact and desire in one transaction that proves the lease.
async fn commit(step: &Step, plan: Publish) -> Result<Committed, StepError> {
    let (job, attempt) = (step.lease.job, step.lease.attempt);
    let committed = step.app.db.transact(move |tx| {
        if !job::still_mine(tx, job, attempt)? {
            return Err(StepError::retry("the lease is lost"));
        }
        let mut artifact = plan.artifact.clone();
        artifact.created = tx.now();
        artifact.id = ArtifactId::new(tx.id_time(), tx.random());
        artifact::insert(tx, &artifact)?;
        desire(tx, plan.desire.clone(), plan.is_tip, plan.own_key)
    });
    committed.await
}

fn desire(tx: &mut Tx<'_>, mut want: Desire, is_tip: bool, own_key: bool) -> Result<Committed, StepError> {
    if own_key
        && let Some(top) = publication::top(tx, &want.key)?
        && top.digest == want.digest
    {
        // The key names the content: two refs at one commit, or one commit pushed twice, share it.
        return Ok(Committed::Desired(top.seq));
    }
    if !is_tip {
        if !own_key {
            let why = format!(
                "{} was not the tip: its archive is kept under @{}, no name moves",
                want.commit, want.commit
            );
            return Ok(Committed::NoMove(why));
        }
        want.seq = gristmill_db::head::next_move(tx)?;
    }
    match publication::desire(tx, &want)? {
        Desired::Committed { seq } | Desired::Already { seq } => Ok(Committed::Desired(seq)),
        Desired::Overtaken { by } => Ok(Committed::NoMove(format!(
            "version {by} of {} is later: the name stays there, the archive is kept under @{}",
            want.key, want.commit
        ))),
        Desired::Taken { by } => Err(StepError::fail(format!(
            "{} already publishes under `{}`; give this pipeline another key, or set allow_shared_key in both",
            by, want.key
        ))
        .told(PublicReason::KeyTaken)),
    }
}

/// Projects what the key is to hold, unless somebody else is at it.
async fn project(step: &Step, key: ObjectKey, seq: i64) -> Result<Ending, StepError> {
    let (job, attempt) = (step.lease.job, step.lease.attempt);
    let (this, app) = (key.clone(), step.app.clone());
    // Others count from when they see it.
    let began = Instant::now();
    let held = step.app.db.transact(move |tx| {
        if !job::still_mine(tx, job, attempt)? {
            return Err(StepError::retry("the lease is lost"));
        }
        // The holder of a key keeps it for as long as one projection may take, with whatever it began at the
        // storage, and nobody else writes to the key before.
        let top = publication::top(tx, &this)?;
        let size = top.as_ref().map_or(0, |top| u64::try_from(top.size).unwrap_or(0));
        let stood = |holder: &Holder| app.steady.stood(&this, holder);
        let wait = publication::hold(tx, &this, (job, attempt), app.storage.project_max(size), stood)?;
        Ok((wait, top))
    });
    let (wait, top) = held.await?;
    if let Some(wait) = wait {
        let reason = format!("another job writes `{key}`");
        return Ok(ending(Finish::Deferred { reason, wait: wait.min(HELD_AGAIN) }));
    }
    fail::point("publish.held");
    let Some(top) = top else { return Err(StepError::fail("the publication is gone")) };
    let wanted = object(&top);
    let max = step.app.storage.project_max(wanted.size).saturating_sub(began.elapsed());
    let projected = tokio::time::timeout(max, step.app.storage.project_within(&key, &wanted, max));
    let projected = match projected.await {
        // What was begun may still be under way: the key is not let go, it becomes free by time.
        Err(_) => {
            return Err(StepError::retry(
                "the storage did not answer in time; what the key holds is compared before it is written again",
            )
            .told(PublicReason::StorageFailed));
        }
        Ok(Ok(projected)) => projected,
        // So it may here.
        Ok(Err(error)) if error.may_go_on() => return Err(project_error(error)),
        Ok(Err(error)) => {
            let this = key.clone();
            let let_go = step.app.db.transact(move |tx| {
                // A zombie must not let go what the job's next attempt holds.
                if job::still_mine(tx, job, attempt)? { publication::let_go(tx, &this, job) } else { Ok(()) }
            });
            let_go.await?;
            return Err(project_error(error));
        }
    };
    fail::point("publish.projected");
    step.log.line(&format!("{key} is at version {} ({})", top.seq, top.commit));
    Ok(Arc::new(move |tx| {
        publication::published(tx, &key, top.seq, Some(&projected.version_id))?;
        // What may still be under way must be over before anybody else writes to the key.
        if !projected.may_go_on {
            publication::let_go(tx, &key, job)?;
        }
        Ok(published_as(&key, Some(seq)))
    }))
}

/// What the storage is to show under the key.
pub fn object(publication: &Publication) -> PublicObject {
    PublicObject {
        seq: publication.seq,
        digest: publication.digest,
        size: u64::try_from(publication.size).unwrap_or(0),
        content_type: publication.content_type.clone(),
        metadata: publication.metadata.clone(),
    }
}

fn project_error(error: ProjectError) -> StepError {
    StepError::when(error.is_transient(), error).told(PublicReason::StorageFailed)
}

/// Brings a key to what it should hold, for the checker: a key that somebody changed, or that a dead
/// worker left behind.
pub async fn repair(app: &crate::app::App, key: &ObjectKey) -> anyhow::Result<()> {
    // Nobody else writes to it meanwhile, as with a job.
    let holder = JobId::new(app.clock.now(), app.db.random());
    let (this, of, began) = (key.clone(), app.clone(), Instant::now());
    let held = app.db.transact(move |tx| {
        let top = publication::top(tx, &this)?.filter(|top| top.published.is_some());
        let Some(top) = top else { return Ok(None) };
        let time = of.storage.project_max(u64::try_from(top.size).unwrap_or(0));
        let stood = |holder: &Holder| of.steady.stood(&this, holder);
        let wait = publication::hold(tx, &this, (holder, 0), time, stood)?;
        Ok::<_, DbError>(wait.is_none().then_some((top, time)))
    });
    let Some((top, time)) = held.await? else {
        anyhow::bail!("a job writes to it at this moment; the next check looks again");
    };
    let time = time.saturating_sub(began.elapsed());
    let projected = app.storage.project_within(key, &object(&top), time).await;
    let this = key.clone();
    let (version_id, may_go_on) = match &projected {
        Ok(projected) => (Some(projected.version_id.clone()), projected.may_go_on),
        Err(error) => (None, error.may_go_on()),
    };
    let noted = app.db.transact(move |tx| {
        if let Some(version_id) = &version_id {
            publication::found(tx, &this, top.seq, version_id)?;
        }
        if may_go_on { Ok(()) } else { publication::let_go(tx, &this, holder) }
    });
    noted.await?;
    projected?;
    Ok(())
}

/// The publication of a key that readers see.
pub fn visible(tx: &mut Tx<'_>, key: &ObjectKey) -> Result<Option<Publication>, DbError> {
    Ok(publication::versions(tx, key, i64::MAX, 1)?.into_iter().next())
}
