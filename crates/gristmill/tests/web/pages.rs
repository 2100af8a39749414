//! Pages for people, and what machines that watch ask.

use axum::http::StatusCode;
use gristmill_db::job::{self, Finish, FinishError};
use gristmill_db::run::{self, NewRun};
use gristmill_db::{DbError, artifact, project};
use gristmill_model::{ArtifactId, BootId, JobId, Plan, PlannedJob, RunId, Timestamp};

use super::{World, commit};

/// A run of two jobs; the first has failed.
async fn failed_run(world: &World) -> (RunId, Vec<JobId>) {
    let project = world.project;
    let new = NewRun {
        project,
        pipeline: "archive".to_owned(),
        spec_rev: 1,
        git_ref: "refs/heads/a&b".parse().unwrap(),
        commit: commit('a').parse().unwrap(),
        seq: Some(1),
        is_release: false,
        cause: "manual".to_owned(),
        cause_id: Some("<me>".to_owned()),
    };
    let jobs = ["fetch", "archive"].map(|kind| PlannedJob::new(kind, "{}".to_owned()));
    let plan = Plan::chain(jobs.into());
    let made = world.app.db.transact(move |tx| run::create(tx, &new, &plan, false)).await;
    let run = made.map_err(|error: DbError| error).unwrap();
    let boot = BootId::new(Timestamp(1), 1);
    let leases = world.app.db.transact(move |tx| job::lease(tx, boot, 1)).await.unwrap();
    let lease = leases.into_iter().next().unwrap();
    let ended = world.app.db.transact(move |tx| {
        let reason = "it <broke> & \"failed\"".to_owned();
        job::finish(tx, lease.job, lease.attempt, Finish::Failed { reason, public: None })
    });
    ended.await.map_err(|error: FinishError| error.to_string()).unwrap();
    let jobs = world.app.db.read(move |tx| job::of_run(tx, run, 10)).await.unwrap();
    (run, jobs.into_iter().map(|job| job.id).collect())
}

#[tokio::test]
async fn without_a_project_the_page_says_how_to_add_one() {
    let world = World::with_config("").await;
    let answer = world.get("/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let html = answer.text();
    assert!(html.contains("gristmill project add octocat/hello"), "{html}");
    assert!(!html.contains("<script") && !html.contains("src="), "{html}");
    assert!(!html.contains("Newest runs"), "{html}");
}

#[tokio::test]
async fn the_start_page_shows_projects_and_runs() {
    let world = World::new("", "").await;
    let (id, error) = (world.project, "refused: <script>alert(1)</script>");
    let (run, _) = failed_run(&world).await;
    let noted = world.app.db.transact(move |tx| project::looked(tx, id, Some(error))).await;
    noted.map_err(|error: DbError| error).unwrap();
    let html = world.get("/").await.text();
    for part in [
        "<td>acme/shop</td><td>active</td>".to_owned(),
        "refused: &lt;script&gt;alert(1)&lt;/script&gt;".to_owned(),
        format!("<a href=\"/runs/{run}\">{run}</a>"),
        "<td class=\"bad\">failed</td>".to_owned(),
        "<td>refs/heads/a&amp;b</td><td><code>aaaaaaaaaaaa</code></td><td>manual</td>".to_owned(),
        "0 runs open; jobs: 0 waiting, 0 running, 0 dead; 0 deliveries waiting.".to_owned(),
    ] {
        assert!(html.contains(&part), "{part} in {html}");
    }
    assert!(!html.contains("<script"), "{html}");
    assert!(!html.contains("project add"), "{html}");
}

#[tokio::test]
async fn a_run_with_its_jobs_attempts_and_archives() {
    let world = World::new("", "").await;
    let (run, jobs) = failed_run(&world).await;
    let put = world.make("a b/x.zip", &commit('a'), b"zip").await;
    world.desire("a b/x.zip", 3, &commit('a'), &put, 3).await;
    let moved = world.app.db.transact(move |tx| {
        let mut made = artifact::of_run(tx, put.run)?.remove(0);
        made.run = run;
        made.id = ArtifactId::new(made.created, 99);
        artifact::insert(tx, &made)
    });
    moved.await.unwrap();
    let html = world.get(&format!("/runs/{run}")).await.text();
    for part in [
        format!("<h1>Run {run}</h1>"),
        "manual &lt;me&gt;".to_owned(),
        "1. failed, ".to_owned(),
        "it &lt;broke&gt; &amp; &quot;failed&quot;".to_owned(),
        "<td class=\"\">cancelled</td>".to_owned(),
        format!("<a href=\"/runs/{run}/jobs/{}/log\">log</a>", jobs[0]),
        format!("<a href=\"/archive/a%20b/x.zip@{}\">a b/x.zip@aaaaaaaaaaaa</a>", commit('a')),
    ] {
        assert!(html.contains(&part), "{part} in {html}");
    }
    assert!(!html.contains("Published"), "{html}");
    let publishing = world.get(&format!("/runs/{}", put.run)).await;
    assert_eq!(publishing.status, StatusCode::NOT_FOUND, "only rows of runs have pages");
    for path in ["/runs/x", "/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        assert_eq!(world.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_log_from_any_offset_while_it_grows() {
    let world = World::new("", "").await;
    let (run, jobs) = failed_run(&world).await;
    let path = format!("/runs/{run}/jobs/{}/log", jobs[0]);
    let empty = world.get(&path).await;
    assert_eq!((empty.status, empty.body.len()), (StatusCode::OK, 0));
    assert_eq!(empty.header("gristmill-next-offset"), "0");
    let log = world.app.logs.writer(jobs[0], world.app.clock.clone());
    log.line("one <b>");
    let first = world.get(&path).await;
    assert!(first.text().ends_with(" one <b>\n"));
    assert_eq!(first.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(first.header("x-content-type-options"), "nosniff");
    let next = first.header("gristmill-next-offset").to_owned();
    assert_eq!(next, first.body.len().to_string());
    log.line("two");
    let second = world.get(&format!("{path}?offset={next}")).await;
    assert!(second.text().ends_with(" two\n") && !second.text().contains("one"));
    let total = first.body.len() + second.body.len();
    assert_eq!(second.header("gristmill-next-offset"), total.to_string());
    for offset in ["100000", "18446744073709551615"] {
        let end = world.get(&format!("{path}?offset={offset}")).await;
        assert_eq!((end.body.len(), end.header("gristmill-next-offset")), (0, offset));
    }
    assert_eq!(world.get(&format!("{path}?offset=x")).await.status, StatusCode::BAD_REQUEST);
    let other = format!("/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV/jobs/{}/log", jobs[0]);
    assert_eq!(world.get(&other).await.status, StatusCode::NOT_FOUND, "a job of another run");
}

#[tokio::test]
async fn what_machines_ask() {
    let world = World::new("", "").await;
    let id = world.project;
    world.app.db.transact(move |tx| job::ask_for_look(tx, id, job::PRIORITY_HOOK)).await.unwrap();
    assert_eq!(world.get("/healthz").await.text(), "ok\n");
    let ready = world.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (StatusCode::OK, Some(true)));
    let metrics = world.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text();
    for line in
        ["gristmill_jobs{state=\"ready\"} 1", "gristmill_runs_open 0", "gristmill_deliveries_waiting 0"]
    {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
}
