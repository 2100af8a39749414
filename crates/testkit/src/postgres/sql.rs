//! SQL by `psql`: nothing here knows the protocol, or has a client whose mistakes could be ours.

use std::io::Write as _;
use std::process::Stdio;

use super::cluster::Cluster;

pub(super) fn run(cluster: &Cluster, database: &str, text: &str) -> Result<String, String> {
    let mut command = cluster.psql(database);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("psql: {error}"))?;
    // It ends before it has read all of it where there is an error; that it says itself.
    let _ = child.stdin.take().expect("piped above").write_all(text.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("psql: {error}"))?;
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(|error| format!("psql: {error}"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
