//! Any bytes from any forge under any event's name: events or a bounded sentence, never a panic.
#![no_main]

use gristmill_forge::{Forge, parse_unverified, post_receive_body};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &str, &[u8])| {
    let (forge, choice, name, body) = input;
    let event = match choice % 10 {
        0 => None,
        1 => Some("push"),
        2 => Some("create"),
        3 => Some("delete"),
        4 => Some("release"),
        5 => Some("ping"),
        6 => Some("repo:push"),
        7 => Some("repo:refs_changed"),
        _ => Some(name),
    };
    match parse_unverified(Forge::ALL[usize::from(forge) % Forge::ALL.len()], event, body) {
        Ok(events) => assert!(!events.is_empty()),
        Err(error) => {
            let text = error.to_string();
            assert!(text.chars().count() <= 500 && !text.contains(char::is_control), "{text:?}");
        }
    }
    // What is made of a hook's standard input is always understood.
    if let Ok(made) = post_receive_body("acme/shop", body) {
        assert!(parse_unverified(Forge::Bare, None, made.as_bytes()).is_ok());
    }
});
