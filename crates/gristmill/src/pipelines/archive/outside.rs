//! The way to other servers than the project's own: addresses that a repository or an answer names lead to public
//! addresses only, whatever name servers say of them. For git that is a gate; our own calls are checked by who makes them.

use gristmill_git::{Git, Protocol, Proxy, RemoteUrl};
use gristmill_outgoing::{Gate, Pass, Url};

use crate::worker::step::{Step, StepError};

/// Such a git, while this lives.
pub(super) struct Outside {
    pub(super) git: Git,
    pass: Pass,
    _gate: Gate,
}

impl Outside {
    /// Opens a gate for one piece of work. The project's own server may be reached wherever it is.
    pub(super) async fn open(step: &Step, own: &RemoteUrl) -> Result<Outside, StepError> {
        let failed = |what: &dyn std::fmt::Display| StepError::retry(format!("the gate for git: {what}"));
        let gate = Gate::start(step.app.gate.clone()).await.map_err(|error| match error.kind() {
            // A proxy of another kind than http:// stays what it is.
            std::io::ErrorKind::Unsupported => StepError::fail(error),
            _ => failed(&error),
        })?;
        let own: Vec<Url> = match own.protocol() {
            Protocol::Https | Protocol::Http => vec![own.to_string().parse().map_err(StepError::fail)?],
            Protocol::Ssh | Protocol::Git | Protocol::File => Vec::new(),
        };
        let pass = gate.pass(&own).map_err(|error| failed(&error))?;
        let proxy: Proxy = pass.proxy_url().parse().expect("the gate's own address");
        Ok(Outside { git: step.app.git.through(proxy), pass, _gate: gate })
    }

    /// What the gate refused lately, in words; that is why git failed then.
    pub(super) fn refused(&self) -> Option<String> {
        self.pass.refusals().first().map(ToString::to_string)
    }
}
