//! The bodies of deliveries as they are stored: packed, because what a sender repeats in each of them is most
//! of what the disk would have to take before the sender is answered.

/// The first byte: the body itself follows.
const AS_IT_IS: u8 = 0;
/// The first byte: one LZ4 block follows.
const LZ4: u8 = 1;
/// That byte and the CRC-32 of the body, little-endian: a disk that flips a bit is found out.
const HEAD: usize = 5;

/// A body on its way to the disk. Packing is the caller's work, done where it runs: the thread that
/// writes is one for all.
#[derive(Clone, Debug)]
pub struct Body {
    pub(crate) packed: Vec<u8>,
    pub(crate) length: i64,
}

impl Body {
    /// Packs `bytes`.
    pub fn pack(bytes: &[u8]) -> Body {
        let mut packed = vec![0; HEAD + lz4_flex::block::get_maximum_output_size(bytes.len())];
        packed[1..HEAD].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        match lz4_flex::block::compress_into(bytes, &mut packed[HEAD..]) {
            Ok(length) if length < bytes.len() => {
                packed[0] = LZ4;
                packed.truncate(HEAD + length);
            }
            _ => {
                packed[0] = AS_IT_IS;
                packed.truncate(HEAD);
                packed.extend_from_slice(bytes);
            }
        }
        packed.shrink_to_fit();
        Body { packed, length: i64::try_from(bytes.len()).expect("bodies are bounded") }
    }

    /// Whether `stored` is the same body. Another version of the program may have packed it otherwise.
    pub(crate) fn is(&self, stored: &[u8], length: i64) -> Result<bool, DamagedBody> {
        if self.packed == stored || self.length != length {
            return Ok(self.length == length);
        }
        Ok(unpack(&self.packed, length)? == unpack(stored, length)?)
    }
}

/// A stored body is not what was packed. It is not acted on; the remote is asked all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored body is damaged: {0}; check the disk under the database")]
pub struct DamagedBody(String);

/// The body that was packed. Its length is stored beside it, so that what a damaged block claims does
/// not matter.
pub(crate) fn unpack(packed: &[u8], length: i64) -> Result<Vec<u8>, DamagedBody> {
    let fault = DamagedBody;
    let length = usize::try_from(length).map_err(|_| fault(format!("{length} bytes")))?;
    let bytes = match packed.split_at_checked(HEAD) {
        Some((&[AS_IT_IS, ..], bytes)) => bytes.to_vec(),
        // No block unpacks to more than 255 times its length.
        Some((&[LZ4, ..], block)) if length / 255 <= block.len() => {
            lz4_flex::block::decompress(block, length).map_err(|error| fault(error.to_string()))?
        }
        _ => return Err(fault(format!("{} bytes packed for {length}", packed.len()))),
    };
    if bytes.len() == length && crc32fast::hash(&bytes).to_le_bytes() == packed[1..HEAD] {
        Ok(bytes)
    } else {
        Err(fault("its checksum differs".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(bytes: &[u8]) -> usize {
        let body = Body::pack(bytes);
        assert_eq!(unpack(&body.packed, body.length).unwrap(), bytes);
        assert!(body.is(&body.packed, body.length).unwrap());
        body.packed.len()
    }

    #[test]
    fn bodies_come_back_as_they_were() {
        assert_eq!(round(b""), 5);
        assert_eq!(round(b"{}"), 7);
        assert!(round(&b"{\"ref\":\"refs/heads/main\"},".repeat(300)) < 300);
        assert!(round(&vec![b' '; 25 << 20]) < 110_000, "the largest body, which packs best");
        // Nothing repeats.
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(5_000)
        .collect();
        assert_eq!(round(&noise), 5_005);
    }

    #[test]
    fn a_damaged_body_is_an_error() {
        let body = Body::pack(&b"abcdefgh".repeat(100));
        let (packed, length) = (body.packed.as_slice(), body.length);
        for (packed, length) in [
            (&[][..], 0),
            (&[7][..], 0),
            (&[AS_IT_IS, 0, 0, 0, 0][..], 1),
            (&[AS_IT_IS, 1, 0, 0, 0][..], 0),
            (&[AS_IT_IS, 0, 0, 0, 0][..], -1),
            (packed, length - 1),
            (packed, length + 1),
            (packed, i64::MAX),
            (&packed[..packed.len() - 3], length),
            (&[LZ4, 0, 0, 0, 0][..], 0),
        ] {
            assert!(unpack(packed, length).is_err(), "{length}");
        }
        let mut bent = body.packed.clone();
        for at in 0..bent.len() {
            bent[at] ^= 0x10;
            assert!(unpack(&bent, length).is_err(), "a bit of byte {at}");
            bent[at] ^= 0x10;
        }
    }

    #[test]
    fn the_same_body_is_known_however_it_was_packed() {
        let bytes = b"abcdefgh".repeat(100);
        let body = Body::pack(&bytes);
        let otherwise = [&[AS_IT_IS], &body.packed[1..HEAD], &bytes].concat();
        assert!(body.is(&otherwise, 800).unwrap());
        let other = Body::pack(&b"abcdefgi".repeat(100));
        assert!(!body.is(&other.packed, 800).unwrap());
        assert!(!body.is(&Body::pack(b"abc").packed, 3).unwrap());
        assert!(body.is(b"bent", 800).is_err());
    }
}
