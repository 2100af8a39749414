use super::*;
use crate::config::Surroundings;
use gristmill_model::Timestamp;

fn ring(keys: &[u8]) -> Keyring {
    Keyring { keys: keys.iter().map(|key| ServerKey::new(&[*key; KEY_BYTES])).collect() }
}

fn owner(project: u128, key: u128) -> Owner {
    Owner::DeployKey(ProjectId::new(Timestamp(1), project), DeployKeyId::new(Timestamp(1), key))
}

#[test]
fn a_sealed_text_opens_for_its_row_and_its_key_only() {
    let sealed = ring(&[1]).seal(owner(1, 2), b"secret", 5);
    assert_eq!(sealed.len(), HEAD_BYTES + 6 + 16);
    assert_eq!(sealed[0], 1, "the form");
    let open = |keys: &[u8], owner| ring(keys).open_sealed(owner, &sealed).map(|text| text.to_vec());
    for (keys, of, expected) in [
        (&[1][..], owner(1, 2), Some(&b"secret"[..])),
        (&[2, 1], owner(1, 2), Some(b"secret")),
        (&[1], owner(1, 3), None),
        (&[1], owner(2, 2), None),
        (&[2], owner(1, 2), None),
    ] {
        assert_eq!(open(keys, of).ok().as_deref(), expected, "{keys:?} {of:?}");
    }
    assert!(matches!(open(&[2], owner(1, 2)), Err(SealError::OtherKey)));
    assert!(matches!(open(&[1], owner(9, 2)), Err(SealError::Damaged)));
}

#[test]
fn each_changed_bit_and_each_cut_is_noticed() {
    let sealed = ring(&[1]).seal(owner(1, 2), b"secret", 5);
    for at in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[at / 8] ^= 1 << (at % 8);
        assert!(ring(&[1]).open_sealed(owner(1, 2), &changed).is_err(), "bit {at}");
    }
    for length in 0..sealed.len() {
        assert!(ring(&[1]).open_sealed(owner(1, 2), &sealed[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_first_key_seals_and_nothing_repeats() {
    let old = ring(&[1]).seal(owner(1, 2), b"secret", 5);
    let both = ring(&[2, 1]);
    assert!(both.knows(&old) && !both.is_newest(&old));
    let new = both.seal(owner(1, 2), b"secret", 5);
    assert!(both.is_newest(&new) && !ring(&[1]).knows(&new));
    assert!(!both.knows(b"") && !both.knows(b"\x02 is another form and long enough for all of it"));
    let again = both.seal(owner(1, 2), b"secret", 6);
    assert_ne!(new, again, "another nonce");
    // The sealed text shows neither the secret nor the server's key.
    for text in [&old, &new, &again] {
        assert!(!text.windows(6).any(|part| part == b"secret"));
        assert!(!text.windows(4).any(|part| part == [1; 4] || part == [2; 4]));
    }
    assert_eq!(format!("{:?}", ring(&[1])), format!("[{:?}]", hex::encode(&old[1..9])));
}

#[test]
fn a_key_is_64_digits() {
    for (text, good) in [
        ("0123456789abcdef".repeat(4), true),
        ("0123456789ABCDEF".repeat(4), true),
        (format!(" {}\r\n", "0".repeat(64)), true),
        ("0".repeat(63), false),
        ("0".repeat(66), false),
        ("g".repeat(64), false),
        (String::new(), false),
    ] {
        assert_eq!(parse(text.as_bytes()).is_some(), good, "{text:?}");
    }
    assert!(parse(&[0xff; 64]).is_none());
}

fn config(folder: &std::path::Path, key: &str) -> Config {
    std::fs::write(folder.join("gristmill.toml"), format!("[server]\n{key}\n")).unwrap();
    let mut around = Surroundings::new(folder.to_owned(), |_| None).without_secrets();
    around.system_file = folder.join("none");
    Config::load(None, &around).unwrap()
}

#[test]
fn a_key_is_made_once_and_never_written_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "");
    std::fs::create_dir(&config.data_dir).unwrap();
    let path = config.data_dir.join(FILE_NAME);
    assert!(Keyring::open(&config, &|_| None).unwrap().is_none());
    let made = Keyring::make(&config, &[1; KEY_BYTES]).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", "01".repeat(32)));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // Another process was faster: its key counts.
    let second = Keyring::make(&config, &[2; KEY_BYTES]).unwrap();
    let read = Keyring::open(&config, &|_| None).unwrap().unwrap();
    assert_eq!(format!("{made:?}"), format!("{second:?}"));
    assert_eq!(format!("{made:?}"), format!("{read:?}"));
    assert_eq!(std::fs::read_dir(&config.data_dir).unwrap().count(), 1, "nothing is left over");
    std::fs::write(&path, "rubbish").unwrap();
    let error = Keyring::open(&config, &|_| None).unwrap_err().to_string();
    assert!(error.contains("64 hexadecimal digits") && !error.contains("rubbish"), "{error}");
}

#[test]
fn configured_keys_count_instead_of_the_one_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "key = [{ env = \"NEW\" }, { file = \"old.key\" }]");
    std::fs::write(folder.path().join("old.key"), "01".repeat(32)).unwrap();
    let env = |name: &str| (name == "NEW").then(|| "02".repeat(32));
    let opened = Keyring::open(&config, &env).unwrap().unwrap();
    assert_eq!(format!("{opened:?}"), format!("{:?}", ring(&[2, 1])));
    let error = Keyring::open(&config, &|_| None).unwrap_err();
    assert!(matches!(error, SealError::Source(SecretError::NotSet(_))), "{error}");
}
