//! One block as a header.

use super::BLOCK;

/// A header whose checksum is right; its numbers are not read yet.
#[derive(Debug)]
pub(super) struct RawHeader<'a> {
    block: &'a [u8; BLOCK],
}

impl<'a> RawHeader<'a> {
    /// None if the block is no header that POSIX or GNU tar writes. Older ones are not known: they have no
    /// mark, and each program guesses by itself.
    pub(super) fn read(block: &'a [u8; BLOCK]) -> Option<Self> {
        let header = Self { block };
        let is_known = header.is_posix() || &block[257..265] == b"ustar  \0";
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, &byte)| {
                // The checksum counts as spaces.
                u64::from(if (148..156).contains(&at) { b' ' } else { byte })
            })
            .sum();
        (is_known && number(&block[148..156]) == Some(sum)).then_some(header)
    }

    fn is_posix(&self) -> bool {
        &self.block[257..265] == b"ustar\x0000"
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn mode(&self) -> Option<u64> {
        number(&self.block[100..108])
    }

    pub(super) fn size(&self) -> Option<u64> {
        number(&self.block[124..136])
    }

    pub(super) fn mtime(&self) -> Option<u64> {
        number(&self.block[136..148])
    }

    /// The name, of both fields. GNU's headers hold other things where POSIX's have the first one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = if self.is_posix() { text(&self.block[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn target(&self) -> &'a [u8] {
        text(&self.block[157..257])
    }
}

/// A field up to its NUL byte, if it has one.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// Octal digits between spaces and NUL bytes, or GNU's binary form. An empty field is 0.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, digits @ ..] = field {
        return digits
            .iter()
            .try_fold(0_u64, |value, &byte| value.checked_mul(256).map(|value| value | u64::from(byte)));
    }
    let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
    let field = &field[start..];
    let end = field.iter().position(|byte| matches!(byte, b' ' | 0)).unwrap_or(field.len());
    let (digits, rest) = field.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| match byte {
        b'0'..=b'7' => Some(value.checked_mul(8)? | u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        let table: &[(&[u8], Option<u64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644     ", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"64 4", None),
            (b"64\x004", None),
            (b"648\0", None),
            (b"-644", None),
            (b"+644", None),
            (b"0x44", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x81\0\0\0", None),
            (b"1777777777777777777777", Some(u64::MAX)),
            (b"2000000000000000000000", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field), *expected, "{}", field.escape_ascii());
        }
    }
}
