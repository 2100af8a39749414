//! Bodies that are signed, and what is made of those that are not what the forge documents.

use expect_test::{Expect, expect};
use gristmill_forge::{Forge, parse_unverified};

use crate::{A, B, REPOSITORY, ZERO, parsed, push_body, shown};

/// What `body` tells of, with the bounds that hold for every text that repeats some of it.
fn told(event: &str, body: impl AsRef<[u8]>) -> String {
    let told = parsed(event, body);
    assert!(!told.trim_end().contains(char::is_control), "{told:?}");
    assert!(told.chars().count() <= 400, "{told}");
    told
}

#[track_caller]
fn check(told: &[String], expected: Expect) {
    expected.assert_eq(&told.concat());
}

/// A push with this JSON for one of its fields.
fn push_with(field: &str, json: &str) -> String {
    let mut fields = vec![
        ("ref", r#""refs/heads/x""#.to_owned()),
        ("before", format!(r#""{A}""#)),
        ("after", format!(r#""{B}""#)),
        ("deleted", "false".to_owned()),
        ("repository", r#"{"id":42,"full_name":"acme/shop"}"#.to_owned()),
    ];
    fields.retain(|(name, _)| *name != field);
    fields.push((field, json.to_owned()));
    let fields: Vec<String> = fields.into_iter().map(|(name, json)| format!(r#""{name}":{json}"#)).collect();
    format!("{{{}}}", fields.join(","))
}

#[test]
fn pushes() {
    check(
        &[
            told("push", push_body("refs/heads/main", A, B)),
            told("push", push_body("refs/heads/new/branch", ZERO, B)),
            told("push", push_body("refs/tags/v1", A, B)),
            told("push", push_with("before", &format!(r#""{}""#, "c".repeat(64)))),
            told("push", push_with("before", "null")),
            told("push", push_with("commits", "[[[[]]]]")),
        ],
        expect![[r#"
            push acme/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push acme/shop#42 refs/heads/new/branch after=bbbbbbbbbbbb
            tag acme/shop#42 refs/tags/v1 before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            push acme/shop#42 refs/heads/x before=cccccccccccc after=bbbbbbbbbbbb
            push acme/shop#42 refs/heads/x after=bbbbbbbbbbbb
            push acme/shop#42 refs/heads/x before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        "#]],
    );
}

#[test]
fn bodies_that_are_not_json() {
    check(
        &[
            told("push", ""),
            told("push", "{"),
            told("push", "hello"),
            told("push", "\0"),
            told("push", format!("{} x", push_body("refs/heads/x", A, B))),
            told("push", push_with("x", "\"\u{0}\"")),
            told("push", b"{\"ref\":\"\xff\"}"),
            told("pull_request", "{"),
            told("ping", "["),
        ],
        expect![[r#"
            error: the body is not JSON: EOF while parsing a value at line 1 column 0
            error: the body is not JSON: EOF while parsing an object at line 1 column 1
            error: the body is not JSON: expected value at line 1 column 1
            error: the body is not JSON: expected value at line 1 column 1
            error: the body is not JSON: trailing characters at line 1 column 236
            error: the body is not JSON: control character (\u0000-\u001F) found while parsing a string at line 1 column 193
            error: the body is not UTF-8 text, from byte 8 on
            error: the body is not JSON: EOF while parsing an object at line 1 column 1
            ping
        "#]],
    );
}

#[test]
fn json_that_is_no_object() {
    check(
        &[
            told("push", "[]"),
            told("push", format!(r#"["refs/heads/x","{A}","{B}",false,["acme/shop",1]]"#)),
            told("push", push_with("repository", r#"["acme/shop",1]"#)),
            told("push", "null"),
            told("team", "7"),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not a documented `push` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not a documented `push` event: invalid type: sequence, expected an object at line 1 column 154 (at `repository`)
            error: the body is not a documented `push` event: invalid type: null, expected an object at line 1 column 4 (at `.`)
            ignored because nothing is built from `team` events
        "#]],
    );
}

#[test]
fn pushes_without_what_a_push_has() {
    check(
        &[
            told("push", "{}"),
            told("push", format!(r#"{{"ref":"refs/heads/x","before":"{A}",{REPOSITORY}}}"#)),
            told("push", push_with("after", "null")),
            told("push", format!(r#"{{"ref":"refs/heads/x","after":"{A}"}}"#)),
            told("push", push_with("repository", "null")),
            told("push", push_with("repository", r#"{"id":1}"#)),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: missing field `ref` at line 1 column 2 (at `.`)
            error: the body is not a documented `push` event: missing field `after` (at `.`)
            error: the body is not a documented `push` event: missing field `after` (at `.`)
            error: the body is not a documented `push` event: missing field `repository` at line 1 column 73 (at `.`)
            error: the body is not a documented `push` event: invalid type: null, expected an object at line 1 column 158 (at `repository`)
            error: the body is not a documented `push` event: missing field `full_name` at line 1 column 162 (at `repository`)
        "#]],
    );
}

#[test]
fn fields_of_another_type() {
    check(
        &[
            told("push", push_with("ref", "7")),
            told("push", push_with("ref", "null")),
            told("push", push_with("deleted", r#""no""#)),
            told("push", push_with("after", "{}")),
            told("push", push_with("repository", r#"{"id":1e400,"full_name":"a/b"}"#)),
            told("push", push_with("repository", r#"{"id":18446744073709551616,"full_name":"a/b"}"#)),
            told("push", push_with("repository", r#"{"id":1.5,"full_name":"a/b"}"#)),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: invalid type: integer `7`, expected a string at line 1 column 174 (at `ref`)
            error: the body is not a documented `push` event: invalid type: null, expected a string at line 1 column 177 (at `ref`)
            error: the body is not a documented `push` event: invalid type: string "no", expected a boolean at line 1 column 186 (at `deleted`)
            error: the body is not a documented `push` event: invalid type: map, expected a string at line 1 column 145 (at `after`)
            error: the body is not JSON: number out of range at line 1 column 165
            error: the body is not a documented `push` event: invalid type: floating point `1.8446744073709552e+19`, expected u64 at line 1 column 180 (at `repository.id`)
            error: the body is not a documented `push` event: invalid type: floating point `1.5`, expected u64 at line 1 column 163 (at `repository.id`)
        "#]],
    );
    let long = format!(r#"{{"id":"{}","full_name":"a/b"}}"#, "x".repeat(100_000));
    check(
        &[told("push", push_with("repository", &long))],
        expect![[r#"
        error: the body is not a documented `push` event: invalid type: string "xxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxxxx", expected u64 at line 1 column 100162 (at `repository.id`)
    "#]],
    );
}

#[test]
fn refs_that_git_would_not_take() {
    check(
        &[
            told("push", push_with("ref", r#""main""#)),
            told("push", push_with("ref", r#""refs/heads/a b""#)),
            told("push", push_with("ref", r#""refs/heads/a\u0000b""#)),
            told("push", push_with("ref", r#""refs/heads/\u001b[31m""#)),
            told("push", push_with("ref", &format!(r#""refs/heads/{}""#, "x".repeat(1000)))),
            told("create", format!(r#"{{"ref":"a..b","ref_type":"tag",{REPOSITORY}}}"#)),
            told("delete", format!(r#"{{"ref":"","ref_type":"branch",{REPOSITORY}}}"#)),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: `main` is not a ref name: a full name begins with `refs/` (at `ref`)
            error: the body is not a documented `push` event: `refs/heads/a b` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `ref`)
            error: the body is not a documented `push` event: `refs/heads/a�b` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `ref`)
            error: the body is not a documented `push` event: `refs/heads/�[31m` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `ref`)
            error: the body is not a documented `push` event: `refs/heads/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` is not a ref name: it is longer than 1000 bytes (at `ref`)
            error: the body is not a documented `create` event: `refs/tags/a..b` is not a ref name: it may not end with `.` or contain `..` or `@{` (at `ref`)
            error: the body is not a documented `delete` event: `refs/heads/` is not a ref name: it has an empty part (at `ref`)
        "#]],
    );
}

#[test]
fn ids_that_are_none() {
    check(
        &[
            told("push", push_with("after", &format!(r#""{}""#, &B[1..]))),
            told("push", push_with("after", &format!(r#""{}""#, B.to_uppercase()))),
            told("push", push_with("after", r#""""#)),
            told("push", push_with("before", &format!(r#""{}""#, &ZERO[1..]))),
            told("push", push_with("before", &format!(r#""{ZERO}0""#))),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `after`)
            error: the body is not a documented `push` event: `BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `after`)
            error: the body is not a documented `push` event: `` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `after`)
            error: the body is not a documented `push` event: `000000000000000000000000000000000000000` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `before`)
            error: the body is not a documented `push` event: `00000000000000000000000000000000000000000` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `before`)
        "#]],
    );
}

#[test]
fn keys_that_come_twice() {
    let twice = |field: &str| push_body("refs/heads/x", A, B).replacen('{', &format!("{{{field},"), 1);
    check(
        &[
            told("push", twice(r#""ref":"refs/heads/y""#)),
            told("push", twice(&format!(r#""after":"{A}""#))),
            told("push", twice(r#""repository":{"full_name":"evil/shop"}"#)),
            told("push", push_with("repository", r#"{"id":1,"id":2,"full_name":"a/b"}"#)),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: duplicate field `ref` at line 1 column 27 (at `.`)
            error: the body is not a documented `push` event: duplicate field `after` at line 1 column 132 (at `.`)
            error: the body is not a documented `push` event: duplicate field `repository` at line 1 column 192 (at `.`)
            error: the body is not a documented `push` event: duplicate field `id` at line 1 column 166 (at `repository`)
        "#]],
    );
}

#[test]
fn repositories_that_are_none() {
    let named = |name: &str| push_with("repository", &format!(r#"{{"id":1,"full_name":"{name}"}}"#));
    for name in ["", "acme", "/", "acme/", "/shop", "a/b/c", "a b/c", r"a/b\u0000", r"a/b\n"] {
        let told = parsed("push", named(name));
        assert!(told.contains("expected `owner/name` (at `repository.full_name`)"), "{name}: {told}");
    }
    check(
        &[told("push", named("acme"))],
        expect![[r#"
        error: the body is not a documented `push` event: `acme` is not a repository; expected `owner/name` (at `repository.full_name`)
    "#]],
    );
    let longest = format!("a/{}", "b".repeat(198));
    assert!(parsed("push", named(&longest)).starts_with(&format!("push {longest}#1 refs/heads/x")));
    check(
        &[told("push", named(&format!("{longest}b")))],
        expect![[r#"
        error: the body is not a documented `push` event: `a/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` is not a repository; expected `owner/name` (at `repository.full_name`)
    "#]],
    );
}

#[test]
fn deep_nesting_is_refused_where_it_is_read_and_skipped_where_not() {
    let deep = |open: &str, close: &str| format!("{}null{}", open.repeat(500_000), close.repeat(500_000));
    check(
        &[
            told("push", deep("[", "]")),
            told("push", deep(r#"{"repository":"#, "}")),
            told("push", push_with("ref", &deep("[", "]"))),
            told("push", push_with("commits", &deep("[", "]"))),
            told("push", "[".repeat(500_000)),
            told("team", push_with("commits", &"[".repeat(500_000))),
        ],
        expect![[r#"
            error: the body is not a documented `push` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not a documented `push` event: missing field `full_name` at line 1 column 7500003 (at `repository`)
            error: the body is not a documented `push` event: invalid type: sequence, expected a string at line 1 column 173 (at `ref`)
            push acme/shop#42 refs/heads/x before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            error: the body is not a documented `push` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not JSON: expected value at line 1 column 500199
        "#]],
    );
}

#[test]
fn forms() {
    let body = |value: &str| format!("payload={value}");
    check(
        &[
            told("ping", body("{}")),
            told("ping", body("%7b+%7D")),
            told("ping", body("%7B%7")),
            told("ping", body("%7B%7g")),
            told("ping", body("%7B%+7")),
            told("ping", body("{}&payload={}")),
            told("ping", body("%ff")),
            told("ping", body("")),
            told("ping", "payload"),
            told("ping", "x=1&payload={}"),
            told("push", body(r#"{"ref":"%22,"}"#)),
        ],
        expect![[r#"
            ping
            ping
            error: the form is malformed: `%` without two hexadecimal digits after it
            error: the form is malformed: `%` without two hexadecimal digits after it
            error: the form is malformed: `%` without two hexadecimal digits after it
            error: the form is malformed: it has more than the one field `payload`
            error: the body is not UTF-8 text, from byte 0 on
            error: the body is not JSON: EOF while parsing a value at line 1 column 0
            error: the body is not JSON: expected value at line 1 column 1
            error: the body is not JSON: expected value at line 1 column 1
            error: the body is not JSON: EOF while parsing a string at line 1 column 12
        "#]],
    );
}

#[test]
fn refs_of_other_things_are_ignored() {
    let body = |kind: &str| format!(r#"{{"ref":null,"ref_type":"{kind}",{REPOSITORY}}}"#);
    check(
        &[
            told("create", body("repository")),
            told("delete", body("\\u001b[2J")),
            told("create", body("branch")),
        ],
        expect![[r#"
            ignored acme/shop#42 because `create` of a `repository` is neither of a branch nor of a tag
            ignored acme/shop#42 because `delete` of a `�[2J` is neither of a branch nor of a tag
            error: the body is not a documented `create` event: missing field `ref` (at `.`)
        "#]],
    );
}

#[test]
fn releases_without_a_tag() {
    let body =
        |action: &str, release: &str| format!(r#"{{"action":"{action}","release":{release},{REPOSITORY}}}"#);
    check(
        &[
            told("release", body("published", r#"{"tag_name":"a b"}"#)),
            told("release", body("edited", r#"{"tag_name":"a b"}"#)),
            told("release", body("published", "{}")),
            told("release", body("published", "null")),
        ],
        expect![[r#"
            error: the body is not a documented `release` event: `refs/tags/a b` is not a ref name: it has a space, a control character or one of `~^:?*[\` (at `release.tag_name`)
            ignored acme/shop#42 because a release that was `edited` builds nothing; one that is `published` does
            error: the body is not a documented `release` event: missing field `tag_name` at line 1 column 34 (at `release`)
            error: the body is not a documented `release` event: invalid type: null, expected an object at line 1 column 36 (at `release`)
        "#]],
    );
}

#[test]
fn an_uninteresting_event_may_be_of_any_shape() {
    for repository in
        ["null", "7", "[]", r#""text""#, "{}", r#"{"full_name":"none"}"#, r#"{"id":{},"full_name":"a/b"}"#]
    {
        let body = format!(r#"{{"repository":{repository}}}"#);
        assert_eq!(parsed("label", &body), "ignored because nothing is built from `label` events\n");
        assert_eq!(parsed("ping", &body), "ping\n");
    }
    check(
        &[told("e\u{1b}".repeat(200).as_str(), "{}")],
        expect![[r#"
        ignored because nothing is built from `e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�…e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�e�` events
    "#]],
    );
}

#[test]
fn without_a_name_the_fields_tell() {
    let told = |body: &str| shown(parse_unverified(Forge::Github, None, body.as_bytes()));
    check(
        &[
            told(&push_body("refs/heads/main", A, B)),
            told(&format!(r#"{{"zen":"","hook_id":1,{REPOSITORY}}}"#)),
            told(&format!(r#"{{"ref":"v1","ref_type":"tag","master_branch":"main",{REPOSITORY}}}"#)),
            told(&format!(r#"{{"ref":"v1","ref_type":"tag",{REPOSITORY}}}"#)),
            told(&format!(r#"{{"action":"published","release":{{"tag_name":"v1"}},{REPOSITORY}}}"#)),
        ],
        expect![[r#"
            push acme/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
            ping acme/shop#42
            ignored acme/shop#42 refs/tags/v1 because `create` only makes the remote be looked at; what it finds there is built
            delete acme/shop#42 refs/tags/v1
            release acme/shop#42 refs/tags/v1
        "#]],
    );
    // One field of two is not enough.
    for half in ["zen", "hook_id", "release", "action", "master_branch"] {
        let body = format!(r#"{{"{half}":"published"}}"#);
        let expected =
            format!("ignored because the body is of no event that moves a ref; its fields are: {half}\n");
        assert_eq!(shown(parse_unverified(Forge::Github, None, body.as_bytes())), expected);
    }
    check(
        &[
            told(r#"{"ref":"refs/heads/x","before":""}"#),
            told(r#"{"after":"","before":""}"#),
            told(&format!(r#"{{"action":"opened","pull_request":{{}},{REPOSITORY}}}"#)),
            told("[]"),
            told("{"),
        ],
        expect![[r#"
            ignored because the body is of no event that moves a ref; its fields are: before, ref
            ignored because the body is of no event that moves a ref; its fields are: after, before
            ignored acme/shop#42 because the body is of no event that moves a ref; its fields are: action, pull_request, repository
            error: the body is not a documented `webhook` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            error: the body is not JSON: EOF while parsing an object at line 1 column 1
        "#]],
    );
}
