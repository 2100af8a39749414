//! Thousands of damaged answers: a result or a sentence each, and no panic.

use gristmill_forge::api::{
    Answer, Api, ApiError, Call, CommitStatus, HooksOf, NewHook, NewKey, StatusState,
};
use gristmill_forge::{Forge, Secret};
use gristmill_model::Timestamp;

use super::{COMMIT, CONTENT_FORGES, FORGES, api};
use crate::mutations::Random;

/// Something of every answer, in one object that all operations read a part of.
fn object(forge: Forge) -> String {
    let commit = format!(
        r#"{{"sha":"{COMMIT}","id":"{COMMIT}","tree":{{"sha":"{COMMIT}"}},"mode":"100644","path":"p","hash":"{COMMIT}"}}"#
    );
    let key = if forge == Forge::BitbucketServer {
        r#"{"id":5,"text":"ssh-ed25519 AAAA","label":"l"}"#
    } else {
        r#""ssh-ed25519 AAAA c""#
    };
    // Of Gogs it is a list.
    let tree = match forge {
        Forge::Gogs => {
            format!(r#"[{{"mode":"120000","type":"blob","path":"p","sha":"{COMMIT}"}}]"#)
        }
        _ => format!(r#"{{"sha":"{COMMIT}"}}"#),
    };
    format!(
        r#"{{"id":42,"uuid":"{{u}}","guid":"g","full_name":"acme/shop","path_with_namespace":"acme/shop","slug":"shop",
        "project":{{"key":"acme"}},"default_branch":"main","private":true,"is_private":true,"name":"v1","displayId":"v1",
        "url":"https://ours/hook","config":{{"url":"https://ours/hook"}},"key":{key},"can_push":true,"read_only":false,
        "mode":"100644","commit":{commit},"target":{commit},"latestCommit":"{COMMIT}","delivered_at":"2026-01-01T00:00:00Z",
        "event":"push","status_code":502,"request_headers":{{"Idempotency-Key":"k"}},"request_data":{{"a":[1]}},
        "response_status":"500","request":{{"payload":{{"b":2}}}},"message":"m","error":{{"message":"e"}},"errors":[{{"message":"f"}}],
        "links":{{"clone":[{{"name":"ssh","href":"git@x:y"}}]}},"tree":{tree},"value":[{{"name":"refs/heads/x","objectId":"{COMMIT}"}}],"treeId":"{COMMIT}",
        "committer":{{"date":"2026-01-01T00:00:00Z"}}}}"#
    )
}

fn list(forge: Forge) -> String {
    let object = object(forge);
    match forge {
        Forge::Bitbucket => format!(r#"{{"values":[{object},{object}],"next":"n"}}"#),
        Forge::BitbucketServer => {
            format!(r#"{{"values":[{object},{object}],"isLastPage":false,"nextPageStart":100}}"#)
        }
        _ => format!("[{object},{object}]"),
    }
}

/// Every operation once; how many gave a result.
fn all(api: &Api, carry: &mut impl FnMut(Call) -> Result<Answer, ApiError>) -> Vec<Result<(), ApiError>> {
    let secret = Secret::new("s").expect("a secret");
    let commit = COMMIT.parse().expect("a commit");
    let status = CommitStatus {
        commit,
        git_ref: None,
        context: "c",
        state: StatusState::Error,
        description: "d",
        url: Some("https://x/"),
    };
    let missed = api.missed_deliveries(HooksOf::Repository, "7", Timestamp(0), None, carry);
    let payload = match &missed {
        Ok(found) if !found.deliveries.is_empty() => {
            api.payload(HooksOf::Repository, "7", &found.deliveries[0], carry).map(drop)
        }
        _ => Ok(()),
    };
    vec![
        api.repository(carry).map(drop),
        api.hooks(carry).map(drop),
        api.ensure_hook(&NewHook { url: "https://ours/hook", secret: &secret }, carry).map(drop),
        api.delete_hook("7", carry).map(drop),
        api.keys(carry).map(drop),
        api.ensure_key(&NewKey { title: "t", key: "ssh-ed25519 AAAA" }, carry).map(drop),
        api.delete_key("7", carry).map(drop),
        api.set_status(&status, carry),
        missed.map(drop),
        payload,
        api.refs(carry).map(drop),
        api.tree(commit, carry).map(drop),
        api.owner_hooks(carry).map(drop),
    ]
}

const HEADERS: [(&str, &str); 8] = [
    ("Link", "<https://x/?page=2&cursor=c>; rel=\"next\""),
    ("X-Next-Page", "2"),
    ("X-Total-Count", "9"),
    ("Retry-After", "5"),
    ("X-RateLimit-Remaining", "0"),
    ("X-RateLimit-Reset", "1800000000"),
    ("RateLimit-Reset", "x"),
    ("X-OAuth-Scopes", "repo"),
];

#[test]
fn damaged_answers_get_a_result_or_a_sentence_and_never_a_panic() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut understood, mut refused) = (0, 0);
    for round in 0..1_500 {
        let all_forges: Vec<_> = FORGES.into_iter().chain(CONTENT_FORGES).collect();
        let (forge, _) = all_forges[round % all_forges.len()];
        let mut calls = 0;
        let mut carry = |call: Call| {
            calls += 1;
            let lists = ["page=", "start=", "/deliveries?", "/events?", "/branches", "/tags"]
                .iter()
                .any(|part| call.url.contains(part));
            let mut body = if lists { list(forge) } else { object(forge) }.into_bytes();
            // Half of the answers stay whole, so that operations get beyond their first call.
            for _ in 0..random.below(2) * (1 + random.below(3)) {
                random.damage(&mut body);
            }
            let mut headers = Vec::new();
            for (name, value) in HEADERS {
                let mut value = value.as_bytes().to_vec();
                if random.below(4) == 0 {
                    random.damage(&mut value);
                }
                if random.below(3) == 0 {
                    headers.push((name.to_owned(), String::from_utf8_lossy(&value).into_owned()));
                }
            }
            let status = [200, 200, 200, 200, 200, 200, 204, 404, 403, 503][random.below(10)];
            Ok(Answer { status, headers, body })
        };
        for result in all(&api(forge), &mut carry) {
            match result {
                Ok(()) => understood += 1,
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.contains(char::is_control), "{text:?}");
                    assert!(text.chars().count() <= 600, "{text}");
                    refused += 1;
                }
            }
        }
        assert!(calls < 3_000, "{forge}: {calls}");
    }
    assert!(understood > 1_000 && refused > 1_000, "{understood} understood, {refused} refused");
}
