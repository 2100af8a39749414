//! The kinds of pipeline. Each is one module of the same shape: what goes in and out, its settings,
//! `plan` (pure), its steps, its tests.

pub mod archive;

use gristmill_model::{CommitId, GitRef, PipelineKind, PipelineSpec, Plan};

/// Why a pipeline is asked for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The ref that moved, or was named by a person, a schedule or a release.
    pub git_ref: GitRef,
    /// The commit to build.
    pub commit: CommitId,
    /// The move that made it the tip; `None` where it is not the tip: then no name moves.
    pub seq: Option<i64>,
    /// Whether a release of the forge is the occasion.
    pub is_release: bool,
}

/// What a pipeline does on an occasion. Pure: the same settings and occasion give the same plan.
pub fn plan(pipeline: &PipelineSpec, occasion: &Occasion) -> Plan {
    match &pipeline.kind {
        PipelineKind::Archive(_) => archive::plan(pipeline, occasion),
    }
}
