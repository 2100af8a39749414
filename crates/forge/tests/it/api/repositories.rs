//! Which headers are sent, and what is read of a repository.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{Api, ApiBase, ApiError, Call, Credential, Header};

use super::{COMMIT, FORGES, TOKEN, answer, api, check, git_of, told};

/// What every forge answers, less what is not needed.
fn body(forge: Forge) -> &'static str {
    match forge {
        Forge::Github | Forge::Gitea | Forge::Forgejo => {
            r#"{"id":42,"full_name":"acme/shop","default_branch":"main","private":true,
                "ssh_url":"git@github.com:acme/shop.git","clone_url":"https://github.com/acme/shop.git","owner":{}}"#
        }
        Forge::Gitlab => {
            r#"{"id":42,"path_with_namespace":"acme/shop","default_branch":null,"visibility":"internal",
                "ssh_url_to_repo":"git@gitlab.acme.org:acme/shop.git","http_url_to_repo":"https://gitlab.acme.org/acme/shop.git"}"#
        }
        Forge::Bitbucket => {
            r#"{"uuid":"{9970a9b6}","full_name":"acme/shop","mainbranch":{"type":"branch","name":"main"},"is_private":false,
                "links":{"clone":[{"name":"https","href":"https://bitbucket.org/acme/shop.git"},{"name":"ssh","href":"git@bitbucket.org:acme/shop.git"}]}}"#
        }
        _ => {
            r#"{"id":42,"slug":"shop","project":{"key":"acme"},"public":false,
                "links":{"clone":[{"name":"http","href":"https://bitbucket.acme.org/scm/acme/shop.git"},{"name":"ssh","href":"ssh://git@bitbucket.acme.org:7999/acme/shop.git"}]}}"#
        }
    }
}

#[test]
fn a_repository_is_asked_for_and_read() {
    check(
        FORGES.map(|(forge, _)| {
            told(forge, [answer(200, body(forge))], |api, mut carry| api.repository(&mut carry))
        }),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop
              = Repository { id: "42", full_name: "acme/shop", default_branch: Some("main"), private: true, ssh_url: Some("git@github.com:acme/shop.git"), https_url: Some("https://github.com/acme/shop.git") }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop
              = Repository { id: "42", full_name: "acme/shop", default_branch: None, private: true, ssh_url: Some("git@gitlab.acme.org:acme/shop.git"), https_url: Some("https://gitlab.acme.org/acme/shop.git") }
            GET https://git.acme.org/api/v1/repos/acme/shop
              = Repository { id: "42", full_name: "acme/shop", default_branch: Some("main"), private: true, ssh_url: Some("git@github.com:acme/shop.git"), https_url: Some("https://github.com/acme/shop.git") }
            GET https://git.acme.org/api/v1/repos/acme/shop
              = Repository { id: "42", full_name: "acme/shop", default_branch: Some("main"), private: true, ssh_url: Some("git@github.com:acme/shop.git"), https_url: Some("https://github.com/acme/shop.git") }
            GET https://api.bitbucket.org/2.0/repositories/acme/shop
              = Repository { id: "{9970a9b6}", full_name: "acme/shop", default_branch: Some("main"), private: false, ssh_url: Some("git@bitbucket.org:acme/shop.git"), https_url: Some("https://bitbucket.org/acme/shop.git") }
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop
              = Repository { id: "42", full_name: "acme/shop", default_branch: None, private: true, ssh_url: Some("ssh://git@bitbucket.acme.org:7999/acme/shop.git"), https_url: Some("https://bitbucket.acme.org/scm/acme/shop.git") }
        "#]],
    );
}

#[test]
fn less_is_told_of_an_empty_repository_and_to_strangers() {
    let github = r#"{"id":1,"full_name":"a/b","default_branch":"","private":false}"#;
    let gitlab = r#"{"id":1,"path_with_namespace":"a/b"}"#;
    let public = r#"{"id":1,"path_with_namespace":"a/b","visibility":"public"}"#;
    let cloud = r#"{"uuid":"{1}","full_name":"a/b","mainbranch":null,"is_private":true}"#;
    let server = r#"{"id":1,"slug":"b","project":{"key":"A"},"public":true}"#;
    let of = [
        (Forge::Github, github),
        (Forge::Gitlab, gitlab),
        (Forge::Gitlab, public),
        (Forge::Bitbucket, cloud),
        (Forge::BitbucketServer, server),
    ];
    check(
        of.map(|(forge, body)| told(forge, [answer(200, body)], |api, mut carry| api.repository(&mut carry))),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop
              = Repository { id: "1", full_name: "a/b", default_branch: None, private: false, ssh_url: None, https_url: None }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop
              = Repository { id: "1", full_name: "a/b", default_branch: None, private: false, ssh_url: None, https_url: None }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop
              = Repository { id: "1", full_name: "a/b", default_branch: None, private: false, ssh_url: None, https_url: None }
            GET https://api.bitbucket.org/2.0/repositories/acme/shop
              = Repository { id: "{1}", full_name: "a/b", default_branch: None, private: true, ssh_url: None, https_url: None }
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop
              = Repository { id: "1", full_name: "A/b", default_branch: None, private: false, ssh_url: None, https_url: None }
        "#]],
    );
}

/// The headers of a call, with the token hidden.
fn headers(api: &Api) -> String {
    let mut lines = String::new();
    let _: Result<_, ApiError> = api.repository(&mut |call: Call| {
        for header in &call.headers {
            assert_eq!(header.value.contains(TOKEN) || header.value.starts_with("Basic"), header.secret);
            assert_eq!(format!("{header:?}").contains('…'), header.secret);
            lines += &format!("{}: {}\n", header.name, header.value.replace(TOKEN, "…"));
        }
        Ok(answer(200, "{}"))
    });
    lines
}

#[test]
fn headers_are_as_the_forge_documents_them() {
    let of = FORGES.map(|(forge, _)| format!("{forge}\n{}", headers(&api(forge))));
    check(
        of,
        &expect![[r#"
        github
        Accept: application/vnd.github+json
        X-GitHub-Api-Version: 2022-11-28
        User-Agent: gristmill
        Authorization: Bearer …
        gitlab
        Accept: application/json
        User-Agent: gristmill
        PRIVATE-TOKEN: …
        gitea
        Accept: application/json
        User-Agent: gristmill
        Authorization: token …
        forgejo
        Accept: application/json
        User-Agent: gristmill
        Authorization: token …
        bitbucket
        Accept: application/json
        User-Agent: gristmill
        Authorization: Bearer …
        bitbucket-server
        Accept: application/json
        User-Agent: gristmill
        Authorization: Bearer …
    "#]],
    );
}

#[test]
fn a_user_beside_the_token_decides_how_it_is_sent() {
    let with_user = |forge: Forge, user: &str| {
        let base = ApiBase::derived(forge, git_of(forge), "acme/shop").expect("a host");
        let credential = Credential::new(TOKEN, Some(user)).expect("a token");
        let api =
            Api::new(forge, base, Some(credential), "acme/shop".parse().expect("a name")).expect("an API");
        let found = headers(&api).lines().last().expect("a header").to_owned();
        format!("{forge} {user} {found}\n")
    };
    check(
        [
            with_user(Forge::Github, "x-access-token"),
            with_user(Forge::Github, "oauth2"),
            with_user(Forge::Gitlab, "oauth2"),
            with_user(Forge::Gitlab, "ada"),
            with_user(Forge::Gitea, "ada"),
            with_user(Forge::Bitbucket, "x-token-auth"),
            with_user(Forge::Bitbucket, "ada@acme.org"),
            with_user(Forge::BitbucketServer, "ada"),
        ],
        &expect![[r#"
            github x-access-token Authorization: Bearer …
            github oauth2 Authorization: Bearer …
            gitlab oauth2 Authorization: Bearer …
            gitlab ada PRIVATE-TOKEN: …
            gitea ada Authorization: token …
            bitbucket x-token-auth Authorization: Bearer …
            bitbucket ada@acme.org Authorization: Basic YWRhQGFjbWUub3JnOnQwa2VuLWNhbmFyeQ==
            bitbucket-server ada Authorization: Basic YWRhOnQwa2VuLWNhbmFyeQ==
        "#]],
    );
}

#[test]
fn tokens_that_fit_in_no_header_are_refused() {
    for (token, user, fits) in [
        ("t", None, true),
        ("", None, false),
        ("t\n", None, false),
        ("t t", None, false),
        ("tö", None, false),
        ("t", Some("ada"), true),
        ("t", Some(""), false),
        ("t", Some("a:b"), false),
        ("t", Some("a\r"), false),
    ] {
        assert_eq!(Credential::new(token, user).is_ok(), fits, "{token:?} {user:?}");
    }
    assert!(Credential::new(&"t".repeat(8_192), None).is_ok());
    assert!(Credential::new(&"t".repeat(8_193), None).is_err());
}

#[test]
fn without_a_token_none_is_sent() {
    let base = ApiBase::derived(Forge::Github, git_of(Forge::Github), "acme/shop").expect("a host");
    let api = Api::new(Forge::Github, base, None, "acme/shop".parse().expect("a name")).expect("an API");
    assert!(!headers(&api).contains("Authorization"));
}

#[test]
fn mistake_08_a_password_that_a_forge_repeats_is_not_told_on() {
    const AZURE: &str = "https://dev.azure.com/org/acme/_git/shop";
    for (forge, git, user) in [
        (Forge::Bitbucket, git_of(Forge::Bitbucket), Some("ada")),
        (Forge::AzureDevops, AZURE, None),
        (Forge::AzureDevops, AZURE, Some("ada")),
        // Git's server wants some user; none is sent here.
        (Forge::AzureDevops, AZURE, Some("x-access-token")),
        (Forge::AzureDevops, AZURE, Some("x-token-auth")),
    ] {
        let base = ApiBase::derived(forge, git, "acme/shop").expect("a host");
        let credential = Credential::new(TOKEN, user).expect("a token");
        let api =
            Api::new(forge, base, Some(credential), "acme/shop".parse().expect("a name")).expect("an API");
        let call = api.archive(COMMIT.parse().expect("a commit"), 500);
        let basic = |header: &&Header| header.value.starts_with("Basic ");
        let sent = call.headers.iter().find(basic).expect("a header").value.replace("Basic ", "");
        let message =
            format!(r#"{{"message":"{sent} and {TOKEN}","error":{{"message":"{sent} and {TOKEN}"}}}}"#);
        let told = api.archive_refusal(answer(400, &message)).expect_err("a refusal").to_string();
        assert!(told.contains("… and …") && !told.contains(&sent), "{forge} {user:?}: {told}");
    }
}

#[test]
fn mistake_08_no_token_is_shown_by_debug() {
    for (forge, _) in FORGES {
        assert!(!format!("{:?}", api(forge)).contains("canary"));
    }
}
