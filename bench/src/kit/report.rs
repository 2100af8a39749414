//! What is printed: the machine, and a line per bar.

use super::stats::median;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Counts the bars that were missed.
#[derive(Default)]
pub(crate) struct Bars {
    missed: usize,
}

impl Bars {
    /// Prints one bar: what was measured, what was asked for, and whether it was met.
    pub(crate) fn check(&mut self, what: &str, measured: &str, bar: &str, met: bool) {
        println!("bar  {what}: {measured}, bar {bar} … {}", if met { "met" } else { "MISSED" });
        self.missed += usize::from(!met);
    }

    /// Whether the caller asked for an exit code and a bar was missed.
    pub(crate) fn failed(&self, strict: bool) -> bool {
        strict && self.missed > 0
    }
}

/// Prints what the figures depend on: the processors, their load, and what a sync costs in `dir`.
pub(crate) fn machine(dir: &Path) -> Result<()> {
    let cpus = std::thread::available_parallelism()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    println!(
        "machine: {cpus} processors, load {load} at the start; fdatasync of 8 kB in {:.2} ms",
        sync_ms(dir)?
    );
    Ok(())
}

/// The median time of an append of 8 kB with `fdatasync`.
fn sync_ms(dir: &Path) -> Result<f64> {
    let path = dir.join("sync-probe");
    let mut file = File::create(&path).with_context(|| format!("cannot write to {}", path.display()))?;
    let mut times = Vec::new();
    for _ in 0..30 {
        let start = Instant::now();
        file.write_all(&[7; 8192])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    fs::remove_file(path)?;
    Ok(median(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missed_bar_under_strict_fails() {
        let mut bars = Bars::default();
        bars.check("speed", "5", "≥ 4", true);
        assert!(!bars.failed(true));
        bars.check("speed", "3", "≥ 4", false);
        assert!(!bars.failed(false));
        assert!(bars.failed(true));
    }
}
