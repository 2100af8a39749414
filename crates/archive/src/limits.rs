//! How much an archive that nobody vouches for may take.

/// Content up to this size is never judged by its ratio: a small file of zeros is no bomb.
pub(crate) const RATIO_FREE_BYTES: u64 = 1 << 20;

/// Bounds of one extraction. Everything at a bound is accepted, one more is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files, symbolic links and folders, those that only follow from a path included.
    pub files_max: u64,
    /// Bytes of all content.
    pub bytes_total_max: u64,
    /// Bytes of one file's content.
    pub file_bytes_max: u64,
    /// Content by compressed size, of each member and of the whole; the first MiB is free.
    pub ratio_max: u64,
    /// Bytes of a path, and of a symbolic link's target.
    pub path_bytes_max: usize,
    /// Components of a path.
    pub depth_max: usize,
}

impl Default for Limits {
    /// Enough for the largest source trees in common use; deflate itself ends at a ratio of about 1030.
    fn default() -> Self {
        Self {
            files_max: 500_000,
            bytes_total_max: 8 << 30,
            file_bytes_max: 2 << 30,
            ratio_max: 200,
            path_bytes_max: 1024,
            depth_max: 100,
        }
    }
}

impl Limits {
    /// Whether so much content from so many bytes is within the ratio.
    pub(crate) fn is_ratio_fine(&self, content: u64, compressed: u64) -> bool {
        content <= RATIO_FREE_BYTES.saturating_add(compressed.saturating_mul(self.ratio_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_counts_beyond_the_first_mebibyte() {
        let limits = Limits { ratio_max: 10, ..Limits::default() };
        assert!(limits.is_ratio_fine(1 << 20, 0));
        assert!(!limits.is_ratio_fine((1 << 20) + 1, 0));
        assert!(limits.is_ratio_fine((1 << 20) + 70, 7));
        assert!(!limits.is_ratio_fine((1 << 20) + 71, 7));
        assert!(limits.is_ratio_fine(u64::MAX, u64::MAX));
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        expect_test::expect![[r#"
            Limits {
                files_max: 500000,
                bytes_total_max: 8589934592,
                file_bytes_max: 2147483648,
                ratio_max: 200,
                path_bytes_max: 1024,
                depth_max: 100,
            }
        "#]]
        .assert_debug_eq(&Limits::default());
    }
}
