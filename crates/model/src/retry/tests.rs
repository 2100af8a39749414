use super::*;

const FULL_MS: [(i64, u64); 14] = [
    (i64::MIN, 1000),
    (0, 1000),
    (1, 1000),
    (2, 2000),
    (3, 4000),
    (4, 8000),
    (8, 128_000),
    (9, 256_000),
    (10, 300_000),
    (11, 300_000),
    (19, 300_000),
    (20, 300_000),
    (21, 300_000),
    (i64::MAX, 300_000),
];

#[test]
fn waits_lie_between_half_and_whole() {
    for (attempt, full_ms) in FULL_MS {
        let half_ms = full_ms / 2;
        assert_eq!(backoff(attempt, 0), Duration::from_millis(half_ms), "{attempt}");
        assert_eq!(backoff(attempt, 1), Duration::from_millis(half_ms + 1), "{attempt}");
        assert_eq!(backoff(attempt, half_ms), Duration::from_millis(full_ms), "{attempt}");
        assert_eq!(backoff(attempt, half_ms + 1), Duration::from_millis(half_ms), "{attempt}");
        let most = backoff(attempt, u64::MAX);
        assert!(
            most >= Duration::from_millis(half_ms) && most <= Duration::from_millis(full_ms),
            "{attempt}"
        );
    }
}

#[test]
fn waits_are_spread_over_their_whole_range() {
    // Sixteen jobs hit by one outage, with evenly spread randomness, return in sixteen different
    // sixteenths of the range.
    let slots: Vec<u128> = (0..16_u64)
        .map(|job| (backoff(10, job * 150_001 / 16 + 1).as_millis() - 150_000) * 16 / 150_001)
        .collect();
    assert_eq!(slots, (0..16).collect::<Vec<_>>());
}

#[test]
fn an_outage_of_an_hour_is_waited_out() {
    let least: Duration = (1..ATTEMPTS_MAX).map(|attempt| backoff(attempt, 0)).sum();
    assert!(least > Duration::from_secs(3600), "{least:?}");
    let most: Duration = (1..ATTEMPTS_MAX).map(|attempt| backoff(attempt, 150_000)).sum();
    assert!(most < Duration::from_secs(4 * 3600), "{most:?}");
}
