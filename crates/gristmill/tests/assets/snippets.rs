//! The snippets of docs/assets.md are run, as far as that goes without the CI system: its shell lines, its environment,
//! its order.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use gristmill_testkit::s3::Kind;
use serde_json::Value;

use crate::world::{At, Done, World, done, git};

const TEST: &str = "snippets";

/// The snippet that begins with `# <name>`, read as YAML.
fn snippet(name: &str) -> Option<Value> {
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/assets.md")).unwrap();
    let begin = format!("```yaml\n# {name}\n");
    let text = document.split(&begin).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let python = gristmill_testkit::s3::boto3(TEST)?;
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    let output = Command::new(python).args(["-c", script, &text]).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A world in which a job's steps run: `make dist` leaves a file, and tells that it ran.
fn job() -> Option<World> {
    let world = World::new(At::Server(Kind::Moto), TEST)?;
    let make = world.path("make");
    std::fs::write(
        &make,
        "#!/bin/sh\nmkdir -p packages\necho made >>../made\nprintf zip1 >packages/site.zip\n",
    )
    .unwrap();
    std::fs::set_permissions(&make, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(world.path("repo/.gitignore"), "packages\nassets.env\n").unwrap();
    world.commit("README", "x");
    Some(world)
}

/// Runs a line of shell in `folder` with the snippet's environment, but for what only exists elsewhere.
fn shell(world: &World, folder: &str, line: &str, env: &BTreeMap<String, String>) -> Done {
    let mut command = Command::new("sh");
    command.args(["-euc", line]);
    world.dress(&mut command);
    for name in ["GIT_REPO_PATH", "PACKAGE_DIRECTORY", "CODE_HASH_FIND_FILTER"] {
        command.env_remove(name);
    }
    let elsewhere = ["PACKAGE_ASSETS_BUCKET", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    command.envs(env.iter().filter(|(name, _)| !elsewhere.contains(&name.as_str())));
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", world.folder.path().display()));
    command.env("GITHUB_OUTPUT", world.path("github-output")).env("AWS_TOKEN", "a.b.c");
    if env.contains_key("AWS_WEB_IDENTITY_TOKEN_FILE") {
        command.env("AWS_WEB_IDENTITY_TOKEN_FILE", world.path("token"));
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    }
    done(&command.current_dir(world.path(folder)).output().unwrap())
}

fn env(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Runs a job twice for one commit and once for another one with the same code: it is built once.
fn built_once(world: &World, run: &dyn Fn(&World)) {
    for (number, what) in ["a first time", "the same commit", "another commit"].iter().enumerate() {
        let _ = std::fs::remove_dir_all(world.path("repo/packages"));
        run(world);
        let made = std::fs::read_to_string(world.path("made")).unwrap_or_default();
        assert_eq!(made, "made\n", "{what}");
        let key = format!("artifacts/{}/site.zip", world.head());
        assert_eq!(world.read(&key).as_deref(), Some("zip1"), "{what}");
        world.commit("README", &format!("{number}"));
        if number == 0 {
            git(&world.path("repo"), &["reset", "--quiet", "--hard", "HEAD~1"]);
        }
    }
}

#[test]
fn github() {
    let (Some(world), Some(snippet)) = (job(), snippet("github")) else { return };
    let build = &snippet["jobs"]["build"];
    let env = env(&build["env"]);
    built_once(&world, &|world| {
        let _ = std::fs::remove_file(world.path("github-output"));
        for step in build["steps"].as_array().unwrap() {
            let Some(line) = step["run"].as_str() else { continue };
            if step["if"].is_string() {
                assert_eq!(step["if"], "steps.assets.outputs.found != 'true'");
                let outputs = std::fs::read_to_string(world.path("github-output")).unwrap();
                if outputs.lines().any(|line| line == "found=true") {
                    continue;
                }
            }
            shell(world, "repo", line, &env).ended(0);
        }
    });
}

#[test]
fn gitlab() {
    let (Some(world), Some(snippet)) = (job(), snippet("gitlab")) else { return };
    let env = env(&snippet["build"]["variables"]);
    built_once(&world, &|world| {
        let _ = std::fs::remove_file(world.path("repo/assets.env"));
        for line in texts(&snippet["build"]["script"]) {
            shell(world, "repo", &line, &env).ended(0);
        }
        let report = std::fs::read_to_string(world.path("repo/assets.env")).unwrap();
        assert!(report.lines().all(|line| line.split_once('=').is_some()), "{report}");
    });
}

#[test]
fn woodpecker() {
    let (Some(world), Some(snippet)) = (job(), snippet("woodpecker")) else { return };
    built_once(&world, &|world| {
        for step in snippet["steps"].as_array().unwrap() {
            for line in texts(&step["commands"]) {
                shell(world, "repo", &line, &env(&step["environment"])).ended(0);
            }
        }
    });
}

#[test]
fn concourse_tasks() {
    let (Some(world), Some(snippet)) = (job(), snippet("concourse-tasks")) else { return };
    built_once(&world, &|world| {
        // Each build of a job begins with an empty output; there folders stand beside one another.
        std::fs::remove_dir_all(world.path("packages")).unwrap();
        std::fs::create_dir(world.path("packages")).unwrap();
        let _ = std::fs::remove_file(world.path("repo/packages"));
        std::os::unix::fs::symlink("../packages", world.path("repo/packages")).unwrap();
        for step in snippet["jobs"][0]["plan"].as_array().unwrap() {
            let Some(run) = step["config"]["run"].as_object() else { continue };
            let line = match run.get("args") {
                Some(args) => texts(args)[1].replace("make -C repo", "cd repo; make"),
                None => run["path"].as_str().unwrap().to_owned(),
            };
            shell(world, "", &line, &env(&step["params"])).ended(0);
        }
        std::fs::remove_file(world.path("repo/packages")).unwrap();
    });
}

#[test]
fn concourse_resource() {
    let Some(snippet) = snippet("concourse-resource") else { return };
    let source = &snippet["resources"][0]["source"];
    let world = World::new(At::Folder, TEST).unwrap();
    world.build(&[("site.zip", "zip1"), ("b.zip", "b")]);
    std::fs::rename(world.path("packages"), world.path("dist")).unwrap();
    let mut source = source.clone();
    source["bucket"] = world.bucket.clone().into();
    let call = |role: &str, request: Value| {
        let script = format!("gristmill asset resource {role} .");
        let mut command = Command::new("sh");
        command.args(["-euc", &format!("printf %s '{request}' | {script}")]);
        world.dress(&mut command);
        let program = Path::new(env!("CARGO_BIN_EXE_gristmill")).parent().unwrap();
        command.env("PATH", format!("{}:/usr/bin:/bin", program.display()));
        done(&command.output().unwrap())
    };
    let plan = |job: usize, step: usize| snippet["jobs"][job]["plan"][step].clone();
    let out = call("out", serde_json::json!({ "source": source, "params": plan(0, 2)["params"] }));
    let version = out.ended(0).json()["version"].clone();
    let request =
        |params: &Value| serde_json::json!({ "source": source, "version": version, "params": params });
    call("in", request(&plan(0, 2)["get_params"])).ended(0);
    assert!(!world.path("site.zip").exists());
    call("in", request(&plan(1, 0)["params"])).ended(0);
    assert!(world.path("site.zip").exists() && !world.path("b.zip").exists());
    assert_eq!(call("check", serde_json::json!({ "source": source })).ended(0).json()[0], version);
}

#[test]
fn the_first_example() {
    let mut world = job().unwrap_or_else(|| World::new(At::Folder, TEST).unwrap());
    if world.server.is_none() {
        return;
    }
    world.set("CODE_HASH_FIND_FILTER", "lambdas/** lib/**");
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/assets.md")).unwrap();
    let block = document.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let block = block
        .replace("PACKAGE_ASSETS_BUCKET=acme-assets", &format!("PACKAGE_ASSETS_BUCKET={}", world.bucket));
    let program = Path::new(env!("CARGO_BIN_EXE_gristmill")).display().to_string();
    let block = block.replace("gristmill asset", &format!("{program} asset"));
    built_once(&world, &|world| {
        shell(world, "repo", &block, &BTreeMap::new()).ended(0);
    });
}
