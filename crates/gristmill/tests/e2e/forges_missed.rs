//! Webhooks that a forge could not deliver: what they tell is found through its API.

use gristmill_testkit::forge::Family;
use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::forges::Place;
use crate::world::{MAIN, PROJECT, list};

#[test]
fn rule_8_what_was_missed_is_found_at_github_and_gitlab() {
    for family in [Family::Github, Family::Gitlab] {
        let mut place = Place::new(family);
        place.added();
        place.server.wait_until_idle();
        place.server.stop();
        // Nobody listens. Of the two pushes polling can only find the second.
        let overtaken = place.commit(&[], "one");
        place.forge.push(PROJECT, MAIN, Some(&overtaken));
        let tip = place.commit(std::slice::from_ref(&overtaken), "two");
        place.forge.push(PROJECT, MAIN, Some(&tip));
        place.server.start();
        let made = || (place.run_of(&overtaken)?["state"] == "succeeded").then_some(());
        assert!(wait_for(PATIENCE, made).is_some(), "{family:?}\n{}", place.server.log());
        assert_eq!(place.run_of(&overtaken).expect("a run")["cause"], "missed", "{family:?}");
        place.server.wait_until_idle();
        let newest = place.server.store().versions_of(crate::world::KEY).pop().expect("a version");
        assert_eq!(newest.commit, tip, "{family:?}: the key is the tip's");
        let runs = list(&place.server, &["run", "list"]).len();
        assert_eq!(runs, 2, "{family:?}");
        place.server.stop();
        place.server.start();
        place.server.wait_until_idle();
        assert_eq!(list(&place.server, &["run", "list"]).len(), runs, "{family:?}: each counts once");
    }
}

#[test]
fn rule_8_a_release_that_was_missed_is_built_with_a_webhook_made_by_hand() {
    let mut place = Place::new(Family::Github);
    let project =
        gristmill_testkit::server::Project::new(PROJECT, &place.forge.clone_url(PROJECT), "a secret")
            .with("token = { env = \"FORGE_TOKEN\" }")
            .with(&format!("api = \"{}\"", place.forge.api_url()))
            .with("statuses = false")
            .pipeline("branches = [\"main\"]\nreleases = true");
    place.server.set_projects([project]);
    place.forge.add_hook(PROJECT, &place.server.url("/hooks/acme/shop"), Some("a secret"));
    place.server.stop();
    let commit = place.commit(&[], "one");
    place.forge.push(PROJECT, "refs/tags/v1", Some(&commit));
    place.forge.release(PROJECT, "v1", "published");
    place.server.start();
    let made = || (place.run_of(&commit)?["state"] == "succeeded").then_some(());
    assert!(wait_for(PATIENCE, made).is_some(), "{}", place.server.log());
    place.server.wait_until_idle();
    let run = place.run_of(&commit).expect("a run");
    assert_eq!((&run["cause"], &run["ref"]), (&"missed".into(), &"refs/tags/v1".into()));
    assert_eq!(list(&place.server, &["run", "list"]).len(), 1, "the push of the tag is not wanted");
    let key = "acme/shop/release/tags/v1/acme_shop_release.zip";
    assert!(place.server.store().public(key).is_some(), "{}", place.server.log());
    assert!(place.forge.statuses(PROJECT).is_empty(), "none are wanted");
}

#[test]
fn what_was_missed_is_left_out_like_any_push_where_it_touches_none_of_the_paths() {
    let mut place = Place::new(Family::Github);
    let first = place.commit(&[], "one");
    place.forge.push(PROJECT, MAIN, Some(&first));
    let project =
        gristmill_testkit::server::Project::new(PROJECT, &place.forge.clone_url(PROJECT), "a secret")
            .poll("1s")
            .with("token = { env = \"FORGE_TOKEN\" }")
            .with(&format!("api = \"{}\"", place.forge.api_url()))
            .with("statuses = false")
            .pipeline("paths = [\"api/**\"]");
    place.server.set_projects([project]);
    place.forge.add_hook(PROJECT, &place.server.url("/hooks/acme/shop"), Some("a secret"));
    assert_eq!(place.ended(&first).1, "succeeded", "the first of a ref is built");
    place.server.stop();
    // Nobody listens. Beside the paths are both; of the first only the webhook tells.
    let overtaken = place.commit(std::slice::from_ref(&first), "two");
    place.forge.push(PROJECT, MAIN, Some(&overtaken));
    let tip = place.commit(std::slice::from_ref(&overtaken), "three");
    place.forge.push(PROJECT, MAIN, Some(&tip));
    place.server.start();
    assert_eq!(place.ended(&overtaken), ("missed".into(), "skipped".into()), "{}", place.server.log());
}

#[test]
fn rule_8_what_the_webhook_of_an_organisation_or_a_group_missed_is_found_by_one_look_for_all() {
    for (family, hooks) in [(Family::Github, "/orgs/acme/hooks?"), (Family::Gitlab, "/groups/acme/hooks?")] {
        let mut place = Place::new(family);
        let tool = place.forge.create_bare("acme/tool");
        let git = place.forge.clone_url("acme/{repo}");
        let pattern = gristmill_testkit::server::Project::new("acme/*", &git, "a secret")
            .with(&format!("forge = \"{}\"", family.name()))
            .with("token = { env = \"FORGE_TOKEN\" }")
            .with(&format!("api = \"{}\"", place.forge.api_url()))
            .with("statuses = false")
            .pipeline("branches = [\"main\"]");
        place.server.set_projects([pattern]);
        place.forge.add_owner_hook("acme", &place.server.url("/hooks/acme/*"), "a secret");
        place.server.stop();
        // Nobody listens. Of neither repository anything came before.
        let overtaken = place.commit(&[], "one");
        place.forge.push(PROJECT, MAIN, Some(&overtaken));
        let tip = place.commit(std::slice::from_ref(&overtaken), "two");
        place.forge.push(PROJECT, MAIN, Some(&tip));
        let other = tool.commit_unreferenced(&[], &gristmill_testkit::repo::Changes::new().file("a", "1"));
        place.forge.push("acme/tool", MAIN, Some(&other));
        place.server.start();
        for commit in [&overtaken, &tip, &other] {
            assert_eq!(place.ended(commit).1, "succeeded", "{family:?}\n{}", place.server.log());
        }
        assert_eq!(place.ended(&overtaken).0, "missed", "{family:?}");
        place.server.wait_until_idle();
        let newest = place.server.store().versions_of(crate::world::KEY).pop().expect("a version");
        assert_eq!(newest.commit, tip, "{family:?}: the key is the tip's");
        assert_eq!(list(&place.server, &["run", "list"]).len(), 3, "{family:?}");
        let asked = || {
            let all = place.forge.requests();
            all.iter().filter(|one| one.target.contains(hooks)).count()
        };
        assert_eq!(asked(), 1, "{family:?}");
        place.server.stop();
        place.server.start();
        place.server.wait_until_idle();
        assert_eq!(list(&place.server, &["run", "list"]).len(), 3, "{family:?}: each counts once");
    }
}
