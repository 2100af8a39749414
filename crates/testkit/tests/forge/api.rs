//! A client as plain as curl, and what is the same everywhere.

use std::path::Path;
use std::process::{Command, Output};

use gristmill_testkit::FakeForge;
use serde_json::Value;

pub(crate) const ADMIN: &str = "token-of-an-administrator";
pub(crate) const NAME: &str = "acme/shop";

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
    /// `null` where the body is not JSON.
    pub(crate) body: Value,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The address behind `rel="next"`.
    pub(crate) fn next(&self) -> Option<String> {
        let link = self.header("link").split(", ").find(|link| link.ends_with("rel=\"next\""))?;
        Some(link.split('>').next()?.trim_start_matches('<').to_owned())
    }
}

/// Asks with one header for who asks, and follows nothing.
pub(crate) fn ask(method: &str, url: &str, who: &str, body: Option<Value>) -> Got {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url).header("User-Agent", "test");
    if let Some((name, value)) = who.split_once(": ") {
        request = request.header(name, value);
    }
    let answer = match body {
        Some(body) => {
            let request = request.header("Content-Type", "application/json");
            agent.run(request.body(body.to_string()).expect("a request"))
        }
        None => agent.run(request.body(()).expect("a request")),
    };
    let mut answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let headers = answer.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
    let headers = headers.collect();
    let status = answer.status().as_u16();
    let bytes = answer.body_mut().read_to_vec().expect("a body");
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Got { status, headers, bytes, body }
}

/// A forge with the repository [`NAME`], private, and the token [`ADMIN`].
pub(crate) fn private(family: gristmill_testkit::forge::Family) -> FakeForge {
    let forge = FakeForge::start(family);
    forge.create_bare(NAME);
    forge.require_token(Some(ADMIN));
    forge
}

/// A public key of OpenSSH, the same for the same number.
pub(crate) fn public_key(number: u8) -> String {
    use base64::Engine as _;
    let mut bytes = vec![0, 0, 0, 11];
    bytes.extend_from_slice(b"ssh-ed25519");
    bytes.extend_from_slice(&[0, 0, 0, 32]);
    bytes.extend_from_slice(&[number; 32]);
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// What an archive holds, sorted.
pub(crate) fn members(archive: &[u8], is_zip: bool) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("archive");
    std::fs::write(&file, archive).expect("written");
    let program = if is_zip {
        "import sys, zipfile; print('\\n'.join(sorted(zipfile.ZipFile(sys.argv[1]).namelist())))"
    } else {
        "import sys, tarfile; print('\\n'.join(sorted(tarfile.open(sys.argv[1]).getnames())))"
    };
    let output = Command::new("python3").args(["-c", program]).arg(&file).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().filter(|line| !line.ends_with('/')).map(str::to_owned).collect()
}

pub(crate) fn clone(url: &str, into: &Path) -> Output {
    git(&["clone", "--quiet", "--bare", url], into, &[])
}

pub(crate) fn git(args: &[&str], into: &Path, env: &[(&str, &str)]) -> Output {
    Command::new("git")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs(env.iter().copied())
        .args(["-c", "credential.helper="])
        .args(args)
        .arg(into)
        .output()
        .expect("git starts")
}
