//! What a step is given, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gristmill_db::job::{Finish, Lease};
use gristmill_db::project::Project;
use gristmill_db::run::Run;
use gristmill_db::{DbError, Tx, project, run};
use gristmill_model::{FolderId, PipelineSpec, ProjectId, ProjectSpec, PublicReason};

use crate::app::App;
use crate::logs::JobLog;
use crate::pipelines::archive;

/// The longest wait after the mirror was made anew. It is whole again: who waits for it waits for nothing, but
/// each power failure may damage it again, and counts.
const DAMAGED_WAIT_MAX: Duration = Duration::from_secs(10);
/// The wait of a step whose turn it is not, grows by this with each attempt: short for those that wait for
/// something short, while those that wait for the first fetch of a huge repository seldom ask.
const NOT_NOW_WAIT: Duration = Duration::from_millis(500);
/// After this many attempts, about half a day, not being its turn counts as failing: what waits for ever ends.
const NOT_NOW_MAX: i64 = 10_000;
/// After this many attempts the wait stays as it is.
const NOT_NOW_TURNS_MAX: i64 = 10;

/// What a step is given.
#[derive(Clone)]
pub struct Step {
    /// What the program shares.
    pub app: App,
    /// The right to do this.
    pub lease: Lease,
    /// The job's log.
    pub log: JobLog,
    stopped: Arc<AtomicBool>,
    ending: Arc<AtomicBool>,
}

impl Step {
    pub(super) fn new(app: App, lease: Lease, log: JobLog) -> Step {
        Step { app, lease, log, stopped: Arc::default(), ending: Arc::default() }
    }

    /// Whether the lease is lost or the program stops: work in blocking threads looks here and ends.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// The same, for calls that look there themselves.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        self.stopped.clone()
    }

    /// True once the work is over and only its end is being written.
    pub(super) fn ending_flag(&self) -> Arc<AtomicBool> {
        self.ending.clone()
    }

    /// Waits where others have imported a project that this program's own configuration, with its secrets, does not
    /// know yet: that is not counted, and the job is done by those who do.
    pub(super) async fn check_known(&self) -> Result<(), StepError> {
        let (Some(_), Some(id)) = (self.app.seat.get(), self.lease.project) else { return Ok(()) };
        let found = self.app.db.read(move |tx| project::by_id(tx, id)).await?;
        match found.filter(|project| project.active && !self.app.live().knows(&project.spec)) {
            None => Ok(()),
            Some(project) => Err(StepError::NotNow {
                reason: format!(
                    "the configuration of this program does not know the project `{}`, which another one has imported; it is left to those that know it",
                    project.name
                ),
            }),
        }
    }

    /// Whose mirror is where once this has succeeded, where that is of use to others.
    pub(super) fn has_mirror(&self) -> Option<(ProjectId, FolderId)> {
        let uses = [archive::FETCH, archive::ARCHIVE].contains(&self.lease.kind.as_str());
        Some((self.lease.project.filter(|_| uses)?, self.app.seat.get()?.folder))
    }

    /// The run of the job, with the settings it is pinned to.
    pub async fn subject(&self) -> Result<Subject, StepError> {
        let id = self.lease.run.ok_or_else(|| StepError::fail("the job belongs to no run"))?;
        let found = self.app.db.read(move |tx| {
            let Some(run) = run::by_id(tx, id)? else { return Ok(None) };
            let project = project::by_id(tx, run.project)?;
            let spec = project::spec_at(tx, run.project, run.spec_rev)?;
            Ok(project.zip(spec).map(|(project, spec)| (run, project, spec)))
        });
        let (run, project, spec) =
            found.await?.ok_or_else(|| StepError::fail("the run or its project is gone"))?;
        let pipeline = spec
            .pipeline(&run.pipeline)
            .cloned()
            .ok_or_else(|| StepError::fail(format!("the project has no pipeline `{}`", run.pipeline)))?;
        Ok(Subject { run, project, spec, pipeline })
    }
}

/// What a job of a run works on.
pub struct Subject {
    /// The run.
    pub run: Run,
    /// The project as it is now.
    pub project: Project,
    /// The settings that the run is pinned to.
    pub spec: ProjectSpec,
    /// The pipeline in those settings.
    pub pipeline: PipelineSpec,
}

/// How a step ended well: what is written in the transaction that ends the job. May run more than
/// once, where the database was full or held.
pub type Ending = Arc<dyn Fn(&mut Tx<'_>) -> Result<Finish, StepError> + Send + Sync>;

/// An ending without writes of its own.
pub fn ending(finish: Finish) -> Ending {
    Arc::new(move |_| Ok(finish.clone()))
}

/// Why a step did not do what it was for; the step knows whether that may pass.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It may pass: tried again later.
    #[error("{reason}")]
    Retry {
        /// For people.
        reason: String,
        /// For everybody.
        public: Option<PublicReason>,
        /// No sooner than this.
        after: Option<Duration>,
    },
    /// The mirror lacks what it should have: it is made anew, and the job is tried again.
    #[error("{reason}")]
    Damaged {
        /// For people.
        reason: String,
    },
    /// It is not its turn: not counted against it.
    #[error("{reason}")]
    NotNow {
        /// For people.
        reason: String,
    },
    /// It does not pass by itself.
    #[error("{reason}")]
    Fail {
        /// For people.
        reason: String,
        /// For everybody.
        public: Option<PublicReason>,
    },
}

impl StepError {
    /// It may pass.
    pub fn retry(reason: impl std::fmt::Display) -> StepError {
        StepError::Retry { reason: reason.to_string(), public: None, after: None }
    }

    /// It does not pass by itself.
    pub fn fail(reason: impl std::fmt::Display) -> StepError {
        StepError::Fail { reason: reason.to_string(), public: None }
    }

    /// One or the other.
    pub fn when(is_transient: bool, reason: impl std::fmt::Display) -> StepError {
        if is_transient { StepError::retry(reason) } else { StepError::fail(reason) }
    }

    /// Says what everybody may know of it, unless that was said where more was known.
    pub fn told(mut self, why: impl Into<Option<PublicReason>>) -> StepError {
        if let StepError::Retry { public, .. } | StepError::Fail { public, .. } = &mut self {
            *public = public.or(why.into());
        }
        self
    }

    /// What everybody may know of it.
    pub fn public(&self) -> Option<PublicReason> {
        match self {
            StepError::Retry { public, .. } | StepError::Fail { public, .. } => *public,
            StepError::Damaged { .. } | StepError::NotNow { .. } => None,
        }
    }

    /// What the end of the `attempt`-th attempt is.
    pub(super) fn into_finish(self, attempt: i64) -> Finish {
        match self {
            StepError::Retry { reason, public, after } => {
                Finish::Retry { reason, public, after, within: None }
            }
            StepError::Damaged { reason } => {
                Finish::Retry { reason, public: None, after: None, within: Some(DAMAGED_WAIT_MAX) }
            }
            StepError::NotNow { reason } if attempt > NOT_NOW_MAX => {
                Finish::Retry { reason, public: None, after: None, within: None }
            }
            StepError::NotNow { reason } => {
                let turn = u32::try_from(attempt.clamp(1, NOT_NOW_TURNS_MAX)).expect("small");
                Finish::Deferred { reason, wait: NOT_NOW_WAIT * turn }
            }
            StepError::Fail { reason, public } => Finish::Failed { reason, public },
        }
    }
}

impl From<DbError> for StepError {
    fn from(error: DbError) -> StepError {
        StepError::retry(error)
    }
}
