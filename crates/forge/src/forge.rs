//! [`Forge`]: the closed list of senders.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{github, text};

/// A kind of server that sends webhooks. A project's configuration says which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Forge {
    /// github.com and GitHub Enterprise Server.
    Github,
}

/// The text names no forge that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a known forge; expected one of: {}", known())]
pub struct UnknownForge {
    name: String,
}

fn known() -> String {
    Forge::ALL.map(Forge::name).join(", ")
}

impl Forge {
    /// Every forge, in the order in which people are told of them.
    pub const ALL: [Forge; 1] = [Forge::Github];

    /// The name used in the configuration and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Forge::Github => "github",
        }
    }

    /// The request header that names the event.
    pub const fn event_header(self) -> &'static str {
        match self {
            Forge::Github => github::EVENT_HEADER,
        }
    }

    /// The request header with the delivery's id, which stays the same when it is sent again.
    pub const fn delivery_header(self) -> &'static str {
        match self {
            Forge::Github => github::DELIVERY_HEADER,
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Forge {
    type Err = UnknownForge;

    fn from_str(name: &str) -> Result<Forge, UnknownForge> {
        let found = Forge::ALL.into_iter().find(|forge| forge.name() == name);
        found.ok_or_else(|| UnknownForge { name: text::shown(name) })
    }
}

impl Serialize for Forge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Forge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Forge, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
