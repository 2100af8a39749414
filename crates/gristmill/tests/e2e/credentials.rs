//! Where the credentials for a bucket come from: each source, by the real program, and that the bucket's calls are
//! signed with what that source gave, also when it has ended meanwhile.

mod sources;

use std::net::SocketAddr;
use std::process::Command;

use gristmill_testkit::FakeAws;
use gristmill_testkit::aws::{CONTAINER_TOKEN, Grant, SSO_REFRESH_TOKEN, SSO_TOKEN, WEB_IDENTITY};
use gristmill_testkit::faults::{Proxy, Seen};
use gristmill_testkit::s3::{self, Kind};
use gristmill_testkit::server::Server;

use crate::world::BINARY;
use sources::{BROKEN, CHAIN, CHOSEN, ENVIRONMENT, From, ROLE_SETTINGS, Source, Texts};

/// A program that is not started, its bucket, and who gives credentials.
struct Place {
    server: Server,
    proxy: Proxy,
    aws: FakeAws,
}

impl Place {
    fn new(s3: &s3::Server, aws: FakeAws, settings: &str) -> Place {
        let proxy = Proxy::start(&s3.endpoint);
        let mut server = Server::new(BINARY);
        let (bucket, endpoint) = (s3.bucket(true), proxy.endpoint());
        server.set_settings(&format!(
            "[storage]\nurl = \"s3://{bucket}/mill\"\nendpoint = \"{endpoint}\"\n{settings}"
        ));
        for service in ["STS", "SSO", "SSO_OIDC"] {
            server.set_env(&format!("AWS_ENDPOINT_URL_{service}"), &aws.endpoint());
        }
        Place { server, proxy, aws }
    }

    fn add(&mut self, source: &Source) {
        let folder = self.server.folder().to_owned();
        let shown = folder.to_str().expect("a plain name");
        let fill = |text: &str| text.replace("{aws}", &self.aws.endpoint()).replace("{folder}", shown);
        for (name, text) in source.files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("within the folder")).expect("a folder");
            std::fs::write(path, fill(text)).expect("written");
        }
        let env: Vec<_> = source.env.iter().map(|(name, value)| (*name, fill(value))).collect();
        for (name, value) in env {
            self.server.set_env(name, &value);
        }
    }

    /// Has the program try the bucket out; the ids and session tokens that its calls were signed with, in their order.
    fn signers(&self, name: &str) -> Vec<(String, Option<String>)> {
        let output = self.server.cli(&["doctor"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.contains("versioned"), "{name}: {said}");
        for secret in ["secret-", "token-", "token+of", SSO_TOKEN, SSO_REFRESH_TOKEN, WEB_IDENTITY] {
            assert!(!said.contains(secret), "{name}: {secret} in {said}");
        }
        let seen = self.proxy.take_seen();
        assert!(seen.len() > 20, "{name}: only {}", seen.len());
        seen.iter().map(signer).collect()
    }
}

fn signer(seen: &Seen) -> (String, Option<String>) {
    let header = |wanted: &str| seen.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let signed = header("authorization").expect("a signature");
    let scope = signed.split_once("Credential=").expect("of version 4").1;
    let (id, scope) = scope.split_once('/').expect("an id");
    assert!(scope.contains("/s3/aws4_request"), "{signed}");
    (id.to_owned(), header("x-amz-security-token").cloned())
}

/// Compares what signed with what the source gave. Of what ends at once, each is used until the next is there.
fn judge(source: &Source, signers: &[(String, Option<String>)], grants: &[Grant]) {
    let name = source.name;
    let (first, last) = (signers.first().expect("calls"), signers.last().expect("calls"));
    match source.from {
        From::Keys(id, token) => {
            let expected = (id.to_owned(), token.map(str::to_owned));
            assert!(signers.iter().all(|signer| *signer == expected), "{name}: {signers:?}");
            assert_eq!(grants, [], "{name}");
        }
        From::Granted(by, shown, asked) => {
            let found: Vec<&Grant> = grants.iter().filter(|grant| grant.by == by).collect();
            let pair = |grant: &Grant| (grant.access_key.clone(), Some(grant.session_token.clone()));
            let given: Vec<_> = found.iter().map(|grant| pair(grant)).collect();
            assert!(given.len() > 1, "{name}: nothing was fetched anew: {grants:#?}");
            assert!(signers.iter().all(|signer| given.contains(signer)), "{name}: {signers:?} {grants:#?}");
            assert!(given.iter().all(|given| signers.contains(given)), "{name}: {signers:?} {grants:#?}");
            assert_eq!((first, last), (&given[0], &given[given.len() - 1]), "{name}");
            for grant in found {
                // What another source gave is shown by its newest id.
                let before = || grants.iter().take_while(|other| *other != grant);
                let other = before().filter(|other| other.by == shown).last().map(|other| &*other.access_key);
                assert_eq!(grant.shown, other.unwrap_or(shown), "{name}");
                for (parameter, value) in asked {
                    assert_eq!(
                        grant.asked.get(*parameter).map(String::as_str),
                        Some(*value),
                        "{name}: {parameter}"
                    );
                }
            }
        }
        From::Others(begin) => {
            assert!(
                signers.iter().all(|(id, token)| id.starts_with(begin) && token.is_some()),
                "{name}: {signers:?}"
            );
            assert_ne!(first, last, "{name}: nothing was fetched anew");
        }
    }
}

#[test]
fn the_first_source_of_the_chain_counts() {
    let Some(s3) = s3::Server::shared(Kind::Moto, "credentials::the_first_source") else { return };
    for first in 0..CHAIN.len() {
        let mut place = Place::new(s3, FakeAws::start(), "region = \"us-east-1\"\n");
        place.aws.end_at_once(2);
        for source in &CHAIN[first..] {
            place.add(source);
        }
        let signers = place.signers(CHAIN[first].name);
        judge(&CHAIN[first], &signers, &place.aws.grants());
    }
}

#[test]
fn the_chosen_source_counts() {
    let Some(s3) = s3::Server::shared(Kind::Moto, "credentials::the_chosen_source") else { return };
    for source in &CHOSEN {
        let mut place = Place::new(s3, FakeAws::start(), source.settings);
        place.aws.end_at_once(2);
        place.add(source);
        let signers = place.signers(source.name);
        judge(source, &signers, &place.aws.grants());
    }
}

/// Another's STS: moto takes a role for whoever asks.
#[test]
fn a_role_is_taken_where_the_environment_says() {
    let Some(s3) = s3::Server::shared(Kind::Moto, "credentials::a_role") else { return };
    let mut place = Place::new(s3, FakeAws::start(), ROLE_SETTINGS);
    place.add(&ENVIRONMENT);
    place.server.set_env("AWS_ENDPOINT_URL_STS", &s3.endpoint);
    let signers = place.signers("moto");
    let first = signers.first().expect("calls");
    assert!(
        first.0.starts_with("ASIA") && first.0 != "ASIAENVIRONMENT00001" && first.1.is_some(),
        "{first:?}"
    );
    assert!(signers.iter().all(|signer| signer == first), "one role is enough: {signers:?}");
}

/// The setting, then the environment, then the profile; then the first one of all.
#[test]
fn the_region_is_said_by_the_first_that_knows_it() {
    let Some(s3) = s3::Server::shared(Kind::Moto, "credentials::the_region") else { return };
    let setting = "profile = \"mill\"\nregion = \"eu-west-1\"\n";
    let without = "profile = \"mill\"\n";
    const KEYS: &str =
        "[mill]\naws_access_key_id = AKIAMILL000000000001\naws_secret_access_key = secret-mill\n";
    const KEYS_ONLY: Texts = &[(".aws/credentials", KEYS)];
    const WITH_REGION: Texts = &[KEYS_ONLY[0], (".aws/config", "[profile mill]\nregion = eu-west-3\n")];
    const IN_ENVIRONMENT: Texts = &[("AWS_REGION", "eu-west-2")];
    for (settings, env, files, region) in [
        (setting, IN_ENVIRONMENT, WITH_REGION, "eu-west-1"),
        (without, IN_ENVIRONMENT, WITH_REGION, "eu-west-2"),
        (without, &[], WITH_REGION, "eu-west-3"),
        (without, &[], KEYS_ONLY, "us-east-1"),
    ] {
        let mut place = Place::new(s3, FakeAws::start(), settings);
        place.add(&Source { name: region, settings, env, files, from: From::Others("") });
        place.server.cli_text(&["doctor"]);
        let seen = place.proxy.take_seen();
        let signed =
            |seen: &Seen| seen.headers.iter().any(|(_, value)| value.contains(&format!("/{region}/s3/")));
        assert!(!seen.is_empty() && seen.iter().all(signed), "{region}: {:?}", seen[0].headers);
    }
}
#[test]
fn what_is_wrong_is_said() {
    let Some(s3) = s3::Server::shared(Kind::Moto, "credentials::what_is_wrong") else { return };
    for (name, settings, env, files, expected) in BROKEN {
        let mut place = Place::new(s3, FakeAws::start(), settings);
        place.add(&Source { name, settings, env, files, from: From::Others("") });
        let output = place.server.cli(&["doctor"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(place.proxy.seen(), [], "{name}");
        assert!(!output.status.success(), "{name}: {said}");
        for text in expected {
            assert!(said.contains(text), "{name}: no `{text}` in {said}");
        }
        // The server does not start then. It says it once, and not what the SDK thinks of it.
        let output = place.server.cli(&["serve"]);
        let started = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && started.contains(expected[0]), "{name}: {started}");
        assert_eq!(started.trim_end().lines().count(), 1, "{name}: {started}");
        for secret in ["secret-", "token-of", "a-token", "AKIA", "ASIA"] {
            assert!(
                !said.contains(secret) && !started.contains(secret),
                "{name}: {secret} in {said} {started}"
            );
        }
    }
}

/// Where the services of Amazon are on its machines, in a network of its own that has nothing else.
#[test]
fn containers_and_instances_are_asked_at_their_own_addresses() {
    let test = "credentials::containers_and_instances_are_asked_at_their_own_addresses";
    let isolated =
        Command::new("unshare").args(["--net", "true"]).output().is_ok_and(|output| output.status.success());
    if !isolated {
        gristmill_testkit::skip(test, "a network of its own needs root and unshare");
        return;
    }
    let this = std::env::current_exe().expect("this program");
    let child = "credentials::in_a_network_of_its_own";
    let mut command = Command::new("unshare");
    command.arg("--net").arg(this).args(["--ignored", "--exact", "--nocapture", child]);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by containers_and_instances_are_asked_at_their_own_addresses"]
fn in_a_network_of_its_own() {
    for args in ["link set lo up", "addr add 169.254.170.2/32 dev lo", "addr add 169.254.169.254/32 dev lo"] {
        let status = Command::new("ip").args(args.split(' ')).status().expect("ip starts");
        assert!(status.success(), "ip {args}");
    }
    let Some(s3) = s3::Server::start(Kind::Moto, "credentials::in_a_network_of_its_own") else { return };
    let at = |address: [u8; 4]| FakeAws::start_at(SocketAddr::from((address, 80)));
    let container = Source {
        name: "container, relative",
        settings: "",
        env: &[
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/task"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ],
        files: &[],
        from: From::Granted("container", CONTAINER_TOKEN, &[("path", "/v2/task")]),
    };
    let instance = Source { name: "instance, unasked", env: &[], ..CHAIN[4] };
    for (source, address) in [(container, [169, 254, 170, 2]), (instance, [169, 254, 169, 254])] {
        let mut place = Place::new(&s3, at(address), "");
        place.aws.end_at_once(2);
        place.add(&source);
        judge(&source, &place.signers(source.name), &place.aws.grants());
    }
}
