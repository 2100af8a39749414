//! The main job end to end on this machine: a clone of a repository, a server in a temporary folder, two
//! signed pushes, two archives compared with git.
#![expect(clippy::print_stdout, reason = "the demo shows what happens")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gristmill_db::{DbError, Tx, job, run};
use gristmill_forge::{Forge, Secret, sign};
use gristmill_model::{CommitId, RunState};
use serde_json::{Value, json};

use crate::check;
use crate::config::{self, NewProject, Surroundings, Watch};
use crate::serve::{self, Server};

/// How long each push may take to be published.
const PUBLISHED_MAX: Duration = Duration::from_secs(120);
/// How often the demo looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// More runs and jobs than a demo has.
const SHOWN_MAX: i64 = 100;
/// How many files the second push changes.
const CHANGED_FILES: usize = 5;
const BRANCH: &str = "main";
const PROJECT: &str = "demo/repository";
const KEY: &str = "demo/repository/main/demo_repository.zip";

/// Runs the demo in a temporary folder, which goes away with it.
pub async fn run(around: &Surroundings, repo: Option<&str>, once: bool) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("gristmill-demo-").tempdir()?;
    let demo = Demo { began: Instant::now(), folder: folder.path().to_owned() };
    demo.say(&format!("working in {}", folder.path().display()));
    let first = demo.clone_repository(around, repo)?;
    let server = demo.start(around).await?;
    let base = format!("http://{}", server.address.context("the demo's server listens")?);
    demo.push(&server, &base, &first, None).await?;
    let second = demo.change_files()?;
    demo.push(&server, &base, &second, Some(&first)).await?;
    println!();
    println!("  {base}/archive/{KEY}");
    println!("  {base}/archive/{KEY}@{first}");
    println!("  {base}/archive/{KEY}?versions");
    println!("  {base}/");
    println!();
    if once {
        server.stop().await;
        demo.say("done");
        return Ok(());
    }
    demo.say("serving until Ctrl-C");
    serve::run(server).await
}

struct Demo {
    began: Instant,
    folder: PathBuf,
}

impl Demo {
    fn say(&self, text: &str) {
        println!("{:8.3} s  {text}", self.began.elapsed().as_secs_f64());
    }

    fn remote(&self) -> PathBuf {
        self.folder.join("remote.git")
    }

    fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Runs git in a folder of the demo; its answer.
    fn git(&self, folder: &Path, args: &[&str]) -> anyhow::Result<String> {
        let output = check::git_command()
            .current_dir(folder)
            .args(["-c", "user.name=Demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgsign=false"])
            .args(["-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=main"])
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .output()
            .context("git cannot be started; install it")?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("git {} failed: {}", args.join(" "), stderr.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes the remote: a clone of what was asked for, of the repository around the current folder, or a
    /// small one of its own. The original is only read.
    fn clone_repository(&self, around: &Surroundings, repo: Option<&str>) -> anyhow::Result<String> {
        let around_here = || {
            let top = self.git(&around.folder, &["rev-parse", "--show-toplevel"]).ok()?;
            self.git(&around.folder, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).ok()?;
            Some(top)
        };
        let source = repo.map(str::to_owned).or_else(around_here);
        match &source {
            Some(source) => {
                self.say(&format!("cloning {source}"));
                let work = self.work().display().to_string();
                // `--no-local` copies objects instead of linking them: the original is never touched.
                self.git(&around.folder, &["clone", "--quiet", "--no-local", "--", source, &work])?;
            }
            None => self.make_repository()?,
        }
        let work = self.work();
        self.git(&work, &["checkout", "--quiet", "-B", BRANCH])?;
        self.make_whole(&work)?;
        let remote = self.remote().display().to_string();
        self.git(&self.folder, &["init", "--quiet", "--bare", "--initial-branch=main", &remote])?;
        let refspec = format!("{BRANCH}:refs/heads/{BRANCH}");
        self.git(&work, &["push", "--quiet", &remote, &refspec])?;
        let commit = self.git(&work, &["rev-parse", "HEAD"])?;
        let files = self.git(&work, &["ls-tree", "-r", "--name-only", "HEAD"])?.lines().count();
        self.say(&format!("the remote holds {files} files, {BRANCH} is at {commit}"));
        Ok(commit)
    }

    /// A shallow clone lacks the parents of its oldest commits, and so would everything fetched from it:
    /// its files become one commit without parents.
    fn make_whole(&self, work: &Path) -> anyhow::Result<()> {
        if self.git(work, &["rev-parse", "--is-shallow-repository"])? != "true" {
            return Ok(());
        }
        self.say("that clone is shallow: its files become one new commit, without the history");
        let message = "The files of a shallow clone";
        let commit = self.git(work, &["commit-tree", "-m", message, "HEAD^{tree}"])?;
        self.git(work, &["reset", "--quiet", "--soft", &commit])?;
        Ok(())
    }

    fn make_repository(&self) -> anyhow::Result<()> {
        self.say("no repository here: making one");
        let work = self.work();
        std::fs::create_dir(&work)?;
        self.git(&work, &["init", "--quiet", "--initial-branch=main"])?;
        for number in 0..200 {
            let folder = work.join(format!("src/part{}", number % 10));
            std::fs::create_dir_all(&folder)?;
            let text = format!("// file {number}\npub const NUMBER: u32 = {number};\n").repeat(20);
            std::fs::write(folder.join(format!("file{number}.rs")), text)?;
        }
        std::fs::write(work.join("README.md"), "# A repository for the demo\n")?;
        self.git(&work, &["add", "--all"])?;
        self.git(&work, &["commit", "--quiet", "--message=First commit"])?;
        Ok(())
    }

    /// Configures and starts a server, as `project add` and `serve` do.
    async fn start(&self, around: &Surroundings) -> anyhow::Result<Server> {
        let file = self.folder.join(config::FILE_NAME);
        let listen = "[server]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(&file, listen)?;
        let new = NewProject {
            name: PROJECT.parse()?,
            git: format!("file://{}", self.remote().display()),
            forge: Forge::Github.to_string(),
            repository: Some(PROJECT.to_owned()),
            branches: vec![BRANCH.to_owned()],
            tags: Vec::new(),
            key: None,
            tag_key: None,
            secret_file: None,
            host_keys_file: None,
            topic: None,
            token: None,
            username: None,
            api: None,
        };
        config::add_project(&file, &new, around)?;
        let (watch, config) = Watch::start(Some(&file), around.clone());
        let server = Server::start(config?, around, watch).await?;
        let address = server.address.context("the demo's server listens")?;
        self.say(&format!("a server listens on http://{address}"));
        Ok(server)
    }

    /// Changes a few files and pushes; the new commit.
    fn change_files(&self) -> anyhow::Result<String> {
        let work = self.work();
        let listed = self.git(&work, &["ls-files", "-z", "--", "*"])?;
        let is_file = |name: &&str| work.join(name).symlink_metadata().is_ok_and(|found| found.is_file());
        let files: Vec<&str> = listed.split('\0').filter(|name| !name.is_empty()).filter(is_file).collect();
        let every = files.len().div_ceil(CHANGED_FILES).max(1);
        let mut changed = 0;
        for name in files.iter().step_by(every) {
            let path = work.join(name);
            let mut content = std::fs::read(&path)?;
            content.extend_from_slice(b"\nchanged by the demo\n");
            std::fs::write(path, content)?;
            changed += 1;
        }
        if changed == 0 {
            std::fs::write(work.join("demo.txt"), "changed by the demo\n")?;
        }
        self.git(&work, &["add", "--all"])?;
        self.git(&work, &["commit", "--quiet", "--message=Change a few files"])?;
        let remote = self.remote().display().to_string();
        self.git(&work, &["push", "--quiet", &remote, &format!("{BRANCH}:refs/heads/{BRANCH}")])?;
        self.say(&format!("{changed} files are changed and pushed to the remote"));
        self.git(&work, &["rev-parse", "HEAD"])
    }

    /// Sends the signed webhook of a push and waits until its archive is what readers get.
    async fn push(
        &self,
        server: &Server,
        base: &str,
        commit: &str,
        before: Option<&str>,
    ) -> anyhow::Result<()> {
        let secret = std::fs::read(self.secret_file(server)?)?;
        let secret = Secret::new(secret.trim_ascii_end())?;
        let body = payload(commit, before);
        let sent = Instant::now();
        let url = format!("{base}/hooks/{PROJECT}");
        let (name, signature) = sign(Forge::Github, &secret, &body);
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-github-event".to_owned(), "push".to_owned()),
            ("x-github-delivery".to_owned(), format!("demo-{commit}")),
            (name.to_owned(), signature),
        ];
        let (status, answer) = blocking(move || post(&url, &headers, &body)).await?;
        self.say(&format!("push of {} announced: {status} {}", &commit[..12], answer.trim()));
        if status != 202 {
            bail!("the server did not accept the push: {status} {answer}");
        }
        let bytes = self.watch(server, &format!("{base}/archive/{KEY}"), commit, sent).await?;
        let checked = check::against_git(&self.work(), commit, &bytes)?;
        self.say(&format!("{checked} members are what git has: names, modes and content"));
        Ok(())
    }

    /// Tells each step of the run as it ends, and when readers get the archive; its bytes.
    async fn watch(
        &self,
        server: &Server,
        url: &str,
        commit: &str,
        sent: Instant,
    ) -> anyhow::Result<Vec<u8>> {
        let (mut told, mut bytes) = (0, None);
        loop {
            let wanted: CommitId = commit.parse()?;
            let run = server.app.db.read(move |tx| look_at_run(tx, wanted)).await?;
            let steps = run.as_ref().map(|run| run.ended.as_slice()).unwrap_or_default();
            for step in steps.iter().skip(told) {
                self.say(step);
            }
            told = steps.len();
            if bytes.is_none() {
                let (this, wanted) = (url.to_owned(), commit.to_owned());
                bytes = blocking(move || download(&this, &wanted)).await?;
                if let Some(bytes) = &bytes {
                    let after = sent.elapsed().as_secs_f64();
                    self.say(&format!(
                        "  its archive is there {after:.3} s after the push: {} bytes",
                        bytes.len()
                    ));
                }
            }
            let state = run.map(|run| (run.state, run.reason));
            match (bytes.take(), state) {
                (Some(bytes), Some((RunState::Succeeded, _))) => return Ok(bytes),
                (_, Some((state, reason))) if state.is_over() && state != RunState::Succeeded => {
                    bail!("the run of {commit} ended as {state}: {}", reason.unwrap_or_default())
                }
                (seen, _) => bytes = seen,
            }
            if sent.elapsed() > PUBLISHED_MAX {
                let folder = self.folder.display();
                bail!(
                    "the archive of {commit} did not appear in time; `gristmill run list` in {folder} says why"
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn secret_file(&self, server: &Server) -> anyhow::Result<PathBuf> {
        let live = server.app.live();
        let project = live.config.projects.first().context("the demo's project is configured")?;
        match project.secrets.first() {
            Some(config::SecretSource::File(path)) => Ok(path.clone()),
            _ => bail!("the demo's project has its secret in a file"),
        }
    }
}

/// How far a run is.
struct Progress {
    state: RunState,
    reason: Option<String>,
    /// The steps that ended, in that order, for people.
    ended: Vec<String>,
}

fn look_at_run(tx: &mut Tx<'_>, commit: CommitId) -> Result<Option<Progress>, DbError> {
    let runs = run::list(tx, None, "~", SHOWN_MAX)?;
    let Some(run) = runs.into_iter().find(|run| run.commit == commit) else { return Ok(None) };
    let mut ended = Vec::new();
    for job in job::of_run(tx, run.id, SHOWN_MAX)? {
        let last = job::attempts(tx, job.id, 1)?.pop();
        let (true, Some(attempt)) = (job.state.is_over(), last) else { continue };
        let Some(end) = attempt.ended else { continue };
        let took = end.since(attempt.started).as_secs_f64();
        ended.push((end, format!("  {} {} after {took:.3} s", job.kind, job.state)));
    }
    ended.sort();
    let ended = ended.into_iter().map(|(_, text)| text).collect();
    Ok(Some(Progress { state: run.state, reason: run.reason, ended }))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

fn post(url: &str, headers: &[(String, String)], body: &[u8]) -> anyhow::Result<(u16, String)> {
    let mut request = agent().post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body)?;
    Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
}

/// The archive, once it is that of `commit`.
fn download(url: &str, commit: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let mut response = agent().get(url).call()?;
    let is_there = response.status() == 200
        && response
            .headers()
            .get("gristmill-commit")
            .is_some_and(|value| value.as_bytes() == commit.as_bytes());
    if !is_there {
        return Ok(None);
    }
    Ok(Some(response.body_mut().with_config().limit(u64::MAX).read_to_vec()?))
}

/// A push as GitHub announces it, with the fields that matter.
fn payload(commit: &str, before: Option<&str>) -> Vec<u8> {
    let zero = "0".repeat(commit.len());
    let body: Value = json!({
        "ref": format!("refs/heads/{BRANCH}"),
        "before": before.unwrap_or(&zero),
        "after": commit,
        "created": before.is_none(),
        "deleted": false,
        "forced": false,
        "repository": { "id": 1, "name": "repository", "full_name": PROJECT, "owner": { "login": "demo" } },
        "pusher": { "name": "demo" },
        "head_commit": { "id": commit },
    });
    body.to_string().into_bytes()
}
