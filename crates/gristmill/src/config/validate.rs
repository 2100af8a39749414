//! What only shows when all projects are looked at together, and when templates meet the refs they are for.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_model::{
    ArchiveSpec, CommitId, GitRef, KeyFields, KeyTemplate, NamePattern, ObjectId, PipelineKind, PipelineSpec,
    RepoPath, Repositories, TreeId,
};

use super::Project;
use super::collision::{self, Keys};
use super::error::{Findings, Place};
use super::project::Parsed;

/// Each costs a hash of every request to `/gitpull`, also of a stranger's.
const GITPULL_SECRETS_MAX: usize = 8;

/// Reports everything that is wrong between projects, or between a pipeline's settings.
pub(super) fn projects(projects: &[Parsed], findings: &mut Findings) {
    let mut names: BTreeMap<String, &Place> = BTreeMap::new();
    for parsed in projects {
        let name = parsed.project.name();
        let place = &parsed.project.place;
        if let Some(first) = names.insert(name.to_owned(), place) {
            findings.error(
                place.clone(),
                format!("project `{name}` is already configured in {first}; give one of them another name"),
            );
        }
        pipelines(parsed, findings);
    }
    gitpull(projects, findings);
    if findings.is_clean() {
        shared_keys(projects, findings);
    }
}

/// At `/gitpull` a request is tried with each secret, and the payload's repository says whose it is.
fn gitpull(projects: &[Parsed], findings: &mut Findings) {
    let mut secrets = Vec::new();
    let mut repositories: BTreeMap<(&str, String), &Parsed> = BTreeMap::new();
    for parsed in projects.iter().filter(|parsed| parsed.project.gitpull && parsed.project.enabled) {
        let Project { spec, secrets: of_project, place, .. } = &parsed.project;
        if of_project.is_empty() {
            findings.error(
                place.clone(),
                "`gitpull` is set, but there is no `secret`: nobody could be let in; add one".to_owned(),
            );
        }
        for secret in of_project {
            if !secrets.contains(&(&spec.forge, secret)) {
                secrets.push((&spec.forge, secret));
            }
        }
        let repository = (spec.forge.as_str(), spec.repository.as_str().to_lowercase());
        if let Some(first) = repositories.insert(repository, parsed) {
            findings.error(
                place.clone(),
                format!(
                    "`gitpull` is set for {} in {} too, and a webhook there names only the repository; set it in one of them",
                    spec.repository, first.project.place
                ),
            );
        }
        if secrets.len() > GITPULL_SECRETS_MAX {
            findings.error(
                place.clone(),
                format!("the projects with `gitpull` have more than {GITPULL_SECRETS_MAX} different secrets, and each request is tried with all of them; let projects share one, or use /hooks/<project>"),
            );
            return;
        }
    }
}

fn pipelines(parsed: &Parsed, findings: &mut Findings) {
    let mut names: BTreeMap<&str, &Place> = BTreeMap::new();
    let spec = &parsed.project.spec;
    for (pipeline, place) in spec.pipelines.iter().zip(&parsed.places) {
        if let Some(first) = names.insert(&pipeline.name, place) {
            findings.error(
                place.clone(),
                format!(
                    "pipeline `{}` of project `{}` is already configured in {first}; give this one a `name` of its own",
                    pipeline.name,
                    parsed.project.name()
                ),
            );
        }
        let PipelineKind::Archive(archive) = &pipeline.kind;
        let mut faults = refs(pipeline);
        faults.extend(templates(pipeline, archive));
        if faults.is_empty() {
            faults.extend(examples(pipeline, archive, &spec.repository));
            faults.extend(shared_among_repositories(parsed, archive));
        }
        for fault in faults {
            findings.error(place.clone(), format!("pipeline `{}`: {fault}", pipeline.name));
        }
    }
}

/// Patterns that no ref can match.
fn refs(pipeline: &PipelineSpec) -> Vec<String> {
    let mut faults = Vec::new();
    if pipeline.refs.branches.is_empty() && pipeline.refs.tags.is_empty() && !pipeline.releases {
        faults.push(
            "it wants no branch, no tag and no release, so nothing would be made; add `branches` or `tags`"
                .to_owned(),
        );
    }
    let branches =
        pipeline.refs.branches.iter().map(|pattern| (pattern, GitRef::from_branch(pattern.as_str())));
    let tags = pipeline.refs.tags.iter().map(|pattern| (pattern, GitRef::from_tag(pattern.as_str())));
    for (pattern, git_ref) in branches.chain(tags) {
        if let (true, Err(error)) = (pattern.is_plain(), git_ref) {
            faults.push(format!("no branch or tag can be called `{pattern}`: {error}"));
        }
    }
    faults
}

/// The template for tags, and the one for releases.
fn tag_template(archive: &ArchiveSpec) -> &KeyTemplate {
    archive.tag_key.as_ref().unwrap_or(&archive.key)
}

fn release_template(archive: &ArchiveSpec) -> &KeyTemplate {
    archive.release_key.as_ref().unwrap_or_else(|| tag_template(archive))
}

/// Templates that ask for what their refs do not have.
fn templates(pipeline: &PipelineSpec, archive: &ArchiveSpec) -> Vec<String> {
    let mut faults = Vec::new();
    if !pipeline.refs.branches.is_empty() && archive.key.asks_for_tag() {
        faults.push(format!(
            "`key` is `{}`, but a branch has no {{tag}}; move that template to `tag_key` and give branches a `key` with {{branch}}, or set `branches = []`",
            archive.key
        ));
    }
    let wanted = [
        (!pipeline.refs.tags.is_empty(), "tags", "tag_key", tag_template(archive)),
        (pipeline.releases, "releases", "release_key", release_template(archive)),
    ];
    for (is_wanted, what, setting, template) in wanted {
        if is_wanted && template.asks_for_branch() {
            let own = if what == "tags" { "tags/{tag}" } else { "release/tags/{tag}" };
            let proposal = template.as_str().replace("{branch}", own).replace("{branch_}", "{tag_}");
            faults.push(format!(
                "`{what}` are wanted, but the key for them is `{template}`, and a tag has no {{branch}}; set `{setting}`, such as `{setting} = \"{proposal}\"`"
            ));
        }
    }
    faults
}

/// Keys made as for a push, so that what cannot be a key shows now.
fn examples(pipeline: &PipelineSpec, archive: &ArchiveSpec, repository: &RepoPath) -> Vec<String> {
    let name = |patterns: &[NamePattern]| {
        let plain =
            patterns.iter().filter(|pattern| pattern.is_plain()).max_by_key(|pattern| pattern.as_str().len());
        plain.map_or("x", NamePattern::as_str).to_owned()
    };
    let branch = GitRef::from_branch(&name(&pipeline.refs.branches));
    let tag = GitRef::from_tag(&name(&pipeline.refs.tags));
    let cases = [
        (!pipeline.refs.branches.is_empty(), &archive.key, branch),
        (!pipeline.refs.tags.is_empty(), tag_template(archive), tag.clone()),
        (pipeline.releases, release_template(archive), tag),
    ];
    let mut faults = Vec::new();
    for (is_wanted, template, git_ref) in cases {
        let Ok(git_ref) = git_ref else { continue };
        let id = ObjectId::Sha1([1; 20]);
        let fields = KeyFields {
            repository,
            git_ref: &git_ref,
            commit: CommitId(id),
            tree: TreeId(id),
            date: "2026-01-31",
        };
        if let (true, Err(error)) = (is_wanted, template.render(&fields)) {
            faults.push(error.to_string());
        }
    }
    faults
}

/// One side of a collision: what a pipeline makes of some refs.
struct Side<'a> {
    parsed: &'a Parsed,
    at: usize,
    /// What the keys are for, such as "tags `v*`".
    refs: String,
    template: &'a KeyTemplate,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Branch,
    Tag,
    Release,
}

impl<'a> Side<'a> {
    fn pipeline(&self) -> &'a PipelineSpec {
        &self.parsed.project.spec.pipelines[self.at]
    }

    fn place(&self) -> &'a Place {
        &self.parsed.places[self.at]
    }

    fn may_share(&self) -> bool {
        let PipelineKind::Archive(archive) = &self.pipeline().kind;
        archive.allow_shared_key
    }

    /// Whether this is a pattern's and the other one's a project that it would cover, with the same keys: that
    /// repository is the project's alone.
    fn excepts(&self, other: &Side<'_>) -> bool {
        let Some(pattern) = &self.parsed.project.pattern else { return false };
        let project = &other.parsed.project;
        let is_covered = project.pattern.is_none() && pattern.expand(&project.spec.repository).is_some();
        is_covered && pattern.forge == project.spec.forge && self.template == other.template
    }

    /// In the order in which a person reads.
    fn order(&self) -> (&Place, usize, Role) {
        (self.place(), self.at, self.role)
    }

    fn is_same_pipeline(&self, other: &Side<'_>) -> bool {
        std::ptr::eq(self.parsed, other.parsed) && self.at == other.at
    }
}

fn shared_keys(projects: &[Parsed], findings: &mut Findings) {
    let mut keys = Vec::new();
    for parsed in projects {
        for (at, pipeline) in parsed.project.spec.pipelines.iter().enumerate() {
            let PipelineKind::Archive(archive) = &pipeline.kind;
            sides(parsed, at, pipeline, archive, &mut keys);
            if !archive.allow_shared_key {
                for fault in shared_among_refs(pipeline, archive) {
                    findings
                        .error(parsed.places[at].clone(), format!("pipeline `{}`: {fault}", pipeline.name));
                }
            }
        }
    }
    // Two pipelines with ten patterns each are told of once, not a hundred times.
    let mut told = BTreeSet::new();
    collision::pairs(&keys, |left, right| {
        let (left, right) =
            if left.owner.order() <= right.owner.order() { (left, right) } else { (right, left) };
        let (a, b) = (&left.owner, &right.owner);
        if is_collision(a, b) && told.insert((a.place(), a.at, b.place(), b.at)) {
            report(left, right, findings);
        }
    });
}

/// Every kind of key the pipeline makes.
fn sides<'a>(
    parsed: &'a Parsed,
    at: usize,
    pipeline: &'a PipelineSpec,
    archive: &'a ArchiveSpec,
    keys: &mut Vec<Keys<Side<'a>>>,
) {
    let repositories = match &parsed.project.pattern {
        Some(pattern) => Repositories::AllOf(pattern.repositories.owner()),
        None => Repositories::One(&parsed.project.spec.repository),
    };
    let mut add = |refs: String, glob: &str, role: Role, template: &'a KeyTemplate| {
        let tokens = template.possible_keys(repositories, glob, role != Role::Branch);
        keys.push(Keys { tokens, owner: Side { parsed, at, refs, template, role } });
    };
    for pattern in &pipeline.refs.branches {
        add(format!("branches `{pattern}`"), pattern.as_str(), Role::Branch, &archive.key);
    }
    for pattern in &pipeline.refs.tags {
        add(format!("tags `{pattern}`"), pattern.as_str(), Role::Tag, tag_template(archive));
    }
    if pipeline.releases {
        // A release may be made of any tag.
        add("releases".to_owned(), "**", Role::Release, release_template(archive));
    }
}

/// Whether two sides that can make the same key do so for different things.
fn is_collision(left: &Side<'_>, right: &Side<'_>) -> bool {
    if !left.is_same_pipeline(right) {
        let is_excepted = left.excepts(right) || right.excepts(left);
        return !(is_excepted || left.may_share() && right.may_share());
    }
    if left.may_share() || left.role == right.role {
        return false; // refs of one kind are looked at by `shared_among_refs`
    }
    // A tag and its release under one template are the same commit, and so is what a template makes
    // that tells commits or trees apart.
    let same_template = left.template == right.template;
    let same_thing = left.role != Role::Branch && right.role != Role::Branch;
    !(same_template && (same_thing || tells_content_apart(left.template)))
}

fn tells_content_apart(template: &KeyTemplate) -> bool {
    ["{commit", "{short_commit", "{tree"].iter().any(|field| template.as_str().contains(field))
}

/// Refs of one kind that one template gives the same key.
fn shared_among_refs(pipeline: &PipelineSpec, archive: &ArchiveSpec) -> Vec<String> {
    let all: Option<NamePattern> = pipeline.releases.then(|| "**".parse().expect("a pattern"));
    let kinds: [(&str, &str, &[NamePattern], &KeyTemplate); 3] = [
        ("branches", "branch", &pipeline.refs.branches, &archive.key),
        ("tags", "tag", &pipeline.refs.tags, tag_template(archive)),
        ("releases", "tag", all.as_slice(), release_template(archive)),
    ];
    let mut faults = Vec::new();
    for (what, field, patterns, template) in kinds {
        if template.same_for_all_refs() {
            let first = patterns.first();
            if patterns.iter().any(|pattern| !pattern.is_plain() || Some(pattern) != first) {
                faults.push(format!(
                    "all its {what} would be published under one key, `{template}`; put {{{field}}} into the key, name one {field} only, or set `allow_shared_key = true`"
                ));
            }
        } else if names_ref_flat_only(template) && collision::equal_when_flat(patterns) {
            faults.push(format!(
                "with `{template}`, two of its {what} such as `a/b` and `a_b` would share a key, as {{{field}_}} writes `/` as `_`; use {{{field}}}, or set `allow_shared_key = true`"
            ));
        }
    }
    faults
}

/// Keys that all repositories of a pattern would share.
fn shared_among_repositories(parsed: &Parsed, archive: &ArchiveSpec) -> Vec<String> {
    if parsed.project.pattern.is_none() || archive.allow_shared_key {
        return Vec::new();
    }
    let templates = [Some(&archive.key), archive.tag_key.as_ref(), archive.release_key.as_ref()];
    let mut shared = templates.into_iter().flatten();
    let is_shared = |template: &&KeyTemplate| !template.names_repository() && !tells_content_apart(template);
    let told = shared.find(is_shared).map(|template| {
        format!("all repositories of the pattern would be published under `{template}`; put {{repo}} into it, or set `allow_shared_key = true`")
    });
    told.into_iter().collect()
}

fn names_ref_flat_only(template: &KeyTemplate) -> bool {
    let exact = ["{branch}", "{tag}", "{ref}"].iter().any(|field| template.as_str().contains(field));
    !exact && !tells_content_apart(template)
}

fn report(left: &Keys<Side<'_>>, right: &Keys<Side<'_>>, findings: &mut Findings) {
    let (a, b) = (&left.owner, &right.owner);
    let key = collision::example(&left.tokens, &right.tokens).unwrap_or_else(|| a.template.to_string());
    let what = if a.is_same_pipeline(b) {
        format!(
            "pipeline `{}`: its {} and its {} could both be published under `{key}`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`",
            a.pipeline().name,
            a.refs,
            b.refs
        )
    } else {
        format!(
            "pipeline `{}` of project `{}` ({}) and pipeline `{}` of project `{}` in {} ({}) could both publish under `{key}`; give one another `key`, or set `allow_shared_key = true` in both",
            b.pipeline().name,
            b.parsed.project.name(),
            b.refs,
            a.pipeline().name,
            a.parsed.project.name(),
            a.place(),
            a.refs
        )
    };
    findings.error(b.place().clone(), what);
}
