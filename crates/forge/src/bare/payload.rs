//! The body that `webhook send` makes, and what it tells of.

use std::str;

use gristmill_model::{CommitId, Event, EventRepository, GitRef};
use serde::{Deserialize, Serialize};

use crate::change::{self, Parts};
use crate::parse::{ParseError, from_json};
use crate::text::shown;

#[derive(Serialize, Deserialize)]
struct Push {
    repository: String,
    lines: Vec<String>,
}

/// What a `post-receive` hook was given is not what git gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostReceiveError {
    /// The name is none.
    #[error("`{name}` is not a repository's name; expected parts between slashes, such as `acme/shop`")]
    Repository {
        /// The name, cut.
        name: String,
    },
    /// There is no line.
    #[error(
        "standard input has no line; expected `old new ref` for each ref that moved, as git gives them to `post-receive`"
    )]
    Empty,
    /// There are more lines than one delivery tells of.
    #[error("standard input has more than {max} lines; the rest is found by `gristmill sync`", max = change::CHANGES_MAX)]
    TooMany,
    /// A line is none.
    #[error("line {number} of standard input is malformed: {problem}; expected `old new ref`")]
    Line {
        /// Which line, from 1.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// The body for `webhook send`, from what git wrote to the standard input of a `post-receive` hook.
///
/// # Errors
/// [`PostReceiveError`] where one of the two is not what it should be.
pub fn post_receive_body(repository: &str, stdin: &[u8]) -> Result<String, PostReceiveError> {
    if !change::is_full_name(repository, Parts::Any) {
        return Err(PostReceiveError::Repository { name: shown(repository) });
    }
    let mut lines = Vec::new();
    for (index, line) in stdin.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index == change::CHANGES_MAX {
            return Err(PostReceiveError::TooMany);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let malformed = |problem| PostReceiveError::Line { number: index + 1, problem };
        let text = str::from_utf8(line).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
        moved(text).map_err(malformed)?;
        lines.push(text.to_owned());
    }
    if lines.is_empty() {
        return Err(PostReceiveError::Empty);
    }
    let push = Push { repository: repository.to_owned(), lines };
    Ok(serde_json::to_string(&push).expect("texts are always JSON"))
}

/// What the body of a delivery tells of: one event for each line.
pub(crate) fn parse(json: &str) -> Result<Vec<Event>, ParseError> {
    let push: Push = from_json("post-receive", json)?;
    let repository = change::repository("post-receive", "repository", push.repository, None, Parts::Any)?;
    change::each(push.lines, Some(&repository), |index, line| event(index, &line, &repository))
}

fn event(index: usize, line: &str, repository: &EventRepository) -> Result<Event, ParseError> {
    let (before, after, git_ref) = moved(line)
        .map_err(|problem| ParseError::shape("post-receive", &format!("lines[{index}]"), problem))?;
    Ok(change::moved(Some(repository.clone()), git_ref, before, after))
}

/// The parts of one line.
fn moved(line: &str) -> Result<(Option<CommitId>, Option<CommitId>, GitRef), String> {
    let mut parts = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("`{}` has less than three parts", shown(line)));
    };
    let id = |text: &str| change::commit_or_zero(text).map_err(|error| error.to_string());
    let (before, after) = (id(old)?, id(new)?);
    if old.len() != new.len() {
        return Err("its ids are of two lengths".to_owned());
    }
    if before.is_none() && after.is_none() {
        return Err("both of its ids are zeros".to_owned());
    }
    Ok((before, after, name.parse::<GitRef>().map_err(|error| error.to_string())?))
}
