//! The forges' APIs: each call as it is made, each answer as it is read, refusals, and damaged answers.

mod addresses;
mod content;
mod damaged;
mod deliveries;
mod hooks;
mod keys;
mod refusals;
mod repositories;
mod statuses;

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};

use expect_test::Expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{Answer, Api, ApiBase, ApiError, Call, Credential};

/// What may appear nowhere but where it must be sent.
const TOKEN: &str = "t0ken-canary";
const SECRET: &str = "s3cret-canary";

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Every forge that has an API, and where git fetches from.
const FORGES: [(Forge, &str); 6] = [
    (Forge::Github, "https://github.com/acme/shop.git"),
    (Forge::Gitlab, "https://gitlab.acme.org/acme/shop.git"),
    (Forge::Gitea, "https://git.acme.org/acme/shop.git"),
    (Forge::Forgejo, "https://git.acme.org/acme/shop.git"),
    (Forge::Bitbucket, "https://bitbucket.org/acme/shop.git"),
    (Forge::BitbucketServer, "https://bitbucket.acme.org/scm/acme/shop.git"),
];

/// Those of which refs and content alone are asked for.
const CONTENT_FORGES: [(Forge, &str); 2] = [
    (Forge::Gogs, "https://git.acme.org/acme/shop.git"),
    (Forge::AzureDevops, "https://dev.azure.com/org/acme/_git/shop"),
];

fn git_of(forge: Forge) -> &'static str {
    FORGES.into_iter().chain(CONTENT_FORGES).find(|(known, _)| *known == forge).expect("it has an API").1
}

/// The API of `acme/shop` at that forge.
fn api(forge: Forge) -> Api {
    let base = ApiBase::derived(forge, git_of(forge), "acme/shop").expect("a host");
    let credential = Credential::new(TOKEN, None).expect("a token");
    Api::new(forge, base, Some(credential), "acme/shop".parse().expect("a name")).expect("an API")
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

/// The same with headers.
fn with(mut answer: Answer, headers: &[(&str, &str)]) -> Answer {
    let owned = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    answer.headers.extend(owned);
    answer
}

/// Answers in their order, and what was asked for them.
#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    asked: String,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Script {
        Script { answers: answers.into_iter().collect(), asked: String::new() }
    }

    fn carry(&mut self, call: &Call) -> Result<Answer, ApiError> {
        assert!(!format!("{call:?}").contains("canary"), "{call:?}");
        let body = call.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        writeln!(self.asked, "{} {} {body}", call.method.as_str(), call.url).expect("a string");
        Ok(self.answers.pop_front().expect("an answer to each call"))
    }
}

/// What an operation asked, and what came of it.
fn told<T: Debug>(
    forge: Forge,
    answers: impl IntoIterator<Item = Answer>,
    operation: impl FnOnce(&Api, &mut dyn FnMut(Call) -> Result<Answer, ApiError>) -> Result<T, ApiError>,
) -> String {
    let mut script = Script::new(answers);
    let result = operation(&api(forge), &mut |call| script.carry(&call));
    assert!(script.answers.is_empty(), "{forge}: not all was asked: {}", script.asked);
    let came = match result {
        Ok(found) => format!("{found:?}"),
        Err(error) => format!("error: {error}"),
    };
    assert!(!came.contains("canary"), "{came}");
    let asked = script.asked.trim_end().replace(" \n", "\n").replace(SECRET, "…");
    format!("{asked}\n  = {came}\n")
}

#[track_caller]
fn check(told: impl IntoIterator<Item = String>, expected: &Expect) {
    expected.assert_eq(&told.into_iter().collect::<Vec<_>>().join(""));
}
