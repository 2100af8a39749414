//! Which members an archive has: a walk of the tree, and what `.gitattributes` say of each path.

use std::collections::HashMap;
use std::sync::Arc;

use gristmill_archive::attributes::{Attributes as Rules, AttributesError, PathAttributes, RULE_BYTES_MAX};
use gristmill_git::{Entry, ObjectError, Objects, OwnClone, WalkLimits};
use gristmill_model::{ArchiveOptions, Attributes, PublicReason, TreeId};

use super::source::{At, CommitText, Content, Conversion, Member, Planned, object_error};
use crate::worker::step::StepError;

/// The members of a tree, in git's order. `store` is what a [`super::source::Source`] knows the repository by, `commit`
/// what `export-subst` tells of.
pub(super) fn list(
    store: usize,
    objects: &Objects,
    tree: TreeId,
    options: &ArchiveOptions,
    commit: Option<&Arc<CommitText>>,
) -> Result<Vec<Planned>, StepError> {
    let asks = options.export_ignore || options.attributes == Attributes::Git;
    let entries = walk(objects, tree, asks)?;
    let rules = if asks { rules(objects, &entries)? } else { None };
    let mut judge = Judge { store, rules, options, commit, ignored: None, known: HashMap::new() };
    Ok(entries
        .into_iter()
        .filter_map(|(name, entry)| judge.member(&name, entry).map(|member| Planned { name, member }))
        .collect())
}

fn walk(objects: &Objects, tree: TreeId, with_folders: bool) -> Result<Vec<(Vec<u8>, Entry)>, StepError> {
    let mut entries = Vec::new();
    let walked = objects.walk(tree, WalkLimits::default(), |path, entry| {
        if with_folders || !matches!(entry, Entry::Folder { .. }) {
            entries.push((path.to_owned(), entry));
        }
        Ok::<(), ObjectError>(())
    });
    walked.map_err(object_error)?;
    Ok(entries)
}

/// The tree's own rules; `None` where it has none.
fn rules(objects: &Objects, entries: &[(Vec<u8>, Entry)]) -> Result<Option<Rules>, StepError> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for (path, entry) in entries {
        let Some(blob) = rule_file(path, entry) else { continue };
        bytes += objects.blob_size(blob).map_err(object_error)?;
        if bytes > RULE_BYTES_MAX as u64 {
            return Err(refused(AttributesError::TooLarge));
        }
        let mut content = Vec::new();
        objects.blob(blob, &mut content).map_err(object_error)?;
        let name_at = path.len() - RULE_FILE.len();
        files.push((path[..name_at].strip_suffix(b"/").unwrap_or_default(), content));
    }
    if files.is_empty() {
        return Ok(None);
    }
    let files = files.iter().map(|(folder, content)| (*folder, content.as_slice()));
    Rules::new(files).map(Some).map_err(refused)
}

fn refused(error: AttributesError) -> StepError {
    StepError::fail(error).told(PublicReason::AttributesRefused)
}

const RULE_FILE: &[u8] = b".gitattributes";

fn rule_file(path: &[u8], entry: &Entry) -> Option<gristmill_model::BlobId> {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match entry {
        Entry::File { blob, .. } if name == RULE_FILE => Some(*blob),
        _ => None,
    }
}

/// Decides over one path after the other, in git's order.
struct Judge<'a> {
    store: usize,
    rules: Option<Rules>,
    options: &'a ArchiveOptions,
    commit: Option<&'a Arc<CommitText>>,
    /// A folder that is left out; its entries follow.
    ignored: Option<Vec<u8>>,
    /// Few rules hold for many files.
    known: HashMap<PathAttributes, Arc<Conversion>>,
}

impl Judge<'_> {
    /// What stands in the archive under a path; `None` where nothing does.
    fn member(&mut self, path: &[u8], entry: Entry) -> Option<Member> {
        if self.is_below_ignored(path) {
            return None;
        }
        let is_folder = matches!(entry, Entry::Folder { .. } | Entry::Submodule { .. });
        let attributes = self.rules.as_ref().map(|rules| rules.of(path, is_folder));
        if self.options.export_ignore && attributes.as_ref().is_some_and(|found| found.export_ignore) {
            self.ignored = matches!(entry, Entry::Folder { .. }).then(|| path.to_owned());
            return None;
        }
        match entry {
            Entry::Folder { .. } => None,
            Entry::Submodule { .. } => Some(Member::Folder),
            Entry::Symlink { blob } => Some(Member::Symlink(At { store: self.store, blob })),
            Entry::File { blob, executable } => {
                let at = At { store: self.store, blob };
                let changed = attributes
                    .filter(|found| self.options.attributes == Attributes::Git && found.is_changed());
                let content = match changed {
                    Some(attributes) => Content::Converted(at, self.conversion(attributes)),
                    None => Content::Blob(at),
                };
                Some(Member::File { content, executable })
            }
        }
    }

    fn is_below_ignored(&self, path: &[u8]) -> bool {
        let rest = self.ignored.as_ref().and_then(|folder| path.strip_prefix(folder.as_slice()));
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    fn conversion(&mut self, attributes: PathAttributes) -> Arc<Conversion> {
        let commit = self.commit.filter(|_| attributes.export_subst).cloned();
        let new = || Arc::new(Conversion { attributes: attributes.clone(), commit });
        self.known.entry(attributes.clone()).or_insert_with(new).clone()
    }
}

/// Whether what stands in the archive depends on the commit, not only on its tree.
pub(super) fn tells_of_commit(planned: &[Planned]) -> bool {
    planned.iter().any(|one| match &one.member {
        Member::File { content: Content::Converted(_, conversion), .. } => conversion.attributes.export_subst,
        _ => false,
    })
}

/// The members of a clone that goes along as `.git`.
pub(super) fn of_clone(clone: &OwnClone) -> impl Iterator<Item = Planned> {
    clone.files().iter().map(|file| Planned {
        name: [b".git/", file.name.as_slice()].concat(),
        member: Member::OwnGit(Content::Local(file.path.clone(), file.size)),
    })
}
