//! Thousands of damaged payloads: an answer each, and no panic.

use bytes::Bytes;
use gristmill_forge::{Forge, Headers, VerifyOptions, parse_unverified, sign};

use crate::{A, B, REPOSITORY, ZERO, push_body, secret};

const EVENTS: [Option<&str>; 7] =
    [None, Some("push"), Some("create"), Some("delete"), Some("release"), Some("ping"), Some("issues")];

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
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % bound
    }

    fn damage(&mut self, body: &mut Vec<u8>) {
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

fn seeds() -> Vec<Vec<u8>> {
    [
        push_body("refs/heads/main", A, B),
        push_body("refs/tags/v1", A, ZERO),
        format!(r#"{{"ref":"v1","ref_type":"tag","master_branch":"main",{REPOSITORY}}}"#),
        format!(r#"{{"action":"published","release":{{"tag_name":"v1"}},{REPOSITORY}}}"#),
        format!(r#"{{"zen":"z","hook_id":1,{REPOSITORY}}}"#),
        format!("payload=%7b{}", &push_body("refs/heads/main", A, B)[1..]),
    ]
    .map(String::into_bytes)
    .to_vec()
}

#[test]
fn damaged_payloads_get_a_sentence_or_events_and_never_a_panic() {
    let seeds = seeds();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut understood, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut body = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            random.damage(&mut body);
        }
        match parse_unverified(Forge::Github, EVENTS[random.below(EVENTS.len())], &body) {
            Ok(events) => {
                assert_eq!(events.len(), 1);
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
    let (body, key) = (push_body("refs/heads/main", A, B).into_bytes(), secret("s"));
    let (name, signature) = sign(Forge::Github, &key, &body);
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    for _ in 0..5_000 {
        let (mut bad_body, mut bad_signature) = (body.clone(), signature.clone().into_bytes());
        if random.below(2) == 0 {
            random.damage(&mut bad_body);
        } else {
            random.damage(&mut bad_signature);
        }
        let unchanged = bad_body == body && bad_signature == signature.as_bytes();
        let headers = Headers::new([(name, bad_signature.as_slice()), ("X-GitHub-Event", b"push")]);
        let result = gristmill_forge::verify(
            Forge::Github,
            &headers,
            Bytes::from(bad_body),
            std::slice::from_ref(&key),
            VerifyOptions { allow_sha1: true },
        );
        assert_eq!(result.is_ok(), unchanged);
    }
}
