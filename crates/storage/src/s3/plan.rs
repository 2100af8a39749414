//! Which parts an object is made of: what of it another blob has is copied by the server, the rest is sent.
//!
//! Pure. A part other than the last has at least 5 MiB, so a piece that must be sent may have to take some of its
//! neighbours with it, and equal ranges that are shorter do not pay.

use crate::object::CopiedRange;

const MIB: u64 = 1 << 20;

/// What a server takes, and how much is done at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    part_min: u64,
    part_max: u64,
    parts_max: usize,
    /// The usual size of a part that is sent; in memory while it is.
    send: u64,
    /// The usual size of a part that is copied: several are copied at once.
    copy: u64,
    /// Copying must save as much, or its calls cost more than they save.
    saved_min: u64,
}

/// S3's limits.
pub(super) const LIMITS: Limits = Limits {
    part_min: 5 * MIB,
    part_max: 5 << 30,
    parts_max: 10_000,
    send: 16 * MIB,
    copy: 512 * MIB,
    saved_min: 8 * MIB,
};

/// Equal ranges with so few bytes between them are looked at as one, where those bytes are equal too: the headers of
/// members that follow one another.
const GAP_MAX: u64 = 64 << 10;
/// So many ranges are planned with; the longest.
const RUNS_MAX: usize = 4096;

/// One part: what comes next in the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Sent from the file.
    Send(u64),
    /// Copied from this place of the other blob.
    Copy { from: u64, len: u64 },
}

impl Part {
    pub(super) fn len(&self) -> u64 {
        match self {
            Part::Send(len) | Part::Copy { len, .. } => *len,
        }
    }
}

impl Limits {
    /// All of it sent.
    pub(super) fn send_all(&self, size: u64) -> Vec<Part> {
        self.parts(&[Part::Send(size)]).unwrap_or_default()
    }

    /// All of it copied, in parts that are no larger than what is copied as one where that can be.
    pub(super) fn copy_all(&self, size: u64, whole_max: u64) -> Vec<Part> {
        let limits = Limits { copy: self.copy.min(whole_max), ..*self };
        limits.parts(&[Part::Copy { from: 0, len: size }]).unwrap_or_default()
    }

    /// Copies what `ranges` says, where that sends clearly fewer bytes. The ranges may be in any order; `equal` says
    /// whether bytes between two of them are equal too.
    pub(super) fn copy_some(
        &self,
        size: u64,
        base_size: u64,
        ranges: &[CopiedRange],
        equal: impl FnMut(CopiedRange) -> bool,
    ) -> Option<Vec<Part>> {
        let mut runs = join(size, base_size, ranges, equal);
        runs.retain(|run| run.len >= self.part_min || run.to + run.len == size);
        if runs.len() > RUNS_MAX {
            runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.len));
            runs.truncate(RUNS_MAX);
            runs.sort_unstable_by_key(|run| run.to);
        }
        let whole = self.choose(size, &runs);
        let copied: u64 = whole.iter().filter(|part| matches!(part, Part::Copy { .. })).map(Part::len).sum();
        if copied < self.saved_min || copied < size / 4 {
            return None;
        }
        self.parts(&whole)
    }

    /// The cheapest choice of runs, by the cheapest that ends with each of them.
    fn choose(&self, size: u64, runs: &[CopiedRange]) -> Vec<Part> {
        let mut best: Vec<Option<Step>> = Vec::with_capacity(runs.len());
        for run in runs {
            let end = run.to + run.len;
            let fits = |left: u64| run.len >= left + self.part_min || end == size && run.len > left;
            let first = self.missing(run.to);
            let mut step =
                fits(first).then_some(Step { sent: run.to + first, left: first, before: None, right: 0 });
            for (at, earlier) in best.iter().enumerate() {
                let Some(earlier) = earlier else { continue };
                let gap = run.to - (runs[at].to + runs[at].len);
                let slack = runs[at].len.saturating_sub(earlier.left + self.part_min);
                let missing = self.missing(gap);
                let right = missing.min(slack);
                let left = missing - right;
                let sent = earlier.sent + gap + missing;
                let better = step.as_ref().is_none_or(|step| (sent, left) < (step.sent, step.left));
                if fits(left) && better {
                    step = Some(Step { sent, left, before: Some(at), right });
                }
            }
            best.push(step);
        }
        let total =
            |at: &usize| best[*at].as_ref().map(|step| step.sent + size - (runs[*at].to + runs[*at].len));
        let last = (0..runs.len()).filter(|at| total(at).is_some()).min_by_key(|at| total(at));
        let mut parts = Vec::new();
        let (mut end, mut right, mut next) = (size, 0, last);
        while let Some(at) = next {
            let (run, step) = (&runs[at], best[at].as_ref().expect("chosen among those that fit"));
            let until = run.to + run.len - right;
            parts.push(Part::Send(end - until));
            parts.push(Part::Copy { from: run.from + step.left, len: run.len - step.left - right });
            (end, right, next) = (run.to + step.left, step.right, step.before);
        }
        parts.push(Part::Send(end));
        parts.reverse();
        parts.retain(|part| part.len() > 0);
        parts
    }

    /// How much a piece that is sent must take of its neighbours.
    fn missing(&self, gap: u64) -> u64 {
        if gap == 0 { 0 } else { self.part_min.saturating_sub(gap) }
    }

    /// Cuts pieces into parts; `None` where that makes too many of them.
    fn parts(&self, whole: &[Part]) -> Option<Vec<Part>> {
        let (mut send, mut copy) = (self.send, self.copy);
        loop {
            let mut parts = Vec::new();
            for piece in whole {
                cut(*piece, if matches!(piece, Part::Send(_)) { send } else { copy }, &mut parts);
            }
            if parts.len() <= self.parts_max {
                return Some(parts);
            }
            if send >= self.part_max && copy >= self.part_max {
                return None;
            }
            (send, copy) = ((send * 2).min(self.part_max), (copy * 2).min(self.part_max));
        }
    }
}

/// The cheapest way to everything up to the end of a run, with the run copied.
struct Step {
    /// Bytes sent.
    sent: u64,
    /// Of them, taken from the run's beginning.
    left: u64,
    /// The run copied before, and what was taken from its end.
    before: Option<usize>,
    right: u64,
}

/// Cuts a piece into equal parts of at most `most` bytes.
fn cut(piece: Part, most: u64, parts: &mut Vec<Part>) {
    let count = piece.len().div_ceil(most).max(1);
    let mut done = 0;
    for number in 1..=count {
        // Without overflow: a piece has less than 2^43 bytes and 2^14 parts.
        let until =
            u64::try_from(u128::from(piece.len()) * u128::from(number) / u128::from(count)).unwrap_or(done);
        let len = until - done;
        parts.push(match piece {
            Part::Send(_) => Part::Send(len),
            Part::Copy { from, .. } => Part::Copy { from: from + done, len },
        });
        done = until;
    }
}

/// Sorts the ranges, leaves out what cannot be, and joins those between which everything is equal too.
fn join(
    size: u64,
    base_size: u64,
    ranges: &[CopiedRange],
    mut equal: impl FnMut(CopiedRange) -> bool,
) -> Vec<CopiedRange> {
    let fits = |at: u64, len: u64, size: u64| at.checked_add(len).is_some_and(|end| end <= size);
    let mut sorted: Vec<CopiedRange> = ranges.to_vec();
    sorted.retain(|run| run.len > 0 && fits(run.to, run.len, size) && fits(run.from, run.len, base_size));
    sorted.sort_unstable_by_key(|run| run.to);
    let mut runs: Vec<CopiedRange> = Vec::new();
    for run in sorted {
        let Some(last) = runs.last_mut() else {
            runs.push(run);
            continue;
        };
        let end = CopiedRange { to: last.to + last.len, from: last.from + last.len, len: 0 };
        let Some(gap) = run.to.checked_sub(end.to) else { continue }; // overlaps: said twice
        let follows = run.from.checked_sub(end.from) == Some(gap);
        if follows && gap <= GAP_MAX && (gap == 0 || equal(CopiedRange { len: gap, ..end })) {
            last.len += gap + run.len;
        } else {
            runs.push(run);
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Limits =
        Limits { part_min: 5, part_max: 5000, parts_max: 1000, send: 16, copy: 100, saved_min: 1 };

    fn range(to: u64, from: u64, len: u64) -> CopiedRange {
        CopiedRange { to, from, len }
    }

    fn plan(size: u64, ranges: &[CopiedRange]) -> Option<Vec<Part>> {
        SMALL.copy_some(size, 1_000_000, ranges, |_| false)
    }

    #[test]
    fn plans() {
        use Part::{Copy, Send};
        let copy = |from, len| Copy { from, len };
        for (size, ranges, expected) in [
            (20, vec![], None),
            (20, vec![range(0, 0, 20)], Some(vec![copy(0, 20)])),
            // The last part may be short, whether it is sent or copied.
            (20, vec![range(0, 7, 19)], Some(vec![copy(7, 19), Send(1)])),
            (14, vec![range(10, 50, 4)], Some(vec![Send(10), copy(50, 4)])),
            // What is sent takes what it lacks from the run before, which has nothing else to lose.
            (40, vec![range(0, 0, 20), range(21, 30, 19)], Some(vec![copy(0, 16), Send(5), copy(30, 19)])),
            (30, vec![range(1, 1, 29)], Some(vec![Send(5), copy(5, 25)])),
            // Neither neighbour can spare enough alone.
            (21, vec![range(0, 0, 7), range(8, 8, 7)], Some(vec![copy(0, 5), Send(5), copy(10, 5), Send(6)])),
            // A run too short to be a part is sent.
            (40, vec![range(10, 10, 4), range(20, 0, 20)], Some(vec![Send(10), Send(10), copy(0, 20)])),
            // Too little to gain.
            (100, vec![range(0, 0, 24)], None),
            // Runs that touch need nothing between them.
            (20, vec![range(0, 100, 10), range(10, 0, 10)], Some(vec![copy(100, 10), copy(0, 10)])),
            // Nonsense is left out: outside of either, or said twice.
            (20, vec![range(15, 0, 6), range(0, 999_999, 20)], None),
            (20, vec![range(0, 0, 20), range(5, 5, 3)], Some(vec![copy(0, 20)])),
        ] {
            assert_eq!(plan(size, &ranges), expected, "{size} {ranges:?}");
        }
    }

    #[test]
    fn equal_headers_join_members() {
        let members: Vec<CopiedRange> = (0..10).map(|at| range(at * 10 + 3, at * 10 + 4, 7)).collect();
        let mut asked = Vec::new();
        let joined = SMALL.copy_some(100, 200, &members, |gap| {
            asked.push(gap);
            gap.to != 50
        });
        assert_eq!(asked.len(), 9);
        assert_eq!(asked[0], range(10, 11, 3));
        // 3 before the first, 3 where the headers differ; each piece sent has at least 5.
        let expected = [Part::Send(5), Part::Copy { from: 6, len: 43 }, Part::Send(5)];
        assert_eq!(joined.as_deref().map(|parts| &parts[..3]), Some(&expected[..]));
    }

    #[test]
    fn large_objects_have_larger_parts() {
        let whole = LIMITS.send_all(5 << 40);
        assert!(whole.len() <= 10_000 && whole.iter().all(|part| part.len() <= LIMITS.part_max));
        assert_eq!(LIMITS.send_all(17 * MIB), [Part::Send(17 * MIB / 2); 2]);
        // Parts grow where they would be too many: up to the largest object that S3 has, and beyond it.
        for (size, count, len) in [
            ((5 << 30) + 1, 11, (5 << 30) / 11),
            (6 << 30, 12, 512 * MIB),
            (10_000 * 512 * MIB, 10_000, 512 * MIB),
            (10_000 * 512 * MIB + 1, 5001, 1 << 30),
            (5 << 40, 5120, 1 << 30),
            (10_000 * (5 << 30), 10_000, 5 << 30),
        ] {
            let parts = LIMITS.copy_all(size, 5 << 30);
            assert_eq!(parts.len(), count, "{size}");
            assert_eq!(parts.iter().map(Part::len).sum::<u64>(), size);
            assert!(parts.iter().all(|part| part.len().abs_diff(len) <= len / 1000), "{size}");
        }
        assert_eq!(LIMITS.copy_all(10_000 * (5 << 30) + 1, 5 << 30), []);
        assert_eq!(LIMITS.copy_all(25 * MIB, 10 * MIB).len(), 3);
        assert_eq!(LIMITS.send_all(0), [Part::Send(0)]);
    }

    /// The fewest bytes by trying every choice of runs.
    fn fewest(size: u64, runs: &[CopiedRange]) -> u64 {
        let choices = 0_u32..1 << runs.len();
        let cost = |choice: u32| {
            let (mut sent, mut end, mut spare) = (0, 0, 0);
            let chosen =
                runs.iter().enumerate().filter(|(at, _)| choice & (1 << at) != 0).map(|(_, run)| run);
            for run in chosen {
                let missing = SMALL.missing(run.to - end);
                let left = missing - missing.min(spare);
                let is_last = run.to + run.len == size;
                if !(run.len >= left + 5 || is_last && run.len > left) {
                    return size;
                }
                sent += run.to - end + missing;
                (end, spare) = (run.to + run.len, run.len.saturating_sub(left + 5));
            }
            sent + size - end
        };
        choices.map(cost).min().unwrap_or(size)
    }

    proptest! {
        #[test]
        fn every_byte_once_in_legal_parts_and_few_sent(
            steps in proptest::collection::vec((0_u64..12, 1_u64..40, 0_u64..500), 0..9), tail in 0_u64..20,
        ) {
            let (mut at, mut ranges) = (0, Vec::new());
            for (gap, len, from) in steps {
                ranges.push(range(at + gap, from, len));
                at += gap + len;
            }
            let size = at + tail;
            let runs = join(size, 1000, &ranges, |_| false);
            let Some(parts) = SMALL.copy_some(size, 1000, &ranges, |_| false) else { return Ok(()) };
            let mut done = 0;
            for (number, part) in parts.iter().enumerate() {
                let is_last = number + 1 == parts.len();
                prop_assert!(part.len() >= 5 || is_last, "{parts:?}");
                prop_assert!(part.len() > 0 && part.len() <= 100);
                if let Part::Copy { from, len } = part {
                    let inside = |run: &CopiedRange| {
                        done >= run.to && done + len <= run.to + run.len && from - run.from == done - run.to
                    };
                    prop_assert!(runs.iter().any(inside), "{parts:?} {runs:?}");
                }
                done += part.len();
            }
            prop_assert_eq!(done, size);
            let sent: u64 = parts.iter().filter(|part| matches!(part, Part::Send(_))).map(Part::len).sum();
            let mut usable = runs.clone();
            usable.retain(|run| run.len >= 5 || run.to + run.len == size);
            let least = fewest(size, &usable);
            // The plan looks one run back; what it may miss by that is less than one part.
            prop_assert!(sent <= least + 5, "{sent} {least} {parts:?} {usable:?}");
        }
    }
}
