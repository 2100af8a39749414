//! What an archive's bytes follow from.

use gristmill_archive::Format;
use gristmill_model::{ArchiveOptions, Attributes, Digest, GitRef, ObjectFormat};

use super::fetch::Fetched;
use super::source::CONVERSION_VERSION;
use crate::worker::step::Subject;

/// Everything but the source that decides over the bytes: the format and the options, with their versions.
pub(super) fn recipe(format: Format, options: &ArchiveOptions) -> String {
    let ArchiveOptions { attributes, export_ignore, paths: _, include_git, lfs, submodules } = options;
    let mut recipe = format!("{format}/{}", format.version());
    if *attributes == Attributes::Git {
        recipe += &format!("+attributes/{CONVERSION_VERSION}");
    }
    if *export_ignore {
        recipe += "+export-ignore";
    }
    for (is_on, name) in [(include_git, "+git"), (lfs, "+lfs"), (submodules, "+submodules")] {
        if *is_on {
            recipe += name;
        }
    }
    recipe
}

/// The key under which the archive is found again. Blobs are shared by all projects that have the tree: whoever
/// names a tree's id has its content. What tells of the commit is found by commit and ref, and what has more than the
/// commit's files only in the same project: that others know the tree does not let them in elsewhere.
pub(super) fn step_key(subject: &Subject, fetched: &Fetched, recipe: &str) -> Digest {
    let format: &[u8] = match fetched.tree.0.format() {
        ObjectFormat::Sha1 => b"sha1",
        ObjectFormat::Sha256 => b"sha256",
    };
    let mut parts: Vec<&[u8]> = vec![b"archive", recipe.as_bytes(), format, fetched.tree.0.as_bytes()];
    let git_ref = subject.run.git_ref.to_string();
    if fetched.by_commit {
        parts.extend([b"commit".as_slice(), fetched.commit.0.as_bytes(), git_ref.as_bytes()]);
    }
    let (project, url) = (subject.run.project.to_string(), &subject.spec.git);
    let options = super::options(&subject.pipeline);
    if options.include_git || options.lfs || options.submodules {
        parts.extend([b"project".as_slice(), project.as_bytes(), url.as_bytes()]);
    }
    Digest::of_parts(parts)
}

/// What `%D` says where this ref alone is known: what git says in a clone of one branch or tag.
pub(super) fn decoration(git_ref: &GitRef) -> String {
    match (git_ref.branch(), git_ref.tag()) {
        (Some(branch), _) => format!("HEAD -> {branch}"),
        (None, Some(tag)) => format!("HEAD, tag: {tag}"),
        (None, None) => "HEAD".to_owned(),
    }
}
