use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{SystemClock, system_random};

const ONE: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const TWO: &str = "0202020202020202020202020202020202020202020202020202020202020202";

fn around(folder: &Path) -> Surroundings {
    let mut around = Surroundings::new(folder.to_owned(), |name| match name {
        "ONE" => Some(ONE.to_owned()),
        "TWO" => Some(TWO.to_owned()),
        _ => None,
    });
    around.system_file = folder.join("none");
    around
}

fn project(name: &str, git: &str) -> String {
    format!("[[project]]\nname = \"{name}\"\ngit = \"{git}\"\n[[project.pipeline]]\nkind = \"archive\"\n")
}

/// A folder with a database, and what is configured there.
struct Place {
    folder: tempfile::TempDir,
    db: Db,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("db"), Arc::new(SystemClock), system_random()).unwrap();
        Place { folder, db }
    }

    /// The configuration with these keys of the server, and projects.
    fn config(&self, keys: &str, projects: &[String]) -> Config {
        let text = format!("[server]\nkey = {keys}\n{}", projects.concat());
        std::fs::write(self.folder.path().join("gristmill.toml"), text).unwrap();
        Config::load(None, &around(self.folder.path())).unwrap()
    }

    /// Takes the projects over, as a start does, and makes their keys; whose keys were made.
    async fn import(&self, config: &Config) -> Vec<String> {
        let specs: Vec<ProjectSpec> = config.projects.iter().map(|project| project.spec.clone()).collect();
        let patterns: Vec<_> = config.patterns.iter().filter_map(|one| one.pattern.clone()).collect();
        self.db.transact(move |tx| project::import(tx, &specs, &patterns)).await.unwrap();
        let keyring = Arc::new(self.keyring(config).unwrap());
        let made = make_missing(&self.db, config, &keyring).await.unwrap();
        made.iter().map(ToString::to_string).collect()
    }

    fn keyring(&self, config: &Config) -> Option<Keyring> {
        Keyring::open(config, &*around(self.folder.path()).env).unwrap()
    }

    async fn lost(&self, config: &Config) -> Option<String> {
        lost(&self.db, config, self.keyring(config).as_ref()).await.unwrap()
    }

    /// The project's id and keys, the current one first.
    async fn keys(&self, name: &str) -> (ProjectId, Vec<StoredKey>) {
        let name: ProjectName = name.parse().unwrap();
        let found = self.db.read(move |tx| {
            let id = project::by_name(tx, &name)?.expect("a project").id;
            Ok((id, deploy_key::of_project(tx, id)?))
        });
        found.await.unwrap()
    }
}

const SSH: &str = "git@github.com:acme/shop.git";

#[tokio::test]
async fn keys_are_made_for_projects_over_ssh_once() {
    let place = Place::new();
    let all = [
        project("acme/shop", SSH),
        project("acme/tool", "https://github.com/acme/tool.git"),
        project("acme/long", "git@github.com:acme/long.git")
            .replace("acme/long\"", &format!("{}\"", "x".repeat(200))),
    ];
    let config = place.config("{ env = \"ONE\" }", &all);
    let long = "x".repeat(200);
    assert_eq!(place.import(&config).await, ["acme/shop", &long]);
    assert_eq!(place.import(&config).await, [""; 0]);
    let (_, keys) = place.keys("acme/shop").await;
    let name: ProjectName = "acme/shop".parse().unwrap();
    let opened = open(&place.keyring(&config).unwrap(), &keys[0], &name).unwrap();
    assert_eq!(
        (opened.public_line(), opened.fingerprint()),
        (keys[0].public_line.clone(), keys[0].fingerprint.clone())
    );
    let (_, keys) = place.keys(&long).await;
    assert!(keys[0].public_line.ends_with(&format!(" gristmill {}", "x".repeat(190))));
}

#[tokio::test]
async fn only_keys_that_are_needed_are_missed() {
    let place = Place::new();
    let shop = project("acme/shop", SSH);
    let config = place.config("{ env = \"ONE\" }", std::slice::from_ref(&shop));
    place.import(&config).await;
    assert_eq!(place.lost(&config).await, None);
    let pem = DeployKey::generate(&[1; 32], "x").unwrap();
    std::fs::write(place.folder.path().join("own"), pem.to_openssh().as_ref()).unwrap();
    let own = shop.replace("[[project.pipeline]]", "ssh_key = { file = \"own\" }\n[[project.pipeline]]");
    let off = shop.replace("[[project.pipeline]]", "enabled = false\n[[project.pipeline]]");
    for (keys, projects, is_lost) in [
        ("{ env = \"TWO\" }", vec![shop.clone()], true),
        ("[{ env = \"TWO\" }, { env = \"ONE\" }]", vec![shop.clone()], false),
        ("{ env = \"TWO\" }", vec![], false),
        ("{ env = \"TWO\" }", vec![off], false),
        ("{ env = \"TWO\" }", vec![own], false),
        ("{ env = \"TWO\" }", vec![project("acme/shop", "https://github.com/acme/shop.git")], false),
        ("{ env = \"TWO\" }", vec![project("acme/other", SSH)], false),
    ] {
        let config = place.config(keys, &projects);
        let told = place.lost(&config).await;
        assert_eq!(told.is_some(), is_lost, "{keys} {projects:?}: {told:?}");
        assert!(told.is_none_or(|told| {
            told.contains("cannot be opened: acme/shop; none of the keys in `server.key`")
        }));
    }
}

#[tokio::test]
async fn a_pattern_keeps_the_keys_of_its_projects() {
    let place = Place::new();
    let pattern = project("acme/*", "git@github.com:acme/{repo}.git");
    let config = place.config("{ env = \"ONE\" }", std::slice::from_ref(&pattern));
    let of = config.patterns[0].pattern.clone().unwrap();
    let spec = of.expand(&"acme/shop".parse().unwrap()).unwrap();
    place.db.transact(move |tx| project::of_pattern(tx, &spec, &of.name, 9)).await.unwrap();
    assert_eq!(place.import(&config).await, ["acme/shop"]);
    let https = project("acme/shop", "https://github.com/acme/shop.git");
    for (projects, is_lost) in [
        (vec![pattern.clone()], true),
        (vec![pattern.replace("acme", "other")], false),
        // It has settings of its own now.
        (vec![pattern.clone(), https], false),
        (vec![pattern, project("acme/shop", SSH)], true),
    ] {
        let config = place.config("{ env = \"TWO\" }", &projects);
        assert_eq!(place.lost(&config).await.is_some(), is_lost, "{projects:?}");
    }
}

#[tokio::test]
async fn a_damaged_key_does_not_keep_the_others_from_being_sealed_again() {
    let place = Place::new();
    let projects = [project("acme/a", SSH), project("acme/b", "git@github.com:acme/b.git")];
    let config = place.config("{ env = \"ONE\" }", &projects);
    place.import(&config).await;
    let (a, b) = (place.keys("acme/a").await.1.remove(0), place.keys("acme/b").await.1.remove(0));
    let mut damaged = a.sealed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let broken = damaged.clone();
    place.db.transact(move |tx| deploy_key::reseal(tx, a.id, &a.sealed, &broken)).await.unwrap();
    let config = place.config("[{ env = \"TWO\" }, { env = \"ONE\" }]", &projects);
    let keyring = Arc::new(place.keyring(&config).unwrap());
    assert_eq!(reseal(&place.db, &keyring).await.unwrap(), 1);
    assert_eq!(reseal(&place.db, &keyring).await.unwrap(), 0);
    assert_eq!(place.keys("acme/a").await.1[0].sealed, damaged);
    let sealed = place.keys("acme/b").await.1.remove(0);
    assert!(sealed.sealed != b.sealed && keyring.is_newest(&sealed.sealed));
    assert_eq!(open(&keyring, &sealed, &"acme/b".parse().unwrap()).unwrap().public_line(), b.public_line);
}

#[tokio::test]
async fn a_rotation_drops_what_is_lost_only_where_it_is_told_to() {
    let place = Place::new();
    let projects = [project("acme/shop", SSH)];
    let (one, two) = ("{ env = \"ONE\" }", "{ env = \"TWO\" }");
    let config = place.config(one, &projects);
    place.import(&config).await;
    let (id, first) = place.keys("acme/shop").await;
    let rotate = async |keys: &str, drop_lost: bool| {
        let keyring = place.keyring(&place.config(keys, &projects)).unwrap();
        let name: ProjectName = "acme/shop".parse().unwrap();
        let rotated: Result<_, DbError> = place
            .db
            .transact(move |tx| {
                Ok(rotate(tx, &keyring, id, &name, drop_lost).map_err(|error| error.to_string()))
            })
            .await;
        let rotated = rotated.unwrap();
        let kept = place.keys("acme/shop").await.1;
        (rotated, kept.iter().map(|key| key.fingerprint == first[0].fingerprint).collect::<Vec<_>>())
    };
    let (lost, kept) = rotate(two, false).await;
    assert!(lost.unwrap_err().contains("rotate-key --lost acme/shop"));
    assert_eq!(kept, [true], "nothing is changed");
    assert_eq!(rotate(one, false).await, (Ok(Rotated::Overlapping), vec![false, true]));
    assert_eq!(rotate(one, true).await, (Ok(Rotated::UnderWay), vec![false, true]));
    assert_eq!(rotate(two, true).await, (Ok(Rotated::Replaced), vec![false]));
    // The newer one is lost, the one before is not.
    assert_eq!(rotate(two, false).await, (Ok(Rotated::Overlapping), vec![false, false]));
    let keys = place.keys("acme/shop").await.1;
    let before = keys[1].fingerprint.clone();
    let id_of_newer = keys[0].id;
    place.db.transact(move |tx| deploy_key::remove(tx, id_of_newer)).await.unwrap();
    assert_eq!(rotate(two, true).await.0, Ok(Rotated::Overlapping));
    assert_eq!(place.keys("acme/shop").await.1[1].fingerprint, before);
}
