//! The records of a zip file as bytes: local header, data descriptor, central header and end records
//! (APPNOTE.TXT 4.3.7, 4.3.9, 4.3.12, 4.3.14 to 4.3.16, 4.5.3).

/// A 32-bit field with this value says that the zip64 record holds the real one.
pub(crate) const MAX32: u64 = 0xFFFF_FFFF;
/// The same for the 16-bit counts of the end record.
pub(crate) const MAX16: u64 = 0xFFFF;

pub(crate) const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
pub(crate) const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;
pub(crate) const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
pub(crate) const END_SIGNATURE: u32 = 0x0605_4b50;
pub(crate) const END64_SIGNATURE: u32 = 0x0606_4b50;
pub(crate) const LOCATOR64_SIGNATURE: u32 = 0x0706_4b50;

/// Bit 3: sizes and checksum follow the data.
pub(crate) const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Bit 11: the name is UTF-8.
pub(crate) const FLAG_UTF8: u16 = 1 << 11;

/// The extra field that holds 64-bit sizes and offsets.
pub(crate) const EXTRA_ZIP64: u16 = 0x0001;

/// 2.0: folders and deflate.
const VERSION_PLAIN: u16 = 20;
/// 4.5: zip64.
const VERSION_ZIP64: u16 = 45;
/// Unix (upper byte), by the rules of version 4.5.
const MADE_BY: u16 = (3 << 8) | VERSION_ZIP64;
/// 1980-01-01, the first day that DOS knows: year 0, month 1, day 1.
const DOS_DATE: u16 = (1 << 5) | 1;
/// 00:00:00.
const DOS_TIME: u16 = 0;
/// The attribute by which DOS marks a folder.
const DOS_DIRECTORY: u32 = 0x10;

/// What the headers of one member say.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    /// The name as it stands in the archive; a folder's ends in a slash.
    pub(crate) name: &'a [u8],
    /// File type and permissions of unix.
    pub(crate) mode: u32,
    /// 0 stored, 8 deflated.
    pub(crate) method: u16,
    pub(crate) crc32: u32,
    pub(crate) size: u64,
    pub(crate) compressed: u64,
    /// Where the local header starts.
    pub(crate) offset: u64,
    pub(crate) tail: Tail,
}

/// Where sizes and checksum of a member stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// In the local header.
    None,
    /// In a data descriptor with 32-bit sizes.
    Descriptor,
    /// In a data descriptor with 64-bit sizes, announced by a zip64 field in the local header.
    Descriptor64,
}

impl Header<'_> {
    fn flags(&self) -> u16 {
        let utf8 = !self.name.is_ascii() && str::from_utf8(self.name).is_ok();
        let descriptor = self.tail != Tail::None;
        (if utf8 { FLAG_UTF8 } else { 0 }) | (if descriptor { FLAG_DESCRIPTOR } else { 0 })
    }

    fn name_len(&self) -> u16 {
        u16::try_from(self.name.len()).expect("names are checked before")
    }

    /// The local header. Members without a descriptor are below the sizes that zip64 is for.
    pub(crate) fn put_local(&self, out: &mut Vec<u8>) {
        let zip64 = self.tail == Tail::Descriptor64;
        let (crc32, compressed, size) = match self.tail {
            Tail::None => (self.crc32, low32(self.compressed), low32(self.size)),
            Tail::Descriptor => (0, 0, 0),
            Tail::Descriptor64 => (0, u32::MAX, u32::MAX),
        };
        put32(out, LOCAL_SIGNATURE);
        put16(out, if zip64 { VERSION_ZIP64 } else { VERSION_PLAIN });
        put16(out, self.flags());
        put16(out, self.method);
        put16(out, DOS_TIME);
        put16(out, DOS_DATE);
        put32(out, crc32);
        put32(out, compressed);
        put32(out, size);
        put16(out, self.name_len());
        put16(out, if zip64 { 20 } else { 0 });
        out.extend_from_slice(self.name);
        if zip64 {
            put16(out, EXTRA_ZIP64);
            put16(out, 16);
            put64(out, 0);
            put64(out, 0);
        }
    }

    /// The data descriptor, where there is one.
    pub(crate) fn put_descriptor(&self, out: &mut Vec<u8>) {
        if self.tail == Tail::None {
            return;
        }
        put32(out, DESCRIPTOR_SIGNATURE);
        put32(out, self.crc32);
        if self.tail == Tail::Descriptor64 {
            put64(out, self.compressed);
            put64(out, self.size);
        } else {
            put32(out, low32(self.compressed));
            put32(out, low32(self.size));
        }
    }

    /// The header in the central directory, with a zip64 field for exactly those values that need it.
    pub(crate) fn put_central(&self, out: &mut Vec<u8>) {
        let wide = [self.size, self.compressed, self.offset].map(|value| (value >= MAX32).then_some(value));
        let wide_count = wide.iter().flatten().count() as u16;
        let zip64 = wide_count > 0 || self.tail == Tail::Descriptor64;
        let is_folder = self.name.ends_with(b"/");
        put32(out, CENTRAL_SIGNATURE);
        put16(out, MADE_BY);
        put16(out, if zip64 { VERSION_ZIP64 } else { VERSION_PLAIN });
        put16(out, self.flags());
        put16(out, self.method);
        put16(out, DOS_TIME);
        put16(out, DOS_DATE);
        put32(out, self.crc32);
        put32(out, low32(self.compressed));
        put32(out, low32(self.size));
        put16(out, self.name_len());
        put16(out, if wide_count > 0 { 4 + 8 * wide_count } else { 0 });
        put16(out, 0); // no comment
        put16(out, 0); // on the first disk
        put16(out, 0); // no internal attributes
        put32(out, (self.mode << 16) | (if is_folder { DOS_DIRECTORY } else { 0 }));
        put32(out, low32(self.offset));
        out.extend_from_slice(self.name);
        if wide_count > 0 {
            put16(out, EXTRA_ZIP64);
            put16(out, 8 * wide_count);
            wide.iter().flatten().for_each(|value| put64(out, *value));
        }
    }
}

/// The end of the archive: the zip64 records where a value needs them, then the end record.
pub(crate) fn put_end(out: &mut Vec<u8>, entries: u64, directory_offset: u64, directory_size: u64) {
    if entries >= MAX16 || directory_offset >= MAX32 || directory_size >= MAX32 {
        put32(out, END64_SIGNATURE);
        put64(out, 44); // the length of what follows in this record
        put16(out, MADE_BY);
        put16(out, VERSION_ZIP64);
        put32(out, 0); // this disk
        put32(out, 0); // the directory's disk
        put64(out, entries);
        put64(out, entries);
        put64(out, directory_size);
        put64(out, directory_offset);
        put32(out, LOCATOR64_SIGNATURE);
        put32(out, 0); // that record's disk
        put64(out, directory_offset + directory_size);
        put32(out, 1); // disks in all
    }
    let count = entries.min(MAX16) as u16;
    put32(out, END_SIGNATURE);
    put16(out, 0);
    put16(out, 0);
    put16(out, count);
    put16(out, count);
    put32(out, low32(directory_size));
    put32(out, low32(directory_offset));
    put16(out, 0); // no comment
}

/// The value, or the mark that the zip64 record holds it.
fn low32(value: u64) -> u32 {
    value.min(MAX32) as u32
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u64, compressed: u64, offset: u64, tail: Tail) -> Vec<u8> {
        let mut out = Vec::new();
        Header { name: b"a", mode: 0o100_644, method: 8, crc32: 1, size, compressed, offset, tail }
            .put_central(&mut out);
        out
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    }

    /// Version needed, the three values, and the extra field.
    fn check(central: &[u8], version: u8, values: [u32; 3], wide: &[u64]) {
        assert_eq!(central[6], version);
        assert_eq!([u32_at(central, 24), u32_at(central, 20), u32_at(central, 42)], values);
        let mut extra = Vec::new();
        if !wide.is_empty() {
            put16(&mut extra, EXTRA_ZIP64);
            put16(&mut extra, 8 * wide.len() as u16);
            wide.iter().for_each(|value| put64(&mut extra, *value));
        }
        assert_eq!(usize::from(central[30]), extra.len());
        assert_eq!(central[47..], extra);
    }

    #[test]
    fn the_directory_holds_64_bits_of_exactly_those_values_that_need_them() {
        const BELOW: u64 = MAX32 - 1;
        let max = u32::MAX;
        check(&header(BELOW, BELOW, BELOW, Tail::Descriptor), 20, [max - 1; 3], &[]);
        check(&header(3, 2, 1, Tail::None), 20, [3, 2, 1], &[]);
        check(&header(3, 2, 1, Tail::Descriptor64), 45, [3, 2, 1], &[]);
        check(&header(MAX32, 2, 1, Tail::Descriptor64), 45, [max, 2, 1], &[MAX32]);
        check(&header(3, MAX32, 1, Tail::Descriptor64), 45, [3, max, 1], &[MAX32]);
        check(&header(3, 2, MAX32, Tail::None), 45, [3, 2, max], &[MAX32]);
        let (size, compressed, offset) = (1 << 40, 1 << 39, 1 << 41);
        let all = header(size, compressed, offset, Tail::Descriptor64);
        check(&all, 45, [max; 3], &[size, compressed, offset]);
    }

    fn end(entries: u64, offset: u64, size: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_end(&mut out, entries, offset, size);
        out
    }

    #[test]
    fn the_end_holds_64_bits_where_a_value_needs_them() {
        let narrow = end(MAX16 - 1, MAX32 - 1, MAX32 - 1);
        let expected = b"PK\x05\x06\0\0\0\0\xfe\xff\xfe\xff\xfe\xff\xff\xff\xfe\xff\xff\xff\0\0";
        assert_eq!(narrow, expected);
        for (entries, offset, size) in
            [(MAX16, 5, 6), (2, MAX32, 6), (2, 5, MAX32), (1 << 33, 1 << 34, 1 << 35)]
        {
            let wide = end(entries, offset, size);
            let mut expected = b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\x03\x2d\0".to_vec();
            expected.extend([0; 8]);
            [entries, entries, size, offset].iter().for_each(|value| put64(&mut expected, *value));
            expected.extend(b"PK\x06\x07\0\0\0\0");
            put64(&mut expected, offset + size);
            expected.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
            [entries, entries].iter().for_each(|value| put16(&mut expected, (*value).min(MAX16) as u16));
            [size, offset].iter().for_each(|value| put32(&mut expected, (*value).min(MAX32) as u32));
            expected.extend([0; 2]);
            assert_eq!(wide, expected);
        }
    }
}
