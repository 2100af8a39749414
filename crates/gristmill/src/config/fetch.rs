//! `fetch` and `clone` of a `[[project]]`: whether its source comes by git, and with how much of its history, or as the
//! forge's own archives.

use gristmill_forge::Forge;
use gristmill_forge::api::ApiBase;
use gristmill_git::{Protocol, RemoteUrl};
use gristmill_model::{Attributes, Download, FetchBy, PipelineKind};

use super::pipeline::ParsedPipeline;
use super::reader::{Field, Section};
use super::server;

/// The most bytes of one packed archive, where it is not said.
const BYTES_MAX: u64 = 500 << 20;
/// Whose API has refs, archives and a way to compare them.
const FORGES: [Forge; 8] = [
    Forge::Github,
    Forge::Gitlab,
    Forge::Gitea,
    Forge::Forgejo,
    Forge::Gogs,
    Forge::Bitbucket,
    Forge::BitbucketServer,
    Forge::AzureDevops,
];

/// What it is read for.
pub(super) struct For<'a> {
    pub(super) forge: Option<Forge>,
    pub(super) url: Option<&'a RemoteUrl>,
    /// `git` and the repository's name, where they have to tell where the API is.
    pub(super) api_from: Option<(String, String)>,
    /// Whether a program is asked for tokens, which the API is not.
    pub(super) has_helper: bool,
    pub(super) pipelines: &'a [ParsedPipeline],
}

/// Reads `fetch` and what goes with it; `None` where something is wrong, which is reported.
pub(super) fn read(section: &mut Section<'_>, of: &For<'_>) -> Option<FetchBy> {
    let field = section.get("fetch");
    let clone = section.get("clone");
    let (max, filtered) = (section.get("download_max"), section.get("allow_filtered"));
    let word = match &field {
        None => "git",
        Some(field) => {
            let known = |text: &str| ["git", "download"].into_iter().find(|word| *word == text);
            field.text_as("one of: git, download", known)?
        }
    };
    let Some(field) = field.filter(|_| word == "download") else {
        let mut is_right = true;
        for (field, key) in [(&max, "download_max"), (&filtered, "allow_filtered")] {
            if let Some(field) = field {
                field.error(format!("`{key}` is for `fetch = \"download\"` only; leave it out"));
                is_right = false;
            }
        }
        let by_git = read_clone(clone.as_ref(), of.pipelines)?;
        return is_right.then_some(by_git);
    };
    if let Some(clone) = clone {
        clone.error("`clone` is for `fetch = \"git\"` only, and no history is downloaded; leave it out");
        return None;
    }
    let bytes_max = max.map_or(Some(BYTES_MAX), |field| server::size(&field, 1, "500MiB"));
    let allow_filtered = filtered.map_or(Some(false), |field| field.bool());
    let (bytes_max, allow_filtered) = (bytes_max?, allow_filtered?);
    let is_possible = check(&field, of, allow_filtered);
    let fits = pipelines(&field, of.pipelines);
    (is_possible && fits).then_some(FetchBy::Download(Download { bytes_max, allow_filtered }))
}

/// With how much of the history git begins.
fn read_clone(field: Option<&Field<'_>>, pipelines: &[ParsedPipeline]) -> Option<FetchBy> {
    let Some(field) = field else { return Some(FetchBy::Git) };
    let known = |text: &str| match text {
        "full" => Some(FetchBy::Git),
        "partial" => Some(FetchBy::Partial),
        _ => None,
    };
    let clone = field.text_as("one of: full, partial", known)?;
    let mut fits = true;
    for ParsedPipeline { spec, .. } in pipelines {
        let PipelineKind::Archive(archive) = &spec.kind;
        if clone == FetchBy::Partial && archive.options.include_git {
            field.error(format!(
                "pipeline `{}`: `include_git` puts the whole history into the archive; with `clone = \"partial\"` leave it out",
                spec.name
            ));
            fits = false;
        }
    }
    fits.then_some(clone)
}

/// Whether the forge and the way to it are such that anything can be downloaded.
fn check(field: &Field<'_>, of: &For<'_>, allow_filtered: bool) -> bool {
    let mut faults = Vec::new();
    if let Some(forge) = of.forge.filter(|forge| !FORGES.contains(forge)) {
        faults.push(format!(
            "`fetch = \"download\"` is for {}; of {forge} no archives are read here, use git",
            FORGES.map(Forge::name).join(", ")
        ));
    }
    if let Some(url) = of.url
        && !matches!(url.protocol(), Protocol::Https | Protocol::Http)
    {
        faults.push(
            "`fetch = \"download\"` asks the forge's API, with `token`; let `git` be the repository's https:// address"
                .to_owned(),
        );
    }
    if let (Some(forge), Some((git, repository)), true) = (of.forge, &of.api_from, faults.is_empty())
        && let Err(error) = ApiBase::derived(forge, git, repository)
    {
        faults.push(format!("`fetch = \"download\"` asks the forge's API: {error}"));
    }
    if of.has_helper {
        faults.push(
            "`credential_helper` is for git, and `fetch = \"download\"` asks the forge's API; set `token` instead"
                .to_owned(),
        );
    }
    if matches!(of.forge, Some(Forge::Bitbucket | Forge::BitbucketServer)) && !allow_filtered {
        faults.push(
            "Bitbucket does not tell which tree a commit has, so its archives cannot be compared with it, and it leaves out what `.gitattributes` says; set `allow_filtered = true` to take them as they are"
                .to_owned(),
        );
    }
    for fault in &faults {
        field.error(fault.as_str());
    }
    faults.is_empty()
}

/// Whether the pipelines need nothing that only git brings.
fn pipelines(field: &Field<'_>, pipelines: &[ParsedPipeline]) -> bool {
    let mut fits = true;
    for ParsedPipeline { spec, .. } in pipelines {
        let PipelineKind::Archive(archive) = &spec.kind;
        let options = &archive.options;
        let by_git = "needs what only git brings";
        let by_forge = "is for the forge alone to say, which packs the archives";
        let unfit = [
            (options.lfs, "lfs", by_git),
            (options.submodules, "submodules", by_git),
            (options.include_git, "include_git", by_git),
            (options.attributes == Attributes::Git, "attributes = \"git\"", by_forge),
            (options.export_ignore, "export_ignore", by_forge),
        ];
        for (_, name, why) in unfit.into_iter().filter(|(is_set, ..)| *is_set) {
            field.error(format!(
                "pipeline `{}`: `{name}` {why}; with `fetch = \"download\"` leave it out",
                spec.name
            ));
            fits = false;
        }
    }
    fits
}
