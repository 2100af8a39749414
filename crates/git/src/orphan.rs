//! Who works on a mirror, written into its lock file, so that a git whose server was killed can be ended.
//!
//! Such a git keeps the lock: it is its standard input. Mostly it ends by itself; one that waits for a remote that
//! hangs might stay for ever. A process is told by its pid and its start time together, so neither a reused pid nor
//! one of another pid namespace is taken for it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process_group};

/// The longest record, in bytes: four numbers of at most 20 digits.
const RECORD_BYTES_MAX: usize = 100;

/// A process, told apart from all others since the machine was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Process {
    pid: u32,
    /// Clock ticks after boot.
    started: u64,
}

impl Process {
    /// The process with this pid, where there is one that has not ended.
    fn find(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // proc_pid_stat(5): the name in parentheses may contain anything. Behind it, state is field 3 and
        // starttime field 22.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Process { pid, started })
    }

    fn runs(self) -> bool {
        Process::find(self.pid) == Some(self)
    }
}

/// Notes in the lock file that this process has started a git with this pid. Without `/proc` nothing is noted, and
/// nobody is ended.
pub(crate) fn record(lock: &fs::File, git: u32) {
    let (Some(server), Some(git)) = (Process::find(std::process::id()), Process::find(git)) else { return };
    let text = format!("{} {} {} {}\n", server.pid, server.started, git.pid, git.started);
    // Only a help for others: the lock holds without it.
    let _ = lock.set_len(0).and_then(|()| lock.write_all_at(text.as_bytes(), 0));
}

fn read(path: &Path) -> Option<(Process, Process)> {
    let text = fs::read_to_string(path).ok().filter(|text| text.len() <= RECORD_BYTES_MAX)?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut process = || {
        let pid = u32::try_from(numbers.next()?.ok()?).ok()?;
        Some(Process { pid, started: numbers.next()?.ok()? })
    };
    Some((process()?, process()?))
}

/// Kills the git that holds the lock where the process that started it is gone. Says whether it did.
pub(crate) fn end(lock: &Path) -> bool {
    let Some((server, git)) = read(lock) else { return false };
    if server.runs() || !git.runs() {
        return false;
    }
    let Some(group) = i32::try_from(git.pid).ok().and_then(Pid::from_raw) else { return false };
    tracing::warn!(
        git.pid = git.pid,
        server.pid = server.pid,
        "ending a git that a killed server left behind"
    );
    kill_process_group(group, Signal::KILL).is_ok()
}

/// ` by process N`, for the error of somebody who waited in vain.
pub(crate) fn holder(lock: &Path) -> String {
    match read(lock) {
        Some((server, _)) if server.runs() => format!(" by process {}", server.pid),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_a_git_whose_server_is_gone_is_ended() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lock");
        let mut git = Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep starts");
        let lock = fs::File::create(&path).expect("a file");
        record(&lock, git.id());
        assert_eq!(holder(&path), format!(" by process {}", std::process::id()));
        assert!(!end(&path), "this process runs");

        let text = fs::read_to_string(&path).expect("a record");
        let numbers: Vec<u64> =
            text.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        let [server, server_started, pid, started] = numbers[..] else { panic!("{text}") };
        let write =
            |numbers: [u64; 4]| fs::write(&path, numbers.map(|n| n.to_string()).join(" ")).expect("written");
        write([server, server_started + 1, pid, started + 1]);
        assert!(!end(&path), "another process has its pid by now");
        assert_eq!(holder(&path), "");
        assert!(git.try_wait().expect("a child").is_none());
        write([server, server_started + 1, pid, started]);
        assert!(end(&path));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&git.wait().expect("a child")), Some(9));
        assert!(!end(&path), "it is gone");
    }

    #[test]
    fn odd_records_are_nobodys() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lock");
        assert!(!end(&path));
        for text in ["", "1", "1 2 3", "a b c d", "4294967296 1 1 1", "-1 1 1 1"] {
            fs::write(&path, text).expect("written");
            assert_eq!(read(&path), None, "{text}");
            assert!(!end(&path) && holder(&path).is_empty());
        }
        assert_eq!(Process::find(u32::MAX), None);
    }
}
