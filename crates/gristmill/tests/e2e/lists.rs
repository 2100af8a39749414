//! Lists longer than a page.

use std::collections::BTreeSet;

use crate::world::{KEY, MAIN, PROJECT, World};

/// More than any page has, and more than the thousand at which lists of others end.
const KEYS: usize = 1_003;

#[test]
fn mistake_13_lists_of_more_than_a_thousand_are_read_to_their_end() {
    let mut world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let bytes = world.server.store().public(KEY).expect("published");
    world.repo.many_branches(KEYS, &commit);
    world.server.stop();
    // Keys that should be there and are not: publishing each of them by a push would take minutes.
    world.server.store().execute(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {KEYS})
        INSERT INTO publication (id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum)
        SELECT printf('%026d', i), printf('listed/%04d.zip', i), 1000000 + i, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication, n"
    ));
    renew_sums(&world);
    let folder = world.server.data().join("storage/public/listed");
    let listed = || {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
    };
    assert!(listed().is_empty());
    // At its start the server looks where the refs are, and whether keys show what they should.
    let last = KEYS - 1;
    let project = crate::world::project(&world.github, PROJECT).poll("1h");
    world.server.set_projects([project.pipeline(&format!("branches = [\"main\", \"many/{last}\"]"))]);
    world.server.start();
    let patience = gristmill_testkit::server::PATIENCE;
    let all = gristmill_testkit::server::wait_for(patience, || (listed().len() == KEYS).then_some(()));
    assert!(all.is_some(), "{} of {KEYS} keys\n{}", listed().len(), world.server.log());
    assert_eq!(world.server.store().public("listed/1003.zip").expect("the last one"), bytes);
    world.server.wait_until_idle();
    world.assert_public(&format!("acme/shop/many/{last}/acme_shop.zip"), &commit);
    world.server.stop();
    // And all of them go with their project.
    world.server.set_projects([]);
    world.server.cli_text(&["project", "purge", PROJECT, "--yes"]);
    assert!(listed().is_empty(), "{} keys are left", listed().len());
    assert_eq!(world.server.store().number("SELECT count(*) FROM publication"), 0);
}

/// What was put there by hand gets its checksums.
fn renew_sums(world: &World) {
    let path = world.server.data().join("gristmill.db");
    let clock = std::sync::Arc::new(gristmill::clock::SystemClock);
    let db =
        gristmill_db::Db::open(&path, clock, gristmill::clock::system_random()).expect("the database opens");
    db.transact_blocking(gristmill_db::verify::renew).expect("checksums are written");
}
