//! What a `post-receive` hook is given, and the body that is made of it.

use expect_test::expect;
use gristmill_forge::{Forge, PostReceiveError, parse_unverified, post_receive_body};

use crate::{A, B, ZERO, parsed_as};

fn made(stdin: impl AsRef<[u8]>) -> Result<String, PostReceiveError> {
    post_receive_body("acme/shop", stdin.as_ref())
}

#[test]
fn mistake_06_every_line_is_told() {
    let body = made(format!(
        "{A} {B} refs/heads/main\n{ZERO} {A} refs/tags/v1\n{B} {ZERO} refs/heads/old\n{A} {B} refs/notes/commits\n"
    ))
    .unwrap();
    expect![[r#"{"repository":"acme/shop","lines":["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb refs/heads/main","0000000000000000000000000000000000000000 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa refs/tags/v1","bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 0000000000000000000000000000000000000000 refs/heads/old","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb refs/notes/commits"]}"#]].assert_eq(&body);
    expect![[r#"
        push acme/shop#? refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        tag acme/shop#? refs/tags/v1 after=aaaaaaaaaaaa
        delete acme/shop#? refs/heads/old before=bbbbbbbbbbbb
        ignored acme/shop#? refs/notes/commits before=aaaaaaaaaaaa after=bbbbbbbbbbbb because `refs/notes/commits` is neither a branch nor a tag
    "#]].assert_eq(&parsed_as(Forge::Bare, Some("post-receive"), &body));
    assert_eq!(parsed_as(Forge::Bare, None, &body), parsed_as(Forge::Generic, None, &body));
}

#[test]
fn ids_of_both_lengths_and_a_last_line_without_its_end() {
    let (long, zero) = ("c".repeat(64), "0".repeat(64));
    let body = made(format!("{zero} {long} refs/heads/x")).unwrap();
    expect![[r#"
        push acme/shop#? refs/heads/x after=cccccccccccc
    "#]]
    .assert_eq(&parsed_as(Forge::Bare, None, body));
}

#[test]
fn standard_input_that_git_would_not_give() {
    let told = |stdin: &[u8]| made(stdin).unwrap_err().to_string();
    let line = |text: String| told(format!("{A} {B} refs/heads/main\n{text}\n").as_bytes());
    expect![[r#"
        standard input has no line; expected `old new ref` for each ref that moved, as git gives them to `post-receive`
        line 2 of standard input is malformed: `` has less than three parts; expected `old new ref`
        line 2 of standard input is malformed: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` has less than three parts; expected `old new ref`
        line 2 of standard input is malformed: `` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero; expected `old new ref`
        line 2 of standard input is malformed: `refs/heads/x y` is not a ref name: it has a space, a control character or one of `~^:?*[\`; expected `old new ref`
        line 2 of standard input is malformed: `main` is not a ref name: a full name begins with `refs/`; expected `old new ref`
        line 2 of standard input is malformed: `refs/heads/x�` is not a ref name: it has a space, a control character or one of `~^:?*[\`; expected `old new ref`
        line 2 of standard input is malformed: `bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero; expected `old new ref`
        line 2 of standard input is malformed: `AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero; expected `old new ref`
        line 2 of standard input is malformed: both of its ids are zeros; expected `old new ref`
        line 2 of standard input is malformed: its ids are of two lengths; expected `old new ref`
        line 1 of standard input is malformed: it is not UTF-8; expected `old new ref`"#]].assert_eq(
        &[
            told(b""),
            line(String::new()),
            line(format!("{A} {B}")),
            line(format!("{A}  {B} refs/heads/x")),
            line(format!("{A} {B} refs/heads/x y")),
            line(format!("{A} {B} main")),
            line(format!("{A} {B} refs/heads/x\r")),
            line(format!("{A} {} refs/heads/x", &B[1..])),
            line(format!("{} {B} refs/heads/x", A.to_uppercase())),
            line(format!("{ZERO} {ZERO} refs/heads/x")),
            line(format!("{ZERO} {} refs/heads/x", "c".repeat(64))),
            told(b"\xff\n"),
        ]
        .join("\n"),
    );
    assert_eq!(made("").unwrap_err(), PostReceiveError::Empty);
}

#[test]
fn names_of_repositories() {
    let stdin = format!("{A} {B} refs/heads/main\n");
    for good in ["shop", "acme/shop", "a/b/c", &"x".repeat(1000)] {
        assert!(post_receive_body(good, stdin.as_bytes()).is_ok(), "{good}");
    }
    for bad in ["", "/", "/shop", "acme/", "a b", "a\n", &"x".repeat(1001)] {
        assert!(post_receive_body(bad, stdin.as_bytes()).is_err(), "{bad}");
    }
    expect!["`a�` is not a repository's name; expected parts between slashes, such as `acme/shop`"]
        .assert_eq(&post_receive_body("a\n", stdin.as_bytes()).unwrap_err().to_string());
}

#[test]
fn there_are_only_so_many_changes() {
    let lines = |count: usize| format!("{A} {B} refs/heads/main\n").repeat(count);
    let body = made(lines(5000)).unwrap();
    assert_eq!(parse_unverified(Forge::Bare, None, body.as_bytes()).unwrap().len(), 5000);
    assert_eq!(made(lines(5001)).unwrap_err(), PostReceiveError::TooMany);
    expect!["standard input has more than 5000 lines; the rest is found by `gristmill sync`"]
        .assert_eq(&PostReceiveError::TooMany.to_string());
    // Somebody else's body may have more.
    let more = body.replacen("\"lines\":[", &format!("\"lines\":[\"{A} {B} refs/heads/main\","), 1);
    let events = parse_unverified(Forge::Bare, None, more.as_bytes()).unwrap();
    assert_eq!(events.len(), 5001);
    let expected = "1 more changes are not told; what they left at the remote is found there";
    assert_eq!(events[5000].reason.as_deref(), Some(expected));
}

#[test]
fn bodies_that_webhook_send_does_not_make() {
    let told = |body: &str| parsed_as(Forge::Bare, None, body);
    expect![[r#"
        error: the body is not a documented `post-receive` event: missing field `repository` at line 1 column 2 (at `.`)
        ignored shop#? because the delivery tells of no change
        error: the body is not a documented `post-receive` event: `a b` is not a repository; expected parts between slashes (at `repository`)
        error: the body is not a documented `post-receive` event: `x` has less than three parts (at `lines[0]`)
        error: the body is not a documented `post-receive` event: `x` is not a ref name: a full name begins with `refs/` (at `lines[1]`)
    "#]].assert_eq(
        &[
            told("{}"),
            told(r#"{"repository":"shop","lines":[]}"#),
            told(r#"{"repository":"a b","lines":["x"]}"#),
            told(r#"{"repository":"shop","lines":["x"]}"#),
            told(&format!(r#"{{"repository":"shop","lines":["{A} {B} refs/heads/x","{A} {B} x"]}}"#)),
        ]
        .concat(),
    );
}
