use super::*;

#[test]
fn sums_stay_within_time() {
    let ms = Duration::from_millis;
    assert_eq!(Timestamp(10).plus(ms(5)), Timestamp(15));
    assert_eq!(Timestamp(10).minus(ms(15)), Timestamp(-5));
    assert_eq!(Timestamp(i64::MAX - 1).plus(ms(1)), Timestamp(i64::MAX));
    assert_eq!(Timestamp(i64::MAX - 1).plus(ms(2)), Timestamp(i64::MAX));
    assert_eq!(Timestamp(i64::MIN + 1).minus(ms(2)), Timestamp(i64::MIN));
    assert_eq!(Timestamp(0).plus(Duration::MAX), Timestamp(i64::MAX));
    assert_eq!(Timestamp(0).minus(Duration::MAX), Timestamp(-i64::MAX));
    assert_eq!(Timestamp(-1).minus(Duration::MAX), Timestamp(i64::MIN));
    assert_eq!(Timestamp(0).plus(Duration::from_micros(1999)), Timestamp(1));
}

#[test]
fn spans_are_never_negative() {
    assert_eq!(Timestamp(15).since(Timestamp(10)), Duration::from_millis(5));
    assert_eq!(Timestamp(10).since(Timestamp(10)), Duration::ZERO);
    assert_eq!(Timestamp(10).since(Timestamp(15)), Duration::ZERO);
    let all = Timestamp(i64::MAX).since(Timestamp(i64::MIN));
    assert_eq!(all, Duration::from_millis(i64::MAX.unsigned_abs()));
}

#[test]
fn a_manual_clock_goes_as_it_is_turned() {
    let clock = ManualClock::at(Timestamp(100));
    assert_eq!(clock.now(), Timestamp(100));
    assert_eq!(clock.now(), Timestamp(100));
    clock.advance(Duration::from_secs(2));
    assert_eq!(clock.now(), Timestamp(2100));
    clock.set(Timestamp(-5));
    assert_eq!(clock.now(), Timestamp(-5));
    assert_eq!(ManualClock::default().now(), Timestamp(0));
}

#[test]
fn timestamps_are_numbers_in_json_and_tell_their_unit_in_logs() {
    assert_eq!(serde_json::to_string(&Timestamp(7)).unwrap(), "7");
    assert_eq!(serde_json::from_str::<Timestamp>("-7").unwrap(), Timestamp(-7));
    assert_eq!(format!("{:?}", Timestamp(7)), "7 ms");
    assert!(Timestamp(1) < Timestamp(2));
}
