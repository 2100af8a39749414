//! S3 servers that are programs of their own, for tests of what speaks to them: moto, s3s-fs, and the object gateway
//! of Ceph. `scripts/setup.sh test` installs them.
//!
//! Tests of one program share a server of each [`Kind`] ([`Server::shared`]) and have a bucket each
//! ([`Server::bucket`]). To see what is sent, or to have it fail, put [`crate::faults::Proxy`] before it.

mod client;
mod radosgw;
mod sign;
mod start;

use std::path::PathBuf;
use std::process::Child;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use client::{Client, Reply};

use crate::keeper::Keeper;

/// Which program it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// In Python. Takes any signature.
    Moto,
    /// In Rust, over a folder. Checks signatures. Its buckets have no versions, and it does not encode keys in lists for
    /// those who ask for it (`encoding-type=url`). An object that is made of parts over another one keeps that
    /// one's checksum.
    S3sFs,
    /// Ceph's gateway with all behind it, in memory. Checks signatures. That of Debian 12 ignores `If-None-Match`,
    /// and is wrong about `If-Match` in buckets with versions.
    Radosgw,
}

/// A server on 127.0.0.1. It ends, and its data goes away, when it is dropped or when the test's process ends.
#[derive(Debug)]
pub struct Server {
    /// `http://127.0.0.1:<port>`, without a slash at its end. Buckets stand in the path.
    pub endpoint: String,
    /// Whom requests are signed as. The keys are the same in every run: nothing but tests' data is behind them.
    pub access_key: String,
    /// With what they are signed.
    pub secret_key: String,
    /// The region they are signed for.
    pub region: String,
    /// Which program it is.
    pub kind: Kind,
    buckets: AtomicU32,
    children: Vec<Child>,
    keeper: Keeper,
}

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 3] = [Kind::Moto, Kind::S3sFs, Kind::Radosgw];

    /// Its name, as in the list of what a test skips.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Moto => "moto",
            Kind::S3sFs => "s3s-fs",
            Kind::Radosgw => "radosgw",
        }
    }

    /// Whether its buckets can have versions.
    pub fn has_versions(self) -> bool {
        self != Kind::S3sFs
    }
}

/// A Python that has boto3, Amazon's own client. `None`, said loudly for `test`, where it is not installed.
pub fn boto3(test: &str) -> Option<PathBuf> {
    start::python().map_err(|why| crate::skip(test, &why)).ok()
}

impl Server {
    /// The one server of that kind of this program's tests. `None`, said loudly for `test`, where it is not installed.
    /// The first caller waits for its start: a second, or some 15 for [`Kind::Radosgw`].
    pub fn shared(kind: Kind, test: &str) -> Option<&'static Server> {
        static SHARED: [OnceLock<Result<Server, String>>; 3] = [const { OnceLock::new() }; 3];
        let place = match kind {
            Kind::Moto => &SHARED[0],
            Kind::S3sFs => &SHARED[1],
            Kind::Radosgw => &SHARED[2],
        };
        match place.get_or_init(|| start::start(kind)) {
            Ok(server) => Some(server),
            Err(why) => {
                crate::skip(test, why);
                None
            }
        }
    }

    /// A server of its own. `None`, said loudly, where it is not installed.
    pub fn start(kind: Kind, test: &str) -> Option<Server> {
        start::start(kind).map_err(|why| crate::skip(test, &why)).ok()
    }

    /// Makes a bucket.
    ///
    /// # Errors
    ///
    /// Where the server did not, or does not know versions.
    pub fn make_bucket(&self, name: &str, versioned: bool) -> Result<(), String> {
        let client = self.client();
        client.expect(200, "PUT", &format!("/{name}"), &[], b"")?;
        if versioned {
            let wanted = b"<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                <Status>Enabled</Status></VersioningConfiguration>";
            let target = format!("/{name}?versioning");
            client.expect(200, "PUT", &target, &[], wanted)?;
            let reply = client.expect(200, "GET", &target, &[], b"")?;
            if !reply.text().contains("<Status>Enabled</Status>") {
                return Err(format!("{}: no versions in {name}: {}", self.kind.name(), reply.text()));
            }
        }
        Ok(())
    }

    /// A new bucket with a name that no other test has. Returns it.
    pub fn bucket(&self, versioned: bool) -> String {
        let name = format!("test-{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        self.make_bucket(&name, versioned).unwrap_or_else(|error| panic!("no bucket: {error}"));
        name
    }

    /// Who sends signed requests to it.
    pub fn client(&self) -> Client {
        self.client_at(&self.endpoint)
    }

    /// The same by way of a proxy.
    pub fn client_at(&self, endpoint: &str) -> Client {
        Client {
            endpoint: endpoint.to_owned(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            region: self.region.clone(),
        }
    }

    /// What its programs have written.
    pub fn log(&self) -> String {
        self.keeper.log(self.kind.name())
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "part of a failing test's output, which the harness collects")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.kind.name(), self.log());
        }
        self.keeper.kill();
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
