//! The `lossfs` program: one process serves, others tell it what to do.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use gristmill_lossfs::{LossFs, Rules};
use tempfile::TempDir;

struct Served {
    child: Child,
    folder: TempDir,
}

impl Served {
    fn start(options: &[&str]) -> Option<Served> {
        if let Err(reason) = LossFs::available() {
            println!("skipped: {reason}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_lossfs"))
            .arg("mount")
            .arg(folder.path().join("mount"))
            .arg("--socket")
            .arg(folder.path().join("socket"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Some(Served { child, folder })
    }

    fn mount(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn tell(&self, arguments: &[&str]) -> Output {
        let socket = self.folder.path().join("socket");
        Command::new(env!("CARGO_BIN_EXE_lossfs"))
            .args(arguments)
            .arg("--socket")
            .arg(socket)
            .output()
            .unwrap()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.tell(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn is_mounted(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn mounts_crashes_and_unmounts() {
    let Some(mut served) = Served::start(&[]) else { return };
    fs::write(served.mount().join("file"), "text").unwrap();
    assert_eq!(
        served.ask(&["stats"]),
        "file_syncs=0 directory_syncs=0 bytes_written=4 name_changes=1 crashes=0 pages_dropped=0 names_dropped=0\n"
    );
    // The file is unreachable, so its page went with its name.
    assert_eq!(
        served.ask(&["crash", "--seed", "7"]),
        "pages_dropped=1 pages_kept=0 names_dropped=1 names_kept=0\n"
    );
    assert_eq!(fs::read_dir(served.mount()).unwrap().count(), 0);
    assert_eq!(served.ask(&["unmount"]).trim(), "");
    assert!(served.child.wait().unwrap().success());
    assert!(!is_mounted(&served.mount()));
    assert!(!served.folder.path().join("socket").exists());
    let late = served.tell(&["stats"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&late.stderr).starts_with("lossfs: stats at "));
}

#[test]
fn takes_the_rules() {
    let Some(mut served) = Served::start(&["--file-sync-keeps-names"]) else { return };
    fs::File::create(served.mount().join("file")).unwrap().sync_all().unwrap();
    served.ask(&["crash"]);
    assert!(served.mount().join("file").exists());
    served.ask(&["unmount"]);
    served.child.wait().unwrap();
}

#[test]
fn answers_nonsense_with_a_sentence() {
    let Some(mut served) = Served::start(&[]) else { return };
    for (line, expected) in [
        ("crash soon", "error crash needs a seed, a number below 2^64, not \"soon\"\n"),
        ("dance", "error unknown command \"dance\"; there are: crash <seed>, stats, unmount\n"),
        ("stats all", "error unknown command \"stats all\"; there are: crash <seed>, stats, unmount\n"),
    ] {
        let mut stream = UnixStream::connect(served.folder.path().join("socket")).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert_eq!(answer, expected);
    }
    served.ask(&["unmount"]);
    served.child.wait().unwrap();
}

#[test]
fn the_mount_of_a_killed_process_is_cleared_by_the_next() {
    let Some(mut served) = Served::start(&[]) else { return };
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    assert!(is_mounted(&served.mount()), "nobody is left to unmount");
    let elsewhere = tempfile::tempdir().unwrap();
    let _lossfs = LossFs::mount(elsewhere.path(), Rules::default()).unwrap();
    assert!(!is_mounted(&served.mount()));
    assert!(is_mounted(elsewhere.path()), "the living are left alone");
}
