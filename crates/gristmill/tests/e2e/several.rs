//! Several servers and workers on one PostgreSQL and one storage.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use gristmill_testkit::{FakeGithub, Postgres, TestRepo};
use serde_json::Value;
use tempfile::TempDir;

use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, assert_equals_git, project};

const WORKER: &[&str] = &["worker", "--listen", "127.0.0.1:0", "--jobs", "2"];

/// A database, a storage and a forge that programs have in common.
struct House {
    postgres: &'static Postgres,
    database: String,
    storage: TempDir,
    github: FakeGithub,
    repo: Arc<TestRepo>,
}

impl House {
    fn open(test: &str) -> Option<House> {
        let postgres = Postgres::shared(test)?;
        let github = FakeGithub::start();
        let repo = github.create(PROJECT, SECRET);
        let storage = tempfile::tempdir().expect("a temporary folder");
        Some(House { postgres, database: postgres.create_database(), storage, github, repo })
    }

    /// A program with a data folder of its own that is not started yet.
    fn program(&self, task: &[&str], projects: impl IntoIterator<Item = Project>) -> Server {
        let mut server = Server::new(BINARY);
        server.use_postgres(
            &self.database,
            &format!("[storage]\nurl = \"file:{}\"\n", self.storage.path().display()),
        );
        server.set_projects(projects);
        server.set_task(task);
        server
    }

    fn start(&self, task: &[&str]) -> Server {
        let mut server = self.program(task, [project(&self.github, PROJECT)]);
        server.start();
        server
    }

    fn sql(&self, text: &str) -> String {
        self.postgres.sql(&self.database, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn lines(&self, text: &str) -> Vec<String> {
        self.sql(text).lines().map(str::to_owned).collect()
    }

    /// Waits until a query gives this.
    fn wait_for(&self, text: &str, expected: &str) {
        let mut last = String::new();
        let found = wait_for(PATIENCE, || {
            last = self.sql(text);
            (last.trim() == expected).then_some(())
        });
        assert!(found.is_some(), "{text}: {last}, not {expected}");
    }

    fn wait_until_idle(&self) {
        self.wait_for(
            "SELECT (SELECT count(*) FROM job WHERE state IN ('blocked', 'ready', 'leased')) + (SELECT count(*) FROM delivery WHERE state = 'received') + (SELECT count(*) FROM publication WHERE state = 'desired')",
            "0",
        );
    }

    fn text(&self, parent: Option<&str>, content: &str) -> String {
        let parents: Vec<String> = parent.map(str::to_owned).into_iter().collect();
        self.repo.commit_unreferenced(&parents, &Changes::new().file("file.txt", content))
    }

    fn public(&self, key: &str) -> PathBuf {
        self.storage.path().join("public").join(key)
    }
}

fn get(server: &Server, path: &str) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut answer = agent.get(server.url(path)).call().unwrap_or_else(|error| panic!("{path}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("a text"))
}

fn ready(server: &Server) -> (u16, Value) {
    let (status, body) = get(server, "/readyz");
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[test]
fn two_servers_and_two_workers_publish_each_push_once_and_forward_though_one_of_each_is_killed() {
    let Some(house) = House::open("several::two_servers_and_two_workers") else { return };
    let accept = || house.start(&["serve", "--no-work"]);
    let mut servers = [accept(), accept()];
    let mut workers = [house.start(WORKER), house.start(WORKER)];
    let mut commits: Vec<String> = Vec::new();
    for number in 0..12 {
        let commit = house.text(commits.last().map(String::as_str), &format!("text {number}"));
        for hook in house.github.push(PROJECT, MAIN, Some(&commit)) {
            // Both get it, as where a balancer tries the other again; those that are not there get nothing.
            for server in servers.iter().filter(|server| server.address().is_some()) {
                server.accept(PROJECT, [&hook]);
            }
        }
        match number {
            3 => workers[0].kill(),
            6 => servers[0].kill(),
            8 => workers[0].start(),
            _ => {}
        }
        commits.push(commit);
    }
    house.wait_until_idle();
    // Each once, in the order of the moves that were seen; the last is what readers have.
    let versions =
        house.lines(&format!("SELECT commit_id FROM publication WHERE key = '{KEY}' ORDER BY seq"));
    let places: Vec<usize> = versions
        .iter()
        .map(|commit| commits.iter().position(|known| known == commit).expect("a commit that was pushed"))
        .collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(versions.last(), commits.last());
    assert_equals_git(&house.repo, &commits[11], &std::fs::read(house.public(KEY)).expect("published"));
    // Every pushed commit has an archive, made once.
    let made = "SELECT count(DISTINCT commit_id), count(DISTINCT step_key) FROM artifact";
    assert_eq!(house.sql(made).trim(), "12|12");
    let twice = "SELECT count(*) FROM job j JOIN run r ON r.id = j.run_id WHERE j.kind = 'archive' AND j.state NOT IN ('succeeded', 'cached')";
    assert_eq!(house.sql(twice).trim(), "0");
    // A server that does not work has leased nothing.
    let who = "SELECT DISTINCT b.kind FROM job_attempt a JOIN boot b ON b.id = a.boot_id";
    assert_eq!(house.sql(who).trim(), "worker");
    // The log of a job is read where it was not done, by the command line and by a page.
    let run = house.sql("SELECT id FROM run ORDER BY id DESC LIMIT 1").trim().to_owned();
    let log = servers[1].cli_text(&["run", "logs", "-f", &run]);
    assert!(log.contains(&format!("{KEY} is at version")), "{log}");
    let job = house.sql(&format!("SELECT id FROM job WHERE run_id = '{run}' AND kind = 'publish'"));
    let page = get(&servers[1], &format!("/runs/{run}/jobs/{}/log", job.trim()));
    assert!(page.0 == 200 && page.1.contains("is at version"), "{page:?}");
    assert!(!servers[1].data().join("logs").read_dir().is_ok_and(|mut files| files.next().is_some()));
    servers.iter_mut().filter(|server| server.address().is_some()).for_each(Server::stop);
    workers.iter_mut().for_each(Server::stop);
    assert_eq!(
        house.sql("SELECT count(*) FROM boot WHERE kind = 'worker'").trim(),
        "0",
        "they said that they ended"
    );
}

#[test]
fn a_worker_that_is_asked_to_stop_gives_its_jobs_back_and_says_that_it_is_not_ready() {
    let Some(house) = House::open("several::a_worker_that_is_asked_to_stop") else { return };
    let mut server = house.start(&["serve", "--no-work"]);
    let mut worker = house.start(WORKER);
    assert_eq!(ready(&worker).0, 200);
    let commit = house.text(None, "one");
    let hooks = house.github.push(PROJECT, MAIN, Some(&commit));
    server.terminate();
    let stopping = wait_for(PATIENCE, || (ready(&server).0 == 503).then(|| ready(&server).1));
    assert_eq!(stopping.expect("it says so")["stopping"], true);
    // Until its listener closes, what comes is taken.
    server.accept(PROJECT, &hooks);
    assert!(server.wait().success());
    house.wait_until_idle();
    worker.terminate();
    let stopping = wait_for(PATIENCE, || (ready(&worker).0 == 503).then_some(()));
    assert!(stopping.is_some());
    let later = house.text(Some(&commit), "two");
    house.github.push(PROJECT, MAIN, Some(&later));
    let mut server = house.start(&["serve"]);
    assert!(worker.wait().success());
    server.cli_text(&["project", "trigger", PROJECT]);
    house.wait_for(&format!("SELECT state FROM publication WHERE commit_id = '{later}'"), "published");
    house.wait_until_idle();
    let by = house.lines(&format!(
        "SELECT DISTINCT coalesce(b.kind, 'gone') FROM job_attempt a LEFT JOIN boot b ON b.id = a.boot_id JOIN job j ON j.id = a.job_id JOIN run r ON r.id = j.run_id WHERE r.commit_id = '{later}'"
    ));
    assert_eq!(by, ["serve"]);
    server.stop();
}

#[test]
fn who_is_asked_twice_to_stop_ends_at_once() {
    let Some(house) = House::open("several::who_is_asked_twice") else { return };
    let mut server = house.start(&["serve"]);
    server.terminate();
    server.wait_for_log("asked to stop");
    server.terminate();
    assert_eq!(server.wait().code(), Some(1));
    assert!(server.log().contains("asked to stop for the second time"), "{}", server.log());
}

#[test]
fn programs_with_other_projects_than_those_in_force_are_told_and_fail_nothing() {
    let Some(house) = House::open("several::programs_with_other_projects") else { return };
    let old = house.start(&["serve", "--no-work"]);
    let worker = house.start(WORKER);
    assert_eq!(ready(&old).1["configuration"]["in_force"], true);
    house.github.create("acme/tool", SECRET);
    let both = [project(&house.github, PROJECT), project(&house.github, "acme/tool")];
    let mut new = house.program(&["serve", "--no-work"], both.clone());
    new.start();
    let (status, told) = ready(&old);
    assert_eq!((status, &told["ready"]), (200, &Value::Bool(true)));
    assert_eq!(told["configuration"]["in_force"], false);
    let told = &ready(&new).1["configuration"];
    assert_eq!(told["in_force"], true);
    let by = house.sql("SELECT id FROM boot ORDER BY started_ms DESC LIMIT 1");
    assert_eq!(told["imported_by"], by.trim());
    let differing = |told: &Value| -> Vec<String> {
        let all = told["differing"].as_array().expect("a list").iter();
        all.map(|one| one["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    assert_eq!(differing(told), ["serve", "worker"]);
    // It fails here for what else it finds: these servers of PostgreSQL do not sync.
    let doctor = String::from_utf8(new.cli(&["doctor"]).stdout).expect("UTF-8");
    assert_eq!(doctor.matches("its projects are not the ones in force").count(), 2, "{doctor}");
    assert!(doctor.contains(&worker.data().display().to_string()), "{doctor}");
    // The worker has no secrets of the new project: it is left to those that have.
    let tool = house.github.repository_handle("acme/tool");
    let commit = tool.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let hooks = house.github.push("acme/tool", MAIN, Some(&commit));
    assert_eq!(old.send("acme/tool", &hooks[0]).expect("an answer").status, 401, "as if it were not there");
    new.accept("acme/tool", &hooks);
    house.wait_for(
        "SELECT count(*) > 0 FROM job_attempt WHERE reason LIKE '%does not know the project%'",
        "t",
    );
    let mut late = house.program(WORKER, both);
    late.start();
    house.wait_for("SELECT state FROM publication WHERE key LIKE 'acme/tool/%'", "published");
    assert_eq!(
        house.sql("SELECT count(*) FROM job WHERE state IN ('failed', 'dead') OR tries > 0").trim(),
        "0"
    );
    house.wait_until_idle();
}

#[test]
fn a_sync_beside_a_server_works_along_and_changes_no_configuration() {
    let Some(house) = House::open("several::a_sync_beside_a_server") else { return };
    let server = house.start(&["serve", "--no-work"]);
    let commit = house.text(None, "one");
    house.github.push(PROJECT, MAIN, Some(&commit));
    let other = project(&house.github, PROJECT).poll("7s");
    let beside =
        house.program(&["sync"], [other, Project::new("acme/none", "https://127.0.0.1:1/x.git", SECRET)]);
    beside.cli_text(&["sync"]);
    assert_equals_git(&house.repo, &commit, &std::fs::read(house.public(KEY)).expect("published"));
    assert_eq!(house.lines("SELECT name, rev FROM project"), [format!("{PROJECT}|1")]);
    assert_eq!(ready(&server).1["configuration"]["in_force"], true);
}

#[test]
fn one_program_alone_has_no_workers_and_says_what_to_do() {
    let server = Server::new(BINARY);
    for (task, text) in [
        (&["worker"][..], "with SQLite there is one program, `gristmill serve`"),
        (&["serve", "--no-work"], "leave --no-work out"),
    ] {
        let output = server.cli(task);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(text), "{task:?}: {error}");
    }
}

#[test]
fn what_a_killed_program_did_is_taken_back_by_time_and_by_its_own_next_start() {
    let Some(house) = House::open("several::what_a_killed_program_did") else { return };
    let mut first = house.program(&["serve"], [project(&house.github, PROJECT)]);
    first.set_env("GRISTMILL_FAILPOINT", "publish.held");
    first.start();
    let commit = house.text(None, "one");
    first.accept(PROJECT, &house.github.push(PROJECT, MAIN, Some(&commit)));
    let _ = first.wait();
    assert_eq!(house.sql("SELECT count(*) FROM job WHERE state = 'leased'").trim(), "1");
    // Another program takes nothing back before its time.
    let other = house.start(&["serve"]);
    assert!(ready(&other).0 == 200);
    assert_eq!(house.sql("SELECT count(*) FROM job WHERE state = 'leased'").trim(), "1");
    assert_eq!(house.sql("SELECT count(*) FROM key_holder").trim(), "1");
    first.remove_env("GRISTMILL_FAILPOINT");
    first.start();
    let published = wait_for(Duration::from_secs(15), || house.public(KEY).exists().then_some(()));
    assert!(published.is_some(), "its own next start goes on at once\n{}", first.log());
    house.wait_until_idle();
}
