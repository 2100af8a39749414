//! Every family of forges, played by a fake that was written from the forge's own documentation: what it sends is
//! verified and understood, and a push there becomes an archive here.

use gristmill_forge::{Check, Forge, Headers, Outcome, Secret, parse};
use gristmill_model::{Clock as _, Event, EventKind};
use gristmill_testkit::forge::{Delivery, Family};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use gristmill_testkit::{FakeForge, TestRepo};

use crate::world::{BINARY, MAIN, PROJECT, SECRET, assert_equals_git};

const TOKEN: &str = "a-token-of-the-forge";

/// What a delivery tells, once it is verified as the family's own.
fn read(family: Family, secret: &str, delivery: &Delivery) -> Result<Vec<Event>, String> {
    let forge: Forge = family.name().parse().expect("the fakes are named as the forges are");
    let headers = delivery.headers();
    let entries = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let secrets = [Secret::new(secret).expect("a secret")];
    let check = Check::new(forge, &secrets, gristmill::clock::SystemClock.now());
    let body = delivery.body.clone().into();
    match check.verify(&Headers::new(entries), body).map_err(|error| error.to_string())? {
        Outcome::Delivery(verified) => {
            assert!(!verified.delivery_id().is_empty(), "{family:?}");
            parse(&verified).map_err(|error| error.to_string())
        }
        Outcome::Probe => Err("a probe".to_owned()),
    }
}

/// Kind, ref, before and after of each event that is not ignored, in the order in which they are told.
fn told(family: Family, deliveries: &[Delivery]) -> Vec<(EventKind, String, String, String)> {
    let mut all = Vec::new();
    for delivery in deliveries {
        let read = read(family, SECRET, delivery).unwrap_or_else(|error| panic!("{family:?}: {error}"));
        for event in read.into_iter().filter(|event| event.kind != EventKind::Ignored) {
            let text = |id: Option<String>| id.unwrap_or_default();
            all.push((
                event.kind,
                text(event.git_ref.map(|name| name.to_string())),
                text(event.before.map(|id| id.to_string())),
                text(event.after.map(|id| id.to_string())),
            ));
        }
    }
    all
}

#[test]
fn rule_1_rule_5_what_every_family_sends_is_verified_and_tells_what_moved() {
    for family in Family::ALL {
        let forge = FakeForge::start(family);
        let repo = forge.create("acme/shop", SECRET);
        let one = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
        let two = repo.commit_unreferenced(std::slice::from_ref(&one), &Changes::new().file("a", "2"));
        let none = String::new;
        let made = forge.push("acme/shop", MAIN, Some(&one));
        let forged = read(family, "another secret, sixteen bytes", &made[0]);
        assert!(forged.is_err(), "{family:?}: another secret opens nothing: {forged:?}");
        let expected = [(EventKind::Push, MAIN.to_owned(), none(), one.clone())];
        assert_eq!(told(family, &made), expected, "{family:?}: a new branch");

        let tag = "refs/tags/v1";
        let moves = [(MAIN, Some(two.as_str())), (tag, Some(one.as_str()))];
        let made = forge.push_all("acme/shop", &moves);
        let mut events = told(family, &made);
        // Gitea says that a tag is new before it says that it was pushed, or after; the order is nobody's promise.
        events.sort_by(|a, b| a.1.cmp(&b.1));
        let expected = [
            (EventKind::Push, MAIN.to_owned(), one.clone(), two.clone()),
            (EventKind::Tag, tag.to_owned(), none(), one.clone()),
        ];
        if family == Family::Gogs {
            // A new tag comes as `create` alone, which makes Gristmill look.
            assert_eq!(events, expected[..1], "{family:?}: two refs at once");
        } else {
            assert_eq!(events, expected, "{family:?}: two refs at once");
        }

        let gone = told(family, &forge.push("acme/shop", tag, None));
        assert!(!gone.is_empty(), "{family:?}: a deletion is told");
        assert!(
            gone.iter()
                .all(|event| (event.0, event.1.as_str(), event.3.as_str()) == (EventKind::Delete, tag, "")),
            "{family:?}: {gone:?}"
        );
    }
}

#[test]
fn rule_5_releases_and_tests_are_told_by_the_families_that_have_them() {
    for (family, action) in [
        (Family::Github, "published"),
        (Family::Gitlab, "create"),
        (Family::Gitea, "published"),
        (Family::Forgejo, "published"),
        (Family::Gogs, "published"),
    ] {
        let forge = FakeForge::start(family);
        let repo = forge.create("acme/shop", SECRET);
        let commit = repo.commit("main", &Changes::new().file("a", "1"));
        repo.tag("v1", &commit);
        let events = told(family, &[forge.release("acme/shop", "v1", action)]);
        assert_eq!(events.len(), 1, "{family:?}: {events:?}");
        assert_eq!((events[0].0, events[0].1.as_str()), (EventKind::Release, "refs/tags/v1"), "{family:?}");
    }
    let github = FakeForge::start(Family::Github);
    github.create("acme/shop", SECRET);
    assert_eq!(told(Family::Github, &[github.ping("acme/shop")])[0].0, EventKind::Ping);
    let server = FakeForge::start(Family::BitbucketServer);
    server.create("acme/shop", SECRET);
    let probe = read(Family::BitbucketServer, SECRET, &server.ping("acme/shop"));
    assert_eq!(probe, Err("a probe".to_owned()), "its test is not signed");
}

#[test]
fn rule_1_system_hooks_and_signing_tokens_of_gitlab_are_verified_too() {
    let forge = FakeForge::start(Family::Gitlab);
    let repo = forge.create_bare("grp/sub/proj");
    forge.add_system_hook("grp/sub/proj", "http://127.0.0.1:1/", SECRET);
    let signing = "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl";
    forge.add_hook("grp/sub/proj", "http://127.0.0.1:1/", Some(signing));
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let made = forge.push("grp/sub/proj", MAIN, Some(&commit));
    assert_eq!(made.iter().map(|one| one.event.as_str()).collect::<Vec<_>>(), ["System Hook", "Push Hook"]);
    for (delivery, secret, other) in [
        (&made[0], SECRET, "another secret, sixteen bytes"),
        (&made[1], signing, "whsec_b3RoZXIgc2l4dGVlbiBieXRlcw=="),
    ] {
        let events = read(Family::Gitlab, secret, delivery).expect("verified");
        let repository = events[0].repository.as_ref().expect("a repository");
        assert_eq!((events[0].kind, repository.full_name.as_str()), (EventKind::Push, "grp/sub/proj"));
        assert_eq!(repository.id, Some(forge.repository_id("grp/sub/proj").to_string()));
        assert!(read(Family::Gitlab, other, delivery).is_err(), "{}", delivery.event);
    }
}

/// The repository as payloads have it.
fn repository(forge: &FakeForge, name: &str) -> String {
    let (owner, slug) = name.split_once('/').expect("an owner and a name");
    match forge.family() {
        Family::BitbucketServer => format!("{}/{slug}", owner.to_uppercase()),
        _ => name.to_owned(),
    }
}

/// The project of a fake's repository, private behind a token.
fn project(forge: &FakeForge, name: &str) -> Project {
    let family = forge.family();
    let project = Project::new(name, &forge.clone_url(name), SECRET)
        .with(&format!("forge = \"{}\"", family.name()))
        .with("token = { env = \"FORGE_TOKEN\" }")
        .pipeline("branches = [\"main\"]")
        .pipeline("tags = [\"v*\"]");
    match family {
        // The key of a project is in capitals, and no part of its addresses.
        Family::BitbucketServer | Family::AzureDevops => {
            project.with(&format!("repository = \"{}\"", repository(forge, name)))
        }
        _ => project,
    }
}

#[test]
fn a_push_at_every_family_becomes_an_archive_that_is_served() {
    let forges: Vec<(FakeForge, String)> = Family::ALL
        .into_iter()
        .map(|family| {
            let (forge, name) = (FakeForge::start(family), format!("{}/shop", family.name()));
            forge.create_bare(&name);
            forge.require_token(Some(TOKEN));
            (forge, name)
        })
        .collect();
    let mut server = Server::new(BINARY);
    server.set_env("FORGE_TOKEN", TOKEN);
    server.set_projects(forges.iter().map(|(forge, name)| project(forge, name)));
    server.start();
    let mut expected = Vec::new();
    for (forge, name) in &forges {
        forge.add_hook(name, &server.url(&format!("/hooks/{name}")), Some(SECRET));
        forge.send_by_itself(true);
        let commit = forge.repository_handle(name).commit_unreferenced(&[], &Changes::new().file("a", name));
        forge.push_all(name, &[(MAIN, Some(&commit)), ("refs/tags/v1", Some(&commit))]);
        assert_eq!(forge.undelivered(name), [], "{name}: {}", server.log());
        let folder = repository(forge, name);
        let file = folder.replace('/', "_");
        expected.push((forge, name, format!("{folder}/main/{file}.zip"), commit.clone()));
        expected.push((forge, name, format!("{folder}/tags/v1/{file}.zip"), commit));
    }
    server.wait_until_idle();
    for (forge, name, key, commit) in &expected {
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let mut answer = agent.get(server.url(&format!("/archive/{key}"))).call().unwrap_or_else(|error| {
            panic!("{key}: {error}: {:#}\n{}", server.cli_text(&["run", "list"]), server.log())
        });
        let bytes = answer.body_mut().read_to_vec().expect("an archive");
        assert_equals_git(&forge.repository_handle(name), commit, &bytes);
        let used = forge.requests().iter().any(|request| request.authorization.is_some());
        assert!(used, "{name}: with the token");
    }
    // A second push, so that the repository's number is known and compared.
    for (forge, name) in &forges {
        let repo = forge.repository_handle(name);
        let parent = repo.resolve(MAIN).expect("a commit");
        let commit = repo.commit_unreferenced(&[parent], &Changes::new().file("b", "2"));
        forge.push(name, MAIN, Some(&commit));
        assert_eq!(forge.undelivered(name), [], "{name}");
        let folder = repository(forge, name);
        let key = format!("{folder}/main/{}.zip", folder.replace('/', "_"));
        let versions = || server.store().versions_of(&key);
        let newest = || versions().last().is_some_and(|one| one.commit == commit && one.state == "published");
        assert!(wait_for(PATIENCE, || newest().then_some(())).is_some(), "{name}: {:#?}", versions());
    }
    server.wait_until_idle();
}

#[test]
fn rule_8_the_poller_makes_up_for_hooks_that_were_lost_at_every_family() {
    for family in Family::ALL {
        let forge = FakeForge::start(family);
        let repo = forge.create(PROJECT, SECRET);
        forge.require_token(Some(TOKEN));
        let mut server = Server::new(BINARY);
        server.set_env("FORGE_TOKEN", TOKEN);
        // Nothing but polls: what the forges' APIs tell of lost deliveries has tests of its own.
        server.set_projects([project(&forge, PROJECT).poll("1s").with("statuses = false")]);
        server.start();
        let told = |commit: &str| drop(forge.push(PROJECT, MAIN, Some(commit)));
        polls_find(&server, &repo, told, &format!("{family:?}"));
        server.stop();
    }
    // These have no API that a fake would play: nothing but the repository and what is configured.
    for shape in [
        "forge = \"bare\"",
        "forge = \"codecommit\"\nrepository = \"123456789012/shop\"\ntopic = \"arn:aws:sns:eu-west-1:123456789012:p\"",
    ] {
        let repo = TestRepo::new();
        let mut server = Server::new(BINARY);
        let project = Project::new(PROJECT, &repo.url(), SECRET).without_secret();
        server.set_projects([project.with(shape).poll("1s").pipeline("branches = [\"main\"]")]);
        server.start();
        polls_find(&server, &repo, |commit| repo.set_ref(MAIN, commit), shape);
        server.stop();
    }
}

/// Pushes twice, and nothing is told: `push` sets the branch, and what the forge would send is lost.
fn polls_find(server: &Server, repo: &TestRepo, push: impl Fn(&str), of: &str) {
    let mut parent = Vec::new();
    for content in ["one", "two"] {
        let commit = repo.commit_unreferenced(&parent, &Changes::new().file("a", content));
        push(&commit);
        let published = || {
            let newest = server.store().versions().pop()?;
            (newest.commit == commit && newest.state == "published").then_some(())
        };
        assert!(wait_for(PATIENCE, published).is_some(), "{of} {content}: {}", server.log());
        parent = vec![commit];
    }
}
