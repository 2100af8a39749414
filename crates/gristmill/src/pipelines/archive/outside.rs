//! The way to other servers than the project's own: addresses that a repository or an answer names lead to public
//! addresses only, whatever name servers say of them. For git that is a gate, for our own calls the client itself.

use gristmill_git::{Git, Protocol, Proxy, RemoteUrl};
use gristmill_outgoing::{Client, Gate, GateOptions, Options, Pass, Reach, Url};

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
        let gate = Gate::start(GateOptions::new(reach())).await.map_err(|error| failed(&error))?;
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

/// What makes our own calls, by the same rules.
pub(super) fn client() -> Result<Client, StepError> {
    let agent = concat!("gristmill/", env!("CARGO_PKG_VERSION"));
    Client::new(Options::new(reach(), agent)).map_err(StepError::fail)
}

/// Where strangers' addresses may lie: on public ones alone.
fn reach() -> Reach {
    Reach::strangers(Vec::new())
}
