//! `project …`.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use gristmill_db::request::BuildRequest;
use gristmill_db::{forge_object, head, project as projects, run};
use gristmill_forge::parse_unverified;
use gristmill_model::{
    CommitId, Event, EventKind, GitRef, KeyFields, KeyTemplate, PipelineKind, ProjectName, ProjectSpec,
};
use serde_json::{Value, json};

use super::{
    Context, PAGE, age, all_projects, find_project, forge, key, output, project_add, read, runtime, transact,
};
use crate::app::{App, lock_data};
use crate::clock::{SystemClock, rfc3339};
use crate::look;
use crate::pipelines::{self, Occasion};
use gristmill_model::Clock as _;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a project to the configuration and say what the forge must be told
    Add(Box<project_add::AddArgs>),
    /// All projects
    List,
    /// One project: its settings, refs and newest runs
    Show {
        /// Its name
        name: ProjectName,
    },
    /// What an event would do. Reads a webhook's body from standard input, or takes --ref
    Plan(PlanArgs),
    /// Build the tips of a project's refs again, though they did not move
    Trigger {
        /// Its name
        name: ProjectName,
        /// Only this ref, as a full name (refs/heads/main)
        #[arg(long = "ref", value_name = "REF")]
        git_ref: Option<GitRef>,
        /// Only this pipeline
        #[arg(long)]
        pipeline: Option<String>,
    },
    /// The ssh key of a project, and where the forge wants it
    Key {
        /// Its name
        name: ProjectName,
    },
    /// Make a new ssh key for a project; the one before stays for a while
    RotateKey(key::RotateArgs),
    /// Delete everything known of a project that is no longer configured
    Purge {
        /// Its name
        name: ProjectName,
        /// Really do it
        #[arg(long)]
        yes: bool,
        /// Where the forge's token is, to take the webhook away there: env:NAME, file:PATH, or - for standard input
        /// [default: where it was when the webhook was made]
        #[arg(long, value_name = "PLACE")]
        token: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct PlanArgs {
    /// The project
    name: ProjectName,
    /// The event's name, as the forge's header says
    #[arg(long)]
    event: Option<String>,
    /// Plan a push of this ref instead of reading a body
    #[arg(long = "ref", value_name = "REF")]
    git_ref: Option<GitRef>,
    /// The pushed commit, with --ref
    #[arg(long, requires = "git_ref")]
    commit: Option<CommitId>,
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Add(args) => project_add::run(context, *args)?,
        Command::List => list(context)?,
        Command::Show { name } => show(context, &name)?,
        Command::Plan(args) => plan(context, &args)?,
        Command::Trigger { name, git_ref, pipeline } => trigger(context, name, git_ref, pipeline)?,
        Command::Key { name } => key::show(context, &name)?,
        Command::RotateKey(args) => key::rotate(context, &args)?,
        Command::Purge { name, yes, token } => purge(context, &name, yes, token.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context) -> anyhow::Result<()> {
    let db = context.db()?;
    let found = read(&db, |tx| all_projects(tx, PAGE))?;
    let now = SystemClock.now();
    let state = |project: &projects::Project| if project.active { "active" } else { "disabled" };
    let row = |project: &projects::Project| {
        let looked = project.looked.map_or("never".to_owned(), |at| format!("{} ago", age(now, at)));
        let error = project.look_error.clone().unwrap_or_default();
        vec![project.name.to_string(), state(project).to_owned(), project.spec.git.clone(), looked, error]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let json = found.iter().map(|one| json!({ "name": one.name, "state": state(one), "git": one.spec.git, "looked": one.looked.map(rfc3339), "error": one.look_error })).collect();
    output::list(context.format, &["name", "state", "git", "looked at", "error"], &rows, json);
    Ok(())
}

fn show(context: &Context, name: &ProjectName) -> anyhow::Result<()> {
    let db = context.db()?;
    let (project, heads, runs) = read(&db, |tx| {
        let project = find_project(tx, name)?;
        let heads = head::list(tx, project.id)?;
        let runs = run::list(tx, Some(project.id), "~", 10)?;
        Ok((project, heads, runs))
    })?;
    let json = json!({
        "name": project.name,
        "state": if project.active { "active" } else { "disabled" },
        "settings": project.spec,
        "settings_revision": project.rev,
        "repository_id": project.repository_id,
        "looked": project.looked.map(rfc3339),
        "look_error": project.look_error,
        "refs": heads.iter().map(|head| json!({ "ref": head.git_ref, "commit": head.tip, "move": head.seq, "seen": rfc3339(head.seen) })).collect::<Vec<_>>(),
        "runs": runs.iter().map(|run| json!({ "id": run.id, "state": run.state, "ref": run.git_ref, "commit": run.commit })).collect::<Vec<_>>(),
    });
    let fields = [
        ("name", project.name.to_string()),
        ("state", if project.active { "active" } else { "disabled" }.to_owned()),
        ("git", project.spec.git.clone()),
        ("repository", project.spec.repository.to_string()),
        ("webhook", format!("/hooks/{}", project.name)),
        (
            "pipelines",
            project.spec.pipelines.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", "),
        ),
        ("looked at", project.looked.map(rfc3339).unwrap_or("never".to_owned())),
        ("error", project.look_error.clone().unwrap_or_default()),
    ];
    output::show(context.format, &fields, &json);
    if context.format == output::Format::Text {
        let gone = || "gone".to_owned();
        let row = |head: &head::Head| {
            vec![
                head.git_ref.to_string(),
                head.tip.map_or_else(gone, |tip| tip.to_string()),
                head.seq.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = heads.iter().map(row).collect();
        println!();
        print!("{}", output::table(&["ref", "commit", "move"], &rows));
        let row = |run: &run::Run| {
            vec![run.id.to_string(), run.state.to_string(), run.git_ref.to_string(), run.commit.short()]
        };
        let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
        println!();
        print!("{}", output::table(&["run", "state", "ref", "commit"], &rows));
    }
    Ok(())
}

/// The project's settings as the configuration has them now: a plan must not need a server.
fn configured(context: &Context, name: &ProjectName) -> anyhow::Result<ProjectSpec> {
    let config = context.config()?;
    let found = config.projects.iter().find(|project| project.spec.name == *name);
    let known =
        || config.projects.iter().map(|project| project.spec.name.to_string()).collect::<Vec<_>>().join(", ");
    Ok(found
        .with_context(|| format!("project `{name}` is not configured; configured are: {}", known()))?
        .spec
        .clone())
}

fn plan(context: &Context, args: &PlanArgs) -> anyhow::Result<()> {
    let spec = configured(context, &args.name)?;
    let events = match &args.git_ref {
        Some(git_ref) => {
            let kind = if git_ref.tag().is_some() { EventKind::Tag } else { EventKind::Push };
            vec![Event {
                kind,
                git_ref: Some(git_ref.clone()),
                after: args.commit,
                reason: None,
                ..Event::ignored("")
            }]
        }
        None => {
            let mut body = Vec::new();
            std::io::stdin().lock().take(context.config()?.server.body_bytes_max).read_to_end(&mut body)?;
            parse_unverified(spec.forge.parse()?, args.event.as_deref(), &body)?
        }
    };
    let planned: Vec<Value> = events.iter().map(|event| plan_event(&spec, event)).collect();
    if context.format == output::Format::Json {
        println!("{:#}", Value::from(planned));
        return Ok(());
    }
    for (event, planned) in events.iter().zip(&planned) {
        println!("{}", serde_json::to_string(event)?);
        let runs = planned["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
        if runs.is_empty() {
            println!("  builds nothing: {}", planned["why"].as_str().unwrap_or_default());
        }
        for run in runs {
            let text = |name: &str| run[name].as_str().unwrap_or_default();
            let jobs = run["jobs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            println!("  {}: {}; then {}", text("pipeline"), jobs.collect::<Vec<_>>().join(", "), text("key"));
            println!("    recipe {}", text("recipe"));
            let paths: Vec<&str> =
                run["paths"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !paths.is_empty() {
                println!("    only where it touches {}", paths.join(", "));
            }
        }
    }
    Ok(())
}

/// What the intake would do with an event, if the remote agrees that the ref is there.
fn plan_event(spec: &ProjectSpec, event: &Event) -> Value {
    let is_release = event.kind == EventKind::Release;
    let builds = matches!(event.kind, EventKind::Push | EventKind::Tag | EventKind::Release);
    let (Some(git_ref), true) = (&event.git_ref, builds) else {
        let why = event.reason.clone().unwrap_or_else(|| "this kind of event never builds".to_owned());
        return json!({ "event": event, "runs": [], "why": why });
    };
    if let Some(named) = &event.repository
        && !named.full_name.eq_ignore_ascii_case(spec.repository.as_str())
    {
        let why = format!(
            "the payload is of repository {}, this project's is {}",
            named.full_name, spec.repository
        );
        return json!({ "event": event, "runs": [], "why": why });
    }
    let wanting =
        spec.pipelines.iter().filter(|one| if is_release { one.releases } else { one.refs.wants(git_ref) });
    let runs: Vec<Value> = wanting
        .map(|pipeline| {
            let PipelineKind::Archive(settings) = &pipeline.kind;
            let commit = event.after.map_or("the tip".to_owned(), |commit| commit.to_string());
            // A plan depends on the settings and the ref, not on which commit it is.
            let any = "1111111111111111111111111111111111111111".parse().expect("a commit id");
            let occasion = Occasion { git_ref: git_ref.clone(), commit: event.after.unwrap_or(any), seq: None, is_release };
            let jobs: Vec<String> = pipelines::plan(pipeline, &occasion).jobs.into_iter().map(|job| job.kind).collect();
            json!({ "pipeline": pipeline.name, "commit": commit, "jobs": jobs, "key": planned_key(spec, settings.template(git_ref, is_release), git_ref), "recipe": pipelines::archive::recipe_of(pipeline), "paths": settings.options.paths, "supersede": pipeline.supersede })
        })
        .collect();
    json!({ "event": event, "runs": runs, "why": "no pipeline wants this ref" })
}

/// The key, or the template where it takes more than the ref to fill it in.
fn planned_key(spec: &ProjectSpec, template: &KeyTemplate, git_ref: &GitRef) -> String {
    if ["{commit", "{short_commit", "{tree", "{date"].iter().any(|field| template.as_str().contains(field)) {
        return template.to_string();
    }
    let any = "1111111111111111111111111111111111111111";
    let fields = KeyFields {
        repository: &spec.repository,
        git_ref,
        commit: any.parse().expect("a commit id"),
        tree: any.parse().expect("a tree id"),
        date: "",
    };
    template.render(&fields).map_or_else(|error| error.to_string(), |key| key.to_string())
}

fn trigger(
    context: &Context,
    name: ProjectName,
    git_ref: Option<GitRef>,
    pipeline: Option<String>,
) -> anyhow::Result<()> {
    let spec = configured(context, &name)?;
    if let Some(pipeline) = &pipeline
        && spec.pipeline(pipeline).is_none()
    {
        bail!("project `{name}` has no pipeline `{pipeline}`");
    }
    let app = runtime()?.block_on(open(context))?;
    let request = BuildRequest { pipeline, git_ref, cause: "manual".to_owned(), ..BuildRequest::default() };
    transact(&app.db, move |tx| {
        let project = find_project(tx, &name)?;
        Ok(look::ask_now(tx, project.id, Some(&request))?)
    })?;
    println!("asked for; a running server does it at once, else the next `gristmill sync`");
    Ok(())
}

/// Everything opened. Where no server runs, the projects are imported, so that one that was just added is
/// known; where one does, it decides what is in force.
async fn open(context: &Context) -> anyhow::Result<App> {
    let config = context.config()?;
    match lock_data(&config.data_dir)? {
        Some(_lock) => App::open(config, &context.around).await,
        None => App::open_beside(config, &context.around).await,
    }
}

fn purge(context: &Context, name: &ProjectName, yes: bool, token: Option<&str>) -> anyhow::Result<()> {
    if context.config()?.projects.iter().any(|project| project.spec.name == *name && project.enabled) {
        bail!("project `{name}` is still configured; take it out of the configuration first");
    }
    let db = context.db()?;
    let of = name.to_string();
    // What was made at a forge is remembered also where no server has taken the project up.
    let (project, is_made) =
        read(&db, |tx| Ok((projects::by_name(tx, name)?, !forge_object::made_for(tx, &of)?.is_empty())))?;
    if project.is_none() && !is_made {
        read(&db, |tx| find_project(tx, name))?;
    }
    if !yes {
        bail!(
            "this deletes all deliveries, runs and publications of `{name}`; --yes does it. Public keys stay readable until then"
        );
    }
    let app = runtime()?.block_on(open(context))?;
    forge::remove(context, &app, name, token)?;
    let Some(project) = project else { return Ok(()) };
    let withdrawn = runtime()?.block_on(crate::runs::purge(&app, project.id))?;
    println!("`{name}` is gone, and {withdrawn} public keys with it");
    Ok(())
}
