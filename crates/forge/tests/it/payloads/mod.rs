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

#[test]
fn rule_7_names_and_ids_of_repositories_are_checked() {
    let told = |project: &str, id: &str| {
        let body = azure(&update("refs/heads/x", A, B)).1;
        parsed_as(Forge::AzureDevops, None, body.replace("Acme Tools", project).replace("278d5cd2", id))
    };
    let longest = "p".repeat(200 - "/Web Shop".len());
    for project in ["p", "Two Words", "é", &longest] {
        assert!(told(project, "1").starts_with(&format!("push {project}/Web Shop#1 ")), "{project}");
    }
    for project in ["", " ", "a/b", "a\\tb", "a\\u00a0b", &format!("{longest}p")] {
        assert!(told(project, "1").contains("is not a repository; expected `project/name`"), "{project}");
    }
    for id in ["1", "{6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c}", &"1".repeat(100)] {
        assert!(told("p", id).starts_with(&format!("push p/Web Shop#{id} ")), "{id}");
    }
    for id in ["", " ", "a b", "é", &"1".repeat(101)] {
        assert!(told("p", id).contains("is not the id of a repository"), "{id}");
    }
    // Nested groups are GitLab's alone.
    let nested = |name: &str| {
        parsed_as(
            Forge::Gitlab,
            None,
            gitlab(r#""object_kind":"push""#, &moved("refs/heads/x", A, B))
                .1
                .replace("acme/tools/shop", name),
        )
    };
    for name in ["a/b", "a/b/c/d/e", &format!("a/{}", "b".repeat(998))] {
        assert!(nested(name).starts_with(&format!("push {name}#42 ")), "{name}");
    }
    for name in ["a", "", "a//b", "a/b ", &format!("a/{}", "b".repeat(999))] {
        assert!(nested(name).contains("expected `group/name`"), "{name}");
    }
}
