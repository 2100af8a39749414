//! Projects and the revisions of their settings.

use std::collections::BTreeSet;

use gristmill_model::{
    Digest, PatternName, ProjectId, ProjectName, ProjectPattern, ProjectSpec, RepoPath, Timestamp,
};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::verify::Faults;
use crate::{job, missed, params, schedule, sum};

statements! {
    INSERT = "INSERT INTO project (id, name, pattern, state, rev, jobs_max, next_look_ms, created_ms) VALUES ($1, $2, $3, 'active', 1, $4, $5, $6)";
    INSERT_SPEC = "INSERT INTO project_spec (project_id, rev, digest, spec, imported_ms) VALUES ($1, $2, $3, $4, $5)";
    NEWEST_DIGEST = "SELECT digest = $2 FROM project_spec JOIN project ON project.id = project_id AND project.rev = project_spec.rev WHERE project_id = $1";
    NEW_REV = "UPDATE project SET rev = rev + 1, pattern = $2, jobs_max = $3, next_look_ms = $4 WHERE id = $1 RETURNING rev";
    OF_PATTERN = "SELECT project.id, name, state, project.rev, spec, repository_id, looked_ms, look_error, digest FROM project JOIN project_spec ON project_id = project.id AND project_spec.rev = project.rev WHERE pattern = $1 AND name > $2 ORDER BY name LIMIT $3";
    COUNT_OF_PATTERN = "SELECT count(*) FROM project WHERE pattern = $1";
    BY_NAME_IN_ANY_CASE = "SELECT id FROM project WHERE pattern = $1 AND lower(name) = lower($2)";
    OF_PATTERN_WITH_REPOSITORY = "SELECT id FROM project WHERE pattern = $1 AND repository_id = $2 ORDER BY id LIMIT 1";
    ENABLE = "UPDATE project SET state = 'active', next_look_ms = $2 WHERE id = $1 AND state = 'disabled'";
    DISABLE = "UPDATE project SET state = 'disabled', next_look_ms = NULL WHERE id = $1 AND state = 'active'";
    BY_NAME = "SELECT project.id, name, state, project.rev, spec, repository_id, looked_ms, look_error, digest FROM project JOIN project_spec ON project_id = project.id AND project_spec.rev = project.rev WHERE name = $1";
    BY_ID = "SELECT project.id, name, state, project.rev, spec, repository_id, looked_ms, look_error, digest FROM project JOIN project_spec ON project_id = project.id AND project_spec.rev = project.rev WHERE project.id = $1";
    LIST = "SELECT project.id, name, state, project.rev, spec, repository_id, looked_ms, look_error, digest FROM project JOIN project_spec ON project_id = project.id AND project_spec.rev = project.rev WHERE name > $1 ORDER BY name LIMIT $2";
    SPEC_AT = "SELECT spec, digest FROM project_spec WHERE project_id = $1 AND rev = $2";
    LEARN_REPOSITORY = "UPDATE project SET repository_id = $2 WHERE id = $1 AND repository_id IS NULL";
    DUE = "SELECT id FROM project WHERE state = 'active' AND next_look_ms <= $1 ORDER BY next_look_ms LIMIT $2";
    NEXT_LOOK = "UPDATE project SET next_look_ms = $2 WHERE id = $1";
    LOOKED = "UPDATE project SET looked_ms = $2, look_error = $3 WHERE id = $1";
    PURGE_EVENTS = "DELETE FROM event WHERE delivery_id IN (SELECT id FROM delivery WHERE project_id = $1)";
    PURGE_EDGES = "DELETE FROM job_edge WHERE from_id IN (SELECT id FROM job WHERE project_id = $1)";
    PURGE_ATTEMPTS = "DELETE FROM job_attempt WHERE job_id IN (SELECT id FROM job WHERE project_id = $1)";
    PURGE_LOGS = "DELETE FROM job_log WHERE job_id IN (SELECT id FROM job WHERE project_id = $1)";
    PURGE_MIRROR = "DELETE FROM mirror WHERE project_id = $1";
    PURGE_PINS = "DELETE FROM pin WHERE run_id IN (SELECT id FROM run WHERE project_id = $1)";
    PURGE_DELIVERY = "DELETE FROM delivery WHERE project_id = $1";
    PURGE_REQUEST = "DELETE FROM build_request WHERE project_id = $1";
    PURGE_MISSED = "DELETE FROM missed_delivery WHERE project_id = $1";
    PURGE_HEAD = "DELETE FROM ref_head WHERE project_id = $1";
    PURGE_RUN = "DELETE FROM run WHERE project_id = $1";
    PURGE_JOB = "DELETE FROM job WHERE project_id = $1";
    PURGE_ARTIFACT = "DELETE FROM artifact WHERE project_id = $1";
    PURGE_PUBLICATION = "DELETE FROM publication WHERE project_id = $1";
    PURGE_DEPLOY_KEY = "DELETE FROM deploy_key WHERE project_id = $1";
    PURGE_SCHEDULE = "DELETE FROM schedule WHERE project_id = $1";
    PURGE_SPEC = "DELETE FROM project_spec WHERE project_id = $1";
    PURGE_PROJECT = "DELETE FROM project WHERE id = $1";
}

/// A project as the database knows it.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// Whether hooks, schedules and polls still act on it.
    pub active: bool,
    /// The newest revision of its settings.
    pub rev: i64,
    /// Those settings.
    pub spec: ProjectSpec,
    /// The forge's own id of the repository, once a verified payload told it.
    pub repository_id: Option<String>,
    /// When its remote was last looked at.
    pub looked: Option<Timestamp>,
    /// Why the last look failed, where it did.
    pub look_error: Option<String>,
}

fn read(row: &Row<'_, '_>) -> Result<Project, DbError> {
    Ok(Project {
        id: row.get(0)?,
        name: row.get(1)?,
        active: row.get::<String>(2)? == "active",
        rev: row.get(3)?,
        spec: parse(4, &row.get::<String>(4)?, row.get(8)?)?,
        repository_id: row.get(5)?,
        looked: row.get(6)?,
        look_error: row.get(7)?,
    })
}

fn parse(column: usize, spec: &str, digest: Digest) -> Result<ProjectSpec, DbError> {
    if Digest::of(spec.as_bytes()) != digest {
        return Err(sum::damaged("project_spec"));
    }
    serde_json::from_str(spec).map_err(|fault| DbError::Row { column, fault: fault.to_string() })
}

/// The project of that name.
pub fn by_name(tx: &mut Tx<'_>, name: &ProjectName) -> Result<Option<Project>, DbError> {
    tx.query_one(BY_NAME, params![name], read)
}

/// The project with that id.
pub fn by_id(tx: &mut Tx<'_>, id: ProjectId) -> Result<Option<Project>, DbError> {
    tx.query_one(BY_ID, params![id], read)
}

/// Projects by name, those after `after`.
pub fn list(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<Project>, DbError> {
    tx.query(LIST, params![after, limit], read)
}

/// Reads all projects with their newest settings, which compares those with their digest.
pub(crate) fn verify(tx: &mut Tx<'_>, faults: &mut Faults) -> Result<(), DbError> {
    faults.go_through(tx, LIST, |row| read(row).map(|project| project.name.to_string()))
}

/// The settings at a revision.
pub fn spec_at(tx: &mut Tx<'_>, id: ProjectId, rev: i64) -> Result<Option<ProjectSpec>, DbError> {
    tx.query_one(SPEC_AT, params![id, rev], |row| parse(0, &row.get::<String>(0)?, row.get(1)?))
}

/// Takes the projects of the configuration over: new ones are made, changed ones get a new revision,
/// those no longer there are disabled (their data stays). Unchanged ones cost a comparison. Projects that
/// were made from a pattern follow it. Returns the names whose settings are new.
pub fn import(
    tx: &mut Tx<'_>,
    specs: &[ProjectSpec],
    patterns: &[ProjectPattern],
) -> Result<Vec<ProjectName>, DbError> {
    let mut all = specs.to_vec();
    let mut names: BTreeSet<ProjectName> = specs.iter().map(|spec| spec.name.clone()).collect();
    for pattern in patterns {
        let followers = followers(tx, pattern, specs)?;
        all.extend(followers.into_iter().filter(|spec| names.insert(spec.name.clone())));
    }
    let mut changed = Vec::new();
    for spec in &all {
        if import_one(tx, spec)? {
            changed.push(spec.name.clone());
        }
    }
    let mut after = String::new();
    loop {
        let page = list(tx, &after, 100)?;
        let Some(last) = page.last() else { break };
        after = last.name.as_str().to_owned();
        for project in page.iter().filter(|project| !names.contains(&project.name)) {
            tx.execute(DISABLE, params![project.id])?;
            schedule::remove(tx, project.id)?;
        }
    }
    Ok(changed)
}

/// The settings, by the pattern as it is now, of the projects that were made from it. A repository that
/// has a project of its own is not the pattern's.
fn followers(
    tx: &mut Tx<'_>,
    pattern: &ProjectPattern,
    specs: &[ProjectSpec],
) -> Result<Vec<ProjectSpec>, DbError> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = tx.query(OF_PATTERN, params![pattern.name.as_str(), &after, 100], read)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.name.as_str().to_owned();
        let is_own = |repository: &RepoPath| specs.iter().any(|spec| is_of(spec, &pattern.forge, repository));
        let left =
            page.iter().map(|project| &project.spec.repository).filter(|repository| !is_own(repository));
        found.extend(left.filter_map(|repository| pattern.expand(repository)));
    }
}

fn is_of(spec: &ProjectSpec, forge: &str, repository: &RepoPath) -> bool {
    spec.pattern.is_none()
        && spec.forge == forge
        && spec.repository.as_str().eq_ignore_ascii_case(repository.as_str())
}

/// The project of a repository that a pattern covers, made where there is none yet; `None` where the pattern
/// has `max` projects already. `spec` is what the pattern makes of the repository.
pub fn of_pattern(
    tx: &mut Tx<'_>,
    spec: &ProjectSpec,
    pattern: &PatternName,
    max: i64,
) -> Result<Option<ProjectId>, DbError> {
    let known = tx.query_one(BY_NAME_IN_ANY_CASE, params![pattern.as_str(), &spec.name], |row| row.get(0))?;
    if known.is_some() {
        return Ok(known);
    }
    let count = tx.query_one(COUNT_OF_PATTERN, params![pattern.as_str()], |row| row.get::<i64>(0))?;
    if count.unwrap_or(0) >= max {
        return Ok(None);
    }
    import_one(tx, spec)?;
    Ok(by_name(tx, &spec.name)?.map(|project| project.id))
}

/// The project of a pattern whose repository has this id at the forge, once a verified payload told it.
pub fn of_pattern_with_repository(
    tx: &mut Tx<'_>,
    pattern: &PatternName,
    repository_id: &str,
) -> Result<Option<ProjectId>, DbError> {
    let values = params![pattern.as_str(), repository_id];
    tx.query_one(OF_PATTERN_WITH_REPOSITORY, values, |row| row.get(0))
}

fn import_one(tx: &mut Tx<'_>, spec: &ProjectSpec) -> Result<bool, DbError> {
    let (text, digest) = spec.to_stored();
    let now = tx.now();
    // A look right away: what was pushed while the project was not here is made up for.
    let next_look = (spec.poll_seconds > 0).then_some(now);
    let Some(project) = by_name(tx, &spec.name)? else {
        let id = ProjectId::new(tx.id_time(), tx.random());
        let pattern = spec.pattern.as_ref().map(PatternName::as_str);
        tx.execute(INSERT, params![id, &spec.name, pattern, spec.jobs_max, next_look, now])?;
        tx.execute(INSERT_SPEC, params![id, 1, digest, text, now])?;
        schedule::set(tx, id, spec)?;
        tx.wake_workers();
        return Ok(true);
    };
    if tx.execute(ENABLE, params![project.id, next_look])? == 1 {
        // Deliveries and requests that came before it was disabled still wait, polled or not.
        job::ask_for_look(tx, project.id, job::PRIORITY_HOOK)?;
    }
    let same = tx.query_one(NEWEST_DIGEST, params![project.id, digest], |row| row.get::<bool>(0))?;
    if same == Some(true) {
        if !project.active {
            schedule::set(tx, project.id, spec)?;
        }
        return Ok(false);
    }
    let pattern = spec.pattern.as_ref().map(PatternName::as_str);
    let values = params![project.id, pattern, spec.jobs_max, next_look];
    let rev = tx.query_one(NEW_REV, values, |row| row.get::<i64>(0))?;
    tx.execute(INSERT_SPEC, params![project.id, rev, digest, text, now])?;
    schedule::set(tx, project.id, spec)?;
    tx.wake_workers();
    Ok(true)
}

/// Remembers the forge's id of the repository, the first time a verified payload names it.
pub fn learn_repository_id(tx: &mut Tx<'_>, id: ProjectId, repository_id: &str) -> Result<(), DbError> {
    tx.execute(LEARN_REPOSITORY, params![id, repository_id]).map(drop)
}

/// Asks for looks at the remotes whose time has come; how many.
pub fn poll_due(tx: &mut Tx<'_>, limit: i64) -> Result<usize, DbError> {
    let now = tx.now();
    let due = tx.query(DUE, params![now, limit], |row| row.get::<ProjectId>(0))?;
    for id in &due {
        let seconds = by_id(tx, *id)?.map_or(0, |project| project.spec.poll_seconds);
        let next = (seconds > 0).then(|| now.plus(std::time::Duration::from_secs(seconds.unsigned_abs())));
        tx.execute(NEXT_LOOK, params![*id, next])?;
        job::ask_for_look(tx, *id, job::PRIORITY_POLL)?;
    }
    Ok(due.len())
}

/// Records that the remote was looked at, and why it could not be.
pub fn looked(tx: &mut Tx<'_>, id: ProjectId, error: Option<&str>) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(LOOKED, params![id, now, error]).map(drop)
}

/// Deletes all that is known of a project, but for what keeps its pattern from making it anew of deliveries from
/// before. Blobs nobody else needs go with the next collection.
pub fn purge(tx: &mut Tx<'_>, id: ProjectId) -> Result<(), DbError> {
    missed::keep_purged(tx, id)?;
    for sql in [
        PURGE_EVENTS,
        PURGE_EDGES,
        PURGE_ATTEMPTS,
        PURGE_LOGS,
        PURGE_MIRROR,
        PURGE_PINS,
        PURGE_DELIVERY,
        PURGE_REQUEST,
        PURGE_MISSED,
        PURGE_HEAD,
        PURGE_RUN,
        PURGE_JOB,
        PURGE_ARTIFACT,
        PURGE_PUBLICATION,
        PURGE_DEPLOY_KEY,
        PURGE_SCHEDULE,
        PURGE_SPEC,
        PURGE_PROJECT,
    ] {
        tx.execute(sql, params![id])?;
    }
    Ok(())
}
