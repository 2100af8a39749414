//! Thousands of damaged payloads: an answer each, and no panic.

use bytes::Bytes;
use gristmill_forge::{Check, Forge, Headers, Sending, parse_unverified};
use gristmill_model::{EventKind, Timestamp};

use crate::{A, B, REPOSITORY, ZERO, push_body, secret};

const EVENTS: [Option<&str>; 9] = [
    None,
    Some("push"),
    Some("create"),
    Some("delete"),
    Some("release"),
    Some("ping"),
    Some("issues"),
    Some("repo:push"),
    Some("repo:refs_changed"),
];

/// What a mutation puts in: borders of JSON, of forms, of UTF-8, of numbers and of names.
const PIECES: [&[u8]; 18] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"-1",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"%2",
    b"&",
    b"refs/",
    b"0000000000000000000000000000000000000000",
];

/// A small generator (xorshift64*), so that every run is the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    pub(crate) fn damage(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len() + 1);
        let to = (at + self.below(20)).min(body.len());
        match self.below(5) {
            0 if at < body.len() => body[at] ^= 1 << self.below(8),
            1 => body.truncate(at),
            2 => drop(body.drain(at..to)),
            3 => {
                let copied = body[at..to].to_vec();
                let into = self.below(body.len() + 1);
                drop(body.splice(into..into, copied));
            }
            _ => drop(body.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
        }
    }
}

fn seeds() -> Vec<(Forge, Vec<u8>)> {
    let moved = format!(r#""ref":"refs/heads/x","before":"{A}","after":"{B}""#);
    let project = r#""project":{"id":42,"path_with_namespace":"acme/tools/shop"}"#;
    let side = |hash: &str| format!(r#"{{"type":"branch","name":"x","target":{{"hash":"{hash}"}}}}"#);
    let records = format!(
        r#"{{\"Records\":[{{\"codecommit\":{{\"references\":[{{\"ref\":\"refs/heads/x\",\"commit\":\"{A}\"}}]}},\"eventSourceARN\":\"arn:aws:codecommit:r:1:n\"}}]}}"#
    );
    [
        (Forge::Github, push_body("refs/heads/main", A, B)),
        (Forge::Github, push_body("refs/tags/v1", A, ZERO)),
        (Forge::Github, format!(r#"{{"ref":"v1","ref_type":"tag","master_branch":"main",{REPOSITORY}}}"#)),
        (Forge::Github, format!(r#"{{"action":"published","release":{{"tag_name":"v1"}},{REPOSITORY}}}"#)),
        (Forge::Github, format!(r#"{{"zen":"z","hook_id":1,{REPOSITORY}}}"#)),
        (Forge::Github, format!("payload=%7b{}", &push_body("refs/heads/main", A, B)[1..])),
        (Forge::Gitea, format!(r#"{{"ref":"v1","ref_type":"tag","sha":"1",{REPOSITORY}}}"#)),
        (Forge::Gitlab, format!(r#"{{"object_kind":"push",{moved},"project_id":1,{project}}}"#)),
        (Forge::Gitlab, format!(r#"{{"event_name":"repository_update","changes":[{{{moved}}}],{project}}}"#)),
        (Forge::Gitlab, format!(r#"{{"object_kind":"release","action":"create","tag":"v1",{project}}}"#)),
        (
            Forge::Bitbucket,
            format!(r#"{{"push":{{"changes":[{{"old":{},"new":{}}}]}},{REPOSITORY}}}"#, side(A), side(B))
                .replace("42", r#""u""#),
        ),
        (
            Forge::BitbucketServer,
            format!(
                r#"{{"eventKey":"repo:refs_changed","repository":{{"slug":"s","id":1,"project":{{"key":"P"}}}},"changes":[{{"refId":"refs/heads/x","fromHash":"{A}","toHash":"{B}"}}]}}"#
            ),
        ),
        (
            Forge::AzureDevops,
            format!(
                r#"{{"eventType":"git.push","resource":{{"refUpdates":[{{"name":"refs/heads/x","oldObjectId":"{A}","newObjectId":"{B}"}}],"repository":{{"id":"u","name":"n","project":{{"name":"p"}}}}}}}}"#
            ),
        ),
        (Forge::Codecommit, format!(r#"{{"Type":"Notification","Message":"{records}"}}"#)),
        (Forge::Bare, format!(r#"{{"repository":"shop","lines":["{A} {B} refs/heads/x"]}}"#)),
    ]
    .map(|(forge, body)| (forge, body.into_bytes()))
    .to_vec()
}

#[test]
fn undamaged_payloads_tell_of_a_ref() {
    for (forge, body) in seeds() {
        let events = parse_unverified(forge, None, &body).unwrap();
        let told = events[0].git_ref.is_some() || events[0].kind == EventKind::Ping;
        assert!(told, "{forge}: {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn damaged_payloads_get_a_sentence_or_events_and_never_a_panic() {
    let seeds = seeds();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut understood, mut refused) = (0, 0);
    for round in 0..30_000 {
        let (forge, mut body) = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            random.damage(&mut body);
        }
        let forge = if random.below(4) == 0 { Forge::ALL[random.below(Forge::ALL.len())] } else { forge };
        match parse_unverified(forge, EVENTS[random.below(EVENTS.len())], &body) {
            Ok(events) => {
                assert!(!events.is_empty());
                understood += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains(char::is_control), "{text:?}");
                assert!(text.chars().count() <= 400, "{text}");
                refused += 1;
            }
        }
    }
    assert!(understood > 1000 && refused > 1000, "{understood} understood, {refused} refused");
}

#[test]
fn damaged_bodies_and_signatures_are_never_let_in() {
    let now = Timestamp(1_800_000_000_000);
    let body = push_body("refs/heads/main", A, B).into_bytes();
    let signing = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==";
    for (seed, (forge, text)) in (1..).zip([
        (Forge::Github, "s"),
        (Forge::Bitbucket, "s"),
        (Forge::Gogs, "s"),
        (Forge::Bare, "s"),
        (Forge::Gitlab, signing),
    ]) {
        let keys = [secret(text)];
        let check = Check { allow_sha1: true, ..Check::new(forge, &keys, now) };
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        let sending = Sending { forge, event: "push", delivery_id: id, now, basic: false, header: None };
        let mut headers = sending.headers(&keys[0], &body).unwrap();
        let at = headers.iter().position(|(name, _)| name.to_lowercase().contains("signature")).unwrap();
        let (name, signature) = headers.remove(at);
        let mut random = Random(0xD1B5_4A32_D192_ED03 ^ seed);
        for _ in 0..2_000 {
            let (mut bad_body, mut bad_signature) = (body.clone(), signature.clone().into_bytes());
            if random.below(2) == 0 {
                random.damage(&mut bad_body);
            } else {
                random.damage(&mut bad_signature);
            }
            let unchanged = bad_body == body && bad_signature == signature.as_bytes();
            let others = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let all = Headers::new(others.chain([(name.as_str(), bad_signature.as_slice())]));
            assert_eq!(check.verify(&all, Bytes::from(bad_body)).is_ok(), unchanged, "{forge}");
        }
    }
}
