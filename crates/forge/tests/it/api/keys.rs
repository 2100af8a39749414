//! Deploy keys: listed, added, taken away.

use expect_test::expect;
use gristmill_forge::Forge;
use gristmill_forge::api::{Answer, Api, ApiError, Call, Ensured, NewKey};

use super::{FORGES, answer, check, told};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill";

fn ensure(
    api: &Api,
    mut carry: &mut dyn FnMut(Call) -> Result<Answer, ApiError>,
) -> Result<Ensured, ApiError> {
    api.ensure_key(&NewKey { title: "gristmill acme/shop", key: KEY }, &mut carry)
}

fn key(forge: Forge, id: u32, key: &str, writes: bool) -> String {
    match forge {
        Forge::Github | Forge::Gitea | Forge::Forgejo => {
            format!(r#"{{"id":{id},"title":"t","key":"{key}","read_only":{}}}"#, !writes)
        }
        Forge::Gitlab => format!(r#"{{"id":{id},"title":"t","key":"{key}","can_push":{writes}}}"#),
        Forge::Bitbucket => format!(r#"{{"id":{id},"label":"t","key":"{key}","type":"deploy_key"}}"#),
        _ => {
            let permission = if writes { "REPO_WRITE" } else { "REPO_READ" };
            format!(r#"{{"key":{{"id":{id},"text":"{key}","label":"t"}},"permission":"{permission}"}}"#)
        }
    }
}

fn listed(forge: Forge, keys: &[String]) -> Answer {
    let keys = keys.join(",");
    match forge {
        Forge::Bitbucket | Forge::BitbucketServer => {
            answer(200, &format!(r#"{{"isLastPage":true,"values":[{keys}]}}"#))
        }
        Forge::Gitea | Forge::Forgejo => {
            super::with(answer(200, &format!("[{keys}]")), &[("Link", "<x>; rel=\"first\"")])
        }
        _ => answer(200, &format!("[{keys}]")),
    }
}

#[test]
fn ours_is_added_where_there_is_none() {
    let other = |forge| listed(forge, &[key(forge, 1, "ssh-rsa AAAAC3NzaC1lZDI1NTE5 other", false)]);
    check(
        FORGES.map(|(forge, _)| told(forge, [other(forge), answer(201, &key(forge, 7, KEY, false))], ensure)),
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/keys?per_page=100&page=1
            POST https://api.github.com/repos/acme/shop/keys {"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","read_only":true,"title":"gristmill acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys?per_page=100&page=1
            POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys {"can_push":false,"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","title":"gristmill acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://git.acme.org/api/v1/repos/acme/shop/keys?limit=50&page=1
            POST https://git.acme.org/api/v1/repos/acme/shop/keys {"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","read_only":true,"title":"gristmill acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://git.acme.org/api/v1/repos/acme/shop/keys?limit=50&page=1
            POST https://git.acme.org/api/v1/repos/acme/shop/keys {"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","read_only":true,"title":"gristmill acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://api.bitbucket.org/2.0/repositories/acme/shop/deploy-keys?pagelen=100&page=1
            POST https://api.bitbucket.org/2.0/repositories/acme/shop/deploy-keys {"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","label":"gristmill acme/shop"}
              = Ensured { id: "7", made: true }
            GET https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh?limit=100&start=0
            POST https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh {"key":{"label":"gristmill acme/shop","text":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill"},"permission":"REPO_READ"}
              = Ensured { id: "7", made: true }
        "#]],
    );
}

#[test]
fn ours_is_known_by_its_material() {
    // Some forges leave the comment out, or have another one.
    let there = |forge| listed(forge, &[key(forge, 7, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", false)]);
    check(
        FORGES.map(|(forge, _)| told(forge, [there(forge)], ensure)),
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/keys?per_page=100&page=1
          = Ensured { id: "7", made: false }
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys?per_page=100&page=1
          = Ensured { id: "7", made: false }
        GET https://git.acme.org/api/v1/repos/acme/shop/keys?limit=50&page=1
          = Ensured { id: "7", made: false }
        GET https://git.acme.org/api/v1/repos/acme/shop/keys?limit=50&page=1
          = Ensured { id: "7", made: false }
        GET https://api.bitbucket.org/2.0/repositories/acme/shop/deploy-keys?pagelen=100&page=1
          = Ensured { id: "7", made: false }
        GET https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh?limit=100&start=0
          = Ensured { id: "7", made: false }
    "#]],
    );
}

#[test]
fn one_that_may_write_is_added_anew() {
    let forges = [Forge::Github, Forge::Gitlab, Forge::BitbucketServer];
    let answers = |forge: Forge| {
        [listed(forge, &[key(forge, 7, KEY, true)]), answer(204, ""), answer(201, &key(forge, 8, KEY, false))]
    };
    check(
        forges.map(|forge| told(forge, answers(forge), ensure)),
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/keys?per_page=100&page=1
        DELETE https://api.github.com/repos/acme/shop/keys/7
        POST https://api.github.com/repos/acme/shop/keys {"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","read_only":true,"title":"gristmill acme/shop"}
          = Ensured { id: "8", made: false }
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys?per_page=100&page=1
        DELETE https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys/7
        POST https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys {"can_push":false,"key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill","title":"gristmill acme/shop"}
          = Ensured { id: "8", made: false }
        GET https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh?limit=100&start=0
        DELETE https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh/7
        POST https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh {"key":{"label":"gristmill acme/shop","text":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 gristmill"},"permission":"REPO_READ"}
          = Ensured { id: "8", made: false }
    "#]],
    );
}

#[test]
fn one_is_taken_away() {
    let delete = |api: &Api, mut carry: &mut dyn FnMut(Call) -> Result<Answer, ApiError>| {
        api.delete_key("7", &mut carry)
    };
    let gone = |forge| told(forge, [answer(404, ""), listed(forge, &[])], delete);
    let hidden = told(
        Forge::Gitlab,
        [answer(404, ""), listed(Forge::Gitlab, &[key(Forge::Gitlab, 7, KEY, false)])],
        delete,
    );
    check(
        [told(Forge::BitbucketServer, [answer(204, "")], delete), gone(Forge::Github), hidden],
        &expect![[r#"
            DELETE https://bitbucket.acme.org/rest/keys/1.0/projects/acme/repos/shop/ssh/7
              = true
            DELETE https://api.github.com/repos/acme/shop/keys/7
            GET https://api.github.com/repos/acme/shop/keys?per_page=100&page=1
              = false
            DELETE https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys/7
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/deploy_keys?per_page=100&page=1
              = error: gitlab finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to manage its deploy keys: a token with the scope `api` and the role Maintainer
        "#]],
    );
}

#[test]
fn what_is_no_key_is_refused_before_anything_is_sent() {
    for text in ["", "ssh-ed25519", "ssh-ed25519 AA\nAA", "ssh-ed25519 A{}A", "AAAA;x y|"] {
        let mut carry = |_: Call| -> Result<Answer, ApiError> { panic!("something was sent") };
        let result = super::api(Forge::Github).ensure_key(&NewKey { title: "t", key: text }, &mut carry);
        assert!(matches!(result, Err(ApiError::Input { .. })), "{text}");
    }
}
