//! Archives beyond 65 535 members and beyond 4 GiB, without writing so much to the disk.

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};

use common::{file, python};
use gristmill_archive::{
    Compressor, FileEntry, Index, Limits, MemberInfo, Method, ZipReader, ZipWriter, compress, list,
};

const MAX32: u64 = 0xFFFF_FFFF;

/// Writes blocks of zeros as holes.
struct Sparse(File);

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let count = bytes.len().min(ZEROS.len());
        if bytes[..count] == ZEROS[..count] {
            self.0.seek_relative(count as i64)?;
            return Ok(count);
        }
        self.0.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        // A hole at the end must count.
        let len = self.0.stream_position()?;
        self.0.set_len(len)
    }
}

/// A deflate stream of so many MiB of zeros: one block that ends at a byte boundary, again and again.
struct Zeros {
    block: Vec<u8>,
    mebibytes: u64,
}

const MEBIBYTE: u64 = 1 << 20;

impl Zeros {
    fn new(mebibytes: u64) -> Self {
        let mut encoder = flate2::Compress::new(flate2::Compression::best(), false);
        let mut block = Vec::with_capacity(1 << 16);
        let zeros = vec![0; MEBIBYTE as usize];
        encoder.compress_vec(&zeros, &mut block, flate2::FlushCompress::Full).expect("a block");
        assert_eq!(encoder.total_in(), MEBIBYTE);
        Self { block, mebibytes }
    }

    fn reader(&self) -> impl Read {
        let blocks = self.block.repeat(self.mebibytes as usize);
        io::Cursor::new([&blocks[..], &[3, 0]].concat()) // the last block is empty
    }

    fn info(&self) -> MemberInfo {
        let mut hasher = crc32fast::Hasher::new();
        let one = {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&vec![0; MEBIBYTE as usize]);
            hasher
        };
        (0..self.mebibytes).for_each(|_| hasher.combine(&one));
        MemberInfo {
            method: Method::Deflated,
            crc32: hasher.finalize(),
            size: self.mebibytes * MEBIBYTE,
            compressed: self.block.len() as u64 * self.mebibytes + 2,
        }
    }
}

/// Zeros without end, faster than `io::repeat` in an unoptimised build.
struct Nothing;

impl Read for Nothing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

fn generous() -> Limits {
    Limits { ratio_max: u64::MAX, file_bytes_max: u64::MAX, bytes_total_max: u64::MAX, ..Limits::default() }
}

#[test]
fn entries_are_counted_in_64_bits_from_65535_on() {
    let mut zip = ZipWriter::new(Vec::new());
    for number in 0..65_535 {
        zip.symlink(format!("{number:x}").as_bytes(), b"").unwrap();
    }
    let done = zip.finish().unwrap();
    assert_eq!(done.entries, 65_535);
    assert!(done.inner[done.inner.len() - 42..].starts_with(b"PK\x06\x07"));
    assert_eq!(list(io::Cursor::new(&done.inner), &generous()).unwrap().len(), 65_535);
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("many.zip");
    fs::write(&path, &done.inner).unwrap();
    let counted = "import sys, zipfile; print(len(zipfile.ZipFile(sys.argv[1]).namelist()))";
    assert_eq!(python(counted, &[&path]), "65535\n");
}

#[test]
fn content_beyond_4_gib_is_read_by_others() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("large.zip");
    let mut zip = ZipWriter::new(Sparse(File::create(&path).unwrap()));
    let zeros = Zeros::new(4100);
    let large = FileEntry { key: Some(b"large"), ..file(b"large") };
    zip.member_from(&large, &zeros.info(), &mut zeros.reader()).unwrap();
    let small = FileEntry { key: Some(b"small"), ..file(b"small") };
    zip.member(&small, &compress(b"after", &mut Compressor::new())).unwrap();
    let done = zip.finish().unwrap();
    assert_eq!(Index::decode(&done.index.encode()).as_ref(), Ok(&done.index));
    assert_eq!(done.index.get(b"large").unwrap().info, zeros.info());
    let script = r"
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
for i in z.infolist(): print(i.filename, i.file_size, i.extract_version, i.extra.hex())
print(z.read('small'), len(z.open('large').read(1 << 20)))
";
    expect_test::expect![[r#"
        large 4299161600 45 010008000000400001000000
        small 5 20 
        b'after' 1048576
    "#]]
    .assert_eq(&python(script, &[&path]));
    let mut reader = ZipReader::open(File::open(&path).unwrap(), &generous()).unwrap();
    assert_eq!(reader.entries()[0].info(), zeros.info());
    assert_eq!(reader.entries()[0].data_offset(), done.index.get(b"large").unwrap().offset);
    let mut out = Vec::new();
    reader.copy(1, &mut out).unwrap();
    assert_eq!(out, b"after");
}

#[test]
fn offsets_and_compressed_sizes_beyond_4_gib_are_read_by_others() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("far.zip");
    let mut zip = ZipWriter::new(Sparse(File::create(&path).unwrap()));
    // No deflate stream, but long; nobody looks into it here.
    let info = MemberInfo { method: Method::Deflated, crc32: 7, size: 5 << 30, compressed: MAX32 + 5 };
    zip.member_from(&file(b"large"), &info, &mut Nothing).unwrap();
    let mut compressor = Compressor::new();
    zip.member(&file(b"small"), &compress(b"after", &mut compressor)).unwrap();
    let done = zip.finish().unwrap();
    let mut disk = done.inner.0;
    assert_eq!(disk.seek(SeekFrom::End(0)).unwrap(), done.len);
    let script = r"
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
for i in z.infolist():
    print(i.filename, i.file_size, i.compress_size, i.header_offset, i.extract_version, i.extra.hex())
print(z.read('small'), z.start_dir)
";
    expect_test::expect![[r#"
        large 5368709120 4294967300 0 45 0100100000000040010000000400000001000000
        small 5 5 4294967379 45 010008005300000001000000
        b'after' 4294967419
    "#]]
    .assert_eq(&python(script, &[&path]));
    let mut reader = ZipReader::open(File::open(&path).unwrap(), &generous()).unwrap();
    assert_eq!(reader.entries()[0].info(), info);
    let mut out = Vec::new();
    reader.copy(1, &mut out).unwrap();
    assert_eq!(out, b"after");
}

/// Keeps the first and the last bytes, and counts.
#[derive(Default)]
struct Counting {
    first: Vec<u8>,
    last: Vec<u8>,
    count: u64,
}

const KEPT: usize = 4096;

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = KEPT - self.first.len().min(KEPT);
        self.first.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.last.extend_from_slice(&bytes[bytes.len() - bytes.len().min(KEPT)..]);
        self.last.drain(..self.last.len() - self.last.len().min(KEPT));
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The records of an archive of one member: local header, then all from the descriptor on.
fn records(size: u64, compressed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut zip = ZipWriter::new(Counting::default());
    let info = MemberInfo { method: Method::Deflated, crc32: 0xaabb_ccdd, size, compressed };
    zip.member_from(&file(b"a"), &info, &mut Nothing).expect("written");
    let done = zip.finish().expect("finished");
    let Counting { first, last, count } = done.inner;
    assert_eq!(count, done.len);
    let local_len = 31 + usize::from(first[28]);
    let behind = (count - local_len as u64 - compressed) as usize;
    (first[..local_len].to_vec(), last[last.len() - behind..].to_vec())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[test]
fn zip64_fields_stand_exactly_where_a_value_needs_them() {
    // The largest size whose deflate stream is sure to stay below 4 GiB.
    let last_narrow = (0..).map(|off| MAX32 - 4_200_000 + off).find(|size| size + (size >> 10) + 64 >= MAX32);
    let last_narrow = last_narrow.unwrap() - 1;
    for (size, wide_tail) in [(last_narrow, false), (last_narrow + 1, true), (MAX32 - 1, true)] {
        let (local, rest) = records(size, 1000);
        assert_eq!(local.len(), if wide_tail { 51 } else { 31 }, "{size}");
        assert_eq!(u32_at(&local, 22), if wide_tail { u32::MAX } else { 0 });
        assert_eq!(u32_at(&local, 18), if wide_tail { u32::MAX } else { 0 });
        assert_eq!(u32_at(&local, 14), 0, "the checksum comes later");
        assert_eq!(local[4], if wide_tail { 45 } else { 20 });
        let central = &rest[if wide_tail { 24 } else { 16 }..];
        assert!(central.starts_with(b"PK\x01\x02"));
        assert_eq!(u32_at(central, 24), size as u32, "the size still fits the directory");
        assert_eq!(u32_at(central, 20), 1000);
        assert_eq!(central[30], 0, "no extra field");
        assert_eq!(central[6], if wide_tail { 45 } else { 20 });
        assert_eq!(central.len(), 47 + 22, "no zip64 end records");
    }
    let (_, rest) = records(MAX32, 1000);
    let central = &rest[24..];
    assert_eq!((u32_at(central, 24), u32_at(central, 20)), (u32::MAX, 1000));
    assert_eq!(central[47..59], [1, 0, 8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(central.len(), 59 + 22);
    let (_, rest) = records(MAX32 + 7, 1000);
    assert_eq!(rest[24 + 47..24 + 59], [1, 0, 8, 0, 6, 0, 0, 0, 1, 0, 0, 0]);
}
