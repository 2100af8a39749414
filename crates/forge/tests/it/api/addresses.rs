//! Where the API is, from the configuration alone.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{Answer, Api, ApiBase, ApiError, Call, HooksOf};

use super::{COMMIT, CONTENT_FORGES, FORGES, answer, api, check, with};

fn derived(forge: Forge, git: &str) -> String {
    match ApiBase::derived(forge, git, "acme/shop") {
        Ok(base) => format!("{forge} {git} {base}\n"),
        Err(error) => format!("{forge} {git} error: {error}\n"),
    }
}

#[test]
fn the_address_follows_from_where_git_fetches() {
    use Forge::{Bitbucket, BitbucketServer, Forgejo, Gitea, Github, Gitlab};
    check(
        [
            (Github, "https://github.com/acme/shop.git"),
            (Github, "https://GitHub.com/acme/shop"),
            (Github, "git@github.com:acme/shop.git"),
            (Github, "ssh://git@ssh.github.com:443/acme/shop.git"),
            (Github, "https://ghe.acme.org/acme/shop.git"),
            (Github, "https://acme.ghe.com/acme/shop.git"),
            (Github, "ssh://git@ghe.acme.org:2222/acme/shop.git"),
            (Gitlab, "https://gitlab.com/acme/shop.git"),
            (Gitlab, "git@altssh.gitlab.com:acme/shop.git"),
            (Gitlab, "https://git.acme.org:8443/git/lab/acme/shop.git"),
            (Gitea, "http://127.0.0.1:3000/acme/shop.git"),
            (Gitea, "https://[2001:db8::1]:3000/acme/shop.git/"),
            (Gitea, "ssh://git@[2001:db8::1]/acme/shop.git"),
            (Gitea, "https://acme.org/gitea/Acme/Shop.git"),
            (Forgejo, "git://git.acme.org:9418/acme/shop.git"),
            (Bitbucket, "git@bitbucket.org:acme/shop.git"),
            (Bitbucket, "ssh://git@altssh.bitbucket.org:443/acme/shop.git"),
            (Bitbucket, "https://git.acme.org/acme/shop.git"),
            (BitbucketServer, "https://git.acme.org/scm/acme/shop.git"),
            (BitbucketServer, "https://git.acme.org/bitbucket/scm/acme/shop.git"),
            (BitbucketServer, "ssh://git@git.acme.org:7999/acme/shop.git"),
            // The path is another repository's: nothing is made of it.
            (Gitea, "https://acme.org/gitea/acme/other.git"),
            (Gitea, "https://acme.org/ö"),
            (Gitea, "file:///srv/git/shop.git"),
            (Gitea, "/srv/git/shop.git"),
            (Gitea, "https:///acme/shop.git"),
            (Gitea, "https://a b/acme/shop.git"),
            (Gitea, "https://acme.org:0/acme/shop.git"),
            (Gitea, "https://acme.org:x/acme/shop.git"),
            (Gitea, "https://[::x]/acme/shop.git"),
            (Gitea, "ftp://acme.org/acme/shop.git"),
        ]
        .map(|(forge, git)| derived(forge, git)),
        &expect![[r#"
            github https://github.com/acme/shop.git https://api.github.com
            github https://GitHub.com/acme/shop https://api.github.com
            github git@github.com:acme/shop.git https://api.github.com
            github ssh://git@ssh.github.com:443/acme/shop.git https://api.github.com
            github https://ghe.acme.org/acme/shop.git https://ghe.acme.org/api/v3
            github https://acme.ghe.com/acme/shop.git https://api.acme.ghe.com
            github ssh://git@ghe.acme.org:2222/acme/shop.git https://ghe.acme.org/api/v3
            gitlab https://gitlab.com/acme/shop.git https://gitlab.com/api/v4
            gitlab git@altssh.gitlab.com:acme/shop.git https://gitlab.com/api/v4
            gitlab https://git.acme.org:8443/git/lab/acme/shop.git https://git.acme.org:8443/git/lab/api/v4
            gitea http://127.0.0.1:3000/acme/shop.git http://127.0.0.1:3000/api/v1
            gitea https://[2001:db8::1]:3000/acme/shop.git/ https://[2001:db8::1]:3000/api/v1
            gitea ssh://git@[2001:db8::1]/acme/shop.git https://[2001:db8::1]/api/v1
            gitea https://acme.org/gitea/Acme/Shop.git https://acme.org/gitea/api/v1
            forgejo git://git.acme.org:9418/acme/shop.git https://git.acme.org/api/v1
            bitbucket git@bitbucket.org:acme/shop.git https://api.bitbucket.org/2.0
            bitbucket ssh://git@altssh.bitbucket.org:443/acme/shop.git https://api.bitbucket.org/2.0
            bitbucket https://git.acme.org/acme/shop.git error: `git.acme.org` is not bitbucket.org; a server of your own is `forge = "bitbucket-server"`, or set `api`
            bitbucket-server https://git.acme.org/scm/acme/shop.git https://git.acme.org/rest
            bitbucket-server https://git.acme.org/bitbucket/scm/acme/shop.git https://git.acme.org/bitbucket/rest
            bitbucket-server ssh://git@git.acme.org:7999/acme/shop.git https://git.acme.org/rest
            gitea https://acme.org/gitea/acme/other.git https://acme.org/api/v1
            gitea https://acme.org/ö https://acme.org/api/v1
            gitea file:///srv/git/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea /srv/git/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea https:///acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea https://a b/acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea https://acme.org:0/acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea https://acme.org:x/acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea https://[::x]/acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
            gitea ftp://acme.org/acme/shop.git error: `git` names no host, so it does not tell where the forge's API is; set `api`, such as api = "https://git.acme.org/api/v1"
        "#]],
    );
}

#[test]
fn forges_without_an_api_say_so() {
    let known = || FORGES.iter().chain(&CONTENT_FORGES);
    let without = Forge::ALL.into_iter().filter(|forge| known().all(|(known, _)| known != forge));
    check(
        without.map(|forge| derived(forge, "https://acme.org/acme/shop.git")),
        &expect![[r#"
            codecommit https://acme.org/acme/shop.git error: forge `codecommit` has no API that is spoken here; enter webhook and keys by hand, and leave `token` to git
            generic https://acme.org/acme/shop.git error: forge `generic` has no API that is spoken here; enter webhook and keys by hand, and leave `token` to git
            bare https://acme.org/acme/shop.git error: forge `bare` has no API that is spoken here; enter webhook and keys by hand, and leave `token` to git
        "#]],
    );
    let base = ApiBase::given("https://acme.org/api").expect("an address");
    let api = Api::new(Forge::Codecommit, base, None, "acme/shop".parse().expect("a name"));
    assert_eq!(api.err(), Some(ApiError::NoApi { forge: Forge::Codecommit }));
}

#[test]
fn the_address_of_azure_devops_is_what_stands_before_the_project() {
    let derived = |git: &str, repository: &str| {
        let base = ApiBase::derived(Forge::AzureDevops, git, repository);
        base.map(|base| base.to_string()).map_err(|error| error.to_string())
    };
    for (git, repository, expected) in [
        ("https://dev.azure.com/org/acme/_git/shop", "acme/shop", "https://dev.azure.com/org"),
        ("https://org@dev.azure.com/org/Acme/_git/Shop/", "acme/shop", "https://dev.azure.com/org"),
        ("https://org.visualstudio.com/acme/_git/shop", "acme/shop", "https://org.visualstudio.com"),
        ("https://dev.azure.com/org/_git/shop", "shop/shop", "https://dev.azure.com/org"),
        (
            "https://tfs.acme.org:8443/tfs/My%20Own/Our%20Shop/_git/Web%20Site",
            "Our Shop/Web Site",
            "https://tfs.acme.org:8443/tfs/My%20Own",
        ),
    ] {
        assert_eq!(derived(git, repository).as_deref(), Ok(expected), "{git}");
    }
    for (git, repository) in [
        ("https://dev.azure.com/org/_git/shop", "acme/shop"),
        ("https://dev.azure.com/org/acme/_git/shop", "other/shop"),
        ("https://dev.azure.com/org/acme/_git/shop", "acme/other"),
        ("https://dev.azure.com/org/acme/shop", "acme/shop"),
        ("git@ssh.dev.azure.com:v3/org/acme/shop", "acme/shop"),
    ] {
        let told = derived(git, repository).expect_err("another repository's");
        assert!(told.contains("does not end in `PROJECT/_git/NAME`"), "{git}: {told}");
    }
}

#[test]
fn an_address_may_be_given() {
    let given = |text: &str| match ApiBase::given(text) {
        Ok(base) => format!("{base}\n"),
        Err(error) => format!("error: {error}\n"),
    };
    check(
        [
            "https://ghe.acme.org/api/v3",
            "https://ghe.acme.org:8443/x/api/v3//",
            "http://127.0.0.1:3000/api/v1",
            "https://[::1]/rest",
            "ghe.acme.org/api",
            "https:///api",
            "https://",
            "https://-a/",
            "https://acme.org:99999/",
            "https://acme.org/a b",
            "https://acme.org/?x",
            "https://acme.org/#x",
            "https://acme.org\\@evil.org/",
            "https://ada:canary@acme.org/",
            "ssh://acme.org/",
        ]
        .map(given),
        &expect![[r#"
            https://ghe.acme.org/api/v3
            https://ghe.acme.org:8443/x/api/v3
            http://127.0.0.1:3000/api/v1
            https://[::1]/rest
            error: `api` is no https:// address; expected an address such as https://ghe.acme.org/api/v3, found `ghe.acme.org/api`
            error: `api` names no host; expected an address such as https://ghe.acme.org/api/v3, found `https:///api`
            error: `api` names no host; expected an address such as https://ghe.acme.org/api/v3, found `https://`
            error: `api` names no host; expected an address such as https://ghe.acme.org/api/v3, found `https://-a/`
            error: `api` names no host; expected an address such as https://ghe.acme.org/api/v3, found `https://acme.org:99999/`
            error: `api` has characters that are not taken; expected an address such as https://ghe.acme.org/api/v3, found `https://acme.org/a b`
            error: `api` has characters that are not taken; expected an address such as https://ghe.acme.org/api/v3, found `https://acme.org/?x`
            error: `api` has characters that are not taken; expected an address such as https://ghe.acme.org/api/v3, found `https://acme.org/#x`
            error: `api` holds a user or a password; leave them out: `token` and `username` are sent
            error: `api` holds a user or a password; leave them out: `token` and `username` are sent
            error: `api` is no https:// address; expected an address such as https://ghe.acme.org/api/v3, found `ssh://acme.org/`
        "#]],
    );
    let long = |length: usize| format!("https://acme.org/{}", "a".repeat(length - 17));
    assert!(ApiBase::given(&long(1_000)).is_ok());
    assert!(ApiBase::given(&long(1_001)).is_err());
}

#[test]
fn names_are_segments_of_the_path() {
    let base = || ApiBase::given("https://git.acme.org/api").expect("an address");
    let asked = |forge: Forge, repository: &str| {
        let api = Api::new(forge, base(), None, repository.parse().expect("a name"))?;
        let mut url = String::new();
        let _: Result<_, ApiError> = api.repository(&mut |call: Call| {
            url.clone_from(&call.url);
            Ok(answer(200, "{}"))
        });
        Ok::<String, ApiError>(url)
    };
    let line = |(forge, repository): (Forge, &str)| match asked(forge, repository) {
        Ok(url) => format!("{url}\n"),
        Err(error) => format!("error: {error}\n"),
    };
    check(
        [
            (Forge::Github, "acme/größe.js"),
            (Forge::Gitlab, "acme/tools/shop"),
            (Forge::Gitea, "acme/shop"),
            (Forge::Gitea, "acme/tools/shop"),
            (Forge::BitbucketServer, "ACME/shop"),
        ]
        .map(line),
        &expect![[r#"
            https://git.acme.org/api/repos/acme/gr%C3%B6%C3%9Fe.js
            https://git.acme.org/api/projects/acme%2Ftools%2Fshop
            https://git.acme.org/api/repos/acme/shop
            error: `acme/tools/shop` has more than two parts, which no repository at gitea has; expected owner/name
            https://git.acme.org/api/api/1.0/projects/ACME/repos/shop
        "#]],
    );
}

/// Everything that a forge could try to lead us elsewhere with.
const EVIL: &str = "https://evil.example/x";

#[test]
fn mistake_14_no_answer_decides_a_host() {
    for (forge, _) in FORGES {
        let api = api(forge);
        let host = api.base().as_str().split('/').nth(2).expect("a host").to_owned();
        let evil = format!(
            r#"{{"id":"../../{EVIL}","uuid":"{EVIL}","guid":"g","url":"https://ours/hook","config":{{"url":"https://ours/hook"}},
               "name":"{EVIL}?a#b","key":"ssh-ed25519 AAAA","can_push":true,"read_only":false,"delivered_at":"2026-01-01T00:00:00Z",
               "archive_url":"{EVIL}","clone_url":"{EVIL}","displayId":"x","next":"{EVIL}","latestCommit":"{COMMIT}","commit":{{"sha":"{COMMIT}"}}}}"#
        );
        let next = format!("<{EVIL}?page=2&cursor=../{EVIL}>; rel=\"next\"");
        let page = match forge {
            Forge::Bitbucket | Forge::BitbucketServer => {
                format!(r#"{{"values":[{evil}],"next":"{EVIL}","isLastPage":false,"nextPageStart":100}}"#)
            }
            _ => format!("[{evil}]"),
        };
        let mut asked = 0;
        let mut carry = |call: Call| -> Result<Answer, ApiError> {
            asked += 1;
            assert_eq!(call.url.split('/').nth(2), Some(host.as_str()), "{}", call.url);
            assert!(!call.url.contains("/evil") && !call.url.contains("../"), "{}", call.url);
            let body = if call.url.contains("page=") || call.url.contains("start=") { &page } else { &evil };
            let answer = answer(if asked > 40 { 404 } else { 200 }, body);
            Ok(with(answer, &[("Link", &next), ("x-next-page", "2"), ("Location", EVIL)]))
        };
        let secret = gristmill_forge::Secret::new("s").expect("a secret");
        let hook = gristmill_forge::api::NewHook { url: "https://ours/hook", secret: &secret };
        let key = gristmill_forge::api::NewKey { title: "t", key: "ssh-ed25519 AAAA" };
        let _ = api.repository(&mut carry);
        let _ = api.ensure_hook(&hook, &mut carry);
        let _ = api.ensure_key(&key, &mut carry);
        let _ = api.refs(&mut carry);
        let _ =
            api.missed_deliveries(HooksOf::Repository, "1", gristmill_model::Timestamp(0), None, &mut carry);
        assert!(asked >= 4, "{forge}: {asked}");
    }
}

#[test]
fn mistake_14_archives_are_at_the_configured_forge() {
    let commit = COMMIT.parse().expect("a commit");
    let line = |api: &Api| {
        let call = api.archive(commit, 500);
        assert_eq!(call.answer_bytes_max, 500);
        let names: Vec<&str> = call.headers.iter().map(|header| header.name).collect();
        format!("{} {} {}\n", call.method.as_str(), call.url, names.join(" "))
    };
    check(
        FORGES.into_iter().chain(CONTENT_FORGES).map(|(forge, _)| line(&api(forge))),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/tarball/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa X-GitHub-Api-Version User-Agent Authorization
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/repository/archive.tar.gz?sha=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa User-Agent PRIVATE-TOKEN
            GET https://git.acme.org/api/v1/repos/acme/shop/archive/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz User-Agent Authorization
            GET https://git.acme.org/api/v1/repos/acme/shop/archive/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz User-Agent Authorization
            GET https://bitbucket.org/acme/shop/get/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz User-Agent Authorization
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/archive?at=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&format=tar.gz&prefix=source/ User-Agent Authorization
            GET https://git.acme.org/api/v1/repos/acme/shop/archive/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.tar.gz User-Agent Authorization
            GET https://dev.azure.com/org/acme/_apis/git/repositories/shop/items?scopePath=/&recursionLevel=full&versionDescriptor.version=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&versionDescriptor.versionType=commit&$format=zip&zipForUnix=true&api-version=7.1 User-Agent Authorization
        "#]],
    );
    let base = ApiBase::given("https://bb.invalid/2.0").expect("an address");
    let given = Api::new(Forge::Bitbucket, base, None, "acme/shop".parse().expect("a name")).expect("an API");
    assert!(given.archive(commit, 1).url.starts_with("https://bb.invalid/acme/shop/get/"));
}

#[test]
fn a_page_is_no_archive_and_says_who_may_have_one() {
    let page = || with(answer(200, "<!DOCTYPE html>"), &[("content-type", "text/html; charset=utf-8")]);
    let refusal = |forge, answer| {
        api(forge)
            .archive_refusal(answer)
            .map_or_else(|error| format!("{error}\n"), |()| "taken\n".to_owned())
    };
    check(
        [
            refusal(Forge::Bitbucket, page()),
            refusal(Forge::Bitbucket, answer(403, "")),
            refusal(Forge::AzureDevops, answer(203, "")),
            refusal(Forge::AzureDevops, answer(302, "")),
            refusal(Forge::Github, page()),
            refusal(Forge::Github, answer(203, "")),
            refusal(Forge::Github, with(answer(200, ""), &[("content-type", "application/x-gzip")])),
        ],
        &expect![[r#"
            bitbucket does not know the token (it shows its page to sign in); it has ended, was revoked, or is of another server. Needed to download its archives: an API token with `read:repository:bitbucket`, and as `username` the e-mail address of its account; access tokens (`repository`) are refused for archives in some places
            bitbucket does not allow the token to download its archives (without a reason that can be read). Needed: an API token with `read:repository:bitbucket`, and as `username` the e-mail address of its account; access tokens (`repository`) are refused for archives in some places
            azure-devops does not know the token (it shows its page to sign in); it has ended, was revoked, or is of another server. Needed to download its archives: a personal access token with `Code (Read)`
            azure-devops does not know the token (it shows its page to sign in); it has ended, was revoked, or is of another server. Needed to download its archives: a personal access token with `Code (Read)`
            github does not know the token (it shows its page to sign in); it has ended, was revoked, or is of another server. Needed to download its archives: a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`
            taken
            taken
        "#]],
    );
}

#[test]
fn where_content_alone_is_spoken_nothing_else_is_asked() {
    use gristmill_forge::api::Operation;
    for (forge, _) in CONTENT_FORGES {
        let (api, mut carry) = (api(forge), |_: Call| -> Result<Answer, ApiError> { panic!("asked") });
        let refused = Some(ApiError::NoApi { forge });
        assert_eq!(api.repository(&mut carry).err(), refused);
        assert_eq!(api.hooks(&mut carry).err(), refused);
        assert_eq!(api.keys(&mut carry).err(), refused);
        assert_eq!(api.delete_key("1", &mut carry).err(), refused);
        let all = [Operation::Repository, Operation::Hooks, Operation::Keys, Operation::Statuses];
        assert!(all.into_iter().all(|operation| !api.can(operation)));
        assert!(api.can(Operation::Content) && api.can(Operation::Archive));
    }
}
