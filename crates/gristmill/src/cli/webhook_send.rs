//! `webhook send`: what the hook `post-receive` of a bare repository calls.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use gristmill_forge::{Forge, Secret, Sending, post_receive_body};
use gristmill_model::{Clock as _, DeliveryId};
use gristmill_outgoing::{Client, Method, Options, Reach, Request, Response, Url, Whose};

use super::Context;
use crate::clock::{SystemClock, system_random};

/// What `post-receive` is given has a line of some hundred bytes for each ref.
const INPUT_BYTES_MAX: u64 = 16 << 20;
/// The longest secret, in bytes, and a newline.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// The wait before the second attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait between two attempts, also where the server asks for more.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(15);
/// Where the secret is, where no file is named.
const SECRET_VARIABLE: &str = "GRISTMILL_HOOK_SECRET";

#[derive(Args)]
pub(super) struct SendArgs {
    /// The project's hook, <public_url>/hooks/<project>
    #[arg(long, value_name = "URL")]
    url: String,
    /// A file with the hook's secret [default: the environment variable GRISTMILL_HOOK_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The repository's name, as the project has it [default: what stands behind /hooks/]
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// For how many seconds it is tried again where the server cannot be reached
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    patience: u64,
}

pub(super) fn run(context: &Context, args: &SendArgs) -> anyhow::Result<ExitCode> {
    let url: Url = args.url.parse().context("--url")?;
    let repository = match &args.repository {
        Some(name) => name.clone(),
        None => repository(&url)?,
    };
    let secret = secret(context, args.secret_file.as_deref())?;
    let mut input = Vec::new();
    std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut input)?;
    if input.len() as u64 > INPUT_BYTES_MAX {
        bail!(
            "standard input has more than {INPUT_BYTES_MAX} bytes; expected the lines that git gives to `post-receive`"
        );
    }
    let body = post_receive_body(&repository, &input)?;
    // Made once: however often it is sent, it is one delivery.
    let id = DeliveryId::new(SystemClock.now(), system_random()()).to_string();
    let request = request(url, &secret, &id, body)?;
    let client =
        Client::new(Options::new(Reach::anywhere(), concat!("gristmill/", env!("CARGO_PKG_VERSION"))))?;
    let answer = send(&client, &request, Duration::from_secs(args.patience))
        .context("the push is not told; the next look finds it (server: `poll`, or `gristmill sync`)")?;
    println!("{answer}");
    Ok(ExitCode::SUCCESS)
}

/// The project's name, which is the repository's where nothing else is said.
fn repository(url: &Url) -> anyhow::Result<String> {
    let found = url.path().rsplit_once("/hooks/").map(|(_, name)| name).filter(|name| !name.is_empty());
    found.map(str::to_owned).context("--url has no project behind /hooks/; expected such as https://mill.example.org/hooks/acme/shop, or --repository")
}

fn secret(context: &Context, file: Option<&Path>) -> anyhow::Result<Secret> {
    let bytes = match file {
        Some(path) => {
            let shown = path.display();
            let file = std::fs::File::open(path)
                .with_context(|| format!("the secret's file {shown} cannot be opened"))?;
            let mut bytes = Vec::new();
            file.take(SECRET_BYTES_MAX)
                .read_to_end(&mut bytes)
                .with_context(|| format!("{shown} cannot be read"))?;
            bytes
        }
        None => (context.around.env)(SECRET_VARIABLE)
            .with_context(|| {
                format!("there is no secret: name a file with --secret-file, or set {SECRET_VARIABLE}")
            })?
            .into_bytes(),
    };
    let end = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    Ok(Secret::new(end.to_vec())?)
}

fn request(url: Url, secret: &Secret, id: &str, body: String) -> anyhow::Result<Request> {
    let sending = Sending {
        forge: Forge::Bare,
        event: "",
        delivery_id: id,
        now: SystemClock.now(),
        basic: false,
        header: None,
    };
    let headers = sending.headers(secret, body.as_bytes()).context("this forge signs by itself")?;
    let request = Request::new(Method::POST, url, Whose::Operators).total(ATTEMPT_MAX);
    let mut request = request.header("Content-Type", "application/json")?.body(body.into_bytes());
    for (name, value) in headers {
        request = request.header(&name, &value)?;
    }
    Ok(request)
}

/// Sends until it is answered for good, or patience ends. What the server says of it.
fn send(client: &Client, request: &Request, patience: Duration) -> anyhow::Result<String> {
    let began = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let (fault, asked) = match client.call(request) {
            Ok(answer) if answer.is_success() => return Ok(said(&answer)),
            Ok(answer) if answer.is_transient() => (refused(&answer), retry_after(&answer)),
            Ok(answer) => return Err(refused(&answer)),
            Err(error) if error.is_transient() => (error.into(), None),
            Err(error) => return Err(error.into()),
        };
        let pause = asked.unwrap_or(wait).clamp(FIRST_WAIT, WAIT_MAX);
        if began.elapsed() + pause > patience {
            return Err(fault);
        }
        eprintln!("{fault:#}; trying again");
        #[expect(clippy::disallowed_methods, reason = "a command of one thread has nothing else to wait on")]
        std::thread::sleep(pause);
        wait = (wait * 2).min(WAIT_MAX);
    }
}

fn said(answer: &Response) -> String {
    let json: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    match (json["delivery"].as_str(), json["ignored"].as_str()) {
        (Some(id), _) => format!("delivery {id}"),
        (None, Some(why)) => format!("ignored: {why}"),
        (None, None) => format!("answered {}", answer.status()),
    }
}

fn refused(answer: &Response) -> anyhow::Error {
    let json: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
    match (text("error"), text("hint")) {
        (error, hint) if error.is_empty() && hint.is_empty() => {
            anyhow::anyhow!("the server answered {}", answer.status())
        }
        (error, hint) => anyhow::anyhow!("the server answered {}: {error}; {hint}", answer.status()),
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    Some(Duration::from_secs(answer.header("Retry-After")?.trim().parse().ok()?))
}
