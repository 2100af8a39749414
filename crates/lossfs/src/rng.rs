//! A small seeded generator, so that a failing campaign can be run again from its seed.

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, good enough for choosing moments and pages.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..=last`. The bias of the multiplication is below 2⁻³² for the small ranges used here.
    pub fn up_to(&mut self, last: u64) -> u64 {
        let range = u128::from(last) + 1;
        u64::try_from((u128::from(self.next_u64()) * range) >> 64)
            .expect("below the range, which ends in u64")
    }

    /// A number in `0.0..1.0`, in steps of 2⁻³².
    pub fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next_u64() >> 32).expect("32 bits are left"))
            / (f64::from(u32::MAX) + 1.0)
    }

    /// True in `in_eight` of eight cases.
    pub(crate) fn eighths(&mut self, in_eight: u64) -> bool {
        self.up_to(7) < in_eight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_splitmix64() {
        // The first values for seed 1234567 as published with the reference implementation.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(rng.next_u64(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn up_to_reaches_both_ends_and_nothing_beyond() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 4];
        for _ in 0..4000 {
            seen[usize::try_from(rng.up_to(3)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
        assert_eq!(rng.up_to(0), 0);
    }

    #[test]
    fn eighths_are_eighths() {
        let mut rng = Rng::new(2);
        assert!((0..100).all(|_| rng.eighths(8)));
        assert!((0..100).all(|_| !rng.eighths(0)));
        let hits = (0..8000).filter(|_| rng.eighths(1)).count();
        assert!((850..1150).contains(&hits), "{hits}");
    }

    #[test]
    fn fractions_fill_the_unit_interval() {
        let mut rng = Rng::new(3);
        let values: Vec<f64> = (0..4000).map(|_| rng.fraction()).collect();
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        let mean = values.iter().sum::<f64>() / 4000.0;
        assert!((0.47..0.53).contains(&mean), "{mean}");
    }
}
