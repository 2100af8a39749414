//! Who may send webhooks and for what: patterns, forges, source lists, `/gitpull`.

use expect_test::{Expect, expect};

use super::{Place, load};

/// A project with these lines and the usual pipeline.
fn project(lines: &str) -> String {
    format!("[[project]]\n{lines}\n[[project.pipeline]]\nkind = \"archive\"\n")
}

fn pattern(lines: &str) -> String {
    project(&format!("name = \"acme/*\"\ngit = \"https://github.com/acme/{{repo}}.git\"\n{lines}"))
}

fn shop(lines: &str) -> String {
    project(&format!("name = \"acme/shop\"\ngit = \"https://github.com/acme/shop.git\"\n{lines}"))
}

fn refused(text: &str, expected: Expect) {
    let place = Place::new();
    place.write("gristmill.toml", text);
    expected.assert_eq(&place.tidy(&place.load().unwrap_err().to_string()));
}

#[test]
fn a_pattern_makes_a_project_of_each_repository() {
    let config = load(&pattern("secret = { env = \"SECRET\" }")).unwrap();
    assert_eq!((config.projects.len(), config.patterns.len()), (0, 1));
    assert_eq!(config.patterns[0].name(), "acme/*");
    let pattern = config.patterns[0].pattern.as_ref().unwrap();
    let made = |repository: &str| {
        let spec = pattern.expand(&repository.parse().unwrap())?;
        assert_eq!(spec.pattern.as_ref().map(gristmill_model::PatternName::as_str), Some("acme/*"));
        Some(format!("{} {} {}", spec.name, spec.git, spec.repository))
    };
    assert_eq!(made("acme/shop").as_deref(), Some("acme/shop https://github.com/acme/shop.git acme/shop"));
    assert_eq!(
        made("Acme/.github").as_deref(),
        Some("acme/.github https://github.com/acme/.github.git Acme/.github")
    );
    for other in ["other/shop", "acme/sub/shop", "sub/acme/shop", "acme/\u{e9}"] {
        assert_eq!(made(other), None, "{other}");
    }
}

#[test]
fn a_patterns_repositories_may_be_called_otherwise_at_their_forge() {
    let of = |name: &str, git: &str, more: &str| {
        let config = load(&project(&format!("name = \"{name}\"\ngit = \"{git}\"\n{more}"))).unwrap();
        let pattern = config.patterns[0].pattern.clone().unwrap();
        pattern.repositories.to_string()
    };
    assert_eq!(of("ours/*", "https://github.com/acme/{repo}.git", ""), "acme/*");
    assert_eq!(of("ours/*", "https://git.example.org/grp/sub/{repo}", ""), "grp/sub/*");
    assert_eq!(of("ours/*", "https://git.example.org/{repo}/x", ""), "ours/*");
    assert_eq!(of("ours/*", "file:///srv/git/{repo}.git", ""), "ours/*");
    assert_eq!(of("ours/*", "https://github.com/acme/{repo}.git", "repository = \"Acme/*\""), "Acme/*");
}

#[test]
fn patterns_that_are_none() {
    refused(
        &project("name = \"*\"\ngit = \"https://github.com/acme/{repo}.git\""),
        expect![[r#"
        gristmill.toml:2: `name`: `*` is not a pattern; expected an owner and one `*` behind the last slash, such as `acme/*`
        gristmill.toml:3: `git` has {repo}, which stands for the names that a pattern matches; `name` is none, such as "acme/*""#]],
    );
    refused(
        &project("name = \"acme/*/x\"\ngit = \"https://github.com/acme/{repo}.git\""),
        expect![[r#"
        gristmill.toml:2: `name`: `acme/*/x` is not a pattern; expected an owner and one `*` behind the last slash, such as `acme/*`
        gristmill.toml:3: `git` has {repo}, which stands for the names that a pattern matches; `name` is none, such as "acme/*""#]],
    );
    refused(
        &project("name = \"acme/*\"\ngit = \"https://github.com/acme/shop.git\""),
        expect![[
            r#"gristmill.toml:3: `git` has no {repo}, so that all repositories of the pattern would be fetched from one; expected such as "https://github.com/acme/{repo}.git""#
        ]],
    );
    refused(
        &shop("").replace("acme/shop.git", "acme/{repo}.git"),
        expect![[
            r#"gristmill.toml:3: `git` has {repo}, which stands for the names that a pattern matches; `name` is none, such as "acme/*""#
        ]],
    );
    refused(
        &pattern("repository_id = 7\nrepository = \"acme/shop\""),
        expect![[r#"
        gristmill.toml:4: `repository_id` is one repository's; a pattern has many, leave it out
        gristmill.toml:5: `repository`: `acme/shop` is not a pattern; expected an owner and one `*` behind the last slash, such as `acme/*`"#]],
    );
    refused(
        &format!("{}key = \"{{branch}}.zip\"\n", pattern("")),
        expect![
            "gristmill.toml:5: pipeline `archive`: all repositories of the pattern would be published under `{branch}.zip`; put {repo} into it, or set `allow_shared_key = true`"
        ],
    );
    refused(
        &format!("{}{}", pattern(""), pattern("")),
        expect![
            "gristmill.toml:7: project `acme/*` is already configured in gristmill.toml:1; give one of them another name"
        ],
    );
}

#[test]
fn a_repository_of_a_pattern_may_have_a_project_of_its_own() {
    assert_eq!(load(&format!("{}{}", pattern(""), shop(""))).unwrap().projects.len(), 1);
    // With other keys they could meet.
    let own = format!("{}key = \"acme/tool/{{branch}}/acme_tool.zip\"\n", shop(""));
    refused(
        &format!("{}{own}", pattern("")),
        expect![
            "gristmill.toml:11: pipeline `archive` of project `acme/shop` (branches `**`) and pipeline `archive` of project `acme/*` in gristmill.toml:5 (branches `**`) could both publish under `acme/tool/…/acme_tool.zip`; give one another `key`, or set `allow_shared_key = true` in both"
        ],
    );
}

#[test]
fn what_only_some_forges_have() {
    let hook = |lines: &str| load(&shop(lines)).unwrap().projects[0].hook.clone();
    assert!(hook("forge = \"github\"\nsecret_sha1 = true").allow_sha1);
    assert!(hook("forge = \"bitbucket-server\"\nsecret_basic = true").basic);
    let azure = hook("forge = \"azure-devops\"\nsecret_header = \"X-Token\"");
    assert_eq!(azure.header.unwrap().as_str(), "X-Token");
    for forge in ["gitlab", "bitbucket", "gitea", "forgejo", "gogs", "generic", "bare"] {
        assert_eq!(load(&shop(&format!("forge = \"{forge}\""))).unwrap().projects[0].spec.forge, forge);
    }
    refused(
        &shop("forge = \"gitlab\"\nsecret_sha1 = true\nsecret_basic = true\nsecret_header = \"X\""),
        expect![[r#"
            gristmill.toml:5: `secret_sha1` is for `forge = "github"` only; leave it out
            gristmill.toml:6: `secret_basic` is for `forge = "bitbucket-server"` only; leave it out
            gristmill.toml:7: `secret_header` is for `forge = "azure-devops"` only; leave it out"#]],
    );
    refused(
        &shop("forge = \"codecomit\""),
        expect![
            "gristmill.toml:4: forge `codecomit` is not supported by this version; did you mean `codecommit`? Known forges: github, gitlab, bitbucket, bitbucket-server, gitea, forgejo, gogs, azure-devops, codecommit, generic, bare"
        ],
    );
}

#[test]
fn codecommit_has_a_topic_instead_of_a_secret() {
    let topic = "forge = \"codecommit\"\ntopic = \"arn:aws:sns:eu-west-1:123456789012:pushes\"";
    let at = |text: String| {
        text.replace("https://github.com/acme/", "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/")
            .replace(".git\"", "\"")
    };
    let project = |text: String| load(&text).unwrap();
    let found = project(at(shop(topic)));
    let (hook, spec) = (&found.projects[0].hook, &found.projects[0].spec);
    assert_eq!(hook.topic.as_ref().unwrap().as_str(), "arn:aws:sns:eu-west-1:123456789012:pushes");
    assert_eq!(spec.repository.as_str(), "123456789012/shop");
    let named = at(shop(&format!("{topic}\nrepository = \"210987654321/tool\"")));
    assert_eq!(project(named).projects[0].spec.repository.as_str(), "210987654321/tool");
    let all = project(at(pattern(topic)));
    assert_eq!(all.patterns[0].pattern.as_ref().unwrap().repositories.as_str(), "123456789012/*");
    // A mirror elsewhere has a path that says nothing.
    let mirror = project(shop(topic));
    assert_eq!(mirror.projects[0].spec.repository.as_str(), "acme/shop");
    refused(
        &shop("forge = \"codecommit\""),
        expect![[
            r#"gristmill.toml:1: CodeCommit tells of pushes through a topic of Amazon SNS; add `topic = "arn:aws:sns:…"`, and see docs/forges/codecommit.md"#
        ]],
    );
    refused(
        &shop(&format!("{topic}\ngitpull = true\nsecret = {{ env = \"SECRET\" }}")),
        expect![[r#"
        gristmill.toml:6: `gitpull` tells projects apart by their secrets, and CodeCommit has none; leave it out and let the topic send to /hooks/<project>
        gristmill.toml:7: CodeCommit has no `secret`: Amazon SNS signs its messages, and `topic` says whose are taken; leave it out"#]],
    );
    refused(
        &shop(&topic.replace("sns", "sqs")),
        expect![
            "gristmill.toml:5: `topic`: `arn:aws:sqs:eu-west-1:123456789012:pushes` is not the ARN of a topic of Amazon SNS; expected one such as `arn:aws:sns:eu-west-1:123456789012:pushes`"
        ],
    );
    refused(
        &shop(&topic.replace("codecommit", "generic")),
        expect![[r#"gristmill.toml:5: `topic` is for `forge = "codecommit"` only; leave it out"#]],
    );
}

#[test]
fn addresses_that_are_let_in() {
    let text = format!(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n{}",
        shop("allow_from = \"192.30.253.7/22\"")
    );
    let config = load(&text).unwrap();
    assert_eq!(format!("{:?}", config.server.trusted_proxies), "[10.0.0.0/8, ::1/128]");
    assert_eq!(format!("{:?}", config.projects[0].allow_from), "[192.30.252.0/22]");
    refused(
        &format!("[server]\ntrusted_proxies = 1\n{}", shop("allow_from = []")),
        expect![[r#"
        gristmill.toml:2: `trusted_proxies` is 1; expected an address or a network, such as "192.30.252.0/22"
        gristmill.toml:6: a list of 0 networks; expected 1 to 10000 (to let everybody in, leave it out)"#]],
    );
    refused(
        &shop("allow_from = [\"github.com\", \"192.0.2.1/33\"]"),
        expect![[
            r#"gristmill.toml:4: `allow_from` is "github.com"; expected an address or a network, such as "192.30.252.0/22""#
        ]],
    );
}

#[test]
fn gitpull_needs_a_secret_and_tells_projects_apart() {
    let tool = |lines: &str| shop(lines).replace("shop", "tool");
    let env = "gitpull = true\nsecret = { env = \"SECRET\" }";
    assert!(load(&format!("{}{}", shop(env), tool(env))).unwrap().projects[0].gitpull);
    refused(
        &shop("gitpull = true"),
        expect![
            "gristmill.toml:1: `gitpull` is set, but there is no `secret`: nobody could be let in; add one"
        ],
    );
    let other = tool(env).replace("\nsecret", "\nrepository = \"Acme/Shop\"\nsecret");
    refused(
        &format!("{}{other}", shop(env)),
        expect![
            "gristmill.toml:8: `gitpull` is set for Acme/Shop in gristmill.toml:1 too, and a webhook there names only the repository; set it in one of them"
        ],
    );
    let files: Vec<String> = (0..9).map(|number| format!("{{ env = \"S{number}\" }}")).collect();
    let place = {
        let mut place = Place::new();
        place.env.extend((0..9).map(|number| (format!("S{number}"), format!("secret {number}"))));
        place
    };
    let secrets = |of: &[String]| format!("gitpull = true\nsecret = [{}]", of.join(", "));
    place.write("gristmill.toml", &format!("{}{}", shop(&secrets(&files[..8])), tool(&secrets(&files[..8]))));
    assert!(place.load().is_ok());
    place.write("gristmill.toml", &format!("{}{}", shop(&secrets(&files[..5])), tool(&secrets(&files[4..]))));
    expect!["gristmill.toml:8: the projects with `gitpull` have more than 8 different secrets, and each request is tried with all of them; let projects share one, or use /hooks/<project>"].assert_eq(&place.tidy(&place.load().unwrap_err().to_string()));
}
