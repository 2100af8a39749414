//! AWS CodeCommit through Amazon SNS: a server within the test, for which `sns.eu-west-1.amazonaws.com` is a fake.
//! The rules for addresses are those of the program; only who answers there is another.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill::config::{Surroundings, Watch};
use gristmill::serve::Server;
use gristmill_db::delivery::{self, Delivery};
use gristmill_outgoing::{Options, Resolve};
use gristmill_testkit::sns::{HOST, Message, Signature, TOPIC};
use gristmill_testkit::{FakeSns, TestRepo, wire};

/// The topic of a pattern.
const MANY: &str = "arn:aws:sns:eu-west-1:123456789012:many";

/// The topic of a project with a list of senders.
const LISTED: &str = "arn:aws:sns:eu-west-1:123456789012:listed";

/// A folder, a repository, SNS, and the program.
struct World {
    sns: Arc<FakeSns>,
    repo: TestRepo,
    folder: tempfile::TempDir,
    server: Server,
}

/// Who SNS is.
#[derive(Debug)]
struct Names(SocketAddr);

impl Resolve for Names {
    fn resolve(&self, name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        if name == HOST { Ok(vec![self.0]) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn around(folder: &Path, sns: &FakeSns) -> Surroundings {
    let path = |name: &str| (name == "PATH").then(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let mut around = Surroundings::new(folder.to_owned(), path);
    around.system_file = folder.join("none.toml");
    around.outgoing =
        Options { resolve: Arc::new(Names(sns.address())), roots: wire::ROOT.into(), ..around.outgoing };
    around
}

impl World {
    async fn start() -> World {
        let (sns, repo) = (Arc::new(FakeSns::start()), TestRepo::new());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let project = |name: &str, topic: &str, repository: &str| {
            format!(
                "[[project]]\nname = \"{name}\"\ngit = \"{}\"\npoll = \"off\"\nforge = \"codecommit\"\ntopic = \"{topic}\"\nrepository = \"{repository}\"\n[[project.pipeline]]\nkind = \"archive\"\nfirst_look = \"record\"\nkey = \"{name}/{{branch}}.zip\"\n",
                repo.url()
            )
        };
        let listed = "forge = \"codecommit\"\nallow_from = [\"192.0.2.1\"]";
        let listed =
            project("acme/listed", LISTED, "123456789012/listed").replace("forge = \"codecommit\"", listed);
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[network]\nallow = [\"127.0.0.0/8\"]\n{}{}{listed}",
            project("acme/shop", TOPIC, "123456789012/shop"),
            project("acme/beijing", "arn:aws-cn:sns:cn-north-1:123456789012:pushes", "123456789012/beijing"),
        );
        let many = project("many/*", MANY, "123456789012/*").replace(&repo.url(), "file:///nowhere/{repo}");
        let many = many.replace("key = \"many/*/{branch}.zip\"\n", "");
        std::fs::write(folder.path().join("gristmill.toml"), text + &many).expect("a file");
        let around = around(folder.path(), &sns);
        let (watch, config) = Watch::start(None, around.clone());
        let server = Server::start(config.expect("a configuration"), &around, watch).await;
        World { sns, repo, folder, server: server.expect("a server") }
    }

    /// Posts a body as SNS does; status and body of the answer.
    async fn post(&self, project: &str, body: Vec<u8>) -> (u16, String) {
        let url = format!("http://{}/hooks/{project}", self.server.address.expect("it listens"));
        let posted = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
            let request = agent.post(&url).header("content-type", "text/plain; charset=UTF-8");
            let mut response = request.send(body.as_slice()).expect("an answer");
            (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
        });
        posted.await.expect("no panic")
    }

    async fn send(&self, message: Message) -> (u16, String) {
        self.post("acme/shop", message.sign(Signature::Two).expect("this can be signed")).await
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        gristmill::serve::until_done(&self.server.app).await.expect("the queue can be read");
        self.server.app.db.read(|tx| delivery::list(tx, None, "~", 100)).await.expect("deliveries")
    }

    /// What is public under a key.
    fn public(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("gristmill-data/storage/public").join(key)).ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_1_a_push_at_codecommit_is_published() {
    let world = World::start().await;
    let changes = |text: &str| gristmill_testkit::repo::Changes::new().file("file.txt", text);
    let first = world.repo.commit("main", &changes("one"));
    let push = |commit: &str| world.sns.push("shop", &[("refs/heads/main", commit)]);
    let message = push(&first).sign(Signature::Two).expect("this can be signed");
    let (status, answer) = world.post("acme/shop", message.clone()).await;
    assert_eq!(status, 202, "{answer}");
    // Rule 6: the same message again has the first answer again.
    assert_eq!(world.post("acme/shop", message).await, (202, answer));
    let found = world.deliveries().await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].state.to_string().as_str(), found[0].event.as_str()), ("handled", "Notification"));
    let archive = world.public("acme/shop/main.zip").expect("an archive");
    assert!(gristmill::check::against_git(world.repo.path(), &first, &archive).is_ok());

    let second = world.repo.commit("main", &changes("two"));
    match push(&second).sign(Signature::One) {
        None => gristmill_testkit::skip(
            "rule_1_a_push_at_codecommit_is_published",
            "no program openssl for SHA-1",
        ),
        Some(body) => {
            assert_eq!(world.post("acme/shop", body).await.0, 202);
            assert_eq!(world.deliveries().await.len(), 2);
            let archive = world.public("acme/shop/main.zip").expect("an archive");
            assert!(gristmill::check::against_git(world.repo.path(), &second, &archive).is_ok());
        }
    }
    assert_eq!(world.sns.requests(), ["/SimpleNotificationService-valid.pem"], "the certificate is kept");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_confirmed_for_the_topic_of_the_project_alone() {
    let world = World::start().await;
    let ours = || world.sns.confirmation("SubscriptionConfirmation");
    let visits = || world.sns.requests().iter().filter(|path| path.starts_with("/?Action=")).count();
    for foreign in [
        ours().with("TopicArn", "arn:aws:sns:eu-west-1:123456789012:others"),
        ours().with("TopicArn", "arn:aws:sns:eu-west-1:210987654321:pushes"),
    ] {
        assert_eq!(world.send(foreign).await.0, 401);
    }
    assert_eq!(world.sns.requests().len(), 0, "nothing is fetched for a foreign topic");
    for url in [
        "https://evil.invalid/?Action=ConfirmSubscription&Token=x",
        "https://sns.eu-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=x",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=x",
    ] {
        assert_eq!(
            world.send(ours().with("SubscribeURL", url)).await.0,
            202,
            "{url}: signed, but not visited"
        );
    }
    assert_eq!(visits(), 0);
    let forged = ours().sign(Signature::Forged).expect("this can be signed");
    assert_eq!((world.post("acme/shop", forged).await.0, visits()), (401, 0));

    assert_eq!((world.send(ours()).await.0, visits()), (202, 1));
    assert_eq!(world.send(world.sns.confirmation("UnsubscribeConfirmation")).await.0, 202);
    assert_eq!(visits(), 1, "nobody is subscribed again");
    let found = world.deliveries().await;
    assert_eq!(found.len(), 5);
    let told: Vec<(String, Option<&str>)> =
        found[..2].iter().map(|one| (one.state.to_string(), one.reason.as_deref())).collect();
    assert_eq!(told[0].0, "ignored");
    assert!(told[0].1.is_some_and(|reason| reason.contains("UnsubscribeConfirmation")), "{told:?}");
    assert_eq!(told[1], ("handled".to_owned(), None));

    let of_pattern = ours().with("TopicArn", MANY).sign(Signature::Two).expect("this can be signed");
    let told = r#"{"ignored":"the subscription of a pattern's topic is confirmed"}"#.to_owned();
    assert_eq!(world.post("many/*", of_pattern).await, (202, told));
    assert_eq!(visits(), 2);

    // What SNS cannot do now it is to ask for again; what it refuses is told in the log.
    world.sns.set_fault(503);
    let message = ours();
    assert_eq!(world.send(message.clone()).await.0, 503);
    assert_eq!(world.deliveries().await.len(), 5, "not accepted, so not stored");
    world.sns.set_fault(0);
    assert_eq!((world.send(message).await.0, visits()), (202, 4));
    world.sns.set_fault(400);
    assert_eq!((world.send(ours()).await.0, visits()), (202, 5));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_surely_of_the_topic_is_refused_and_little_is_fetched() {
    let world = World::start().await;
    let push = || world.sns.push("shop", &[("refs/heads/main", "1111111111111111111111111111111111111111")]);
    let unknown = world.post("acme/unknown", push().sign(Signature::Two).expect("this can be signed")).await;
    assert_eq!(unknown.0, 401);
    let named =
        |url: &str| push().with("SigningCertURL", url).sign(Signature::Two).expect("this can be signed");
    for url in [
        "https://evil.invalid/SimpleNotificationService-valid.pem",
        "https://sns.eu-west-2.amazonaws.com/SimpleNotificationService-valid.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.invalid/a.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-valid.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-valid.pem",
        "https://127.0.0.1/SimpleNotificationService-valid.pem",
    ] {
        assert_eq!(world.post("acme/shop", named(url)).await, unknown, "{url}");
    }
    let other_region = push().sign(Signature::Two).expect("this can be signed");
    assert_eq!(world.post("acme/beijing", other_region).await, unknown);
    assert_eq!(world.sns.requests().len(), 0);

    let expired = format!("https://{HOST}/SimpleNotificationService-expired.pem");
    let gone = format!("https://{HOST}/SimpleNotificationService-gone.pem");
    for _ in 0..3 {
        assert_eq!(world.post("acme/shop", named(&expired)).await, unknown, "an expired certificate");
        assert_eq!(world.post("acme/shop", named(&gone)).await, unknown, "no certificate");
        let forged = push().sign(Signature::Forged).expect("this can be signed");
        assert_eq!(world.post("acme/shop", forged).await, unknown, "a forged signature");
    }
    let changed = String::from_utf8(push().sign(Signature::Two).expect("this can be signed")).expect("text");
    let changed = changed.replace("refs/heads/main", "refs/heads/evil");
    assert_eq!(world.post("acme/shop", changed.into_bytes()).await, unknown, "another text");
    assert_eq!(world.sns.requests().len(), 3, "each is asked for once");

    // Seven more may be asked for in this minute.
    let mut statuses = Vec::new();
    for number in 0..9 {
        let url = format!("https://{HOST}/SimpleNotificationService-{number}.pem");
        statuses.push(world.post("acme/shop", named(&url)).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 401, 503, 503]);
    assert_eq!(world.sns.requests().len(), 10);
    assert_eq!(world.deliveries().await.len(), 0);
    // Another topic is heard all the same.
    let of_many = push().with("TopicArn", MANY).with("SigningCertURL", &expired.replace("expired", "other"));
    let of_many = of_many.sign(Signature::Two).expect("this can be signed");
    assert_eq!((world.post("many/*", of_many).await, world.sns.requests().len()), (unknown, 11));
    // Who is known is not kept out by that.
    assert_eq!(world.send(push()).await.0, 202);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_who_is_not_listed_nor_for_what_sns_does_not_send() {
    let world = World::start().await;
    let push = || world.sns.push("shop", &[("refs/heads/main", "1111111111111111111111111111111111111111")]);
    let unlisted = push().with("TopicArn", LISTED).sign(Signature::Two).expect("this can be signed");
    let unknown = world.post("acme/unknown", unlisted.clone()).await;
    assert_eq!(world.post("acme/listed", unlisted).await, unknown);
    let long = |bytes: usize| {
        let mut body = push().sign(Signature::Two).expect("this can be signed");
        body.resize(bytes, b' ');
        body
    };
    assert_eq!(world.post("acme/shop", long((1 << 20) + 1)).await, unknown);
    assert_eq!(world.sns.requests().len(), 0);
    assert_eq!(world.post("acme/shop", long(1 << 20)).await.0, 202);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_fetched_now_is_fetched_later() {
    let world = World::start().await;
    world.sns.set_fault(500);
    let message = world.sns.push("shop", &[("refs/heads/main", "1111111111111111111111111111111111111111")]);
    let body = message.sign(Signature::Two).expect("this can be signed");
    for _ in 0..2 {
        assert_eq!(world.post("acme/shop", body.clone()).await.0, 503);
    }
    assert_eq!(world.sns.requests().len(), 1, "a failure counts for a while");
    world.sns.set_fault(0);
    let until_taken = async {
        while world.post("acme/shop", body.clone()).await.0 != 202 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(gristmill_testkit::server::PATIENCE, until_taken)
        .await
        .expect("it is taken in the end");
    assert_eq!(world.sns.requests().len(), 2);
    world.server.stop().await;
}
