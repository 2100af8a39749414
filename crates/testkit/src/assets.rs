//! A program that does with boto3 what s3-asset-manager does, to be put beside ours.

use std::process::Command;

/// `check` or `upload` of it, with a Python that has boto3. The environment is for the caller to set. `None`, said loudly
/// for `test`, where there is none.
pub fn original(command: &str, test: &str) -> Option<Command> {
    let mut python = Command::new(crate::s3::boto3(test)?);
    python.args([concat!(env!("CARGO_MANIFEST_DIR"), "/src/assets.py"), command]);
    Some(python)
}
