//! Pipeline `archive`: a commit's tree → one archive under a public key.
//!
//! *In:* a commit. *Out:* an artifact, and a version of the key where the commit is the tip of its ref.
//!
//! Three jobs, one after the other: `fetch` brings exactly the commit into the mirror and learns its
//! tree, and ends the run where the pipeline's paths are not touched; `archive` makes the zip or tar, once per tree and
//! recipe, a zip taking over the members of the archive before; `publish` records the artifact and moves the name.
//!
//! Where git is not reachable, `download` brings the forge's own archive instead, which `unpack` reads.
//!
//! An archive is put together (`assemble`) from the members of a tree (`members`), large files (`large`), submodules
//! (`submodules`) and a clone; `source` reads their contents, and `recipe` says what all that follows from.

mod assemble;
mod budget;
mod door;
mod download;
pub mod fetch;
mod large;
mod lfs_http;
pub mod make;
mod members;
mod outside;
pub mod paths;
mod public;
pub mod publish;
mod recipe;
mod source;
mod submodules;
mod tar;
mod unpack;
mod zip;

use std::time::Duration;

use gristmill_archive::Format;
use gristmill_model::{ArchiveFormat, ArchiveOptions, PipelineKind, PipelineSpec, Plan, PlannedJob};

use super::Occasion;

/// Brings the commit.
pub const FETCH: &str = "fetch";
/// Makes the archive.
pub const ARCHIVE: &str = "archive";
/// Records the artifact and moves the name.
pub const PUBLISH: &str = "publish";

/// The folder of submodules' mirrors, in that of all mirrors and in those of projects whose own server they are on.
pub const SUBMODULES: &str = "submodules";

/// How the pipeline's archives are written.
pub fn format(pipeline: &PipelineSpec) -> Format {
    let PipelineKind::Archive(archive) = &pipeline.kind;
    match archive.format {
        ArchiveFormat::Zip => Format::Zip,
        ArchiveFormat::Tar => Format::Tar,
        ArchiveFormat::TarGz => Format::TarGz,
        ArchiveFormat::TarZst => Format::TarZst,
    }
}

/// What the pipeline's archives hold besides the tree.
fn options(pipeline: &PipelineSpec) -> &ArchiveOptions {
    let PipelineKind::Archive(archive) = &pipeline.kind;
    &archive.options
}

/// What decides over the bytes of the pipeline's archives besides their source, as it is recorded with each.
pub fn recipe_of(pipeline: &PipelineSpec) -> String {
    recipe::recipe(format(pipeline), options(pipeline))
}

/// The jobs of a run. The row of the run says for which commit; overtaken commits have the same jobs,
/// and `publish` moves no name for them.
pub fn plan(pipeline: &PipelineSpec, _occasion: &Occasion) -> Plan {
    let mut jobs: Vec<PlannedJob> =
        [FETCH, ARCHIVE, PUBLISH].map(|kind| PlannedJob::new(kind, "{}".to_owned())).into();
    jobs[0].delay = Duration::from_secs(pipeline.delay_seconds.unsigned_abs());
    Plan::chain(jobs)
}
