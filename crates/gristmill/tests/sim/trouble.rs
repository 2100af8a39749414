//! Workers in trouble: they die, freeze and come back as zombies, stop in good order, start again.

use gristmill_db::clock::{self, Jump};
use gristmill_db::job::{self, Rescue};
use gristmill_db::watch::Watch;
use gristmill_model::{BootId, JobId, Timestamp};

use crate::worker::Worker;
use crate::world::{Done, Event, World, fault};

/// A little more than an hour: less is nothing to those who delete.
const JUMP_MS: i64 = 3_700_000;
const TEN_YEARS_MS: i64 = 3_653 * 86_400_000;
/// How long a dead worker's jobs may wait.
const ORPHAN_MS: i64 = 30_000;

impl World {
    /// A worker dies, freezes or stops.
    pub fn trouble(&mut self) -> Done {
        let index = usize::try_from(self.rng.below(self.workers.len() as u64)).unwrap();
        let others_up = self.workers.iter().enumerate().any(|(i, worker)| i != index && worker.is_up());
        if !self.workers[index].is_up() || !(self.is_single || others_up) {
            return Ok(());
        }
        match self.rng.below(10) {
            0..=3 => self.die(index),
            4..=7 => self.freeze(index),
            _ => self.stop(index)?,
        }
        Ok(())
    }

    fn die(&mut self, index: usize) {
        self.count(if self.is_single { "deaths of the only server" } else { "deaths" });
        self.note(|| format!("worker {index} dies"));
        self.watch_orphans(index);
        self.workers[index].is_alive = false;
        for number in std::mem::take(&mut self.workers[index].tasks) {
            self.tasks.remove(&number);
        }
        self.soon(500, 15_000, Event::Start(index));
    }

    fn freeze(&mut self, index: usize) {
        self.count("freezes");
        let until = self.now() + self.rng.between(2_000, 90_000);
        self.note(|| format!("worker {index} freezes"));
        if !self.is_single {
            self.watch_orphans(index);
        }
        self.workers[index].frozen_until = until;
        self.workers[index].up_since = until;
    }

    fn watch_orphans(&mut self, index: usize) {
        let boot = self.workers[index].boot;
        let mine: Vec<(JobId, i64)> = self
            .truth
            .held
            .iter()
            .filter(|(_, held)| held.worker == index)
            .map(|(job, held)| (*job, held.attempt))
            .collect();
        for (job, attempt) in mine {
            self.at(self.now() + ORPHAN_MS, Event::Orphan(index, job, attempt, boot));
        }
    }

    pub fn check_orphan(&mut self, index: usize, job: JobId, attempt: i64, boot: BootId) -> Done {
        let worker = &self.workers[index];
        let came_back = worker.boot == boot && worker.is_up();
        if !came_back && self.tx(|tx| job::still_mine(tx, job, attempt))? {
            // A frozen worker that woke, extended its lease and froze again is gone only since then.
            let until = self.truth.held.get(&job).map(|held| held.until);
            let lease_ms = i64::try_from(job::LEASE.as_millis()).unwrap();
            if until.is_some_and(|until| until > self.now() - ORPHAN_MS + lease_ms) {
                return Ok(());
            }
            // Who takes a lease back has watched it for its whole length.
            let watched =
                |worker: &Worker| worker.is_up() && worker.up_since <= self.now() - ORPHAN_MS - 1_000;
            if !self.workers.iter().any(watched) {
                self.at(self.now() + 1_000, Event::Orphan(index, job, attempt, boot));
                return Ok(());
            }
            return fault(format!("job {job} is still leased {ORPHAN_MS} ms after its worker was gone"));
        }
        Ok(())
    }

    /// A graceful stop: what is under way is given back.
    fn stop(&mut self, index: usize) -> Done {
        self.count("graceful stops");
        for number in std::mem::take(&mut self.workers[index].tasks) {
            let Some(task) = self.tasks.remove(&number) else { continue };
            let (job, attempt) = (task.lease.job, task.lease.attempt);
            self.tx(|tx| job::release(tx, job, attempt))?;
            self.let_go(job, attempt);
        }
        self.workers[index].is_alive = false;
        self.soon(500, 5_000, Event::Start(index));
        Ok(())
    }

    /// The next process in a worker's place.
    pub fn start_worker(&mut self, index: usize) -> Done {
        let boot = self.new_boot();
        if self.is_single {
            let rescued = self.tx(|tx| job::rescue(tx, &Rescue::OtherBoots(boot), 100))?;
            self.truth.held.clear();
            if rescued > 0 {
                self.count("leases of an earlier start back");
            }
        }
        let now = self.now();
        let worker = &mut self.workers[index];
        worker.up_since = now;
        worker.boot = boot;
        worker.is_alive = true;
        worker.frozen_until = 0;
        worker.asks = false;
        worker.ticks = false;
        worker.leases = Watch::default();
        worker.holders = Watch::default();
        self.wake(index);
        Ok(())
    }

    /// Somebody sets the clock wrong, or right again.
    pub fn jump(&mut self) -> Done {
        let by = match self.rng.below(4) {
            0 => JUMP_MS,
            1 => -JUMP_MS,
            2 => TEN_YEARS_MS,
            _ => -TEN_YEARS_MS,
        };
        let offset = if self.offset == 0 { by } else { 0 };
        self.count(if offset > self.offset { "clocks set ahead" } else { "clocks set back" });
        self.note(|| format!("the clock is set to true time and {offset} ms"));
        self.set_clock(offset);
        Ok(())
    }

    /// What every program does each minute: it knows what the clock should show.
    pub fn look_at_clock(&mut self) -> Done {
        let (shown, at) = self.told;
        let expected = Timestamp(shown + self.now() - at);
        let jump = self.tx(|tx| clock::look(tx, Some(expected)))?;
        match jump {
            Jump::None => {}
            Jump::Ahead(_) => self.count("jumps ahead seen"),
            Jump::Back(_) => self.count("jumps back seen"),
        }
        self.told = (self.shown(), self.now());
        Ok(())
    }

    /// After the faults: everybody works again.
    pub fn calm_workers(&mut self) -> Done {
        let now = self.now();
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            worker.frozen_until = worker.frozen_until.min(now);
            worker.up_since = worker.up_since.min(now);
            if !self.workers[index].is_alive {
                self.start_worker(index)?;
            }
        }
        Ok(())
    }
}
