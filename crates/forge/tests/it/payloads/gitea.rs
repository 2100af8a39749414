//! What Gitea, Forgejo and Gogs tell.

use expect_test::expect;
use gristmill_forge::Forge;

use super::{check, moved};
use crate::{A, B, ZERO, parsed_as};

fn gitea(fields: &str) -> String {
    format!(r#"{{{fields},"repository":{{"id":42,"full_name":"acme/shop"}}}}"#)
}

#[test]
fn rule_5_gitea_and_its_family_tell_what_github_tells() {
    let bodies = [
        ("push", gitea(moved("refs/heads/main", A, B).trim_end_matches(','))),
        ("push", gitea(moved("refs/heads/main", A, ZERO).trim_end_matches(','))),
        ("push", gitea(moved("refs/tags/v1", ZERO, B).trim_end_matches(','))),
        ("create", gitea(r#""ref":"feature/x","ref_type":"branch","sha":"1""#)),
        ("create", gitea(r#""ref":"v1","ref_type":"tag","default_branch":"main""#)),
        ("create", gitea(r#""ref":"refs/heads/feature/x","ref_type":"branch""#)),
        ("create", gitea(r#""ref":"refs/tags/v1","ref_type":"branch""#)),
        ("delete", gitea(r#""ref":"refs/tags/v1","ref_type":"tag","pusher_type":"user""#)),
        ("delete", gitea(r#""ref":"v1","ref_type":"tag","pusher_type":"user""#)),
        ("release", gitea(r#""action":"published","release":{"tag_name":"v1"}"#)),
        ("release", gitea(r#""action":"updated","release":{"tag_name":"v1"}"#)),
        ("package", gitea(r#""action":"created""#)),
    ];
    check(
        Forge::Gitea,
        &bodies,
        expect![[r#"
        push acme/shop#42 refs/heads/main before=aaaaaaaaaaaa after=bbbbbbbbbbbb
        delete acme/shop#42 refs/heads/main before=aaaaaaaaaaaa
        tag acme/shop#42 refs/tags/v1 after=bbbbbbbbbbbb
        ignored acme/shop#42 refs/heads/feature/x because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/tags/v1 because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/heads/feature/x because `create` only makes the remote be looked at; what it finds there is built
        ignored acme/shop#42 refs/heads/refs/tags/v1 because `create` only makes the remote be looked at; what it finds there is built
        delete acme/shop#42 refs/tags/v1
        delete acme/shop#42 refs/tags/v1
        release acme/shop#42 refs/tags/v1
        ignored acme/shop#42 refs/tags/v1 because a release that was `updated` builds nothing; one that is `published` does
        ignored acme/shop#42 because nothing is built from `package` events
    "#]],
    );
    for (event, body) in &bodies {
        let told = parsed_as(Forge::Gitea, Some(event), body);
        for forge in [Forge::Forgejo, Forge::Gogs] {
            assert_eq!(parsed_as(forge, Some(event), body), told);
        }
        if *event != "package" {
            assert_eq!(parsed_as(Forge::Gogs, None, body), told, "{body}");
            assert_eq!(parsed_as(Forge::Generic, None, body), told, "{body}");
        }
    }
    check(
        Forge::Forgejo,
        &[("", gitea(r#""action":"created""#)), ("", "[]".to_owned()), ("", gitea(r#""release":1"#))],
        expect![[r#"
            ignored acme/shop#42 because the body is of no event that moves a ref; its fields are: action, repository
            error: the body is not a documented `webhook` event: invalid type: sequence, expected an object at line 1 column 0 (at `.`)
            ignored acme/shop#42 because the body is of no event that moves a ref; its fields are: release, repository
        "#]],
    );
}
