//! What machines that watch ask: `/healthz`, `/readyz`, `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use gristmill_db::{DbError, Tx, delivery, job, run};
use gristmill_model::{Digest, JobState};

use super::access;
use super::error::ApiError;
use crate::app::App;
use crate::boots::Standing;

/// How long the database may take to be counted as answering.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The states of jobs that are counted: what waits, what runs, what was given up.
const STATES: [JobState; 4] = [JobState::Blocked, JobState::Ready, JobState::Leased, JobState::Dead];

pub(super) fn routes() -> Router<App> {
    health().route("/metrics", get(metrics))
}

pub(super) fn health() -> Router<App> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

async fn ready(State(app): State<App>) -> Response {
    let is_shared = app.seat.get().is_some();
    let reading = app.db.read(move |tx| {
        run::open_count(tx)?;
        if is_shared { Standing::read(tx).map(Some) } else { Ok(None) }
    });
    let (mut status, database, standing) = match tokio::time::timeout(ANSWER_MAX, reading).await {
        Ok(Ok(standing)) => (StatusCode::OK, "ok", standing),
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready: the database failed");
            (StatusCode::SERVICE_UNAVAILABLE, "failed", None)
        }
        Err(_) => {
            tracing::error!("not ready: the database does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "does not answer", None)
        }
    };
    let is_stopping = app.draining.load(Ordering::Relaxed);
    if is_stopping {
        status = StatusCode::SERVICE_UNAVAILABLE;
    }
    let mut body = serde_json::json!({ "ready": status == StatusCode::OK, "database": database });
    if is_stopping {
        body["stopping"] = true.into();
    }
    if let Some(standing) = standing {
        body["configuration"] = configuration(&standing, app.live().digest);
    }
    (status, Json(body)).into_response()
}

/// Whether this program's projects are the ones that were imported last, and who has others. Whoever may ask learns no
/// names of machines: those are for `doctor`.
fn configuration(standing: &Standing, mine: Digest) -> serde_json::Value {
    let differing: Vec<_> = standing
        .differing()
        .map(|boot| serde_json::json!({ "boot": boot.id, "kind": boot.kind.as_str(), "version": boot.version }))
        .collect();
    serde_json::json!({
        "in_force": standing.has(mine),
        "imported_by": standing.in_force.map(|imported| imported.by),
        "differing": differing,
    })
}

struct Figures {
    jobs: Vec<(JobState, i64)>,
    runs_open: i64,
    deliveries_waiting: i64,
    resident_bytes: Option<u64>,
}

fn read_figures(tx: &mut Tx<'_>) -> Result<Figures, DbError> {
    Ok(Figures {
        jobs: job::counts(tx)?,
        runs_open: run::open_count(tx)?,
        deliveries_waiting: delivery::waiting_count(tx)?,
        resident_bytes: None,
    })
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    access::reader(&app, &headers).await?;
    let mut figures = app.db.read(read_figures).await?;
    let status = tokio::fs::read_to_string("/proc/self/status").await.ok();
    figures.resident_bytes = status.as_deref().and_then(resident_bytes);
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, render(&figures)).into_response())
}

/// Prometheus' text format.
fn render(figures: &Figures) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(String, u64)]| {
        write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n").expect("a String takes all");
        for (label, value) in values {
            writeln!(text, "{name}{label} {value}").expect("a String takes all");
        }
    };
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let jobs = STATES.map(|state| {
        let found = figures.jobs.iter().find(|(of, _)| *of == state);
        (format!("{{state=\"{state}\"}}"), count(found.map_or(0, |(_, count)| *count)))
    });
    gauge("gristmill_jobs", "Jobs by state; ended ones but the dead are not counted.", &jobs);
    gauge("gristmill_runs_open", "Runs that are not over.", &[(String::new(), count(figures.runs_open))]);
    let waiting = [(String::new(), count(figures.deliveries_waiting))];
    gauge("gristmill_deliveries_waiting", "Accepted deliveries that are not handled yet.", &waiting);
    if let Some(bytes) = figures.resident_bytes {
        gauge("process_resident_memory_bytes", "Memory in use.", &[(String::new(), bytes)]);
    }
    text
}

/// `VmRSS` of proc(5), in kB there.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_as_the_system_tells_it() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\nVmX: 1 kB\n"), Some(1_263_616));
        assert_eq!(resident_bytes("VmRSS:\t12 MB\n"), None);
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn figures_in_prometheus_text() {
        let figures = Figures {
            jobs: vec![(JobState::Ready, 3), (JobState::Dead, 1)],
            runs_open: 2,
            deliveries_waiting: 4,
            resident_bytes: Some(5),
        };
        let text = render(&figures);
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "gristmill_jobs{state=\"blocked\"} 0",
            "gristmill_jobs{state=\"ready\"} 3",
            "gristmill_jobs{state=\"leased\"} 0",
            "gristmill_jobs{state=\"dead\"} 1",
            "gristmill_runs_open 2",
            "gristmill_deliveries_waiting 4",
            "process_resident_memory_bytes 5",
        ];
        assert_eq!(values, expected);
        assert!(text.starts_with("# HELP gristmill_jobs "), "{text}");
        assert!(text.contains("# TYPE gristmill_runs_open gauge\n"), "{text}");
        let without = render(&Figures { resident_bytes: None, ..figures });
        assert!(!without.contains("process_resident"), "{without}");
    }
}
