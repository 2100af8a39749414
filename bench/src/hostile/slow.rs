//! Slow connections: heads that come byte by byte, bodies that come byte by byte, and silence.

use crate::kit::pause;
use crate::kit::target::Target;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Each connection sends a byte this often.
const DRIP: Duration = Duration::from_secs(1);
/// For connecting: a server may leave connections waiting, but must not slow this thread down for long.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(200);

/// What became of the slow connections.
#[derive(Default)]
pub(super) struct Outcome {
    /// How many were open at the same time.
    pub(super) held_max: usize,
    /// How many the server closed; each is replaced.
    pub(super) cut_off: usize,
    /// How many could not connect.
    pub(super) refused: usize,
}

struct Slow {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
}

/// Holds `count` slow connections until `over`.
pub(super) fn hold(target: &Target, count: usize, over: &AtomicBool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut slots: Vec<Option<Slow>> = Vec::new();
    slots.resize_with(count, || None);
    while !over.load(Ordering::Relaxed) {
        let round = Instant::now();
        for (n, slot) in slots.iter_mut().enumerate() {
            if slot.as_mut().is_some_and(|slow| !slow.drip()) {
                outcome.cut_off += 1;
                *slot = None;
            }
            if slot.is_none() {
                *slot = open(target, n);
                outcome.refused += usize::from(slot.is_none());
            }
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        outcome.held_max = outcome.held_max.max(slots.iter().flatten().count());
        pause(DRIP.saturating_sub(round.elapsed()).min(Duration::from_millis(200)));
        while round.elapsed() < DRIP && !over.load(Ordering::Relaxed) {
            pause(Duration::from_millis(50));
        }
    }
    outcome
}

/// A third each: a head, a body, nothing at all.
fn open(target: &Target, n: usize) -> Option<Slow> {
    let mut stream = TcpStream::connect_timeout(&target.addr, CONNECT_TIME_MAX).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_nonblocking(true).ok()?;
    let mut request = target.template.request((4 << 20) + n as u64);
    let head_len = target.template.head_len();
    let sent = match n % 3 {
        0 => 0,
        1 => stream.write(&request[..head_len + 100]).ok()?,
        _ => {
            request.clear();
            0
        }
    };
    Some(Slow { stream, request, sent })
}

impl Slow {
    /// Sends the next byte; false when the server has closed or answered.
    fn drip(&mut self) -> bool {
        let mut answer = [0; 512];
        match self.stream.read(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return false,
        }
        let Some(byte) = self.request.get(self.sent..=self.sent) else { return true };
        match self.stream.write(byte) {
            Ok(n) => self.sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }
}
