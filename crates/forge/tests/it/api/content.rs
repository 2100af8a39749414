//! Refs and trees, for hosts where git itself is not reached.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::Tree;
use gristmill_model::CommitId;

use super::{COMMIT, FORGES, answer, api, check, told, with};

const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A branch, an annotated tag, a name that git would not take, and a tag of no commit.
fn pages(forge: Forge) -> [String; 2] {
    let list = |entries: &[String]| match forge {
        Forge::Bitbucket => format!(r#"{{"values":[{}]}}"#, entries.join(",")),
        Forge::BitbucketServer => format!(r#"{{"isLastPage":true,"values":[{}]}}"#, entries.join(",")),
        _ => format!("[{}]", entries.join(",")),
    };
    match forge {
        Forge::Github => [
            list(&[format!(
                r#"{{"name":"feature/x","commit":{{"sha":"{COMMIT}","url":"u"}},"protected":false}}"#
            )]),
            list(&[format!(r#"{{"name":"v1","commit":{{"sha":"{B}","url":"u"}},"zipball_url":"u"}}"#)]),
        ],
        Forge::Gitlab => [
            list(&[format!(r#"{{"name":"feature/x","commit":{{"id":"{COMMIT}"}}}}"#)]),
            list(&[
                format!(r#"{{"name":"v1","target":"{COMMIT}","commit":{{"id":"{B}"}}}}"#),
                format!(r#"{{"name":"of-a-blob","target":"{B}","commit":null}}"#),
            ]),
        ],
        Forge::Gitea | Forge::Forgejo => [
            list(&[format!(r#"{{"name":"feature/x","commit":{{"id":"{COMMIT}"}}}}"#)]),
            list(&[format!(r#"{{"name":"v1","id":"{COMMIT}","commit":{{"sha":"{B}"}}}}"#)]),
        ],
        Forge::Bitbucket => [
            list(&[format!(r#"{{"name":"feature/x","target":{{"hash":"{COMMIT}"}}}}"#)]),
            list(&[format!(r#"{{"name":"v1","target":{{"hash":"{B}"}}}}"#), r#"{"name":"a..b"}"#.to_owned()]),
        ],
        _ => [
            list(&[format!(
                r#"{{"id":"refs/heads/feature/x","displayId":"feature/x","type":"BRANCH","latestCommit":"{COMMIT}"}}"#
            )]),
            list(&[format!(
                r#"{{"id":"refs/tags/v1","displayId":"v1","type":"TAG","latestCommit":"{B}","hash":"{COMMIT}"}}"#
            )]),
        ],
    }
}

#[test]
fn branches_and_tags_are_listed_with_their_commits() {
    let total = |body: &String| with(answer(200, body), &[("X-Total-Count", "1")]);
    check(
        FORGES.map(|(forge, _)| {
            told(forge, pages(forge).iter().map(total), |api, mut carry| api.refs(&mut carry))
        }),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/branches?per_page=100&page=1
            GET https://api.github.com/repos/acme/shop/tags?per_page=100&page=1
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/branches?per_page=100&page=1
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/tags?per_page=100&page=1
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://git.acme.org/api/v1/repos/acme/shop/branches?limit=50&page=1
            GET https://git.acme.org/api/v1/repos/acme/shop/tags?limit=50&page=1
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://git.acme.org/api/v1/repos/acme/shop/branches?limit=50&page=1
            GET https://git.acme.org/api/v1/repos/acme/shop/tags?limit=50&page=1
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/refs/branches?pagelen=100&page=1
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/refs/tags?pagelen=100&page=1
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/branches?limit=100&start=0
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/tags?limit=100&start=0
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
        "#]],
    );
}

#[test]
fn an_id_that_is_none_is_an_error() {
    let refs = |body: &str| {
        told(Forge::Github, [answer(200, body), answer(200, "[]")], |api, mut carry| {
            api.refs(&mut carry).map(|refs| refs.len())
        })
    };
    let zero = "0".repeat(40);
    check(
        [
            refs(&format!(r#"[{{"name":"x","commit":{{"sha":"{zero}"}}}}]"#)),
            refs(r#"[{"name":"x","commit":{"sha":"main"}}]"#),
            refs(r#"[{"commit":{"sha":"main"}}]"#),
        ],
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/branches?per_page=100&page=1
            GET https://api.github.com/repos/acme/shop/tags?per_page=100&page=1
              = 0
            GET https://api.github.com/repos/acme/shop/branches?per_page=100&page=1
            GET https://api.github.com/repos/acme/shop/tags?per_page=100&page=1
              = error: the answer of github is not as documented: `main` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero (at `commit`); is the address that of its API?
            GET https://api.github.com/repos/acme/shop/branches?per_page=100&page=1
            GET https://api.github.com/repos/acme/shop/tags?per_page=100&page=1
              = error: the answer of github is not as documented: the ref has none (at `name`); is the address that of its API?
        "#]],
    );
}

/// Made by git: `x/y` ("2\n"), `x.c` ("1\n"), `z` a link to `x.c`, and `sub` a submodule at forty `a`s.
const ENTRIES: [(&str, &str, &str); 4] = [
    ("160000", "sub", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("040000", "x", "0080b07f13d93022c30b537a34004851f9afd06e"),
    ("100644", "x.c", "d00491fd7e5bb6fa28c517a0bb32b8b506539d4d"),
    ("120000", "z", "bf618eca5f2975c30d606ea2e480b87a92a4b8ee"),
];
const ROOT: &str = "bfdbd6a5fc9dd3e0854192a7d0bea99e98cdd155";

#[test]
fn a_tree_is_told_or_reckoned_from_its_entries() {
    let gitlab = |(mode, name, id): (&str, &str, &str)| {
        format!(r#"{{"mode":"{mode}","name":"{name}","path":"{name}","type":"?","id":"{id}"}}"#)
    };
    let gitea = |(mode, path, sha): (&str, &str, &str)| {
        format!(r#"{{"mode":"{mode}","path":"{path}","type":"?","sha":"{sha}","size":0,"url":"u"}}"#)
    };
    let commit: CommitId = COMMIT.parse().expect("a commit");
    let page = |entries: &[(&str, &str, &str)], truncated: bool| {
        let entries = entries.iter().copied().map(gitea).collect::<Vec<_>>().join(",");
        answer(200, &format!(r#"{{"sha":"{COMMIT}","truncated":{truncated},"tree":[{entries}]}}"#))
    };
    let github = answer(200, &format!(r#"{{"sha":"{COMMIT}","tree":{{"sha":"{B}","url":"u"}}}}"#));
    let of_gitlab = |entries: &[(&str, &str, &str)]| {
        answer(200, &format!("[{}]", entries.iter().copied().map(gitlab).collect::<Vec<_>>().join(",")))
    };
    let told = [
        told(Forge::Github, [github], |api, mut carry| api.tree(commit, &mut carry)),
        told(
            Forge::Gitlab,
            [with(of_gitlab(&ENTRIES[..2]), &[("x-next-page", "2")]), of_gitlab(&ENTRIES[2..])],
            |api, mut carry| api.tree(commit, &mut carry),
        ),
        told(Forge::Gitea, [page(&ENTRIES[..3], true), page(&ENTRIES[3..], false)], |api, mut carry| {
            api.tree(commit, &mut carry)
        }),
        told(Forge::Bitbucket, [], |api, mut carry| api.tree(commit, &mut carry)),
        told(Forge::BitbucketServer, [], |api, mut carry| api.tree(commit, &mut carry)),
    ];
    assert!(told[1].contains(ROOT) && told[2].contains(ROOT), "{told:?}");
    check(
        told,
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/git/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
          = Id(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb)
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/tree?ref=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&per_page=100&page=1
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/tree?ref=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&per_page=100&page=2
          = Id(bfdbd6a5fc9dd3e0854192a7d0bea99e98cdd155)
        GET https://git.acme.org/api/v1/repos/acme/shop/git/trees/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?page=1&per_page=1000
        GET https://git.acme.org/api/v1/repos/acme/shop/git/trees/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?page=2&per_page=1000
          = Id(bfdbd6a5fc9dd3e0854192a7d0bea99e98cdd155)

          = NotTold

          = NotTold
    "#]],
    );
}

#[test]
fn trees_of_longer_hashes_are_reckoned_by_them() {
    // What `git hash-object -t tree` says of nothing, with either hash.
    for (commit, empty) in [
        ("a".repeat(40), "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
        ("a".repeat(64), "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"),
    ] {
        let tree = api(Forge::Gitea).tree(commit.parse().expect("a commit"), &mut |_| {
            Ok::<_, gristmill_forge::api::ApiError>(answer(200, r#"{"tree":null}"#))
        });
        assert_eq!(tree.expect("a tree"), Tree::Id(empty.parse().expect("a tree")));
    }
}

#[test]
fn entries_that_git_would_not_have_are_an_error() {
    let commit: CommitId = COMMIT.parse().expect("a commit");
    let tree = |mode: &str, name: &str, id: &str| {
        let body = format!(r#"[{{"mode":"{mode}","name":"{name}","id":"{id}"}}]"#);
        api(Forge::Gitlab)
            .tree(commit, &mut |_| Ok::<_, gristmill_forge::api::ApiError>(answer(200, &body)))
            .is_ok()
    };
    assert!(tree("100644", "a", B));
    for (mode, name, id) in [
        ("", "a", B),
        ("644", "a", B),
        ("1006440", "a", B),
        ("100648", "a", B),
        ("100644", "", B),
        ("100644", "a/b", B),
        ("100644", "a\\u0000b", B),
        ("100644", "a", &"b".repeat(64)),
        ("100644", "a", "b"),
    ] {
        assert!(!tree(mode, name, id), "{mode} {name} {id}");
    }
}
