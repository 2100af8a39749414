//! What is written, read back by Python's zipfile and by a parser of our own.
use std::io::Cursor;

use gristmill_archive::{Compressor, FileEntry, FileMode, ZipWriter, compress};

fn file(name: &[u8]) -> FileEntry<'_> {
    FileEntry { name, mode: FileMode::Regular, key: None }
}

#[test]
fn smoke() {
    let mut w = ZipWriter::new(Vec::new());
    let mut c = Compressor::new();
    let text = b"hello hello hello hello hello hello hello hello".repeat(10);
    w.member(&file(b"a/b.txt"), &compress(&text, &mut c)).unwrap();
    w.symlink("l\u{1f980}".as_bytes(), b"a/b.txt").unwrap();
    w.directory(b"sub").unwrap();
    let big = gristmill_archive::IN_MEMORY_MAX + 1;
    let mut r = Cursor::new(vec![7u8; big as usize]);
    w.streamed(&FileEntry { name: b"big", mode: FileMode::Executable, key: Some(b"k") }, big, &mut r)
        .unwrap();
    w.streamed(&file(b"empty"), 0, &mut &b""[..]).unwrap();
    let done = w.finish().unwrap();
    assert_eq!(done.len, done.inner.len() as u64);
    let encoded = done.index.encode();
    assert_eq!(gristmill_archive::Index::decode(&encoded).unwrap(), done.index);
}
