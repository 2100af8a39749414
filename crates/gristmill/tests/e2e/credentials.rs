//! Where the credentials for a bucket come from: each source, by the real program, and that the bucket's calls are
//! signed with what that source gave, also when it has ended meanwhile.

use std::net::SocketAddr;
use std::process::Command;

use gristmill_testkit::FakeAws;
use gristmill_testkit::aws::{CONTAINER_TOKEN, Grant, SSO_REFRESH_TOKEN, SSO_TOKEN, WEB_IDENTITY};
use gristmill_testkit::faults::{Proxy, Seen};
use gristmill_testkit::s3::{self, Kind};
use gristmill_testkit::server::Server;

use crate::world::BINARY;

/// Texts by names: variables of the environment, or files in the folder that is also the home.
type Texts = &'static [(&'static str, &'static str)];

/// A source of credentials. `{aws}` is where the fake of Amazon's services is, `{folder}` the program's folder.
#[derive(Clone, Copy)]
struct Source {
    name: &'static str,
    /// Of `[storage]`.
    settings: &'static str,
    env: Texts,
    files: Texts,
    from: From,
}

/// What the bucket's calls are signed with.
#[derive(Clone, Copy)]
enum From {
    /// These keys: the id, and the session's token, if any.
    Keys(&'static str, Option<&'static str>),
    /// What the fake gave by this call, to who showed this, for these parameters.
    Granted(&'static str, &'static str, Texts),
    /// What another source than the fake gives: the beginning of its ids.
    Others(&'static str),
}

/// Keys in the environment.
const ENVIRONMENT: Source = Source {
    name: "environment",
    settings: "",
    env: &[
        ("AWS_ACCESS_KEY_ID", "ASIAENVIRONMENT00001"),
        ("AWS_SECRET_ACCESS_KEY", "secret-environment"),
        ("AWS_SESSION_TOKEN", "token-environment"),
    ],
    files: &[],
    from: From::Keys("ASIAENVIRONMENT00001", Some("token-environment")),
};

/// What is found where nothing is configured, in the order in which it counts.
const CHAIN: [Source; 5] = [
    ENVIRONMENT,
    Source {
        name: "shared profile",
        settings: "",
        env: &[],
        files: &[(
            ".aws/credentials",
            "[default]\naws_access_key_id = AKIAPROFILE000000001\naws_secret_access_key = secret-profile\n",
        )],
        from: From::Keys("AKIAPROFILE000000001", None),
    },
    Source {
        name: "web identity",
        settings: "",
        env: &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "{folder}/web-identity"),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"),
            ("AWS_ROLE_SESSION_NAME", "mill-pod"),
        ],
        files: &[("web-identity", WEB_IDENTITY)],
        from: From::Granted(
            "AssumeRoleWithWebIdentity",
            WEB_IDENTITY,
            &[("RoleArn", "arn:aws:iam::123456789012:role/pod"), ("RoleSessionName", "mill-pod")],
        ),
    },
    Source {
        name: "container",
        settings: "",
        env: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{aws}/v1/task"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "{folder}/container-token"),
        ],
        files: &[("container-token", CONTAINER_TOKEN)],
        from: From::Granted("container", CONTAINER_TOKEN, &[("path", "/v1/task")]),
    },
    Source {
        name: "instance",
        settings: "",
        env: &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "{aws}")],
        files: &[],
        from: From::Granted(
            "instance",
            "instance-session-token",
            &[("path", "/latest/meta-data/iam/security-credentials/mill-instance")],
        ),
    },
];

const BASE: &str = "[base]\naws_access_key_id = AKIABASE000000000001\naws_secret_access_key = secret-base\n";
const ROLE: Texts = &[
    ("RoleArn", "arn:aws:iam::123456789012:role/mill"),
    ("ExternalId", "acme/42"),
    ("RoleSessionName", "mill-1"),
];
const ROLE_SETTINGS: &str = "role_arn = \"arn:aws:iam::123456789012:role/mill\"\nrole_external_id = \"acme/42\"\n\
    role_session_name = \"mill-1\"\n";

/// What is chosen, by a setting or by the environment. Where a setting does, keys lie in the environment besides, and
/// do not count.
const CHOSEN: [Source; 12] = [
    Source {
        name: "AWS_PROFILE",
        settings: "",
        env: &[("AWS_PROFILE", "base")],
        files: &[(".aws/credentials", BASE)],
        from: From::Keys("AKIABASE000000000001", None),
    },
    Source {
        name: "profile",
        settings: "profile = \"mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(
            ".aws/config",
            "[profile mill]\naws_access_key_id = ASIAMILL000000000001\naws_secret_access_key = secret-mill\n\
             aws_session_token = token-mill\n",
        )],
        from: From::Keys("ASIAMILL000000000001", Some("token-mill")),
    },
    Source {
        name: "credentials_file",
        settings: "credentials_file = \"keys\"\n",
        env: ENVIRONMENT.env,
        files: &[
            (
                "keys",
                "[default]\naws_access_key_id = ASIAFILE000000000001\naws_secret_access_key = secret-file\n\
                 aws_session_token = token-file\n",
            ),
            (".aws/credentials", "[default]\naws_access_key_id = AKIANOT\naws_secret_access_key = not\n"),
        ],
        from: From::Keys("ASIAFILE000000000001", Some("token-file")),
    },
    Source {
        name: "a role of a profile in credentials_file",
        settings: "credentials_file = \"keys\"\nprofile = \"mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(
            "keys",
            "[base]\naws_access_key_id = AKIABASE000000000001\naws_secret_access_key = secret-base\n[mill]\n\
             role_arn = arn:aws:iam::123456789012:role/mill\nsource_profile = base\nexternal_id = acme/42\n\
             role_session_name = mill-1\n",
        )],
        from: From::Granted("AssumeRole", "AKIABASE000000000001", ROLE),
    },
    Source {
        name: "a role of a profile",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (".aws/credentials", BASE),
            (
                ".aws/config",
                "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\nsource_profile = base\n\
                 external_id = acme/42\nrole_session_name = mill-1\n",
            ),
        ],
        from: From::Granted("AssumeRole", "AKIABASE000000000001", ROLE),
    },
    Source {
        name: "a role of a profile, with the container's credentials",
        settings: "profile = \"mill\"\n",
        env: &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "{aws}/v1/task"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ],
        files: &[(
            ".aws/config",
            "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\ncredential_source = EcsContainer\n\
             external_id = acme/42\nrole_session_name = mill-1\n",
        )],
        from: From::Granted("AssumeRole", "container", ROLE),
    },
    Source {
        name: "web identity of a profile",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            ("web-identity", WEB_IDENTITY),
            (
                ".aws/config",
                "[profile mill]\nrole_arn = arn:aws:iam::123456789012:role/mill\n\
                 web_identity_token_file = {folder}/web-identity\nrole_session_name = mill-1\n",
            ),
        ],
        from: From::Granted("AssumeRoleWithWebIdentity", WEB_IDENTITY, &[ROLE[0], ROLE[2]]),
    },
    Source {
        name: "SSO",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (
                ".aws/config",
                "[profile mill]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n\
                 sso_account_id = 123456789012\nsso_role_name = Mill\n",
            ),
            // Its name is the SHA-1 of the start's URL.
            (
                ".aws/sso/cache/40169cea58ca6cbf23fb27b2542923fb5f524af0.json",
                "{\"startUrl\": \"https://acme.awsapps.com/start\", \"region\": \"eu-west-1\", \
                 \"accessToken\": \"sso-access-token\", \"expiresAt\": \"2099-01-01T00:00:00Z\"}",
            ),
        ],
        from: From::Granted(
            "GetRoleCredentials",
            SSO_TOKEN,
            &[("account_id", "123456789012"), ("role_name", "Mill")],
        ),
    },
    Source {
        name: "a session of SSO that has ended and is renewed",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (
                ".aws/config",
                "[profile mill]\nsso_session = acme\nsso_account_id = 123456789012\nsso_role_name = Mill\n\
                 [sso-session acme]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n\
                 sso_registration_scopes = sso:account:access\n",
            ),
            // Its name is the SHA-1 of the session's.
            (
                ".aws/sso/cache/293abb6b76d7791c0732cc517d38c4b5c734b87f.json",
                "{\"startUrl\": \"https://acme.awsapps.com/start\", \"region\": \"eu-west-1\", \
                 \"accessToken\": \"sso-token-of-yesterday\", \"expiresAt\": \"2024-01-01T00:00:00Z\", \
                 \"clientId\": \"mill\", \"clientSecret\": \"secret-client\", \
                 \"registrationExpiresAt\": \"2099-01-01T00:00:00Z\", \"refreshToken\": \"sso-refresh-token\"}",
            ),
        ],
        from: From::Granted(
            "GetRoleCredentials",
            SSO_TOKEN,
            &[("account_id", "123456789012"), ("role_name", "Mill")],
        ),
    },
    Source {
        name: "credential_process",
        settings: "profile = \"mill\"\n",
        env: &[],
        files: &[
            (".aws/config", "[profile mill]\ncredential_process = /bin/sh \"{folder}/give\"\n"),
            (
                "give",
                "echo asked >> \"{folder}/asked\"\ncount=$(grep -c . \"{folder}/asked\")\nends='+4 seconds'\n\
                 [ \"$count\" -gt 2 ] && ends='+1 hour'\n\
                 printf '{\"Version\": 1, \"AccessKeyId\": \"ASIAPROCESS%09d\", \"SecretAccessKey\": \"secret\", \
                 \"SessionToken\": \"token\", \"Expiration\": \"%s\"}' \"$count\" \
                 \"$(date -u -d \"$ends\" +%Y-%m-%dT%H:%M:%SZ)\"\n",
            ),
        ],
        from: From::Others("ASIAPROCESS"),
    },
    Source {
        name: "role_arn",
        settings: ROLE_SETTINGS,
        env: ENVIRONMENT.env,
        files: &[],
        from: From::Granted("AssumeRole", "ASIAENVIRONMENT00001", ROLE),
    },
    Source {
        name: "role_arn with a profile",
        settings: "profile = \"base\"\nrole_arn = \"arn:aws:iam::123456789012:role/mill\"\n",
        env: ENVIRONMENT.env,
        files: &[(".aws/credentials", BASE)],
        from: From::Granted(
            "AssumeRole",
            "AKIABASE000000000001",
            &[ROLE[0], ("RoleSessionName", "gristmill")],
        ),
    },
];

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
    assert!(scope.contains("/us-east-1/s3/aws4_request"), "{signed}");
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
                    assert_eq!(grant.asked.get(*parameter).map(String::as_str), Some(*value), "{name}: {parameter}");
                }
            }
        }
        From::Others(begin) => {
            assert!(signers.iter().all(|(id, token)| id.starts_with(begin) && token.is_some()), "{name}: {signers:?}");
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
