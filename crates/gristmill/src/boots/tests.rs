use super::*;

fn number(n: u128) -> BootId {
    BootId::new(Timestamp(1), n)
}

fn boot(n: u128, kind: Kind, config: &str, draining: bool) -> Boot {
    Boot {
        id: number(n),
        folder: FolderId::new(Timestamp(1), n),
        kind,
        place: String::new(),
        version: String::new(),
        works: true,
        config: Some(Digest::of(config.as_bytes())),
        draining,
        started: Timestamp(1),
        seen: Timestamp(1),
    }
}

#[test]
fn who_differs_from_the_last_import_and_who_serves_all() {
    let digest = |text: &str| Digest::of(text.as_bytes());
    let (old, new) = (digest("old"), digest("new"));
    let imported = Some(Imported { config: new, by: number(2) });
    let serve = |n, config, draining| boot(n, Kind::Serve, config, draining);
    let worker = boot(3, Kind::Worker, "new", false);
    let standing = |in_force, up: &[&Boot]| Standing { in_force, up: up.iter().copied().cloned().collect() };
    let both = standing(imported, &[&serve(1, "old", false), &serve(2, "new", false)]);
    assert_eq!((both.has(old), both.has(new)), (false, true));
    assert_eq!(both.differing().map(|boot| boot.id).collect::<Vec<_>>(), [number(1)]);
    assert_eq!(both.importer().map(|boot| boot.id), Some(number(2)));
    assert_eq!((both.may_serve_all(old), both.may_serve_all(new)), (false, true));
    // Nothing is left undone where nobody else can do it.
    for up in [
        vec![serve(1, "old", false)],
        vec![serve(1, "old", false), worker],
        vec![serve(1, "old", false), serve(2, "new", true)],
    ] {
        let alone = standing(imported, &up.iter().collect::<Vec<_>>());
        assert!(alone.may_serve_all(old) && alone.may_serve_all(new), "{up:?}");
    }
    let before = standing(None, &[&serve(1, "old", false)]);
    assert!(before.has(old) && before.may_serve_all(old) && before.differing().next().is_none());
}
