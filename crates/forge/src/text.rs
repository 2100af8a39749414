//! Foreign text as an error or a reason may repeat it.

/// How many characters of a foreign text are repeated.
const SHOWN_CHARS_MAX: usize = 100;

/// How many of them come from the end, where the JSON parser says what it expected and where.
const SHOWN_CHARS_TAIL: usize = 60;

/// `text` cut in the middle and without control characters, because it ends up in terminals and logs.
pub(crate) fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let Some((cut, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) else {
        return text.chars().map(clean).collect();
    };
    let head = text[..cut].chars().take(SHOWN_CHARS_MAX - SHOWN_CHARS_TAIL);
    let (tail, _) =
        text.char_indices().rev().nth(SHOWN_CHARS_TAIL - 1).expect("the text is longer than its tail");
    head.chain(['…']).chain(text[tail..].chars()).map(clean).collect()
}
