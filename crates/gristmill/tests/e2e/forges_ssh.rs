//! Repositories over ssh at every forge: `project add --token` enters the key that was made for the project, and
//! neither token nor keys are seen anywhere.

use gristmill_testkit::{FakeForge, TestRepo};
use std::sync::Arc;

use gristmill_testkit::forge::Family;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, wait_for};

use crate::canary::{Canaries, Watch, assert_nowhere};
use crate::world::{BINARY, KEY, MAIN, PROJECT, assert_equals_git};

const TOKEN: &str = "canary.of-a~token_5b2f";

/// A forge with a repository that only the token opens over https, and a running server without a project.
struct Place {
    forge: FakeForge,
    repo: Arc<TestRepo>,
    server: Server,
}

impl Place {
    /// `None` where there is no sshd.
    fn start(family: Family) -> Option<Place> {
        let forge = FakeForge::start(family);
        let known_host = forge.ssh("over_ssh_a_token_enters_the_made_key")?.known_host();
        let repo = forge.create_bare(PROJECT);
        forge.require_token(Some(TOKEN));
        let mut server = Server::new(BINARY);
        server.set_env("FORGE_TOKEN", TOKEN);
        server.start();
        let address = server.address().expect("it listens");
        server.set_settings(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://{address}\"\nanonymous_read = true\n"
        ));
        std::fs::write(server.folder().join("known_hosts"), known_host).expect("written");
        Some(Place { forge, repo, server })
    }
}

#[test]
fn over_ssh_a_token_enters_the_made_key_and_purge_takes_it_away() {
    for family in [
        Family::Github,
        Family::Gitlab,
        Family::Gitea,
        Family::Forgejo,
        Family::Bitbucket,
        Family::BitbucketServer,
    ] {
        let Some(Place { forge, repo, mut server }) = Place::start(family) else { return };
        let server_key = std::fs::read_to_string(server.data().join("server.key")).expect("it was made");
        let canaries = Canaries::new(&[
            ("the token", TOKEN),
            ("the server's key", server_key.trim()),
            ("a private key", "OPENSSH PRIVATE KEY"),
        ]);
        let watch = Watch::start(server.pid(), canaries.clone());
        let (git, api) = (forge.ssh_url(PROJECT), forge.api_url());
        let add = || {
            server.cli(&[
                "project",
                "add",
                PROJECT,
                "--git",
                &git,
                "--forge",
                family.name(),
                "--repository",
                PROJECT,
                "--api",
                &api,
                "--token",
                "env:FORGE_TOKEN",
                "--host-keys",
                "known_hosts",
                "--branch",
                "main",
            ])
        };
        let added = add();
        let said = String::from_utf8_lossy(&[added.stdout, added.stderr].concat()).into_owned();
        assert!(added.status.success() && said.contains("is entered"), "{family:?}: {said}");
        let key = forge.keys(PROJECT).pop().expect("a deploy key");
        let shown = server.cli_json(&["project", "key", PROJECT]);
        let public = shown["keys"][0]["public"].as_str().expect("a key");
        assert!(
            public.contains(key.key.split(' ').nth(1).expect("its half")),
            "{family:?}: {public} {}",
            key.key
        );
        assert!(key.is_read_only, "{family:?}");
        let again = add();
        let said = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(again.status.success() && said.contains("there already"), "{family:?}: {said}");
        assert_eq!(forge.keys(PROJECT).len(), 1, "{family:?}");

        forge.send_by_itself(true);
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("file.txt", "one"));
        forge.push(PROJECT, MAIN, Some(&commit));
        let public = || server.store().public(KEY);
        let archive = wait_for(PATIENCE, public).unwrap_or_else(|| panic!("{family:?}: {}", server.log()));
        assert_equals_git(&repo, &commit, &archive);
        server.wait_until_idle();
        let told = || (!forge.statuses(PROJECT).is_empty()).then_some(());
        assert!(wait_for(PATIENCE, told).is_some(), "{family:?}: {}", server.log());
        assert!(watch.finish() > 0, "git and ssh were seen");
        assert_nowhere(&mut server, &canaries, PROJECT);
        server.set_projects([]);
        let gone = server.cli_text(&["project", "purge", PROJECT, "--yes"]);
        assert!(forge.keys(PROJECT).is_empty() && forge.hooks(PROJECT).is_empty(), "{family:?}: {gone}");
    }
}
