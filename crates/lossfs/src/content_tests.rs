use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

#[derive(Clone, Debug)]
enum Op {
    Write { offset: u64, length: usize, fill: u8 },
    Truncate(u64),
    Sync,
    Crash,
}

fn sizes() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20_000_u64,
        (0..5_u64).prop_map(|pages| pages * PAGE),
        (1..5_u64, 0..2_u64).prop_map(|(p, odd)| p * PAGE - 1 + 2 * odd)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (sizes(), 0..9000_usize, 1..=255_u8)
            .prop_map(|(offset, length, fill)| Op::Write { offset, length, fill }),
        3 => sizes().prop_map(Op::Truncate),
        2 => Just(Op::Sync),
        1 => Just(Op::Crash),
    ]
}

/// The obvious file: two byte vectors.
#[derive(Clone, Default)]
struct Model {
    live: Vec<u8>,
    durable: Vec<u8>,
}

impl Model {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Write { length: 0, .. } => {}
            Op::Write { offset, length, fill } => {
                let start = usize::try_from(offset).unwrap();
                self.live.resize(self.live.len().max(start + length), 0);
                self.live[start..start + length].fill(fill);
            }
            Op::Truncate(size) => self.live.resize(usize::try_from(size).unwrap(), 0),
            Op::Sync => self.durable = self.live.clone(),
            Op::Crash => self.live = self.durable.clone(),
        }
    }
}

fn apply(file: &mut FileData, op: &Op) {
    match *op {
        Op::Write { offset, length, fill } => file.write(offset, &vec![fill; length]),
        Op::Truncate(size) => file.truncate(size),
        Op::Sync => file.sync(),
        Op::Crash => {
            file.crash(None);
        }
    }
}

fn all(file: &FileData) -> Vec<u8> {
    file.read(0, usize::MAX)
}

/// Page `index` of `bytes`, with zeros for what is missing, cut to a file of `size`.
fn page_of(bytes: &[u8], index: usize, size: usize) -> Vec<u8> {
    let mut page: Vec<u8> = bytes.iter().copied().skip(index * PAGE_BYTES).take(PAGE_BYTES).collect();
    page.resize(PAGE_BYTES, 0);
    page.truncate(size.saturating_sub(index * PAGE_BYTES).min(PAGE_BYTES));
    page
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn behaves_like_two_vectors(ops in prop::collection::vec(op(), 1..30), at in sizes(), length in 0..9000_usize) {
        let (mut file, mut model) = (FileData::default(), Model::default());
        for op in &ops {
            apply(&mut file, op);
            model.apply(op);
            prop_assert_eq!(file.size(), model.live.len() as u64);
            prop_assert!(all(&file) == model.live, "live content differs after {:?}", op);
        }
        let expected: Vec<u8> =
            model.live.iter().copied().skip(usize::try_from(at).unwrap()).take(length).collect();
        prop_assert_eq!(file.read(at, length), expected);
        file.crash(None);
        prop_assert!(all(&file) == model.durable, "durable content differs");
    }

    #[test]
    fn a_torn_page_is_old_or_new(ops in prop::collection::vec(op(), 1..30), seed: u64) {
        let (mut file, mut model) = (FileData::default(), Model::default());
        for op in &ops {
            apply(&mut file, op);
            model.apply(op);
        }
        let mut plain = file.clone();
        let dirty = plain.crash(None).pages_dropped;
        let loss = file.crash(Some(&mut Rng::new(seed)));
        prop_assert_eq!(loss.pages_dropped + loss.pages_kept, dirty);
        let torn = all(&file);
        let (old, new, size) = (model.durable.len(), model.live.len(), torn.len());
        prop_assert!(
            size == old || size == new || (old < size && size < new && size.is_multiple_of(PAGE_BYTES)),
            "size {size} from {old} and {new}"
        );
        for (index, page) in torn.chunks(PAGE_BYTES).enumerate() {
            let possible = [page_of(&model.durable, index, size), page_of(&model.live, index, size)];
            prop_assert!(possible.iter().any(|p| p == page), "page {index} is neither old nor new");
        }
        // The torn state is as durable as any.
        file.crash(None);
        prop_assert!(all(&file) == torn);
    }
}

/// What a crash with each of 200 seeds leaves: the size and the first byte of each page.
fn outcomes(file: &FileData) -> BTreeSet<(u64, Vec<u8>)> {
    let outcome = |seed| {
        let mut file = file.clone();
        file.crash(Some(&mut Rng::new(seed)));
        (file.size(), all(&file).chunks(PAGE_BYTES).map(|page| page[0]).collect())
    };
    (0..200).map(outcome).collect()
}

#[test]
fn overwritten_pages_tear_in_every_combination() {
    let mut file = FileData::default();
    file.write(0, &[1; 2 * PAGE_BYTES]);
    file.sync();
    file.write(0, &[2; 2 * PAGE_BYTES]);
    let size = 2 * PAGE;
    let expected = [[1, 1], [1, 2], [2, 1], [2, 2]].map(|pages| (size, pages.to_vec()));
    assert_eq!(outcomes(&file), BTreeSet::from(expected));
}

#[test]
fn an_appended_tail_may_come_with_its_size_or_zeros_or_in_part() {
    let mut file = FileData::default();
    file.write(0, &[1; 100]);
    file.sync();
    file.write(100, &[1; PAGE_BYTES + 400]);
    let outcomes = outcomes(&file);
    let sizes: BTreeSet<u64> = outcomes.iter().map(|(size, _)| *size).collect();
    assert_eq!(sizes, BTreeSet::from([100, PAGE, PAGE + 500]));
    assert!(outcomes.contains(&(PAGE + 500, vec![1, 0])), "the size without the data: {outcomes:?}");
    assert!(outcomes.contains(&(PAGE + 500, vec![1, 1])));
}

#[test]
fn a_truncation_survives_or_not() {
    let mut file = FileData::default();
    file.write(0, &[1; 3 * PAGE_BYTES]);
    file.sync();
    file.truncate(PAGE);
    let sizes: BTreeSet<u64> = outcomes(&file).iter().map(|(size, _)| *size).collect();
    assert_eq!(sizes, BTreeSet::from([PAGE, 3 * PAGE]));
    assert!(outcomes(&file).contains(&(3 * PAGE, vec![1, 1, 1])));
}

#[test]
fn a_synced_file_does_not_tear() {
    let mut file = FileData::default();
    file.write(0, &[1; 5000]);
    file.sync();
    assert_eq!(outcomes(&file), BTreeSet::from([(5000, vec![1, 1])]));
    let loss = file.crash(Some(&mut Rng::new(1)));
    assert_eq!(loss, DataLoss::default());
}

#[test]
fn counts_the_pages_dropped() {
    let mut file = FileData::default();
    file.write(PAGE - 1, &[1, 1]);
    file.write(3 * PAGE, &[1]);
    assert_eq!(file.allocated_bytes(), 3 * PAGE);
    assert_eq!(file.crash(None), DataLoss { pages_dropped: 3, pages_kept: 0 });
    assert_eq!((file.size(), file.allocated_bytes()), (0, 0));
}

#[test]
fn a_hole_costs_nothing() {
    let mut file = FileData::default();
    file.truncate(1 << 39);
    file.write(1 << 38, b"x");
    assert_eq!(file.read((1 << 38) - 1, 3), [0, b'x', 0]);
    assert_eq!(file.read((1 << 39) - 1, 3), [0]);
    assert_eq!(file.allocated_bytes(), PAGE);
}
