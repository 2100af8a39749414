//! A tar file built field by field, so that any field can lie.

use std::io::Write;

/// One header and its content.
#[derive(Clone)]
pub(crate) struct Block<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) mode: &'a [u8; 8],
    /// None: that of the content.
    pub(crate) size: Option<&'a [u8; 12]>,
    pub(crate) kind: u8,
    pub(crate) target: &'a [u8],
    pub(crate) magic: &'a [u8; 8],
    pub(crate) prefix: &'a [u8],
    pub(crate) content: &'a [u8],
    /// The last byte of the last block.
    pub(crate) padding: u8,
}

impl<'a> Block<'a> {
    pub(crate) fn file(name: &'a [u8], content: &'a [u8]) -> Self {
        Self {
            name,
            mode: b"0000644\0",
            size: None,
            kind: b'0',
            target: b"",
            magic: b"ustar\x0000",
            prefix: b"",
            content,
            padding: 0,
        }
    }

    pub(crate) fn link(name: &'a [u8], target: &'a [u8]) -> Self {
        Self { kind: b'2', target, ..Self::file(name, b"") }
    }

    pub(crate) fn folder(name: &'a [u8]) -> Self {
        Self { kind: b'5', ..Self::file(name, b"") }
    }

    /// The same with changes.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0; 512];
        let size = format!("{:011o}\0", self.content.len());
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.name);
        put(100, self.mode);
        put(124, self.size.map_or(size.as_bytes(), |size| size));
        put(136, b"00000000000\0        ");
        put(156, &[self.kind]);
        put(157, self.target);
        put(257, self.magic);
        put(345, self.prefix);
        let sum: u32 = out.iter().map(|&byte| u32::from(byte)).sum();
        out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(self.content);
        out.resize(out.len().next_multiple_of(512), 0);
        if self.padding != 0 {
            *out.last_mut().expect("a block at least") = self.padding;
        }
        out
    }
}

/// An extended header: `x` for one member, `g` for all.
pub(crate) fn pax(kind: u8, records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| rest + length.to_string().len() == *length).expect("some length");
        content.extend([length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
    }
    Block::file(b"pax", &content).with(|block| block.kind = kind).bytes()
}

/// GNU's long name (`L`) or target (`K`).
pub(crate) fn gnu_long(kind: u8, text: &[u8]) -> Vec<u8> {
    Block::file(b"././@LongLink", text).with(|block| (block.kind, block.magic) = (kind, b"ustar  \0")).bytes()
}

pub(crate) fn end() -> Vec<u8> {
    vec![0; 1024]
}

pub(crate) fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), end()].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
