//! Webhooks that are really posted, and their headers.

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::Family;
use gristmill_testkit::repo::Changes;

use crate::api::NAME;

#[test]
fn hooks_are_posted_where_that_is_asked_for() {
    let receiver = FakeForge::start(Family::Generic);
    for family in Family::ALL {
        let forge = FakeForge::start(family);
        let repo = forge.create_bare(NAME);
        forge.add_hook(NAME, &format!("http://{}/hooks/{}", receiver.address(), family.name()), Some("hush"));
        forge.send_by_itself(true);
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
        let made = forge.push(NAME, "refs/heads/main", Some(&commit));
        let target = format!("/hooks/{}", family.name());
        let came: Vec<_> = receiver.requests().into_iter().filter(|seen| seen.target == target).collect();
        assert_eq!(came.len(), made.len(), "{family:?}");
        for (seen, delivery) in came.iter().zip(&made) {
            assert_eq!(seen.body, delivery.body, "{family:?}");
            for (name, value) in delivery.headers() {
                assert!(
                    seen.headers.contains(&(name.to_lowercase(), value.clone())),
                    "{family:?} {name}: {value}"
                );
            }
        }
    }
}

#[test]
fn a_signing_token_signs_id_time_and_body() {
    let forge = FakeForge::start(Family::Gitlab);
    let repo = forge.create_bare(NAME);
    forge.add_hook(NAME, "http://127.0.0.1:1/", Some("whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl"));
    let commit = repo.commit_unreferenced(&[], &Changes::new());
    let made = forge.push(NAME, "refs/heads/main", Some(&commit)).remove(0);
    let headers = made.headers();
    let names: Vec<&str> =
        headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with("webhook")).collect();
    assert_eq!(names, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    assert!(made.signature.starts_with("v1,") && made.signature.len() == 3 + 44, "{}", made.signature);
    assert_ne!(made.signed_with("whsec_b3RoZXIgc2l4dGVlbiBieXRlcw==").signature, made.signature);
}
