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
