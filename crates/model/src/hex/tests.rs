use super::*;

#[test]
fn every_byte_has_its_two_digits() {
    for byte in 0..=255_u8 {
        let text = format!("{byte:02x}");
        assert_eq!(encode(&[byte]), text);
        assert_eq!(decode(&text), Some(vec![byte]));
    }
    assert_eq!(encode(&[]), "");
    assert_eq!(decode(""), Some(Vec::new()));
    assert_eq!(encode(&[0, 0x1f, 0xf0]), "001ff0");
    assert_eq!(decode("001ff0"), Some(vec![0, 0x1f, 0xf0]));
}

#[test]
fn anything_else_is_refused() {
    for c in 0..=127_u8 {
        let good = c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let c = char::from(c);
        assert_eq!(decode(&format!("{c}0")).is_some(), good, "{c:?}");
        assert_eq!(decode(&format!("0{c}")).is_some(), good, "{c:?}");
    }
    for text in ["0", "000", "é", "0x10", "00 "] {
        assert_eq!(decode(text), None, "{text}");
    }
}
