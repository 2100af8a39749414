//! A token reaches the remote it is for, and nobody else sees it.

mod common;

use std::time::Duration;

use common::{Setup, files_below, limits, list_limits, remote_with_token, wanted};
use gristmill_git::GitError;
use gristmill_testkit::FakeGithub;
use gristmill_testkit::forge::Fault;
use gristmill_testkit::repo::Changes;

const TOKEN: &str = "ghp_Canary/7+token";
/// Plain, percent-encoded, and base64 of `x-access-token:<token>`.
const FORMS: [&str; 3] = [TOKEN, "ghp_Canary%2F7%2Btoken", "eC1hY2Nlc3MtdG9rZW46Z2hwX0NhbmFyeS83K3Rva2Vu"];

fn holds_token(bytes: &[u8]) -> bool {
    FORMS.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// Arguments and environments of all processes that work in `dir`, as others on the machine could see them.
fn processes(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let of = |entry: std::fs::DirEntry| -> Option<Vec<u8>> {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        std::fs::read_link(entry.path().join("cwd")).ok().filter(|cwd| cwd.starts_with(dir))?;
        let mut text = std::fs::read(entry.path().join("cmdline")).ok()?;
        text.extend(std::fs::read(entry.path().join("environ")).unwrap_or_default());
        Some(text)
    };
    all.filter_map(of).collect()
}

#[test]
fn the_canary_is_found_where_it_is() {
    assert!(holds_token(b"x ghp_Canary/7+token y"));
    assert!(holds_token(b"Authorization: Basic eC1hY2Nlc3MtdG9rZW46Z2hwX0NhbmFyeS83K3Rva2Vu"));
    assert!(!holds_token(b"ghp_canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_shows_the_token_while_it_is_used() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let id = repo.commit("main", &Changes::new().file("a", "some text ".repeat(2000)));
    forge.require_token(Some(TOKEN));
    forge.set_fault(Fault::Slow(2000));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let dir = setup.folder.path().canonicalize().expect("a real path");
    let fetch = tokio::spawn({
        let (remote, wanted) =
            (remote_with_token(&forge.clone_url("acme/shop"), TOKEN), wanted("refs/heads/main", &id));
        async move { mirror.fetch(&remote, &wanted, limits()).await }
    });
    let (mut seen, mut lent) = (0, 0);
    while !fetch.is_finished() {
        for text in processes(&dir) {
            seen += 1;
            assert!(!holds_token(&text), "{}", String::from_utf8_lossy(&text));
        }
        for (path, content) in files_below(&dir) {
            if holds_token(&content) {
                use std::os::unix::fs::PermissionsExt as _;
                lent += 1;
                assert!(path.starts_with(dir.join("git")), "{path:?}");
                let mode = |path: &std::path::Path| {
                    std::fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o077)
                };
                assert_eq!((mode(&path), mode(&dir.join("git"))), (0, 0), "only for us");
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fetch.await.expect("no panic").expect("let in");
    assert!(seen > 5 && lent > 0, "looked at {seen} processes, {lent} files");
    assert!(forge.requests().iter().any(|seen| {
        seen.authorization.as_deref() == Some("Basic eC1hY2Nlc3MtdG9rZW46Z2hwX0NhbmFyeS83K3Rva2Vu")
    }));
    for (path, content) in files_below(&dir) {
        assert!(!holds_token(&content), "left behind in {path:?}");
    }
}

#[tokio::test]
async fn errors_and_leftovers_do_not_show_the_token() {
    let forge = FakeGithub::start();
    forge.create("acme/shop", "secret");
    forge.require_token(Some("another"));
    let setup = Setup::new();
    let remote = remote_with_token(&forge.clone_url("acme/shop"), TOKEN);
    let error = setup.git.ls_remote(&remote, list_limits()).await.expect_err("refused");
    assert!(matches!(error, GitError::Auth { .. }), "{error:?}");
    assert!(!holds_token(format!("{error} {error:?} {remote:?}").as_bytes()), "{error:?}");
    // The remote did get it, so the test would see it leak.
    assert!(forge.requests().iter().any(|seen| seen.authorization.is_some()));
    for (path, content) in files_below(setup.folder.path()) {
        assert!(!holds_token(&content), "left behind in {path:?}");
    }
}

#[tokio::test]
async fn a_redirect_takes_no_token_along() {
    let (forge, thief) = (FakeGithub::start(), FakeGithub::start());
    forge.create("acme/shop", "secret");
    thief.create("acme/shop", "secret").commit("main", &Changes::new());
    thief.require_token(Some(TOKEN));
    forge.set_fault(Fault::Redirect(format!("http://{}", thief.address())));
    let remote = remote_with_token(&forge.clone_url("acme/shop"), TOKEN);
    let setup = Setup::new();
    let error = setup.git.ls_remote(&remote, list_limits()).await.expect_err("moved");
    assert!(matches!(error, GitError::Moved { .. }), "{error:?}");
    let mirror = setup.mirror().await;
    let error = mirror
        .fetch(&remote, &wanted("refs/heads/main", &"1".repeat(40)), limits())
        .await
        .expect_err("moved");
    assert!(matches!(error, GitError::Moved { .. }), "{error:?}");
    assert_eq!(thief.requests(), []);
}
