//! `lfs`: large files, from a forge that has them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_archive::Format;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, pause, sha256, wait_for};
use serde_json::{Value, json};

use super::members;
use crate::world::{KEY, MAIN, PROJECT, SECRET, World};

/// What git-lfs puts into a tree for a content.
pub(super) fn pointer(content: &[u8]) -> String {
    let (oid, size) = (sha256(content), content.len());
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n")
}

/// A server before the forge: it answers for large files, and hands everything else on.
#[derive(Clone)]
struct Front {
    address: SocketAddr,
    contents: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// Where downloads are said to lie, where it is not here.
    elsewhere: Arc<Mutex<Option<String>>>,
    /// How long each piece of a download is held back, and whether there is no end of pieces.
    slow: Arc<Mutex<Option<(Duration, bool)>>>,
    /// Downloads that the client ended.
    ended: Arc<AtomicUsize>,
    /// Where requests of this part of their paths are redirected to.
    redirect: Arc<Mutex<Option<(&'static str, String)>>>,
}

impl Front {
    fn before(forge: SocketAddr) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let front = Front {
            address,
            contents: Arc::default(),
            asked: Arc::default(),
            elsewhere: Arc::default(),
            slow: Arc::default(),
            ended: Arc::default(),
            redirect: Arc::default(),
        };
        let this = front.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = this.clone();
                // A client that goes away is no fault of the server.
                std::thread::spawn(move || this.serve(stream, forge).ok());
            }
        });
        front
    }

    fn put(&self, content: &[u8]) {
        self.contents.lock().expect("not poisoned").insert(sha256(content), content.to_vec());
    }

    /// How often something was asked for whose line has this text.
    fn asked(&self, text: &str) -> usize {
        self.asked.lock().expect("not poisoned").iter().filter(|line| line.contains(text)).count()
    }

    fn serve(&self, mut stream: TcpStream, forge: SocketAddr) -> std::io::Result<()> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let line = text.lines().next().unwrap_or_default().to_owned();
        self.asked.lock().expect("not poisoned").push(line.clone());
        let target = line.split(' ').nth(1).unwrap_or_default();
        let redirect = self.redirect.lock().expect("not poisoned").clone();
        if let Some((_, to)) = redirect.filter(|(part, _)| target.contains(part)) {
            let head = "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close";
            return write!(stream, "{head}\r\nLocation: {to}{target}\r\n\r\n");
        }
        let answer = if let Some(oid) = target.strip_prefix("/large/") {
            let slow = *self.slow.lock().expect("not poisoned");
            if let Some((wait, is_endless)) = slow {
                pause(wait);
                if is_endless {
                    return self.drip(stream, wait);
                }
            }
            self.contents.lock().expect("not poisoned").get(oid).cloned()
        } else if target.ends_with("/info/lfs/objects/batch") {
            let length = text
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body)?;
            Some(self.batch(&body))
        } else {
            return hand_on(stream, forge, &head);
        };
        let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
        let body = answer.unwrap_or_default();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/vnd.git-lfs+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)
    }

    /// An answer without end, a letter at a time, until the client has enough.
    fn drip(&self, mut stream: TcpStream, wait: Duration) -> std::io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        while stream.write_all(b"x").is_ok() {
            pause(wait);
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// docs/api/batch.md of git-lfs.
    fn batch(&self, body: &[u8]) -> Vec<u8> {
        let asked: Value = serde_json::from_slice(body).expect("JSON");
        let contents = self.contents.lock().expect("not poisoned");
        let answer = |object: &Value| {
            let mut object = object.clone();
            let oid = object["oid"].as_str().expect("an oid").to_owned();
            if contents.contains_key(&oid) {
                let here = || format!("http://{}", self.address);
                let server = self.elsewhere.lock().expect("not poisoned").clone().unwrap_or_else(here);
                let href = format!("{server}/large/{oid}");
                object["actions"] = json!({ "download": { "href": href } });
            } else {
                object["error"] = json!({ "code": 404, "message": "Object does not exist" });
            }
            object
        };
        let objects: Vec<Value> = asked["objects"].as_array().expect("objects").iter().map(answer).collect();
        serde_json::to_vec(&json!({ "transfer": "basic", "objects": objects })).expect("JSON")
    }
}

/// Joins the client to the forge.
fn hand_on(client: TcpStream, forge: SocketAddr, head: &[u8]) -> std::io::Result<()> {
    let mut server = TcpStream::connect(forge)?;
    server.write_all(head)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write).ok();
    });
    let mut client = client;
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// A world whose project is fetched through a front.
fn world(lines: &str) -> (World, Front) {
    let mut world = World::prepare(|project| project);
    let front = Front::before(world.github.address());
    let url = format!("http://{}/{PROJECT}.git", front.address);
    world.server.set_projects([Project::new(PROJECT, &url, SECRET).pipeline(lines)]);
    world.server.start();
    (world, front)
}

fn log_of(world: &World, commit: &str) -> String {
    let run = world.run_of(commit);
    world.server.cli_text(&["run", "logs", run["id"].as_str().expect("an id")])
}

#[test]
fn pointers_are_replaced_by_what_they_stand_for() {
    for format in [Format::Zip, Format::TarZst] {
        let lines = format!("lfs = true\nformat = \"{format}\"");
        let (world, front) = world(&lines);
        let key = format!("acme/shop/main/acme_shop.{format}");
        let (small, large) = (b"\0small".to_vec(), b"large\0 file".repeat(4_000_000));
        front.put(&small);
        front.put(&large);
        let changes = Changes::new()
            .file(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
            .file("a/small.bin", pointer(&small))
            .executable("again", pointer(&small))
            .file("large.bin", pointer(&large))
            .symlink("link", pointer(b"no"))
            .file("plain", "plain");
        let first = world.commit(None, &changes);
        world.push_and_wait(MAIN, &first);
        let store = world.server.store();
        let bytes = store.public(&key).unwrap_or_else(|| panic!("{:#?}", world.runs()));
        let found = members(format, &bytes);
        assert_eq!(found["a/small.bin"], ("100644", small.clone()));
        assert_eq!(found["again"], ("100755", small.clone()));
        assert!(found["large.bin"].1 == large, "{} bytes", found["large.bin"].1.len());
        assert_eq!(found["link"].0, "120000");
        assert_eq!(found["plain"].1, b"plain");
        assert!(log_of(&world, &first).contains("2 large files of git-lfs are here"));
        // What is here is not asked for again, and equal work is taken over.
        let asked = front.asked("/large/");
        let second = world.commit(Some(&first), &Changes::new().file("plain", "other"));
        world.push_and_wait(MAIN, &second);
        assert_eq!(front.asked("/large/"), asked);
        let found = members(format, &store.public(&key).expect("published"));
        assert!(found["large.bin"].1 == large && found["a/small.bin"].1 == small);
        if format == Format::Zip {
            assert!(log_of(&world, &second).contains("4 taken over from the archive before"));
        }
    }
}

#[test]
fn a_large_file_that_is_missing_fails_the_run_by_its_name() {
    let (world, front) = world("lfs = true");
    let commit = world.commit(None, &Changes::new().file("a.bin", pointer(b"nobody has it")));
    world.push_and_wait(MAIN, &commit);
    let run = world.run_of(&commit);
    assert_eq!(run["state"], "failed", "{run:#}");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(reason.contains(&sha256(b"nobody has it")), "{reason}");
    assert!(world.server.store().public(KEY).is_none());
    // Once it is there, the same commit can be built.
    front.put(b"nobody has it");
    world.server.cli_text(&["run", "retry", run["id"].as_str().expect("an id")]);
    world.server.wait_until_idle();
    let bytes = world.server.store().public(KEY).expect("published");
    assert_eq!(members(Format::Zip, &bytes)["a.bin"].1, b"nobody has it");
    let broken = "version https://git-lfs.github.com/spec/v1\noid sha256:short\nsize 1\n";
    let commit = world.commit(Some(&commit), &Changes::new().file("b.bin", broken));
    world.push_and_wait(MAIN, &commit);
    let run = world.run_of(&commit);
    let reason = run["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("b.bin begins like a pointer of git-lfs, but its oid"), "{reason}");
}

#[test]
fn without_the_option_pointers_stay_and_are_counted() {
    let world = World::start(|project| project);
    let changes = Changes::new()
        .file(".gitattributes", "*.bin filter=lfs\n")
        .file("a.bin", pointer(b"one"))
        .file("b.bin", pointer(b"two"));
    let commit = world.commit(None, &changes);
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
    let log = log_of(&world, &commit);
    assert!(log.contains("2 files are pointers of git-lfs and are archived as they are"), "{log}");
}

#[test]
fn downloads_on_addresses_of_this_machine_are_not_made_for_another_server() {
    let (world, front) = world("lfs = true");
    let other = Front::before(world.github.address());
    let port = other.address.port();
    for (number, server) in [
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://LOCALHOST:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://127.1:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f000001:{port}"),
        format!("http://user@127.0.0.1:{port}"),
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("content {number}");
        front.put(content.as_bytes());
        other.put(content.as_bytes());
        *front.elsewhere.lock().expect("not poisoned") = Some(server.clone());
        let commit = world.commit(None, &Changes::new().file("a.bin", pointer(content.as_bytes())));
        world.push_and_wait(MAIN, &commit);
        let run = world.run_of(&commit);
        assert_eq!(run["state"], "failed", "{server}: {run:#}");
        assert_eq!(other.asked(""), 0, "{server} was asked");
        let reason = run["reason"].as_str().expect("a reason");
        assert!(reason.contains("large file"), "{server}: {reason}");
    }
    *front.elsewhere.lock().expect("not poisoned") = None;
    for part in ["/large/", "/objects/batch"] {
        front.put(part.as_bytes());
        other.put(part.as_bytes());
        *front.redirect.lock().expect("not poisoned") = Some((part, format!("http://127.0.0.1:{port}")));
        let commit = world.commit(None, &Changes::new().file("a.bin", pointer(part.as_bytes())));
        world.push_and_wait(MAIN, &commit);
        assert_eq!(world.run_of(&commit)["state"], "failed", "{part}");
        assert_eq!(other.asked(""), 0, "{part}");
    }
}

#[test]
fn downloads_end_with_their_run_and_have_one_deadline_together() {
    let (mut world, front) = world("lfs = true");
    let large = b"it does not come".repeat(10_000);
    front.put(&large);
    *front.slow.lock().expect("not poisoned") = Some((Duration::from_millis(20), true));
    let first = world.commit(None, &Changes::new().file("a.bin", pointer(&large)));
    world.push(MAIN, &first);
    assert!(wait_for(PATIENCE, || (front.asked("/large/") == 1).then_some(())).is_some());
    world.server.cli_text(&["run", "cancel", world.run_of(&first)["id"].as_str().expect("an id")]);
    let ended = wait_for(PATIENCE, || (front.ended.load(Ordering::SeqCst) == 1).then_some(()));
    assert!(ended.is_some(), "the download goes on:\n{}", world.server.log());
    // Each of these comes in time, and all of them do not.
    world.server.stop();
    world.server.set_settings("[worker]\ngit_timeout = \"2s\"\n");
    world.server.start();
    *front.slow.lock().expect("not poisoned") = Some((Duration::from_millis(250), false));
    let contents: Vec<String> = (0..16).map(|number| format!("content {number}")).collect();
    contents.iter().for_each(|content| front.put(content.as_bytes()));
    let changes = contents.iter().fold(Changes::new(), |changes, content| {
        changes.file(content.replace(' ', "-"), pointer(content.as_bytes()))
    });
    let second = world.commit(None, &changes);
    world.push_and_wait(MAIN, &second);
    let log = log_of(&world, &second);
    assert!(log.contains("archive: attempt 2") && log.contains("large files of http"), "{log}");
    assert_eq!(world.run_of(&second)["state"], "succeeded", "what came stays for the next attempt");
}
