//! What lets git in: addresses, keys of servers and of our own, helpers, proxies, and the server's key.

use std::path::PathBuf;

use expect_test::{Expect, expect};
use gristmill_git::DeployKey;

use super::super::{Config, ConfigErrors, Network, ProxySource, SecretSource};
use super::{Place, load, project};

fn key() -> DeployKey {
    DeployKey::generate(&[1; 32], "test").unwrap()
}

/// A project at this address.
fn at(git: &str, lines: &str) -> String {
    project(lines, "").replace("https://github.com/acme/shop.git", git)
}

/// With an environment that has what a test needs.
fn load_with(text: &str, env: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut place = Place::new();
    place.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for (name, text) in files {
        place.write(name, text);
    }
    place.write("gristmill.toml", text);
    place.load()
}

fn refused(text: &str, files: &[(&str, &str)], expected: Expect) {
    let place = Place::new();
    for (name, text) in files {
        place.write(name, text);
    }
    place.write("gristmill.toml", text);
    expected.assert_eq(&place.tidy(&place.load().unwrap_err().to_string()));
}

#[test]
fn addresses_over_ssh_name_the_repository_too() {
    for (git, repository) in [
        ("git@github.com:acme/store.git", "acme/store"),
        ("ssh://git@github.com/acme/store.git", "acme/store"),
        ("ssh://git@ssh.github.com:443/acme/store.git", "acme/store"),
        ("git@gitlab.com:grp/sub/proj.git", "grp/sub/proj"),
        ("/srv/git/store.git", "acme/shop"),
    ] {
        let config = load(&at(git, "")).unwrap();
        let spec = &config.projects[0].spec;
        assert_eq!((spec.git.as_str(), spec.repository.as_str()), (git, repository));
    }
    let pattern = at("git@github.com:acme/{repo}.git", "").replace("\"acme/shop\"", "\"ours/*\"");
    let config = load(&pattern).unwrap();
    assert_eq!(config.patterns[0].pattern.as_ref().unwrap().repositories.to_string(), "acme/*");
}

#[test]
fn keys_of_servers_stand_in_the_file_or_in_another_one() {
    let line = |host: &str| format!("{host} {}", key().public_line());
    let own = "git@git.example.org:acme/shop.git";
    let listed =
        format!("host_keys = [\"{}\", \"{}\"]", line("git.example.org"), line("[h.example.org]:2222"));
    for (git, lines) in [
        (own, listed.as_str()),
        ("ssh://git@h.example.org:2222/acme/shop", &listed),
        (own, "host_keys = { file = \"known_hosts\" }"),
    ] {
        let files = [("known_hosts", &*format!("# by hand\n{}\n", line("git.example.org")))];
        let config = load_with(&at(git, lines), &[], &files).unwrap();
        let project = &config.projects[0];
        assert!(project.host_keys.knows(&git.parse().unwrap()), "{git}");
        assert_eq!(project.host_keys_file.is_some(), lines.contains("file"));
    }
    // Whoever lists runs need not be able to read the file.
    let place = Place::new();
    place.write("gristmill.toml", &at(own, "host_keys = { file = \"none\" }"));
    assert!(Config::load(None, &place.around().without_secrets()).is_ok());
    refused(
        &at(own, "host_keys = { file = \"none\" }"),
        &[],
        expect![
            "gristmill.toml:4: the file of `host_keys` cannot be read: No such file or directory (os error 2)"
        ],
    );
    for (value, expected) in [
        (
            "\"x\"",
            expect![[r#"
            gristmill.toml:4: `host_keys` is "x"; expected a list of lines of known_hosts, such as ["git.acme.org ssh-ed25519 AAAA…"], or { file = "path" }"#]],
        ),
        (
            "[\"git.example.org\"]",
            expect![
                "gristmill.toml:4: `host_keys`: line 1 of the ssh host keys: expected `name kind key`, as `ssh-keyscan` prints it"
            ],
        ),
        (
            "[\"* ssh-ed25519 AAAA\"]",
            expect![
                "gristmill.toml:4: `host_keys`: line 1 of the ssh host keys: a name is not `host` or `[host]:port`; patterns with `*`, `?` or `!` are not taken"
            ],
        ),
        (
            "{ path = \"x\" }",
            expect![[r#"
            gristmill.toml:4: `host_keys` is a table; expected a list of lines of known_hosts, or { file = "path" }
            gristmill.toml:4: unknown key `path` in host_keys. Known keys: file"#]],
        ),
    ] {
        refused(&at(own, &format!("host_keys = {value}")), &[], expected);
    }
    // A project that is off is not talked to.
    assert!(load(&at(own, "enabled = false")).is_ok());
}

#[test]
fn what_lets_git_in_fits_the_address() {
    let (https, ssh) = ("https://github.com/acme/shop.git", "git@github.com:acme/shop.git");
    let config = load(&at(ssh, "token = { env = \"SECRET\" }")).unwrap();
    let project = &config.projects[0];
    assert!(project.git_token.is_some() && project.statuses && config.warnings.is_empty());
    let config =
        load(&at(https, "credential_helper = [\"git-credential-acme\", \"--profile\", \"a b\"]")).unwrap();
    assert_eq!(config.projects[0].credential_helper, ["git-credential-acme", "--profile", "a b"]);
}

#[test]
fn what_does_not_let_git_in_at_the_address_is_refused() {
    let (https, ssh) = ("https://github.com/acme/shop.git", "git@github.com:acme/shop.git");
    for (git, lines, expected) in [
        (
            ssh,
            "credential_helper = [\"x\"]",
            expect![
                "gristmill.toml:4: `credential_helper` is only used with https:// and http:// remotes; leave it out, or change `git`"
            ],
        ),
        (
            https,
            "ssh_key = { env = \"SECRET\" }",
            expect![
                "gristmill.toml:4: `ssh_key` is only used with ssh:// remotes; leave it out, or change `git`"
            ],
        ),
        (
            https,
            "host_keys = []",
            expect![
                "gristmill.toml:4: `host_keys` is only used with ssh:// remotes; leave it out, or change `git`"
            ],
        ),
        (
            https,
            "credential_helper = [\"x\"]\ntoken = { env = \"SECRET\" }",
            expect![
                "gristmill.toml:4: git is let in either by `token` or by `credential_helper`; leave one of them out"
            ],
        ),
        (
            https,
            "credential_helper = [\"./x\"]",
            expect![
                "gristmill.toml:4: `credential_helper` names no program; expected an absolute path or a name to be found in PATH, and at most 63 arguments"
            ],
        ),
        (
            https,
            "credential_helper = \"x\"",
            expect![[
                r#"gristmill.toml:4: `credential_helper` is "x"; expected a program and its arguments, such as ["git-credential-acme"]"#
            ]],
        ),
        (
            ssh,
            "ssh_key = { env = \"SECRET\" }",
            expect![
                "gristmill.toml:4: `ssh_key`: the ssh key is not a private key in OpenSSH's format (it begins with `-----BEGIN OPENSSH PRIVATE KEY-----`); make one with `ssh-keygen -t ed25519`"
            ],
        ),
        (
            https,
            "statuses = true",
            expect![
                "gristmill.toml:4: `statuses` are written with `token`, and there is none; add it, or leave `statuses` out"
            ],
        ),
        (
            ssh,
            "forge = \"azure-devops\"",
            expect![
                "gristmill.toml:3: over ssh this forge takes keys of the kind RSA alone, and those of Gristmill are ed25519; let `git` be its https:// address, and set `token` or `credential_helper`"
            ],
        ),
    ] {
        refused(&at(git, lines), &[], expected);
    }
}

#[test]
fn the_forges_api_and_its_statuses() {
    for (lines, api, statuses) in [
        ("", None, false),
        ("token = { env = \"SECRET\" }", None, true),
        ("token = { env = \"SECRET\" }\nstatuses = false", None, false),
        ("api = \"https://ghe.acme.org/api/v3/\"", Some("https://ghe.acme.org/api/v3"), false),
        ("api = \"http://127.0.0.1:3000/api\"", Some("http://127.0.0.1:3000/api"), false),
        ("allow_http = true\napi = \"http://ghe.acme.org\"", Some("http://ghe.acme.org"), false),
    ] {
        let config = load(&project(lines, "")).unwrap();
        let project = &config.projects[0];
        assert_eq!((project.api.as_deref(), project.statuses), (api, statuses), "{lines}");
    }
    for (api, expected) in [
        ("ghe.acme.org", expect!["gristmill.toml:4: `api`: it has no scheme, such as https://"]),
        ("ssh://ghe.acme.org", expect!["gristmill.toml:4: `api`: expected https:// or http://"]),
        ("https://", expect!["gristmill.toml:4: `api`: it names no host"]),
        (
            "https://me:hunter2@ghe.acme.org",
            expect!["gristmill.toml:4: `api`: it holds a user or a password; leave them out"],
        ),
        (
            "http://ghe.acme.org",
            expect![
                "gristmill.toml:4: `api`: http:// is neither private nor safe from changes on the way; use https://, or set `allow_http = true` for a network you trust"
            ],
        ),
    ] {
        refused(&project(&format!("api = \"{api}\""), ""), &[], expected);
    }
}

#[test]
fn our_own_calls_take_the_configured_proxy_or_the_environments() {
    let config = load_with("[network]\nproxy = \"http://proxy.example.org:3128\"", &[], &[]).unwrap();
    type Env = &'static [(&'static str, &'static str)];
    let own = |network: &Network, env: Env| {
        let found =
            move |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        network.own_proxy(&found).map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|_| ())
    };
    let others: Env =
        &[("https_proxy", "other.example.org:8080"), ("HTTPS_PROXY", "http://no.example.org:1")];
    assert_eq!(own(&config.network, others), Ok(Some("proxy.example.org:3128".to_owned())));
    let none = Network::default();
    assert_eq!(own(&none, others), Ok(Some("other.example.org:8080".to_owned())));
    let socks: Env = &[("https_proxy", ""), ("ALL_PROXY", "socks5h://h:1080")];
    assert_eq!(own(&none, socks), Ok(Some("h:1080".to_owned())));
    assert_eq!(own(&none, &[]), Ok(None));
    assert_eq!(own(&none, &[("https_proxy", "nonsense://h")]), Err(()));
}

#[test]
fn how_others_are_reached() {
    let load = |lines: &str| {
        load_with(&format!("[network]\n{lines}"), &[("PROXY", "socks5h://me:p%40ss@h:1080")], &[])
    };
    let config = load("proxy = \"http://proxy.example.org:3128\"\nno_proxy = [\".example.org\", \"10.0.0.0/8\"]\nallow = [\"10.1.2.3/16\", \"fd00::/8\"]").unwrap();
    let network = &config.network;
    assert_eq!(network.proxy(&|_| None).unwrap().unwrap().to_string(), "http://proxy.example.org:3128");
    assert_eq!(network.no_proxy, ".example.org,10.0.0.0/8");
    let allow: Vec<String> = network.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.1.0.0/16", "fd00::/8"]);
    let network = load("proxy = { env = \"PROXY\" }").unwrap().network;
    assert_eq!(network.proxy, Some(ProxySource::Secret(SecretSource::Env("PROXY".to_owned()))));
    assert!(network.proxy(&|_| None).is_err());
    for (lines, expected) in [
        (
            "proxy = \"http://me:hunter2@h\"",
            expect![[
                r#"gristmill.toml:2: `proxy` has a user or a password in it; put the whole address into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
            ]],
        ),
        (
            "proxy = \"h:3128\"",
            expect![
                "gristmill.toml:2: `proxy`: the proxy is not written as `http://host:port` (or https, socks4a, socks5, socks5h)"
            ],
        ),
        (
            "proxy = { env = \"SECRET\" }",
            expect![
                "gristmill.toml:2: `proxy`: the proxy is not written as `http://host:port` (or https, socks4a, socks5, socks5h)"
            ],
        ),
        (
            "proxy = 5",
            expect![[
                r#"gristmill.toml:2: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
            ]],
        ),
        (
            "no_proxy = [\"a\"]",
            expect![
                "gristmill.toml:2: `no_proxy` says what is reached without `proxy`, and there is none; add it, or leave `no_proxy` out"
            ],
        ),
        (
            "proxy = \"http://h\"\nno_proxy = \"a\"",
            expect![[
                r#"gristmill.toml:3: `no_proxy` is "a"; expected a list of names, addresses and networks, such as [".example.org", "10.0.0.0/8"]"#
            ]],
        ),
        (
            "proxy = \"http://h\"\nno_proxy = [\"a b\"]",
            expect![[r#"gristmill.toml:3: `no_proxy` is "a b"; expected a name, an address or a network"#]],
        ),
        (
            "proxy = \"http://h\"\nno_proxy = [\"a;b\"]",
            expect![
                "gristmill.toml:3: `no_proxy`: the list of hosts without proxy may have names, addresses, `.`, `*`, `/` and commas"
            ],
        ),
        (
            "allow = [\"10.0.0.0/33\"]",
            expect![[
                r#"gristmill.toml:2: `allow` is "10.0.0.0/33"; expected an address or a network, such as "192.30.252.0/22""#
            ]],
        ),
    ] {
        refused(&format!("[network]\n{lines}\n"), &[], expected);
    }
}

#[test]
fn the_servers_keys() {
    let (one, two) = ("01".repeat(32), "02".repeat(32));
    let load =
        |value: &str| load_with(&format!("[server]\nkey = {value}"), &[("KEY", &one)], &[("two.key", &two)]);
    let count = |value: &str| load(value).unwrap().server.key.len();
    assert_eq!((count("{ env = \"KEY\" }"), count("[{ env = \"KEY\" }, { file = \"two.key\" }]")), (1, 2));
    let file = load("{ file = \"two.key\" }").unwrap().server.key;
    assert!(matches!(&file[..], [SecretSource::File(path)] if path.ends_with(PathBuf::from("two.key"))));
    for (value, expected) in [
        (
            "{ env = \"SECRET\" }",
            expect![
                "gristmill.toml:2: the server's key in the environment variable `SECRET` is not 64 hexadecimal digits (32 bytes); `openssl rand -hex 32` makes such a key"
            ],
        ),
        (
            "{ env = \"UNSET\" }",
            expect![[
                r#"gristmill.toml:2: the environment variable `UNSET` is not set; set it for the server, or name a file: { file = "…" }"#
            ]],
        ),
        (
            "[]",
            expect![
                "gristmill.toml:2: `key` lists 0 keys; expected 1 to 4 (to have one made in the data folder, leave it out)"
            ],
        ),
        (
            "\"0101\"",
            expect![[
                r#"gristmill.toml:2: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
            ]],
        ),
    ] {
        refused(&format!("[server]\nkey = {value}\n"), &[], expected);
    }
}
