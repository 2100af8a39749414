//! [`Protocol`]: how a repository is reached.

use std::fmt;

/// How a repository is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// Encrypted, with a token where needed.
    Https,
    /// Not encrypted. Needs no permission for this machine itself (127.0.0.1, ::1, localhost) where https is
    /// allowed.
    Http,
    /// The git daemon's: neither encrypted nor authenticated.
    Git,
    /// A directory on this machine.
    File,
    /// Encrypted and authenticated by keys on both sides.
    Ssh,
}

impl Protocol {
    /// As in addresses and in `GIT_ALLOW_PROTOCOL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Https => "https",
            Protocol::Http => "http",
            Protocol::Git => "git",
            Protocol::File => "file",
            Protocol::Ssh => "ssh",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
