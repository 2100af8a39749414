//! What Amazon SNS needs besides a webhook's own bytes: the certificate that a message names, and the visit that
//! confirms a subscription.
//!
//! Both are calls to addresses that a stranger's message names. So nothing is asked for but below the one host of
//! SNS in the region of the project's topic, and only for messages that name that topic; answers and failures are
//! kept, and few calls are made at a time, and in a minute for one topic: who knows one topic's name cannot keep the
//! others from being heard. A sender who is to come again later is told so: SNS
//! sends again after 5xx, and takes 4xx for an answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_forge::{Headers, TopicArn, sns_certificate_url};
use gristmill_model::Timestamp;
use gristmill_outgoing::{Client, Request, Response, Url, Whose};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Calls under way at once.
const CALLS_MAX: usize = 4;
/// How long a request waits for its turn to call.
const TURN_MAX: Duration = Duration::from_secs(1);
/// How long one call may take. A webhook with both calls is answered within ten seconds.
const CALL_MAX: Duration = Duration::from_secs(4);
/// New certificates asked for in a minute for one topic. SNS has one for a region, and changes it once in years.
const FETCHES_A_MINUTE_MAX: usize = 10;
/// Certificates and failures kept.
const KNOWN_MAX: usize = 64;
/// The longest certificate taken, in bytes. SNS's have 2 KiB.
const CERTIFICATE_BYTES_MAX: u64 = 64 << 10;
/// How long a certificate is kept. Whether it is still valid is looked at each time.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long an address that had none is not asked again.
const MISSED: Duration = Duration::from_secs(600);
/// How long an address that gave no answer is not asked again.
const FAILED: Duration = Duration::from_secs(5);

/// Calls SNS.
pub(super) struct Sns {
    client: Client,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Known>,
    /// When new certificates were asked for in the last minute, by topic.
    asked: HashMap<String, VecDeque<Timestamp>>,
}

struct Known {
    found: Found,
    until: Timestamp,
}

#[derive(Clone)]
enum Found {
    Certificate(Arc<[u8]>),
    /// There is none.
    None,
    /// There was no answer.
    Failed,
}

/// The sender is to come again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Later;

impl Sns {
    pub(super) fn new(client: Client) -> Sns {
        Sns { client, turns: Arc::new(Semaphore::new(CALLS_MAX)), state: Mutex::default() }
    }

    /// The certificate that a message of the topic names; `None` where the message names none that is to be
    /// believed, which its verification then says.
    pub(super) async fn certificate(
        &self,
        topic: &TopicArn,
        headers: &Headers<'_>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Arc<[u8]>>, Later> {
        let url = sns_certificate_url(headers, body, topic).ok().filter(|url| is_at(url, topic));
        let Some(url) = url else { return Ok(None) };
        if let Some(known) = self.known(&url, now) {
            return known;
        }
        let turns = Arc::clone(&self.turns);
        let Ok(_turn) = tokio::time::timeout(TURN_MAX, turns.acquire()).await else {
            return self.state().old(&url);
        };
        // Who waited for the same certificate has it now.
        if let Some(known) = self.known(&url, now) {
            return known;
        }
        if !self.state().may_ask(topic.as_str(), now) {
            tracing::warn!(
                topic = topic.as_str(),
                "messages of a topic of SNS name too many certificates; they are told to come again"
            );
            return self.state().old(&url);
        }
        let found = self.fetch(&url).await;
        answer(self.state().keep(url, found, now))
    }

    fn known(&self, url: &str, now: Timestamp) -> Option<Result<Option<Arc<[u8]>>, Later>> {
        let state = self.state();
        let known = state.known.get(url).filter(|known| now < known.until)?;
        Some(answer(known.found.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic elsewhere left behind is still a list.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, url: &str) -> Found {
        match self.call(url, CERTIFICATE_BYTES_MAX).await {
            Ok(response) if response.status() == 200 => Found::Certificate(response.body().into()),
            Ok(response) if response.is_transient() => Found::Failed,
            Ok(response) => {
                tracing::warn!(
                    status = response.status(),
                    "SNS has no certificate where a message names one"
                );
                Found::None
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "a certificate of SNS cannot be fetched; its message is told to come again"
                );
                Found::Failed
            }
        }
    }

    /// Visits the address that confirms the subscription. Whether it succeeded is told in the log; where it may yet
    /// succeed, SNS is to send its message again.
    pub(super) async fn confirm(&self, url: &str) -> Result<(), Later> {
        let turns = Arc::clone(&self.turns);
        let _turn = tokio::time::timeout(TURN_MAX, turns.acquire()).await.map_err(|_| Later)?;
        match self.call(url, CERTIFICATE_BYTES_MAX).await {
            Ok(response) if response.is_success() => {
                tracing::info!("the subscription to a topic of SNS is confirmed");
                Ok(())
            }
            Ok(response) if !response.is_transient() => {
                tracing::error!(
                    status = response.status(),
                    "SNS refused to confirm a subscription; request the confirmation again in the console of SNS"
                );
                Ok(())
            }
            Ok(response) => {
                tracing::warn!(status = response.status(), "SNS cannot confirm a subscription now");
                Err(Later)
            }
            Err(error) => {
                tracing::warn!(error, "a subscription to a topic of SNS cannot be confirmed now");
                Err(Later)
            }
        }
    }

    async fn call(&self, url: &str, bytes_max: u64) -> Result<Response, String> {
        let url = Url::https(url).map_err(|error| error.to_string())?;
        let request = Request::get(url, Whose::Strangers).total(CALL_MAX).body_bytes_max(bytes_max);
        let client = self.client.clone();
        let called =
            spawn_blocking(move || client.call(&request)).await.map_err(|error| error.to_string())?;
        called.map_err(|error| error.to_string())
    }
}

impl State {
    fn may_ask(&mut self, topic: &str, now: Timestamp) -> bool {
        self.asked.retain(|_, asked| {
            while asked.front().is_some_and(|at| at.plus(Duration::from_secs(60)) <= now) {
                asked.pop_front();
            }
            !asked.is_empty()
        });
        let asked = self.asked.entry(topic.to_owned()).or_default();
        let may = asked.len() < FETCHES_A_MINUTE_MAX;
        if may {
            asked.push_back(now);
        }
        may
    }

    /// A certificate that was to be asked for again and cannot be: it is still what it was, and whether it is valid is
    /// looked at each time.
    fn old(&self, url: &str) -> Result<Option<Arc<[u8]>>, Later> {
        match self.known.get(url).map(|known| &known.found) {
            Some(Found::Certificate(pem)) => Ok(Some(pem.clone())),
            _ => Err(Later),
        }
    }

    /// Keeps what was found; what counts now, which is the certificate from before where there was no answer.
    fn keep(&mut self, url: String, found: Found, now: Timestamp) -> Found {
        let kept = match &found {
            Found::Certificate(_) => KEPT,
            Found::None => MISSED,
            Found::Failed => FAILED,
        };
        let before = self.old(&url).ok().flatten().filter(|_| matches!(found, Found::Failed));
        let found = before.map_or(found, Found::Certificate);
        let is_certificate = |known: &Known| matches!(known.found, Found::Certificate(_));
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, known| now < known.until || is_certificate(known));
        }
        // Full of what still counts: the one that would go first goes, and that is a failure before a certificate.
        if self.known.len() >= KNOWN_MAX
            && let Some(first) = self
                .known
                .iter()
                .min_by_key(|(_, known)| (is_certificate(known), known.until))
                .map(|(url, _)| url.clone())
        {
            self.known.remove(&first);
        }
        self.known.insert(url, Known { found: found.clone(), until: now.plus(kept) });
        found
    }
}

fn answer(found: Found) -> Result<Option<Arc<[u8]>>, Later> {
    match found {
        Found::Certificate(pem) => Ok(Some(pem)),
        Found::None => Ok(None),
        Found::Failed => Err(Later),
    }
}

/// Whether an address is at SNS in the region of the topic. China's regions have another domain: "Amazon SNS endpoints
/// and quotas" in the reference of AWS.
pub(super) fn is_at(url: &str, topic: &TopicArn) -> bool {
    let parts: Vec<&str> = topic.as_str().split(':').collect();
    let [_, partition, _, region, ..] = parts.as_slice() else { return false };
    let domain = if *partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let host = format!("https://sns.{region}.{domain}");
    url.strip_prefix(&host).is_some_and(|rest| rest.starts_with('/') || rest.starts_with(":443/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_topics_own_region_is_asked() {
        for (topic, url, expected) in [
            ("aws:sns:eu-west-1", "https://sns.eu-west-1.amazonaws.com/a.pem", true),
            ("aws:sns:eu-west-1", "https://sns.eu-west-1.amazonaws.com:443/a.pem", true),
            ("aws:sns:eu-west-1", "https://sns.eu-west-1.amazonaws.com:4433/a.pem", false),
            ("aws:sns:eu-west-1", "https://sns.eu-west-1.amazonaws.com", false),
            ("aws:sns:eu-west-1", "https://sns.eu-west-1.amazonaws.com.cn/a.pem", false),
            ("aws:sns:eu-west-1", "https://sns.eu-west-2.amazonaws.com/a.pem", false),
            ("aws:sns:eu-west-1", "http://sns.eu-west-1.amazonaws.com/a.pem", false),
            ("aws-us-gov:sns:us-gov-west-1", "https://sns.us-gov-west-1.amazonaws.com/a.pem", true),
            ("aws-cn:sns:cn-north-1", "https://sns.cn-north-1.amazonaws.com.cn/a.pem", true),
            ("aws-cn:sns:cn-north-1", "https://sns.cn-north-1.amazonaws.com/a.pem", false),
        ] {
            let topic = format!("arn:{topic}:123456789012:pushes").parse().unwrap();
            assert_eq!(is_at(url, &topic), expected, "{topic} {url}");
        }
    }

    fn pem() -> Found {
        Found::Certificate(Arc::from(&b"pem"[..]))
    }

    #[test]
    fn what_is_kept_is_bounded_and_certificates_outlive_failures() {
        let mut state = State::default();
        let now = Timestamp(1_000_000);
        state.keep("good".to_owned(), pem(), now);
        // Its time is over, and those of the failures are not.
        let later = now.plus(KEPT);
        for number in 0..2 * KNOWN_MAX {
            state.keep(number.to_string(), Found::None, later);
        }
        assert_eq!((state.known.len(), state.known.contains_key("good")), (KNOWN_MAX, true));
        // Later all the others have had their time.
        state.keep("last".to_owned(), Found::Failed, later.plus(MISSED));
        assert_eq!(state.known.len(), 2);
        for number in 0..2 * KNOWN_MAX {
            state.keep(number.to_string(), pem(), later);
        }
        assert_eq!(state.known.len(), KNOWN_MAX);
    }

    #[test]
    fn a_certificate_serves_on_where_it_cannot_be_fetched_again() {
        let mut state = State::default();
        let now = Timestamp(1_000_000);
        let url = || "url".to_owned();
        assert!(state.old("url").is_err());
        assert!(matches!(state.keep(url(), Found::Failed, now), Found::Failed));
        assert!(state.old("url").is_err());
        state.keep(url(), pem(), now);
        assert!(matches!(state.keep(url(), Found::Failed, now.plus(KEPT)), Found::Certificate(_)));
        assert!(state.old("url").is_ok());
        assert_eq!(state.known["url"].until, now.plus(KEPT).plus(FAILED), "and is soon asked for again");
        // SNS says that there is none any more.
        assert!(matches!(state.keep(url(), Found::None, now.plus(KEPT)), Found::None));
        assert!(state.old("url").is_err());
    }

    #[test]
    fn each_topic_has_its_own_number_of_fetches() {
        let mut state = State::default();
        let now = Timestamp(1_000_000);
        for _ in 0..FETCHES_A_MINUTE_MAX {
            assert!(state.may_ask("one", now));
        }
        assert!(!state.may_ask("one", now) && state.may_ask("other", now));
        let almost = Timestamp(now.0 + 59_999);
        assert!(!state.may_ask("one", almost) && state.may_ask("one", Timestamp(almost.0 + 1)));
        assert_eq!(state.asked.len(), 1, "who asked for nothing in the last minute is forgotten");
    }
}
