//! What to enter at each forge for a project's webhook. The pages under `docs/forges` say more.

use std::fmt::Write as _;

use gristmill_forge::Forge;

/// Where the webhook is made, and its fields.
fn fields(forge: Forge) -> (&'static str, &'static [(&'static str, &'static str)]) {
    const URL: &str = "{url}";
    const SECRET: &str = "{secret}";
    const JSON: &str = "application/json";
    match forge {
        Forge::Github => (
            "At GitHub, under Settings > Webhooks > Add webhook:",
            &[
                ("Payload URL", URL),
                ("Content type", JSON),
                ("Secret", SECRET),
                ("Events", "pushes, releases"),
            ],
        ),
        Forge::Gitlab => (
            "At GitLab, under Settings > Webhooks > Add new webhook:",
            &[
                ("URL", URL),
                ("Secret token", SECRET),
                ("Trigger", "push events, tag push events, releases events"),
            ],
        ),
        Forge::Bitbucket => (
            "At Bitbucket, under Repository settings > Webhooks > Add webhook:",
            &[("URL", URL), ("Secret", SECRET), ("Triggers", "repository push")],
        ),
        Forge::BitbucketServer => (
            "At Bitbucket, under Repository settings > Webhooks > Create webhook:",
            &[("URL", URL), ("Secret", SECRET), ("Events", "repository: push")],
        ),
        Forge::Gitea | Forge::Forgejo | Forge::Gogs => (
            "At the forge, under Settings > Webhooks > Add webhook:",
            &[
                ("URL", URL),
                ("Content type", JSON),
                ("Secret", SECRET),
                ("Events", "push, create, delete, release"),
            ],
        ),
        Forge::AzureDevops => (
            "At Azure DevOps, under Project settings > Service hooks > Create subscription > Web Hooks:",
            &[("Trigger", "code pushed"), ("URL", URL), ("Basic password", SECRET)],
        ),
        Forge::Codecommit => (
            "At Amazon SNS, under Topics > the topic > Create subscription:",
            &[
                ("Protocol", "HTTPS"),
                ("Endpoint", URL),
                ("Raw delivery", "off: the message is signed as a whole"),
            ],
        ),
        Forge::Generic => (
            "What sends the webhook needs:",
            &[("URL", URL), ("X-Git-Token", SECRET), ("Method", "POST, with the body of a push")],
        ),
        Forge::Bare => (
            "The hook `post-receive` of the repository needs (docs/forges/bare.md has one to copy):",
            &[("URL", URL), ("Secret", SECRET)],
        ),
    }
}

/// The text for people. `secret` says where the secret is, and is not the secret.
pub(super) fn told(forge: Forge, url: &str, secret: &str) -> String {
    let (place, fields) = fields(forge);
    let mut text = format!("{place}\n");
    for (label, value) in fields {
        let value = value.replace("{url}", url).replace("{secret}", secret);
        writeln!(text, "  {label:<14}  {value}").expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forge_is_told_the_url_and_where_the_secret_is() {
        for forge in Forge::ALL {
            let text = told(forge, "https://mill.example.org/hooks/acme/shop", "the content of a.secret");
            assert_eq!(
                text.matches("https://mill.example.org/hooks/acme/shop\n").count(),
                1,
                "{forge}: {text}"
            );
            // What SNS sends is signed with a key of its own.
            let secrets = usize::from(forge != Forge::Codecommit);
            assert_eq!(text.matches("the content of a.secret\n").count(), secrets, "{forge}: {text}");
        }
        expect_test::expect![[r#"
            At GitLab, under Settings > Webhooks > Add new webhook:
              URL             https://mill.example.org/hooks/acme/shop
              Secret token    the content of a.secret
              Trigger         push events, tag push events, releases events
        "#]]
        .assert_eq(&told(
            Forge::Gitlab,
            "https://mill.example.org/hooks/acme/shop",
            "the content of a.secret",
        ));
    }
}
