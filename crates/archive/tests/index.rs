//! The index beside an archive.

mod common;

use std::io;

use common::file;
use gristmill_archive::{
    Compressor, ContentFault, FileEntry, Index, IndexError, Located, Member, MemberInfo, Method, ZipWriter,
    compress, verify,
};
use sha2::{Digest, Sha256};

fn text(number: u32) -> Vec<u8> {
    format!("{number} ").repeat(number as usize % 50).into_bytes()
}

/// An archive of `count` members with keys of uneven length.
fn archive(count: u32) -> (Vec<u8>, Index) {
    let mut zip = ZipWriter::new(Vec::new());
    let mut compressor = Compressor::new();
    for number in 0..count {
        let (name, key) = (number.to_string(), key(number));
        let entry = FileEntry { key: Some(&key), ..file(name.as_bytes()) };
        zip.member(&entry, &compress(&text(number), &mut compressor)).expect("written");
    }
    let done = zip.finish().expect("finished");
    (done.inner, done.index)
}

fn key(number: u32) -> Vec<u8> {
    let digest = Sha256::digest(number.to_le_bytes());
    digest[..1 + number as usize % 32].to_vec()
}

#[test]
fn every_key_leads_to_its_raw_bytes() {
    let (bytes, index) = archive(200);
    assert_eq!(index.archive_len(), bytes.len() as u64);
    for number in 0..200 {
        let Some(located) = index.get(&key(number)) else { panic!("{number}") };
        let data = &bytes[located.offset as usize..located.end() as usize];
        let MemberInfo { method, crc32, size, compressed } = located.info;
        assert_eq!(compressed, data.len() as u64);
        assert_eq!(verify(&Member { method, crc32, size, data: data.into() }), Ok(()));
        let expected = text(number);
        // Short keys may be shared; the first member of a key is found.
        if key(number).len() > 4 {
            assert_eq!((size, crc32), (expected.len() as u64, crc32fast::hash(&expected)));
        }
    }
    for unknown in [&b""[..], b"\0", b"unknown", &[0xff; 64], &[0; 64], &[0xff; 65]] {
        assert_eq!(index.get(unknown), None);
    }
    let keys: Vec<_> = index.iter().map(|(key, _)| key.to_vec()).collect();
    assert!(keys.is_sorted());
    assert_eq!(keys.len(), index.len());
    assert!(!index.is_empty());
    assert!(index.iter().all(|(key, located)| index.get(key) == Some(located)));
}

#[test]
fn the_first_member_of_a_key_is_kept() {
    let mut zip = ZipWriter::new(io::sink());
    for name in [b"a", b"b"] {
        zip.streamed(&FileEntry { key: Some(b"k"), ..file(name) }, 1, &mut &b"x"[..]).unwrap();
    }
    zip.streamed(&file(b"c"), 1, &mut &b"x"[..]).unwrap();
    let index = zip.finish().unwrap().index;
    assert_eq!(index.len(), 1);
    let info = MemberInfo { method: Method::Stored, crc32: crc32fast::hash(b"x"), size: 1, compressed: 1 };
    assert_eq!(index.get(b"k"), Some(Located { offset: 31, info }));
}

#[test]
fn an_encoded_index_decodes_to_itself() {
    for count in [0, 1, 2, 3, 200] {
        let (bytes, index) = archive(count);
        let encoded = index.encode();
        assert_eq!(Index::decode(&encoded), Ok(index.clone()));
        assert_eq!(Index::decode(&encoded).unwrap().archive_len(), bytes.len() as u64);
        assert_eq!(encoded, archive(count).1.encode(), "equal members, equal index");
    }
    let (_, index) = archive(2);
    // Key 0 has 1 byte, key 1 has 2; so each record has 30 + 2.
    assert_eq!(index.encode().len(), 32 + 2 * 32 + 32);
}

#[test]
fn the_encoding_is_pinned() {
    let mut zip = ZipWriter::new(Vec::new());
    zip.streamed(&FileEntry { key: Some(b"key"), ..file(b"a") }, 2, &mut &b"hi"[..]).unwrap();
    zip.streamed(&FileEntry { key: Some(b"k"), ..file(b"b") }, 100, &mut &[b'x'; 100][..]).unwrap();
    let encoded = zip.finish().unwrap().index.encode();
    let lines: Vec<String> =
        encoded[..encoded.len() - 32].chunks(33).map(|line| line.escape_ascii().to_string()).collect();
    expect_test::expect![[r#"
        [
            "GMZINDEX\\x01\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\xba\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01",
            "k\\x00\\x00@\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x06\\x00\\x00\\x00\\x00\\x00\\x00\\x00d\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x8f]\\x0e^\\x08\\x03",
            "key\\x1f\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\xac*\\x93\\xd8\\x00",
        ]
    "#]].assert_debug_eq(&lines);
    assert_eq!(encoded[encoded.len() - 32..], Sha256::digest(&encoded[..encoded.len() - 32])[..]);
}

/// Changes an encoded index and puts the right digest behind it.
fn resealed(encoded: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Result<Index, IndexError> {
    let mut bytes = encoded[..encoded.len() - 32].to_vec();
    change(&mut bytes);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Index::decode(&bytes)
}

#[test]
fn damage_is_noticed_at_every_byte() {
    let encoded = archive(5).1.encode();
    for at in 0..encoded.len() {
        for bit in [1, 0x80] {
            let mut bytes = encoded.clone();
            bytes[at] ^= bit;
            assert!(Index::decode(&bytes).is_err(), "byte {at}");
        }
        assert!(Index::decode(&encoded[..at]).is_err(), "cut off at {at}");
    }
    assert_eq!(Index::decode(&[&encoded[..], b"x"].concat()), Err(IndexError::Length));
    let mut trailer = encoded.clone();
    *trailer.last_mut().unwrap() ^= 1;
    assert_eq!(Index::decode(&trailer), Err(IndexError::Digest));
    assert_eq!(Index::decode(b""), Err(IndexError::NotAnIndex));
    assert_eq!(Index::decode(b"GMZINDEX"), Err(IndexError::NotAnIndex));
    assert_eq!(Index::decode(&encoded[..12]), Err(IndexError::Length));
    assert_eq!(Index::decode(&encoded[..63]), Err(IndexError::Length));
    assert_eq!(resealed(&encoded, |bytes| bytes[8] = 2), Err(IndexError::Version(2)));
    assert_eq!(resealed(&encoded, |_| ()), Index::decode(&encoded));
}

#[test]
fn lengths_that_lie_are_refused_without_taking_memory() {
    let encoded = archive(2).1.encode();
    for (at, value) in [(12, 65), (12, 1), (12, 255), (15, 255), (24, 3), (24, 1), (31, 255), (31, 128)] {
        assert_eq!(resealed(&encoded, |bytes| bytes[at] = value), Err(IndexError::Length), "{at}={value}");
    }
    // 2^59 records of 32 bytes would be 2^64 + what there is, were the product cut to 64 bits.
    assert_eq!(resealed(&encoded, |bytes| bytes[31] = 8), Err(IndexError::Length));
    let empty = archive(0).1.encode();
    assert!(resealed(&empty, |bytes| bytes[12] = 64).is_ok());
    assert_eq!(resealed(&empty, |bytes| bytes[12] = 65), Err(IndexError::Length));
}

#[test]
fn records_that_no_writer_makes_are_refused() {
    // Two records of 32 bytes: length, key (2), offset (8), compressed (8), size (8), CRC (4), method (1).
    let mut zip = ZipWriter::new(Vec::new());
    zip.streamed(&FileEntry { key: Some(b"k"), ..file(b"a") }, 100, &mut &[b'x'; 100][..]).unwrap();
    zip.streamed(&FileEntry { key: Some(b"kk"), ..file(b"b") }, 2, &mut &b"hi"[..]).unwrap();
    let done = zip.finish().unwrap();
    let encoded = done.index.encode();
    let (first, second) = (32, 64);
    let bad = |at: usize, value: u8| resealed(&encoded, |bytes| bytes[at] = value);
    let fault = |number| Err(IndexError::Record(number));
    assert_eq!(bad(first, 0), fault(0), "an empty key");
    assert_eq!(bad(first, 3), fault(0), "a key wider than the field");
    assert_eq!(bad(first + 2, 1), fault(0), "something behind the key");
    assert_eq!(bad(first + 1, b'l'), fault(1), "not ascending");
    assert_eq!(
        resealed(&encoded, |bytes| bytes[second..second + 3].copy_from_slice(b"\x01k\0")),
        fault(1),
        "twice"
    );
    assert_eq!(bad(second + 31, 1), fault(1), "an unknown method");
    assert_eq!(bad(second + 31, 8), fault(1), "deflated to as much");
    assert_eq!(bad(second + 19, 3), fault(1), "stored in fewer bytes");
    assert_eq!(bad(second + 10, 1), fault(1), "behind the archive");
    assert_eq!(
        resealed(&encoded, |bytes| bytes[second + 3..second + 11].fill(0xff)),
        fault(1),
        "beyond 64 bits"
    );
    // Up to the end of the archive and not one byte more.
    let len = done.len as u8;
    assert!(bad(second + 3, len - 2).is_ok());
    assert_eq!(bad(second + 3, len - 1), fault(1));
}

#[test]
fn raw_bytes_from_elsewhere_can_be_verified() {
    let content = b"text ".repeat(100);
    let mut compressor = Compressor::new();
    let good = compress(&content, &mut compressor).into_owned();
    assert_eq!(verify(&good), Ok(()));
    let check = |change: fn(&mut Member<'static>)| {
        let mut member = good.clone();
        change(&mut member);
        verify(&member)
    };
    let size = |expected, found| Err(ContentFault::Size { expected, found });
    assert_eq!(check(|member| member.size += 1), size(501, 500));
    assert_eq!(check(|member| member.size -= 1), Err(ContentFault::BadDeflate));
    assert_eq!(check(|member| member.size = u64::MAX), Err(ContentFault::BadDeflate));
    assert_eq!(check(|member| member.data = b"\xff\xff".into()), Err(ContentFault::BadDeflate));
    let crc32 = crc32fast::hash(&content);
    assert_eq!(check(|member| member.crc32 = 7), Err(ContentFault::Crc { expected: 7, found: crc32 }));
    let stored =
        |size: u64, crc32: u32| verify(&Member { method: Method::Stored, crc32, size, data: b"abc".into() });
    assert_eq!(stored(3, crc32fast::hash(b"abc")), Ok(()));
    assert_eq!(stored(2, crc32fast::hash(b"abc")), size(2, 3));
    assert_eq!(stored(3, 7), Err(ContentFault::Crc { expected: 7, found: crc32fast::hash(b"abc") }));
    // The highest ratio that deflate reaches is not taken for a lie.
    let zeros = vec![0; 1 << 20];
    let squeezed = compress(&zeros, &mut compressor);
    assert!(zeros.len() / squeezed.data.len() > 900);
    assert_eq!(verify(&squeezed), Ok(()));
}
