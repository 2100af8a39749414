//! Telling a mount what to do from another process: one line in, one line out, over a unix socket.
//!
//! `crash <seed>`, `stats` and `unmount` are answered with `ok` and `key=value` pairs, or with `error` and a
//! sentence.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use crate::LossFs;

/// The longest command line in bytes; the longest there is has 26.
const LINE_BYTES_MAX: u64 = 128;

/// How long a client may take for its line before the next one is served.
const CLIENT_WAIT: Duration = Duration::from_secs(5);

/// Serves commands until one says `unmount`.
///
/// # Errors
/// When the socket fails. A client that misbehaves is dropped instead.
pub fn serve(mut lossfs: LossFs, listener: &UnixListener) -> io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept()?;
        let Ok(line) = read_line(&stream) else { continue };
        let (answer, last) = obey(&mut lossfs, line.trim());
        if last {
            drop(lossfs);
            // It is done, whether or not the client still listens.
            let _ = writeln!(stream, "{answer}");
            return Ok(());
        }
        let _ = writeln!(stream, "{answer}");
    }
}

fn read_line(stream: &UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(CLIENT_WAIT))?;
    stream.set_write_timeout(Some(CLIENT_WAIT))?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(line)
}

/// The answer to one command, and whether it was the last.
fn obey(lossfs: &mut LossFs, command: &str) -> (String, bool) {
    match command.split_once(' ').unwrap_or((command, "")) {
        ("crash", seed) => match seed.parse().map(|seed| lossfs.crash(seed)) {
            Ok(Ok(report)) => (
                format!(
                    "ok pages_dropped={} pages_kept={} names_dropped={} names_kept={}",
                    report.pages_dropped, report.pages_kept, report.names_dropped, report.names_kept
                ),
                false,
            ),
            Ok(Err(error)) => (format!("error {error}"), false),
            Err(_) => (format!("error crash needs a seed, a number below 2^64, not {seed:?}"), false),
        },
        ("stats", "") => {
            let stats = lossfs.stats();
            let answer = format!(
                "ok file_syncs={} directory_syncs={} bytes_written={} name_changes={} crashes={} \
                 pages_dropped={} names_dropped={}",
                stats.file_syncs,
                stats.directory_syncs,
                stats.bytes_written,
                stats.name_changes,
                stats.crashes,
                stats.pages_dropped,
                stats.names_dropped
            );
            (answer, false)
        }
        ("unmount", "") => ("ok".to_owned(), true),
        _ => (format!("error unknown command {command:?}; there are: crash <seed>, stats, unmount"), false),
    }
}

/// Sends one command to the mount that serves `socket`; returns what followed `ok`.
///
/// # Errors
/// When nobody serves the socket, and when the answer is an error, with its sentence.
pub fn send(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), "")) {
        ("ok", rest) => Ok(rest.to_owned()),
        ("error", sentence) => Err(io::Error::other(sentence.to_owned())),
        _ => Err(io::Error::other(format!("the mount answered {answer:?}; is this its socket?"))),
    }
}
