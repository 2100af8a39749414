//! Any bytes under any event's name: events or a bounded sentence, never a panic.
#![no_main]

use gristmill_forge::{Forge, parse_unverified};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (choice, name, body) = input;
    let event = match choice % 8 {
        0 => None,
        1 => Some("push"),
        2 => Some("create"),
        3 => Some("delete"),
        4 => Some("release"),
        5 => Some("ping"),
        _ => Some(name),
    };
    match parse_unverified(Forge::Github, event, body) {
        Ok(events) => assert!(!events.is_empty()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.chars().count() <= 500 && !text.contains(char::is_control), "{text:?}");
        }
    }
});
