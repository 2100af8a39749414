//! `start`: from `exec` to the first accepted delivery with a full queue, and the memory of an idle server.
//!
//! The queue is filled with deliveries whose git remote cannot be reached, so that they stay; then `kill -9`.
//! Each start after that finds all of them again. Beside it: the same start of the server that does nothing.

use crate::kit::http::Client;
use crate::kit::load::Load;
use crate::kit::payload::{Template, delivery_id};
use crate::kit::report::{self, Bars};
use crate::kit::stats::median;
use crate::kit::target::{Common, Kind, Remote, Target};
use crate::kit::{pause, proc};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

const START_SECONDS_MAX: f64 = 1.0;
const IDLE_MIB_MAX: f64 = 40.0;
const PATIENCE: Duration = Duration::from_secs(10);
/// How many of the accepted deliveries are asked for after the `kill -9`.
const SAMPLES: u64 = 50;

/// Arguments of `start`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// What to start.
    #[arg(long, value_enum, default_value = "gristmill")]
    target: Kind,
    /// Deliveries in the queue.
    #[arg(long, default_value_t = 10_000)]
    queued: usize,
    /// How often to start on the full queue.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// How long an idle server is left alone before its memory is read.
    #[arg(long, default_value_t = 10)]
    idle_seconds: u64,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    println!("start: {} with {} deliveries queued, {} times", args.target, args.queued, args.starts);
    report::machine(folder.path())?;
    let mut bars = Bars::default();
    let [full, idle, floor] = ["full", "idle", "floor"].map(|name| folder.path().join(name));
    for dir in [&full, &idle, &floor] {
        std::fs::create_dir(dir)?;
    }
    fill(args, &full)?;
    let floor_times = first_accepted(args, Kind::Nothing, &floor)?;
    let times = first_accepted(args, args.target, &full)?;
    println!("exec to first accepted, ms: {}; nothing: {}", list(&times), list(&floor_times));
    let seconds = median(times) / 1e3;
    let what = format!("exec to the first accepted delivery, {} queued (median)", args.queued);
    bars.check(&what, &format!("{seconds:.3} s"), "≤ 1 s", seconds <= START_SECONDS_MAX);
    if args.target == Kind::Gristmill {
        let known = known_after_kill(args, &full)?;
        bars.check(
            "accepted deliveries known after kill -9",
            &format!("{known} of {SAMPLES}"),
            "all",
            known == SAMPLES,
        );
    }
    let idle = idle_memory(args, &idle)?;
    println!(
        "idle for {} s, no project: {:.1} MiB now, {:.1} MiB at most",
        args.idle_seconds, idle.now, idle.peak
    );
    bars.check(
        "memory when idle (VmRSS)",
        &format!("{:.1} MiB", idle.now),
        "≤ 40 MiB",
        idle.now <= IDLE_MIB_MAX,
    );
    Ok(bars.failed(args.common.strict))
}

/// Has the deliveries accepted, and kills the server before it can be rid of them.
fn fill(args: &Args, dir: &Path) -> Result<()> {
    let target = args.common.start(args.target, Some(Remote::Missing), dir)?;
    let template = &target.template;
    let signed = template.sign(0, args.queued);
    let load = Load {
        addr: target.addr,
        template,
        signed: &signed,
        connections: 64,
        time_max: Duration::from_secs(60),
    };
    let outcome = load.run()?;
    let accepted = outcome.with_status(target.accepted);
    println!("filled: {accepted} accepted in {:.2} s, then kill -9", outcome.elapsed.as_secs_f64());
    if accepted != args.queued as u64 {
        bail!("only {accepted} of {} were accepted: {:?}", args.queued, outcome.statuses);
    }
    target.server.kill()
}

/// Starts again and again; milliseconds from each start to the first accepted delivery.
fn first_accepted(args: &Args, kind: Kind, dir: &Path) -> Result<Vec<f64>> {
    let once = |n| {
        let target = args.common.start(kind, Some(Remote::Missing), dir)?;
        let request = target.template.request((1 << 30) + n);
        let mut client = Client::new(target.addr, PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        let time = loop {
            let status = client.send(&request).map(|(status, _)| status);
            let time = target.server.started().elapsed();
            match status {
                Ok(status) if status == target.accepted => break time,
                answer if Instant::now() > deadline => {
                    bail!("{kind} accepts nothing after its start: {answer:?}")
                }
                _ => pause(Duration::from_millis(1)),
            }
        };
        target.server.kill()?;
        Ok(time.as_secs_f64() * 1e3)
    };
    (0..args.starts as u64).map(once).collect()
}

/// Of some deliveries accepted before the `kill -9`, how many the server still knows.
///
/// The same id with another body must be refused with 409: only a server that has the first one can tell.
fn known_after_kill(args: &Args, dir: &Path) -> Result<u64> {
    let target = args.common.start(args.target, Some(Remote::Missing), dir)?;
    let Target { template, addr, .. } = &target;
    let step = (args.queued as u64 / SAMPLES).max(1);
    let mut client = Client::new(*addr, PATIENCE);
    let mut known = 0;
    for n in (0..SAMPLES).map(|n| n * step) {
        let (status, bytes) = client.send(&other_body(template, n))?;
        if status == 409 {
            known += 1;
        } else if n == known * step {
            println!("delivery {n} is unknown: {}", String::from_utf8_lossy(&bytes));
        }
    }
    Ok(known)
}

/// A signed delivery with the id of the delivery `n` and a body of its own.
fn other_body(template: &Template, n: u64) -> Vec<u8> {
    let other = (2 << 30) + n;
    let mut request = template.request(other);
    let id = delivery_id(other);
    let at =
        request.windows(id.len()).position(|part| part == id.as_bytes()).expect("a request holds its id");
    request[at..at + id.len()].copy_from_slice(delivery_id(n).as_bytes());
    request
}

fn idle_memory(args: &Args, dir: &Path) -> Result<proc::Memory> {
    let target = args.common.start(args.target, None, dir)?;
    pause(Duration::from_secs(args.idle_seconds));
    proc::memory(target.server.pid())
}

fn list(times_ms: &[f64]) -> String {
    times_ms.iter().map(|ms| format!("{ms:.1}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_body_keeps_the_id_and_its_own_signature() {
        let template = Template::new("/hooks/bench/repo");
        let request = String::from_utf8(other_body(&template, 3)).unwrap();
        assert!(request.contains("X-GitHub-Delivery: dddddddd-dddd-4ddd-8ddd-000000000003\r\n"));
        let body = request.split_once("\r\n\r\n").unwrap().1;
        assert!(request.contains(&crate::kit::payload::sign_body(body.as_bytes())));
        assert!(!template.request(3).ends_with(body.as_bytes()));
    }
}
