//! Processes: what they write, signals to them, and waiting for what they do.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How often it is looked whether something happened.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What the process has written.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) log: String,
    pub(super) address: Option<SocketAddr>,
    /// Which start of the program wrote the address.
    pub(super) life: u64,
}

/// Waits until `look` finds something, at most `patience`.
pub fn wait_for<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        pause(LOOK_AGAIN);
    }
}

/// Does nothing for a while: for what shows only in that nothing happens.
pub fn pause(length: Duration) {
    // Nobody sends; a thread that only sleeps would hide from the lint what it waits for.
    let (_sender, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(length);
}

/// Sends a signal to a process, or with `-` before its number to a process group.
pub fn signal(name: &str, target: &str) {
    let status = Command::new("kill").args(["-s", name, "--", target]).stderr(Stdio::null()).status();
    // It may have ended by itself; whoever needs to know waits for it.
    let _ = status.expect("the program `kill`");
}

/// Collects what a process writes, until it ends.
pub(super) fn listen(stream: impl Read + Send + 'static, heard: Arc<Mutex<Heard>>, life: u64) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let mut heard = heard.lock().expect("no test panics while it holds this");
            if let Some(address) = line.strip_prefix("listening on http://")
                && heard.life == life
            {
                heard.address = address.trim().parse().ok();
            }
            heard.log.push_str(&line);
            heard.log.push('\n');
        }
    });
}
