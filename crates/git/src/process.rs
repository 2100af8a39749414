//! Running one program: in a process group of its own, with bounded time and output, gone when dropped.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// How much of a program's standard error is read and kept; an error shows the last half of it, so that a token
/// cut at the beginning cannot be shown in part.
const STDERR_BYTES_MAX: usize = 8 * 1024;

/// How much of standard error an error shows.
const DETAIL_BYTES_MAX: usize = 4 * 1024;

/// What a program left behind.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    /// The end of what it wrote to standard error, as it wrote it.
    pub(crate) stderr: Vec<u8>,
}

/// Why a program did not finish by itself.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// It could not be started.
    Start(std::io::Error),
    /// Its output could not be read.
    Read(std::io::Error),
    /// Standard output had more bytes than allowed.
    Output,
    /// The time was up.
    Time,
    /// The caller's watch said so.
    Watch,
}

/// Runs `command` to its end.
///
/// `started` is told its pid. `watch` is asked twice a second; the program is stopped as soon as it answers `false`.
pub(crate) async fn run(
    mut command: Command,
    time_max: Duration,
    stdout_bytes_max: usize,
    started: impl FnOnce(u32),
    mut watch: impl FnMut() -> bool,
) -> Result<Finished, Stopped> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut group = Group::start(&mut command).map_err(Stopped::Start)?;
    if let Some(id) = group.child.as_ref().and_then(Child::id) {
        started(id);
    }
    let outcome = tokio::select! {
        finished = group.finish(stdout_bytes_max) => finished,
        () = tokio::time::sleep(time_max) => Err(Stopped::Time),
        () = refused(&mut watch) => Err(Stopped::Watch),
    };
    if outcome.as_ref().map_or(true, |finished| finished.status.code().is_none()) {
        // Where the leader was killed by somebody else, its children may live on.
        group.stop().await;
    }
    group.child = None;
    outcome
}

/// Ends when `watch` says `false`.
async fn refused(watch: &mut impl FnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        if !watch() {
            return;
        }
    }
}

/// A process group. Dropping it kills all its processes.
struct Group {
    /// `None` once the leader was waited for.
    child: Option<Child>,
    id: Option<Pid>,
}

impl Group {
    fn start(command: &mut Command) -> std::io::Result<Group> {
        let child = command.spawn()?;
        // The leader's pid is the group's id because of `process_group(0)`.
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Group { child: Some(child), id })
    }

    async fn finish(&mut self, stdout_bytes_max: usize) -> Result<Finished, Stopped> {
        let child = self.child.as_mut().expect("taken only at the end of `run`");
        let stdout = child.stdout.take().expect("piped by `run`");
        let stderr = child.stderr.take().expect("piped by `run`");
        let (stdout, stderr) = tokio::try_join!(read_all(stdout, stdout_bytes_max), read_end(stderr))?;
        let status = child.wait().await.map_err(Stopped::Read)?;
        Ok(Finished { status, stdout, stderr })
    }

    /// Kills the group and waits until its processes are gone from the table.
    async fn stop(&mut self) {
        self.kill();
        if let Some(child) = self.child.as_mut() {
            // An error means that it was waited for already.
            let _ = child.wait().await;
        }
        reap_adopted(self.id).await;
    }

    fn kill(&self) {
        if let Some(id) = self.id {
            // Fails only where nobody is left in the group, which is what we want.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.kill();
        // Without a runtime (it is shutting down) tokio's own queue of orphans waits for the leader.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let id = self.id;
            runtime.spawn(async move {
                let _ = child.wait().await;
                reap_adopted(id).await;
            });
        }
    }
}

/// Where we are process 1 (a container without an init), a killed leader's children become ours and have to be
/// waited for. Elsewhere this ends at once because we have no child in that group.
async fn reap_adopted(group: Option<Pid>) {
    let Some(group) = group else { return };
    for _ in 0..100 {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(_) => return,
        }
    }
}

/// Everything, or [`Stopped::Output`] where that is more than `bytes_max`.
async fn read_all(pipe: impl AsyncRead + Unpin, bytes_max: usize) -> Result<Vec<u8>, Stopped> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    pipe.take(limit).read_to_end(&mut bytes).await.map_err(Stopped::Read)?;
    if bytes.len() > bytes_max { Err(Stopped::Output) } else { Ok(bytes) }
}

/// The last [`STDERR_BYTES_MAX`] bytes. The rest is read too, or the program would stand still.
async fn read_end(mut pipe: impl AsyncRead + Unpin) -> Result<Vec<u8>, Stopped> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; STDERR_BYTES_MAX];
    loop {
        let count = pipe.read(&mut chunk).await.map_err(Stopped::Read)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&chunk[..count]);
        let surplus = bytes.len().saturating_sub(STDERR_BYTES_MAX);
        bytes.drain(..surplus);
    }
}

/// Standard error as an error shows it: the end, with line breaks but no other control characters.
/// `redact` sees the text before it is cut.
pub(crate) fn detail(stderr: &[u8], redact: impl FnOnce(&str) -> String) -> String {
    let text: String = String::from_utf8_lossy(stderr)
        .chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect();
    let text = redact(&text);
    let text = text.trim();
    let mut start = text.len().saturating_sub(DETAIL_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn output_and_status_come_back() {
        let done =
            run(shell("echo out; echo err >&2; exit 3"), LONG, 4, |_| {}, || true).await.expect("runs");
        assert_eq!(
            (done.status.code(), &done.stdout[..], &done.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
    }

    #[tokio::test]
    async fn output_is_bounded_and_errors_keep_their_end() {
        assert!(matches!(run(shell("echo out"), LONG, 3, |_| {}, || true).await, Err(Stopped::Output)));
        let done = run(
            shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done >&2"),
            LONG,
            0,
            |_| {},
            || true,
        )
        .await
        .expect("runs");
        assert_eq!(done.stderr.len(), STDERR_BYTES_MAX);
        assert!(done.stderr.ends_with(b"line 2999\n"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_cannot_start() {
        assert!(matches!(
            run(Command::new("/no/such/program"), LONG, 0, |_| {}, || true).await,
            Err(Stopped::Start(_))
        ));
    }

    /// A script that writes its child's pid and then waits for ever.
    fn family(file: &std::path::Path) -> Command {
        shell(&format!("sleep 600 & echo $! > {0}.part; mv {0}.part {0}; wait", file.display()))
    }

    async fn child_pid(file: &std::path::Path) -> u32 {
        loop {
            if let Ok(text) = std::fs::read_to_string(file) {
                return text.trim().parse().expect("a pid");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a process runs; one that only waits to be reaped by init does not.
    fn runs(pid: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
    }

    async fn gone(pid: u32) -> bool {
        for _ in 0..400 {
            if !runs(pid) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    #[tokio::test]
    async fn when_time_is_up_the_whole_family_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let stopped = run(family(&file), Duration::from_millis(300), 0, |_| {}, || true).await;
        assert!(matches!(stopped, Err(Stopped::Time)));
        assert!(gone(child_pid(&file).await).await);
    }

    #[tokio::test]
    async fn a_dropped_call_takes_the_whole_family_along() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let call = tokio::spawn(run(family(&file), LONG, 0, |_| {}, || true));
        let pid = child_pid(&file).await;
        assert!(runs(pid));
        call.abort();
        assert!(gone(pid).await);
    }

    #[tokio::test]
    async fn the_watch_stops_the_program() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let stopped = run(family(&file), LONG, 0, |_| {}, || !file.exists()).await;
        assert!(matches!(stopped, Err(Stopped::Watch)));
        assert!(gone(child_pid(&file).await).await);
    }

    #[test]
    fn details_are_redacted_cleaned_and_cut() {
        assert_eq!(detail(b" a\x1b[31m\nb\r\n", str::to_owned), "a\u{fffd}[31m\nb\u{fffd}");
        assert_eq!(detail(b"token: abc", |text| text.replace("abc", "***")), "token: ***");
        let long = "é".repeat(DETAIL_BYTES_MAX);
        assert_eq!(detail(long.as_bytes(), str::to_owned).len(), DETAIL_BYTES_MAX);
        let odd = format!("{}x", "é".repeat(DETAIL_BYTES_MAX));
        assert_eq!(detail(odd.as_bytes(), str::to_owned).len(), DETAIL_BYTES_MAX - 1);
    }
}
