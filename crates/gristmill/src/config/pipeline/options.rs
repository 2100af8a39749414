//! What an archive holds besides the tree as git has it.

use gristmill_archive::changes::{self, PathFilter};
use gristmill_model::{ArchiveOptions, Attributes};

use super::super::reader::{Field, Section};
use super::{flag, one_of};

/// Reads the options; `None` where one is wrong, which is reported.
pub(super) fn read(section: &mut Section<'_>) -> Option<ArchiveOptions> {
    let attributes = section.get("attributes").map_or(Some(Attributes::Raw), |field| read_attributes(&field));
    let export_ignore = flag(section, "export_ignore");
    let paths = section.get("paths").map_or(Some(Vec::new()), |field| read_paths(&field));
    let include_git = read_include_git(section, export_ignore);
    let lfs = flag(section, "lfs");
    let submodules = flag(section, "submodules");
    Some(ArchiveOptions {
        attributes: attributes?,
        export_ignore,
        paths: paths?,
        include_git: include_git?,
        lfs,
        submodules,
    })
}

fn read_include_git(section: &mut Section<'_>, export_ignore: bool) -> Option<bool> {
    let Some(field) = section.get("include_git") else { return Some(false) };
    let include_git = field.bool()?;
    if include_git && export_ignore {
        field.error(
            "`include_git` brings everything that `export_ignore` leaves out, and git would call it deleted; use one of them",
        );
        return None;
    }
    Some(include_git)
}

fn read_attributes(field: &Field<'_>) -> Option<Attributes> {
    Some(match one_of(field, &["raw", "git"])? {
        "git" => Attributes::Git,
        _ => Attributes::Raw,
    })
}

/// Patterns that make a filter; the list as it is written.
fn read_paths(field: &Field<'_>) -> Option<Vec<String>> {
    let expected = "a list of patterns of paths, such as [\"services/api/**\", \"!**/*.md\"]";
    let fields = field.list(expected)?;
    if fields.len() > changes::PATTERNS_MAX {
        field.error(format!(
            "`paths` has {} patterns; at most {} are taken",
            fields.len(),
            changes::PATTERNS_MAX
        ));
        return None;
    }
    let patterns: Vec<Option<String>> =
        fields.iter().map(|field| field.text(expected).map(str::to_owned)).collect();
    let patterns: Vec<String> = patterns.into_iter().collect::<Option<_>>()?;
    match PathFilter::new(patterns.iter().map(String::as_str)) {
        Ok(_) => Some(patterns),
        Err(error) => {
            field.error(error.to_string());
            None
        }
    }
}
