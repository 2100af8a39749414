//! What `.gitattributes` files make of a tree on its way into an archive, as `git archive` does it: members that
//! are left out, ends of lines, encodings, and what stands for the commit.
//!
//! Nothing is read and nothing is run here: the caller brings the files of the tree, the content, and the commit
//! as git stores it. Filters (`filter=lfs`) are another thing and not applied.
//!
//! ```
//! # use gristmill_archive::attributes::{Attributes, apply};
//! let rules = Attributes::new([(&b""[..], &b"*.bat eol=crlf\n/docs export-ignore\n"[..])])?;
//! assert!(rules.of(b"docs", true).export_ignore);
//! let content = apply(b"echo\n", &rules.of(b"run.bat", false), "ce01362", None, 1 << 20)?;
//! assert_eq!(&content[..], b"echo\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod commit;
mod convert;
mod date;
mod expand;
mod message;
mod rules;

pub use commit::{Commit, CommitError};
pub use convert::{ConvertError, apply};
pub use rules::{Attributes, AttributesError, Eol, PathAttributes, RULE_BYTES_MAX, RULES_MAX};
