//! Names that only the tests have.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gristmill_outgoing::{Client, Options, Reach, Resolve};
use gristmill_testkit::wire;

/// A resolver: what a name is at its first lookup, at its second and so on; the last answer stays.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: HashMap<String, Vec<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    /// With one answer for good. The port counts where it is not 0.
    pub(crate) fn with(mut self, name: &str, addresses: &[&str]) -> Names {
        let parsed = addresses.iter().map(|address| {
            let ip = || SocketAddr::new(address.parse::<IpAddr>().expect("an address"), 0);
            address.parse::<SocketAddr>().unwrap_or_else(|_| ip())
        });
        self.answers.entry(name.to_owned()).or_default().push(parsed.collect());
        self
    }
}

impl Resolve for Names {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let answers =
            self.answers.get(name.strip_suffix('.').unwrap_or(name)).ok_or(io::ErrorKind::NotFound)?;
        let turn = if answers.len() == 1 { 0 } else { self.asked.fetch_add(1, Ordering::SeqCst) };
        let mut found = answers[turn.min(answers.len() - 1)].clone();
        for address in found.iter_mut().filter(|address| address.port() == 0) {
            address.set_port(port);
        }
        Ok(found)
    }
}

/// What the clients of the tests have in common: short times, and the tests' authority.
pub(crate) fn options(names: Names, allow: &[&str]) -> Options {
    let allow = allow.iter().map(|net| net.parse().expect("a network")).collect();
    Options {
        resolve: Arc::new(names),
        roots: wire::ROOT.into(),
        connect: Duration::from_millis(500),
        ..Options::new(Reach::strangers(allow), "gristmill-test")
    }
}

pub(crate) fn client(names: Names, allow: &[&str]) -> Client {
    Client::new(options(names, allow)).expect("the tests' authority can be read")
}
