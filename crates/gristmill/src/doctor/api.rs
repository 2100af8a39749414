//! The forges' APIs of the projects that are not fetched by git.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use gristmill_model::ProjectSpec;
use gristmill_outgoing::Client;

use super::{Check, remotes};
use crate::app;
use crate::config::{Config, Project, Surroundings};
use crate::forges::{ApiAccess, CallError, carrier};
use crate::live;

/// A look at one project's refs.
pub(super) struct Look {
    spec: ProjectSpec,
    name: String,
    with: Result<(ApiAccess, Client), String>,
}

impl Look {
    pub(super) fn new(project: &Project, config: &Config, around: &Surroundings) -> Look {
        let access = live::api_access(project, around);
        let access = access.and_then(|access| access.context("the project is fetched by git"));
        let with = access.and_then(|access| Ok((access, app::outgoing(config, around)?.0)));
        let with = with.map_err(|error| format!("{error:#}"));
        Look { spec: project.spec.clone(), name: remotes::title(project), with }
    }

    /// Asks; no call begins after `time_max`.
    pub(super) async fn ask(self, time_max: Duration) -> Check {
        let Look { spec, name, with } = self;
        let (access, client) = match with {
            Ok(with) => with,
            Err(fault) => return Check::error(name, fault, "mend the project's settings, then look again"),
        };
        let asking = tokio::task::spawn_blocking(move || {
            let (api, carry, begun) = (access.api(&spec)?, carrier::over(client), Instant::now());
            let refs = api.refs(&mut |call| match begun.elapsed() < time_max {
                true => carry(call),
                false => Err(CallError::Carry {
                    text: "it lists its refs too slowly".to_owned(),
                    is_transient: true,
                    public: None,
                }),
            })?;
            Ok::<_, CallError>((api.base().to_string(), refs.len()))
        });
        match asking.await {
            Ok(Ok((url, refs))) => remotes::found(name, &url, refs, ""),
            Ok(Err(error)) => {
                let remedy = match error {
                    CallError::Carry { .. } => "check the address, the network and the proxy settings",
                    // They say what to do themselves.
                    CallError::Api(_) => "",
                };
                Check::error(name, error.to_string(), remedy)
            }
            Err(error) => Check::error(name, format!("the look ended badly: {error}"), ""),
        }
    }
}
