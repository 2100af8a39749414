//! Large files, by the real git-lfs from a small server that speaks its HTTP interface.

mod common;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::sshd::{Sshd, key};
use common::{Setup, by_id, commit, limits, remote, remote_with_token};
use gristmill_git::{
    GitError, LfsLimits, LfsOid, LfsPointer, ObjectError, PointerFault, Protocol, WalkLimits,
};
use gristmill_model::Digest;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

const TOKEN: &str = "lfs-Canary-token";
/// Base64 of `x-access-token:lfs-Canary-token`.
const BASIC: &str = "Basic eC1hY2Nlc3MtdG9rZW46bGZzLUNhbmFyeS10b2tlbg==";

fn pointer(content: &[u8]) -> LfsPointer {
    let oid = LfsOid::from_hex(&Digest::of(content).to_hex()).expect("a digest");
    LfsPointer { oid, size: content.len() as u64 }
}

/// What the server holds, and what was asked of it.
#[derive(Default)]
struct State {
    objects: HashMap<String, Vec<u8>>,
    requests: Vec<String>,
    token: bool,
    /// Where batches are redirected to, and where downloads are said to lie.
    redirect: Option<String>,
    elsewhere: Option<String>,
}

/// The batch interface (docs/api/batch.md of git-lfs) and the downloads that it names.
struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = (address.clone(), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no fault of the server.
                let _ = answer(stream, &shared.0, &mut shared.1.lock().expect("not poisoned"));
            }
        });
        Server { address, state }
    }

    fn url(&self) -> String {
        format!("http://{}/acme/shop.git", self.address)
    }

    fn put(&self, oid: LfsOid, content: &[u8]) {
        self.state.lock().expect("not poisoned").objects.insert(oid.to_string(), content.to_vec());
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").requests.clone()
    }
}

fn answer(stream: TcpStream, address: &str, state: &mut State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => value.clone_into(&mut authorization),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    state.requests.push(format!("{} {authorization}", first.trim_end()));
    let (status, kind, content) = if let Some(oid) = target.strip_prefix("/objects/") {
        match state.objects.get(oid) {
            _ if state.token && authorization != BASIC && state.objects.is_empty() => {
                ("401 Unauthorized", "text/plain", Vec::new())
            }
            Some(content) => ("200 OK", "application/octet-stream", content.clone()),
            None => ("404 Not Found", "text/plain", Vec::new()),
        }
    } else if state.token && authorization != BASIC {
        ("401 Unauthorized", "application/vnd.git-lfs+json", b"{\"message\":\"who are you?\"}".to_vec())
    } else if state.redirect.is_some() {
        ("307 Temporary Redirect", "text/plain", Vec::new())
    } else {
        let address = state.elsewhere.as_deref().unwrap_or(address);
        ("200 OK", "application/vnd.git-lfs+json", batch(&body, address, state))
    };
    let mut stream = stream;
    let header = match &state.redirect {
        _ if status.starts_with("401") => "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned(),
        Some(to) if status.starts_with("307") => format!("Location: http://{to}{target}\r\n"),
        _ => String::new(),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    )?;
    stream.write_all(&content)
}

fn batch(body: &[u8], address: &str, state: &State) -> Vec<u8> {
    let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let objects = asked["objects"].as_array().cloned().unwrap_or_default();
    let objects: Vec<_> = objects
        .into_iter()
        .map(|mut object| {
            let oid = object["oid"].as_str().unwrap_or_default().to_owned();
            if state.objects.contains_key(&oid) {
                object["actions"] =
                    serde_json::json!({ "download": { "href": format!("http://{address}/objects/{oid}") } });
            } else {
                object["error"] = serde_json::json!({ "code": 404, "message": "Object does not exist" });
            }
            object
        })
        .collect();
    serde_json::to_vec(&serde_json::json!({ "transfer": "basic", "objects": objects })).expect("JSON")
}

/// A setup that talks to a server; `None`, said loudly, without git-lfs.
async fn setup(test: &str) -> Option<Setup> {
    let setup = Setup::with_protocols(&[Protocol::Https, Protocol::File]);
    match setup.git.lfs_version().await {
        Ok(version) => {
            assert!(version.starts_with("git-lfs/"), "{version}");
            Some(setup)
        }
        Err(_) => {
            gristmill_testkit::skip(test, "there is no git-lfs; install git-lfs");
            None
        }
    }
}

#[tokio::test]
async fn large_files_of_a_commit_are_found_brought_and_checked() {
    let Some(setup) = setup("large_files_of_a_commit_are_found_brought_and_checked").await else { return };
    let server = Server::start();
    server.state.lock().expect("not poisoned").token = true;
    let (large, other) = (b"large \0 file".repeat(10_000), b"another".to_vec());
    let repo = TestRepo::new();
    let changes = Changes::new()
        .file("a/large.bin", pointer(&large).to_text())
        .file("again.bin", pointer(&large).to_text())
        .executable("other", pointer(&other).to_text())
        .symlink("link", pointer(b"no").to_text())
        .file("plain", "version of something else\n")
        // A stranger's words on where to go and what to fetch are not read.
        .file(".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1/\n\tfetchexclude = *\n")
        .file(".gitattributes", "* -filter\n");
    let id = repo.commit("main", &changes);
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
    let objects = mirror.objects().expect("a reader");
    let tree = objects.commit(commit(&id)).expect("a commit").tree;
    let found = objects.lfs_pointers(tree, WalkLimits::default(), 3).expect("pointers");
    let paths: Vec<_> = found.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
    assert_eq!(paths, ["a/large.bin", "again.bin", "other"]);
    let error = objects.lfs_pointers(tree, WalkLimits::default(), 2).expect_err("one too many");
    assert!(matches!(error, GitError::TooLarge { max: 2, .. }), "{error:?}");
    let pointers: Vec<LfsPointer> = found.into_iter().map(|(_, pointer)| pointer).collect();
    for content in [&large, &other] {
        server.put(pointer(content).oid, content);
    }
    let fetch = async |token: &str| {
        mirror.fetch_lfs(&remote_with_token(&server.url(), token), &pointers, LfsLimits::default()).await
    };
    let error = fetch("wrong").await.expect_err("a wrong token");
    assert!(matches!(error, GitError::Auth { .. }) && !error.is_transient(), "{error:?}");
    assert!(!error.to_string().contains("wrong\""), "{error}");
    let brought = fetch(TOKEN).await.expect("brought");
    assert_eq!(brought.len(), 2);
    for content in [&large, &other] {
        let mut read = Vec::new();
        let file = brought.open(pointer(content).oid).expect("opened").expect("among the pointers");
        BufReader::new(file).read_to_end(&mut read).expect("read");
        assert_eq!(&read, content);
    }
    assert!(brought.open(pointer(b"x").oid).expect("no error").is_none());
    // The mirror is as it was, and what is here is not asked for again.
    assert!(setup.mirror().await.objects().expect("a reader").commit(commit(&id)).is_ok());
    assert!(!setup.mirror_dir().join("damaged").exists());
    let before = server.requests().len();
    fetch(TOKEN).await.expect("here");
    assert_eq!(server.requests().len(), before);
    // The downloads went to the same server by another address's rules: with the token only where it asked.
    assert!(
        server.requests().iter().any(|line| line.contains("/info/lfs/objects/batch") && line.contains(BASIC))
    );
    // What is damaged here is brought again.
    let hex = pointer(&other).oid.to_string();
    let file = setup.mirror_dir().join("lfs/objects").join(&hex[..2]).join(&hex[2..4]).join(&hex);
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
    fs::write(&file, b"anothex").expect("written");
    fetch(TOKEN).await.expect("brought again");
    assert_eq!(fs::read(&file).expect("there"), other);
}

#[tokio::test]
async fn what_does_not_come_or_is_something_else_is_told() {
    let Some(setup) = setup("what_does_not_come_or_is_something_else_is_told").await else { return };
    let mirror = setup.mirror().await;
    let server = Server::start();
    let lying = pointer(b"the truth");
    server.put(lying.oid, b"a lie, too");
    let flood = pointer(b"small");
    server.put(flood.oid, &vec![b'x'; 40 << 20]);
    for pointer in [pointer(b"nobody has it"), lying, flood] {
        let result = mirror.fetch_lfs(&remote(&server.url()), &[pointer], LfsLimits::default()).await;
        let error = result.expect_err("it is not what it should be");
        match &error {
            GitError::LfsObject { oid, .. } => assert_eq!(*oid, pointer.oid.to_string()),
            // Where the flood is noticed first.
            GitError::TooLarge { .. } => assert_eq!(pointer, flood),
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().len() < 10_000);
    }
    for url in ["/srv/git/a.git", "file:///srv/git/a.git"] {
        let result = mirror.fetch_lfs(&remote(url), &[lying], LfsLimits::default()).await;
        assert!(matches!(result, Err(GitError::LfsObject { .. })), "{result:?}");
    }
    let server = Server::start();
    let ask = async |pointers: &[LfsPointer], limits| {
        mirror.fetch_lfs(&remote(&server.url()), pointers, limits).await.map(|found| found.len())
    };
    let pointers = [pointer(b"12345"), pointer(b"123"), pointer(b"12345")];
    let exact = LfsLimits { objects_max: 2, object_bytes_max: 5, bytes_max: 8, ..LfsLimits::default() };
    for (limits, max) in [
        (LfsLimits { objects_max: 1, ..exact }, 1),
        (LfsLimits { object_bytes_max: 4, ..exact }, 4),
        (LfsLimits { bytes_max: 7, ..exact }, 7),
    ] {
        let result = ask(&pointers, limits).await;
        assert!(matches!(result, Err(GitError::TooLarge { max: found, .. }) if found == max), "{result:?}");
    }
    let two = [pointers[0], LfsPointer { size: 4, ..pointers[0] }];
    assert!(matches!(ask(&two, LfsLimits::default()).await, Err(GitError::LfsObject { .. })));
    assert_eq!(ask(&[], exact).await.expect("nothing"), 0);
    assert_eq!(server.requests(), Vec::<String>::new());
    assert!(matches!(ask(&pointers, exact).await, Err(GitError::LfsObject { .. })));
}

#[tokio::test]
async fn by_ssh_the_server_names_the_address_and_the_token() {
    let test = "by_ssh_the_server_names_the_address_and_the_token";
    let Some(setup) = setup(test).await else { return };
    let (key, server) = (key(1), Server::start());
    server.state.lock().expect("not poisoned").token = true;
    let content = b"brought by two protocols";
    server.put(pointer(content).oid, content);
    // docs/api/server-discovery.md of git-lfs.
    let answer = serde_json::json!({
        "href": format!("{}/info/lfs", server.url()), "header": { "Authorization": BASIC }, "expires_in": 600,
    });
    let said = setup.folder.path().join("answer");
    fs::write(&said, answer.to_string()).expect("written");
    let asked = setup.folder.path().join("asked");
    let options =
        format!("command=\"echo $SSH_ORIGINAL_COMMAND >> {}; cat {}\"", asked.display(), said.display());
    let Some(sshd) = Sshd::start(test, &key, &options) else { return };
    let remote = sshd.remote(std::path::Path::new("/acme/shop.git"), &key);
    let ssh = Setup::with_protocols(&[Protocol::Ssh]);
    let brought = ssh.mirror().await.fetch_lfs(&remote, &[pointer(content)], LfsLimits::default()).await;
    assert_eq!(brought.expect("brought").len(), 1);
    let asked = fs::read_to_string(asked).expect("it was asked");
    // It first asks for a transfer by ssh, which this server does not have.
    assert_eq!(asked.lines().last(), Some("git-lfs-authenticate /acme/shop.git download"));
    let stranger = sshd.remote(std::path::Path::new("/acme/shop.git"), &common::sshd::key(2));
    let result = ssh.mirror().await.fetch_lfs(&stranger, &[pointer(b"x")], LfsLimits::default()).await;
    assert!(matches!(result, Err(GitError::Auth { .. })), "{result:?}");
}

#[tokio::test]
async fn another_server_gets_no_token() {
    let Some(setup) = setup("another_server_gets_no_token").await else { return };
    let mirror = setup.mirror().await;
    for redirects in [true, false] {
        let (server, thief) = (Server::start(), Server::start());
        thief.state.lock().expect("not poisoned").token = true;
        server.put(pointer(b"bait").oid, b"bait");
        {
            let mut state = server.state.lock().expect("not poisoned");
            state.token = true;
            let to = Some(thief.address.clone());
            if redirects { state.redirect = to } else { state.elsewhere = to }
        }
        let remote = remote_with_token(&server.url(), TOKEN);
        let result = mirror.fetch_lfs(&remote, &[pointer(b"bait")], LfsLimits::default()).await;
        let error = result.expect_err("it was led to another server").to_string();
        // It is asked without a token, or not at all because there is none for it.
        assert!(!thief.requests().is_empty() || error.contains(&thief.address), "{error}");
        assert!(server.requests().iter().any(|line| line.contains(BASIC)), "the right one got it");
        assert!(thief.requests().iter().all(|line| !line.contains("Basic")), "{:?}", thief.requests());
    }
}

#[tokio::test]
async fn without_the_program_the_error_says_so() {
    // Git finds its subcommands in its own folder and in PATH, where none of this name is.
    let setup = Setup::with(|options| {
        options.program = "/usr/local/bin/git".into();
        if !options.program.exists() {
            options.program = "/usr/bin/git".into();
        }
        options.search_path = "/nowhere".into();
    });
    let error = setup.git.lfs_version().await.expect_err("not there");
    assert!(matches!(error, GitError::LfsProgram) && !error.is_transient(), "{error:?}");
    let result = setup.mirror().await;
    let result =
        result.fetch_lfs(&remote("http://127.0.0.1:1/a"), &[pointer(b"x")], LfsLimits::default()).await;
    assert!(matches!(result, Err(GitError::LfsProgram)), "{result:?}");
}

#[tokio::test]
async fn pointers_are_read_strictly() {
    let version = "version https://git-lfs.github.com/spec/v1\n";
    let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
    let good = format!("{version}oid sha256:{oid}\nsize 12345\n");
    let read = |text: &str| LfsPointer::parse(text.as_bytes());
    assert_eq!(read(&good).expect("a pointer").expect("a good one").to_text(), good);
    for text in
        ["", "version", "Version https://git-lfs.github.com/spec/v1\n", "\n", " version", "version x\n"]
    {
        assert_eq!(read(text), None, "{text:?}");
    }
    assert_eq!(read(&format!("{good}{}", "x".repeat(1024))), None, "too long for a pointer");
    use PointerFault::{Extension, Lines, Oid, Old, Size};
    let with = |rest: &str| format!("{version}{rest}");
    for (text, fault) in [
        (with(""), Lines),
        (with(&format!("oid sha256:{oid}\n")), Lines),
        (with(&format!("oid sha256:{oid}\nsize 1")), Lines),
        (with(&format!("oid sha256:{oid}\r\nsize 1\r\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize 1\r\n")), Size),
        (with(&format!("size 1\noid sha256:{oid}\n")), Lines),
        (with(&format!("oid  sha256:{oid}\nsize 1\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize 1\nx y\n")), Size),
        (with(&format!("oid sha256:{oid} \nsize 1\n")), Oid),
        (with(&format!("oid sha256:{}\nsize 1\n", oid.to_uppercase())), Oid),
        (with(&format!("oid sha256:{}\nsize 1\n", &oid[1..])), Oid),
        (with(&format!("oid sha256:../../{}\nsize 1\n", &oid[6..])), Oid),
        (with(&format!("oid sha1:{oid}\nsize 1\n")), Oid),
        (with(&format!("oid {oid}\nsize 1\n")), Oid),
        (with(&format!("oid sha256:{oid}\nsize -1\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize +1\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 01\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize \n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 1 \n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 9223372036854775808\n")), Size),
        (with(&format!("oid sha256:{oid}\nsize 99999999999999999999\n")), Size),
        (with(&format!("ext-0-x sha256:{oid}\noid sha256:{oid}\nsize 1\n")), Extension),
        (format!("version https://hawser.github.com/spec/v1\noid sha256:{oid}\nsize 1\n"), Old),
        (format!("version http://git-media.io/v/2\noid sha256:{oid}\nsize 1\n"), Old),
    ] {
        assert_eq!(read(&text), Some(Err(fault)), "{text:?}");
    }
    // In a tree, what begins like a pointer and is none is an error, not a file.
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("bad", with("oid x\n")).file("good", &good));
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
    let objects = mirror.objects().expect("a reader");
    let tree = objects.commit(commit(&id)).expect("a commit").tree;
    let error = objects.lfs_pointers(tree, WalkLimits::default(), 10).expect_err("a bad one");
    assert!(matches!(error, GitError::Object(ObjectError::Malformed { .. })), "{error:?}");
}
