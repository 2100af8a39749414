//! Whatever stands in the file, it is taken or refused with at least one finding; nothing panics.

use super::{Place, project};

/// xorshift64*; the seeds are fixed, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).expect("31 bits") % below
    }
}

const PIECES: [&str; 44] = [
    "[[project]]",
    "[[project.pipeline]]",
    "[server]",
    "[database]",
    "[storage]",
    "[worker]",
    "name",
    "git",
    "forge",
    "repository",
    "secret",
    "token",
    "poll",
    "kind",
    "branches",
    "tags",
    "key",
    "tag_key",
    "release_key",
    "schedule",
    "keep",
    "listen",
    "public_url",
    "url",
    "=",
    "=",
    "=",
    "\n",
    "\n",
    "\n",
    "\"archive\"",
    "[\"**\"]",
    "{",
    "}",
    "[",
    "]",
    "\"{branch}{tag_}\"",
    "\"https://[::1]:0/\u{0}é/../a b.git\"",
    "-9223372036854775808",
    "1e400",
    "\"\u{feff}\"",
    "\"sqlite:\"",
    "\"*/5 * * * *\"",
    "\"99999999999d\"",
];

#[test]
fn rubbish_never_panics() {
    let place = Place::new();
    let whole = project(
        "secret = { env = \"SECRET\" }\npoll = \"5m\"\nrepository_id = 7",
        "branches = [\"main\", \"release/{a,b}/**\"]\ntags = [\"v[0-9]*\"]\nkeep = { days = 9 }\nschedule = \"0 3 * * *\"",
    );
    let mut taken = 0;
    for seed in 1..=1500 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut text = if seed % 3 == 0 { String::new() } else { whole.clone() };
        for _ in 0..=random.next(12) {
            let at = text.floor_char_boundary(random.next(text.len() + 1));
            match random.next(4) {
                0 => text.replace_range(at..text.floor_char_boundary(at + random.next(9)), ""),
                1 => {
                    text.insert(
                        at,
                        char::from_u32(u32::try_from(random.next(0x300)).unwrap()).unwrap_or('x'),
                    );
                }
                _ => text.insert_str(at, PIECES[random.next(PIECES.len())]),
            }
        }
        place.write("gristmill.toml", &text);
        match place.load() {
            Ok(_) => taken += 1,
            Err(errors) => {
                assert!(!errors.findings.is_empty() && errors.findings.len() <= 50, "seed {seed}");
                assert!(
                    errors.to_string().lines().all(|line| !line.contains(char::is_control)),
                    "seed {seed}"
                );
            }
        }
    }
    assert!((10..1000).contains(&taken), "{taken} taken: the rubbish is too wild or too tame");
}
