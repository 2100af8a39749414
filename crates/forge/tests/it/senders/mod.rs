//! Every sender by the rules: who is let in and who is not, in one table.

mod single;

use std::time::Duration;

use bytes::Bytes;
use gristmill_forge::{
    Check, Forge, HeaderName, Headers, Outcome, Secret, Sending, Verified, Verifier, VerifyError,
};
use gristmill_model::Timestamp;

use crate::secret;

/// When everything here happens: 2026-11-20T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_132_800_000);
const ID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
/// The base64 of `0123456789abcdef`, and of the same with a `g` at its end.
const SIGNING: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==";
const OTHER_SIGNING: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZw==";

/// A way to be verified: the forge, its settings, a secret and another one of that form.
struct Way {
    forge: Forge,
    basic: bool,
    header: Option<&'static str>,
    secret: &'static str,
    other: &'static str,
    /// The header that decides, and the verifier.
    proof: (&'static str, Verifier),
}

const fn way(forge: Forge, proof: (&'static str, Verifier)) -> Way {
    Way { forge, basic: false, header: None, secret: "right", other: "wrong", proof }
}

const AZURE: Way = way(Forge::AzureDevops, ("Authorization", Verifier::Basic));

const WAYS: [Way; 14] = [
    way(Forge::Github, ("X-Hub-Signature-256", Verifier::GithubHmacSha256)),
    way(Forge::Gitlab, ("X-Gitlab-Token", Verifier::GitlabToken)),
    Way {
        secret: SIGNING,
        other: OTHER_SIGNING,
        ..way(Forge::Gitlab, ("webhook-signature", Verifier::GitlabSigningToken))
    },
    way(Forge::Bitbucket, ("X-Hub-Signature", Verifier::BitbucketHmacSha256)),
    way(Forge::BitbucketServer, ("X-Hub-Signature", Verifier::BitbucketHmacSha256)),
    Way { basic: true, ..way(Forge::BitbucketServer, ("Authorization", Verifier::Basic)) },
    way(Forge::Gitea, ("X-Gitea-Signature", Verifier::GiteaHmacSha256)),
    way(Forge::Forgejo, ("X-Forgejo-Signature", Verifier::GiteaHmacSha256)),
    way(Forge::Gogs, ("X-Gogs-Signature", Verifier::GiteaHmacSha256)),
    AZURE,
    Way { secret: "ann:right", other: "ann:wrong", ..AZURE },
    Way { header: Some("X-My-Token"), proof: ("X-My-Token", Verifier::CustomHeader), ..AZURE },
    way(Forge::Generic, ("X-Git-Token", Verifier::GitToken)),
    way(Forge::Bare, ("X-Gristmill-Signature-256", Verifier::GristmillHmacSha256)),
];

type Pairs = Vec<(String, String)>;

impl Way {
    fn send(&self, secret: &str, body: &[u8]) -> Pairs {
        let header: Option<HeaderName> = self.header.map(|name| name.parse().unwrap());
        let sending = Sending {
            forge: self.forge,
            event: "push",
            delivery_id: ID,
            now: NOW,
            basic: self.basic,
            header: header.as_ref(),
        };
        sending.headers(&crate::secret(secret), body).unwrap()
    }

    fn check(&self, headers: &Pairs, body: &[u8], secrets: &[&str]) -> Result<Verified, VerifyError> {
        let header: Option<HeaderName> = self.header.map(|name| name.parse().unwrap());
        let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
        let check =
            Check { basic: self.basic, header: header.as_ref(), ..Check::new(self.forge, &secrets, NOW) };
        verified(check.verify(&pairs(headers), Bytes::copy_from_slice(body)))
    }

    fn named(&self) -> String {
        format!("{} by {} with {}", self.forge, self.proof.1, self.secret)
    }
}

pub(crate) fn pairs(headers: &Pairs) -> Headers<'_> {
    Headers::new(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

pub(crate) fn verified(outcome: Result<Outcome, VerifyError>) -> Result<Verified, VerifyError> {
    outcome.map(|outcome| match outcome {
        Outcome::Delivery(verified) => verified,
        Outcome::Probe => panic!("a probe"),
    })
}

const BODY: &[u8] = br#"{"object_kind":"push","eventType":"git.push","subscriptionId":"s","id":"e"}"#;

#[test]
fn who_knows_the_secret_is_let_in() {
    for way in WAYS {
        let found = way.check(&way.send(way.secret, BODY), BODY, &[way.secret]).unwrap();
        assert_eq!(found.verifier(), way.proof.1, "{}", way.named());
        assert_eq!((found.forge(), found.secret_index()), (way.forge, Some(0)));
        assert_eq!(&found.body()[..], BODY);
        let (event, id) = match way.forge {
            Forge::Generic => ("unnamed", None),
            Forge::Bare => ("post-receive", Some(ID)),
            Forge::AzureDevops => ("git.push", Some("s/e")),
            _ => ("push", Some(ID)),
        };
        let digest = gristmill_model::Digest::of(BODY).to_string();
        assert_eq!((found.event(), found.delivery_id()), (event, id.unwrap_or(&digest)), "{}", way.named());
        let ten_minutes = (way.forge == Forge::Generic).then_some(Duration::from_secs(600));
        assert_eq!(found.id_stands_for(), ten_minutes, "{}", way.named());
    }
}

#[test]
fn rule_1_the_proof_in_any_other_header_lets_nobody_in() {
    for way in WAYS {
        let sent = way.send(way.secret, BODY);
        for header in WAYS.map(|way| way.proof.0).iter().filter(|name| **name != way.proof.0) {
            let into = |name: &String| if name == way.proof.0 { (*header).to_owned() } else { name.clone() };
            let moved: Pairs = sent.iter().map(|(name, value)| (into(name), value.clone())).collect();
            let error = way.check(&moved, BODY, &[way.secret]).unwrap_err();
            let expected = match (way.header, way.proof.0) {
                (Some(_), _) => "the header that the project names",
                (None, name) => name,
            };
            // GitHub's old header is asked too, for what is signed by SHA-1.
            if (way.forge, *header) == (Forge::Github, "X-Hub-Signature") {
                assert!(matches!(error, VerifyError::MalformedSignature { header: "X-Hub-Signature", .. }));
            } else {
                assert_eq!(error, VerifyError::Unsigned { header: expected }, "{} in {header}", way.named());
            }
        }
        // And everything that the others send, all of it right, is nothing beside it.
        let mut others: Pairs = sent.iter().filter(|(name, _)| name != way.proof.0).cloned().collect();
        for other in WAYS.iter().filter(|other| other.proof.0 != way.proof.0) {
            let more = other.send(way.secret_for(other), BODY);
            others.extend(more.into_iter().filter(|(name, _)| name == other.proof.0));
            others.sort();
            others.dedup_by(|one, next| one.0 == next.0);
        }
        assert!(way.check(&others, BODY, &[way.secret]).is_err(), "{}", way.named());
    }
}

impl Way {
    /// What the other way would be sent with, were its secret this one's.
    fn secret_for(&self, other: &Way) -> &'static str {
        if other.secret == SIGNING { other.secret } else { self.secret }
    }
}

#[test]
fn rule_1_header_names_are_of_any_case_for_every_sender() {
    for way in WAYS {
        let sent = way.send(way.secret, BODY);
        for change in [str::to_ascii_lowercase, str::to_ascii_uppercase] {
            let sent = sent.iter().map(|(name, value)| (change(name), value.clone())).collect();
            let found = way.check(&sent, BODY, &[way.secret]).unwrap();
            assert_eq!(found.verifier(), way.proof.1, "{}", way.named());
        }
    }
}

#[test]
fn rule_2_wrong_missing_and_several_secrets_for_every_sender() {
    for way in WAYS {
        let sent = way.send(way.secret, BODY);
        assert_eq!(way.check(&sent, BODY, &[]).unwrap_err(), VerifyError::NoSecret, "{}", way.named());
        let wrong = way.check(&sent, BODY, &[way.other]).unwrap_err();
        assert_eq!(wrong, VerifyError::Mismatch, "{}", way.named());
        for (secrets, index) in [
            ([way.secret, way.other, way.other], 0),
            ([way.other, way.secret, way.other], 1),
            ([way.other, way.other, way.secret], 2),
        ] {
            assert_eq!(
                way.check(&sent, BODY, &secrets).unwrap().secret_index(),
                Some(index),
                "{}",
                way.named()
            );
        }
        let twice: Pairs =
            sent.iter().chain(sent.iter().filter(|(name, _)| name == way.proof.0)).cloned().collect();
        let shown = if way.header.is_some() { "the header that the project names" } else { way.proof.0 };
        assert_eq!(
            way.check(&twice, BODY, &[way.secret]).unwrap_err().to_string(),
            format!("the header `{shown}` came more than once; expected one")
        );
    }
}

#[test]
fn rule_2_an_unknown_project_gets_the_error_of_a_bad_signature_from_every_sender() {
    for way in WAYS {
        let header: Option<HeaderName> = way.header.map(|name| name.parse().unwrap());
        let dummy = |headers: &Pairs, text: &str| {
            let secrets = [secret(text)];
            let check =
                Check { basic: way.basic, header: header.as_ref(), ..Check::new(way.forge, &secrets, NOW) };
            check.verify_dummy(&pairs(headers), Bytes::from_static(BODY)).unwrap_err()
        };
        let sent = way.send(way.secret, BODY);
        let bare: Pairs = sent.iter().filter(|(name, _)| name != way.proof.0).cloned().collect();
        let mut garbled = sent.clone();
        garbled.iter_mut().filter(|(name, _)| name == way.proof.0).for_each(|(_, value)| value.push('!'));
        for headers in [&sent, &bare, &garbled] {
            let known = way.check(headers, BODY, &[way.other]).unwrap_err();
            assert_eq!(dummy(headers, way.other), known, "{}", way.named());
            assert!(!known.is_authenticated());
            let text = format!("{known} {known:?}");
            assert!(!text.contains("right") || text.contains("expected"), "{text}");
        }
        // Whoever guesses the dummy secret is still nobody, whatever else is wrong.
        let nameless: Pairs = sent
            .iter()
            .filter(|(name, _)| name.starts_with("webhook") || name == way.proof.0)
            .cloned()
            .collect();
        assert_eq!(dummy(&sent, way.secret), VerifyError::Mismatch, "{}", way.named());
        assert_eq!(dummy(&nameless, way.secret), VerifyError::Mismatch, "{}", way.named());
    }
}

#[test]
fn rule_4_a_changed_byte_is_noticed_by_all_that_sign() {
    for way in WAYS {
        let sent = way.send(way.secret, BODY);
        let changed = [BODY, b" "].concat();
        let signs = !matches!(
            way.proof.1,
            Verifier::GitlabToken | Verifier::Basic | Verifier::CustomHeader | Verifier::GitToken
        );
        let outcome = way.check(&sent, &changed, &[way.secret]).map(|_| ());
        let expected = if signs { Err(VerifyError::Mismatch) } else { Ok(()) };
        assert_eq!(outcome, expected, "{}", way.named());
    }
}

#[test]
fn malformed_proofs_for_every_sender() {
    for way in WAYS {
        let sent = way.send(way.secret, BODY);
        let with = |value: &str| -> Pairs {
            let put = |name: &String, old: &String| {
                if name == way.proof.0 { value.to_owned() } else { old.clone() }
            };
            sent.iter().map(|(name, old)| (name.clone(), put(name, old))).collect()
        };
        let right = sent.iter().find(|(name, _)| name == way.proof.0).unwrap().1.clone();
        let token =
            matches!(way.proof.1, Verifier::GitlabToken | Verifier::CustomHeader | Verifier::GitToken);
        // Spaces part the signatures of the Standard Webhooks.
        let spaced = if way.secret == SIGNING { format!("-{right}") } else { format!(" {right}") };
        for value in ["", " ", "x", &right[..right.len() - 1], &format!("{right}0"), &spaced] {
            let error = way.check(&with(value), BODY, &[way.secret]).unwrap_err();
            if token {
                assert_eq!(error, VerifyError::Mismatch, "{} {value:?}", way.named());
            } else {
                assert!(
                    matches!(error, VerifyError::MalformedSignature { header, .. } if header == way.proof.0),
                    "{} {value:?}: {error}",
                    way.named()
                );
            }
        }
    }
}

#[test]
fn rule_6_replays_have_the_same_id() {
    for way in WAYS.iter().filter(|way| !matches!(way.forge, Forge::Generic)) {
        let sent = way.send(way.secret, BODY);
        let again = |_| way.check(&sent, BODY, &[way.secret]).unwrap().delivery_id().to_owned();
        let [first, second] = [0, 1].map(again);
        assert_eq!(first, second);
        assert_ne!(first, gristmill_model::Digest::of(BODY).to_string(), "{}", way.named());
    }
}

#[test]
fn rule_6_without_the_forges_id_the_bodys_digest_stands_for_ten_minutes() {
    let body = b"{}";
    for way in &WAYS {
        let id_header = if way.secret == SIGNING { "webhook-id" } else { way.forge.delivery_header() };
        let sent = way.send(way.secret, body).into_iter().filter(|(name, _)| name != id_header).collect();
        match (way.forge, way.check(&sent, body, &[way.secret])) {
            (Forge::Bare, outcome) => {
                let error = outcome.unwrap_err();
                assert_eq!(error, VerifyError::DeliveryUlid { header: "X-Gristmill-Delivery" });
                assert!(error.is_authenticated());
            }
            (_, outcome) if way.secret == SIGNING => {
                assert_eq!(outcome.unwrap_err(), VerifyError::Unsigned { header: "webhook-id" });
            }
            (_, outcome) => {
                let found = outcome.unwrap();
                let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
                assert_eq!(found.delivery_id(), digest, "{}", way.named());
                assert_eq!(found.id_stands_for(), Some(Duration::from_secs(600)));
            }
        }
    }
}
