//! A zip file built field by field, so that any field can lie, and helpers around it.
#![expect(dead_code, reason = "each test program uses its own part")]

pub(crate) mod tar;

use std::ffi::OsString;
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use gristmill_archive::{
    ContainerFault, EntryFault, ExtractError, FileEntry, FileMode, Finished, Limits, Summary, extract_zip,
};

/// A regular file without a key.
pub(crate) fn file(name: &[u8]) -> FileEntry<'_> {
    FileEntry { name, mode: FileMode::Regular, key: None }
}

/// The bytes of a finished archive.
pub(crate) fn bytes(finished: Finished<Vec<u8>>) -> Vec<u8> {
    assert_eq!(finished.len, finished.inner.len() as u64);
    finished.inner
}

/// Runs a Python script with arguments; what it prints. Python is part of every machine that tests run on.
pub(crate) fn python(script: &str, args: &[&Path]) -> String {
    let done =
        Command::new("python3").arg("-c").arg(script).args(args).output().expect("python3 is installed");
    assert!(done.status.success(), "python3: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("the scripts print ASCII")
}

/// Unix, version 4.5.
pub(crate) const UNIX: u16 = 3 << 8 | 45;

/// One member; the local header repeats the directory's fields unless one is changed.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: Vec<u8>,
    pub(crate) made_by: u16,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc32: u32,
    pub(crate) size: u32,
    pub(crate) compressed: u32,
    pub(crate) disk: u16,
    pub(crate) extra: Vec<u8>,
    pub(crate) comment: Vec<u8>,
    /// None: where the local header really is.
    pub(crate) offset: Option<u32>,
    pub(crate) data: Vec<u8>,
    pub(crate) local_signature: u32,
    pub(crate) local_name: Vec<u8>,
    pub(crate) local_flags: u16,
    pub(crate) local_method: u16,
    pub(crate) local_crc32: u32,
    pub(crate) local_size: u32,
    pub(crate) local_compressed: u32,
    pub(crate) local_extra: Vec<u8>,
    /// Bytes behind the data.
    pub(crate) tail: Vec<u8>,
}

impl Part {
    /// A stored member of this mode.
    pub(crate) fn stored(name: &[u8], mode: u32, data: &[u8]) -> Self {
        Self::raw(name, mode, 0, data, crc32fast::hash(data), data.len() as u32)
    }

    /// A deflated regular file.
    pub(crate) fn deflated(name: &[u8], content: &[u8]) -> Self {
        let data = deflate(content);
        Self::raw(name, 0o100_644, 8, &data, crc32fast::hash(content), content.len() as u32)
    }

    pub(crate) fn raw(name: &[u8], mode: u32, method: u16, data: &[u8], crc32: u32, size: u32) -> Self {
        Self {
            name: name.to_vec(),
            made_by: UNIX,
            mode,
            flags: 0,
            method,
            crc32,
            size,
            compressed: data.len() as u32,
            disk: 0,
            extra: Vec::new(),
            comment: Vec::new(),
            offset: None,
            data: data.to_vec(),
            local_signature: 0x0403_4b50,
            local_name: name.to_vec(),
            local_flags: 0,
            local_method: method,
            local_crc32: crc32,
            local_size: size,
            local_compressed: data.len() as u32,
            local_extra: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// The same with changes.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same with another method in both headers.
    pub(crate) fn method(self, method: u16) -> Self {
        self.with(|part| (part.method, part.local_method) = (method, method))
    }

    /// The same with other flags in both headers.
    pub(crate) fn flags(self, flags: u16) -> Self {
        self.with(|part| (part.flags, part.local_flags) = (flags, flags))
    }

    fn put_local(&self, out: &mut Vec<u8>) {
        put(out, &[self.local_signature]);
        put16(out, &[20, self.local_flags, self.local_method, 0, 33]);
        put(out, &[self.local_crc32, self.local_compressed, self.local_size]);
        put16(out, &[self.local_name.len() as u16, self.local_extra.len() as u16]);
        out.extend([&self.local_name[..], &self.local_extra, &self.data, &self.tail].concat());
    }

    fn put_central(&self, out: &mut Vec<u8>, offset: u32) {
        put(out, &[0x0201_4b50]);
        put16(out, &[self.made_by, 20, self.flags, self.method, 0, 33]);
        put(out, &[self.crc32, self.compressed, self.size]);
        put16(out, &[self.name.len() as u16, self.extra.len() as u16, self.comment.len() as u16]);
        put16(out, &[self.disk, 0]);
        put(out, &[self.mode << 16, self.offset.unwrap_or(offset)]);
        out.extend([&self.name[..], &self.extra, &self.comment].concat());
    }
}

/// The end record's fields, and bytes around it.
#[derive(Clone, Default)]
pub(crate) struct Whole {
    pub(crate) parts: Vec<Part>,
    /// Before the first member; offsets count from the start of the file.
    pub(crate) lead: Vec<u8>,
    /// Between the last member and the directory.
    pub(crate) before_directory: Vec<u8>,
    /// Between the directory and the end record.
    pub(crate) before_end: Vec<u8>,
    pub(crate) disks: [u16; 2],
    /// Added to the number of members: on this disk, in all.
    pub(crate) count_off: [i16; 2],
    pub(crate) size_off: i32,
    pub(crate) offset_off: i32,
    pub(crate) comment: Vec<u8>,
    pub(crate) trail: Vec<u8>,
}

impl Whole {
    pub(crate) fn of(parts: &[Part]) -> Self {
        Self { parts: parts.to_vec(), ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.lead.clone();
        let mut central = Vec::new();
        for part in &self.parts {
            let offset = out.len() as u32;
            part.put_local(&mut out);
            part.put_central(&mut central, offset);
        }
        out.extend(&self.before_directory);
        let offset = out.len() as u32;
        out.extend(&central);
        out.extend(&self.before_end);
        put(&mut out, &[0x0605_4b50]);
        let count = self.parts.len() as u16;
        put16(&mut out, &self.disks);
        put16(&mut out, &self.count_off.map(|off| count.wrapping_add_signed(off)));
        put(&mut out, &[(central.len() as u32).wrapping_add_signed(self.size_off)]);
        put(&mut out, &[offset.wrapping_add_signed(self.offset_off)]);
        put16(&mut out, &[self.comment.len() as u16]);
        out.extend([&self.comment[..], &self.trail].concat());
        out
    }
}

pub(crate) fn zip(parts: &[Part]) -> Vec<u8> {
    Whole::of(parts).bytes()
}

/// An extra field.
pub(crate) fn extra(id: u16, data: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
}

/// A zip64 field of these values.
pub(crate) fn zip64(values: &[u64]) -> Vec<u8> {
    extra(1, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

pub(crate) fn put(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

pub(crate) fn put16(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

/// A deflate stream, whatever its size.
pub(crate) fn deflate(content: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut out = vec![0; compressor.deflate_compress_bound(content.len())];
    let count = compressor.deflate_compress(content, &mut out).expect("as large as the bound");
    out.truncate(count);
    out
}

pub(crate) const FILE: u32 = 0o100_644;
pub(crate) const LINK: u32 = 0o120_777;
pub(crate) const FOLDER: u32 = 0o040_755;

/// Extracts into a new folder and checks that an error leaves nothing at all.
pub(crate) fn extract_with(bytes: &[u8], limits: &Limits) -> Result<Summary, ExtractError> {
    let home = tempfile::tempdir().expect("a temporary folder");
    let destination = home.path().join("out");
    let done = extract_zip(Cursor::new(bytes), &destination, limits);
    let left: Vec<_> = fs::read_dir(home.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    let expected = if done.is_ok() { vec!["out".into()] } else { Vec::<OsString>::new() };
    assert_eq!(left, expected);
    done
}

pub(crate) fn extract(bytes: &[u8]) -> Result<Summary, ExtractError> {
    extract_with(bytes, &Limits::default())
}

#[track_caller]
pub(crate) fn refused_container(bytes: &[u8], expected: ContainerFault) {
    match extract(bytes) {
        Err(ExtractError::Container(found)) => assert_eq!(found, expected),
        other => panic!("expected {expected:?}, found {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused_member(bytes: &[u8], expected: impl Into<EntryFault>) {
    refused_with(bytes, &Limits::default(), expected);
}

#[track_caller]
pub(crate) fn refused_with(bytes: &[u8], limits: &Limits, expected: impl Into<EntryFault>) {
    match extract_with(bytes, limits) {
        Err(ExtractError::Member { fault, .. }) => assert_eq!(fault, expected.into()),
        other => panic!("expected {:?}, found {other:?}", expected.into()),
    }
}

pub(crate) fn a() -> Part {
    Part::stored(b"a", FILE, b"content of a")
}

pub(crate) fn b() -> Part {
    Part::deflated(b"b", &b"content of b ".repeat(20))
}
