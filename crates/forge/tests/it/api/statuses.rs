//! Statuses of commits: each forge's words, limits and refusals.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{ApiError, Call, CommitStatus, StatusState};
use gristmill_model::GitRef;

use super::{COMMIT, FORGES, answer, api, check, told};

fn status<'a>(state: StatusState, git_ref: Option<&'a GitRef>) -> CommitStatus<'a> {
    CommitStatus {
        commit: COMMIT.parse().expect("a commit"),
        git_ref,
        context: "gristmill/archive",
        state,
        description: "the archive is published",
        url: Some("https://mill.acme.org/runs/1"),
    }
}

#[test]
fn a_status_is_set() {
    let main: GitRef = "refs/heads/feature/x".parse().expect("a ref");
    check(
        FORGES.map(|(forge, _)| {
            told(forge, [answer(201, "")], |api, mut carry| {
                api.set_status(&status(StatusState::Success, Some(&main)), &mut carry)
            })
        }),
        &expect![[r#"
            POST https://api.github.com/repos/acme/shop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"context":"gristmill/archive","description":"the archive is published","state":"success","target_url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"description":"the archive is published","name":"gristmill/archive","ref":"feature/x","state":"success","target_url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://git.acme.org/api/v1/repos/acme/shop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"context":"gristmill/archive","description":"the archive is published","state":"success","target_url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://git.acme.org/api/v1/repos/acme/shop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"context":"gristmill/archive","description":"the archive is published","state":"success","target_url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://api.bitbucket.org/2.0/repositories/acme/shop/commit/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/statuses/build {"description":"the archive is published","key":"gristmill/archive","name":"gristmill/archive","state":"SUCCESSFUL","url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://bitbucket.acme.org/rest/build-status/1.0/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"description":"the archive is published","key":"gristmill/archive","name":"gristmill/archive","state":"SUCCESSFUL","url":"https://mill.acme.org/runs/1"}
              = ()
        "#]],
    );
}

/// The body that is sent.
fn body(forge: Forge, status: &CommitStatus<'_>) -> serde_json::Value {
    let mut body = serde_json::Value::Null;
    let sent: Result<(), ApiError> = api(forge).set_status(status, &mut |call: Call| {
        body = serde_json::from_slice(&call.body.expect("a body")).expect("JSON");
        Ok(answer(200, ""))
    });
    sent.expect("it is set");
    body
}

#[test]
fn each_forge_has_its_own_words() {
    use StatusState::{Cancelled, Error, Failure, Pending, Success};
    let words = |forge: Forge| {
        let word = |state| body(forge, &status(state, None))["state"].as_str().expect("a word").to_owned();
        format!("{forge}: {}\n", [Pending, Success, Failure, Error, Cancelled].map(word).join(" "))
    };
    check(
        FORGES.map(|(forge, _)| words(forge)),
        &expect![[r#"
        github: pending success failure error error
        gitlab: pending success failed failed canceled
        gitea: pending success failure error error
        forgejo: pending success failure error error
        bitbucket: INPROGRESS SUCCESSFUL FAILED FAILED STOPPED
        bitbucket-server: INPROGRESS SUCCESSFUL FAILED FAILED FAILED
    "#]],
    );
}

#[test]
fn descriptions_are_cut_at_the_forges_limit_between_characters() {
    for (forge, longest) in
        [(Forge::Github, 140), (Forge::Gitlab, 255), (Forge::Gitea, 255), (Forge::Bitbucket, 255)]
    {
        for (length, cut) in [(longest, false), (longest + 1, true)] {
            let description = "ö".repeat(length);
            let told = body(
                forge,
                &CommitStatus { description: &description, ..status(StatusState::Success, None) },
            );
            let told = told["description"].as_str().expect("a text");
            assert_eq!(told.chars().count(), longest, "{forge}");
            assert_eq!(told.ends_with('…'), cut, "{forge} {length}");
        }
    }
    let lines = CommitStatus { description: "one\ntwo\0", ..status(StatusState::Success, None) };
    assert_eq!(body(Forge::Github, &lines)["description"], "one two ");
}

#[test]
fn keys_of_bitbucket_are_short_and_stay_different() {
    let key = |forge: Forge, context: &str| {
        body(forge, &CommitStatus { context, ..status(StatusState::Success, None) })["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    let (fits, left, right) = ("k".repeat(40), "k".repeat(41), "k".repeat(42));
    assert_eq!(key(Forge::Bitbucket, &fits), fits);
    assert_eq!(key(Forge::Bitbucket, &left).chars().count(), 40);
    assert!(key(Forge::Bitbucket, &left).starts_with(&"k".repeat(27)));
    assert_ne!(key(Forge::Bitbucket, &left), key(Forge::Bitbucket, &right));
    assert_eq!(key(Forge::BitbucketServer, &right), right);
    assert_eq!(key(Forge::BitbucketServer, &"k".repeat(256)).chars().count(), 255);
}

#[test]
fn bitbucket_takes_none_without_a_link() {
    let without = CommitStatus { url: None, ..status(StatusState::Pending, None) };
    for (forge, _) in FORGES {
        let result = api(forge).set_status(&without, &mut |_| Ok::<_, ApiError>(answer(201, "")));
        let needs_one = matches!(forge, Forge::Bitbucket | Forge::BitbucketServer);
        assert_eq!(matches!(result, Err(ApiError::Unsupported { .. })), needs_one, "{forge}");
        assert_eq!(result.is_ok(), !needs_one, "{forge}");
    }
}

#[test]
fn gitlab_refusing_the_state_it_has_is_no_failure() {
    let refusal = r#"{"message":"Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"}"#;
    let set = |forge, code, body: &str| {
        told(forge, [answer(code, body)], |api, mut carry| {
            api.set_status(&status(StatusState::Pending, None), &mut carry)
        })
    };
    check(
        [
            set(Forge::Gitlab, 400, refusal),
            set(Forge::Gitlab, 422, refusal),
            set(Forge::Gitea, 400, refusal),
            set(Forge::Gitlab, 400, r#"{"message":{"name":["is too long"]}}"#),
        ],
        &expect![[r#"
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"description":"the archive is published","name":"gristmill/archive","state":"pending","target_url":"https://mill.acme.org/runs/1"}
              = ()
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"description":"the archive is published","name":"gristmill/archive","state":"pending","target_url":"https://mill.acme.org/runs/1"}
              = error: gitlab refused to set the status of a commit with 422: Cannot transition status via :enqueue fr…:pending (Reason(s): Status cannot transition via "enqueue")
            POST https://git.acme.org/api/v1/repos/acme/shop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"context":"gristmill/archive","description":"the archive is published","state":"pending","target_url":"https://mill.acme.org/runs/1"}
              = error: gitea refused to set the status of a commit with 400: Cannot transition status via :enqueue fr…:pending (Reason(s): Status cannot transition via "enqueue")
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/statuses/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {"description":"the archive is published","name":"gristmill/archive","state":"pending","target_url":"https://mill.acme.org/runs/1"}
              = error: gitlab refused to set the status of a commit with 400: {"name":["is too long"]}
        "#]],
    );
}
