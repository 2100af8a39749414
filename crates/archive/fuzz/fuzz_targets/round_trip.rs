#![no_main]
#![expect(dead_code, reason = "each target runs one of the checks")]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    checks::round_trip(bytes);
});
