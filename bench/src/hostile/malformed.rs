//! Sends malformed deliveries, which must not be accepted or at least must not hurt, and counts the reactions.

use super::faults::{FAULTS, Fault, OVERSIZE_BYTES, malformed};
use crate::kit::pause;
use crate::kit::target::Target;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SENDERS: usize = 16;
/// How long a sender waits for an answer before it closes its half of the connection.
const HALF_CLOSE_AFTER: Duration = Duration::from_millis(300);
/// How long it waits after that.
const PATIENCE: Duration = Duration::from_secs(5);
/// One of so many oversized bodies is sent in full.
const FULL_OVERSIZE_EVERY: usize = 100;
/// How a server reacted to one kind of fault.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Reactions {
    accepted: usize,
    refused: usize,
    busy: usize,
    failed: usize,
    closed: usize,
    silent: usize,
}

/// How a server reacted, by fault.
#[derive(Default)]
pub(super) struct Tally {
    by_fault: [Reactions; FAULTS.len()],
}

/// Sends the malformed deliveries `first .. first + count`, at most `rate` a second.
pub(super) fn send(target: &Target, first: usize, count: usize, rate: usize) -> Tally {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let share = || {
        let mut tally = Tally::default();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return tally;
            }
            let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
            pause(due.saturating_duration_since(Instant::now()));
            let kind = (first + n) % FAULTS.len();
            tally.by_fault[kind].note(&one(target, FAULTS[kind].0, first + n));
        }
    };
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..SENDERS).map(|_| scope.spawn(share)).collect();
        for thread in threads {
            tally.extend(thread.join().expect("a sender of malformed deliveries does not panic"));
        }
    });
    tally
}

impl Reactions {
    fn note(&mut self, answer: &io::Result<Vec<u8>>) {
        match answer {
            Ok(bytes) if bytes.is_empty() => self.closed += 1,
            Ok(bytes) => {
                // Of pipelined answers the worst one counts: one accepted is one too many.
                let statuses = statuses(bytes);
                if statuses.iter().any(|status| status / 100 == 2) {
                    self.accepted += 1;
                } else if statuses.contains(&500) {
                    self.failed += 1;
                } else if statuses.iter().any(|status| status / 100 == 5) {
                    self.busy += 1;
                } else {
                    self.refused += 1;
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.silent += 1;
            }
            Err(_) => self.closed += 1,
        }
    }

    fn extend(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.busy += other.busy;
        self.failed += other.failed;
        self.closed += other.closed;
        self.silent += other.silent;
    }
}

impl Tally {
    pub(super) fn extend(&mut self, other: Self) {
        for (mine, others) in self.by_fault.iter_mut().zip(other.by_fault) {
            mine.extend(others);
        }
    }

    /// How many were accepted of those that must not be.
    pub(super) fn wrongly_accepted(&self) -> usize {
        // With a right signature the sender is who he says; whether his JSON or headers please is not at stake.
        let forbidden = |fault| !matches!(fault, Fault::BadJson | Fault::WeirdHeaders);
        let of = |(reactions, (fault, _)): (&Reactions, (Fault, _))| {
            if forbidden(fault) { reactions.accepted } else { 0 }
        };
        self.by_fault.iter().zip(FAULTS).map(of).sum()
    }

    pub(super) fn server_errors(&self) -> usize {
        self.by_fault.iter().map(|reactions| reactions.failed).sum()
    }

    pub(super) fn print(&self) {
        println!("  fault                     2xx    4xx    500   5xx  closed  silent");
        for (reactions, (_, name)) in self.by_fault.iter().zip(FAULTS) {
            let Reactions { accepted, refused, busy, failed, closed, silent } = reactions;
            println!("  {name:<22} {accepted:>6} {refused:>6} {failed:>6} {busy:>5} {closed:>7} {silent:>7}");
        }
    }
}

/// The statuses of all answers in `bytes`.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices("HTTP/1.").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// Sends one malformed delivery and returns all that came back until the server closed the connection.
fn one(target: &Target, fault: Fault, n: usize) -> io::Result<Vec<u8>> {
    let mut stream = connect(target.addr)?;
    let request = malformed(&target.template, fault, n);
    // A server may refuse and close before it has read everything: its answer counts, not the broken pipe.
    let mut sent = stream.write_all(&request);
    if fault == Fault::Oversize && (n / FAULTS.len()).is_multiple_of(FULL_OVERSIZE_EVERY) {
        let part = vec![b' '; 64 << 10];
        for _ in 0..OVERSIZE_BYTES / part.len() {
            sent = sent.and_then(|()| stream.write_all(&part));
        }
    }
    if matches!(fault, Fault::TruncatedBody | Fault::LongLength) {
        if (n / FAULTS.len()).is_multiple_of(3) {
            // Gone without a farewell.
            return Ok(Vec::new());
        }
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(HALF_CLOSE_AFTER))?;
    match read_all(&mut stream, &mut answer) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // A reset after the answer is a server that did not want the rest.
        Err(_) if !answer.is_empty() => return Ok(answer),
        done => return done.map(|()| answer),
    }
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(PATIENCE))?;
    match read_all(&mut stream, &mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_all(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            n => answer.extend_from_slice(&part[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_answers_counts() {
        let mut reactions = Reactions::default();
        let refused = b"HTTP/1.1 401 x\r\n\r\n".as_slice();
        let note = |reactions: &mut Reactions, answers: &[&[u8]]| reactions.note(&Ok(answers.concat()));
        note(&mut reactions, &[refused, refused]);
        note(&mut reactions, &[refused, b"HTTP/1.1 202 x\r\n\r\n"]);
        note(&mut reactions, &[refused, b"HTTP/1.1 500 x\r\n\r\n"]);
        note(&mut reactions, &[b"HTTP/1.1 503 x\r\n\r\n"]);
        note(&mut reactions, &[]);
        reactions.note(&Err(io::ErrorKind::WouldBlock.into()));
        reactions.note(&Err(io::ErrorKind::ConnectionReset.into()));
        let expected = Reactions { accepted: 1, refused: 1, busy: 1, failed: 1, closed: 2, silent: 1 };
        assert_eq!(reactions, expected);
    }

    #[test]
    fn only_what_is_not_signed_must_not_be_accepted() {
        let mut tally = Tally::default();
        for reactions in &mut tally.by_fault {
            reactions.accepted = 1;
        }
        assert_eq!(tally.wrongly_accepted(), 10);
        tally.by_fault[0].failed = 3;
        assert_eq!(tally.server_errors(), 3);
    }
}
