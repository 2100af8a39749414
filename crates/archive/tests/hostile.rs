//! The checks of the fuzz targets on some thousand seeded inputs, in every run of the tests.

mod common;

#[path = "../fuzz/checks.rs"]
mod checks;

use common::tar::{Block, gnu_long, gzip, pax, tar};
use common::{FILE, FOLDER, LINK, Part, Whole, a, b, file, zip, zip64};
use gristmill_archive::{Compressor, FileEntry, FileMode, ZipWriter, compress};
use proptest::prelude::*;

/// SplitMix64: a seed gives the same inputs everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Valid archives of different shapes.
fn seeds() -> Vec<Vec<u8>> {
    let mut ours = ZipWriter::new(Vec::new());
    let mut compressor = Compressor::new();
    ours.member(&file(b"dir/text"), &compress(&b"text ".repeat(50), &mut compressor)).expect("written");
    let tool = FileEntry { name: b"dir/tool", mode: FileMode::Executable, key: Some(b"key") };
    ours.member(&tool, &compress(b"#!", &mut compressor)).expect("written");
    ours.symlink(b"link", b"dir/text").expect("written");
    ours.directory(b"module").expect("written");
    let descriptor = b().flags(8).with(|part| {
        common::put(&mut part.tail, &[0x0807_4b50, part.crc32, part.compressed, part.size]);
        (part.local_crc32, part.local_compressed, part.local_size) = (0, 0, 0);
    });
    let wide = a().with(|part| {
        (part.size, part.compressed, part.local_size, part.local_compressed) =
            (u32::MAX, u32::MAX, u32::MAX, u32::MAX);
        (part.extra, part.local_extra) = (zip64(&[12, 12]), zip64(&[12, 12]));
    });
    let links = [
        Part::stored(b"d/up", LINK, b"../here"),
        Part::stored(b"here", LINK, b"."),
        Part::stored(b"d/", FOLDER, b""),
        Part::stored(b"d/e/f", FILE, b"x"),
    ];
    let commented = Whole { comment: b"a comment".to_vec(), ..Whole::of(&[a(), b()]) };
    vec![
        ours.finish().expect("finished").inner,
        zip(&[descriptor, wide]),
        zip(&links),
        commented.bytes(),
        Whole::default().bytes(),
    ]
}

/// Valid tar files of different shapes, bare and compressed.
fn tar_seeds() -> Vec<Vec<u8>> {
    let plain = tar(&[
        pax(b'g', &[(b"comment", b"0123456789")]),
        Block::folder(b"d/").bytes(),
        Block::file(b"d/file", &b"text ".repeat(150)).bytes(),
        Block::link(b"d/up", b"../here").bytes(),
        Block::link(b"here", b".").bytes(),
        pax(b'x', &[(b"path", b"from/pax"), (b"size", b"3")]),
        Block::file(b"cut", b"abc").bytes(),
        gnu_long(b'L', b"long name\0"),
        gnu_long(b'K', b"d/file"),
        Block::link(b"cut", b"cut").bytes(),
    ]);
    let packed = zstd::stream::encode_all(&plain[..], 3).expect("memory can be written");
    vec![gzip(&plain), packed, tar(&[]), plain]
}

/// Changes what a header says and makes its checksum right again, which no blind change would.
fn lie(bytes: &mut [u8], random: &mut Random) {
    let blocks = bytes.len() / 512;
    if blocks == 0 {
        return;
    }
    let block = &mut bytes[512 * random.below(blocks)..][..512];
    let fields = [0, 1, 100, 107, 124, 130, 134, 135, 156, 157, 158, 257, 262, 263, 345, 346];
    let values = b"\0/.0123457LKxgSab \x80\xff\\";
    for _ in 0..1 + random.below(3) {
        block[fields[random.below(fields.len())]] = values[random.below(values.len())];
    }
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn mutated_tar_files_never_leave_the_folder_nor_the_limits() {
    let seeds = tar_seeds();
    assert!(seeds.iter().all(|seed| checks::extract_any_tar(seed)), "the seeds themselves are good");
    let mut random = Random(17);
    let (mut extracted, mut lied) = (0, 0);
    for round in 0..800 {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        extracted += usize::from(checks::extract_any_tar(&bytes));
        let mut bytes = seeds[3].clone();
        lie(&mut bytes, &mut random);
        lied += usize::from(checks::extract_any_tar(&bytes));
    }
    assert!((20..500).contains(&extracted), "{extracted} of 800: the mutations miss the point");
    assert!((80..700).contains(&lied), "{lied} of 800: the lies miss the point");
}

/// Values that fields lie with.
const ODD: [u32; 10] = [0, 1, 2, 22, 46, 0x7fff_ffff, 0xffff, 0x1_0000, 0xffff_fffe, 0xffff_ffff];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(4));
        match random.below(8) {
            0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 if bytes.len() >= 4 => {
                bytes[at..at + 4].copy_from_slice(&ODD[random.below(ODD.len())].to_le_bytes());
            }
            5 if bytes.len() >= 4 => {
                bytes[at..at + 2].copy_from_slice(&(ODD[random.below(ODD.len())] as u16).to_le_bytes());
            }
            6 => {
                let from = random.below(bytes.len().max(1));
                let part = bytes[from.min(bytes.len())..bytes.len().min(from + 60)].to_vec();
                bytes.splice(at..at, part);
            }
            7 => drop(bytes.drain(at..bytes.len().min(at + random.below(20)))),
            _ => bytes.push(random.next() as u8),
        }
    }
}

#[test]
fn mutated_archives_never_leave_the_folder_nor_the_limits() {
    let seeds = seeds();
    assert!(seeds.iter().all(|seed| checks::extract(seed)), "the seeds themselves are good");
    let mut random = Random(7);
    let mut extracted = 0;
    for round in 0..1200 {
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        extracted += usize::from(checks::extract(&bytes));
    }
    assert!((20..600).contains(&extracted), "{extracted} of 1200: the mutations miss the point");
}

#[test]
fn changed_bits_are_refused_or_harmless() {
    for seed in seeds() {
        for at in (0..seed.len()).step_by(3) {
            let mut bytes = seed.clone();
            bytes[at] ^= 1 << (at % 8);
            checks::extract(&bytes);
        }
    }
}

#[test]
fn arbitrary_rules_and_contents_are_harmless() {
    let words = [
        "a",
        "*",
        "**/",
        "dir/",
        "sub",
        "[",
        "!",
        "\"",
        "\\",
        "[attr]x ",
        "x",
        " text",
        " -text",
        " eol=crlf",
        "=auto",
        " ident",
        " export-subst",
        " working-tree-encoding=UTF-16",
        "\n",
        "\r\n",
        "\0",
        "$Id$",
        "$Id: ",
        "$Format:",
        "%H",
        "%s",
        "%b",
        "%+",
        "%x0a",
        "%ad",
        "%",
        "$",
        "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n",
        "author A <a@b> 1112911993 +0200\n",
        "committer A <a@b> 99999999999999 -9999\n",
        "\n\n",
        "\u{e4}",
        "line\n",
    ];
    // A good start, so that not everything stops at the first part.
    let good = "* export-subst ident\n\0a eol=crlf\n\0tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
        author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nsubject\n\nbody\n\0$Format:%h %s$\n";
    assert!(checks::attributes(good.as_bytes()));
    let mut random = Random(19);
    let mut changed = 0;
    for _ in 0..3000 {
        let mut text = good.to_owned();
        for _ in 0..1 + random.below(12) {
            let word = words[random.below(words.len())];
            let at =
                (0..text.len()).cycle().skip(random.below(text.len())).find(|&at| text.is_char_boundary(at));
            text.insert_str(at.expect("the start is one"), word);
        }
        let mut bytes = text.into_bytes();
        if random.below(3) == 0 {
            mutate(&mut bytes, &mut random);
        }
        changed += usize::from(checks::attributes(&bytes));
    }
    assert!((500..2950).contains(&changed), "{changed} of 3000: the inputs miss the point");
}

#[test]
fn mutated_indexes_are_refused() {
    let mut zip = ZipWriter::new(Vec::new());
    for number in 0..20_u8 {
        let key = vec![number; 1 + usize::from(number)];
        let entry = FileEntry { name: &[b'a' + number], mode: FileMode::Regular, key: Some(&key) };
        zip.streamed(&entry, 1, &mut &[number][..]).unwrap();
    }
    let good = zip.finish().unwrap().index.encode();
    assert!(checks::index(&good));
    let mut random = Random(11);
    for _ in 0..5000 {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut random);
        assert!(!checks::index(&bytes) || bytes == good);
    }
}

#[test]
fn arbitrary_members_survive_the_round_trip() {
    let mut random = Random(13);
    let mut members = 0;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..random.below(400))
            .map(|_| match random.below(3) {
                0 => random.next() as u8,
                // Names of few characters clash often.
                _ => b"ab./\\Ag\x01\x02\x03"[random.below(10)],
            })
            .collect();
        members += checks::round_trip(&bytes);
    }
    assert!(members > 200, "{members} members: the inputs miss the point");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_extracted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        checks::extract(&bytes);
        checks::index(&bytes);
        checks::round_trip(&bytes);
    }

    #[test]
    fn any_content_is_compressed_to_itself(
        piece in proptest::collection::vec(any::<u8>(), 0..100),
        times in 0_usize..50,
    ) {
        let content = piece.repeat(times);
        let mut compressor = Compressor::new();
        let member = compress(&content, &mut compressor);
        prop_assert_eq!(gristmill_archive::verify(&member), Ok(()));
        prop_assert_eq!(member.size, content.len() as u64);
        prop_assert!(member.data.len() <= content.len());
    }
}
