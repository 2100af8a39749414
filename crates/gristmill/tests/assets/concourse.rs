//! As a resource type of Concourse: three programs in /opt/resource that read and write JSON.

use std::io::Write as _;
use std::process::Stdio;

use gristmill_testkit::s3::Kind;
use serde_json::{Value, json};

use crate::world::{At, Done, World, done};

fn call(world: &World, program: &str, request: &Value) -> Done {
    let folder = world.path("opt/resource");
    if !folder.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["check", "in", "out"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gristmill"), folder.join(name)).unwrap();
        }
    }
    let given = world.path("given");
    std::fs::create_dir_all(&given).unwrap();
    let arg = if program == "out" { world.folder.path() } else { &given };
    let mut command = world.command(&folder.join(program), &[arg.to_str().unwrap()]);
    // All it needs stands in the request.
    command.env_clear();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    done(&child.wait_with_output().unwrap())
}

#[test]
fn assets_go_out_are_checked_and_come_in() {
    let Some(world) = World::new(At::Server(Kind::S3sFs), "concourse") else { return };
    let server = world.server.unwrap();
    let source = json!({
        "bucket": world.bucket, "prefix": "ci", "endpoint": server.endpoint, "region": server.region,
        "access_key_id": server.access_key, "secret_access_key": server.secret_key,
    });
    assert_eq!(
        call(&world, "check", &json!({ "source": source, "version": null })).ended(0).json(),
        json!([])
    );
    let mut commits = Vec::new();
    for number in 0..3 {
        commits.push(world.commit("lambdas/a/m.py", &number.to_string()));
        world.build(&[("a.zip", &number.to_string())]);
        let params = json!({ "packages": "packages", "repository": "repo" });
        let answer = call(&world, "out", &json!({ "source": source, "params": params }));
        let answer = answer.ended(0).json();
        assert_eq!(answer["version"]["commit"], commits[number]);
        assert_eq!(answer["metadata"][0], json!({ "name": "files", "value": "1" }));
    }
    let checked = call(&world, "check", &json!({ "source": source, "version": { "commit": commits[0] } }));
    let told: Vec<Value> = serde_json::from_value(checked.ended(0).json()).unwrap();
    assert_eq!(told.first(), Some(&json!({ "commit": commits[0] })), "the known one comes first");
    assert_eq!(told.len(), 3, "{told:?}");
    let newest = call(&world, "check", &json!({ "source": source })).ended(0).json();
    assert_eq!(newest.as_array().map(Vec::len), Some(1));
    let request = json!({ "source": source, "version": { "commit": commits[1] } });
    let answer = call(&world, "in", &request).ended(0).json();
    assert_eq!(answer["version"]["commit"], commits[1]);
    let read = |name: &str| std::fs::read_to_string(world.path("given").join(name)).unwrap();
    assert_eq!((read("a.zip").as_str(), read(".commit-hash")), ("1", commits[1].clone()));
    // A set that is not complete is no version.
    let key = format!("ci/.gristmill/sets/{}.json", commits[2]);
    world.write(&key, &world.read(&key).unwrap().replace("\"complete\"", "\"uploading\""), &[]);
    let checked = call(&world, "check", &json!({ "source": source, "version": { "commit": commits[0] } }));
    assert_eq!(checked.ended(0).json().as_array().map(Vec::len), Some(2));
}

#[test]
fn what_is_refused_says_why_and_repeats_no_secret() {
    let world = World::new(At::Folder, "").unwrap();
    let source = json!({ "bucket": world.bucket, "secret_access_key": "a-secret-word", "regoin": "x" });
    let refused = call(&world, "check", &json!({ "source": source }));
    refused.ended(1).has("known are source: bucket");
    assert!(!format!("{refused:?}").contains("a-secret-word"));
    let source = json!({ "bucket": world.bucket });
    call(&world, "in", &json!({ "source": source })).ended(1).has("needs a version");
    call(&world, "out", &json!({ "source": source })).ended(1).has("needs the parameter `packages`");
    let found = json!({ "source": source, "params": { "packages": "packages" } });
    world.build(&[("a.zip", "a")]);
    call(&world, "out", &found).ended(103);
    std::fs::write(world.path("packages/.found"), "").unwrap();
    std::fs::write(world.path("packages/.commit-hash"), world.head()).unwrap();
    let answer = call(&world, "out", &found).ended(0).json();
    assert_eq!(answer["version"]["commit"], world.head());
    assert_eq!(world.keys("artifacts/"), Vec::<String>::new());
}
