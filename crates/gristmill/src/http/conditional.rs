//! Conditional and range requests (RFC 9110, sections 13 and 14) for representations that have a
//! strong entity tag and no modification date.

use axum::http::{HeaderMap, HeaderName, Method, header};

/// What to answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// 200: all of it.
    Whole,
    /// 206: this part; both ends are within the representation, `last` included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: it is not the one that the client wants.
    PreconditionFailed,
    /// 416: the range begins behind the end.
    RangeNotSatisfiable,
}

/// Decides in the order of RFC 9110, section 13.2.2. `etag` is quoted and strong.
pub(super) fn answer(method: &Method, headers: &HeaderMap, etag: &str, size: u64) -> Answer {
    if headers.contains_key(header::IF_MATCH) && !lists(headers, &header::IF_MATCH, etag, false) {
        return Answer::PreconditionFailed;
    }
    if lists(headers, &header::IF_NONE_MATCH, etag, true) {
        return Answer::NotModified;
    }
    // Ranges are defined for GET alone.
    if method != Method::GET || !if_range_holds(headers, etag) {
        return Answer::Whole;
    }
    let mut ranges = headers.get_all(header::RANGE).iter();
    match (ranges.next().and_then(|value| value.to_str().ok()), ranges.next()) {
        (Some(range), None) => part(range, size),
        _ => Answer::Whole,
    }
}

/// A date is no strong validator here, so that only an equal tag makes the range count.
fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

/// Whether a list of entity tags has this one, or is `*`. With `weak`, tags compare without their `W/`.
fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, weak: bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        // Our tags have no commas in them, so that splitting others' at theirs finds no false match.
        value.split(',').map(str::trim).any(|tag| {
            tag == "*" || tag == etag || (weak && tag.strip_prefix("W/").is_some_and(|tag| tag == etag))
        })
    })
}

/// One range of bytes. Several at once, other units and what is not well-formed are answered with the
/// whole, as section 14.2 allows.
fn part(range: &str, size: u64) -> Answer {
    let Some((first, last)) = parse_range(range) else { return Answer::Whole };
    let (first, last) = match (first, last) {
        (Some(first), last) => (first, last.unwrap_or(u64::MAX)),
        // The last so many bytes.
        (None, Some(0)) => return Answer::RangeNotSatisfiable,
        (None, Some(length)) => (size.saturating_sub(length), u64::MAX),
        (None, None) => return Answer::Whole,
    };
    if first > last {
        return Answer::Whole;
    }
    if first >= size {
        return Answer::RangeNotSatisfiable;
    }
    Answer::Part { first, last: last.min(size - 1) }
}

/// `bytes=first-last`, where one of both may be missing; a number beyond all files counts as the largest.
fn parse_range(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    Some((number(first)?, number(last)?))
}

/// `Some(None)` where there is nothing, `None` where there is no number.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|c| c.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(method: Method, size: u64, pairs: &[(HeaderName, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        answer(&method, &headers, ETAG, size)
    }

    #[test]
    fn ranges() {
        let part = |first, last| Answer::Part { first, last };
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=0-9", 10, part(0, 9)),
            ("bytes=2-4", 10, part(2, 4)),
            ("bytes=9-9", 10, part(9, 9)),
            ("bytes=9-10", 10, part(9, 9)),
            ("bytes=9-", 10, part(9, 9)),
            ("bytes=0-", 10, part(0, 9)),
            ("bytes=10-", 10, Answer::RangeNotSatisfiable),
            ("bytes=10-11", 10, Answer::RangeNotSatisfiable),
            ("bytes=-1", 10, part(9, 9)),
            ("bytes=-10", 10, part(0, 9)),
            ("bytes=-11", 10, part(0, 9)),
            ("bytes=-0", 10, Answer::RangeNotSatisfiable),
            ("bytes=0-", 0, Answer::RangeNotSatisfiable),
            ("bytes=-1", 0, Answer::RangeNotSatisfiable),
            ("BYTES = 1-2", 10, part(1, 2)),
            ("bytes=1-99999999999999999999999999", 10, part(1, 9)),
            ("bytes=99999999999999999999999999-", 10, Answer::RangeNotSatisfiable),
            ("bytes=4-2", 10, Answer::Whole),
            ("bytes=14-12", 10, Answer::Whole),
            ("bytes=-", 10, Answer::Whole),
            ("bytes=", 10, Answer::Whole),
            ("bytes", 10, Answer::Whole),
            ("bytes=1", 10, Answer::Whole),
            ("bytes=a-b", 10, Answer::Whole),
            ("bytes=+1-2", 10, Answer::Whole),
            ("bytes=1-2,4-5", 10, Answer::Whole),
            ("lines=1-2", 10, Answer::Whole),
        ] {
            assert_eq!(ask(Method::GET, size, &[(header::RANGE, range)]), expected, "{range} of {size}");
            assert_eq!(ask(Method::HEAD, size, &[(header::RANGE, range)]), Answer::Whole, "HEAD {range}");
        }
        let two = [(header::RANGE, "bytes=1-2"), (header::RANGE, "bytes=1-2")];
        assert_eq!(ask(Method::GET, 10, &two), Answer::Whole);
        assert_eq!(ask(Method::GET, 10, &[]), Answer::Whole);
    }

    #[test]
    fn entity_tags() {
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, "\"abc\"", Answer::NotModified),
            (header::IF_NONE_MATCH, "W/\"abc\"", Answer::NotModified),
            (header::IF_NONE_MATCH, "*", Answer::NotModified),
            (header::IF_NONE_MATCH, "\"x\" ,\"abc\"", Answer::NotModified),
            (header::IF_NONE_MATCH, "\"abcd\"", Answer::Whole),
            (header::IF_NONE_MATCH, "abc", Answer::Whole),
            (header::IF_MATCH, "\"abc\"", Answer::Whole),
            (header::IF_MATCH, "*", Answer::Whole),
            (header::IF_MATCH, "\"x\", \"abc\"", Answer::Whole),
            (header::IF_MATCH, "W/\"abc\"", Answer::PreconditionFailed),
            (header::IF_MATCH, "\"x\"", Answer::PreconditionFailed),
        ] {
            for method in [Method::GET, Method::HEAD] {
                assert_eq!(ask(method, 10, &[(name.clone(), value)]), expected, "{name}: {value}");
            }
        }
        let two = [(header::IF_NONE_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"abc\"")];
        assert_eq!(ask(Method::GET, 10, &two), Answer::NotModified);
    }

    #[test]
    fn preconditions_go_before_ranges_and_a_range_counts_only_for_its_tag() {
        let range = (header::RANGE, "bytes=1-2");
        for (other, expected) in [
            ((header::IF_NONE_MATCH, "\"abc\""), Answer::NotModified),
            ((header::IF_MATCH, "\"x\""), Answer::PreconditionFailed),
            ((header::IF_RANGE, "\"abc\""), Answer::Part { first: 1, last: 2 }),
            ((header::IF_RANGE, "W/\"abc\""), Answer::Whole),
            ((header::IF_RANGE, "\"x\""), Answer::Whole),
            ((header::IF_RANGE, "Wed, 21 Oct 2015 07:28:00 GMT"), Answer::Whole),
        ] {
            assert_eq!(ask(Method::GET, 10, &[range.clone(), other.clone()]), expected, "{other:?}");
        }
        let both = [(header::IF_MATCH, "\"x\""), (header::IF_NONE_MATCH, "\"abc\"")];
        assert_eq!(ask(Method::GET, 10, &both), Answer::PreconditionFailed);
    }
}
