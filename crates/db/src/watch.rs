//! [`Watch`]: how long something stands as it is, on a clock that nobody can set.
//!
//! Whether a worker or the holder of a key is gone is never asked of the time of day, which jumps: each process sees
//! with its own eyes, on its monotonic clock, that a row did not change for as long as its owner may be silent.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// After a longer pause between two looks this process was itself asleep: what it saw before it counts no more.
const BLINK: Duration = Duration::from_secs(10);

/// What was seen, and since when.
#[derive(Debug)]
pub struct Watch<K, V> {
    seen: HashMap<K, (V, Duration)>,
    looked: Option<Duration>,
}

impl<K, V> Default for Watch<K, V> {
    fn default() -> Watch<K, V> {
        Watch { seen: HashMap::new(), looked: None }
    }
}

impl<K: Clone + Eq + Hash, V: Clone + PartialEq> Watch<K, V> {
    /// Looks at all there are, `at` on the monotonic clock; those that have stood for `long`.
    pub fn look(
        &mut self,
        all: impl IntoIterator<Item = (K, V)>,
        at: Duration,
        long: Duration,
    ) -> Vec<(K, V)> {
        if self.looked.is_some_and(|looked| at.saturating_sub(looked) > BLINK) {
            self.seen.clear();
        }
        self.looked = Some(at);
        let mut before = std::mem::take(&mut self.seen);
        let mut standing = Vec::new();
        for (key, value) in all {
            let since = before.remove(&key).filter(|(was, _)| *was == value).map_or(at, |(_, since)| since);
            if at.saturating_sub(since) >= long {
                standing.push((key.clone(), value.clone()));
            }
            self.seen.insert(key, (value, since));
        }
        standing
    }

    /// How long this one has stood as it is; it is watched from now on where it was not yet.
    pub fn stood(&mut self, key: &K, value: &V, at: Duration) -> Duration {
        match self.seen.get(key) {
            Some((was, since)) if was == value => at.saturating_sub(*since),
            _ => {
                self.seen.insert(key.clone(), (value.clone(), at));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_stands_for_long_enough_is_told() {
        let mut watch = Watch::default();
        for second in (0..20).step_by(5) {
            assert_eq!(watch.look([("a", 1), ("b", second)], at(second), LONG), []);
        }
        assert_eq!(watch.look([("a", 1), ("b", 20)], at(20), LONG), [("a", 1)]);
        // It changed, or was away in between: from the beginning.
        assert_eq!(watch.look([("a", 2)], at(25), LONG), []);
        assert_eq!(watch.look([("b", 20), ("a", 2)], at(30), LONG), []);
        assert_eq!(watch.look([("b", 20), ("a", 2)], at(40), LONG), []);
        assert_eq!(watch.look([("b", 20), ("a", 2)], at(45), LONG), [("a", 2)]);
    }

    #[test]
    fn who_slept_has_seen_nothing() {
        let mut watch = Watch::default();
        assert_eq!(watch.look([("a", 1)], at(0), LONG), []);
        assert_eq!(watch.look([("a", 1)], at(10), LONG), []);
        assert_eq!(watch.look([("a", 1)], at(21), LONG), [], "eleven seconds with closed eyes");
        assert_eq!(watch.look([("a", 1)], at(31), LONG), []);
        assert_eq!(watch.look([("a", 1)], at(41), LONG), [("a", 1)]);
    }

    #[test]
    fn one_is_asked_for_at_any_time() {
        let mut watch = Watch::default();
        assert_eq!(watch.stood(&"k", &1, at(5)), at(0));
        assert_eq!(watch.stood(&"k", &1, at(8)), at(3));
        assert_eq!(watch.stood(&"k", &2, at(9)), at(0));
        watch.look([("k", 2)], at(10), LONG);
        assert_eq!(watch.stood(&"k", &2, at(12)), at(3));
    }
}
