use std::process::Command;

use super::*;

const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";
const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn object_ids_of_both_formats() {
    let short: ObjectId = SHA1.parse().unwrap();
    let long: ObjectId = SHA256.parse().unwrap();
    assert_eq!((short.format(), long.format()), (ObjectFormat::Sha1, ObjectFormat::Sha256));
    assert_eq!((short.as_bytes().len(), long.as_bytes().len()), (20, 32));
    assert_eq!(short.as_bytes()[..4], [0x01, 0x23, 0x45, 0x67]);
    for id in [short, long] {
        assert_eq!(ObjectId::from_slice(id.as_bytes()), Some(id));
        assert_eq!(format!("{id:?}"), id.to_string());
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ObjectId>(&json).unwrap(), id);
    }
    assert_eq!((short.to_string().as_str(), long.to_string().as_str()), (SHA1, SHA256));
    for length in [0, 19, 21, 31, 33] {
        assert_eq!(ObjectId::from_slice(&vec![1; length]), None, "{length}");
    }
}

#[test]
fn what_is_no_object_id() {
    let almost_zero = format!("{}1", "0".repeat(39));
    assert!(almost_zero.parse::<ObjectId>().is_ok());
    for text in [
        String::new(),
        "0".repeat(40),
        "0".repeat(64),
        SHA1[..39].to_owned(),
        format!("{SHA1}0"),
        format!("{SHA1}00"),
        SHA256[..62].to_owned(),
        SHA1.to_uppercase(),
        format!("{}g", &SHA1[..39]),
    ] {
        let error = text.parse::<ObjectId>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "`{text}` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero"
            )
        );
    }
}

#[test]
fn names_of_commits_trees_and_blobs() {
    let commit: CommitId = SHA1.parse().unwrap();
    assert_eq!(commit.short(), "0123456789ab");
    assert_eq!((commit.to_string().as_str(), format!("{commit:?}").as_str()), (SHA1, SHA1));
    assert_eq!(commit.0, SHA1.parse().unwrap());
    assert_eq!(serde_json::to_string(&commit).unwrap(), format!("\"{SHA1}\""));
    assert_eq!(serde_json::from_str::<CommitId>(&format!("\"{SHA1}\"")).unwrap(), commit);
    assert_eq!(SHA256.parse::<TreeId>().unwrap().to_string(), SHA256);
    assert_eq!(SHA256.parse::<BlobId>().unwrap().short(), "0123456789ab");
    assert!("main".parse::<CommitId>().is_err());
}

#[test]
fn refs_know_what_they_are() {
    let table = [
        ("refs/heads/main", Some("main"), None, "main"),
        ("refs/heads/feature/x", Some("feature/x"), None, "feature/x"),
        ("refs/heads/tags/v1", Some("tags/v1"), None, "tags/v1"),
        ("refs/tags/v1", None, Some("v1"), "v1"),
        ("refs/tags/a/b", None, Some("a/b"), "a/b"),
        ("refs/pull/1/head", None, None, "pull/1/head"),
        ("refs/headsx/y", None, None, "headsx/y"),
    ];
    for (name, branch, tag, short) in table {
        let git_ref: GitRef = name.parse().unwrap();
        assert_eq!((git_ref.branch(), git_ref.tag(), git_ref.short()), (branch, tag, short));
        assert_eq!((git_ref.as_str(), git_ref.to_string().as_str()), (name, name));
        assert_eq!(format!("{git_ref:?}"), name);
        let json = serde_json::to_string(&git_ref).unwrap();
        assert_eq!(serde_json::from_str::<GitRef>(&json).unwrap(), git_ref);
    }
    assert_eq!(GitRef::from_branch("a/b").unwrap().as_str(), "refs/heads/a/b");
    assert_eq!(GitRef::from_tag("v1").unwrap().as_str(), "refs/tags/v1");
    assert!(GitRef::from_branch("").is_err() && GitRef::from_tag("a..b").is_err());
}

#[test]
fn refusals_say_which_rule() {
    let why = |name: &str| name.parse::<GitRef>().unwrap_err().to_string();
    assert_eq!(why("main"), "`main` is not a ref name: a full name begins with `refs/`");
    assert!(why("refs/heads").ends_with("has three parts"));
    assert!(why("refs/heads//x").ends_with("it has an empty part"));
    assert!(why("refs/heads/.x").ends_with("end with `.lock`"));
    assert!(why("refs/heads/a.lock/b").ends_with("end with `.lock`"));
    assert!(why("refs/heads/x.").ends_with("contain `..` or `@{`"));
    assert!(why("refs/heads/a b").contains("it has a space, a control character or one of"));
    assert_eq!(
        why("refs/heads/\u{1b}[2J"),
        "`refs/heads/\u{fffd}[2J` is not a ref name: it has a space, a control character or one of `~^:?*[\\`"
    );
}

#[test]
fn refs_are_bounded() {
    let longest = format!("refs/heads/{}", "x".repeat(REF_BYTES_MAX - 11));
    assert_eq!(longest.len(), 1000);
    assert!(longest.parse::<GitRef>().is_ok());
    let error = format!("{longest}x").parse::<GitRef>().unwrap_err().to_string();
    assert!(error.ends_with("it is longer than 1000 bytes") && error.len() < 200, "{error}");
}

/// Names around each of the rules: every piece in four places, and every pair of those that the rules
/// are about.
fn generated() -> Vec<String> {
    let about = ["a", "/", ".", "..", ".lock", "@", "@{", "{", "lock", "*", "-", "é"];
    let others = [
        "}", " ", "~", "^", ":", "?", "[", "]", "\\", "_", "\u{1}", "\u{1f}", "\u{7f}", "\u{80}", "\u{a0}",
        "\u{2028}", "heads/", "//", "!", "'", "\"", "$", "&", "\t", "LOCK", ".lock.", ".lockx",
    ];
    let mut names = Vec::new();
    for piece in about.iter().chain(&others) {
        names.push(format!("refs/{piece}"));
        names.push(format!("refs/heads/{piece}"));
        names.push(format!("refs/heads/a{piece}b"));
        names.push(format!("refs/{piece}/b"));
    }
    for first in about {
        for second in about {
            names.push(format!("refs/heads/{first}{second}"));
            names.push(format!("refs/heads/a{first}{second}/b"));
            names.push(format!("refs/{first}/{second}b"));
        }
    }
    names
}

#[test]
fn git_agrees_on_every_name() {
    let git_takes = |name: &str| {
        let output = Command::new("git").args(["check-ref-format", name]).output();
        output.expect("git is installed").status.success()
    };
    let names = generated();
    let mut taken = 0;
    for name in &names {
        let ours = name.parse::<GitRef>().is_ok();
        taken += usize::from(ours);
        // Git also takes `refs/x`, which no server has: ours are of three parts.
        let git_s = git_takes(name) && name["refs/".len()..].contains('/');
        assert_eq!(ours, git_s, "{name:?}");
    }
    assert!(taken > 100 && names.len() - taken > 300, "{taken} of {}", names.len());
    for name in ["", "a", "refs", "refs/", "/refs/heads/a", "Refs/heads/a", "heads/a", "@", "HEAD"] {
        assert!(name.parse::<GitRef>().is_err(), "{name:?}");
    }
}
