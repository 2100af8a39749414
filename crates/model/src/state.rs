//! The states of runs, jobs, deliveries and publications, as the database and people read them.

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every state, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word in the database and in listings.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = StateError;

            fn from_str(text: &str) -> Result<$name, StateError> {
                $name::ALL.iter().copied().find(|state| state.as_str() == text).ok_or_else(|| StateError {
                    text: crate::shorten(text),
                    noun: stringify!($name),
                })
            }
        }

        crate::serde_as_text!($name);
    )*};
}

/// The word is none of the states.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {noun}")]
pub struct StateError {
    text: String,
    noun: &'static str,
}

states! {
    /// The state of a run.
    RunState {
        /// No job has started.
        Queued = "queued",
        /// A job has started.
        Running = "running",
        /// All is done and visible.
        Succeeded = "succeeded",
        /// A job failed for good.
        Failed = "failed",
        /// A person stopped it.
        Cancelled = "cancelled",
        /// A newer run of the same ref took its place.
        Superseded = "superseded",
        /// There was nothing to do.
        Skipped = "skipped",
    }

    /// The state of a job.
    JobState {
        /// Waits for other jobs.
        Blocked = "blocked",
        /// May be leased once its time has come.
        Ready = "ready",
        /// A worker holds it.
        Leased = "leased",
        /// Done.
        Succeeded = "succeeded",
        /// Done before, by another job with the same key.
        Cached = "cached",
        /// Failed for a reason that does not pass.
        Failed = "failed",
        /// Failed too often for reasons that might have passed; a person may try again.
        Dead = "dead",
        /// Its run was cancelled or superseded, or a job it needed failed.
        Cancelled = "cancelled",
    }

    /// The state of a delivery.
    DeliveryState {
        /// Stored; its events are not known yet.
        Received = "received",
        /// Its events led to looks at the remote.
        Handled = "handled",
        /// Nothing follows from it, for a recorded reason.
        Ignored = "ignored",
    }

    /// The state of a publication.
    PublicationState {
        /// Committed; readers may not see it yet.
        Desired = "desired",
        /// Readers saw it.
        Published = "published",
        /// A newer one was already desired: it never was (or no longer needs to be) projected.
        Overtaken = "overtaken",
    }

    /// The state of a content-keyed step.
    StepState {
        /// One job makes it; others wait.
        Making = "making",
        /// Made.
        Ready = "ready",
        /// Nothing refers to it; it goes unless somebody pins it.
        Condemned = "condemned",
        /// Going; counts as not there.
        Deleting = "deleting",
    }
}

impl RunState {
    /// Whether nothing changes any more.
    pub fn is_over(self) -> bool {
        !matches!(self, RunState::Queued | RunState::Running)
    }
}

impl JobState {
    /// Whether nothing changes any more.
    pub fn is_over(self) -> bool {
        !matches!(self, JobState::Blocked | JobState::Ready | JobState::Leased)
    }

    /// Whether jobs that need its success may go on.
    pub fn is_success(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Cached)
    }
}

#[cfg(test)]
mod tests;
