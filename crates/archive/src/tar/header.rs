//! Headers as they are written.

use std::borrow::Cow;

use super::{BLOCK, padding};

/// 1980-01-01 00:00 UTC, the time that members of our zip files have. One of 1970 makes some programs warn.
const MTIME: u64 = 315_532_800;

const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// The largest size that eleven octal digits hold: 8 GiB less one byte.
pub(super) const OCTAL_MAX: u64 = 0o77_777_777_777;

/// Under this name programs that do not know extended headers keep them.
const PAX_NAME: &[u8] = b"PaxHeader";

/// What a header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    /// With a slash at the end where it is a folder.
    pub(super) name: &'a [u8],
    /// `0`, `2` or `5`.
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Of a symbolic link, else empty.
    pub(super) target: &'a [u8],
}

impl Header<'_> {
    /// Appends the header; before it an extended one, if the name, the target or the size do not fit.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let split = split(self.name);
        let mut records = Vec::new();
        if split.is_none() {
            put_record(&mut records, b"path", self.name);
        }
        if self.target.len() > NAME_BYTES {
            put_record(&mut records, b"linkpath", self.target);
        }
        // Values are UTF-8 unless this record says that they are just bytes.
        if !records.is_empty() && (str::from_utf8(self.name).is_err() || str::from_utf8(self.target).is_err())
        {
            let mut first = Vec::new();
            put_record(&mut first, b"hdrcharset", b"BINARY");
            records.splice(0..0, first);
        }
        if self.size > OCTAL_MAX {
            put_record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        if !records.is_empty() {
            let size = records.len() as u64;
            put_block(
                out,
                &Self { name: PAX_NAME, kind: b'x', mode: 0o644, size, target: b"" },
                (b"", PAX_NAME),
            );
            out.extend_from_slice(&records);
            out.resize(out.len() + padding(size), 0);
        }
        let cut = (&b""[..], &self.name[..self.name.len().min(NAME_BYTES)]);
        put_block(out, self, split.unwrap_or(cut));
    }
}

/// Prefix and name, if the two fields can hold it: whole, or cut at the first slash that leaves a name short
/// enough.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME_BYTES {
        return Some((b"", name));
    }
    let from = name.len().checked_sub(NAME_BYTES + 1)?;
    // The last byte may be the slash of a folder, behind which nothing would be left.
    let slash = from + name[from..name.len() - 1].iter().position(|&byte| byte == b'/')?;
    (1..=PREFIX_BYTES).contains(&slash).then(|| (&name[..slash], &name[slash + 1..]))
}

fn put_block(out: &mut Vec<u8>, header: &Header<'_>, (prefix, name): (&[u8], &[u8])) {
    let start = out.len();
    out.resize(start + BLOCK, 0);
    let block = &mut out[start..];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let size = if header.size > OCTAL_MAX { 0 } else { header.size };
    put(0, name);
    put(100, format!("{:07o}", header.mode).as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{MTIME:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[header.kind]);
    put(157, &header.target[..header.target.len().min(NAME_BYTES)]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    put(345, prefix);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Appends `length key=value\n`, where the length counts itself too.
fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    let number: Cow<'_, str> = length.to_string().into();
    out.extend([number.as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}

fn digits(number: usize) -> usize {
    number.ilog10() as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_itself() {
        for (value, expected) in [(0, 5), (4, 9), (5, 11), (93, 99), (94, 101), (992, 999), (993, 1001)] {
            let mut out = Vec::new();
            put_record(&mut out, b"k", &vec![b'v'; value]);
            assert_eq!(out.len(), expected, "{value}");
            assert!(out.starts_with(format!("{expected} k=").as_bytes()) && out.ends_with(b"\n"));
        }
    }

    #[test]
    fn long_names_are_split_where_both_fields_can_hold_them() {
        let a = |count: usize| "a".repeat(count);
        let table = [
            (a(100), Some((String::new(), a(100)))),
            (a(101), None),
            (format!("{}/{}", a(3), a(100)), Some((a(3), a(100)))),
            (format!("{}/{}", a(3), a(101)), None),
            (format!("{}/{}", a(155), a(100)), Some((a(155), a(100)))),
            (format!("{}/{}", a(156), a(100)), None),
            (format!("{}/{}/", a(60), a(99)), Some((a(60), format!("{}/", a(99))))),
            (format!("{}/{}/", a(60), a(100)), None),
            (format!("b/{}/{}", a(60), a(60)), Some((format!("b/{}", a(60)), a(60)))),
            (format!("b/{}/{}", a(39), a(60)), Some(("b".to_owned(), format!("{}/{}", a(39), a(60))))),
            (format!("{}/", a(100)), None),
        ];
        for (name, expected) in table {
            let found = split(name.as_bytes());
            let expected = expected.as_ref().map(|(prefix, name)| (prefix.as_bytes(), name.as_bytes()));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn sizes_beyond_eleven_octal_digits_stand_in_an_extended_header() {
        let header = |size| {
            let mut out = Vec::new();
            Header { name: b"n", kind: b'0', mode: 0o644, size, target: b"" }.put(&mut out);
            out
        };
        let fits = header(OCTAL_MAX);
        assert_eq!((fits.len(), &fits[124..136]), (BLOCK, &b"77777777777\0"[..]));
        let large = header(OCTAL_MAX + 1);
        assert_eq!((large.len(), large[156]), (3 * BLOCK, b'x'));
        assert_eq!(&large[BLOCK..BLOCK + 19], b"19 size=8589934592\n");
        assert_eq!(&large[2 * BLOCK + 124..2 * BLOCK + 136], b"00000000000\0");
    }
}
