//! `hostile`: 10 000 malformed deliveries and 1 000 slow connections, while a good sender goes on.
//!
//! The server is started with the usual limit of 1 024 open files, as systemd and most shells give it.

mod faults;
mod good;
mod malformed;
mod slow;

use crate::kit::http::Client;
use crate::kit::proc::{self, Memory};
use crate::kit::report::{self, Bars};
use crate::kit::target::{Common, Kind, Remote, Target};
use crate::kit::{load::Load, pause};
use anyhow::{Context, Result};
use malformed::Tally;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const P99_MS_MAX: f64 = 250.0;
/// How much memory may grow between the first and the second half of the attack, and still count as flat.
const GROWTH_MIB_MAX: f64 = 8.0;
const PATIENCE: Duration = Duration::from_secs(10);
/// The limit of open files that a server usually finds.
const USUAL_OPEN_FILES: u64 = 1024;
/// Deliveries before the attack, so that "before" is a server that has worked.
const WARM_UP_REQUESTS: usize = 2_000;

/// Arguments of `hostile`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// What to attack.
    #[arg(long, value_enum, default_value = "gristmill")]
    target: Kind,
    /// Malformed deliveries.
    #[arg(long, default_value_t = 10_000)]
    malformed: usize,
    /// Malformed deliveries a second, by all senders together.
    #[arg(long, default_value_t = 700)]
    malformed_rate: usize,
    /// Slow connections held at once.
    #[arg(long, default_value_t = 1_000)]
    slow: usize,
    /// Good deliveries a second.
    #[arg(long, default_value_t = 100)]
    good_rate: u32,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    println!(
        "hostile: {} malformed deliveries ({} a second), {} slow connections, {} good deliveries a second; target {}",
        args.malformed, args.malformed_rate, args.slow, args.good_rate, args.target
    );
    report::machine(folder.path())?;
    let allowed = getrlimit(Resource::Nofile);
    let usual = Rlimit { current: Some(USUAL_OPEN_FILES), ..allowed };
    setrlimit(Resource::Nofile, usual).context("cannot lower the limit of open files")?;
    let started = args.common.start(args.target, Some(Remote::Missing), folder.path());
    let ours = Rlimit { current: allowed.maximum, ..allowed };
    setrlimit(Resource::Nofile, ours).context("cannot raise the limit of open files")?;
    let mut target = started?;
    warm_up(&target)?;
    let attack = attack(args, &target)?;
    let mut bars = Bars::default();
    attack.print(&mut target, &mut bars)?;
    Ok(bars.failed(args.common.strict))
}

fn warm_up(target: &Target) -> Result<()> {
    let template = &target.template;
    let signed = template.sign(0, WARM_UP_REQUESTS);
    let load = Load { addr: target.addr, template, signed: &signed, connections: 64, time_max: PATIENCE };
    let outcome = load.run()?;
    println!("warm-up: {} of {} accepted", outcome.with_status(target.accepted), outcome.sent);
    target.server.settle(Duration::from_secs(3))
}

/// What was seen of the server during the attack.
struct Attack {
    quiet: good::Outcome,
    attacked: good::Outcome,
    tally: Tally,
    slow: slow::Outcome,
    /// Memory before, after the first half, after the second half, and when all connections are closed.
    memory: [Memory; 4],
    /// Open files before and after.
    files: [usize; 2],
    took: Duration,
    accepted_at_the_end: bool,
}

fn attack(args: &Args, target: &Target) -> Result<Attack> {
    let pid = target.server.pid();
    let sender = good::Sender { target, rate: args.good_rate };
    let quiet = sender.run_for(Duration::from_secs(3), 1 << 20)?;
    let files_before = proc::open_files(pid)?;
    let before = proc::memory(pid)?;
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let (halves, slow, attacked) = thread::scope(|scope| {
        let slow = scope.spawn(|| slow::hold(target, args.slow, &over));
        let attacked = scope.spawn(|| {
            // Measured once the slow connections stand.
            pause(Duration::from_secs(1));
            sender.run(2 << 20, || over.load(Ordering::Relaxed))
        });
        pause(Duration::from_secs(2));
        let half = |first, count| {
            let tally = malformed::send(target, first, count, args.malformed_rate);
            proc::memory(pid).map(|memory| (tally, memory))
        };
        let middle = args.malformed / 2;
        let halves = half(0, middle).and_then(|one| Ok((one, half(middle, args.malformed - middle)?)));
        over.store(true, Ordering::Relaxed);
        let slow = slow.join().expect("the slow connections do not panic");
        (halves, slow, attacked.join().expect("the good sender does not panic"))
    });
    let took = start.elapsed();
    let ((mut tally, first_half), (second_tally, second_half)) =
        halves.with_context(|| target.server.log_tail())?;
    tally.extend(second_tally);
    // Connections that were cut off by us are noticed at once; two seconds are plenty.
    pause(Duration::from_secs(2));
    let (status, _) =
        Client::new(target.addr, PATIENCE).send(&target.template.request(3 << 20)).unwrap_or_default();
    Ok(Attack {
        quiet,
        attacked: attacked?,
        tally,
        slow,
        memory: [before, first_half, second_half, proc::memory(pid)?],
        files: [files_before, proc::open_files(pid)?],
        took,
        accepted_at_the_end: status == target.accepted,
    })
}

impl Attack {
    fn print(mut self, target: &mut Target, bars: &mut Bars) -> Result<()> {
        println!("attack of {:.1} s:", self.took.as_secs_f64());
        self.tally.print();
        println!(
            "slow connections: {} held at most, {} cut off by the server, {} not let in; limit of open files {}",
            self.slow.held_max,
            self.slow.cut_off,
            self.slow.refused,
            proc::open_files_max(target.server.pid())
                .map_or_else(|| "unknown".to_owned(), |max| max.to_string()),
        );
        let [before, first, second, end] = self.memory;
        println!(
            "memory MiB: before {:.1}, after half {:.1}, after all {:.1}, connections closed {:.1}, peak {:.1}; open files before {}, after {}",
            before.now, first.now, second.now, end.now, end.peak, self.files[0], self.files[1]
        );
        self.quiet.print("good, before");
        self.attacked.print("good, in the attack");
        println!();
        let p99_ms = self.attacked.latencies.percentile_ms(99.0);
        bars.check(
            "p99 of the good deliveries",
            &format!("{p99_ms:.1} ms"),
            "≤ 250 ms",
            p99_ms <= P99_MS_MAX,
        );
        let failed = self.attacked.failed;
        bars.check("good deliveries accepted", &format!("{failed} not"), "0 not", failed == 0);
        let growth = second.now - first.now;
        let met = growth <= GROWTH_MIB_MAX;
        bars.check("memory flat (growth in the second half)", &format!("{growth:.1} MiB"), "≤ 8 MiB", met);
        let accepted = self.tally.wrongly_accepted();
        bars.check("malformed deliveries accepted", &accepted.to_string(), "0", accepted == 0);
        let failures = self.tally.server_errors();
        bars.check("answers 500", &failures.to_string(), "0", failures == 0);
        let log = target.server.log();
        let panics = log.matches("panicked").count() + log.matches("panic serving").count();
        bars.check("panics in the log", &panics.to_string(), "0", panics == 0);
        let alive = target.server.alive()? && self.accepted_at_the_end;
        bars.check("alive and accepting at the end", if alive { "yes" } else { "no" }, "yes", alive);
        Ok(())
    }
}
