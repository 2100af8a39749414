//! Any headers: whoever does not know the secret is not let in, and there is no panic.
#![no_main]

use bytes::Bytes;
use gristmill_forge::{Forge, Headers, Secret, VerifyOptions, verify, verify_dummy};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 5] =
    ["X-Hub-Signature-256", "x-hub-signature", "X-GitHub-Event", "X-GitHub-Delivery", "X-Gitea-Signature"];

fuzz_target!(|input: (Vec<(u8, &[u8])>, &[u8], bool)| {
    let (headers, body, allow_sha1) = input;
    let headers = Headers::new(headers.iter().map(|(name, value)| (NAMES[usize::from(*name) % NAMES.len()], *value)));
    let secret = Secret::new("no input can guess this").expect("it is not empty");
    let (body, options) = (Bytes::copy_from_slice(body), VerifyOptions { allow_sha1 });
    let known = verify(Forge::Github, &headers, body.clone(), std::slice::from_ref(&secret), options);
    let error = known.expect_err("the signature is a guess");
    assert!(!error.is_authenticated());
    assert_eq!(verify_dummy(Forge::Github, &headers, body, &secret, options), error);
});
