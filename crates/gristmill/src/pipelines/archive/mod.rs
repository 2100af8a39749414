//! Pipeline `archive`: a commit's tree → one zip under a public key.
//!
//! *In:* a commit. *Out:* an artifact, and a version of the key where the commit is the tip of its ref.
//!
//! Three jobs, one after the other: `fetch` brings exactly the commit into the mirror and learns its
//! tree; `archive` makes the zip, once per tree, taking over the members of the archive before;
//! `publish` records the artifact and moves the name.

pub mod fetch;
pub mod make;
pub mod publish;
mod zip;

use std::time::Duration;

use gristmill_model::{PipelineSpec, Plan, PlannedJob};

use super::Occasion;

/// Brings the commit.
pub const FETCH: &str = "fetch";
/// Makes the zip.
pub const ARCHIVE: &str = "archive";
/// Records the artifact and moves the name.
pub const PUBLISH: &str = "publish";

/// The jobs of a run. The row of the run says for which commit; overtaken commits have the same jobs,
/// and `publish` moves no name for them.
pub fn plan(pipeline: &PipelineSpec, _occasion: &Occasion) -> Plan {
    let mut jobs: Vec<PlannedJob> =
        [FETCH, ARCHIVE, PUBLISH].map(|kind| PlannedJob::new(kind, "{}".to_owned())).into();
    jobs[0].delay = Duration::from_secs(pipeline.delay_seconds.unsigned_abs());
    Plan::chain(jobs)
}
