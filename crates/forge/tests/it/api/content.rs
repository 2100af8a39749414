//! Refs and trees, for hosts where git itself is not reached.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::Tree;
use gristmill_model::CommitId;

use super::{COMMIT, CONTENT_FORGES, FORGES, answer, api, check, told, with};

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
        Forge::Gogs => [
            list(&[format!(r#"{{"name":"feature/x","commit":{{"id":"{COMMIT}","message":"m"}}}}"#)]),
            list(&[format!(r#"{{"name":"v1","commit":{{"id":"{B}","message":"m"}}}}"#)]),
        ],
        Forge::AzureDevops => [
            format!(r#"{{"count":1,"value":[{{"name":"refs/heads/feature/x","objectId":"{COMMIT}"}}]}}"#),
            format!(
                r#"{{"count":2,"value":[{{"name":"refs/tags/v1","objectId":"{COMMIT}","peeledObjectId":"{B}"}},{{"name":"refs/tags/a..b","objectId":"{B}"}}]}}"#
            ),
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
        FORGES.into_iter().chain(CONTENT_FORGES).map(|(forge, _)| {
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
            GET https://git.acme.org/api/v1/repos/acme/shop/branches
            GET https://git.acme.org/api/v1/repos/acme/shop/tags
              = [RefTip { git_ref: refs/heads/feature/x, commit: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }, RefTip { git_ref: refs/tags/v1, commit: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb }]
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/refs?filter=heads%2F&peelTags=true&$top=1000&api-version=7.1
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/refs?filter=tags%2F&peelTags=true&$top=1000&api-version=7.1
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
    let date = r#""committer":{"name":"n","date":"2026-01-01T12:00:00Z"}"#;
    let github = answer(200, &format!(r#"{{"sha":"{COMMIT}","tree":{{"sha":"{B}","url":"u"}},{date}}}"#));
    let untimed = answer(200, &format!(r#"{{"tree":{{"sha":"{B}"}}}}"#));
    let azure = answer(200, &format!(r#"{{"commitId":"{COMMIT}","treeId":"{B}",{date}}}"#));
    let no_date = answer(200, &format!(r#"{{"commitId":"{COMMIT}","treeId":"{B}"}}"#));
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
        told(Forge::Github, [untimed], |api, mut carry| api.tree(commit, &mut carry)),
        told(Forge::AzureDevops, [azure], |api, mut carry| api.tree(commit, &mut carry)),
        told(Forge::AzureDevops, [no_date], |api, mut carry| api.tree(commit, &mut carry)),
    ];
    assert!(told[1].contains(ROOT) && told[2].contains(ROOT), "{told:?}");
    check(
        told,
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/git/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
              = Told { tree: Id(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb), committed: Some(1767268800000 ms) }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/tree?ref=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&per_page=100&page=1
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/tree?ref=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&per_page=100&page=2
              = Told { tree: Id(bfdbd6a5fc9dd3e0854192a7d0bea99e98cdd155), committed: None }
            GET https://git.acme.org/api/v1/repos/acme/shop/git/trees/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?page=1&per_page=1000
            GET https://git.acme.org/api/v1/repos/acme/shop/git/trees/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?page=2&per_page=1000
              = Told { tree: Id(bfdbd6a5fc9dd3e0854192a7d0bea99e98cdd155), committed: None }

              = Told { tree: NotTold, committed: None }

              = Told { tree: NotTold, committed: None }
            GET https://api.github.com/repos/acme/shop/git/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
              = Told { tree: Id(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb), committed: None }
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?api-version=7.1
              = Told { tree: Id(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb), committed: Some(1767268800000 ms) }
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/commits/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?api-version=7.1
              = error: the answer of azure-devops is not as documented: it is no moment (at `committer.date`); is the address that of its API?
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
        assert_eq!(tree.expect("a tree").tree, Tree::Id(empty.parse().expect("a tree")));
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

#[test]
fn the_modes_that_gogs_does_not_tell_are_taken_from_elsewhere() {
    let entry = |(mode, path, sha): (&str, &str, &str)| {
        let kind = match mode {
            "160000" => "commit",
            "040000" => "tree",
            _ => "blob",
        };
        let told = if kind == "blob" { "120000" } else { mode };
        format!(r#"{{"mode":"{told}","path":"{path}","type":"{kind}","sha":"{sha}","size":0,"url":"u"}}"#)
    };
    let body = format!(r#"{{"sha":"{COMMIT}","tree":[{}]}}"#, ENTRIES.map(entry).join(","));
    let mut asked = Vec::new();
    let told = api(Forge::Gogs).tree(COMMIT.parse().expect("a commit"), &mut |call| {
        asked.push(call.url);
        Ok::<_, gristmill_forge::api::ApiError>(answer(200, &body))
    });
    assert_eq!(asked, [format!("https://git.acme.org/api/v1/repos/acme/shop/git/trees/{COMMIT}")]);
    let Tree::Root(root) = told.expect("a tree").tree else { panic!("not all is told") };
    let link = |name: &str| (name == "z").then_some("120000");
    assert_eq!(root.id(link).to_string(), ROOT, "x.c is a plain file");
    assert_ne!(root.id(|_| None).to_string(), ROOT);
    assert_ne!(root.id(|_| Some("120000")).to_string(), ROOT);
    let executable = |name: &str| Some(if name == "z" { "120000" } else { "100755" });
    assert_ne!(root.id(executable).to_string(), ROOT);
}

#[test]
fn the_refs_of_azure_devops_go_on_where_a_header_says() {
    let page = |name: &str| {
        answer(200, &format!(r#"{{"value":[{{"name":"refs/heads/{name}","objectId":"{COMMIT}"}}]}}"#))
    };
    let more = |name: &str| with(page(name), &[("x-ms-continuationtoken", "a/b c")]);
    let empty = || with(answer(200, r#"{"value":[]}"#), &[("x-ms-continuationtoken", "again")]);
    check(
        [told(Forge::AzureDevops, [more("a"), page("b"), empty()], |api, mut carry| {
            api.refs(&mut carry).map(|refs| refs.len())
        })],
        &expect![[r#"
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/refs?filter=heads%2F&peelTags=true&$top=1000&api-version=7.1
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/refs?filter=heads%2F&peelTags=true&$top=1000&api-version=7.1&continuationToken=a%2Fb%20c
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/refs?filter=tags%2F&peelTags=true&$top=1000&api-version=7.1
              = 2
        "#]],
    );
    let mut asked = 0;
    let endless = api(Forge::AzureDevops).refs(&mut |_| {
        asked += 1;
        Ok::<_, gristmill_forge::api::ApiError>(more("a"))
    });
    assert!(endless.expect_err("it does not end").to_string().contains("more than 200 pages"));
    assert_eq!(asked, 200);
}
