//! From an [`Answer`] to a value or an [`ApiError`].

use gristmill_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use x509_cert::der::DateTime;

use super::Api;
use super::call::Answer;
use super::error::ApiError;
use super::family::{Family, Operation, needed};
use super::limits;
use crate::parse::Object;
use crate::text::shown;

/// How many of the reasons in one refusal are repeated.
const REASONS_MAX: usize = 3;

impl Api {
    /// The answer, where it is a success.
    pub(crate) fn accepted(&self, operation: Operation, answer: Answer) -> Result<Answer, ApiError> {
        match answer.status {
            // Who is not known to Azure DevOps is shown, or led to, the page to sign in.
            203 | 302 if self.family == Family::Azure => Err(self.signed_out(operation)),
            200..=299 => Ok(answer),
            _ => Err(self.refusal(operation, &answer)),
        }
    }

    /// There came a page for people.
    pub(crate) fn signed_out(&self, operation: Operation) -> ApiError {
        ApiError::Unauthorized {
            forge: self.forge,
            message: "it shows its page to sign in".to_owned(),
            what: operation.what(),
            needs: needed(self.family, operation),
        }
    }

    /// What a status that is no success means.
    fn refusal(&self, operation: Operation, answer: &Answer) -> ApiError {
        let (forge, status) = (self.forge, answer.status);
        let (what, needs) = (operation.what(), needed(self.family, operation));
        if let Some(wait) = limits::limited(self.family, answer) {
            return ApiError::Limited { forge, wait };
        }
        let message = self.message(answer);
        let repository = || self.repository.to_string();
        match status {
            300..=399 => ApiError::Moved { forge, repository: repository(), status },
            401 => ApiError::Unauthorized { forge, message, what, needs },
            403 => ApiError::Forbidden { forge, message, what, needs, has: self.granted(answer) },
            404 | 410 => ApiError::NotFound { forge, repository: repository(), what, needs },
            408 | 500 | 502..=599 => {
                ApiError::Unavailable { forge, status, message, wait: limits::told(answer) }
            }
            _ => ApiError::Refused { forge, what, status, message },
        }
    }

    /// What the token may do, where the forge says: GitHub for classic tokens in `X-OAuth-Scopes` ("Scopes for
    /// OAuth apps"), Bitbucket Cloud in a header of the same name.
    fn granted(&self, answer: &Answer) -> Option<String> {
        let scopes = answer.header("X-OAuth-Scopes")?.trim();
        Some(if scopes.is_empty() { "nothing".to_owned() } else { self.shown(scopes) })
    }

    /// What the forge says, in its own words. Where it stands, by forge:
    /// GitHub `message` and `errors[].message`; GitLab `message`, a text or an object of lists, or `error` and
    /// `error_description`; Gitea `message`; Bitbucket Cloud `error.message`; Data Center `errors[].message`.
    fn message(&self, answer: &Answer) -> String {
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            return "without a reason that can be read".to_owned();
        };
        let mut reasons = Vec::new();
        for field in ["message", "error_description", "error"] {
            match &body[field] {
                Value::String(text) => reasons.push(text.clone()),
                Value::Object(fields) => match fields.get("message") {
                    Some(Value::String(text)) => reasons.push(text.clone()),
                    _ => reasons.push(body[field].to_string()),
                },
                _ => {}
            }
        }
        let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        reasons.extend(errors.iter().filter_map(|one| one["message"].as_str().map(str::to_owned)));
        if reasons.is_empty() {
            return "without a reason".to_owned();
        }
        reasons.dedup();
        reasons.truncate(REASONS_MAX);
        self.shown(&reasons.join("; "))
    }

    /// A text of the forge's as an error may repeat it.
    pub(crate) fn shown(&self, text: &str) -> String {
        let cleaned = self.credential.as_ref().map(|credential| credential.cleaned(text));
        shown(cleaned.as_deref().unwrap_or(text))
    }

    /// The answer's body as a `T`, an object. Fields that `T` does not name are skipped.
    pub(crate) fn object<'a, T: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<T, ApiError> {
        self.json::<Object<T>>(answer).map(|object| object.0)
    }

    pub(crate) fn json<'a, T: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<T, ApiError> {
        let mut parser = serde_json::Deserializer::from_slice(&answer.body);
        let read = serde_path_to_error::deserialize::<_, T>(&mut parser)
            .map_err(|error| self.shape(&error.path().to_string(), &error.into_inner().to_string()))?;
        parser.end().map_err(|error| self.shape(".", &error.to_string()))?;
        Ok(read)
    }

    pub(crate) fn shape(&self, field: &str, problem: &str) -> ApiError {
        ApiError::Shape { forge: self.forge, field: self.shown(field), problem: self.shown(problem) }
    }

    pub(crate) fn unsupported(&self, why: &'static str) -> ApiError {
        ApiError::Unsupported { forge: self.forge, why }
    }
}

/// An id as forges write it: a number, or a text such as a UUID in braces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Id(pub(crate) String);

/// The longest id taken, in bytes.
const ID_BYTES_MAX: usize = 100;

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        let expected = || serde::de::Error::custom("not an id: a number, or 1 to 100 printable characters");
        let text = match Either::deserialize(deserializer).map_err(|_| expected())? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        };
        let fits =
            (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Id(text)) } else { Err(expected()) }
    }
}

/// A name or address of the forge's that is kept or shown: one line of a bounded length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line(pub(crate) String);

/// The longest of them taken, in bytes.
const LINE_BYTES_MAX: usize = 4_000;

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = text.len() <= LINE_BYTES_MAX && !text.contains(char::is_control);
        if fits {
            Ok(Line(text))
        } else {
            Err(serde::de::Error::custom("not one line of at most 4000 bytes"))
        }
    }
}

/// Whether the forge's list goes on behind this page. `taken` counts what was read of it so far.
///
/// Sources: "Using pagination in the REST API" of GitHub (`Link`, absent on the last page); "Offset-based
/// pagination" of GitLab (`x-next-page`, empty on the last page, and `Link`); "API Usage" of Gitea (`Link` and
/// `X-Total-Count`; some lists have only the second).
pub(crate) fn goes_on(family: Family, answer: &Answer, taken: usize) -> bool {
    let link = answer.header("Link").map(has_next);
    match family {
        Family::Gitlab => {
            answer.header("x-next-page").map_or(link == Some(true), |page| !page.trim().is_empty())
        }
        Family::Gitea => {
            let total =
                answer.number("X-Total-Count").map(|total| usize::try_from(total).unwrap_or(usize::MAX));
            // Without either header only an empty page ends the list.
            link.unwrap_or_else(|| total.is_none_or(|total| taken < total))
        }
        Family::Github | Family::Bitbucket | Family::BitbucketServer | Family::Gogs | Family::Azure => {
            link == Some(true)
        }
    }
}

fn has_next(link: &str) -> bool {
    next_link(link).is_some()
}

/// The address that a `Link` header names as the next page.
pub(crate) fn next_link(link: &str) -> Option<&str> {
    let parts = link.split(',').filter_map(|part| part.split_once(';'));
    let mut next = parts.filter(|(_, rel)| rel.contains("rel=\"next\"")).map(|(url, _)| url.trim());
    next.next()?.strip_prefix('<')?.strip_suffix('>')
}

/// `2021-05-12T20:33:44Z`, with or without fractions of a second, which do not matter, or with hours and minutes to
/// UTC in the place of the `Z`.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let (seconds, rest) = text.split_at_checked(19)?;
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let ahead_ms = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign @ ("+" | "-"), time) => {
            let (hours, minutes) = time.split_once(':')?;
            let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
            let ms = (i64::from(hours) * 60 + i64::from(minutes)) * 60_000;
            if sign == "+" { ms } else { -ms }
        }
        _ => return None,
    };
    let date: DateTime = format!("{seconds}Z").parse().ok()?;
    let ms = i64::try_from(date.unix_duration().as_millis()).ok()?;
    Some(Timestamp(ms - ahead_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_their_zone() {
        for (text, expected) in [
            ("2026-01-01T12:00:00Z", Some(1_767_268_800_000)),
            ("2026-01-01T12:00:00.123Z", Some(1_767_268_800_000)),
            ("2026-01-01T12:00:00+00:00", Some(1_767_268_800_000)),
            ("2026-01-01T14:30:00.5+02:30", Some(1_767_268_800_000)),
            ("2026-01-01T07:00:00-05:00", Some(1_767_268_800_000)),
            ("2026-01-01T12:00:00", None),
            ("2026-01-01T12:00:00x", None),
            ("2026-01-01T12:00:00+0200", None),
            ("2026-01-01T12:00:00Zulu", None),
            ("2026-13-01T12:00:00Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text), expected.map(Timestamp), "{text}");
        }
    }
}
