//! Durations and sizes as people write them: `30s`, `5m`, `2h`, `1d`; `512KiB`, `25MiB`, `2GiB`.

fn number_and_unit(text: &str) -> Option<(i64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// Seconds.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    u64::try_from(number).ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("0s", Some(0)),
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("2h", Some(7200)),
            ("1d", Some(86_400)),
            ("9223372036854775807s", Some(i64::MAX)),
            ("9223372036854775807m", None),
            ("9223372036854775808s", None),
            ("", None),
            ("5", None),
            ("m", None),
            ("-5m", None),
            ("+5m", None),
            ("5 m", None),
            ("5min", None),
            ("1.5h", None),
            ("٣s", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, wanted) in [
            ("1KiB", Some(1024)),
            ("25MiB", Some(26_214_400)),
            ("2GiB", Some(2_147_483_648)),
            ("3TiB", Some(3_298_534_883_328)),
            ("9000000000TiB", None),
            ("25", None),
            ("25MB", None),
            ("25mib", None),
            ("MiB", None),
        ] {
            assert_eq!(bytes(text), wanted, "{text}");
        }
    }
}
