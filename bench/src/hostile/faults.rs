//! The bytes of malformed deliveries.

use crate::kit::payload::{Template, sign_body};
use std::fmt::Write as _;

/// More than any forge sends, and more than GitHub's 25 MiB.
pub(super) const OVERSIZE_BYTES: usize = 27 << 20;

/// What is wrong with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    BadSignature,
    NoSignature,
    UnknownProject,
    Garbage,
    TruncatedBody,
    ShortLength,
    LongLength,
    Oversize,
    BadJson,
    WeirdHeaders,
    Pipelined,
    BadChunks,
}

use Fault::{
    BadChunks, BadJson, BadSignature, Garbage, LongLength, NoSignature, Oversize, Pipelined, ShortLength,
    TruncatedBody, UnknownProject, WeirdHeaders,
};

/// Every fault, and its name for people.
pub(super) const FAULTS: [(Fault, &str); 12] = [
    (BadSignature, "bad signature"),
    (NoSignature, "no signature"),
    (UnknownProject, "unknown project"),
    (Garbage, "garbage"),
    (TruncatedBody, "truncated body"),
    (ShortLength, "length too short"),
    (LongLength, "length too long"),
    (Oversize, "oversized body"),
    (BadJson, "bad JSON, signed"),
    (WeirdHeaders, "weird headers, signed"),
    (Pipelined, "pipelined, unsigned"),
    (BadChunks, "bad chunks"),
];

/// The bytes of a malformed delivery; `n` varies them.
pub(super) fn malformed(template: &Template, fault: Fault, n: usize) -> Vec<u8> {
    let good = template.request((8 << 20) + n as u64);
    let head_len = template.head_len();
    let head = String::from_utf8_lossy(&good[..head_len]).into_owned();
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let body = &good[head_len..];
    let with = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let other_length =
        |length: usize| head.replace("Content-Length: 7600", &format!("Content-Length: {length}"));
    match fault {
        BadSignature => with(&spoil_signature(&head, n), body),
        NoSignature => with(&without_signature(&head), body),
        UnknownProject => with(&head.replace("/hooks/bench/repo", &format!("/hooks/bench/other-{n}")), body),
        Garbage => garbage(n),
        TruncatedBody => with(&head, &body[..body.len() * (n % 97) / 97]),
        ShortLength => with(&other_length(n % 7600), body),
        LongLength => with(&other_length(7601 + n), body),
        Oversize => with(&other_length(OVERSIZE_BYTES + 64), body),
        BadJson => {
            let body = &body[..1 + n % (body.len() - 1)];
            signed(&head, body)
        }
        WeirdHeaders => with(&weird_headers(&head, n), body),
        Pipelined => without_signature(&head.replacen("Connection: close\r\n", "", 1))
            .into_bytes()
            .iter()
            .chain(body)
            .copied()
            .collect::<Vec<u8>>()
            .repeat(2 + n % 9),
        BadChunks => bad_chunks(&head, body, n),
    }
}

fn header_range(head: &str, name: &str) -> std::ops::Range<usize> {
    let from = head.find(name).unwrap_or(head.len());
    from..head[from..].find("\r\n").map_or(head.len(), |at| from + at + 2)
}

fn without_signature(head: &str) -> String {
    let mut head = head.to_owned();
    head.replace_range(header_range(&head, "X-Hub-Signature-256"), "");
    head
}

fn spoil_signature(head: &str, n: usize) -> String {
    let value = match n / FAULTS.len() % 6 {
        0 => format!("sha256={n:064x}"),
        1 => format!("sha256={n:x}"),
        2 => format!("sha1={n:040x}"),
        3 => String::new(),
        4 => format!("sha256={}", "é".repeat(32)),
        _ => format!("sha256={}", "f".repeat(64 + n % 4000)),
    };
    let mut head = head.to_owned();
    head.replace_range(
        header_range(&head, "X-Hub-Signature-256"),
        &format!("X-Hub-Signature-256: {value}\r\n"),
    );
    head
}

/// The same head around another body, rightly signed.
fn signed(head: &str, body: &[u8]) -> Vec<u8> {
    let mut head = head.to_owned();
    let signature = format!("X-Hub-Signature-256: sha256={}\r\n", sign_body(body));
    head.replace_range(header_range(&head, "X-Hub-Signature-256"), &signature);
    head.replace_range(header_range(&head, "Content-Length"), &format!("Content-Length: {}\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

/// Bytes that are not HTTP, or only look like it.
fn garbage(n: usize) -> Vec<u8> {
    let noise = |len: usize| -> Vec<u8> {
        // A xorshift: the same bytes in every run.
        let mut state = n as u64 | 1 << 40;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..len).map(step).collect()
    };
    match n / FAULTS.len() % 7 {
        0 => noise(1 + n % 9000),
        1 => [b"POST /hooks/bench/repo HTTP/9.9\r\n".as_slice(), &noise(300), b"\r\n\r\n"].concat(),
        2 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello".to_vec(),
        3 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        4 => [b"GET /".as_slice(), &b"../".repeat(1 + n % 3000), b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat(),
        5 => b"POST /hooks/%00%ff%2e%2e%2f HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        _ => vec![b'\n'; 1 + n % 5000],
    }
}

/// Odd headers around a rightly signed body.
fn weird_headers(head: &str, n: usize) -> String {
    let mut extra = String::new();
    match n / FAULTS.len() % 6 {
        0 => (0..300).for_each(|i| write!(extra, "X-Odd-{i}: {i}\r\n").expect("a String takes all")),
        1 => write!(extra, "X-Odd: {}\r\n", "a".repeat(60_000)).expect("a String takes all"),
        2 => extra.push_str("X-GitHub-Delivery: another\r\nX-GitHub-Event: ping\r\n"),
        3 => extra.push_str("X-GitHub-Event: ü\u{7f}ñ\r\n"),
        4 => {
            return head.replacen("X-GitHub-Delivery", "X-Elsewhere", 1).replacen(
                "X-GitHub-Event",
                "X-Nothing",
                1,
            );
        }
        _ => extra.push_str("Expect: 100-continue\r\nContent-Encoding: gzip\r\nHost: \r\n"),
    }
    head.replacen("\r\n", &format!("\r\n{extra}"), 1)
}

/// Chunked bodies whose chunks cannot be.
fn bad_chunks(head: &str, body: &[u8], n: usize) -> Vec<u8> {
    let mut head = spoil_signature(head, 0);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = header_range(&head, "Content-Length");
    // With both, a request may end in two places.
    let both = (n / FAULTS.len()).is_multiple_of(2);
    head.replace_range(
        length,
        if both { "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" } else { chunked },
    );
    let chunks: Vec<u8> = match n / FAULTS.len() % 7 {
        0 => b"ffffffffffffffff\r\nx".to_vec(),
        1 => b"fffffffffffffffff0\r\nx\r\n0\r\n\r\n".to_vec(),
        2 => b"-5\r\nhello\r\n0\r\n\r\n".to_vec(),
        3 => b"zz\r\nhello\r\n0\r\n\r\n".to_vec(),
        4 => {
            [format!("5;{}\r\nhello\r\n", "e=1;".repeat(8_000)).into_bytes(), b"0\r\n\r\n".to_vec()].concat()
        }
        5 => {
            let tiny = body.iter().flat_map(|&byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']);
            tiny.chain(*b"0\r\n\r\n").collect()
        }
        _ => [b"0\r\n".as_slice(), &b"Trailer: more\r\n".repeat(2_000), b"\r\n"].concat(),
    };
    [head.into_bytes(), chunks].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_fault_differs_from_the_good_delivery_in_the_way_it_says() {
        let template = Template::new("/hooks/bench/repo");
        let good = template.request(8 << 20);
        let mut seen = HashSet::new();
        for (fault, name) in FAULTS {
            for n in 0..200 {
                let bytes = malformed(&template, fault, n * FAULTS.len());
                assert_ne!(bytes, good, "{name}");
                seen.insert(bytes);
            }
        }
        assert!(seen.len() > 1500, "{} different ones", seen.len());
        let text = |fault, n| String::from_utf8_lossy(&malformed(&template, fault, n)).into_owned();
        assert!(!text(NoSignature, 1).contains("Signature"));
        assert!(text(UnknownProject, 1).starts_with("POST /hooks/bench/other-1 "));
        assert!(text(ShortLength, 5).contains("Content-Length: 5\r\n"));
        assert!(text(LongLength, 0).contains("Content-Length: 7601\r\n"));
        assert!(text(Pipelined, 0).matches("POST ").count() == 2);
        assert!(text(BadChunks, 0).contains("chunked\r\nContent-Length"));
        assert!(text(BadJson, 0).ends_with("\r\n\r\n{"));
        assert!(text(BadJson, 0).contains(&sign_body(b"{")));
    }
}
