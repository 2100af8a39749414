//! What the first commit of a repository with a long history costs a full and a partial mirror, for docs/performance.md.

#![expect(clippy::print_stdout, reason = "it is a program that shows numbers")]

use std::time::Instant;

use gristmill_git::{FetchLimits, Git, GitOptions, Mirror, MirrorKind, Remote, Wanted};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

/// Bytes without any order.
fn picture(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..500_000).map(step).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (repo, _) = TestRepo::large(3_000, 30_000_000, 1);
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    let mut id = String::new();
    for number in 0..500 {
        id = repo.change_some("main", 5, number);
        if number % 5 == 0 {
            id = repo.commit("main", &Changes::new().file("picture", picture(number)));
        }
    }
    repo.git(["repack", "-a", "-d", "-q"]);
    let wanted = Wanted { git_ref: Some("refs/heads/main".parse()?), commit: id.parse()? };
    let (remote, limits) = (Remote::open(repo.url().parse()?), FetchLimits::default());
    let folder = tempfile::tempdir()?;
    let git = Git::new(GitOptions::new(folder.path().join("git")))?;
    for kind in [MirrorKind::Full, MirrorKind::Partial] {
        let mirror =
            Mirror::open_or_create(&git, folder.path().join(format!("{kind:?}"))).await?.of_kind(kind);
        let start = Instant::now();
        mirror.fetch(&remote, &wanted, limits).await?;
        println!("{kind:?}: {} bytes after {:.1?}", mirror.bytes(), start.elapsed());
        let count = mirror.fill(&remote, wanted.commit, limits).await?;
        println!("with {count} contents: {} bytes after {:.1?}", mirror.bytes(), start.elapsed());
    }
    Ok(())
}
