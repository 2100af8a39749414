//! The forges' APIs as the program uses them: whose is asked for a project, and who carries the calls over.
//!
//! [`status`] tells what became of commits, [`missed`] finds deliveries that never came, [`content`] brings what is not
//! fetched by git. What is said and what answers mean is `gristmill_forge::api`'s.

pub mod carrier;
pub mod content;
pub mod missed;
pub mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_forge::Forge;
use gristmill_forge::api::{Answer, Api, ApiBase, ApiError, Call, Credential};
use gristmill_model::{PatternName, ProjectSpec, PublicReason, Timestamp};

use crate::app::App;
use crate::live::Live;
use crate::origin::Origin;

/// Why a call to a forge's API came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The forge refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The forge was not reached, or its answer did not come whole. Nothing of the call is in the text.
    #[error("{text}")]
    Carry {
        /// What happened.
        text: String,
        /// Whether it may pass.
        is_transient: bool,
        /// What everybody may know of it.
        public: Option<PublicReason>,
    },
}

impl CallError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            CallError::Api(error) => error.is_transient(),
            CallError::Carry { is_transient, .. } => *is_transient,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            error if error.is_transient() => Fault::Passing,
            CallError::Carry { .. }
            | CallError::Api(
                ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } | ApiError::Moved { .. },
            ) => Fault::Lasting,
            CallError::Api(ApiError::Refused { status, .. }) if !matches!(status, 400 | 422) => {
                Fault::Lasting
            }
            CallError::Api(_) => Fault::Call,
        }
    }

    /// The earliest moment at which the forge wants to be asked again, where it says.
    pub(crate) fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        if let CallError::Api(error) = self { error.not_before(now) } else { None }
    }
}

/// Carries a call over and brings the answer back; it blocks its thread.
pub type Carry = dyn Fn(Call) -> Result<Answer, CallError> + Send + Sync;

/// How the API of a project's forge is reached, beyond what its spec says.
#[derive(Clone, Debug)]
pub struct ApiAccess {
    /// Where the repositories lie that the token was configured for.
    pub origin: Origin,
    /// Where the API is, where it does not follow from where git fetches.
    pub base: Option<ApiBase>,
    /// The token; without one only what everybody may see is seen.
    pub credential: Option<Credential>,
    /// Whether commits get statuses.
    pub statuses: bool,
}

impl ApiAccess {
    /// The API of this project's repository.
    ///
    /// # Errors
    /// [`ApiError`] where the forge has none, nothing tells where it is, or the repository lies on another server than
    /// the token was configured for.
    pub fn api(&self, spec: &ProjectSpec) -> Result<Api, ApiError> {
        if !self.origin.has(&spec.git) {
            let problem = "the token is for another server than that of the project's repository".to_owned();
            return Err(ApiError::Input { problem });
        }
        let forge: Forge = spec
            .forge
            .parse()
            .map_err(|_| ApiError::Input { problem: "the forge is not known".to_owned() })?;
        let base = match &self.base {
            Some(base) => base.clone(),
            None => ApiBase::derived(forge, &spec.git, spec.repository.as_str())?,
        };
        Api::new(forge, base, self.credential.clone(), spec.repository.clone())
    }
}

/// What the program knows of the forges while it runs. None of it is needed after a start.
pub struct Forges {
    carry: Arc<Carry>,
    /// Until when an API is left alone, by its address; or until when it is for one project, by the names of both.
    paused: Mutex<HashMap<String, Timestamp>>,
    /// What the last look for missed deliveries learnt, by whose webhook it was.
    missed: Mutex<HashMap<missed::Whose, missed::Looked>>,
}

/// How long an API that is not well is left alone at least.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// How long it is where a person has to mend something.
const PAUSE_FAULT: Duration = Duration::from_secs(180);

/// Whose fault it is that a call came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The API is not well, or wants to be left alone.
    Passing,
    /// No call of the project succeeds until somebody mends something: its token has ended, or may not do this, or its
    /// repository has moved, or the API's certificate is not good.
    Lasting,
    /// This one thing was refused.
    Call,
}

impl Forges {
    /// With this carrier.
    pub fn new(carry: Arc<Carry>) -> Forges {
        Forges { carry, paused: Mutex::default(), missed: Mutex::default() }
    }

    /// Carries a call over, and logs that it did: whom it asked, and nothing of what was said.
    pub fn carry(&self, call: Call) -> Result<Answer, CallError> {
        let started = std::time::Instant::now();
        let (method, host) =
            (call.method.as_str(), call.url.split('/').nth(2).unwrap_or_default().to_owned());
        let answer = (self.carry)(call);
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &answer {
            Ok(answer) => tracing::debug!(
                http.method = method,
                host,
                http.status = answer.status,
                duration_ms,
                "a forge was asked"
            ),
            Err(error) => {
                tracing::debug!(http.method = method, host, %error, duration_ms, "a forge was not reached");
            }
        }
        answer
    }

    /// Forgets all that is known by a clock that was set back.
    pub(crate) fn forget_times(&self) {
        locked(&self.paused).clear();
        locked(&self.missed).clear();
    }

    /// Whether the API is left alone at this moment.
    fn is_paused(&self, base: &ApiBase, now: Timestamp) -> bool {
        locked(&self.paused).get(base.as_str()).is_some_and(|until| *until > now)
    }

    /// Leaves the API alone for as long as it wants after this error; until when.
    fn pause(&self, base: &ApiBase, error: &CallError, now: Timestamp) -> Timestamp {
        let least = now.plus(PAUSE_MIN);
        let until = error.not_before(now).map_or(least, |wanted| wanted.max(least));
        locked(&self.paused).insert(base.as_str().to_owned(), until);
        until
    }

    /// The same for the project or pattern of this name alone.
    fn is_paused_for(&self, base: &ApiBase, name: &str, now: Timestamp) -> Option<Timestamp> {
        locked(&self.paused).get(&format!("{base} {name}")).copied().filter(|until| *until > now)
    }

    /// Leaves the API alone for a while for the project or pattern of this name, whose fault others need not have;
    /// until when.
    fn pause_for(&self, base: &ApiBase, name: &str, now: Timestamp) -> Timestamp {
        let until = now.plus(PAUSE_FAULT);
        locked(&self.paused).insert(format!("{base} {name}"), until);
        until
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the API of a project's forge is reached, where a token is given.
fn access<'l>(live: &'l Live, spec: &ProjectSpec) -> Option<&'l ApiAccess> {
    reading(live, spec).filter(|access| access.credential.is_some())
}

/// The same where there may be no token, as for public repositories that are not fetched by git.
fn reading<'l>(live: &'l Live, spec: &ProjectSpec) -> Option<&'l ApiAccess> {
    live.apis.get(configured(spec))
}

/// Under which name the project is configured.
fn configured(spec: &ProjectSpec) -> &str {
    spec.pattern.as_ref().map_or(spec.name.as_str(), PatternName::as_str)
}

/// Runs a call, or several, beside the async threads.
async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&mut dyn FnMut(Call) -> Result<Answer, CallError>) -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    let app = app.clone();
    let done = tokio::task::spawn_blocking(move || work(&mut |call| app.forges.carry(call))).await;
    done.unwrap_or_else(|error| {
        Err(CallError::Carry {
            text: format!("a call ended badly: {error}"),
            is_transient: false,
            public: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use gristmill_forge::api::Wait;

    use super::*;

    #[test]
    fn an_api_is_left_alone_for_as_long_as_it_wants_and_at_least_a_while() {
        let forges = Forges::new(Arc::new(|_| panic!("nobody asks")));
        let base = |text: &str| ApiBase::given(text).unwrap();
        let (ours, other) = (base("https://a.org/api"), base("https://b.org/api"));
        let now = Timestamp(1_000_000);
        assert!(!forges.is_paused(&ours, now));
        let down = CallError::Carry { text: "down".to_owned(), is_transient: true, public: None };
        assert_eq!(forges.pause(&ours, &down, now), Timestamp(1_005_000));
        assert!(forges.is_paused(&ours, Timestamp(1_004_999)) && !forges.is_paused(&other, now));
        assert!(!forges.is_paused(&ours, Timestamp(1_005_000)));
        for (seconds, until) in [(60, 1_060_000), (1, 1_005_000)] {
            let wait = Wait::For(Duration::from_secs(seconds));
            let limited = CallError::Api(ApiError::Limited { forge: Forge::Github, wait });
            assert!(limited.is_transient());
            assert_eq!(forges.pause(&ours, &limited, now), Timestamp(until));
        }
    }

    #[test]
    fn what_a_person_has_to_mend_is_waited_for_and_stops_no_other_project() {
        let forges = Forges::new(Arc::new(|_| panic!("nobody asks")));
        let base = ApiBase::given("https://a.org/api").unwrap();
        let now = Timestamp(1_000_000);
        let until = forges.pause_for(&base, "acme/shop", now);
        assert_eq!(until, Timestamp(1_180_000));
        let paused = |name: &str, at| forges.is_paused_for(&base, name, Timestamp(at));
        assert_eq!((paused("acme/shop", 1_179_999), paused("acme/shop", 1_180_000)), (Some(until), None));
        assert!(paused("acme/other", 1_000_000).is_none() && !forges.is_paused(&base, now));
    }

    #[test]
    fn only_what_the_one_thing_is_refused_for_is_given_up_at_once() {
        let (forge, what, needs, message) = (Forge::Github, "", "", String::new);
        let refused = |status| ApiError::Refused { forge, what, status, message: message() };
        for (error, expected) in [
            (ApiError::Unauthorized { forge, message: message(), what, needs }, Fault::Lasting),
            (ApiError::Forbidden { forge, message: message(), what, needs, has: None }, Fault::Lasting),
            (ApiError::Moved { forge, repository: message(), status: 301 }, Fault::Lasting),
            (refused(405), Fault::Lasting),
            (refused(400), Fault::Call),
            (refused(422), Fault::Call),
            (ApiError::NotFound { forge, repository: message(), what, needs }, Fault::Call),
            (ApiError::Unsupported { forge, why: "" }, Fault::Call),
            (ApiError::Limited { forge, wait: Wait::For(Duration::from_secs(1)) }, Fault::Passing),
            (ApiError::Unavailable { forge, status: 503, message: message(), wait: None }, Fault::Passing),
        ] {
            let text = error.to_string();
            assert_eq!(CallError::Api(error).fault(), expected, "{text}");
        }
        let carried = |is_transient| CallError::Carry { text: "TLS".to_owned(), is_transient, public: None };
        assert_eq!((carried(true).fault(), carried(false).fault()), (Fault::Passing, Fault::Lasting));
    }

    #[test]
    fn the_address_is_the_given_one_or_follows_from_git() {
        let spec = r#"{"name":"acme/shop","git":"https://git.acme.org/acme/shop.git","forge":"gitea",
            "repository":"acme/shop","poll_seconds":0,"jobs_max":1,"pipelines":[]}"#;
        let mut spec: ProjectSpec = serde_json::from_str(spec).unwrap();
        let credential = Credential::new("t", None).ok();
        let origin = Origin::of(&spec.git.parse().unwrap());
        let access =
            |base| ApiAccess { origin: origin.clone(), base, credential: credential.clone(), statuses: true };
        assert_eq!(access(None).api(&spec).unwrap().base().as_str(), "https://git.acme.org/api/v1");
        let given = ApiBase::given("https://api.acme.org").unwrap();
        assert_eq!(access(Some(given)).api(&spec).unwrap().base().as_str(), "https://api.acme.org");
        let moved = ProjectSpec { git: "https://git.other.org/acme/shop.git".to_owned(), ..spec.clone() };
        for base in [None, Some(ApiBase::given("https://api.acme.org").unwrap())] {
            let refused = access(base).api(&moved).unwrap_err();
            assert!(refused.to_string().contains("for another server"), "{refused}");
        }
        spec.forge = "generic".to_owned();
        assert_eq!(access(None).api(&spec).unwrap_err(), ApiError::NoApi { forge: Forge::Generic });
    }
}
