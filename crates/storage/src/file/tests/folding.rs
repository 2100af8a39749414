//! File systems that ignore case, played by a storage that was told it is on one.

use super::*;

fn folding() -> Fixture {
    let mut fixture = fixture();
    assert!(!fixture.storage.capabilities().case_folding, "this machine's temporary folder tells case apart");
    fixture.storage.capabilities.case_folding = true;
    fixture
}

fn same_as(error: ProjectError) -> (String, String) {
    match error {
        ProjectError::SameName { key, existing } => (key.to_string(), existing),
        other => panic!("{other}"),
    }
}

#[test]
fn case_folding_key_that_differs_only_in_case_is_refused_naming_both() {
    let fixture = folding();
    let held = fixture.publish("acme/Shop.zip", 1, "one");
    let error = fixture.refused("acme/shop.zip");
    assert!(error.to_string().contains("`acme/shop.zip` and `acme/Shop.zip` are the same name"), "{error}");
    assert_eq!(same_as(error), ("acme/shop.zip".to_owned(), "acme/Shop.zip".to_owned()));
    assert_eq!(fixture.current("acme/Shop.zip"), Some(held));
    assert_eq!(fixture.current("acme/shop.zip"), None);
    fixture.publish("acme/Shop.zip", 2, "two");
    fixture.publish("acme/shop2.zip", 1, "other");
}

#[test]
fn case_folding_folder_that_differs_only_in_case_names_a_key_in_it() {
    let fixture = folding();
    fixture.publish("Acme/deep/a.zip", 1, "one");
    assert_eq!(same_as(fixture.refused("acme/b.zip")).1, "Acme/deep/a.zip");
    assert_eq!(same_as(fixture.refused("Acme/DEEP/b.zip")).1, "Acme/deep/a.zip");
    assert_eq!(same_as(fixture.refused("acme")).1, "Acme/deep/a.zip");
    fixture.publish("Acme/deep/b.zip", 1, "one");
}

#[test]
fn case_folding_beyond_ascii() {
    let fixture = folding();
    fixture.publish("GRÜSSE/É", 1, "one");
    assert_eq!(same_as(fixture.refused("grüsse/é")).1, "GRÜSSE/É");
}

#[test]
fn case_folding_other_spelling_comes_after_withdrawal() {
    let fixture = folding();
    fixture.publish("A/k", 1, "one");
    fixture.storage.withdraw(&key("A/k")).unwrap();
    let other = fixture.publish("a/K", 1, "two");
    assert_eq!(fixture.current("a/K"), Some(other));
    assert_eq!(fixture.current("A/k"), None);
    assert!(!fixture.storage.withdraw(&key("A/k")).unwrap());
    assert!(fixture.public("a/K").exists());
}

#[test]
fn case_folding_dots_and_spaces_at_the_end_are_refused() {
    let fixture = folding();
    for (name, part) in [("a./k", "a."), ("k.", "k."), ("k ", "k ")] {
        match fixture.refused(name) {
            ProjectError::NameRefused { part: refused, .. } => assert_eq!(refused, part),
            other => panic!("{other}"),
        }
    }
    fixture.publish(".k", 1, "a dot in front is fine");
}
