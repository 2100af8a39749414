//! Workers in trouble: they die, freeze and come back as zombies, stop in good order, start again.

use gristmill_db::job::{self, Rescue};
use gristmill_db::params;
use gristmill_model::{BootId, JobId};

use crate::world::{Done, Event, World, fault};

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
            const UNTIL: &str = "SELECT lease_until_ms FROM job WHERE id = $1";
            let until = self.tx(|tx| tx.query_one(UNTIL, params![job], |row| row.get::<i64>(0)))?;
            let lease_ms = i64::try_from(job::LEASE.as_millis()).unwrap();
            if until.is_some_and(|until| until > self.now() - ORPHAN_MS + lease_ms) {
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
            let rescued = self.tx(|tx| job::rescue(tx, Rescue::OtherBoots(boot), 100))?;
            self.truth.held.clear();
            if rescued > 0 {
                self.count("leases of an earlier start back");
            }
        }
        let worker = &mut self.workers[index];
        worker.boot = boot;
        worker.is_alive = true;
        worker.frozen_until = 0;
        worker.asks = false;
        worker.ticks = false;
        self.wake(index);
        Ok(())
    }

    /// After the faults: everybody works again.
    pub fn calm_workers(&mut self) -> Done {
        let now = self.now();
        for index in 0..self.workers.len() {
            self.workers[index].frozen_until = self.workers[index].frozen_until.min(now);
            if !self.workers[index].is_alive {
                self.start_worker(index)?;
            }
        }
        Ok(())
    }
}
