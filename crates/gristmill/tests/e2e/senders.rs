//! Every sender, hooks for a whole organisation, source lists, and the address of the systems before.

use gristmill::http::hook::OLD_ADDRESSES;
use gristmill_forge::{Forge, HeaderName, Secret, Sending, post_receive_body};
use gristmill_model::Clock as _;
use gristmill_testkit::FakeGithub;
use gristmill_testkit::forge::Delivery;
use gristmill_testkit::server::{Project, Server};
use serde_json::{Value, json};

use crate::hooks::raw;
use crate::world::{KEY, MAIN, PROJECT, SECRET, World, list, project};

/// A sender, what its project needs besides, and the body of a push to `main`.
pub(crate) struct Sender {
    forge: Forge,
    lines: &'static [&'static str],
    event: &'static str,
    body: Value,
}

impl Sender {
    /// Whether its secret is a key for signing, in an environment variable of the server.
    pub(crate) fn is_signing(&self) -> bool {
        self.lines.iter().any(|line| line.contains("SIGNING_TOKEN"))
    }

    /// The project as this sender needs it.
    pub(crate) fn shape(&self, project: Project) -> Project {
        let project = if self.is_signing() { project.without_secret() } else { project };
        let project = project.with(&format!("forge = \"{}\"", self.forge));
        self.lines.iter().fold(project, |project, line| project.with(line))
    }

    /// Posts to the project's hook as the forge would; the whole answer.
    pub(crate) fn post(&self, server: &Server, secret: &str, id: &str) -> String {
        let header: HeaderName = "X-Ours".parse().expect("a header");
        let has = |name: &str| self.lines.iter().any(|line| line.starts_with(name));
        let sending = Sending {
            forge: self.forge,
            event: self.event,
            delivery_id: id,
            now: gristmill::clock::SystemClock.now(),
            basic: has("secret_basic"),
            header: has("secret_header").then_some(&header),
        };
        let body = self.body.to_string();
        let secret = Secret::new(secret).expect("a secret");
        let headers = sending.headers(&secret, body.as_bytes()).expect("this forge signs");
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        raw(server, "/hooks/acme/shop", &headers, body.as_bytes())
    }

    /// Who it is, for people.
    pub(crate) fn who(&self) -> String {
        format!("{} {:?}", self.forge, self.lines)
    }
}

/// Every sender that a secret stands for, with a push of this commit; `id` where the body has the delivery's.
pub(crate) fn senders(commit: &str, id: &str) -> Vec<Sender> {
    let one = |forge, lines, event, body| Sender { forge, lines, event, body };
    let moved = |more: Value| {
        let mut body = json!({ "ref": MAIN, "before": "0".repeat(40), "after": commit });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let named = || moved(json!({ "repository": { "id": 42, "full_name": PROJECT } }));
    let gitlab =
        || moved(json!({ "object_kind": "push", "project": { "id": 42, "path_with_namespace": PROJECT } }));
    let side = json!({ "type": "branch", "name": "main", "target": { "hash": commit } });
    let cloud = json!({ "push": { "changes": [{ "old": null, "new": side }] }, "repository": { "uuid": "{6}", "full_name": PROJECT } });
    let change = json!({ "refId": MAIN, "type": "UPDATE", "fromHash": "1".repeat(40), "toHash": commit });
    let server = || json!({ "changes": [change], "repository": { "id": 42, "slug": "shop", "project": { "key": "acme" } } });
    let update = json!({ "name": MAIN, "oldObjectId": "0".repeat(40), "newObjectId": commit });
    let azure = || json!({ "eventType": "git.push", "id": id, "subscriptionId": "s1", "resource": { "refUpdates": [update], "repository": { "id": "7", "name": "shop", "project": { "name": "acme" } } } });
    let lines = format!("{} {commit} {MAIN}\n", "0".repeat(40));
    let bare = post_receive_body(PROJECT, lines.as_bytes()).expect("what git writes");
    vec![
        one(Forge::Github, &[], "push", named()),
        one(Forge::Gitlab, &[], "Push Hook", gitlab()),
        one(Forge::Gitlab, &["secret = { env = \"SIGNING_TOKEN\" }"], "Push Hook", gitlab()),
        one(Forge::Bitbucket, &[], "repo:push", cloud),
        one(Forge::BitbucketServer, &[], "repo:refs_changed", server()),
        one(Forge::BitbucketServer, &["secret_basic = true"], "repo:refs_changed", server()),
        one(Forge::Gitea, &[], "push", named()),
        one(Forge::Forgejo, &[], "push", named()),
        one(Forge::Gogs, &[], "push", named()),
        one(Forge::AzureDevops, &[], "", azure()),
        one(Forge::AzureDevops, &["secret_header = \"X-Ours\""], "", azure()),
        one(Forge::Generic, &[], "unnamed", named()),
        one(Forge::Bare, &[], "", serde_json::from_str(&bare).expect("JSON")),
    ]
}

/// A delivery's id; for a bare repository it must be a ULID.
const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
/// The secret of GitLab's signing: base64 of a key.
const SIGNING_TOKEN: &str = "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl";

#[test]
fn rule_1_every_sender_is_let_in_by_its_own_signature_and_its_push_is_published() {
    let mut world = World::prepare(|project| project);
    let commit = world.text(None, "one");
    world.repo.set_ref(MAIN, &commit);
    for sender in senders(&commit, ID) {
        let mut server = Server::new(crate::world::BINARY);
        server.set_env("SIGNING_TOKEN", SIGNING_TOKEN);
        let project = project(&world.github, PROJECT).poll("off").pipeline("first_look = \"record\"");
        server.set_projects([sender.shape(project)]);
        server.start();
        let (secret, other) = match sender.is_signing() {
            true => (SIGNING_TOKEN, "whsec_b3RoZXIgc2l4dGVlbiBieXRlcw=="),
            false => (SECRET, "another"),
        };
        let who = sender.who();
        let refused = sender.post(&server, other, ID);
        assert!(refused.starts_with("HTTP/1.1 401 "), "{who}: {refused}");
        let taken = sender.post(&server, secret, ID);
        assert!(taken.starts_with("HTTP/1.1 202 "), "{who}: {taken}\n{}", server.log());
        server.wait_until_idle();
        let runs = list(&server, &["run", "list"]);
        assert_eq!(runs.len(), 1, "{who}: {runs:#?}");
        assert_eq!(
            (&runs[0]["state"], &runs[0]["cause"]),
            (&json!("succeeded"), &json!("delivery")),
            "{who}"
        );
        let versions = server.store().versions_of(KEY);
        assert_eq!(
            versions.iter().map(|one| one.commit.as_str()).collect::<Vec<_>>(),
            [commit.as_str()],
            "{who}"
        );
        server.stop();
    }
    world.server.expect_leftovers();
}

/// A server with a pattern for all repositories of `acme`.
fn organisation(github: &FakeGithub, more: &[Project]) -> Server {
    let mut server = Server::new(crate::world::BINARY);
    let git = github.clone_url("acme/shop").replace("/shop", "/{repo}");
    let mut projects = vec![Project::new("acme/*", &git, SECRET)];
    projects.extend(more.iter().cloned());
    server.set_projects(projects);
    server
}

fn names(server: &Server) -> Vec<String> {
    let projects = list(server, &["project", "list"]);
    projects.iter().map(|project| project["name"].as_str().expect("a name").to_owned()).collect()
}

/// Commits to `main` of a repository and pushes; what the forge sends, and the commit.
fn push(github: &FakeGithub, name: &str, content: &str) -> (Delivery, String) {
    let repo = github.repository_handle(name);
    let changes = gristmill_testkit::repo::Changes::new().file("file.txt", content);
    let commit = repo.commit_unreferenced(&[], &changes);
    (github.push(name, MAIN, Some(&commit)).remove(0), commit)
}

#[test]
fn one_hook_serves_a_whole_organisation() {
    let github = FakeGithub::start();
    for name in ["acme/shop", "acme/tool", "acme/own", "other/shop"] {
        github.create(name, SECRET);
    }
    let own = project(&github, "acme/own").pipeline("supersede = true");
    let mut server = organisation(&github, &[own]);
    server.start();
    assert_eq!(names(&server), ["acme/own"]);
    let mut expected = Vec::new();
    for name in ["acme/shop", "acme/tool", "acme/own"] {
        let (delivery, commit) = push(&github, name, name);
        let reply = server.send("acme/*", &delivery).unwrap();
        assert_eq!(reply.status, 202, "{name}: {}", server.log());
        let again = server.send("acme/*", &delivery).unwrap();
        assert_eq!((again.status, again.body), (202, reply.body), "{name}: the first answer again");
        expected.push((format!("{name}/main/{}.zip", name.replace('/', "_")), commit));
    }
    // Whom the pattern does not cover, nothing is done for; nor is the sender refused.
    let reply = server.send("acme/*", &push(&github, "other/shop", "x").0).unwrap();
    assert_eq!(reply.status, 202);
    assert_eq!(reply.body, r#"{"ignored":"the pattern acme/* does not cover other/shop"}"#);
    let forged = push(&github, "acme/tool", "y").0.signed_with("another secret");
    assert_eq!(server.send("acme/*", &forged).unwrap().status, 401);
    server.wait_until_idle();
    assert_eq!(names(&server), ["acme/own", "acme/shop", "acme/tool"]);
    // What was made from the pattern is there after a start, and follows the pattern.
    server.crash_and_restart();
    server.wait_until_idle();
    assert_eq!(names(&server), ["acme/own", "acme/shop", "acme/tool"]);
    for (key, commit) in expected {
        let first = server.store().versions_of(&key).remove(0);
        assert_eq!(first.commit, commit, "{key}");
    }
}

#[test]
fn an_organisations_hook_does_not_open_a_project_with_another_secret() {
    let github = FakeGithub::start();
    github.create("acme/own", SECRET);
    let own = Project::new("acme/own", &github.clone_url("acme/own"), "another secret, sixteen bytes");
    let mut server = organisation(&github, &[own.poll("off").pipeline("first_look = \"record\"")]);
    server.start();
    let reply = server.send("acme/*", &push(&github, "acme/own", "x").0).unwrap();
    let ignored = r#"{"ignored":"acme/own has a project of its own, with another secret or none"}"#;
    assert_eq!((reply.status, reply.body.as_str()), (202, ignored));
    server.wait_until_idle();
    assert_eq!(list(&server, &["delivery", "list"]).len(), 0);
}

#[test]
fn mistake_02_rule_3_a_source_list_is_asked_besides_the_secret_never_instead() {
    let mut world =
        World::prepare(|project| project.with("allow_from = [\"203.0.113.0/24\", \"2001:db8::/32\"]"));
    world.server.set_settings("[server]\nlisten = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    world.server.start();
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit)).remove(0);
    let ask = |path: &str, forwarded: &[&str], delivery: &Delivery| {
        let headers = delivery.headers();
        let mut all: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(forwarded.iter().map(|value| ("X-Forwarded-For", *value)));
        raw(&world.server, path, &all, &delivery.body)
    };
    let unknown = ask("/hooks/acme/unknown", &[], &push);
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
    for forwarded in
        [&[][..], &["198.51.100.1"], &["203.0.113.7, 198.51.100.1"], &["203.0.113.7", "nonsense"]]
    {
        assert_eq!(ask("/hooks/acme/shop", forwarded, &push), unknown, "{forwarded:?}: not to be told apart");
    }
    let forged = push.signed_with("another secret");
    assert_eq!(
        ask("/hooks/acme/shop", &["203.0.113.7"], &forged),
        unknown,
        "the address alone opens nothing"
    );
    assert_eq!(world.server.store().number("SELECT count(*) FROM delivery"), 0);
    world.server.wait_for_log("audit: a signed delivery came from an address");
    for forwarded in ["203.0.113.7", "198.51.100.1, 203.0.113.7, 127.0.0.9", "2001:db8::7"] {
        let answer = ask("/hooks/acme/shop", &[forwarded], &push);
        assert!(answer.starts_with("HTTP/1.1 202 "), "{forwarded}: {answer}");
    }
    world.server.wait_until_idle();
    world.assert_public(KEY, &commit);
}

#[test]
fn the_old_address_is_routed_by_what_the_verified_payload_names() {
    let github = FakeGithub::start();
    for name in ["acme/shop", "acme/tool", "acme/shut"] {
        github.create(name, SECRET);
    }
    let open = |name: &str| project(&github, name).with("gitpull = true");
    let mut server = Server::new(crate::world::BINARY);
    let generic = Project::new("old/shop", &github.clone_url("acme/shop"), "a token of the old system")
        .with("gitpull = true")
        .with("forge = \"generic\"")
        .with("repository = \"acme/shop\"")
        .pipeline("key = \"old.zip\"")
        .pipeline("branches = [\"main\"]");
    server.set_projects([open("acme/shop"), open("acme/tool"), project(&github, "acme/shut"), generic]);
    server.start();
    let ask = |headers: &[(&str, &str)], body: &[u8]| raw(&server, "/gitpull", headers, body);
    let signed = |delivery: &Delivery| {
        let headers = delivery.headers();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ask(&headers, &delivery.body)
    };
    let (tool, commit) = push(&github, "acme/tool", "tool");
    let refused = signed(&tool.signed_with("another secret"));
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert_eq!(ask(&[], &tool.body), refused, "without a signature");
    assert_eq!(ask(&[("X-Git-Token", "")], &tool.body), refused, "mistake 1: an empty token");
    let unknown = raw(&server, "/hooks/acme/unknown", &[], &tool.body);
    assert_eq!(unknown, refused);
    let shut = signed(&push(&github, "acme/shut", "shut").0);
    assert!(shut.contains("no project with this secret and `gitpull = true` is of acme/shut"), "{shut}");
    assert_eq!(server.store().number("SELECT count(*) FROM delivery"), 0);

    assert!(signed(&tool).starts_with("HTTP/1.1 202 "));
    let (shop, _) = push(&github, "acme/shop", "shop");
    let token = ("X-Git-Token", "a token of the old system");
    assert!(ask(&[token], &shop.body).starts_with("HTTP/1.1 202 "));
    // The addresses of its other method and of its own domain names lead to the same.
    for address in OLD_ADDRESSES {
        let again = raw(&server, address, &[token], &shop.body);
        assert!(again.starts_with("HTTP/1.1 202 "), "{address}: {again}");
        assert_eq!(raw(&server, address, &[], &shop.body), refused, "{address}");
    }
    assert_eq!(server.store().number("SELECT count(*) FROM delivery"), 2);
    server.wait_until_idle();
    let runs = list(&server, &["run", "list"]);
    let mut of: Vec<&str> = runs.iter().map(|one| one["project"].as_str().unwrap()).collect();
    of.sort_unstable();
    assert_eq!(of, ["acme/tool", "old/shop"]);
    assert_eq!(server.store().versions_of("acme/tool/main/acme_tool.zip")[0].commit, commit);
}
