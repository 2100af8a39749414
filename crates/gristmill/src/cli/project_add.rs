//! `project add`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use gristmill_forge::{Forge, TopicArn};
use gristmill_model::{PatternName, ProjectName};

use super::{Context, clicks, forge, key};
use crate::config::{self, AddError, Config, NewProject};

#[derive(Args)]
pub(super) struct AddArgs {
    /// Its name, usually owner/repository; owner/* for all repositories of an owner
    #[arg(value_parser = name)]
    name: String,
    /// Where git fetches from
    #[arg(long, value_name = "URL")]
    git: String,
    /// Who sends its webhooks
    #[arg(long, default_value = "github")]
    forge: Forge,
    /// The repository's name at the forge [default: from the URL or the name]
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// Branches to build, as patterns; may be repeated [default: all]
    #[arg(long = "branch", value_name = "PATTERN")]
    branches: Vec<String>,
    /// Tags to build, as patterns; may be repeated [default: none]
    #[arg(long = "tag", value_name = "PATTERN")]
    tags: Vec<String>,
    /// The key, as a template or a preset's name [default: git2s3]
    #[arg(long, value_name = "TEMPLATE")]
    key: Option<String>,
    /// The key for tags
    #[arg(long, value_name = "TEMPLATE")]
    tag_key: Option<String>,
    /// A file with the webhook's secret [default: one is made]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A file with lines of known_hosts for an ssh server that is not one of the big forges'
    #[arg(long, value_name = "FILE")]
    host_keys: Option<PathBuf>,
    /// CodeCommit: the topic of SNS that tells of pushes, instead of a secret
    #[arg(long, value_name = "ARN", conflicts_with = "secret_file", required_if_eq("forge", "codecommit"))]
    topic: Option<TopicArn>,
    /// Where the forge's token is: env:NAME, file:PATH, or - for standard input. With it, the webhook is made
    #[arg(long, value_name = "PLACE")]
    token: Option<String>,
    /// The user that goes with the token, where the forge wants one
    #[arg(long, value_name = "USER", requires = "token")]
    username: Option<String>,
    /// The address of the forge's API [default: from the URL and the forge]
    #[arg(long, value_name = "URL", requires = "token")]
    api: Option<String>,
}

/// A project's name or a pattern.
fn name(text: &str) -> Result<String, String> {
    let parsed = if text.contains('*') {
        text.parse::<PatternName>().map(drop).map_err(|error| error.to_string())
    } else {
        text.parse::<ProjectName>().map(drop).map_err(|error| error.to_string())
    };
    parsed.map(|()| text.to_owned())
}

pub(super) fn run(context: &Context, args: AddArgs) -> anyhow::Result<()> {
    let file = Config::file(context.file.as_deref(), &context.around);
    let new = NewProject {
        name: args.name,
        git: args.git,
        forge: args.forge.to_string(),
        repository: args.repository,
        branches: args.branches,
        tags: args.tags,
        key: args.key,
        tag_key: args.tag_key,
        secret_file: args.secret_file,
        host_keys_file: args.host_keys,
        topic: args.topic.map(|topic| topic.to_string()),
        token: args.token.as_deref().map(forge::token_from).transpose()?,
        username: args.username,
        api: args.api,
    };
    let one: Option<ProjectName> = new.name.parse().ok();
    if new.token.is_some() {
        let one = one.context(
            "--token makes the webhook of one repository; add the pattern without it, and make the owner's webhook by hand",
        )?;
        return match config::prepare_project(&file, &new, &context.around) {
            Ok(prepared) => forge::add(context, &one, prepared),
            Err(AddError::Duplicate { .. }) => {
                forge::again(context, &context.config()?, &one, &new.git, args.forge)
            }
            Err(error) => Err(error.into()),
        };
    }
    let added = config::add_project(&file, &new, &context.around)?;
    let server = &added.config.server;
    let base = server.public_url.clone().unwrap_or_else(|| format!("http://{}", server.listen));
    println!("{} is added to {}", new.name, added.file.display());
    println!();
    let secret = added.secret_file.map(|file| format!("the content of {}", file.display()));
    let secret = secret.unwrap_or_default();
    print!("{}", clicks::told(args.forge, &format!("{base}{}", added.hook_path), &secret));
    if server.public_url.is_none() {
        println!();
        println!(
            "The forge must be able to reach that URL: set server.public_url to the address it can use."
        );
    }
    println!("A running server takes the project up within seconds; `gristmill serve` starts one.");
    one.map_or(Ok(()), |name| key::told_after_add(context, &added.config, &name))
}
