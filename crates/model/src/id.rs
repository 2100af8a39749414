//! Identifiers: ULIDs, one type per noun. A ULID sorts by the moment it was made.

use crate::time::Timestamp;

macro_rules! ulid_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ulid::Ulid);

        impl $name {
            /// Makes an id of the present moment and 80 bits of the caller's randomness.
            pub fn new(now: Timestamp, random: u128) -> $name {
                $name(ulid::Ulid::from_parts(u64::try_from(now.0).unwrap_or(0), random))
            }

            /// The moment the id was made.
            pub fn created(self) -> Timestamp {
                Timestamp(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}:{}", stringify!($name), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                ulid::Ulid::from_string(text).map($name).map_err(|_| IdError(crate::shorten(text)))
            }
        }

        crate::serde_as_text!($name);
    )*};
}

/// The text is not a ULID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id; expected the 26 letters and digits that listings show")]
pub struct IdError(String);

ulid_ids! {
    /// A project.
    ProjectId;
    /// One webhook as it came.
    DeliveryId;
    /// The work for one commit in one pipeline.
    RunId;
    /// One node of a run's graph.
    JobId;
    /// A named result of a job.
    ArtifactId;
    /// What a public key should hold.
    PublicationId;
    /// One start of a server or worker process.
    BootId;
    /// A data folder, wherever it is mounted.
    FolderId;
    /// A right to read through the server.
    TokenId;
    /// A key by which a project's repository is reached over ssh.
    DeployKeyId;
}

#[cfg(test)]
mod tests;
