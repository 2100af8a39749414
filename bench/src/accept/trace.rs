//! `accept --trace`: the order of system calls that makes "accepted means durable" true.
//!
//! For each delivery: its request was read from the socket; then a file of the server was written; then that file
//! was synced, with success; then `202` was written to the socket. Where the written bytes show the delivery id,
//! the trace also proves that it is this delivery that was synced.

use super::strace::{self, Call};
use crate::kit::http::Client;
use crate::kit::pause;
use crate::kit::payload::delivery_id;
use crate::kit::report::Bars;
use crate::kit::server::Server;
use crate::kit::target::{Common, Kind, Remote, Target};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Deliveries one after the other, then as many again all at once.
const DELIVERIES: u64 = 8;
const CALLS: &str =
    "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync";
const PATIENCE: Duration = Duration::from_secs(20);

/// What the trace shows for one delivery, as places in the list of calls.
#[derive(Debug, PartialEq, Eq)]
struct Evidence {
    read: usize,
    /// The write that holds the delivery id, when one shows it.
    stored: Option<usize>,
    sync: usize,
    answer: usize,
}

/// Sends a few deliveries under `strace` and checks each.
pub(super) fn run(common: &Common, kind: Kind, remote: Remote, bars: &mut Bars) -> Result<()> {
    let folder = common.folder()?;
    let target = common.start(kind, Some(remote), folder.path())?;
    let trace_path = folder.path().join("trace");
    let strace = attach(&target, &trace_path, folder.path())?;
    let sent = send(&target);
    strace.signal(Signal::INT)?;
    let trace = read_when_detached(strace, &trace_path)?;
    sent?;
    let calls = strace::parse(&trace);
    let root = folder.path().canonicalize()?;
    let root = root.to_str().context("the folder's name is not UTF-8")?;
    let all: Vec<Result<Evidence, &str>> =
        (0..2 * DELIVERIES).map(|n| evidence(&calls, &delivery_id(n), root)).collect();
    println!("accept --trace: {kind}, {} deliveries, {} system calls seen", all.len(), calls.len());
    if let Some(Ok(first)) = all.first() {
        print(&calls, first, &delivery_id(0));
    }
    let proven = all.iter().flatten().count();
    if let Some((n, reason)) = all.iter().enumerate().find_map(|(n, one)| Some((n, one.as_ref().err()?))) {
        println!(
            "not proven for {} of {}; the first is {}: {reason}",
            all.len() - proven,
            all.len(),
            delivery_id(n as u64)
        );
    }
    let named = all.iter().flatten().filter(|one| one.stored.is_some()).count();
    println!("the id of the delivery is seen in the synced bytes for {named} of {}", all.len());
    let what = "deliveries synced between the read of the request and the write of its 202";
    bars.check(what, &format!("{proven} of {}", all.len()), "all", proven == all.len());
    Ok(())
}

/// Attaches `strace` to the running target.
fn attach(target: &Target, trace: &Path, dir: &Path) -> Result<Server> {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-ttt",
        "-T",
        "-yy",
        "-s",
        "9000",
        "-e",
        CALLS,
        "-p",
        &target.server.pid().to_string(),
        "-o",
    ]);
    command.arg(trace);
    let mut strace = Server::start("strace", command, &dir.join("strace.log"))?;
    let deadline = Instant::now() + PATIENCE;
    while !strace.log().contains("attached") {
        if !strace.alive()? || Instant::now() > deadline {
            bail!("strace cannot attach: {}", strace.log_tail());
        }
        pause(Duration::from_millis(20));
    }
    // The line names the first thread; the others follow within this time.
    pause(Duration::from_millis(200));
    Ok(strace)
}

fn read_when_detached(mut strace: Server, path: &Path) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while strace.alive()? {
        if Instant::now() > deadline {
            bail!("strace does not detach");
        }
        pause(Duration::from_millis(20));
    }
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// One delivery after the other, then several at once.
fn send(target: &Target) -> Result<()> {
    let send_one = |client: &mut Client, n: u64| -> Result<()> {
        let (status, _) = client.send(&target.template.request(n)).context("no answer under strace")?;
        if status != target.accepted {
            bail!("delivery {n} was answered {status}, not {}", target.accepted);
        }
        Ok(())
    };
    let mut client = Client::new(target.addr, PATIENCE);
    for n in 0..DELIVERIES {
        send_one(&mut client, n)?;
    }
    thread::scope(|scope| {
        let send_one = &send_one;
        let threads: Vec<_> = (DELIVERIES..2 * DELIVERIES)
            .map(|n| scope.spawn(move || send_one(&mut Client::new(target.addr, PATIENCE), n)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a sender does not panic"))
    })
}

/// Finds the read of a delivery, the sync of a file under `root` after it, and its answer after that.
fn evidence(calls: &[Call], id: &str, root: &str) -> Result<Evidence, &'static str> {
    let first = calls
        .iter()
        .position(|call| call.is_read() && call.is_socket() && call.args.contains(id))
        .ok_or("its request is not in the trace")?;
    let same_socket = |call: &Call| call.file() == calls[first].file();
    let answer = (first..calls.len())
        .find(|&n| calls[n].is_write() && same_socket(&calls[n]) && calls[n].args.contains("HTTP/1.1 202"))
        .ok_or("its 202 is not in the trace")?;
    let read = (first..answer)
        .rfind(|&n| calls[n].is_read() && same_socket(&calls[n]))
        .ok_or("its request is not in the trace")?;
    let sync_after = |stored: &Call| {
        (0..calls.len()).find(|&n| {
            let sync = &calls[n];
            sync.is_sync()
                && sync.file() == stored.file()
                && sync.began > stored.ended
                && sync.ended < calls[answer].began
        })
    };
    let stored_between = |n: &usize| {
        let call = &calls[*n];
        call.is_write() && call.file().starts_with(root) && call.began > calls[read].ended
    };
    let mut written: Vec<usize> = (read..answer).filter(stored_between).collect();
    // First the writes that hold the id: with one of them the proof is about this very delivery.
    written.sort_by_key(|&n| !calls[n].args.contains(id));
    written
        .into_iter()
        .find_map(|stored| {
            let sync = sync_after(&calls[stored])?;
            let stored = calls[stored].args.contains(id).then_some(stored);
            Some(Evidence { read, stored, sync, answer })
        })
        .ok_or("no sync of what was written after its request ended before its 202")
}

fn print(calls: &[Call], evidence: &Evidence, id: &str) {
    let start = calls[evidence.read].ended_us;
    let line = |at_us: u64, call: &Call, what: &str| {
        println!(
            "  {:>8} µs  {}({}) = {}  {what}",
            at_us.saturating_sub(start),
            call.name,
            call.file(),
            call.result
        );
    };
    println!("delivery {id}");
    line(start, &calls[evidence.read], "the request was read");
    if let Some(stored) = evidence.stored.map(|n| &calls[n]) {
        line(stored.began_us, stored, "holds the delivery id");
    }
    let sync = &calls[evidence.sync];
    line(sync.began_us, sync, "began");
    line(sync.ended_us, sync, "ended");
    line(calls[evidence.answer].began_us, &calls[evidence.answer], "the answer, 202");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of one delivery `ID` with its calls in the given order: r(ead), w(rite), s(ync), a(nswer),
    /// f(ailing sync), o(ther file's sync).
    fn order(calls: &str) -> Vec<Call> {
        let socket = "12<TCP:[127.0.0.1:5->127.0.0.1:6]>";
        let lines: Vec<String> = calls
            .chars()
            .enumerate()
            .map(|(n, call)| {
                let text = match call {
                    'r' => format!("recvfrom({socket}, \"POST ID\", 9, 0, NULL, NULL) = 7"),
                    'w' => "pwrite64(7</d/g.db-wal>, \"..ID..\", 6, 0) = 6".to_owned(),
                    'x' => "pwrite64(7</d/g.db-wal>, \"......\", 6, 0) = 6".to_owned(),
                    's' => "fdatasync(7</d/g.db-wal>) = 0".to_owned(),
                    'f' => "fdatasync(7</d/g.db-wal>) = -1 EIO (Input/output error)".to_owned(),
                    'o' => "fdatasync(8</d/log>) = 0".to_owned(),
                    _ => format!("writev({socket}, [{{iov_base=\"HTTP/1.1 202 Accepted\"}}], 1) = 21"),
                };
                format!("100 1700000000.{n:06} {text}\n")
            })
            .collect();
        strace::parse(&lines.concat())
    }

    #[test]
    fn the_sync_must_lie_between_the_write_of_the_delivery_and_its_answer() {
        let proof = evidence(&order("rwsa"), "ID", "/d").unwrap();
        assert_eq!(proof, Evidence { read: 0, stored: Some(1), sync: 2, answer: 3 });
        assert_eq!(evidence(&order("rxsa"), "ID", "/d").unwrap().stored, None);
        assert_eq!(evidence(&order("rxwsa"), "ID", "/d").unwrap().stored, Some(2));
        for bad in ["rwas", "rswa", "rwfa", "rwoa", "rsa", "wsra", "rwa"] {
            assert!(evidence(&order(bad), "ID", "/d").is_err(), "{bad}");
        }
        assert!(evidence(&order("rwsa"), "ID", "/elsewhere").is_err());
        assert!(evidence(&order("rws"), "ID", "/d").is_err());
        assert!(evidence(&order("wsa"), "ID", "/d").is_err());
    }

    #[test]
    fn a_request_in_two_parts_counts_from_the_second() {
        assert!(evidence(&order("rwsra"), "ID", "/d").is_err());
        assert!(evidence(&order("rrwsa"), "ID", "/d").is_ok());
    }
}
