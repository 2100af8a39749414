//! One job of CI: a repository, a package folder, a bucket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gristmill_testkit::s3::{Client, Kind, Server};

/// Where the assets of a test are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    Folder,
    Server(Kind),
}

impl At {
    /// All there are.
    pub(crate) const ALL: [At; 4] =
        [At::Folder, At::Server(Kind::Moto), At::Server(Kind::S3sFs), At::Server(Kind::Radosgw)];
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: Option<&'static Server>,
    /// As `PACKAGE_ASSETS_BUCKET` says it.
    pub(crate) bucket: String,
    env: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) lines: Vec<String>,
}

impl Done {
    #[track_caller]
    pub(crate) fn has(&self, text: &str) -> &Done {
        assert!(self.lines.iter().any(|line| line.contains(text)), "`{text}` is not told: {self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn ended(&self, code: i32) -> &Done {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

pub(crate) fn done(output: &Output) -> Done {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        lines: text(&output.stderr).lines().map(str::to_owned).collect(),
    }
}

/// Git without anybody's configuration.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(folder)
        // Equal commits have equal names.
        .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, "@1700000000 +0000")))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Fixture")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "fixture@example.org")))
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl World {
    /// A world with `repo` of one commit (`lambdas/a/m.py`) and an empty `packages`. `None` where that server is not
    /// installed, said loudly.
    pub(crate) fn new(at: At, test: &str) -> Option<World> {
        let folder = tempfile::tempdir().unwrap();
        let (server, bucket) = match at {
            At::Folder => (None, format!("file:{}", folder.path().join("bucket").display())),
            At::Server(kind) => {
                let server = Server::shared(kind, test)?;
                (Some(server), server.bucket(false))
            }
        };
        std::fs::create_dir_all(folder.path().join("repo/lambdas/a")).unwrap();
        std::fs::create_dir(folder.path().join("packages")).unwrap();
        for name in ["check", "upload"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gristmill"), folder.path().join(name)).unwrap();
        }
        let mut world = World { folder, server, bucket: bucket.clone(), env: Vec::new() };
        if let Some(server) = server {
            world.set("AWS_ENDPOINT_URL", &server.endpoint);
            world.set("AWS_DEFAULT_REGION", &server.region);
            world.set("AWS_ACCESS_KEY_ID", &server.access_key);
            world.set("AWS_SECRET_ACCESS_KEY", &server.secret_key);
        }
        world.set("PACKAGE_ASSETS_BUCKET", &bucket);
        world.set("GIT_REPO_PATH", &world.path("repo").display().to_string());
        world.set("PACKAGE_DIRECTORY", &world.path("packages").display().to_string());
        world.set("CODE_HASH_FIND_FILTER", "lambdas/**");
        git(&world.path("repo"), &["init", "--quiet"]);
        world.commit("lambdas/a/m.py", "one\n");
        Some(world)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the repository and commits all. The commit.
    pub(crate) fn commit(&self, path: &str, text: &str) -> String {
        let repo = self.path("repo");
        let full = repo.join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
        git(&repo, &["add", "--all"]);
        git(&repo, &["commit", "--quiet", "--allow-empty", "-m", "change"]);
        self.head()
    }

    pub(crate) fn head(&self) -> String {
        git(&self.path("repo"), &["rev-parse", "HEAD"])
    }

    /// A package folder with these files and nothing else.
    pub(crate) fn build(&self, files: &[(&str, &str)]) {
        let packages = self.path("packages");
        for entry in packages.read_dir().unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_string_lossy().starts_with('.') {
                if entry.path().is_dir() {
                    std::fs::remove_dir_all(entry.path()).unwrap();
                } else {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
        }
        for (name, text) in files {
            let path = packages.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// A flag file's text; `None` where there is none.
    pub(crate) fn flag(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path("packages").join(name)).ok()
    }

    /// The environment of this world, and no other.
    pub(crate) fn dress(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("HOME", self.folder.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
    }

    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        self.dress(&mut command);
        command
    }

    /// Runs `check`, called by that name.
    pub(crate) fn check(&self, args: &[&str]) -> Done {
        done(&self.command(&self.path("check"), args).output().unwrap())
    }

    /// Runs `upload`, called by that name.
    pub(crate) fn upload(&self, args: &[&str]) -> Done {
        done(&self.command(&self.path("upload"), args).output().unwrap())
    }

    /// Runs `gristmill asset …`.
    pub(crate) fn asset(&self, args: &[&str]) -> Done {
        let all: Vec<&str> = ["asset"].iter().chain(args).copied().collect();
        done(&self.command(Path::new(env!("CARGO_BIN_EXE_gristmill")), &all).output().unwrap())
    }

    /// Runs what does as the original. `None` where there is no boto3, said loudly.
    pub(crate) fn original(&self, command: &str, test: &str) -> Option<Done> {
        let mut python = gristmill_testkit::assets::original(command, test)?;
        self.dress(&mut python);
        Some(done(&python.output().unwrap()))
    }

    pub(crate) fn client(&self) -> Client {
        self.server.unwrap().client()
    }

    /// The keys below a prefix, sorted.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        if self.server.is_none() {
            let root = self.path("bucket");
            let mut found = Vec::new();
            walk(&root, &root, &mut found);
            found.retain(|key| key.starts_with(prefix) && !key.starts_with(".gristmill/lock"));
            found.sort();
            return found;
        }
        let query = format!("/{}?list-type=2&prefix={}", self.bucket, prefix.replace('/', "%2F"));
        let reply = self.client().expect(200, "GET", &query, &[], b"").unwrap().text();
        let keys = reply.split("<Key>").skip(1);
        keys.map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    /// An object as text; `None` where there is none.
    pub(crate) fn read(&self, key: &str) -> Option<String> {
        if self.server.is_none() {
            return std::fs::read_to_string(self.path("bucket").join(key)).ok();
        }
        let reply = self.client().send("GET", &format!("/{}/{key}", self.bucket), &[], b"").unwrap();
        (reply.status == 200).then(|| reply.text())
    }

    /// Writes an object.
    pub(crate) fn write(&self, key: &str, text: &str, headers: &[(&str, &str)]) {
        if self.server.is_none() {
            let path = self.path("bucket").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            return;
        }
        let target = format!("/{}/{key}", self.bucket);
        self.client().expect(200, "PUT", &target, headers, text.as_bytes()).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        if self.server.is_none() {
            return std::fs::remove_file(self.path("bucket").join(key)).unwrap();
        }
        let reply = self.client().send("DELETE", &format!("/{}/{key}", self.bucket), &[], b"").unwrap();
        assert!(reply.status < 300, "{reply:?}");
    }

    /// An object's header; empty where there is none.
    pub(crate) fn header(&self, key: &str, name: &str) -> String {
        let reply = self.client().expect(200, "HEAD", &format!("/{}/{key}", self.bucket), &[], b"").unwrap();
        reply.header(name).unwrap_or_default().to_owned()
    }

    /// The manifest of the commit that is checked out.
    pub(crate) fn manifest(&self) -> serde_json::Value {
        let text = self.read(&format!(".gristmill/sets/{}.json", self.head())).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}
