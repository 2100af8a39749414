//! [`Plan`]: the graph of jobs that a run starts with, or that a job adds to it.

use std::time::Duration;

/// When a job lets another one go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EdgeKind {
    /// When it succeeded. Where it did not, the other is cancelled.
    OnSuccess,
    /// When it is over, whatever became of it.
    OnFinish,
}

impl EdgeKind {
    /// The word in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            EdgeKind::OnSuccess => "on_success",
            EdgeKind::OnFinish => "on_finish",
        }
    }
}

/// A job that is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedJob {
    /// Which step runs it.
    pub kind: String,
    /// The step's settings, as JSON.
    pub payload: String,
    /// How long after everything it needs is there.
    pub delay: Duration,
}

impl PlannedJob {
    /// A job that starts as soon as it may.
    pub fn new(kind: &str, payload: String) -> PlannedJob {
        PlannedJob { kind: kind.to_owned(), payload, delay: Duration::ZERO }
    }
}

/// One end waits for the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedEdge {
    /// Index of the job that goes first.
    pub from: usize,
    /// Index of the job that waits.
    pub to: usize,
    /// For what it waits.
    pub kind: EdgeKind,
}

/// Jobs and what they wait for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The jobs.
    pub jobs: Vec<PlannedJob>,
    /// The edges between them, by index.
    pub edges: Vec<PlannedEdge>,
}

/// The most jobs one plan may have; a graph that grows beyond it is a mistake in its pipeline.
pub const PLAN_JOBS_MAX: usize = 10_000;

/// A plan that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too many jobs.
    #[error("a plan of {0} jobs; at most 10000 are taken")]
    TooLarge(usize),
    /// An edge to a job that is not there.
    #[error("an edge from job {from} to job {to}, but the plan has {jobs} jobs")]
    NoSuchJob {
        /// Where the edge begins.
        from: usize,
        /// Where it ends.
        to: usize,
        /// How many jobs there are.
        jobs: usize,
    },
    /// Jobs that wait for each other.
    #[error("the jobs of the plan wait for each other in a circle")]
    Circle,
}

impl Plan {
    /// Jobs that go one after the other, each on the success of the one before.
    pub fn chain(jobs: Vec<PlannedJob>) -> Plan {
        let edges =
            (1..jobs.len()).map(|to| PlannedEdge { from: to - 1, to, kind: EdgeKind::OnSuccess }).collect();
        Plan { jobs, edges }
    }

    /// Adds an edge.
    #[must_use]
    pub fn edge(mut self, from: usize, to: usize, kind: EdgeKind) -> Plan {
        self.edges.push(PlannedEdge { from, to, kind });
        self
    }

    /// How many edges end at each job.
    pub fn waits(&self) -> Vec<i64> {
        let mut waits = vec![0; self.jobs.len()];
        for edge in &self.edges {
            waits[edge.to] += 1;
        }
        waits
    }

    /// Refuses edges that lead nowhere and circles, which would never run.
    pub fn check(&self) -> Result<(), PlanError> {
        let jobs = self.jobs.len();
        if jobs > PLAN_JOBS_MAX {
            return Err(PlanError::TooLarge(jobs));
        }
        if let Some(edge) = self.edges.iter().find(|edge| edge.from >= jobs || edge.to >= jobs) {
            return Err(PlanError::NoSuchJob { from: edge.from, to: edge.to, jobs });
        }
        let mut next = vec![Vec::new(); jobs];
        for edge in &self.edges {
            next[edge.from].push(edge.to);
        }
        let mut waits = self.waits();
        let mut free: Vec<usize> = (0..jobs).filter(|job| waits[*job] == 0).collect();
        let mut done = 0;
        while let Some(job) = free.pop() {
            done += 1;
            for to in &next[job] {
                waits[*to] -= 1;
                if waits[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        if done == jobs { Ok(()) } else { Err(PlanError::Circle) }
    }
}

#[cfg(test)]
mod tests;
