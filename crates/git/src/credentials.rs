//! [`Credentials`]: a token and how it reaches git without being seen.
//!
//! Neither argument lists nor environments are private, so the token travels in a file: git's own
//! `credential-store` helper reads it from a 0600 file in our 0700 folder, which exists only while the command
//! runs. The helper compares scheme, host and port itself, so a remote that leads git elsewhere gets nothing.

use std::fmt;
use std::path::Path;

use crate::url::RemoteUrl;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest token taken, in bytes. Forges' tokens are below 300; OAuth tokens of some reach 2000.
const TOKEN_BYTES_MAX: usize = 3000;

/// What git percent-encodes in addresses: all but the unreserved characters of RFC 3986, section 2.3.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A user name and a token for http(s).
#[derive(Clone)]
pub struct Credentials {
    username: String,
    token: String,
}

impl Credentials {
    /// The user name may be anything where a forge looks at the token alone (`x-access-token` on GitHub).
    ///
    /// # Errors
    ///
    /// `None` where either is empty, has a control character, or is too long for an HTTP header.
    pub fn new(username: impl Into<String>, token: impl Into<String>) -> Option<Credentials> {
        let (username, token) = (username.into(), token.into());
        let good = |text: &str| {
            !text.is_empty() && text.len() <= TOKEN_BYTES_MAX && !text.contains(char::is_control)
        };
        // A colon would end the user name in HTTP's Basic scheme.
        (good(&username) && good(&token) && !username.contains(':'))
            .then_some(Credentials { username, token })
    }

    /// The user name and the token, for a helper that is told they were refused.
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.username, &self.token)
    }

    /// Replaces the token, also in the forms it has on the wire and in addresses, by `***`.
    pub(crate) fn redact(&self, text: &str) -> String {
        let encoded = utf8_percent_encode(&self.token, RESERVED).to_string();
        let basic = base64(format!("{}:{}", self.username, self.token).as_bytes());
        [self.token.as_str(), &encoded, basic.trim_end_matches('=')]
            .into_iter()
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// The value of `Authorization` in HTTP's Basic scheme.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", base64(format!("{}:{}", self.username, self.token).as_bytes()))
    }

    /// A line of git-credential-store(1).
    pub(crate) fn store_line(&self, url: &RemoteUrl) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let host = url.host().map(ToString::to_string).unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}:{}@{host}{port}\n", url.protocol(), encode(&self.username), encode(&self.token))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Standard base64 (RFC 4648, section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0u32, |bits, (n, byte)| bits | u32::from(*byte) << (16 - 8 * n));
        for n in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The value of `credential.helper` for a file with a [`Credentials::store_line`]. Git hands it to a shell, hence
/// the quotes.
pub(crate) fn store_helper(file: &Path) -> String {
    format!("store --file={}", shell_quoted(&file.to_string_lossy()))
}

/// One word for a POSIX shell, whatever is in it.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_the_values_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{ff}\u{fe}~", "w7/Dvn4="),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_token_is_replaced_in_all_its_forms() {
        let credentials = Credentials::new("me", "s3_r/t+x").expect("valid");
        let text = "plain s3_r/t+x, encoded s3_r%2Ft%2Bx, header bWU6czNfci90K3g= end";
        assert_eq!(credentials.redact(text), "plain ***, encoded ***, header ***= end");
        assert_eq!(format!("{credentials:?}"), r#"Credentials { username: "me", .. }"#);
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused() {
        for (user, token, good) in [
            ("me", "token", true),
            ("", "token", false),
            ("me", "", false),
            ("m:e", "token", false),
            ("me", "a:b", true),
            ("me", "a\nb", false),
            ("m\re", "ab", false),
            ("me", &"x".repeat(TOKEN_BYTES_MAX), true),
            ("me", &"x".repeat(TOKEN_BYTES_MAX + 1), false),
        ] {
            assert_eq!(Credentials::new(user, token).is_some(), good, "{user:?} {}", token.len());
        }
    }

    #[test]
    fn a_store_line_is_bound_to_scheme_host_and_port() {
        let credentials = Credentials::new("me", "a/b@c").expect("valid");
        let line = |url: &str| credentials.store_line(&url.parse().expect("a valid address"));
        assert_eq!(line("https://example.org/a/b"), "https://me:a%2Fb%40c@example.org\n");
        assert_eq!(line("http://127.0.0.1:80/a/b"), "http://me:a%2Fb%40c@127.0.0.1:80\n");
        assert_eq!(line("https://[::1]:8443/a/b"), "https://me:a%2Fb%40c@[::1]:8443\n");
    }

    #[test]
    fn a_path_with_quotes_is_one_shell_word() {
        assert_eq!(shell_quoted("/a b/c"), "'/a b/c'");
        assert_eq!(shell_quoted("/it's"), r"'/it'\''s'");
    }
}
