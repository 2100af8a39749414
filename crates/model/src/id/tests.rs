use super::*;

#[test]
fn ids_sort_by_the_moment_they_were_made() {
    let at = |ms: i64, random: u128| RunId::new(Timestamp(ms), random);
    assert!(at(1, u128::MAX) < at(2, 0));
    assert!(at(1, 1) < at(1, 2));
    assert!(at(1, u128::MAX).to_string() < at(2, 0).to_string());
    assert_ne!(at(1, 1), at(1, 2));
    assert_eq!(at(1, 1), at(1, 1));
}

#[test]
fn the_moment_comes_back() {
    for ms in [0, 1, 1_700_000_000_123, (1 << 48) - 1] {
        assert_eq!(JobId::new(Timestamp(ms), 5).created(), Timestamp(ms));
    }
    // Clocks may stand before 1970; the id then begins at the beginning.
    assert_eq!(JobId::new(Timestamp(-1), 5), JobId::new(Timestamp(0), 5));
}

#[test]
fn ids_are_26_characters() {
    let id = DeliveryId::new(Timestamp(1_469_918_176_385), 0);
    assert_eq!(id.to_string(), "01ARYZ6S410000000000000000");
    assert_eq!(format!("{id:?}"), "DeliveryId:01ARYZ6S410000000000000000");
    assert_eq!("01ARYZ6S410000000000000000".parse(), Ok(id));
    assert_eq!("01aryz6s410000000000000000".parse(), Ok(id));
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, "\"01ARYZ6S410000000000000000\"");
    assert_eq!(serde_json::from_str::<DeliveryId>(&json).unwrap(), id);
}

#[test]
fn what_is_no_id_is_refused() {
    for text in [
        "",
        "01ARYZ6S41000000000000000",
        "01ARYZ6S4100000000000000000",
        "01ARYZ6S41000000000000000U",
        "zzz\n",
    ] {
        let error = text.parse::<ProjectId>().unwrap_err().to_string();
        let shown = text.replace('\n', "\u{fffd}");
        assert_eq!(
            error,
            format!("`{shown}` is not an id; expected the 26 letters and digits that listings show")
        );
    }
}

#[test]
fn each_noun_has_its_own_type() {
    let now = Timestamp(7);
    let names = [
        format!("{:?}", ProjectId::new(now, 0)),
        format!("{:?}", RunId::new(now, 0)),
        format!("{:?}", JobId::new(now, 0)),
        format!("{:?}", ArtifactId::new(now, 0)),
        format!("{:?}", PublicationId::new(now, 0)),
        format!("{:?}", BootId::new(now, 0)),
        format!("{:?}", TokenId::new(now, 0)),
    ];
    let nouns = ["ProjectId", "RunId", "JobId", "ArtifactId", "PublicationId", "BootId", "TokenId"];
    for (name, noun) in names.iter().zip(nouns) {
        assert_eq!(*name, format!("{noun}:00000000070000000000000000"));
    }
}
