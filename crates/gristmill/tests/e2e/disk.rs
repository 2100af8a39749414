//! A disk that is full.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_testkit::forge::Delivery;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, wait_for};
use gristmill_testkit::skip;

use crate::world::{MAIN, PROJECT, SECRET, World};

/// How full the disk is made: this many times, each with more left than before.
const LEVELS: u64 = 20;
/// How much more.
const STEP_BYTES: u64 = 48 << 10;
/// How many pushes each level sees.
const PUSHES: u32 = 4;

/// A small file system in memory. Unmounted when dropped.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// `None`, with a word in the test's output, where nothing can be mounted.
    fn mount(test: &str, size: &str) -> Option<Disk> {
        let folder = tempfile::tempdir().expect("a folder");
        let args = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
        match Command::new("mount").args(args).arg(folder.path()).output() {
            Ok(output) if output.status.success() => Some(Disk { folder }),
            Ok(output) => {
                skip(test, &String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                skip(test, &format!("mount: {error}"));
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Fills the disk but for about so many bytes.
    fn fill(&self, left_bytes: u64) {
        let mut file = File::create(self.filler()).expect("an empty file fits");
        let mut piece = vec![0xff; 256 << 10];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        let length = file.metadata().expect("an open file").len();
        file.set_len(length.saturating_sub(left_bytes)).expect("a file can be made shorter");
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that a failing test leaves behind is killed after this.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A push whose payload is as large as one with many commits.
fn large(world: &World, git_ref: &str, commit: &str) -> Delivery {
    let push = world.github.push(PROJECT, git_ref, Some(commit)).remove(0);
    let mut payload: serde_json::Value = serde_json::from_slice(&push.body).expect("JSON");
    payload["padding"] = "x".repeat(40_000).into();
    push.with_body(payload.to_string()).signed_with(SECRET)
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_goes_on_by_itself() {
    let Some(disk) = Disk::mount("a_full_disk", "48m") else { return };
    let mut world = World::prepare(|project| project);
    world.server.set_data(disk.path().join("data"));
    world.server.start();
    let mut tip = world.text(None, "base");
    world.push_and_wait(MAIN, &tip);
    let (mut refused, mut accepted) = (0, 0);
    let mut waiting: Vec<Delivery> = Vec::new();
    for level in 0..LEVELS {
        disk.fill(level * STEP_BYTES);
        let mut kept = Vec::new();
        for number in 0..PUSHES {
            let changes =
                Changes::new().file("file.txt", format!("{level} {number} {}", noise(level, number)));
            tip = world.commit(Some(&tip), &changes);
            let push = large(&world, MAIN, &tip);
            let reply = world.server.send(PROJECT, &push).expect("an answer also on a full disk");
            match reply.status {
                202 => kept.push(tip.clone()),
                503 => waiting.push(push),
                other => panic!("{other}: {}", reply.body),
            }
        }
        accepted += kept.len();
        refused += PUSHES as usize - kept.len();
        disk.free();
        world.server.wait_until_idle();
        for commit in &kept {
            world.assert_archived(crate::world::KEY, commit);
        }
        assert_eq!(world.server.store().integrity(), ["ok"], "level {level}");
    }
    assert!(refused > 0, "the disk was never full");
    assert!(accepted > 0, "the disk was never empty enough");
    // The senders send again what was refused.
    for push in &waiting {
        let again = || world.server.send(PROJECT, push).is_ok_and(|reply| reply.status == 202).then_some(());
        assert!(wait_for(PATIENCE, again).is_some());
    }
    world.server.wait_until_idle();
    world.assert_public(crate::world::KEY, &tip);
    let bad = world.server.store().query("SELECT id || state FROM run WHERE state <> 'succeeded'");
    assert_eq!(bad, Vec::<String>::new());
    // Nothing that was begun lies about.
    assert!(!world.server.log().contains("panicked"));
    world.server.stop();
    assert_eq!(world.server.store().integrity(), ["ok"]);
    drop(world);
}

/// Text that does not compress well, so that archives need room.
fn noise(level: u64, number: u32) -> String {
    let mut rng = gristmill_lossfs::Rng::new(level * 100 + u64::from(number));
    (0..4000).map(|_| format!("{:016x}", rng.next_u64())).collect()
}
