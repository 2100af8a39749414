//! What Linux tells of a process: time on the processor, memory, open files.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// Processor time used so far, in the kernel and outside it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// By the process itself.
    pub(crate) own: Duration,
    /// By children that it has waited for.
    pub(crate) children: Duration,
}

impl Cpu {
    pub(crate) fn total(self) -> Duration {
        self.own + self.children
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            own: self.own.saturating_sub(earlier.own),
            children: self.children.saturating_sub(earlier.children),
        }
    }
}

/// Memory in MiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident now (`VmRSS`).
    pub(crate) now: f64,
    /// The most that was ever resident (`VmHWM`).
    pub(crate) peak: f64,
}

/// Time on the processor from `/proc/PID/stat`, in steps of the clock tick (10 ms).
pub(crate) fn cpu(pid: u32) -> Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the server has ended")?;
    parse_cpu(&stat, rustix::param::clock_ticks_per_second()).context("/proc/PID/stat has another form")
}

fn parse_cpu(stat: &str, ticks_per_second: u64) -> Option<Cpu> {
    // The name of the program may hold blanks and brackets; the fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = ticks[..] else { return None };
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / ticks_per_second);
    Some(Cpu { own: time(user + system), children: time(children_user + children_system) })
}

/// Resident memory from `/proc/PID/status`.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server has ended")?;
    parse_memory(&status).context("/proc/PID/status tells no memory: the server has ended")
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name| {
        let kib = status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix(" kB")?;
        Some(kib.parse::<f64>().ok()? / 1024.0)
    };
    Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// How many files and connections the process has open.
pub(crate) fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("the server has ended")?.count())
}

/// The limit of open files that the process may use without asking (`ulimit -Sn`).
pub(crate) fn open_files_max(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_from_behind_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 5 1 20 0 9 0 100 1 1";
        let cpu = parse_cpu(stat, 100).unwrap();
        assert_eq!(cpu.own, Duration::from_millis(420));
        assert_eq!(cpu.children, Duration::from_millis(60));
        assert_eq!(cpu.total(), Duration::from_millis(480));
        assert!(parse_cpu("7 (a) S 1", 100).is_none());
    }

    #[test]
    fn memory_is_in_mebibytes() {
        let memory = parse_memory("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1536 kB\n").unwrap();
        assert_eq!((memory.now, memory.peak), (1.5, 2.0));
        assert!(parse_memory("Name:\tx\n").is_none());
    }
}
