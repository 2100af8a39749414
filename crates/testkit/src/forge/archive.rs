//! The archives that forges offer, made by `git archive`: what `.gitattributes` says is left out, as at the real ones.

use super::http::Answer;
use crate::repo::TestRepo;

/// The archive of a commit, or of a folder of it, below a top folder (`""` for none). `format` as git names it:
/// `zip`, `tar`, `tar.gz`.
pub(super) fn answer(repo: &TestRepo, commit: &str, format: &str, folder: &str, file: &str) -> Answer {
    let format_option = format!("--format={format}");
    let mut args = vec!["archive".to_owned(), format_option];
    if !folder.is_empty() {
        args.push(format!("--prefix={folder}/"));
    }
    args.push(commit.to_owned());
    let body = repo.git(args);
    let kind = match format {
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        _ => "application/x-gzip",
    };
    let headers = vec![
        ("content-type", kind.to_owned()),
        ("content-disposition", format!("attachment; filename=\"{file}\"")),
    ];
    Answer { status: 200, headers, body }
}

/// Splits `v1.0.tar.gz` into `v1.0` and `tar.gz`.
pub(super) fn split_format(name: &str) -> Option<(&str, &'static str)> {
    [(".zip", "zip"), (".tar.gz", "tar.gz"), (".tgz", "tar.gz"), (".tar", "tar")]
        .into_iter()
        .find_map(|(ending, format)| Some((name.strip_suffix(ending)?, format)))
}

/// Makes plain files of all members of a zip file, as it is made on other systems than Unix.
pub(super) fn forget_modes(zip: &mut [u8]) {
    let number = |zip: &[u8], at: usize, bytes: usize| {
        zip[at..at + bytes].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    // The end record has no comment longer than the id of a commit, and names where the directory begins.
    let end = zip.windows(4).rposition(|four| four == b"PK\x05\x06").expect("an end record");
    let (count, mut at) = (number(zip, end + 10, 2), number(zip, end + 16, 4));
    for _ in 0..count {
        assert_eq!(&zip[at..at + 4], b"PK\x01\x02", "a record of the directory");
        zip[at + 5] = 0;
        zip[at + 38..at + 42].fill(0);
        at += 46 + [28, 30, 32].map(|length| number(zip, at + length, 2)).iter().sum::<usize>();
    }
}
