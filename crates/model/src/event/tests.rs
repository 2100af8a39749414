use expect_test::expect;

use super::*;

#[test]
fn an_ignored_event_says_why_and_nothing_else() {
    let event = Event::ignored("a star");
    assert_eq!(event.kind, EventKind::Ignored);
    assert_eq!(event.reason.as_deref(), Some("a star"));
    expect![[r#"{"kind":"ignored","reason":"a star"}"#]].assert_eq(&serde_json::to_string(&event).unwrap());
    assert_eq!(serde_json::from_str::<Event>(r#"{"kind":"ignored","reason":"a star"}"#).unwrap(), event);
}

#[test]
fn events_are_printed_as_the_contract_has_them() {
    let event = Event {
        kind: EventKind::Tag,
        repository: Some(EventRepository {
            full_name: "octocat/hello".to_owned(),
            id: Some("1296269".to_owned()),
        }),
        git_ref: Some(GitRef::from_tag("v1").unwrap()),
        before: None,
        after: Some("11".repeat(20).parse().unwrap()),
        reason: None,
    };
    let json = serde_json::to_string(&event).unwrap();
    expect![[r#"{"kind":"tag","repository":{"full_name":"octocat/hello","id":"1296269"},"ref":"refs/tags/v1","after":"1111111111111111111111111111111111111111"}"#]]
        .assert_eq(&json);
    assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    let kinds = [
        EventKind::Push,
        EventKind::Tag,
        EventKind::Delete,
        EventKind::Release,
        EventKind::Ping,
        EventKind::Ignored,
    ];
    let words = serde_json::to_string(&kinds).unwrap();
    assert_eq!(words, r#"["push","tag","delete","release","ping","ignored"]"#);
    let bare = EventRepository { full_name: "a/b".to_owned(), id: None };
    assert_eq!(serde_json::to_string(&bare).unwrap(), r#"{"full_name":"a/b"}"#);
}
