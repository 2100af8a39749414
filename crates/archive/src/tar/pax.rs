//! Extended headers: POSIX's records and GNU's long names, for the member that follows.

use super::fault::TarFault;

/// Of one extended header or long name; ours stay below 130 KiB. They are held in memory.
pub(super) const EXTENDED_BYTES_MAX: u64 = 256 << 10;

/// Global headers, which git writes one of, to hold the commit.
const GLOBAL_MAX: u32 = 1;

/// What the extended headers before a member say of it.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_target: Option<Vec<u8>>,
    has_records: bool,
}

impl Extended {
    /// Whether nothing was said yet.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_records && self.long_name.is_none() && self.long_target.is_none()
    }

    /// Reads the records of one header.
    pub(super) fn records(&mut self, bytes: &[u8]) -> Result<(), TarFault> {
        if std::mem::replace(&mut self.has_records, true) {
            return Err(TarFault::Extended("there are two for one member"));
        }
        let mut seen: Vec<&[u8]> = Vec::new();
        for record in Records(bytes) {
            let (key, value) = record?;
            if seen.contains(&key) {
                return Err(TarFault::Extended("it says one thing twice"));
            }
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => {
                    self.size = Some(decimal(value).ok_or(TarFault::Extended("the size is no number"))?);
                }
                _ => check_harmless(key, value)?,
            }
            // Only known keys come here, so these are few.
            seen.push(key);
        }
        Ok(())
    }

    /// GNU's form of a name that is too long for its field; a NUL byte ends it.
    pub(super) fn gnu(&mut self, is_target: bool, bytes: &[u8]) -> Result<(), TarFault> {
        let text = match bytes.iter().position(|&byte| byte == 0) {
            Some(end) if end + 1 == bytes.len() => &bytes[..end],
            None => bytes,
            Some(_) => return Err(TarFault::Extended("a long name holds a NUL byte")),
        };
        let slot = if is_target { &mut self.long_target } else { &mut self.long_name };
        if slot.replace(text.to_vec()).is_some() {
            return Err(TarFault::Extended("there are two long names for one member"));
        }
        Ok(())
    }
}

/// Headers for all members that follow: only such that change nothing.
#[derive(Debug, Default)]
pub(super) struct Globals {
    count: u32,
    /// What it says of itself.
    pub(super) comment: Option<Vec<u8>>,
}

impl Globals {
    pub(super) fn records(&mut self, bytes: &[u8]) -> Result<(), TarFault> {
        self.count += 1;
        if self.count > GLOBAL_MAX {
            return Err(TarFault::Extended("there is more than one for all members"));
        }
        for record in Records(bytes) {
            let (key, value) = record?;
            check_harmless(key, value)?;
            if key == b"comment" {
                self.comment = Some(value.to_vec());
            }
        }
        Ok(())
    }
}

/// Keys that say nothing of name, kind or content. Others are refused: among them are those of sparse files,
/// and what nobody knows may mean anything to some program.
fn check_harmless(key: &[u8], value: &[u8]) -> Result<(), TarFault> {
    match key {
        b"comment" | b"mtime" | b"atime" | b"ctime" | b"uid" | b"gid" | b"uname" | b"gname" => Ok(()),
        b"hdrcharset" if matches!(value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => Ok(()),
        b"hdrcharset" => Err(TarFault::Extended("its names are in another character set than UTF-8")),
        b"path" | b"linkpath" | b"size" => Err(TarFault::Extended("it names or sizes all members at once")),
        _ if key.starts_with(b"GNU.sparse.") => Err(TarFault::Extended("it is one of a sparse file")),
        _ => Err(TarFault::Extended("it has an unknown key")),
    }
}

/// Records of the form `length key=value\n`.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), TarFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let found = split_record(self.0);
        self.0 = found.map_or(&[], |(_, _, rest)| rest);
        Some(match found {
            // An empty value would take back what the header says.
            Some((_, b"", _)) => Err(TarFault::Extended("it takes a value back")),
            Some((key, value, _)) => Ok((key, value)),
            None => Err(TarFault::Extended("a record is damaged")),
        })
    }
}

/// Key, value and what follows.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let length = decimal(&bytes[..space])?;
    let (record, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Digits only, and not more than a u64 needs.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_plain = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits).ok().filter(|_| is_plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, target and size.
    type Said<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, Option<u64>);

    fn check(bytes: &[u8], expected: Result<Said<'_>, &'static str>) {
        let mut extended = Extended::default();
        let found = extended.records(bytes).map_err(|fault| match fault {
            TarFault::Extended(reason) => reason,
            other => panic!("{other}"),
        });
        let found = found.map(|()| (extended.path.as_deref(), extended.target.as_deref(), extended.size));
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn records_are_read_in_one_way_or_refused() {
        check(b"", Ok((None, None, None)));
        check(b"9 path=a\n", Ok((Some(b"a"), None, None)));
        check(b"09 path=a\n", Err("a record is damaged"));
        check(b"010 path=a\n", Err("a record is damaged"));
        check(b"12 path=a=\n\n", Ok((Some(b"a=\n"), None, None)));
        check(b"12 path=\xff\0b\n", Ok((Some(b"\xff\0b"), None, None)));
        check(b"14 linkpath=b\n10 size=12\n", Err("a record is damaged"));
        check(b"14 linkpath=b\n11 size=12\n", Ok((None, Some(b"b"), Some(12))));
        check(b"9 path=a\n9 path=b\n", Err("it says one thing twice"));
        check(b"8 path=\n", Err("it takes a value back"));
        check(b"11 path=a\n", Err("a record is damaged"));
        check(b"8 path=a\n", Err("a record is damaged"));
        check(b"9 path=a", Err("a record is damaged"));
        check(b"8 patha\n", Err("a record is damaged"));
        check(b"2 path=a\n", Err("a record is damaged"));
        check(b"0 path=a\n", Err("a record is damaged"));
        check(b"-9 path=a\n", Err("a record is damaged"));
        check(b"99999999999999999999 path=a\n", Err("a record is damaged"));
        check(b"9 path=a\n\0", Err("a record is damaged"));
        check(b"10 size=+1\n", Err("a record is damaged"));
        check(b"11 size=+1\n", Err("the size is no number"));
        check(b"14 comment=xy\n", Ok((None, None, None)));
        check(b"20 mtime=1.2500000\n", Err("a record is damaged"));
        check(b"19 mtime=1.2500000\n", Ok((None, None, None)));
        check(b"21 hdrcharset=BINARY\n", Ok((None, None, None)));
        check(b"21 hdrcharset=LATIN1\n", Err("its names are in another character set than UTF-8"));
        check(b"22 GNU.sparse.major=1\n", Err("it is one of a sparse file"));
        check(b"9 x.y=zz\n", Err("it has an unknown key"));
        check(b"5 =x\n", Err("it has an unknown key"));
    }

    #[test]
    fn one_extended_header_of_each_kind_stands_before_a_member() {
        let mut extended = Extended::default();
        assert!(extended.is_empty());
        extended.records(b"").expect("nothing is said");
        assert!(!extended.is_empty());
        assert_eq!(extended.records(b""), Err(TarFault::Extended("there are two for one member")));
        let mut extended = Extended::default();
        extended.gnu(false, b"name\0").expect("ended by a NUL byte");
        extended.gnu(true, b"target").expect("or by nothing");
        assert_eq!(extended.long_name.as_deref(), Some(&b"name"[..]));
        assert_eq!(extended.long_target.as_deref(), Some(&b"target"[..]));
        let twice = Err(TarFault::Extended("there are two long names for one member"));
        assert_eq!(extended.gnu(false, b"x"), twice);
        let cut = Err(TarFault::Extended("a long name holds a NUL byte"));
        assert_eq!(Extended::default().gnu(false, b"a\0b"), cut);
        assert_eq!(Extended::default().gnu(false, b"a\0\0"), cut);
    }

    #[test]
    fn one_global_header_may_say_what_changes_nothing() {
        let mut globals = Globals::default();
        globals.records(b"14 comment=xy\n").expect("as git writes it");
        assert_eq!(globals.records(b""), Err(TarFault::Extended("there is more than one for all members")));
        for record in [&b"9 path=a\n"[..], b"13 linkpath=\n", b"10 size=1\n"] {
            assert!(Globals::default().records(record).is_err(), "{}", record.escape_ascii());
        }
        let named = Err(TarFault::Extended("it names or sizes all members at once"));
        assert_eq!(Globals::default().records(b"9 path=a\n"), named);
    }
}
