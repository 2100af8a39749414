//! What no backup is made of, and what none is.

use super::{Engine, backup, failed, fill, machine, path};
use crate::world::World;

#[test]
fn damaged_rows_are_in_no_backup() {
    let mut world = World::start(|project| project);
    let paths = fill(&world);
    assert!(!paths.is_empty());
    world.server.stop();
    let (sound, _) = backup(&world.server, &[]);
    let store = world.server.store();
    store.execute("UPDATE artifact SET commit_id = replace(commit_id, substr(commit_id, 1, 1), 'f')");
    let file = world.server.folder().join("damaged.tar");
    failed(
        &world.server.cli(&["backup", path(&file)]),
        &["the database is damaged", "keep the backups you have"],
    );
    assert!(!file.exists());
    let left = std::fs::read_dir(world.server.folder()).expect("the folder").flatten();
    let unfinished = left.filter(|entry| entry.file_name().to_string_lossy().contains(".unfinished-"));
    assert_eq!(unfinished.count(), 0);
    let restored = machine(&world, Engine::Sqlite, "").expect("SQLite is always there");
    restored.cli_json(&["restore", path(&sound)]);
}

#[test]
fn what_is_no_whole_backup_is_refused_and_changes_nothing() {
    let world = World::start(|project| project);
    fill(&world);
    let (file, _) = backup(&world.server, &[]);
    let whole = std::fs::read(&file).expect("the backup");
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        bytes
    };
    // Behind the first member of that name: a header has 512 bytes.
    let inside = |name: &str| {
        let header = whole.chunks(512).position(|block| block.starts_with(name.as_bytes()));
        (header.expect("a member") + 1) * 512 + 10
    };
    let newer = |from: &str, to: &str| {
        let mut bytes = whole.clone();
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("it is there");
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "it is not a backup of Gristmill's"),
        ("foreign", b"PK\x03\x04 something else".repeat(100), "it is not a backup of Gristmill's"),
        ("half", whole[..whole.len() / 2].to_vec(), "it ends too early"),
        ("no end", whole[..whole.len() - 512].to_vec(), "it ends too early"),
        ("longer", [whole.clone(), vec![0; 512]].concat(), "behind its end"),
        ("rows", changed(inside("rows/")), "it"),
        ("blobs", changed(inside("blobs/")), "it"),
        ("newer", newer("\"format\": 1", "\"format\": 7"), "it has format 7, and this program reads up to 1"),
        ("schema", newer("\"schema\": 1", "\"schema\": 9"), "its rows are of schema 9"),
        ("names", newer("rows/artifact/1.jsonl", "../../../etc/passwd01"), "it holds what no backup holds"),
    ];
    let machine = machine(&world, Engine::Sqlite, "").expect("SQLite is always there");
    for (name, bytes, part) in cases {
        let damaged = world.server.folder().join("damaged.tar");
        std::fs::write(&damaged, bytes).expect("it can be written");
        let output = machine.cli(&["restore", path(&damaged)]);
        failed(&output, &["cannot be used, nothing was changed"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(part) || name == "names", "{name}: {text}");
        assert!(!machine.data().exists(), "{name}");
    }
    failed(&world.server.cli(&["restore", path(&file)]), &["a server works on"]);
    failed(&world.server.cli(&["backup", path(&file)]), &["there is something at"]);
    let mut used = machine;
    used.start();
    used.stop();
    failed(&used.cli(&["restore", path(&file)]), &["the database is in use: it has rows in"]);
}
