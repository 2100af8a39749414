//! `delivery …`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use gristmill_db::delivery::{self, Delivery};
use gristmill_db::{Tx, project};
use gristmill_model::{DeliveryId, ProjectName};
use serde_json::{Value, json};

use super::{Context, find_project, output, read, transact};
use crate::clock::rfc3339;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Deliveries, newest first
    List {
        /// Of one project
        #[arg(long)]
        project: Option<ProjectName>,
        /// Those before this one
        #[arg(long, value_name = "ID")]
        before: Option<DeliveryId>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// One delivery and its events
    Show {
        /// Its id
        id: DeliveryId,
        /// Write the raw body to standard output instead
        #[arg(long)]
        body: bool,
    },
    /// Handle a delivery again, building what it names again
    Replay {
        /// Its id
        id: DeliveryId,
    },
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let db = context.db()?;
    match command {
        Command::List { project, before, limit } => {
            let before = before.map_or("~".to_owned(), |id| id.to_string());
            let deliveries = read(&db, |tx| {
                let project = project
                    .as_ref()
                    .map(|name| find_project(tx, name))
                    .transpose()?
                    .map(|project| project.id);
                let found = delivery::list(tx, project, &before, i64::from(limit))?;
                found
                    .into_iter()
                    .map(|one| Ok((project_name(tx, &one)?, one)))
                    .collect::<anyhow::Result<Vec<_>>>()
            })?;
            let rows: Vec<Vec<String>> = deliveries.iter().map(|(project, one)| row(project, one)).collect();
            let json = deliveries.iter().map(|(project, one)| describe(project, one)).collect();
            let names = ["id", "state", "project", "event", "received", "reason"];
            output::list(context.format, &names, &rows, json);
        }
        Command::Show { id, body } => {
            let found = read(&db, |tx| {
                let Some(delivery) = delivery::by_id(tx, id)? else { return Ok(None) };
                Ok(Some((project_name(tx, &delivery)?, delivery, delivery::events(tx, id)?)))
            })?;
            let Some((project, delivery, events)) = found else { return unknown(id) };
            if body {
                std::io::stdout().write_all(&delivery.body?).context("the body could not be written")?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut json = describe(&project, &delivery);
            json["events"] = json!(events);
            let fields = [
                ("id", id.to_string()),
                ("project", project),
                ("state", delivery.state.to_string()),
                ("reason", delivery.reason.clone().unwrap_or_default()),
                ("event", delivery.event.clone()),
                ("forge's id", delivery.remote_id.clone()),
                ("verified by", delivery.verifier.clone()),
                ("received", rfc3339(delivery.received)),
                (
                    "bytes",
                    delivery.body.as_ref().map_or_else(ToString::to_string, |body| body.len().to_string()),
                ),
                ("replays", delivery.replays.to_string()),
            ];
            output::show(context.format, &fields, &json);
            if context.format == output::Format::Text {
                for event in events {
                    println!("event       {}", serde_json::to_string(&event)?);
                }
            }
        }
        Command::Replay { id } => {
            if !transact(&db, move |tx| Ok(delivery::replay(tx, id)?))? {
                return unknown(id);
            }
            println!("delivery {id} is handled again by the server, or by the next `gristmill sync`");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(id: DeliveryId) -> anyhow::Result<ExitCode> {
    anyhow::bail!("there is no delivery {id}; `gristmill delivery list` shows them")
}

/// Of whom it is. A project is purged with its deliveries.
fn project_name(tx: &mut Tx<'_>, delivery: &Delivery) -> anyhow::Result<String> {
    Ok(project::by_id(tx, delivery.project)?.map(|project| project.name.to_string()).unwrap_or_default())
}

fn row(project: &str, delivery: &Delivery) -> Vec<String> {
    vec![
        delivery.id.to_string(),
        delivery.state.to_string(),
        project.to_owned(),
        delivery.event.clone(),
        rfc3339(delivery.received),
        delivery.reason.clone().unwrap_or_default(),
    ]
}

fn describe(project: &str, delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "project": project,
        "state": delivery.state,
        "reason": delivery.reason,
        "event": delivery.event,
        "remote_id": delivery.remote_id,
        "verifier": delivery.verifier,
        "received": rfc3339(delivery.received),
        "replays": delivery.replays,
    })
}
