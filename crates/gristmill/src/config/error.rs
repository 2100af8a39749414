//! What is wrong in a configuration, told to the person who wrote it.

use std::fmt;
use std::path::{Path, PathBuf};

/// The most findings that are kept: a wrong file of ten thousand lines is told from its first few.
const FINDINGS_MAX: usize = 50;

/// Where in the configuration something stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` where it is about the file as a whole.
    pub line: Option<usize>,
}

impl Place {
    /// The file as a whole.
    pub fn file(path: &Path) -> Place {
        Place { file: path.to_owned(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// One thing that is wrong, or odd, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where; `None` for what no file says.
    pub place: Option<Place>,
    /// What is wrong, what was expected, what to do.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A configuration that cannot be used, with everything that is wrong in it: one finding a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    /// What is wrong; at least one, at most fifty.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub left_out: usize,
}

impl ConfigErrors {
    /// Only one thing is wrong.
    pub(super) fn one(place: Option<Place>, what: impl Into<String>) -> ConfigErrors {
        ConfigErrors { findings: vec![Finding { place, what: what.into() }], left_out: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            let end = if at + 1 < self.findings.len() { "\n" } else { "" };
            write!(f, "{finding}{end}")?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is found while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<Finding>,
    errors_left_out: usize,
    warnings: Vec<Finding>,
}

impl Findings {
    pub(super) fn error(&mut self, place: Place, what: impl Into<String>) {
        if self.errors.len() < FINDINGS_MAX {
            self.errors.push(Finding { place: Some(place), what: what.into() });
        } else {
            self.errors_left_out += 1;
        }
    }

    pub(super) fn warn(&mut self, place: Place, what: impl Into<String>) {
        if self.warnings.len() < FINDINGS_MAX {
            self.warnings.push(Finding { place: Some(place), what: what.into() });
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The warnings, or the errors where there are any, in the order of the files and of their lines.
    pub(super) fn finish(mut self, files: &[PathBuf]) -> Result<Vec<Finding>, ConfigErrors> {
        let at = |finding: &Finding| {
            let place = finding.place.as_ref();
            place.map(|place| (files.iter().position(|file| *file == place.file), place.line))
        };
        self.errors.sort_by_key(at);
        self.warnings.sort_by_key(at);
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfigErrors { findings: self.errors, left_out: self.errors_left_out })
        }
    }
}
