//! The tree, and the tree behind the kernel, against an obvious model.

mod model;
mod worlds;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::model::Model;
use self::worlds::{MountWorld, TreeWorld};
use crate::{LossFs, Rules};

type PathParts = Vec<&'static str>;

#[derive(Clone, Debug)]
enum Op {
    Create(PathParts),
    Write(PathParts, u16, u8),
    Truncate(PathParts, u16),
    Mkdir(PathParts),
    Link(PathParts, PathParts),
    Rename(PathParts, PathParts),
    Exchange(PathParts, PathParts),
    Unlink(PathParts),
    Rmdir(PathParts),
    SyncFile(PathParts),
    SyncDirectory(PathParts),
    Crash,
}

fn path() -> impl Strategy<Value = PathParts> {
    let part = || prop_oneof![Just("a"), Just("b"), Just("c")];
    prop::collection::vec(part(), 1..=3)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => path().prop_map(Op::Create),
        4 => (path(), 0..9000_u16, 1..=255_u8).prop_map(|(p, at, fill)| Op::Write(p, at, fill)),
        1 => (path(), 0..9000_u16).prop_map(|(p, size)| Op::Truncate(p, size)),
        5 => path().prop_map(Op::Mkdir),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        6 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        1 => (path(), path()).prop_map(|(a, b)| Op::Exchange(a, b)),
        3 => path().prop_map(Op::Unlink),
        2 => path().prop_map(Op::Rmdir),
        3 => path().prop_map(Op::SyncFile),
        // The root has no name to draw, and is where most that lasts begins.
        5 => prop_oneof![path(), Just(vec![])].prop_map(Op::SyncDirectory),
        1 => Just(Op::Crash),
    ]
}

/// Bytes of a write: few, with the fill as the only thing to compare.
const WRITE_BYTES: usize = 100;

/// A path's content: `None` for a directory; a file's bytes and the first path of the same file.
type Snapshot = BTreeMap<String, Option<(Vec<u8>, String)>>;

trait World {
    /// Whether the operation was accepted.
    fn apply(&mut self, op: &Op) -> bool;
    fn snapshot(&self) -> Snapshot;
}

/// Replaces numbers that mean the same file in one world only by that file's first path.
fn with_first_paths<Id: Ord>(found: BTreeMap<String, Option<(Vec<u8>, Id)>>) -> Snapshot {
    let mut first: BTreeMap<Id, String> = BTreeMap::new();
    let mut result = BTreeMap::new();
    for (path, file) in found {
        let file = file.map(|(bytes, id)| (bytes, first.entry(id).or_insert_with(|| path.clone()).clone()));
        result.insert(path, file);
    }
    result
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn compare(ops: &[Op], model: &mut Model, world: &mut impl World) {
    for op in ops {
        if matches!(op, Op::Crash) {
            assert_eq!(world.snapshot(), model.snapshot(), "before the crash");
        }
        assert_eq!(world.apply(op), model.apply(op), "{op:?}");
        if matches!(op, Op::Crash) {
            assert_eq!(world.snapshot(), model.snapshot(), "after the crash");
        }
    }
    assert_eq!(world.snapshot(), model.snapshot(), "at the end");
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn the_tree_keeps_what_the_model_keeps(
        ops in prop::collection::vec(op(), 1..60),
        file_sync_keeps_names: bool,
    ) {
        let rules = Rules { file_sync_keeps_names, ..Rules::default() };
        let (mut model, mut tree) = (Model::new(rules), TreeWorld::new(rules));
        for op in &ops {
            compare(std::slice::from_ref(op), &mut model, &mut tree);
            tree.check_counts();
        }
        compare(&[Op::Crash], &mut model, &mut tree);
        tree.check_counts();
    }

    #[test]
    fn a_journal_keeps_some_prefix(ops in prop::collection::vec(op(), 1..40), seed: u64) {
        let rules = Rules { journal: true, ..Rules::default() };
        let (mut model, mut tree) = (Model::new(rules), TreeWorld::new(rules));
        for op in ops.iter().filter(|op| !matches!(op, Op::Crash)) {
            prop_assert_eq!(tree.apply(op), model.apply(op));
        }
        let operations = model.log.iter().filter(|operation| !operation.is_empty()).count();
        let names: usize = model.log.iter().map(Vec::len).sum();
        let possible: Vec<Snapshot> = (0..=operations)
            .map(|kept| {
                let mut model = model.clone();
                model.crash(kept);
                model.snapshot()
            })
            .collect();
        let report = tree.0.crash(seed);
        tree.check_counts();
        prop_assert!(possible.contains(&tree.snapshot()));
        // Directories removed and forgotten take their pending names with them.
        prop_assert!(report.names_kept + report.names_dropped <= names as u64);
    }

    #[test]
    fn atomic_renames_neither_lose_nor_double(
        moves in prop::collection::vec((0..4_usize, 0..4_usize, 0..3_usize), 1..40),
        synced in prop::collection::vec((0..40_usize, 0..4_usize), 0..12),
    ) {
        const FOLDERS: [&str; 4] = ["a", "b", "c", "d"];
        const NAMES: [&str; 3] = ["x", "y", "z"];
        let mut tree = TreeWorld::new(Rules { atomic_renames: true, ..Rules::default() });
        for folder in FOLDERS {
            assert!(tree.apply(&Op::Mkdir(vec![folder])));
        }
        assert!(tree.apply(&Op::SyncDirectory(vec![])));
        for (folder, name) in FOLDERS.into_iter().zip(NAMES) {
            assert!(tree.apply(&Op::Create(vec![folder, name])));
            assert!(tree.apply(&Op::SyncDirectory(vec![folder])));
        }
        for (step, (from, to, name)) in moves.into_iter().enumerate() {
            // A rename of what is not there, which is refused, is as good as any other.
            tree.apply(&Op::Rename(vec![FOLDERS[from], NAMES[name]], vec![FOLDERS[to], NAMES[name]]));
            for (_, folder) in synced.iter().filter(|(at, _)| *at == step) {
                tree.apply(&Op::SyncDirectory(vec![FOLDERS[*folder]]));
            }
            tree.check_counts();
        }
        tree.0.crash(0);
        let mut left: Vec<String> = tree.snapshot().into_iter().filter(|(_, file)| file.is_some())
            .map(|(path, _)| path[3..].to_owned()).collect();
        left.sort();
        prop_assert_eq!(left, NAMES);
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn the_mount_keeps_what_the_model_keeps(ops in prop::collection::vec(op(), 1..60)) {
        if let Err(reason) = LossFs::available() {
            println!("skipped: {reason}");
            return Ok(());
        }
        let folder = tempfile::tempdir().unwrap();
        let mut mount = MountWorld(LossFs::mount(folder.path(), Rules::default()).unwrap());
        let mut model = Model::new(Rules::default());
        compare(&ops, &mut model, &mut mount);
        compare(&[Op::Crash], &mut model, &mut mount);
    }
}
