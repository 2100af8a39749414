//! Plain pages for people: the status at `/`, one run at `/runs/{id}`, a job's log while it grows. No
//! script, no form: whatever changes anything is a command.

use std::collections::HashMap;
use std::fmt::Write as _;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gristmill_db::artifact::{self, Artifact};
use gristmill_db::job::{self, Attempt, Job};
use gristmill_db::project::{self, Project};
use gristmill_db::publication::{self, Publication};
use gristmill_db::run::{self, Run};
use gristmill_db::{DbError, Tx, delivery};
use gristmill_model::{JobId, JobState, ProjectId, RunId, RunState, Timestamp};

use super::html::{Escaped, page, span, table};
use super::names::encode_path;
use super::{access, probes};
use crate::app::App;
use crate::clock;
use crate::http::error::ApiError;
use crate::logs::LOG_BYTES_MAX;

/// The most projects on the start page.
const PROJECTS_MAX: i64 = 200;
/// The newest runs on the start page.
const RUNS_MAX: i64 = 50;
/// The most jobs on a run's page.
const JOBS_MAX: i64 = 200;
/// The newest attempts shown of each job.
const ATTEMPTS_MAX: i64 = 10;
/// Where the rest of a growing log begins.
const NEXT_OFFSET: HeaderName = HeaderName::from_static("gristmill-next-offset");

/// The routes, those for machines that watch among them.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(start))
        .route("/runs/{run}", get(one_run))
        .route("/runs/{run}/jobs/{job}/log", get(log))
        .merge(probes::routes())
}

/// What the start page shows.
struct Status {
    projects: Vec<Project>,
    runs: Vec<Run>,
    runs_open: i64,
    jobs: Vec<(JobState, i64)>,
    deliveries_waiting: i64,
    now: Timestamp,
}

fn read_status(tx: &mut Tx<'_>) -> Result<Status, DbError> {
    Ok(Status {
        projects: project::list(tx, "", PROJECTS_MAX + 1)?,
        runs: run::list(tx, None, "~", RUNS_MAX)?,
        runs_open: run::open_count(tx)?,
        jobs: job::counts(tx)?,
        deliveries_waiting: delivery::waiting_count(tx)?,
        now: tx.now(),
    })
}

async fn start(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    access::reader(&app, &headers).await?;
    let status = app.db.read(read_status).await?;
    Ok(page("Gristmill", &render_status(&status)))
}

fn render_status(status: &Status) -> String {
    let count = |state| status.jobs.iter().find(|(of, _)| *of == state).map_or(0, |(_, count)| *count);
    let waiting = count(JobState::Ready) + count(JobState::Blocked);
    let mut html = format!(
        "<p>{} runs open; jobs: {waiting} waiting, {} running, {} dead; {} deliveries waiting.</p>\n",
        status.runs_open,
        count(JobState::Leased),
        count(JobState::Dead),
        status.deliveries_waiting,
    );
    html.push_str("<h2>Projects</h2>\n");
    if status.projects.is_empty() {
        html.push_str(
            "<p>There is no project yet. Add the first one on the machine that this runs on:</p>\n<pre>gristmill project add octocat/hello --git https://github.com/octocat/hello.git</pre>\n<p>It says what to paste where at the forge; the running server takes it up by itself.</p>\n",
        );
    }
    let shown = status.projects.iter().take(usize::try_from(PROJECTS_MAX).expect("a small number"));
    let rows: Vec<String> = shown.map(|project| project_row(project, status.now)).collect();
    html.push_str(&table(&["project", "state", "last look", "what went wrong"], &rows));
    if status.projects.len() > rows.len() {
        html.push_str("<p>… and more; `gristmill project list` shows all.</p>\n");
    }
    let names: HashMap<ProjectId, &Project> =
        status.projects.iter().map(|project| (project.id, project)).collect();
    let rows: Vec<String> = status.runs.iter().map(|run| run_row(run, &names, status.now)).collect();
    if !rows.is_empty() {
        html.push_str("<h2>Newest runs</h2>\n");
        html.push_str(&table(
            &["run", "state", "project", "pipeline", "ref", "commit", "cause", "age"],
            &rows,
        ));
    }
    html
}

fn project_row(project: &Project, now: Timestamp) -> String {
    let looked = project.looked.map_or("never".to_owned(), |at| format!("{} ago", span(now.since(at))));
    format!(
        "<td>{}</td><td>{}</td><td>{looked}</td><td class=\"bad\">{}</td>",
        Escaped(&project.name),
        if project.active { "active" } else { "disabled" },
        Escaped(project.look_error.as_deref().unwrap_or_default()),
    )
}

fn run_row(run: &Run, projects: &HashMap<ProjectId, &Project>, now: Timestamp) -> String {
    let project = projects.get(&run.project).map_or(String::new(), |project| project.name.to_string());
    format!(
        "<td><a href=\"/runs/{0}\">{0}</a></td><td class=\"{1}\">{2}</td><td>{3}</td><td>{4}</td><td>{5}</td><td><code>{6}</code></td><td>{7}</td><td>{8}</td>",
        run.id,
        class_of_run(run.state),
        run.state,
        Escaped(project),
        Escaped(&run.pipeline),
        Escaped(&run.git_ref),
        run.commit.short(),
        Escaped(&run.cause),
        span(now.since(run.created)),
    )
}

fn class_of_run(state: RunState) -> &'static str {
    match state {
        RunState::Failed => "bad",
        RunState::Succeeded => "good",
        _ => "",
    }
}

/// What a run's page shows.
struct RunDetail {
    run: Run,
    project: Option<Project>,
    jobs: Vec<(Job, Vec<Attempt>)>,
    artifacts: Vec<Artifact>,
    publications: Vec<Publication>,
}

fn read_run(tx: &mut Tx<'_>, id: RunId) -> Result<Option<RunDetail>, DbError> {
    let Some(run) = run::by_id(tx, id)? else { return Ok(None) };
    let mut jobs = Vec::new();
    for job in job::of_run(tx, id, JOBS_MAX)? {
        let attempts = job::attempts(tx, job.id, ATTEMPTS_MAX)?;
        jobs.push((job, attempts));
    }
    Ok(Some(RunDetail {
        project: project::by_id(tx, run.project)?,
        artifacts: artifact::of_run(tx, id)?,
        publications: publication::of_run(tx, id)?,
        run,
        jobs,
    }))
}

async fn one_run(
    State(app): State<App>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    access::reader(&app, &headers).await?;
    let id: RunId = id.parse().map_err(|_| ApiError::NoRun)?;
    let detail = app.db.read(move |tx| read_run(tx, id)).await?.ok_or(ApiError::NoRun)?;
    Ok(page(&format!("Run {id}"), &render_run(&detail)))
}

fn render_run(detail: &RunDetail) -> String {
    let run = &detail.run;
    let project = detail.project.as_ref().map(|project| project.name.to_string()).unwrap_or_default();
    let moment = |at: Option<Timestamp>| at.map_or("–".to_owned(), clock::rfc3339);
    let facts = [
        ("state", format!("<span class=\"{}\">{}</span>", class_of_run(run.state), run.state)),
        ("reason", Escaped(run.reason.as_deref().unwrap_or("–")).to_string()),
        ("project", Escaped(project).to_string()),
        ("pipeline", Escaped(&run.pipeline).to_string()),
        ("ref", Escaped(&run.git_ref).to_string()),
        ("commit", format!("<code>{}</code>", run.commit)),
        ("cause", Escaped(format!("{} {}", run.cause, run.cause_id.as_deref().unwrap_or(""))).to_string()),
        ("made", clock::rfc3339(run.created)),
        ("started", moment(run.started)),
        ("finished", moment(run.finished)),
    ]
    .map(|(name, value)| format!("<td>{name}</td><td>{value}</td>"));
    let mut html = String::from("<p><a href=\"/\">all runs</a></p>\n");
    html.push_str(&table(&["", ""], &facts));
    let rows: Vec<String> =
        detail.jobs.iter().map(|(job, attempts)| job_row(run.id, job, attempts)).collect();
    html.push_str("<h2>Jobs</h2>\n");
    html.push_str(&table(&["job", "state", "why", "attempts", "log"], &rows));
    let rows: Vec<String> = detail.artifacts.iter().map(artifact_row).collect();
    if !rows.is_empty() {
        html.push_str("<h2>Artifacts</h2>\n");
        html.push_str(&table(&["archive of the commit", "bytes", "sha256"], &rows));
    }
    let rows: Vec<String> = detail.publications.iter().map(publication_row).collect();
    if !rows.is_empty() {
        html.push_str("<h2>Published</h2>\n");
        html.push_str(&table(&["key", "version", "state"], &rows));
    }
    html
}

fn job_row(run: RunId, job: &Job, attempts: &[Attempt]) -> String {
    let mut tried = String::new();
    for attempt in attempts {
        let result = attempt.result.as_deref().unwrap_or("running");
        let took = attempt
            .ended
            .map_or(String::new(), |ended| format!(", {} ms", ended.since(attempt.started).as_millis()));
        let reason = attempt.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (number, line) = (attempt.attempt, format!("{result}{took}{reason}"));
        write!(tried, "{number}. {}<br>", Escaped(line)).expect("a String takes all");
    }
    let class = match job.state {
        JobState::Failed | JobState::Dead => "bad",
        _ if job.state.is_success() => "good",
        _ => "",
    };
    format!(
        "<td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td>{tried}</td><td><a href=\"/runs/{run}/jobs/{}/log\">log</a></td>",
        Escaped(&job.kind),
        job.state,
        Escaped(job.reason.as_deref().unwrap_or_default()),
        job.id,
    )
}

fn artifact_row(artifact: &Artifact) -> String {
    let (key, commit) = (&artifact.key, artifact.commit);
    format!(
        "<td><a href=\"/archive/{}@{commit}\">{}@{}</a></td><td>{}</td><td><code>{}</code></td>",
        encode_path(key.as_str()),
        Escaped(key),
        commit.short(),
        artifact.size,
        artifact.digest.to_hex(),
    )
}

fn publication_row(publication: &Publication) -> String {
    let path = encode_path(publication.key.as_str()).to_string();
    format!(
        "<td><a href=\"/archive/{path}\">{}</a></td><td><a href=\"/archive/{path}?version={1}\">{1}</a></td><td>{2}</td>",
        Escaped(&publication.key),
        publication.seq,
        publication.state,
    )
}

async fn log(
    State(app): State<App>,
    headers: HeaderMap,
    Path((run, job)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    access::reader(&app, &headers).await?;
    let run: RunId = run.parse().map_err(|_| ApiError::NoRun)?;
    let job: JobId = job.parse().map_err(|_| ApiError::NoRun)?;
    let offset = parse_offset(query.as_deref())?;
    let found = app.db.read(move |tx| job::by_id(tx, job)).await?;
    found.filter(|found| found.run == Some(run)).ok_or(ApiError::NoRun)?;
    let logs = app.logs.clone();
    let read = tokio::task::spawn_blocking(move || {
        // No log is longer: nothing to seek for.
        if offset > LOG_BYTES_MAX { Ok(Vec::new()) } else { logs.read(job, offset) }
    });
    let bytes = read.await.map_err(|_| ApiError::Unavailable)?.map_err(|error| {
        tracing::error!(%error, job.id = %job, "a job's log cannot be read");
        ApiError::Unavailable
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (NEXT_OFFSET, HeaderValue::from(offset.saturating_add(bytes.len() as u64))),
    ];
    Ok((headers, bytes).into_response())
}

/// `offset=N` of a query; 0 where there is none.
fn parse_offset(query: Option<&str>) -> Result<u64, ApiError> {
    let mut pairs = query.unwrap_or_default().split('&');
    let offset = pairs.find_map(|pair| pair.strip_prefix("offset="));
    offset.map_or(Ok(0), |text| text.parse().map_err(|_| ApiError::BadQuery("offset is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        for (query, offset) in [
            (None, Ok(0)),
            (Some(""), Ok(0)),
            (Some("x=1"), Ok(0)),
            (Some("offset=17"), Ok(17)),
            (Some("x=1&offset=18446744073709551615"), Ok(u64::MAX)),
            (Some("offset=-1"), Err(ApiError::BadQuery("offset is not a number"))),
            (Some("offset="), Err(ApiError::BadQuery("offset is not a number"))),
        ] {
            assert_eq!(parse_offset(query), offset, "{query:?}");
        }
    }
}
