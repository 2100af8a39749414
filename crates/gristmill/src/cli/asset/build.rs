//! `check` and `upload`: around the build.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::tell::{say, tell, with_bar};
use super::{CheckArgs, Format, UploadArgs, block_on};
use crate::assets::check::{self, Check, Checked, FoundIn};
use crate::assets::upload::{self, Upload};
use crate::assets::{EXIT_FOUND, Tone};

const EXIT_CHECK_NO_BUCKET: u8 = 100;
const EXIT_UPLOAD_NO_FOLDER: u8 = 100;
const EXIT_UPLOAD_NO_BUCKET: u8 = 101;

pub(super) fn run_check(args: &CheckArgs, format: Format) -> anyhow::Result<ExitCode> {
    // Whatever fails from here on: what an earlier check found counts no more.
    check::clear(Path::new(args.folder.packages.as_deref().unwrap_or("./packages")))?;
    let place = args.place.place(EXIT_CHECK_NO_BUCKET)?;
    let repository = args.repository.folder()?;
    let packages = args.folder.folder(check::EXIT_NO_FOLDER, true)?;
    let check = Check {
        repository,
        packages,
        filter: args.filter.clone().filter(|filter| !filter.trim().is_empty()),
        algorithm: args.algorithm,
        strict: args.strict,
    };
    let checked = block_on(check.run(&place, &tell))?;
    if let Some(path) = &args.output_file {
        append(path, &checked).with_context(|| format!("writing {}", path.display()))?;
    }
    if format == Format::Json {
        let json = json!({
            "commit": checked.commit,
            "found": checked.found.is_some(),
            "source": source(&checked),
            "code_hash": checked.code_hash,
            "files": checked.files,
        });
        say(&format!("{json:#}"))?;
    }
    let skip = args.exit_code && checked.found.is_some();
    Ok(ExitCode::from(if skip { EXIT_FOUND } else { 0 }))
}

fn source(checked: &Checked) -> Option<&'static str> {
    checked.found.map(|found| match found {
        FoundIn::Commit => "commit",
        FoundIn::Cache => "cache",
    })
}

fn append(path: &Path, checked: &Checked) -> std::io::Result<()> {
    let mut file = std::fs::File::options().create(true).append(true).open(path)?;
    let text = format!(
        "found={}\nsource={}\ncommit_hash={}\ncode_hash={}\n",
        checked.found.is_some(),
        source(checked).unwrap_or_default(),
        checked.commit,
        checked.code_hash.as_deref().unwrap_or_default()
    );
    file.write_all(text.as_bytes())
}

pub(super) fn run_upload(args: &UploadArgs, format: Format) -> anyhow::Result<ExitCode> {
    let packages = args.folder.folder(EXIT_UPLOAD_NO_FOLDER, false)?;
    if upload::is_found(&packages) {
        tell(Tone::Good, "The artifact(s) for this commit already exist; skipping this step");
        if format == Format::Json {
            say(&format!("{:#}", json!({ "skipped": true })))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let place = args.place.place(EXIT_UPLOAD_NO_BUCKET)?;
    let upload = Upload { packages, recursive: args.recursive, force: args.force };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let uploaded = runtime.block_on(with_bar(&upload, &place));
    runtime.shutdown_background();
    let uploaded = uploaded?;
    if format == Format::Json {
        let json = json!({
            "skipped": false,
            "commit": uploaded.commit,
            "code_hash": uploaded.code_hash,
            "files": uploaded.files,
            "bytes": uploaded.bytes,
            "was_there": uploaded.was_there,
        });
        say(&format!("{json:#}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
