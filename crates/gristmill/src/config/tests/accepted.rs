//! What is made of a configuration that is taken: defaults, search order, every setting.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use expect_test::expect;

use super::super::{Config, DatabaseUrl, SecretSource, Surroundings};
use super::{Place, load, project};

#[test]
fn without_a_file_everything_has_its_default() {
    let place = Place::new();
    let config = place.load().unwrap();
    expect![[r#"
        Config {
            server: Server {
                listen: "127.0.0.1:8484",
                public_url: None,
                anonymous_read: true,
                trusted_proxies: [],
                body_bytes_max: 26214400,
                bodies_in_flight_bytes_max: 67108864,
                history_keep_days: 90,
                key: [],
            },
            data_dir: "gristmill-data",
            database: Sqlite(
                "gristmill-data/gristmill.db",
            ),
            storage: StorageUrl(
                "file:gristmill-data/storage",
            ),
            s3: S3Settings {
                region: None,
                endpoint: None,
                path_style: false,
                profile: None,
                credentials_file: None,
                role: None,
                expected_bucket_owner: None,
                sse: None,
                copy_bytes_max: 5368709120,
                connect_timeout: 5s,
                request_timeout: 15s,
                cache: "gristmill-data/cache",
                cache_bytes_max: 10737418240,
            },
            worker: Worker {
                jobs_max: 6,
                git: "git",
                git_timeout_seconds: 3600,
                repository_bytes_max: 21474836480,
                archive_bytes_max: 10737418240,
            },
            network: Network {
                proxy: None,
                no_proxy: "",
                allow: [],
            },
            projects: [],
            patterns: [],
            files: [],
            warnings: [],
        }
    "#]]
    .assert_eq(&place.tidy(&format!("{config:#?}\n")));
    place.write("gristmill.toml", "");
    let with_file = place.load().unwrap();
    assert_eq!(with_file.files, [place.path("gristmill.toml")]);
    assert_eq!(Config { files: Vec::new(), ..with_file }, config);
}

#[test]
fn the_process_tells_its_processors_and_the_system_has_a_file() {
    let around = Surroundings::new(PathBuf::from("/x"), |_| None);
    assert_eq!(around.system_file, Path::new("/etc/gristmill/gristmill.toml"));
    assert!(around.cores >= 1);
    let place = Place::new();
    let with = |cores| Config::load(None, &Surroundings { cores, ..place.around() }).unwrap().worker.jobs_max;
    assert_eq!([with(0), with(3), with(4), with(32), with(33)], [6, 6, 8, 64, 64]);
}

#[test]
fn files_are_looked_for_in_order() {
    let mut place = Place::new();
    let listens = |place: &Place, path: Option<&str>| {
        let config = Config::load(path.map(Path::new), &place.around()).unwrap();
        (config.server.listen, config.data_dir.strip_prefix(place.path("")).unwrap().display().to_string())
    };
    let told = |port: &str, folder: &str| (port.to_owned(), folder.to_owned());
    assert_eq!(Config::file(None, &place.around()), place.path("gristmill.toml"));
    place.write("etc/gristmill.toml", "[server]\nlisten = \"h:1\"");
    assert_eq!(listens(&place, None), told("h:1", "etc/gristmill-data"));
    assert_eq!(Config::file(None, &place.around()), place.path("etc/gristmill.toml"));
    place.write("gristmill.toml", "[server]\nlisten = \"h:2\"");
    assert_eq!(listens(&place, None), told("h:2", "gristmill-data"));
    place.write("by/env.toml", "[server]\nlisten = \"h:3\"");
    place.env.insert("GRISTMILL_CONFIG".to_owned(), "by/env.toml".to_owned());
    assert_eq!(listens(&place, None), told("h:3", "by/gristmill-data"));
    assert_eq!(Config::file(None, &place.around()), place.path("by/env.toml"));
    place.write("by/option.toml", "data_dir = \"../d\"\n[server]\nlisten = \"h:4\"");
    assert_eq!(listens(&place, Some("by/option.toml")), told("h:4", "by/../d"));
    place.env.insert("GRISTMILL_CONFIG".to_owned(), String::new());
    assert_eq!(listens(&place, None).0, "h:2");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let mut place = Place::new();
    let told = |place: &Place, path: Option<&str>| {
        place.tidy(&Config::load(path.map(Path::new), &place.around()).unwrap_err().to_string())
    };
    expect!["none.toml: cannot be read (named by --config): No such file or directory (os error 2)"]
        .assert_eq(&told(&place, Some("none.toml")));
    place.env.insert("GRISTMILL_CONFIG".to_owned(), "gone.toml".to_owned());
    expect!["gone.toml: cannot be read (named by $GRISTMILL_CONFIG): No such file or directory (os error 2)"]
        .assert_eq(&told(&place, None));
    fs::create_dir(place.path("gristmill.toml")).unwrap();
    place.env.clear();
    expect!["gristmill.toml: cannot be read: Is a directory (os error 21)"].assert_eq(&told(&place, None));
    fs::write(place.path("latin"), b"# \xff").unwrap();
    expect!["latin: cannot be read (named by --config): it is not UTF-8 text"]
        .assert_eq(&told(&place, Some("latin")));
    fs::write(place.path("large"), "#".repeat(8 * 1024 * 1024 + 1)).unwrap();
    expect!["large: cannot be read (named by --config): it is larger than 8 MiB"]
        .assert_eq(&told(&place, Some("large")));
    fs::write(place.path("fits"), "#".repeat(8 * 1024 * 1024)).unwrap();
    assert!(Config::load(Some(Path::new("fits")), &place.around()).is_ok());
}

#[test]
fn every_setting_of_the_server() {
    let place = Place::new();
    place.write(
        "gristmill.toml",
        r#"
data_dir = "./data"
[server]
listen = "[::]:80"
public_url = "https://mill.example.org/"
body_max = "1KiB"
bodies_in_flight_max = "1KiB"
history_keep_days = 30
[database]
url = "sqlite:./db/x.db"
[storage]
url = "file:/srv/storage"
[worker]
jobs_max = 1000
git = "bin/git"
git_timeout = "1d"
repository_max = "1MiB"
archive_max = "2GiB"
"#,
    );
    let config = place.load().unwrap();
    expect![[r#"
        Config {
            server: Server {
                listen: "[::]:80",
                public_url: Some(
                    "https://mill.example.org",
                ),
                anonymous_read: false,
                trusted_proxies: [],
                body_bytes_max: 1024,
                bodies_in_flight_bytes_max: 1024,
                history_keep_days: 30,
                key: [],
            },
            data_dir: "data",
            database: Sqlite(
                "db/x.db",
            ),
            storage: StorageUrl(
                "file:/srv/storage",
            ),
            s3: S3Settings {
                region: None,
                endpoint: None,
                path_style: false,
                profile: None,
                credentials_file: None,
                role: None,
                expected_bucket_owner: None,
                sse: None,
                copy_bytes_max: 5368709120,
                connect_timeout: 5s,
                request_timeout: 15s,
                cache: "data/cache",
                cache_bytes_max: 10737418240,
            },
            worker: Worker {
                jobs_max: 1000,
                git: "bin/git",
                git_timeout_seconds: 86400,
                repository_bytes_max: 1048576,
                archive_bytes_max: 2147483648,
            },
            network: Network {
                proxy: None,
                no_proxy: "",
                allow: [],
            },
            projects: [],
            patterns: [],
            files: [
                "gristmill.toml",
            ],
            warnings: [],
        }
    "#]]
    .assert_eq(&place.tidy(&format!("{config:#?}\n")));
}

#[test]
fn reading_is_open_only_where_nobody_else_comes() {
    for (server, open) in [
        ("", true),
        ("listen = \"localhost:0\"", true),
        ("listen = \"[::1]:80\"", true),
        ("listen = \"127.9.9.9:80\"", true),
        ("listen = \"0.0.0.0:80\"", false),
        ("listen = \"[::]:80\"", false),
        ("listen = \"mill:80\"", false),
        ("public_url = \"http://mill\"", false),
        ("public_url = \"http://mill\"\nanonymous_read = true", true),
        ("anonymous_read = false", false),
    ] {
        let config = load(&format!("[server]\n{server}")).unwrap();
        assert_eq!(config.server.anonymous_read, open, "{server}");
    }
}

#[test]
fn bounds_of_the_server() {
    let at = |server: &str| load(&format!("[server]\n{server}")).map(|config| config.server);
    assert_eq!(at("body_max = \"100MiB\"").unwrap().bodies_in_flight_bytes_max, 100 << 20);
    assert_eq!(at("body_max = \"1MiB\"").unwrap().bodies_in_flight_bytes_max, 64 << 20);
    assert!(at("body_max = \"2MiB\"\nbodies_in_flight_max = \"2MiB\"").is_ok());
    assert!(at("body_max = \"2MiB\"\nbodies_in_flight_max = \"2047KiB\"").is_err());
    for listen in
        ["", ":80", "host", "host:", "host:65536", "host:+1", "a b:80", "[::1:80", "[x]:80", "u@h:80"]
    {
        assert!(at(&format!("listen = \"{listen}\"")).is_err(), "{listen}");
    }
    for url in ["ftp://x", "https://", "https://u@h", "https://h?x", "https://h#x", "mailto:x", "https://h:0"]
    {
        assert!(at(&format!("public_url = \"{url}\"")).is_err(), "{url}");
    }
    let url = at("public_url = \"http://10.0.0.1:8080/mill/\"").unwrap().public_url;
    assert_eq!(url.as_deref(), Some("http://10.0.0.1:8080/mill"));
}

#[test]
fn places_of_databases_and_storages() {
    let place = Place::new();
    let database = |url: &str| {
        place.write("gristmill.toml", &format!("[database]\nurl = \"{url}\""));
        place.load().ok().map(|config| {
            let DatabaseUrl::Sqlite(path) = config.database else { panic!("{url}") };
            place.tidy(&path.display().to_string())
        })
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(database("sqlite:./a/b.db"), some("a/b.db"));
    assert_eq!(database("sqlite:b.db"), some("b.db"));
    assert_eq!(database("sqlite:/a/b.db"), some("/a/b.db"));
    assert_eq!(database("sqlite:///a/b.db"), some("/a/b.db"));
    for url in
        ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a/", "sqlite:a?mode=ro", "a.db", "postgresql:h"]
    {
        assert_eq!(database(url), None, "{url}");
    }
    let postgres = |lines: &str| {
        place.write("gristmill.toml", &format!("[database]\n{lines}"));
        let DatabaseUrl::Postgres(at) = place.load().unwrap().database else { panic!("{lines}") };
        let ca = at.ca.map(|path| place.tidy(&path.display().to_string()));
        (at.url, at.password.map(|source| place.tidy(&source.to_string())), ca)
    };
    let url = "postgres://mill@db.example.org:5433/mill?sslmode=verify-full";
    assert_eq!(postgres(&format!("url = \"{url}\"")), (url.to_owned(), None, None));
    place.write("db.password", "secret");
    let with = format!("url = \"{url}\"\npassword = {{ file = \"db.password\" }}\nca = \"ca.pem\"");
    assert_eq!(postgres(&with), (url.to_owned(), some("db.password"), some("ca.pem")));
    let storage = |url: &str| {
        place.write("gristmill.toml", &format!("[storage]\nurl = \"{url}\""));
        place.load().ok().map(|config| place.tidy(config.storage.as_str()))
    };
    assert_eq!(storage("file:./a/b"), some("file:a/b"));
    assert_eq!(storage("file:/a/b"), some("file:/a/b"));
    assert_eq!(storage("file:///a/b"), some("file:/a/b"));
    assert_eq!(storage("s3://bucket"), some("s3://bucket"));
    assert_eq!(storage("s3://bucket/a/b/"), some("s3://bucket/a/b"));
    for url in
        ["file:", "file://", "file://h/a", "a", "s3://b", "s3://id:word@bucket", "s3://bucket/../x", "gs://b"]
    {
        assert_eq!(storage(url), None, "{url}");
    }
}

#[test]
fn further_projects_lie_beside_the_file() {
    let place = Place::new();
    let named = |name: &str| {
        project("secret = { file = \"s/hook\" }\nenabled = false", "").replace("acme/shop", name)
    };
    place.write("gristmill.toml", &named("a/main"));
    place.write("projects.d/b.toml", &named("a/b"));
    place.write("projects.d/a.toml", &format!("{}{}", named("a/a1"), named("a/a2")));
    place.write("projects.d/.hidden.toml", "!");
    place.write("projects.d/c.toml~", "!");
    place.write("projects.d/README", "!");
    let config = place.load().unwrap();
    let names: Vec<&str> = config.projects.iter().map(|project| project.spec.name.as_str()).collect();
    assert_eq!(names, ["a/main", "a/a1", "a/a2", "a/b"]);
    for project in &config.projects {
        assert_eq!(project.secrets, [SecretSource::File(place.path("s/hook"))]);
    }
    let files = ["gristmill.toml", "projects.d/a.toml", "projects.d/b.toml"].map(|name| place.path(name));
    assert_eq!(config.files, files);
    assert_eq!(config.projects[2].place.to_string(), format!("{}:9", files[1].display()));
}

#[test]
fn secrets_are_read_where_they_are() {
    let place = Place::new();
    let env = place.around().env;
    let read = |content: &[u8]| {
        fs::write(place.path("s"), content).unwrap();
        SecretSource::File(place.path("s")).resolve(&*env)
    };
    assert_eq!(SecretSource::Env("SECRET".to_owned()).resolve(&*env).unwrap(), b"s3cret");
    assert_eq!(read(b"a").unwrap(), b"a");
    assert_eq!(read(b"a\n").unwrap(), b"a");
    assert_eq!(read(b"a\r\n").unwrap(), b"a");
    assert_eq!(read(b"a\n\n").unwrap(), b"a\n");
    assert_eq!(read(b" a \n").unwrap(), b" a ");
    assert_eq!(read(b"a\r").unwrap(), b"a\r");
    assert_eq!(read(&[7; 65536]).unwrap().len(), 65536);
    assert!(
        read(&[7; 65537]).unwrap_err().to_string().ends_with("longer than 65536 bytes, which is no secret")
    );
    for empty in [&b""[..], b"\n", b"\r\n", b"  \n", b"\n\n"] {
        assert!(read(empty).unwrap_err().to_string().contains("is empty"), "{empty:?}");
    }
}

#[test]
fn a_secret_that_everybody_can_read_is_a_warning() {
    let place = Place::new();
    place.write("hook", "x");
    place.write("gristmill.toml", &project("secret = { file = \"hook\" }", ""));
    let warnings = |mode: u32| {
        fs::set_permissions(place.path("hook"), fs::Permissions::from_mode(mode)).unwrap();
        place.load().unwrap().warnings
    };
    assert!(warnings(0o600).is_empty());
    assert!(warnings(0o640).is_empty());
    let open = warnings(0o644);
    assert_eq!(open.len(), 1);
    expect!["gristmill.toml:4: everybody on this machine can read the secret in hook; run `chmod 600 hook`"]
        .assert_eq(&place.tidy(&open[0].to_string()));
    assert!(!SecretSource::Env("SECRET".to_owned()).is_open_to_others());
}

#[test]
fn a_key_for_branches_alone_tells_that_for_tags() {
    let tag_key = |key: &str| {
        let config =
            load(&project("", &format!("tags = [\"v*\"]\nbranches = [\"main\"]\nkey = \"{key}\""))).unwrap();
        let gristmill_model::PipelineKind::Archive(archive) = &config.projects[0].spec.pipelines[0].kind;
        archive.tag_key.as_ref().map(ToString::to_string)
    };
    let derived = tag_key("{owner}/{repo}/{branch}/{owner}_{repo}.zip");
    assert_eq!(derived.as_deref(), Some("{owner}/{repo}/tags/{tag}/{owner}_{repo}.zip"));
    assert_eq!(tag_key("{branch_}.zip").as_deref(), Some("tags_{tag_}.zip"));
    assert_eq!(tag_key("{ref}/x.zip"), None, "{{ref}} suits both");
}
