//! `doctor`: looks at everything the program needs and says what to do where something is missing.
//! Makes nothing and changes nothing, except that it brings an existing database up to date as a start
//! of the program would, and tries a bucket out with small objects that it takes away again. What makes a bucket is
//! asked for by a flag.

mod api;
mod bucket;
mod data;
mod keys;
mod programs;
mod remotes;
mod rows;

use std::fmt;

use serde::Serialize;

use crate::config::{Config, Surroundings};

pub use bucket::{bucket_policy, create_bucket};

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warning,
    /// Something does not work.
    Error,
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CheckState::Ok => "ok",
            CheckState::Warning => "warning",
            CheckState::Error => "error",
        })
    }
}

/// One thing that was looked at. `Display` is one line, and a second one with the remedy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub state: CheckState,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, text: impl Into<String>) -> Check {
        Check { name: name.into(), state: CheckState::Ok, text: text.into(), remedy: None }
    }

    fn warning(name: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check::bad(name, CheckState::Warning, text, remedy)
    }

    fn error(name: impl Into<String>, text: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check::bad(name, CheckState::Error, text, remedy)
    }

    fn bad(
        name: impl Into<String>,
        state: CheckState,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Check { name: name.into(), state, text: text.into(), remedy }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}: {}", self.state, self.name, self.text)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "\n         → {remedy}"))
    }
}

/// Looks at everything; `deep` also reads every stored byte and compares every public key with its row. Takes as long as the slowest remote, at
/// most ten seconds each, and with `deep` as long as the storage takes to be read.
pub async fn examine(config: &Config, around: &Surroundings, deep: bool) -> Vec<Check> {
    let mut checks = configuration(config);
    checks.push(data::server(config));
    checks.extend(data::folder(config));
    checks.extend(data::database(config, around).await);
    checks.extend(programs::examine(config, around).await);
    checks.extend(data::storage(config, deep).await);
    if deep {
        checks.extend(rows::compare(config, around).await);
    }
    let keys = keys::Keys::open(config, around).await;
    checks.extend(keys.examine(config).await);
    checks.extend(remotes::examine(config, around, &keys).await);
    checks
}

pub use data::clock_fault;

fn configuration(config: &Config) -> Vec<Check> {
    let name = "configuration";
    let read = match config.files.as_slice() {
        [] => "no file; everything is at its default".to_owned(),
        [file] => format!("{}", file.display()),
        [file, more @ ..] => format!("{} and {} more", file.display(), more.len()),
    };
    let enabled = config.projects.iter().filter(|project| project.enabled).count();
    let text = format!("{read}; {enabled} of {} projects enabled", config.projects.len());
    let mut checks = vec![if enabled == 0 {
        Check::warning(name, text, "add a project: gristmill project add OWNER/REPO --git URL")
    } else {
        Check::ok(name, text)
    }];
    checks.extend(config.warnings.iter().map(|finding| Check::warning(name, finding.to_string(), "")));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_line_and_its_remedy() {
        assert_eq!(Check::ok("git", "2.39.5").to_string(), "ok       git: 2.39.5");
        let check = Check::error("git", "not found", "install git");
        assert_eq!(check.to_string(), "error    git: not found\n         → install git");
        assert_eq!(Check::warning("x", "y", "").to_string(), "warning  x: y");
    }
}
