//! Killing a server at seeded moments.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open};

use crate::Rng;

/// Starts a server again and again and kills its process group with `SIGKILL` at moments that follow from a seed.
#[derive(Clone, Debug)]
pub struct Killer {
    rng: Rng,
    shortest: Duration,
    longest: Duration,
}

/// One life of the server.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Counts from zero.
    pub number: u32,
    /// For whatever else is random in this round, such as [`crate::LossFs::crash`].
    pub seed: u64,
    /// How long after `spawn` returned the server is killed.
    pub moment: Duration,
    /// How the server ended if it did so before the moment came.
    pub exited: Option<ExitStatus>,
}

/// What a whole campaign came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Servers killed.
    pub killed: u32,
    /// Servers that ended before their moment.
    pub exited: u32,
}

impl Killer {
    /// Kills between 1 ms and 1 s after the start, unless [`Killer::window`] says otherwise.
    pub fn new(seed: u64) -> Killer {
        Killer { rng: Rng::new(seed), shortest: Duration::from_millis(1), longest: Duration::from_secs(1) }
    }

    /// Sets the earliest and the latest moment. Between them each factor of time is as likely as any other, so
    /// that the first milliseconds are tried as often as the last second.
    #[must_use]
    pub fn window(self, shortest: Duration, longest: Duration) -> Killer {
        let shortest = shortest.max(Duration::from_micros(1));
        Killer { shortest, longest: longest.max(shortest), ..self }
    }

    /// Runs `rounds` lives. `spawn` starts the server as the leader of its own process group
    /// ([`std::os::unix::process::CommandExt::process_group`] with 0) and may wait until it is ready; `between`
    /// checks what is left, with the server dead and reaped.
    ///
    /// # Errors
    /// The first error of `spawn` or `between`, and of the system while killing.
    pub fn run<E: From<io::Error>>(
        &mut self,
        rounds: u32,
        mut spawn: impl FnMut(&Round) -> Result<Child, E>,
        mut between: impl FnMut(&Round) -> Result<(), E>,
    ) -> Result<Summary, E> {
        let mut summary = Summary::default();
        for number in 0..rounds {
            let mut round = Round { number, seed: self.rng.next_u64(), moment: self.moment(), exited: None };
            let mut child = spawn(&round)?;
            round.exited = end(&mut child, round.moment)?;
            match round.exited {
                Some(_) => summary.exited += 1,
                None => summary.killed += 1,
            }
            between(&round)?;
        }
        Ok(summary)
    }

    fn moment(&mut self) -> Duration {
        let factor = self.longest.as_secs_f64() / self.shortest.as_secs_f64();
        self.shortest.mul_f64(factor.powf(self.rng.fraction())).min(self.longest)
    }
}

/// Waits for `moment` or the end of the child, kills what is left of its group, and reaps it.
fn end(child: &mut Child, moment: Duration) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    if getpgid(Some(pid))? != pid {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the server does not lead a process group of its own, so its children would outlive it; \
             start it with process_group(0)",
        ));
    }
    let exited = if ends_within(pid, moment)? { Some(child.wait()?) } else { None };
    match kill_process_group(pid, Signal::KILL) {
        // After an exit there may be nobody left in the group.
        Err(error) if exited.is_none() => return Err(error.into()),
        _ => {}
    }
    child.wait()?;
    Ok(exited)
}

/// Waits until the process has ended, at most `timeout`; whether it has.
fn ends_within(pid: Pid, timeout: Duration) -> io::Result<bool> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + timeout;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = left
            .try_into()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a moment centuries away"))?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(ready) => return Ok(ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).process_group(0).stdout(Stdio::piped());
        command
    }

    #[test]
    fn moments_follow_from_the_seed_and_fill_the_window() {
        let moments = |seed| {
            let mut killer = Killer::new(seed).window(Duration::from_millis(1), Duration::from_millis(100));
            (0..1000).map(|_| killer.moment()).collect::<Vec<_>>()
        };
        assert_eq!(moments(1), moments(1));
        assert_ne!(moments(1), moments(2));
        let early = moments(1).iter().filter(|&&m| m < Duration::from_millis(10)).count();
        assert!((430..570).contains(&early), "half of the moments lie in the first tenth: {early}");
        let (first, last) = (Duration::from_millis(1), Duration::from_millis(100));
        assert!(moments(1).iter().all(|m| (first..=last).contains(m)));
        assert!(moments(1).iter().any(|m| *m > Duration::from_millis(90)));
        assert!(moments(1).iter().any(|m| *m < Duration::from_micros(1100)));
    }

    #[test]
    fn kills_the_whole_group() {
        let mut killer = Killer::new(3).window(Duration::from_millis(20), Duration::from_millis(40));
        let mut output = None;
        let started = Instant::now();
        let summary = killer
            .run(
                1,
                |_| {
                    let mut child = shell("sleep 60 & sleep 60").spawn()?;
                    output = child.stdout.take();
                    io::Result::Ok(child)
                },
                |round| {
                    assert_eq!((round.number, round.exited), (0, None));
                    assert!((20..=40).contains(&round.moment.as_millis()));
                    Ok(())
                },
            )
            .unwrap();
        // The pipe ends only when both shells' children are dead.
        assert_eq!(io::read_to_string(output.unwrap()).unwrap(), "");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(20) && took < Duration::from_secs(10), "{took:?}");
        assert_eq!(summary, Summary { killed: 1, exited: 0 });
    }

    #[test]
    fn tells_a_server_that_ended_by_itself() {
        let mut codes = Vec::new();
        let mut seeds = Vec::new();
        let summary = Killer::new(4)
            .window(Duration::from_secs(20), Duration::from_secs(20))
            .run(
                2,
                |_| shell("exit 7").spawn(),
                |round| {
                    codes.push(round.exited.and_then(|status| status.code()));
                    seeds.push(round.seed);
                    Ok(())
                },
            )
            .unwrap();
        assert_eq!(codes, [Some(7), Some(7)]);
        assert_ne!(seeds[0], seeds[1]);
        assert_eq!(summary, Summary { killed: 0, exited: 2 });
    }

    #[test]
    fn refuses_a_server_in_a_group_of_others() {
        let error =
            Killer::new(5).run(1, |_| Command::new("sleep").arg("60").spawn(), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("process_group(0)"), "{error}");
    }

    #[test]
    fn stops_at_the_first_error() {
        let mut rounds = 0;
        let error = Killer::new(6).run(
            5,
            |_| shell("exit 0").spawn(),
            |_| {
                rounds += 1;
                if rounds == 2 { Err(io::Error::other("lost")) } else { Ok(()) }
            },
        );
        assert_eq!(error.unwrap_err().to_string(), "lost");
        assert_eq!(rounds, 2);
    }
}
