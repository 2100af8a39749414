//! What is made of every answer that is no success.

use std::time::Duration;

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{Answer, ApiError, Operation};
use gristmill_model::Timestamp;

use super::{FORGES, TOKEN, answer, api, check, with};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn refusal(forge: Forge, answer: &Answer) -> ApiError {
    api(forge).repository(&mut |_| Ok(answer.clone())).expect_err("a refusal")
}

fn line(forge: Forge, answer: &Answer) -> String {
    let error = refusal(forge, answer);
    let wait = error.not_before(NOW).map(|moment| format!(" wait {} s", moment.since(NOW).as_secs()));
    let passes = if error.is_transient() { "passes" } else { "stays" };
    format!("{} {passes}{}: {error}\n", answer.status, wait.unwrap_or_default())
}

#[test]
fn every_status_has_a_meaning() {
    let of = [301, 307, 400, 401, 403, 404, 408, 409, 410, 418, 422, 429, 500, 501, 502, 503, 504, 599]
        .map(|status| line(Forge::Github, &answer(status, r#"{"message":"No."}"#)));
    check(
        of,
        &expect![[r#"
        301 stays: github says that `acme/shop` has moved (301); set `git` and `repository` to its new name
        307 stays: github says that `acme/shop` has moved (307); set `git` and `repository` to its new name
        400 stays: github refused to see the repository with 400: No.
        401 stays: github does not know the token (No.); it has ended, was revoked, or is of another server. Needed to see the repository: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
        403 stays: github does not allow the token to see the repository (No.). Needed: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
        404 stays: github finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to see the repository: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
        408 passes: github answered 408 (No.); it may pass
        409 stays: github refused to see the repository with 409: No.
        410 stays: github finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to see the repository: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
        418 stays: github refused to see the repository with 418: No.
        422 stays: github refused to see the repository with 422: No.
        429 passes wait 60 s: github takes no more requests for now; the next one may be made in 60 seconds
        500 passes: github answered 500 (No.); it may pass
        501 stays: github refused to see the repository with 501: No.
        502 passes: github answered 502 (No.); it may pass
        503 passes: github answered 503 (No.); it may pass
        504 passes: github answered 504 (No.); it may pass
        599 passes: github answered 599 (No.); it may pass
    "#]],
    );
}

#[test]
fn reasons_stand_where_each_forge_puts_them() {
    let cases = [
        (Forge::Github, 403, r#"{"message":"Resource not accessible by personal access token"}"#),
        (
            Forge::Github,
            422,
            r#"{"message":"Validation Failed","errors":[{"resource":"PublicKey","code":"custom","field":"key","message":"key is already in use"}]}"#,
        ),
        (Forge::Gitlab, 401, r#"{"message":"401 Unauthorized"}"#),
        (
            Forge::Gitlab,
            403,
            r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api"}"#,
        ),
        (Forge::Gitlab, 400, r#"{"message":{"url":["is blocked: Requests to localhost are not allowed"]}}"#),
        (
            Forge::Gitea,
            403,
            r#"{"message":"token does not have at least one of required scope(s): [read:repository]","url":"u"}"#,
        ),
        (
            Forge::Bitbucket,
            403,
            r#"{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"granted":[]}}}"#,
        ),
        (Forge::Bitbucket, 400, r#"{"type":"error","error":{"fields":{"url":["Enter a valid URL."]}}}"#),
        (
            Forge::BitbucketServer,
            401,
            r#"{"errors":[{"context":null,"message":"You are not permitted to access this resource","exceptionName":"x"}]}"#,
        ),
        (Forge::Github, 500, "<html>"),
        (Forge::Github, 500, "[]"),
        (Forge::Github, 500, r#"{"message":7,"errors":[7,{}]}"#),
    ];
    check(
        cases.map(|(forge, status, body)| line(forge, &answer(status, body))),
        &expect![[r#"
        403 stays: github does not allow the token to see the repository (Resource not accessible by personal access token). Needed: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
        422 stays: github refused to see the repository with 422: Validation Failed; key is already in use
        401 stays: gitlab does not know the token (401 Unauthorized); it has ended, was revoked, or is of another server. Needed to see the repository: a token with the scope `read_api` or `api` and at least the role Reporter
        403 stays: gitlab does not allow the token to see the repository (The request requires higher privileges than provided by the access token.; insufficient_scope). Needed: a token with the scope `read_api` or `api` and at least the role Reporter
        400 stays: gitlab refused to see the repository with 400: {"url":["is blocked: Requests to localhost are not allowed"]}
        403 stays: gitea does not allow the token to see the repository (token does not have at least one of required scope(s): [read:repository]). Needed: a token with `read:repository`
        403 stays: bitbucket does not allow the token to see the repository (Your credentials lack one or more required privilege scopes.). Needed: a token with `repository` (`read:repository:bitbucket`)
        400 stays: bitbucket refused to see the repository with 400: {"fields":{"url":["Enter a valid URL."]}}
        401 stays: bitbucket-server does not know the token (You are not permitted to access this resource); it has ended, was revoked, or is of another server. Needed to see the repository: an HTTP access token with `Repository read`
        500 passes: github answered 500 (without a reason that can be read); it may pass
        500 passes: github answered 500 (without a reason); it may pass
        500 passes: github answered 500 (without a reason); it may pass
    "#]],
    );
}

#[test]
fn scopes_are_named() {
    let has = |scopes: &str| line(Forge::Github, &with(answer(403, "{}"), &[("x-oauth-scopes", scopes)]));
    check(
        [has("repo, gist"), has(" ")],
        &expect![[r#"
        403 stays: github does not allow the token to see the repository (without a reason). Needed: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`; the token has: repo, gist
        403 stays: github does not allow the token to see the repository (without a reason). Needed: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`; the token has: nothing
    "#]],
    );
    let all = [
        Operation::Repository,
        Operation::Hooks,
        Operation::Keys,
        Operation::Statuses,
        Operation::Deliveries,
        Operation::Content,
    ];
    for (forge, _) in FORGES {
        for operation in all {
            assert!(api(forge).needed(operation).contains("token with"), "{forge}");
        }
    }
}

#[test]
fn limits_say_when_to_come_back() {
    let in_five = (NOW.0 / 1000 + 5).to_string();
    let spent = [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", in_five.as_str())];
    let some_left = [("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", in_five.as_str())];
    let of_gitlab = [("RateLimit-Remaining", "0"), ("RateLimit-Reset", in_five.as_str())];
    let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    check(
        [
            line(Forge::Github, &with(answer(403, "{}"), &spent)),
            line(Forge::Github, &with(answer(403, "{}"), &some_left)),
            line(Forge::Github, &with(answer(429, "{}"), &spent)),
            line(Forge::Github, &answer(403, secondary)),
            line(Forge::Github, &with(answer(403, secondary), &[("Retry-After", "7")])),
            line(Forge::Github, &answer(429, "{}")),
            line(Forge::Gitlab, &with(answer(429, ""), &of_gitlab)),
            line(Forge::Gitlab, &with(answer(429, ""), &[("Retry-After", "9")])),
            line(Forge::Gitlab, &answer(429, "Retry later")),
            line(Forge::Gitlab, &with(answer(403, "{}"), &of_gitlab)),
            line(Forge::Gitea, &answer(429, "")),
            line(
                Forge::Bitbucket,
                &with(answer(429, ""), &[("Retry-After", "Fri, 20 Nov 2026 00:00:00 GMT")]),
            ),
            line(Forge::BitbucketServer, &with(answer(503, ""), &[("Retry-After", "0")])),
            line(Forge::Gitea, &with(answer(503, ""), &[("Retry-After", "999999999")])),
            line(
                Forge::Github,
                &with(answer(429, ""), &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1")]),
            ),
            line(
                Forge::Github,
                &with(
                    answer(429, ""),
                    &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "18446744073709551615")],
                ),
            ),
        ],
        &expect![[r#"
            403 passes wait 5 s: github takes no more requests for now; the next one may be made at 2027-01-15T08:00:05Z
            403 stays: github does not allow the token to see the repository (without a reason). Needed: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
            429 passes wait 5 s: github takes no more requests for now; the next one may be made at 2027-01-15T08:00:05Z
            403 passes wait 60 s: github takes no more requests for now; the next one may be made in 60 seconds
            403 passes wait 7 s: github takes no more requests for now; the next one may be made in 7 seconds
            429 passes wait 60 s: github takes no more requests for now; the next one may be made in 60 seconds
            429 passes wait 5 s: gitlab takes no more requests for now; the next one may be made at 2027-01-15T08:00:05Z
            429 passes wait 9 s: gitlab takes no more requests for now; the next one may be made in 9 seconds
            429 passes wait 60 s: gitlab takes no more requests for now; the next one may be made in 60 seconds
            403 stays: gitlab does not allow the token to see the repository (without a reason). Needed: a token with the scope `read_api` or `api` and at least the role Reporter
            429 passes wait 60 s: gitea takes no more requests for now; the next one may be made in 60 seconds
            429 passes wait 60 s: bitbucket takes no more requests for now; the next one may be made in 60 seconds
            503 passes wait 1 s: bitbucket-server answered 503 (without a reason that can be read); it may pass
            503 passes wait 86400 s: gitea answered 503 (without a reason that can be read); it may pass
            429 passes wait 1 s: github takes no more requests for now; the next one may be made at 1970-01-01T00:00:01Z
            429 passes wait 60 s: github takes no more requests for now; the next one may be made in 60 seconds
        "#]],
    );
    let day = Duration::from_secs(24 * 60 * 60);
    let error = refusal(Forge::Gitea, &with(answer(503, ""), &[("Retry-After", "99999999999999999999")]));
    assert!(error.not_before(NOW).expect("a moment") <= NOW.plus(day));
}

#[test]
fn mistake_08_a_token_that_a_forge_repeats_is_not_told_on() {
    for status in [400, 401, 403, 500] {
        for body in
            [format!(r#"{{"message":"bad token {TOKEN}"}}"#), format!(r#"{{"error":{{"x":"{TOKEN}"}}}}"#)]
        {
            let answer = with(answer(status, &body), &[("X-OAuth-Scopes", TOKEN)]);
            let error = refusal(Forge::Github, &answer);
            assert!(!error.to_string().contains(TOKEN) && !format!("{error:?}").contains(TOKEN), "{error}");
        }
    }
    let shape = refusal(Forge::Github, &answer(200, &format!(r#"{{"id":"{TOKEN}","private":"{TOKEN}"}}"#)));
    assert!(!shape.to_string().contains(TOKEN), "{shape}");
}

#[test]
fn answers_of_another_shape_say_where() {
    let bodies = [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"id":-1}"#,
        r#"{"id":"a b","full_name":"x","private":true}"#,
        r#"{"id":1,"full_name":"a\nb","private":true}"#,
        r#"{"id":1,"full_name":"a/b","private":true} x"#,
        r#"{"id":1,"full_name":"a/b","private":"yes"}"#,
    ];
    check(
        bodies.map(|body| line(Forge::Github, &answer(200, body))),
        &expect![[r#"
            200 stays: the answer of github is not as documented: EOF while parsing a value at line 1 column 0 (at `.`); is the address that of its API?
            200 stays: the answer of github is not as documented: expected value at line 1 column 1 (at `.`); is the address that of its API?
            200 stays: the answer of github is not as documented: invalid type: sequence, expected an object at line 1 column 0 (at `.`); is the address that of its API?
            200 stays: the answer of github is not as documented: not an id: a number, or 1 to 100 printable characters at line 1 column 2 (at `.`); is the address that of its API?
            200 stays: the answer of github is not as documented: not an id: a number, or 1 to 100 printable characters at line 1 column 9 (at `id`); is the address that of its API?
            200 stays: the answer of github is not as documented: not an id: a number, or 1 to 100 printable characters at line 1 column 11 (at `id`); is the address that of its API?
            200 stays: the answer of github is not as documented: not one line of at most 4000 bytes at line 1 column 26 (at `full_name`); is the address that of its API?
            200 stays: the answer of github is not as documented: trailing characters at line 1 column 43 (at `.`); is the address that of its API?
            200 stays: the answer of github is not as documented: invalid type: string "yes", expected a boolean at line 1 column 41 (at `private`); is the address that of its API?
        "#]],
    );
}
