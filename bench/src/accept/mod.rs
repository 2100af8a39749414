//! `accept`: how many signed deliveries a second, at what latency, with how much processor and memory.

mod strace;
mod trace;

use crate::kit::load::{Load, Outcome};
use crate::kit::proc::{self, Cpu, Memory};
use crate::kit::report::{self, Bars};
use crate::kit::stats::median;
use crate::kit::target::{Common, Kind, Remote, Target};
use anyhow::{Context, Result};
use std::time::Duration;

/// Load before each round that is not counted: opens what the server keeps, warms its caches.
const WARM_UP: Duration = Duration::from_millis(300);
/// How long a server may go on with what it put off, before it is stopped for the next one's round.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(3);
const RATIO_MIN: f64 = 4.0;
const P99_EXTRA_MS_MAX: f64 = 50.0;
const RSS_MIB_MAX: f64 = 64.0;

/// Arguments of `accept`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// What to measure, in this order.
    #[arg(long, value_delimiter = ',', default_values_t = [Kind::Nothing, Kind::Syncing, Kind::Webhook, Kind::Gristmill])]
    targets: Vec<Kind>,
    /// Rounds per target.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Requests per round, at most.
    #[arg(long, default_value_t = 400_000)]
    requests: usize,
    /// Connections that are kept, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// What Gristmill finds at the project's git URL.
    #[arg(long, value_enum, default_value = "missing")]
    remote: Remote,
    /// Instead of measuring, show by `strace` that what is answered `202` was synced before.
    #[arg(long)]
    trace: bool,
}

/// One round of one target.
struct Round {
    outcome: Outcome,
    /// In the round.
    cpu: Cpu,
    /// Afterwards, on what the server had put off.
    cpu_after: Cpu,
}

/// A target with what was measured.
struct Measured {
    target: Target,
    rounds: Vec<Round>,
    /// The number of the next delivery: each is sent once to a server.
    next: u64,
}

/// The medians of a target.
struct Figures {
    rate: f64,
    p99_ms: f64,
    memory: Memory,
    errors: u64,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut bars = Bars::default();
    if args.trace {
        let kind = *args.targets.last().unwrap_or(&Kind::Gristmill);
        trace::run(&args.common, kind, args.remote, &mut bars)?;
        return Ok(bars.failed(args.common.strict));
    }
    let folder = args.common.folder()?;
    println!(
        "accept: GitHub pushes of 7.6 kB, signed, {} connections; {} rounds of {} s (at most {} requests)",
        args.connections, args.rounds, args.seconds, args.requests
    );
    report::machine(folder.path())?;
    let mut all = Vec::new();
    for &kind in &args.targets {
        let dir = folder.path().join(kind.to_string());
        std::fs::create_dir(&dir)?;
        let target = args.common.start(kind, Some(args.remote), &dir)?;
        target.server.settle(SETTLE_TIME_MAX)?;
        target.server.pause()?;
        all.push(Measured { target, rounds: Vec::new(), next: 0 });
    }
    for round in 0..args.rounds {
        // Another one begins each time, so that none always follows the same neighbour.
        let count = all.len();
        for n in 0..count {
            let one = &mut all[(n + round) % count];
            one.round(args).with_context(|| one.target.server.log_tail()).with_context(|| one.target.kind)?;
        }
    }
    println!();
    println!(
        "            requests/s  (of rounds)               p50 ms   p99 ms   max ms  cpu ms/1000 (children) [after]  RSS MiB  peak  errors"
    );
    let figures = all.iter_mut().map(Measured::print).collect::<Result<Vec<_>>>()?;
    println!();
    let of = |kind| args.targets.iter().position(|&target| target == kind).map(|n| &figures[n]);
    check(&mut bars, of(Kind::Nothing), of(Kind::Webhook), of(Kind::Gristmill));
    Ok(bars.failed(args.common.strict))
}

impl Measured {
    /// One round: the others are stopped meanwhile.
    fn round(&mut self, args: &Args) -> Result<()> {
        self.target.server.resume()?;
        self.load(args, WARM_UP)?;
        let pid = self.target.server.pid();
        let template = &self.target.template;
        let signed = template.sign(self.next, args.requests);
        let load = Load {
            addr: self.target.addr,
            template,
            signed: &signed,
            connections: args.connections,
            time_max: Duration::from_secs(args.seconds),
        };
        let before = proc::cpu(pid)?;
        let outcome = load.run()?;
        let after = proc::cpu(pid)?;
        self.next += outcome.sent as u64;
        self.target.server.settle(SETTLE_TIME_MAX)?;
        let cpu_after = proc::cpu(pid)?.since(after);
        self.target.server.pause()?;
        self.rounds.push(Round { outcome, cpu: after.since(before), cpu_after });
        Ok(())
    }

    /// Load that is not counted.
    fn load(&mut self, args: &Args, time_max: Duration) -> Result<()> {
        let Target { addr, template, .. } = &self.target;
        let signed = template.sign(self.next, args.requests.min(30_000));
        let load = Load { addr: *addr, template, signed: &signed, connections: args.connections, time_max };
        self.next += load.run()?.sent as u64;
        Ok(())
    }

    fn print(&mut self) -> Result<Figures> {
        let accepted = self.target.accepted;
        let memory = proc::memory(self.target.server.pid())?;
        let rate =
            |round: &Round| round.outcome.with_status(accepted) as f64 / round.outcome.elapsed.as_secs_f64();
        let rates: Vec<f64> = self.rounds.iter().map(rate).collect();
        let per_thousand = |part: fn(&Round) -> Duration| {
            median(self.rounds.iter().map(|round| {
                let answered = round.outcome.with_status(accepted).max(1);
                part(round).as_secs_f64() * 1e6 / answered as f64
            }))
        };
        let own = per_thousand(|round| round.cpu.own);
        let children = per_thousand(|round| round.cpu.children);
        let after = per_thousand(|round| round.cpu_after.total());
        let mut percentile = |percent| {
            median(self.rounds.iter_mut().map(|round| round.outcome.latencies.percentile_ms(percent)))
        };
        let (p50_ms, p99_ms) = (percentile(50.0), percentile(99.0));
        let max_ms = self.rounds.iter_mut().map(|round| round.outcome.latencies.max_ms()).fold(0.0, f64::max);
        let errors = self.rounds.iter().map(|round| round.outcome.errors(accepted)).sum();
        let rate = median(rates.iter().copied());
        let each: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!(
            "{:<10} {rate:>11.0}  {:<24} {p50_ms:>7.2} {p99_ms:>8.2} {max_ms:>8.1}  {own:>11.0} {:>10} {:>7}  {:>7.1} {:>5.1} {errors:>7}",
            self.target.kind,
            each.join(" "),
            format!("({children:.0})"),
            format!("[{after:.0}]"),
            memory.now,
            memory.peak,
        );
        if errors > 0 {
            self.print_errors();
        }
        Ok(Figures { rate, p99_ms, memory, errors })
    }

    fn print_errors(&self) {
        for (n, Round { outcome, .. }) in self.rounds.iter().enumerate() {
            println!(
                "    round {}: statuses {:?}, broken connections {}",
                n + 1,
                outcome.statuses,
                outcome.broken
            );
        }
    }
}

/// The bars of Gristmill beside the others, as far as they were measured.
fn check(bars: &mut Bars, nothing: Option<&Figures>, webhook: Option<&Figures>, gristmill: Option<&Figures>) {
    let Some(gristmill) = gristmill else {
        println!("no bars: gristmill was not among the targets");
        return;
    };
    if let Some(webhook) = webhook {
        let ratio = gristmill.rate / webhook.rate;
        bars.check("requests/s, gristmill / webhook", &format!("{ratio:.2}"), "≥ 4", ratio >= RATIO_MIN);
    }
    if let Some(nothing) = nothing {
        let extra = gristmill.p99_ms - nothing.p99_ms;
        let met = extra <= P99_EXTRA_MS_MAX;
        bars.check(
            "p99 beyond that of the server that does nothing",
            &format!("{extra:.1} ms"),
            "≤ 50 ms",
            met,
        );
    }
    let peak = gristmill.memory.peak;
    bars.check("peak of the memory (VmHWM)", &format!("{peak:.1} MiB"), "≤ 64 MiB", peak <= RSS_MIB_MAX);
    bars.check(
        "every delivery accepted",
        &format!("{} not", gristmill.errors),
        "0 not",
        gristmill.errors == 0,
    );
}
