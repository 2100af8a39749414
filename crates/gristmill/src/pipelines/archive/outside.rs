//! The way to other servers than the project's own: addresses that a repository or an answer names lead to public
//! addresses only, whatever name servers say of them. For git that is a gate; our own calls are checked by who makes them.

use gristmill_git::{Git, Proxy};
use gristmill_outgoing::{Gate, Pass};

use crate::worker::step::{Step, StepError};

/// Such a git, while this lives.
pub(super) struct Outside {
    pub(super) git: Git,
    _pass: Pass,
    _gate: Gate,
}

impl Outside {
    /// Opens a gate for one piece of work.
    pub(super) async fn open(step: &Step) -> Result<Outside, StepError> {
        let failed = |what: &dyn std::fmt::Display| StepError::retry(format!("the gate for git: {what}"));
        let gate = Gate::start(step.app.gate.clone()).await.map_err(|error| match error.kind() {
            // A proxy of another kind than http:// stays what it is.
            std::io::ErrorKind::Unsupported => StepError::fail(error),
            _ => failed(&error),
        })?;
        let pass = gate.pass(&[]).map_err(|error| failed(&error))?;
        let proxy: Proxy = pass.proxy_url().parse().expect("the gate's own address");
        Ok(Outside { git: step.app.git.through(proxy), _pass: pass, _gate: gate })
    }
}
