//! [`FakeSns`]: Amazon SNS in `eu-west-1`, as far as a subscriber by https sees it.
//!
//! It signs as "Verifying the signatures of Amazon SNS messages" describes, and serves its certificates and the address
//! that confirms over TLS, as `sns.eu-west-1.amazonaws.com`. Nothing is sent by itself.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use crate::wire::{Wire, answer};

/// The host, which the certificate of [`crate::wire::ROOT`] is for.
pub const HOST: &str = "sns.eu-west-1.amazonaws.com";
/// The topic of most messages.
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:pushes";

/// Two certificates of one key, and a key that has none. They are for tests alone.
const VALID: &str = include_str!("sns/valid.pem");
const EXPIRED: &str = include_str!("sns/expired.pem");
const KEY: &str = include_str!("sns/key.pem");
const OTHER_KEY: &str = include_str!("sns/other.pem");

/// A fake SNS on 127.0.0.1. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeSns {
    wire: Wire,
    /// What every request is answered with, where it is not 0.
    fault: Arc<AtomicU16>,
    sent: AtomicU64,
}

/// A message that is not signed yet.
#[derive(Clone, Debug)]
pub struct Message(Map<String, Value>);

/// How a message is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signature {
    /// Version 1, SHA-1. Needs the program `openssl`.
    One,
    /// Version 2, SHA-256.
    Two,
    /// Version 2, with a key that is not SNS's.
    Forged,
}

impl FakeSns {
    /// Starts one.
    pub fn start() -> FakeSns {
        let fault = Arc::new(AtomicU16::new(0));
        let shared = Arc::clone(&fault);
        let wire = Wire::start_tls(move |head, _| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            match (shared.load(Ordering::SeqCst), path) {
                (0, "/SimpleNotificationService-valid.pem") => answer("200 OK", &[], VALID.as_bytes()),
                (0, "/SimpleNotificationService-expired.pem") => answer("200 OK", &[], EXPIRED.as_bytes()),
                (0, path) if path.starts_with("/?Action=ConfirmSubscription&") => {
                    answer("200 OK", &[("content-type", "text/xml")], b"<ConfirmSubscriptionResponse/>")
                }
                (0, _) => answer("404 Not Found", &[], b""),
                (fault, _) => answer(&format!("{fault} Fault"), &[], b""),
            }
        });
        FakeSns { wire, fault, sent: AtomicU64::new(1) }
    }

    /// Where it listens: what [`HOST`] must be for the program under test.
    pub fn address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// Answers everything with this status from now on; 0 for what it should.
    pub fn set_fault(&self, status: u16) {
        self.fault.store(status, Ordering::SeqCst);
    }

    /// Paths and queries of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        let target = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.wire.requests().iter().map(target).collect()
    }

    /// A notification with this text.
    pub fn notification(&self, message: &str) -> Message {
        self.message("Notification", message, &[])
    }

    /// What a trigger of CodeCommit tells: refs of a repository of account 123456789012, and their commits.
    pub fn push(&self, repository: &str, refs: &[(&str, &str)]) -> Message {
        let references: Vec<Value> =
            refs.iter().map(|(name, commit)| json!({ "ref": name, "commit": commit })).collect();
        let record = json!({
            "awsRegion": "eu-west-1",
            "codecommit": { "references": references },
            "eventName": "ReferenceChanges",
            "eventSource": "aws:codecommit",
            "eventSourceARN": format!("arn:aws:codecommit:eu-west-1:123456789012:{repository}"),
        });
        self.notification(&json!({ "Records": [record] }).to_string())
    }

    /// `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    pub fn confirmation(&self, kind: &str) -> Message {
        let token = format!("token{}", self.sent.load(Ordering::SeqCst));
        let url = format!("https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}");
        self.message(
            kind,
            "You have chosen to subscribe to the topic.",
            &[("SubscribeURL", &url), ("Token", &token)],
        )
    }

    fn message(&self, kind: &str, text: &str, more: &[(&str, &str)]) -> Message {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let message = Message(Map::new())
            .with("Type", kind)
            .with("MessageId", &format!("00000000-0000-4000-8000-{number:012}"))
            .with("TopicArn", TOPIC)
            .with("Message", text)
            .with("Timestamp", "2026-11-20T20:20:20.000Z")
            .with("SigningCertURL", &format!("https://{HOST}/SimpleNotificationService-valid.pem"));
        more.iter().fold(message, |message, (name, value)| message.with(name, value))
    }
}

impl Message {
    /// With another value of a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: &str) -> Message {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// The body that is posted. `None` where it cannot be signed so on this machine.
    pub fn sign(self, how: Signature) -> Option<Vec<u8>> {
        let (version, text) = (if how == Signature::One { "1" } else { "2" }, self.canonical());
        let signature = match how {
            Signature::One => sha1_by_openssl(&text)?,
            Signature::Two => sha256(KEY, &text),
            Signature::Forged => sha256(OTHER_KEY, &text),
        };
        let signed = self.with("SignatureVersion", version).with("Signature", &STANDARD.encode(signature));
        Some(Value::Object(signed.0).to_string().into_bytes())
    }

    /// The fields that are signed, each as two lines, in the order of their names. `serde_json` may keep another one.
    fn canonical(&self) -> String {
        let signed: &[&str] = match self.0["Type"].as_str() {
            Some("Notification") => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
        };
        let line = |name: &&str| Some(format!("{name}\n{}\n", self.0.get(*name)?.as_str()?));
        signed.iter().filter_map(line).collect()
    }
}

fn sha256(key: &str, text: &str) -> Vec<u8> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).expect("a key in PEM");
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("an RSA key");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("room for it");
    signature
}

/// No library of ours signs with SHA-1 any more.
fn sha1_by_openssl(text: &str) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("key.pem");
    std::fs::write(&path, KEY).expect("the key can be written");
    let mut command = Command::new("openssl");
    command.args(["dgst", "-sha1", "-sign"]).arg(&path);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    child.stdin.take().expect("it is piped").write_all(text.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output.status.success().then_some(output.stdout)
}
