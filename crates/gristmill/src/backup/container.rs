//! The tar file around a backup. Its reader takes only what its writer writes: one form of header, nothing but files,
//! zeros behind contents, two blocks of zeros and nothing after them.

use std::io::{self, Read, Write};

/// Everything in a tar file is a multiple of it.
const BLOCK: usize = 512;
/// The longest name that fits into the one form of header.
const NAME_BYTES_MAX: usize = 100;
/// The first size that does not fit into eleven octal digits.
const OCTAL_END: u64 = 1 << 33;

/// The one header that a member of this name and size has.
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000600\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size < OCTAL_END {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].copy_from_slice(b"        ");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The name and size that a header tells, where it is the one header of these.
fn parse(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let end = block[..NAME_BYTES_MAX].iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&block[..end]).ok()?;
    let size = if block[124] == 0x80 {
        u64::from_be_bytes(block[128..136].try_into().expect("eight bytes"))
    } else {
        u64::from_str_radix(std::str::from_utf8(&block[124..135]).ok()?, 8).ok()?
    };
    (header(name, size) == *block).then(|| (name.to_owned(), size))
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    if over == 0 { 0 } else { BLOCK - over }
}

/// Writes members one after the other.
pub(super) struct Writer<W: Write> {
    out: W,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W) -> Writer<W> {
        Writer { out, padding: 0 }
    }

    /// A whole member.
    pub(super) fn member(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.write(bytes)?;
        self.end()
    }

    /// Begins a member; exactly `size` bytes must be written into it.
    pub(super) fn begin(&mut self, name: &str, size: u64) -> io::Result<()> {
        assert!(name.len() < NAME_BYTES_MAX, "names of members are short");
        self.padding = padding(size);
        self.out.write_all(&header(name, size))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&[0; BLOCK][..self.padding])
    }

    /// What the members are written into, to go on with later.
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    /// Ends the file; what it was written into.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads members one after the other.
pub(super) struct Reader<R: Read> {
    input: R,
    /// Content of the member that was not read yet, and what is behind it.
    left: u64,
    padding: usize,
    /// How much was read.
    at: u64,
}

/// Not what the writer writes.
fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Reader<R> {
    /// `at` is where in the file the input stands.
    pub(super) fn new(input: R, at: u64) -> Reader<R> {
        Reader { input, left: 0, padding: 0, at }
    }

    /// Where the next header stands in the file, once the content before it is read.
    pub(super) fn at(&self) -> u64 {
        self.at + self.left + self.padding as u64
    }

    /// The name and size of the next member, `None` at the end of the file. The content before must have been read.
    pub(super) fn next(&mut self) -> io::Result<Option<(String, u64)>> {
        assert_eq!(self.left, 0, "the member before is read to its end");
        let mut rest = [0; BLOCK];
        let behind = std::mem::take(&mut self.padding);
        self.exact(&mut rest[..behind])?;
        if rest != [0; BLOCK] {
            return Err(wrong("there is something behind a member's content"));
        }
        let mut block = [0; BLOCK];
        self.exact(&mut block)?;
        if block == [0; BLOCK] {
            self.exact(&mut block)?;
            let is_end = block == [0; BLOCK] && self.input.read(&mut [0])? == 0;
            return if is_end { Ok(None) } else { Err(wrong("there is something behind its end")) };
        }
        let (name, size) = parse(&block).ok_or_else(|| wrong("a header in it is not one of a backup's"))?;
        (self.left, self.padding) = (size, padding(size));
        Ok(Some((name, size)))
    }

    /// Fills `bytes` from the member's content, which must have as many.
    pub(super) fn content(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.left =
            self.left.checked_sub(bytes.len() as u64).ok_or_else(|| wrong("a member is too short"))?;
        self.exact(bytes)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("it ends too early"),
            _ => error,
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut reader = Reader::new(bytes, 0);
        let mut found = Vec::new();
        while let Some((name, size)) = reader.next()? {
            let mut content = vec![0; usize::try_from(size).unwrap().min(1 << 20)];
            reader.content(&mut content)?;
            found.push((name, content));
        }
        assert_eq!(reader.at(), bytes.len() as u64);
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let mut writer = Writer::new(Vec::new());
        let members = [("a", 0), ("b/c", 1), ("d", 511), ("e", 512), ("f", 513)];
        for (name, size) in members {
            writer.member(name, &vec![b'x'; size]).unwrap();
        }
        let whole = writer.finish().unwrap();
        let expected: Vec<_> =
            members.iter().map(|(name, size)| ((*name).to_owned(), vec![b'x'; *size])).collect();
        assert_eq!(read(&whole).unwrap(), expected);
        let headers: Vec<usize> = vec![0, 512, 1536, 2560, 3584];
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let in_content = read(&damaged).is_ok_and(|found| found != expected);
            let in_header = headers.iter().any(|start| (*start..start + 100).contains(&at));
            assert!(read(&damaged).is_err() || in_content && !in_header, "byte {at}");
        }
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "ended at {end}");
        }
        assert!(read(&[whole, vec![0]].concat()).is_err());
    }

    #[test]
    fn sizes_beyond_eleven_octal_digits_have_a_form_too() {
        for size in [0, OCTAL_END - 1, OCTAL_END, u64::MAX] {
            assert_eq!(parse(&header("a", size)), Some(("a".to_owned(), size)));
        }
        let mut padded = header("a", 7);
        padded[124..136].copy_from_slice(b"         7\0\0");
        assert_eq!(parse(&padded), None);
    }
}
