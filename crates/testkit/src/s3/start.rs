//! Where the servers are, and how they start.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{Client, Kind, Server, radosgw};
use crate::keeper::{Keeper, TRIES, free_port};
use crate::server::wait_for;

const ACCESS_KEY: &str = "GRISTMILLTEST";
const SECRET_KEY: &str = "gristmill-test-secret";
const REGION: &str = "us-east-1";

/// How long a server may need until it answers, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts what a server consists of, in a keeper's folder and on a port.
pub(super) type Launch = Box<dyn Fn(&Keeper, u16, &mut Vec<Child>) -> Result<(), String>>;

/// A server, or why there is none here. Panics where it is installed and does not start.
pub(super) fn start(kind: Kind) -> Result<Server, String> {
    let launch = match kind {
        Kind::Moto => moto()?,
        Kind::S3sFs => s3s_fs()?,
        Kind::Radosgw => radosgw::programs()?,
    };
    let mut last = String::new();
    for _ in 0..TRIES {
        let keeper = Keeper::new();
        let port = free_port();
        let mut children = Vec::new();
        let started = launch(&keeper, port, &mut children);
        let mut server = Server {
            endpoint: format!("http://127.0.0.1:{port}"),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            region: REGION.to_owned(),
            kind,
            buckets: AtomicU32::new(0),
            children,
            keeper,
        };
        match started.and_then(|()| await_answer(&mut server)) {
            Ok(()) => return Ok(server),
            Err(error) => last = format!("{error}\n{}", server.log()),
        }
    }
    panic!("{} does not start: {last}", kind.name());
}

fn moto() -> Result<Launch, String> {
    let program = tools().join("moto/bin/moto_server");
    if !program.is_file() {
        return Err("there is no moto; run: scripts/setup.sh test".to_owned());
    }
    Ok(Box::new(move |keeper, port, children| {
        let mut command = Command::new(&program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        children.push(keeper.spawn(&mut command, "moto").map_err(|error| format!("moto: {error}"))?);
        Ok(())
    }))
}

/// moto is built on boto3, so that both are in one place.
pub(super) fn python() -> Result<PathBuf, String> {
    let program = tools().join("moto/bin/python");
    if !program.is_file() {
        return Err("there is no boto3; run: scripts/setup.sh test".to_owned());
    }
    Ok(program)
}

fn s3s_fs() -> Result<Launch, String> {
    // Benchmarks are measured with one that is as fast as it can be.
    let fast = tools().join("optimised/bin/s3s-fs");
    let is_measured = !cfg!(debug_assertions) && fast.is_file();
    let program = if is_measured { fast } else { tools().join("bin/s3s-fs") };
    if !program.is_file() {
        return Err("there is no s3s-fs; run: scripts/setup.sh test".to_owned());
    }
    Ok(Box::new(move |keeper, port, children| {
        let root = keeper.folder().join("root");
        std::fs::create_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).arg(&root);
        children.push(keeper.spawn(&mut command, "s3s-fs").map_err(|error| format!("s3s-fs: {error}"))?);
        Ok(())
    }))
}

/// The folder of what `scripts/setup.sh` installs for this repository alone.
fn tools() -> PathBuf {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // An absolute one replaces the root.
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("tools")
}

/// Waits until it lists its buckets for whom it should know.
fn await_answer(server: &mut Server) -> Result<(), String> {
    let client = server.client();
    let mut last = String::from("no answer");
    let children = &mut server.children;
    let answered = wait_for(PATIENCE, || {
        if let Some(status) = children.iter_mut().find_map(|child| child.try_wait().expect("a child")) {
            return Some(Err(format!("it ended: {status}")));
        }
        client.expect(200, "GET", "/", &[], b"").map(|_| Ok(())).map_err(|error| last = error).ok()
    });
    answered.unwrap_or_else(|| Err(format!("it does not answer within {PATIENCE:?}: {last}")))
}

/// Waits until somebody listens, or until a program has ended.
pub(super) fn await_port(port: u16, child: &mut Child) -> Result<(), String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let opened = wait_for(PATIENCE, || {
        if let Some(status) = child.try_wait().expect("a child") {
            return Some(Err(format!("it ended: {status}")));
        }
        TcpStream::connect(address).is_ok().then_some(Ok(()))
    });
    opened.unwrap_or_else(|| Err(format!("nobody listens on port {port} within {PATIENCE:?}")))
}

/// For the user that [`radosgw`] makes.
pub(super) fn keys() -> Client {
    Client {
        endpoint: String::new(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        region: REGION.to_owned(),
    }
}
