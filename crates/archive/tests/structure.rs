//! Zip files whose records lie, or can be read in two ways.

mod common;

use std::io::Cursor;

use common::{
    FILE, FOLDER, Part, Whole, a, b, deflate, extra, extract, put, refused_container, refused_member, zip,
    zip64,
};
use gristmill_archive::{ArchiveEntry, ContainerFault, ContentFault, EntryFault, Limits, Summary, list};

#[test]
fn unknown_ways_of_keeping_content_are_refused() {
    for flags in [1, 1 << 6, 1 << 13, 0x41] {
        refused_member(&zip(&[a().flags(flags)]), EntryFault::Encrypted);
    }
    for bit in [4, 5, 7, 8, 9, 10, 12, 14, 15] {
        refused_member(&zip(&[a().flags(1 << bit)]), EntryFault::Flags(1 << bit));
    }
    for bit in [1, 2, 11] {
        assert!(extract(&zip(&[a().flags(1 << bit)])).is_ok());
    }
    for method in [1, 9, 12, 14, 93, 95, 99] {
        refused_member(&zip(&[a().method(method)]), EntryFault::Method(method));
    }
}

#[test]
fn content_that_is_not_what_the_headers_say_is_refused() {
    let size = |by: i32| {
        let content = b"content of b ".repeat(20);
        let stated = (content.len() as i32 + by) as u32;
        zip(&[Part::raw(b"b", FILE, 8, &deflate(&content), crc32fast::hash(&content), stated)])
    };
    refused_member(&size(-1), ContentFault::Size { expected: 259, found: 260 });
    refused_member(&size(1), ContentFault::Size { expected: 261, found: 260 });
    assert!(extract(&size(0)).is_ok());
    let wrong = |part: Part, expected: u32| {
        refused_member(
            &zip(&[part.with(|part| (part.crc32, part.local_crc32) = (1, 1))]),
            ContentFault::Crc { expected: 1, found: expected },
        );
    };
    wrong(a(), crc32fast::hash(b"content of a"));
    wrong(b(), crc32fast::hash(&b"content of b ".repeat(20)));
    let raw = |data: &[u8]| zip(&[Part::raw(b"b", FILE, 8, data, crc32fast::hash(b"xyxyxyxyxy"), 10)]);
    let good = deflate(b"xyxyxyxyxy");
    assert!(extract(&raw(&good)).is_ok());
    refused_member(&raw(&[&good[..], b"\0"].concat()), ContentFault::BadDeflate);
    refused_member(&raw(&good[..good.len() - 1]), ContentFault::BadDeflate);
    refused_member(&raw(b""), ContentFault::BadDeflate);
    refused_member(&raw(b"\xff"), ContentFault::BadDeflate);
    refused_member(&zip(&[a().with(|part| part.size += 1)]), EntryFault::HeadersDisagree("size"));
}

#[test]
fn the_two_headers_must_agree() {
    let changed = |change: fn(&mut Part)| zip(&[a().with(change), b()]);
    refused_member(&changed(|part| part.local_name = b"x".to_vec()), EntryFault::HeadersDisagree("name"));
    refused_member(&changed(|part| part.local_flags = 2), EntryFault::HeadersDisagree("flags"));
    refused_member(&changed(|part| part.local_method = 8), EntryFault::HeadersDisagree("method"));
    refused_member(&changed(|part| part.local_crc32 = 0), EntryFault::HeadersDisagree("checksum"));
    refused_member(&changed(|part| part.local_size = 0), EntryFault::HeadersDisagree("size"));
    refused_member(&changed(|part| part.local_compressed += 1), EntryFault::HeadersDisagree("size"));
    refused_member(&changed(|part| part.local_signature += 1), EntryFault::NoHeader);
    refused_member(&changed(|part| part.tail = b"x".to_vec()), EntryFault::Gap);
    refused_member(&changed(|part| part.local_extra = b"xyz".to_vec()), EntryFault::Extra);
    let other_extra = |part: &mut Part| part.local_extra = extra(0x5455, b"time");
    assert!(extract(&changed(other_extra)).is_ok());
}

/// Makes a descriptor for a member.
type Form<'a> = &'a dyn Fn(&Part) -> Vec<u8>;

fn descriptor(part: Part, make: impl FnOnce(&Part) -> Vec<u8>) -> Part {
    part.flags(8).with(|part| {
        part.tail = make(part);
        (part.local_crc32, part.local_compressed, part.local_size) = (0, 0, 0);
    })
}

#[test]
fn descriptors_of_all_four_forms_are_read() {
    let wide =
        |part: &Part| [u64::from(part.compressed).to_le_bytes(), u64::from(part.size).to_le_bytes()].concat();
    let narrow = |part: &Part| [part.compressed.to_le_bytes(), part.size.to_le_bytes()].concat();
    let signature = 0x0807_4b50_u32.to_le_bytes();
    let crc = |part: &Part| part.crc32.to_le_bytes();
    let forms: [Form<'_>; 4] = [
        &|part| [&crc(part)[..], &narrow(part)].concat(),
        &|part| [&signature[..], &crc(part), &narrow(part)].concat(),
        &|part| [&crc(part)[..], &wide(part)].concat(),
        &|part| [&signature[..], &crc(part), &wide(part)].concat(),
    ];
    for form in forms {
        let good = descriptor(b(), form);
        assert_eq!(extract(&zip(&[a(), good.clone(), Part::stored(b"c", FILE, b"")])).unwrap().files, 3);
        assert_eq!(extract(&zip(&[a(), good.clone()])).unwrap().files, 2);
        for at in 0..good.tail.len() {
            let bad = good.clone().with(|part| part.tail[at] ^= 1);
            refused_member(&zip(&[bad]), EntryFault::Descriptor);
        }
        let repeated = good.clone().with(|part| {
            (part.local_crc32, part.local_compressed, part.local_size) =
                (part.crc32, part.compressed, part.size);
        });
        assert!(extract(&zip(&[repeated])).is_ok());
        let other = good.clone().with(|part| part.local_crc32 = 1);
        refused_member(&zip(&[other]), EntryFault::HeadersDisagree("checksum"));
    }
    for len in [0, 4, 8, 11, 13, 17, 28] {
        refused_member(&zip(&[descriptor(b(), |_| vec![0; len])]), EntryFault::Descriptor);
    }
}

#[test]
fn zip64_fields_must_be_there_and_agree() {
    let real = |part: &Part| [u64::from(part.size), u64::from(part.compressed)];
    let wide = |central: &[u64], local: &[u64]| {
        zip(&[a().with(|part| {
            (part.size, part.compressed) = (u32::MAX, u32::MAX);
            (part.local_size, part.local_compressed) = (u32::MAX, u32::MAX);
            (part.extra, part.local_extra) = (zip64(central), zip64(local));
        })])
    };
    let [size, compressed] = real(&a());
    assert!(extract(&wide(&[size, compressed], &[size, compressed])).is_ok());
    assert!(extract(&wide(&[size, compressed, 0], &[size, compressed])).is_ok(), "the full list agrees");
    for (central, local) in [
        (&[size, compressed, 1][..], &[size, compressed][..]),
        (&[size], &[size, compressed]),
        (&[], &[size, compressed]),
        (&[size, compressed, 0, 0], &[size, compressed]),
        (&[size, compressed], &[size]),
        (&[size, compressed], &[]),
        (&[size, compressed], &[size, compressed, 0]),
    ] {
        refused_member(&wide(central, local), EntryFault::Zip64);
    }
    refused_member(&wide(&[size, compressed], &[size + 1, compressed]), EntryFault::HeadersDisagree("size"));
    refused_member(&wide(&[size, compressed], &[size, compressed + 1]), EntryFault::HeadersDisagree("size"));
    let missing = a().with(|part| part.size = u32::MAX);
    refused_member(&zip(&[missing]), EntryFault::Zip64);
    let one = a().with(|part| {
        part.size = u32::MAX;
        part.extra = zip64(&[12]);
    });
    assert!(extract(&zip(std::slice::from_ref(&one))).is_ok());
    let needless = a().with(|part| part.extra = zip64(&[12, 12, 0]));
    assert!(extract(&zip(&[needless])).is_ok());
    for lie in [[13, 12, 0], [12, 13, 0], [12, 12, 1]] {
        refused_member(&zip(&[a().with(|part| part.extra = zip64(&lie))]), EntryFault::Zip64);
    }
    let twice = one.with(|part| part.extra = [zip64(&[12]), zip64(&[12])].concat());
    refused_member(&zip(&[twice]), EntryFault::Extra);
    let huge = a().with(|part| {
        (part.size, part.compressed) = (u32::MAX, u32::MAX);
        part.extra = zip64(&[1000, u64::MAX]);
        part.flags = 0;
    });
    refused_member(&zip(&[huge]), EntryFault::HeadersDisagree("size"));
    let beyond = Part::raw(b"b", FILE, 8, b"", 0, 0).with(|part| {
        part.compressed = u32::MAX;
        part.extra = zip64(&[u64::MAX - 20]);
        part.local_compressed = u32::MAX;
        part.local_extra = zip64(&[u64::MAX - 20]);
    });
    refused_member(&zip(&[beyond]), EntryFault::Overlap);
}

#[test]
fn extra_fields_that_rename_a_member_are_refused() {
    let unicode =
        |name: &[u8]| extra(0x7075, &[&[1], &crc32fast::hash(b"a").to_le_bytes()[..], name].concat());
    assert!(extract(&zip(&[a().with(|part| part.extra = unicode(b"a"))])).is_ok());
    refused_member(&zip(&[a().with(|part| part.extra = unicode(b"b"))]), EntryFault::Extra);
    refused_member(&zip(&[a().with(|part| part.local_extra = unicode(b"b"))]), EntryFault::Extra);
    refused_member(&zip(&[a().with(|part| part.extra = extra(0x7075, b"\x01"))]), EntryFault::Extra);
    let padded = |bytes: &'static [u8]| {
        zip(&[a().with(|part| part.extra = [&extra(0xcafe, b"x")[..], bytes].concat())])
    };
    assert!(extract(&padded(b"")).is_ok());
    assert!(extract(&padded(b"\0\0\0")).is_ok());
    assert!(extract(&padded(b"\0\0\0\0")).is_ok(), "an empty field of id 0");
    refused_member(&padded(b"\0\0\x01"), EntryFault::Extra);
    refused_member(&padded(b"\0\0\x01\0"), EntryFault::Extra);
}

#[test]
fn overlapping_members_are_refused() {
    let shared = zip(&[a(), Part::stored(b"b", FILE, b"content of a").with(|part| part.offset = Some(0))]);
    refused_member(&shared, EntryFault::Overlap);
    let inner = zip(&[Part::stored(b"inner", FILE, b"x")]);
    let quoted = |offset: u32| {
        let outer = Part::stored(b"outer", FILE, &inner[..36]);
        let mut whole = Whole::of(&[outer]);
        let hidden = Part::stored(b"inner", FILE, b"x").with(|part| part.offset = Some(offset));
        whole.parts.push(hidden);
        whole.bytes()
    };
    refused_member(&quoted(35), EntryFault::Overlap);
    let past = |by: u32| {
        zip(&[a().with(|part| {
            (part.size, part.compressed, part.local_size, part.local_compressed) =
                (12 + by, 12 + by, 12 + by, 12 + by);
        })])
    };
    assert!(extract(&past(0)).is_ok());
    refused_member(&past(1), EntryFault::Overlap);
    let long_name = Part::stored(b"a", FILE, b"").with(|part| part.local_extra = extra(9, b"0123456789"));
    let bytes = zip(&[long_name]);
    let mut cut = bytes.clone();
    cut[28] = 15;
    refused_member(&cut, EntryFault::Overlap);
    let far = zip(&[a(), b().with(|part| part.offset = Some(u32::MAX - 1))]);
    refused_member(&far, EntryFault::Gap);
}

#[test]
fn bytes_that_belong_to_nothing_are_refused() {
    let whole = Whole::of(&[a(), b()]);
    assert_eq!(extract(&whole.bytes()).unwrap().files, 2);
    let with = |change: fn(&mut Whole)| {
        let mut whole = whole.clone();
        change(&mut whole);
        whole.bytes()
    };
    assert!(extract(&with(|whole| whole.comment = b"0123456789abcdef".to_vec())).is_ok());
    assert!(extract(&with(|whole| whole.comment = vec![b'x'; 65535])).is_ok());
    refused_container(&with(|whole| whole.trail = b"x".to_vec()), ContainerFault::TrailingBytes);
    refused_container(&with(|whole| whole.lead = b"x".to_vec()), ContainerFault::LeadingBytes);
    let shifted = [b"junk", &whole.bytes()[..]].concat();
    refused_container(&shifted, ContainerFault::LeadingBytes);
    refused_member(&with(|whole| whole.before_directory = b"x".to_vec()), EntryFault::Gap);
    refused_container(&with(|whole| whole.before_end = b"x".to_vec()), ContainerFault::LeadingBytes);
    refused_container(&with(|whole| whole.size_off = 1), ContainerFault::DirectoryBounds);
    refused_container(&with(|whole| whole.offset_off = 1), ContainerFault::DirectoryBounds);
    refused_container(&with(|whole| whole.offset_off = -1), ContainerFault::LeadingBytes);
    refused_container(&with(|whole| whole.size_off = 1 << 20), ContainerFault::DirectoryBounds);
    refused_container(&with(|whole| (whole.size_off, whole.offset_off) = (-1, 1)), ContainerFault::Count);
    let mut empty = Whole { lead: b"x".to_vec(), ..Whole::default() };
    refused_container(&empty.bytes(), ContainerFault::LeadingBytes);
    empty.lead.clear();
    assert_eq!(extract(&empty.bytes()).unwrap(), Summary::default());
}

#[test]
fn two_ends_are_one_too_many() {
    let end = Whole::default().bytes();
    let with_comment = |comment: &[u8]| {
        let mut whole = Whole::of(&[a()]);
        whole.comment = comment.to_vec();
        whole.bytes()
    };
    refused_container(&with_comment(&end), ContainerFault::AmbiguousEnd);
    refused_container(&with_comment(b"PK\x05\x06"), ContainerFault::AmbiguousEnd);
    // An end record that belongs to a zip file kept inside is only content.
    let nested = zip(&[Part::stored(b"inner.zip", FILE, &zip(&[a()]))]);
    assert!(extract(&nested).is_ok());
    // An end record whose comment would reach exactly to the end of the file is not.
    let content = [&end[..20], b"\0\0"].concat();
    let outer = zip(&[Part::stored(b"x", FILE, &content)]);
    let mut lying = content.clone();
    lying[20..].copy_from_slice(&((outer.len() - 31 - 22) as u16).to_le_bytes());
    assert!(extract(&outer).is_ok());
    refused_container(&zip(&[Part::stored(b"x", FILE, &lying)]), ContainerFault::AmbiguousEnd);
}

#[test]
fn cut_off_files_are_refused_at_every_length() {
    let bytes = zip(&[a(), b(), Part::stored(b"d/", FOLDER, b"")]);
    for len in 0..bytes.len() {
        let expected =
            if len > bytes.len() - 19 { ContainerFault::TrailingBytes } else { ContainerFault::NoEnd };
        refused_container(&bytes[..len], expected);
    }
    assert!(extract(&bytes).is_ok());
}

#[test]
fn the_end_record_must_tell_the_truth() {
    let with = |change: fn(&mut Whole)| {
        let mut whole = Whole::of(&[a(), b()]);
        change(&mut whole);
        whole.bytes()
    };
    refused_container(&with(|whole| whole.disks = [1, 0]), ContainerFault::MultiDisk);
    refused_container(&with(|whole| whole.disks = [0, 1]), ContainerFault::MultiDisk);
    refused_container(&with(|whole| whole.count_off = [0, 1]), ContainerFault::MultiDisk);
    refused_container(&with(|whole| whole.count_off = [1, 1]), ContainerFault::Count);
    refused_container(&with(|whole| whole.count_off = [-1, -1]), ContainerFault::Count);
    refused_container(&with(|whole| whole.count_off = [500, 500]), ContainerFault::Count);
    refused_container(&with(|whole| whole.parts[1].disk = 1), ContainerFault::MultiDisk);
    refused_container(&with(|whole| whole.count_off = [-3, -3]), ContainerFault::Zip64);
    let mut bytes = with(|_| ());
    let at = bytes.len() - 22 + 12;
    bytes[at..at + 4].fill(0xff);
    refused_container(&bytes, ContainerFault::Zip64);
    let mut bytes = with(|_| ());
    let at = bytes.len() - 22 + 16;
    bytes[at..at + 4].fill(0xff);
    refused_container(&bytes, ContainerFault::Zip64);
}

/// An archive of `a` and `b` with zip64 end records, and the offset of these.
fn with_end64() -> (Vec<u8>, usize) {
    let mut bytes = zip(&[a(), b()]);
    let end = bytes.split_off(bytes.len() - 22);
    let at = bytes.len();
    let (size, offset) = (&end[12..16], &end[16..20]);
    put(&mut bytes, &[0x0606_4b50, 44, 0, 0x002d_032d, 0, 0, 2, 0, 2, 0]);
    bytes.extend([size, &[0; 4], offset, &[0; 4]].concat());
    put(&mut bytes, &[0x0706_4b50, 0, at as u32, 0, 1]);
    bytes.extend(end);
    (bytes, at)
}

#[test]
fn zip64_end_records_must_agree_with_the_end_record() {
    let (good, at) = with_end64();
    assert_eq!(extract(&good).unwrap().files, 2);
    let end = good.len() - 22;
    for field in [8..12, 12..16, 16..20] {
        let mut wide = good.clone();
        wide[end + field.start..end + field.end].fill(0xff);
        assert_eq!(extract(&wide).unwrap().files, 2, "{field:?}");
    }
    let changed = |offset: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[offset] = to;
        bytes
    };
    for (offset, fault) in [
        (at, ContainerFault::Zip64),
        (at + 4, ContainerFault::Zip64),
        (at + 11, ContainerFault::Zip64),
        (at + 16, ContainerFault::MultiDisk),
        (at + 20, ContainerFault::MultiDisk),
        (at + 24, ContainerFault::MultiDisk),
        (at + 32, ContainerFault::MultiDisk),
        (at + 40, ContainerFault::Zip64),
        (at + 47, ContainerFault::Zip64),
        (at + 48, ContainerFault::Zip64),
        (at + 56 + 4, ContainerFault::Zip64),
        (at + 56 + 8, ContainerFault::Zip64),
        (at + 56 + 15, ContainerFault::Zip64),
        (at + 56 + 16, ContainerFault::Zip64),
    ] {
        refused_container(&changed(offset, 0xee), fault);
    }
    let mut both = changed(at + 24, 3);
    both[at + 32] = 3;
    refused_container(&both, ContainerFault::Zip64);
    both[end + 8..end + 12].fill(0xff);
    refused_container(&both, ContainerFault::Count);
    // Without its signature the locator is no locator, and stands where the directory should end.
    refused_container(&changed(at + 56, 0), ContainerFault::LeadingBytes);
    let mut short = Vec::new();
    put(&mut short, &[0x0706_4b50, 0, 0, 0, 1]);
    short.extend(Whole::default().bytes());
    refused_container(&short, ContainerFault::Zip64);
}

#[test]
fn members_may_lie_in_another_order_than_the_directory_says() {
    let mut whole = Whole::of(&[a(), b()]);
    let first_len = (30 + 1 + 12) as u32;
    whole.parts.reverse();
    let reversed = whole.bytes();
    // The directory of one order over the members of the other.
    let members_end = reversed.len() - 22 - 2 * 47;
    let forward = zip(&[a(), b()]);
    let mut mixed = forward[..members_end].to_vec();
    let second_of_reversed = members_end as u32 - first_len;
    let mut directory = reversed[members_end..].to_vec();
    assert_eq!(directory[42..46], 0_u32.to_le_bytes());
    assert_eq!(directory[47 + 42..47 + 46], second_of_reversed.to_le_bytes());
    directory[42..46].copy_from_slice(&first_len.to_le_bytes());
    directory[47 + 42..47 + 46].copy_from_slice(&0_u32.to_le_bytes());
    mixed.extend(directory);
    let entries = list(Cursor::new(&mixed), &Limits::default()).unwrap();
    assert_eq!(entries.iter().map(ArchiveEntry::name).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(extract(&mixed).unwrap().files, 2);
}
