//! Payloads of our own, for what the recorded ones lack: every forge's ways to tell of a change.

mod bitbucket;
mod clouds;
mod gitea;
mod gitlab;

use expect_test::{Expect, expect};
use gristmill_forge::Forge;

use self::bitbucket::{bitbucket, change, server, server_change, side};
use self::clouds::{azure, update};
use self::gitlab::gitlab;
use crate::{A, B, parsed_as};

#[track_caller]
fn check(forge: Forge, bodies: &[(&str, String)], expected: Expect) {
    let told: String = bodies
        .iter()
        .map(|(event, body)| {
            let told = parsed_as(forge, Some(event).filter(|event| !event.is_empty()).copied(), body);
            assert!(!told.trim_end().replace('\n', "").contains(char::is_control), "{told:?}");
            assert!(told.lines().all(|line| line.chars().count() <= 400), "{told}");
            told
        })
        .collect();
    expected.assert_eq(&told);
}

fn moved(git_ref: &str, before: &str, after: &str) -> String {
    format!(r#""ref":"{git_ref}","before":"{before}","after":"{after}","#)
}

#[test]
fn a_generic_sender_may_send_any_forges_body() {
    for (forge, body) in [
        (Forge::Github, crate::push_body("refs/heads/main", A, B)),
        (Forge::Gitlab, gitlab(r#""object_kind":"push""#, &moved("refs/heads/main", A, B)).1),
        (Forge::Gitlab, gitlab(r#""event_name":"tag_push""#, &moved("refs/tags/v1", A, B)).1),
        (Forge::Bitbucket, bitbucket(&change("null", &side("tag", "v1", B))).1),
        (Forge::BitbucketServer, server("repo:refs_changed", &server_change("refs/heads/main", A, B))),
        (Forge::AzureDevops, azure(&update("refs/heads/main", A, B)).1),
        (Forge::Bare, format!(r#"{{"repository":"shop","lines":["{A} {B} refs/heads/main"]}}"#)),
    ] {
        let told = parsed_as(forge, None, &body);
        assert!(told.contains(" refs/"), "{told}");
        assert_eq!(parsed_as(Forge::Generic, None, &body), told);
        assert_eq!(parsed_as(Forge::Generic, Some("unnamed"), &body), told);
    }
    check(
        Forge::Generic,
        &[("", "{}".to_owned()), ("", "no".to_owned())],
        expect![[r#"
        ignored because the body is of no event that moves a ref; its fields are: 
        error: the body is not JSON: expected ident at line 1 column 2
    "#]],
    );
}
