//! Signature version 4, written from AWS's description for requests whose whole body is signed. It is not the
//! program's own: that one's mistakes would not be found by itself.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// What is signed, apart from the key.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Path and query, percent-encoded as they are sent.
    pub(super) target: &'a str,
    /// Names in lower case, `host` and `x-amz-date` among them; sorted here.
    pub(super) headers: Vec<(String, String)>,
    /// SHA-256 of the body in hexadecimal.
    pub(super) payload: &'a str,
    pub(super) region: &'a str,
    /// `20130524T000000Z`.
    pub(super) time: &'a str,
}

pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Signed<'_> {
    /// The value of `Authorization`.
    pub(super) fn authorization(mut self, access_key: &str, secret_key: &str) -> String {
        self.headers.sort();
        let day = self.time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
            self.time,
            sha256(self.canonical(&names).as_bytes())
        );
        let parts = [day, self.region, "s3", "aws4_request", &text];
        let signature =
            parts.iter().fold(format!("AWS4{secret_key}").into_bytes(), |key, part| hmac(&key, part));
        let signature = hex(signature);
        format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
        )
    }

    fn canonical(&self, names: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        pairs.sort();
        let line = |(name, value): &(String, String)| format!("{name}:{}\n", value.trim());
        let headers: String = self.headers.iter().map(line).collect();
        format!("{}\n{path}\n{}\n{headers}\n{names}\n{}", self.method, pairs.join("&"), self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::{Signed, sha256};

    /// The examples of AWS's own description.
    #[test]
    fn signatures_are_those_of_the_description() {
        let empty = sha256(b"");
        for (target, more, expected) in [
            (
                "/test.txt",
                Some(("range", "bytes=0-9")),
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            ("/?lifecycle", None, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/?max-keys=2&prefix=J",
                None,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let mut headers =
                vec![("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", &empty)];
            headers.push(("x-amz-date", "20130524T000000Z"));
            headers.extend(more);
            let signed = Signed {
                method: "GET",
                target,
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                payload: &empty,
                region: "us-east-1",
                time: "20130524T000000Z",
            };
            let value =
                signed.authorization("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
            assert!(value.ends_with(&format!(",Signature={expected}")), "{target}: {value}");
        }
    }
}
