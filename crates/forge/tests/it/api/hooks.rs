//! Webhooks: listed, made, updated, taken away.

use expect_test::expect;
use gristmill_forge::api::{Answer, Api, ApiError, Call, Ensured, NewHook};
use gristmill_forge::{Forge, Secret};

use super::{FORGES, SECRET, answer, check, told, with};

const OURS: &str = "https://mill.acme.org/hooks/acme/shop";

fn ensure(
    api: &Api,
    mut carry: &mut dyn FnMut(Call) -> Result<Answer, ApiError>,
) -> Result<Ensured, ApiError> {
    let secret = Secret::new(SECRET).expect("a secret");
    api.ensure_hook(&NewHook { url: OURS, secret: &secret }, &mut carry)
}

/// A hook of this number and address, as the forge lists it.
fn hook(forge: Forge, id: u32, url: &str) -> String {
    match forge {
        Forge::Github | Forge::Gitea | Forge::Forgejo => {
            format!(
                r#"{{"id":{id},"active":true,"url":"https://api/hooks/{id}","config":{{"url":"{url}","secret":"********"}}}}"#
            )
        }
        Forge::Gitlab => {
            format!(r#"{{"id":{id},"url":"{url}","alert_status":"executable","push_events":true}}"#)
        }
        Forge::Bitbucket => format!(r#"{{"uuid":"{{{id}}}","url":"{url}","active":true}}"#),
        _ => format!(r#"{{"id":{id},"url":"{url}","active":true,"configuration":{{}}}}"#),
    }
}

fn listed(forge: Forge, hooks: &[String]) -> Answer {
    let hooks = hooks.join(",");
    match forge {
        Forge::Bitbucket => answer(200, &format!(r#"{{"pagelen":100,"values":[{hooks}]}}"#)),
        Forge::BitbucketServer => answer(200, &format!(r#"{{"isLastPage":true,"values":[{hooks}]}}"#)),
        Forge::Gitea | Forge::Forgejo => with(
            answer(200, &format!("[{hooks}]")),
            &[("X-Total-Count", &hooks.matches("config").count().to_string())],
        ),
        _ => answer(200, &format!("[{hooks}]")),
    }
}

#[test]
fn ours_is_made_where_there_is_none() {
    let others = |forge| listed(forge, &[hook(forge, 1, "https://mill.acme.org/hooks/acme/shop2")]);
    check(
        FORGES.map(|(forge, _)| told(forge, [others(forge), answer(201, &hook(forge, 7, OURS))], ensure)),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
            POST https://api.github.com/repos/acme/shop/hooks {"active":true,"config":{"content_type":"json","insecure_ssl":"0","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"name":"web"}
              = Ensured { id: "7", made: true }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=1
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks {"enable_ssl_verification":true,"push_events":true,"releases_events":true,"tag_push_events":true,"token":"…","url":"https://mill.acme.org/hooks/acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
            POST https://git.acme.org/api/v1/repos/acme/shop/hooks {"active":true,"config":{"content_type":"json","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"type":"gitea"}
              = Ensured { id: "7", made: true }
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
            POST https://git.acme.org/api/v1/repos/acme/shop/hooks {"active":true,"config":{"content_type":"json","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"type":"forgejo"}
              = Ensured { id: "7", made: true }
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/hooks?pagelen=100&page=1
            POST https://api.bitbucket.org/2.0/repositories/acme/shop/hooks {"active":true,"description":"Gristmill","events":["repo:push"],"secret":"…","url":"https://mill.acme.org/hooks/acme/shop"}
              = Ensured { id: "{7}", made: true }
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks?limit=100&start=0
            POST https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks {"active":true,"configuration":{"secret":"…"},"events":["repo:refs_changed"],"name":"Gristmill","sslVerificationRequired":true,"url":"https://mill.acme.org/hooks/acme/shop"}
              = Ensured { id: "7", made: true }
        "#]],
    );
}

#[test]
fn ours_is_updated_and_never_doubled() {
    let three = |forge| {
        let hooks = [(1, "https://other.org/"), (7, OURS), (8, OURS)];
        listed(forge, &hooks.map(|(id, url)| hook(forge, id, url)))
    };
    let answers = |forge: Forge| {
        let mut answers = vec![three(forge), answer(200, &hook(forge, 9, OURS)), answer(204, "")];
        // There the old one makes place for a new one.
        if matches!(forge, Forge::Gitea | Forge::Forgejo) {
            answers.push(answer(204, ""));
        }
        answers
    };
    check(
        FORGES.map(|(forge, _)| told(forge, answers(forge), ensure)),
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
        PATCH https://api.github.com/repos/acme/shop/hooks/7 {"active":true,"config":{"content_type":"json","insecure_ssl":"0","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"name":"web"}
        DELETE https://api.github.com/repos/acme/shop/hooks/8
          = Ensured { id: "7", made: false }
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=1
        PUT https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7 {"enable_ssl_verification":true,"push_events":true,"releases_events":true,"tag_push_events":true,"token":"…","url":"https://mill.acme.org/hooks/acme/shop"}
        DELETE https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/8
          = Ensured { id: "7", made: false }
        GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
        POST https://git.acme.org/api/v1/repos/acme/shop/hooks {"active":true,"config":{"content_type":"json","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"type":"gitea"}
        DELETE https://git.acme.org/api/v1/repos/acme/shop/hooks/7
        DELETE https://git.acme.org/api/v1/repos/acme/shop/hooks/8
          = Ensured { id: "9", made: false }
        GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
        POST https://git.acme.org/api/v1/repos/acme/shop/hooks {"active":true,"config":{"content_type":"json","secret":"…","url":"https://mill.acme.org/hooks/acme/shop"},"events":["push","create","delete","release"],"type":"forgejo"}
        DELETE https://git.acme.org/api/v1/repos/acme/shop/hooks/7
        DELETE https://git.acme.org/api/v1/repos/acme/shop/hooks/8
          = Ensured { id: "9", made: false }
        GET https://api.bitbucket.org/2.0/repositories/acme/shop/hooks?pagelen=100&page=1
        PUT https://api.bitbucket.org/2.0/repositories/acme/shop/hooks/%7B7%7D {"active":true,"description":"Gristmill","events":["repo:push"],"secret":"…","url":"https://mill.acme.org/hooks/acme/shop"}
        DELETE https://api.bitbucket.org/2.0/repositories/acme/shop/hooks/%7B8%7D
          = Ensured { id: "{7}", made: false }
        GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks?limit=100&start=0
        PUT https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks/7 {"active":true,"configuration":{"secret":"…"},"events":["repo:refs_changed"],"name":"Gristmill","sslVerificationRequired":true,"url":"https://mill.acme.org/hooks/acme/shop"}
        DELETE https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks/8
          = Ensured { id: "7", made: false }
    "#]],
    );
}

/// What is around a page's hooks, and its headers.
type Page<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// All hooks of a list of these pages.
fn paged(forge: Forge, pages: &[Page<'_>]) -> String {
    let page = |(id, (around, headers)): (u32, &Page<'_>)| {
        with(answer(200, &around.replace("HOOK", &hook(forge, id, "https://other.org/"))), headers)
    };
    told(forge, (1..).zip(pages).map(page), |api, mut carry| api.hooks(&mut carry))
}

#[test]
fn a_list_is_read_to_its_end() {
    let next = "<https://elsewhere.org/>; rel=\"prev\", <https://elsewhere.org/?page=9>; rel=\"next\"";
    let first = "<x>; rel=\"first\"";
    let (cloud, server) = (
        r#"{"values":[HOOK],"next":"https://elsewhere.org/"}"#,
        r#"{"values":[HOOK],"isLastPage":false,"nextPageStart":25}"#,
    );
    let pages = [
        paged(Forge::Github, &[("[HOOK]", &[("link", next)]), ("[HOOK]", &[("Link", first)])]),
        paged(
            Forge::Gitlab,
            &[("[HOOK]", &[("X-Next-Page", "2")]), ("[HOOK]", &[("X-Next-Page", ""), ("Link", next)])],
        ),
        paged(Forge::Gitlab, &[("[HOOK]", &[("Link", next)]), ("[HOOK]", &[])]),
        paged(Forge::Gitea, &[("[HOOK]", &[("X-Total-Count", "2")]), ("[HOOK]", &[("X-Total-Count", "2")])]),
        // Without any header it ends with a page that is empty.
        paged(Forge::Gitea, &[("[HOOK]", &[]), ("[]", &[])]),
        paged(Forge::Bitbucket, &[(cloud, &[]), (r#"{"values":[]}"#, &[])]),
        // A page that leads back to itself is the last.
        paged(Forge::BitbucketServer, &[(server, &[]), (server, &[])]),
    ];
    check(
        pages,
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
            GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=2
              = [Hook { id: "1", url: "https://other.org/", active: true }, Hook { id: "2", url: "https://other.org/", active: true }]
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=1
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=2
              = [Hook { id: "1", url: "https://other.org/", active: true }, Hook { id: "2", url: "https://other.org/", active: true }]
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=1
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=2
              = [Hook { id: "1", url: "https://other.org/", active: true }, Hook { id: "2", url: "https://other.org/", active: true }]
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=2
              = [Hook { id: "1", url: "https://other.org/", active: true }, Hook { id: "2", url: "https://other.org/", active: true }]
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=1
            GET https://git.acme.org/api/v1/repos/acme/shop/hooks?limit=50&page=2
              = [Hook { id: "1", url: "https://other.org/", active: true }]
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/hooks?pagelen=100&page=1
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/hooks?pagelen=100&page=2
              = [Hook { id: "{1}", url: "https://other.org/", active: true }]
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks?limit=100&start=0
            GET https://bitbucket.acme.org/rest/api/1.0/projects/acme/repos/shop/webhooks?limit=100&start=25
              = [Hook { id: "1", url: "https://other.org/", active: true }, Hook { id: "2", url: "https://other.org/", active: true }]
        "#]],
    );
}

#[test]
fn a_list_without_end_is_an_error() {
    let mut pages = 0;
    let result = super::api(Forge::Github).hooks(&mut |_| -> Result<Answer, ApiError> {
        pages += 1;
        Ok(with(
            answer(200, &format!("[{}]", hook(Forge::Github, 1, OURS))),
            &[("Link", "<x>; rel=\"next\"")],
        ))
    });
    assert_eq!(result, Err(ApiError::TooMany { forge: Forge::Github, pages: 200 }));
    assert_eq!(pages, 200);
}

#[test]
fn one_that_is_taken_away_may_be_gone_already() {
    let gone = |forge| {
        told(forge, [answer(404, "{}"), listed(forge, &[])], |api, mut carry| {
            api.delete_hook("7", &mut carry)
        })
    };
    let hidden = told(
        Forge::Github,
        [answer(404, "{}"), listed(Forge::Github, &[hook(Forge::Github, 7, OURS)])],
        |api, mut carry| api.delete_hook("7", &mut carry),
    );
    let unseen = told(Forge::Github, [answer(404, "{}"), answer(404, "{}")], |api, mut carry| {
        api.delete_hook("7", &mut carry)
    });
    let there =
        told(Forge::Bitbucket, [answer(204, "")], |api, mut carry| api.delete_hook("{a/b}", &mut carry));
    check(
        [gone(Forge::Github), gone(Forge::Bitbucket), hidden, unseen, there],
        &expect![[r#"
        DELETE https://api.github.com/repos/acme/shop/hooks/7
        GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
          = false
        DELETE https://api.bitbucket.org/2.0/repositories/acme/shop/hooks/7
        GET https://api.bitbucket.org/2.0/repositories/acme/shop/hooks?pagelen=100&page=1
          = false
        DELETE https://api.github.com/repos/acme/shop/hooks/7
        GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
          = error: github finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to manage its webhooks: a fine-grained token with `Webhooks: read and write`, or a classic one with `admin:repo_hook`
        DELETE https://api.github.com/repos/acme/shop/hooks/7
        GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
          = error: github finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to manage its webhooks: a fine-grained token with `Webhooks: read and write`, or a classic one with `admin:repo_hook`
        DELETE https://api.bitbucket.org/2.0/repositories/acme/shop/hooks/%7Ba%2Fb%7D
          = true
    "#]],
    );
}

#[test]
fn hooks_that_are_off_are_told_as_such() {
    let gitlab = r#"[{"id":1,"url":"u","alert_status":"disabled"},{"id":2,"url":"u"}]"#;
    let github = r#"[{"id":1,"active":false,"config":{"url":"u"}},{"id":2,"active":true,"config":{}}]"#;
    check(
        [(Forge::Gitlab, gitlab), (Forge::Github, github)]
            .map(|(forge, body)| told(forge, [answer(200, body)], |api, mut carry| api.hooks(&mut carry))),
        &expect![[r#"
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks?per_page=100&page=1
              = [Hook { id: "1", url: "u", active: false }, Hook { id: "2", url: "u", active: true }]
            GET https://api.github.com/repos/acme/shop/hooks?per_page=100&page=1
              = [Hook { id: "1", url: "u", active: false }, Hook { id: "2", url: "", active: true }]
        "#]],
    );
}

#[test]
fn secrets_that_the_forge_cannot_take_are_refused_before_anything_is_sent() {
    for (secret, forge) in
        [(&b"whsec_MDEyMzQ1Njc4OWFiY2RlZg=="[..], Forge::Gitlab), (&b"\xff\xfe"[..], Forge::Github)]
    {
        let secret = Secret::new(secret).expect("a secret");
        let mut carry = |_: Call| -> Result<Answer, ApiError> { panic!("something was sent") };
        let error =
            super::api(forge).ensure_hook(&NewHook { url: OURS, secret: &secret }, &mut carry).unwrap_err();
        assert!(matches!(error, ApiError::Unsupported { .. } | ApiError::Input { .. }), "{error}");
    }
}
