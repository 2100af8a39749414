//! Reads the output of `strace -f -ttt -T -yy`: system calls with the lines on which they began and ended.

use std::collections::HashMap;

/// One finished system call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// The arguments as printed, with what `strace` knows of the file behind each descriptor.
    pub(crate) args: String,
    pub(crate) result: i64,
    /// Lines of the trace on which the call began and ended: its place in the order of all calls.
    pub(crate) began: usize,
    pub(crate) ended: usize,
    /// When the call began and ended, in microseconds since the epoch.
    pub(crate) began_us: u64,
    pub(crate) ended_us: u64,
}

impl Call {
    /// What stands behind the first descriptor: a path, or `TCP:[local->remote]`.
    pub(crate) fn file(&self) -> &str {
        let first = self.args.split(['"', ',']).next().unwrap_or_default();
        match (first.find('<'), first.rfind('>')) {
            (Some(from), Some(to)) if from < to => &first[from + 1..to],
            _ => "",
        }
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.file().starts_with("TCP")
    }

    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync") && self.result == 0
    }

    pub(crate) fn is_write(&self) -> bool {
        matches!(self.name.as_str(), "write" | "writev" | "pwrite64" | "pwritev" | "sendto" | "sendmsg")
            && self.result > 0
    }

    pub(crate) fn is_read(&self) -> bool {
        matches!(self.name.as_str(), "read" | "readv" | "recvfrom" | "recvmsg") && self.result > 0
    }
}

/// All calls of a trace that ended, in the order of their beginnings.
pub(crate) fn parse(trace: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, Call> = HashMap::new();
    for (line_no, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((time, text)) = rest.trim_start().split_once(' ') else { continue };
        let Some(time_us) = microseconds(time) else { continue };
        if let Some(resumed) = text.strip_prefix("<... ") {
            let Some((_, tail)) = resumed.split_once(" resumed>") else { continue };
            let Some(mut call) = unfinished.remove(pid) else { continue };
            let Some((more, result, _)) = split_result(tail) else { continue };
            call.args.push_str(more);
            call.result = result;
            call.ended = line_no;
            call.ended_us = time_us;
            calls.push(call);
            continue;
        }
        let Some((name, rest)) = text.split_once('(') else { continue };
        let begun = |args: &str, result, took_us| Call {
            name: name.to_owned(),
            args: args.to_owned(),
            result,
            began: line_no,
            ended: line_no,
            began_us: time_us,
            ended_us: time_us + took_us,
        };
        if let Some(args) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begun(args.trim_end(), 0, 0));
        } else if let Some((args, result, took_us)) = split_result(rest) {
            calls.push(begun(args, result, took_us));
        }
    }
    calls.sort_by_key(|call| call.began);
    calls
}

/// Splits `args) = result … <seconds>`. The last `) = ` or `)   = ` counts: the arguments may hold anything.
fn split_result(text: &str) -> Option<(&str, i64, u64)> {
    let (before, result) = text.rsplit_once("= ")?;
    let args = before.trim_end().strip_suffix(')')?;
    let number = result.split(' ').next()?;
    let took = result.rsplit_once('<').and_then(|(_, took)| microseconds(took.trim_end().strip_suffix('>')?));
    Some((args, number.parse().ok()?, took.unwrap_or(0)))
}

fn microseconds(time: &str) -> Option<u64> {
    let (seconds, fraction) = time.split_once('.')?;
    (fraction.len() == 6).then_some(())?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"100 1700000000.000100 recvfrom(12<TCP:[127.0.0.1:5->127.0.0.1:6]>, "POST /hooks (x) = 3", 65536, 0, NULL, NULL) = 19 <0.000030>
101 1700000000.000200 pwrite64(7</d/g.db-wal>, "abc", 3, 0) = 3
101 1700000000.000300 fdatasync(7</d/g.db-wal> <unfinished ...>
100 1700000000.000350 recvfrom(12<TCP:[127.0.0.1:5->127.0.0.1:6]>, 0x55, 9, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable) <0.000005>
101 1700000000.001300 <... fdatasync resumed>)           = 0
100 1700000000.001400 fsync(7</d/g.db-wal>)             = 0 <1.000002>
100 1700000000.001500 +++ exited with 0 +++
"#;

    #[test]
    fn calls_are_put_together_in_their_order() {
        let calls = parse(TRACE);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["recvfrom", "pwrite64", "fdatasync", "recvfrom", "fsync"]);
        assert_eq!(calls[0].result, 19);
        assert_eq!(calls[0].file(), "TCP:[127.0.0.1:5->127.0.0.1:6]");
        assert!(calls[0].is_socket() && calls[0].is_read() && !calls[0].is_write());
        assert!(calls[0].args.contains("POST /hooks (x) = 3"));
        assert_eq!(calls[1].file(), "/d/g.db-wal");
        assert!(calls[1].is_write() && !calls[1].is_socket());
        assert_eq!((calls[2].began, calls[2].ended), (2, 4));
        assert_eq!(calls[2].ended_us - calls[2].began_us, 1000);
        assert!(calls[2].is_sync() && calls[4].is_sync());
        assert_eq!(calls[0].ended_us - calls[0].began_us, 30);
        assert_eq!(calls[4].ended_us - calls[4].began_us, 1_000_002);
        assert_eq!(calls[3].result, -1);
        assert!(!calls[3].is_read());
    }
}
