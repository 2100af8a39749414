use std::collections::BTreeSet;

use super::*;

/// What GitHub takes of a status's description, in characters: the least of all forges.
const TOLD_CHARS_MAX: usize = 140;

/// The longest value of each kind.
fn longest(kind: &str) -> String {
    match kind {
        "Bytes" => u64::MAX.to_string(),
        "u32" => u32::MAX.to_string(),
        "CommitId" => "f".repeat(64),
        other => panic!("{other}"),
    }
}

/// All reasons, with the longest values.
fn all() -> Vec<PublicReason> {
    let read = |(word, _, kind): &(&str, &str, Option<&str>)| {
        PublicReason::read(word, kind.map(longest).as_deref()).unwrap()
    };
    PublicReason::TABLE.iter().map(read).collect()
}

#[test]
fn every_reason_is_stored_and_read_and_fits_into_each_forges_status() {
    for why in all().into_iter().map(Some).chain([None]) {
        for attempts in [None, Some(1), Some(u32::MAX)] {
            let end = PublicEnd { why, attempts };
            assert_eq!(end.to_string().parse(), Ok(end), "{end}");
            let told = end.sentence("publishing failed");
            assert!(told.chars().count() <= TOLD_CHARS_MAX, "{told}");
            assert!(
                !told.contains(['{', '}', '\n', '/', '@', ':']) || why == Some(PublicReason::Purged),
                "{told}"
            );
        }
    }
}

#[test]
fn words_and_sentences_are_told_apart_and_have_room_for_their_value() {
    let table = PublicReason::TABLE;
    assert_eq!(table.iter().map(|(word, ..)| word).collect::<BTreeSet<_>>().len(), table.len());
    assert_eq!(table.iter().map(|(_, sentence, _)| sentence).collect::<BTreeSet<_>>().len(), table.len());
    for (word, sentence, kind) in table {
        assert_eq!(sentence.matches("{}").count(), usize::from(kind.is_some()), "{sentence}");
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
        assert_eq!(PublicReason::read(word, None).is_none(), kind.is_some(), "{word}");
        assert_eq!(PublicReason::read(word, Some("git.acme.org")), None, "{word} has no room for a text");
    }
}

#[test]
fn sentences() {
    let commit = "1".repeat(40).parse().unwrap();
    for (why, attempts, stored, told) in [
        (None, None, "", "it failed"),
        (None, Some(40), "given_up 40", "it failed; given up after 40 attempts"),
        (Some(PublicReason::NotLetIn), None, "not_let_in", "the remote does not let us in"),
        (
            Some(PublicReason::NotReached),
            Some(40),
            "not_reached, given_up 40",
            "the remote cannot be reached; given up after 40 attempts",
        ),
        (
            Some(PublicReason::ArchiveTooLarge(Bytes(500 << 20))),
            None,
            "archive_too_large 524288000",
            "the archive would be larger than 500 MiB",
        ),
        (
            Some(PublicReason::ModuleCommitGone(commit)),
            None,
            "module_commit_gone 1111111111111111111111111111111111111111",
            "a submodule's commit 111111111111 is not at its server",
        ),
    ] {
        let end = PublicEnd { why, attempts };
        assert_eq!(end.to_string(), stored);
        assert_eq!(end.sentence("it failed"), told);
    }
}

#[test]
fn bytes_are_told_in_the_units_of_the_configuration() {
    for (bytes, told) in [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1025, "1025 bytes"),
        (500 << 20, "500 MiB"),
        (1024 << 20, "1 GiB"),
        ((2 << 30) + 1024, "2097153 KiB"),
        (3 << 40, "3 TiB"),
        (u64::MAX, "18446744073709551615 bytes"),
    ] {
        assert_eq!(Bytes(bytes).shown(), told);
    }
}

#[test]
fn what_is_no_reason_is_refused() {
    for text in [
        "git.acme.org",
        "not_reached git.acme.org",
        "archive_too_large",
        "archive_too_large many",
        "module_commit_gone main",
        "given_up",
        "given_up -1",
        "not_reached, given_up 4294967296",
        "not_reached; given_up 1",
    ] {
        assert!(text.parse::<PublicEnd>().is_err(), "{text}");
    }
}

#[test]
fn every_sentence_stands_in_the_documentation() {
    let text = include_str!("../../../../docs/operate.md");
    for (_, sentence, _) in PublicReason::TABLE {
        for part in sentence.split("{}") {
            assert!(text.contains(part), "docs/operate.md does not have: {sentence}");
        }
    }
}
