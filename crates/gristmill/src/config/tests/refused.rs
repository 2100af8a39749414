//! What a person reads about a configuration that is refused.

use expect_test::{Expect, expect};

use super::{Place, project, refusal};

pub(super) fn check(text: &str, wanted: Expect) {
    wanted.assert_eq(&refusal(text));
}

#[test]
fn unknown_keys_name_the_nearest_and_all_that_are_known() {
    check(
        &project("brances = 1", "brances = [\"main\"]\nzzz = 1"),
        expect![[r#"
            gristmill.toml:4: unknown key `brances` in [[project]]. Known keys: allow_filtered, allow_from, allow_http, api, clone, credential_helper, download_max, enabled, fetch, forge, git, gitpull, host_keys, jobs_max, name, pipeline, poll, repository, repository_id, secret, secret_basic, secret_header, secret_sha1, ssh_key, statuses, token, topic, username
            gristmill.toml:7: unknown key `brances` in [[project.pipeline]]; did you mean `branches`? Known keys: allow_shared_key, attributes, branches, delay, export_ignore, first_look, format, include_git, keep, key, kind, lfs, name, paths, release_key, releases, schedule, submodules, supersede, tag_key, tags
            gristmill.toml:8: unknown key `zzz` in [[project.pipeline]]. Known keys: allow_shared_key, attributes, branches, delay, export_ignore, first_look, format, include_git, keep, key, kind, lfs, name, paths, release_key, releases, schedule, submodules, supersede, tag_key, tags"#]],
    );
    check(
        "[servre]\nlisten = \"x\"\n[server]\nport = 1\nkey = { file = \"x\" }",
        expect![[r#"
            gristmill.toml:1: unknown key `servre` in the file; did you mean `server`? Known keys: data_dir, database, network, project, server, storage, worker
            gristmill.toml:4: unknown key `port` in [server]. Known keys: anonymous_read, bodies_in_flight_max, body_max, history_keep_days, key, listen, public_url, trusted_proxies
            gristmill.toml:5: the secret in x cannot be read: No such file or directory (os error 2)"#]],
    );
    check(
        "[database]\nurls = 1\n[storage]\nregoin = \"x\"\n[worker]\njobs = 1\n",
        expect![[r#"
            gristmill.toml:2: unknown key `urls` in [database]; did you mean `url`? Known keys: ca, password, url
            gristmill.toml:4: unknown key `regoin` in [storage]; did you mean `region`? Known keys: cache, cache_max, connect_timeout, credentials_file, endpoint, expected_bucket_owner, kms_key, path_style, profile, region, request_timeout, role_arn, role_external_id, role_session_name, sse, url
            gristmill.toml:6: unknown key `jobs` in [worker]; did you mean `jobs_max`? Known keys: archive_max, git, git_timeout, jobs_max, repository_max"#]],
    );
    check(
        &project("secret = { enf = \"SECRET\" }", "keep = { version = 1 }"),
        expect![[r#"
        gristmill.toml:4: expected { env = "NAME" } or { file = "path" }
        gristmill.toml:4: unknown key `enf` in a secret; did you mean `env`? Known keys: env, file
        gristmill.toml:7: unknown key `version` in keep; did you mean `versions`? Known keys: days, versions"#]],
    );
}

#[test]
fn wrong_types_and_values_say_what_was_expected() {
    check(
        &project(
            "poll = 5\njobs_max = 0\nenabled = \"yes\"\nsecret_sha1 = 1\nforge = \"gitlub\"\nrepository = \"shop\"\nrepository_id = -4\nusername = \"\"",
            "delay = \"5 minutes\"\nschedule = \"0 3 * *\"\nfirst_look = \"never\"\nkeep = { versions = 0, days = 1.5 }\nformat = \"rar\"\nkey = \"git2s4\"\ntag_key = \"{brnch}\"\nbranches = \"main\"\ntags = [\"refs/tags/v*\", 3]\nname = \"a b\"\nreleases = 0",
        ),
        expect![[r#"
            gristmill.toml:4: `poll` is 5; expected a duration from 1 to 2592000 seconds, such as "5m" (s, m, h, d)
            gristmill.toml:5: `jobs_max` is 0; expected a whole number from 1 to 1000
            gristmill.toml:6: `enabled` is "yes"; expected true or false
            gristmill.toml:7: `secret_sha1` is 1; expected true or false
            gristmill.toml:8: forge `gitlub` is not supported by this version; did you mean `gitlab`? Known forges: github, gitlab, bitbucket, bitbucket-server, gitea, forgejo, gogs, azure-devops, codecommit, generic, bare
            gristmill.toml:9: `repository`: `shop` is not a repository; expected `owner/name` of letters, digits, `.`, `_`, `-`, `~` and blanks within, at most 255 bytes
            gristmill.toml:10: `repository_id` is -4; expected the forge's id of the repository, such as 1296269
            gristmill.toml:11: `username` is ""; expected a user name
            gristmill.toml:14: `delay` is "5 minutes"; expected a duration from 0 to 604800 seconds, such as "30s" (s, m, h, d)
            gristmill.toml:15: `schedule` is "0 3 * *"; expected five cron fields in UTC (minute hour day month weekday), such as "0 3 * * *" (Invalid pattern: Pattern must have 5 fields when seconds are disallowed)
            gristmill.toml:16: `first_look` is "never"; expected one of: build, record
            gristmill.toml:17: `versions` is 0; expected a whole number from 1 to 1000000
            gristmill.toml:17: `days` is 1.5; expected a whole number from 1 to 36500
            gristmill.toml:18: `format` is "rar"; expected one of: zip, tar, tar.gz, tar.zst; did you mean "tar"?
            gristmill.toml:19: `key` is "git2s4", which is no preset; did you mean `git2s3`? Presets: git2s3, git2s3-2017, zipdl; or write a key template, such as "{owner}/{repo}/{branch}/{full_name_}.zip"
            gristmill.toml:20: `tag_key`: key template `{brnch}`: unknown placeholder `{brnch}`; known are {owner} {repo} {full_name} {branch} {tag} {ref} {commit} {short_commit} {tree} {date}, each also with `_` at its end for slashes replaced
            gristmill.toml:21: `branches` is "main"; expected a list of patterns, such as ["main", "release/*"]
            gristmill.toml:22: `tags`: `refs/tags/v*` is not a pattern for branch or tag names: leave `refs/heads/` and `refs/tags/` out
            gristmill.toml:22: `tags` is 3; expected a pattern
            gristmill.toml:23: `name` is "a b"; expected a name of 1 to 100 letters, digits, `.`, `_` and `-`
            gristmill.toml:24: `releases` is 0; expected true or false"#]],
    );
    check(
        "data_dir = \"\"\n[server]\nlisten = \"8484\"\npublic_url = \"mill.example.org\"\nanonymous_read = 1\nbody_max = \"25MB\"\nbodies_in_flight_max = \"1MiB\"\nhistory_keep_days = 29\n[database]\nurl = \"postgres://u:hunter2@h/d\"\n[storage]\nurl = \"s3://id:word@bucket\"\n[worker]\njobs_max = 1979-05-27\ngit = \"\"\ngit_timeout = \"0s\"\nrepository_max = \"1KiB\"\narchive_max = []\n",
        expect![[r#"
            gristmill.toml:1: `data_dir` is ""; expected a path
            gristmill.toml:3: `listen` is "8484"; expected a host and a port, such as "127.0.0.1:8484"
            gristmill.toml:4: `public_url`: it has no scheme, such as https://
            gristmill.toml:5: `anonymous_read` is 1; expected true or false
            gristmill.toml:6: `body_max` is "25MB"; expected a size of 1024 bytes or more, such as "25MiB" (KiB, MiB, GiB, TiB)
            gristmill.toml:7: `bodies_in_flight_max` is less than `body_max`, so the largest body could never be taken
            gristmill.toml:8: `history_keep_days` is 29; expected a whole number from 30 to 36500
            gristmill.toml:10: the database's password stands in its URL; put it into a file that only the server can read, or into its environment, and write password = { file = "path" } or { env = "NAME" }
            gristmill.toml:12: storage `s3:…`: expected a bucket and maybe a prefix, such as `s3://bucket/prefix`; credentials, endpoint and region have settings of their own
            gristmill.toml:14: `jobs_max` is a date; expected a whole number from 1 to 1000
            gristmill.toml:15: `git` is ""; expected a path
            gristmill.toml:16: `git_timeout` is "0s"; expected a duration from 1 to 86400 seconds, such as "10m" (s, m, h, d)
            gristmill.toml:17: `repository_max` is "1KiB"; expected a size of 1048576 bytes or more, such as "20GiB" (KiB, MiB, GiB, TiB)
            gristmill.toml:18: `archive_max` is a list; expected a size of 1048576 bytes or more, such as "10GiB" (KiB, MiB, GiB, TiB)"#]],
    );
    check(
        "database = 1\nstorage = []\nserver = \"x\"\n[project]\nname = \"x\"",
        expect![[r#"
            gristmill.toml:1: `database` is 1; expected a table that begins with [database]
            gristmill.toml:2: `storage` is a list; expected a table that begins with [storage]
            gristmill.toml:3: `server` is "x"; expected a table that begins with [server]
            gristmill.toml:4: `project` is a table; expected a list of tables, each beginning with [[project]] in double brackets"#]],
    );
    check(
        "project = [1]",
        expect![
            "gristmill.toml:1: `project` is 1; expected a list of tables, each beginning with [[project]] in double brackets"
        ],
    );
    check(
        "[database]\nurl = \"mysql:x\"\n[storage]\nurl = \"file://host/x\"",
        expect![[r#"
            gristmill.toml:2: `url` is "mysql:x"; expected a URL, such as "sqlite:./gristmill-data/gristmill.db" or "postgres://gristmill@db.example.org/gristmill"
            gristmill.toml:4: `url` is "file://host/x"; expected a URL, such as "file:./gristmill-data/storage" or "s3://bucket/prefix""#]],
    );
}

#[test]
fn what_is_missing_is_named() {
    check(
        "[[project]]",
        expect![[r#"
        gristmill.toml:1: [[project]] has no `name`; add one, such as `name = "acme/shop"`
        gristmill.toml:1: [[project]] has no `git`; add one, such as `git = "https://github.com/acme/shop.git"`
        gristmill.toml:1: the project has no pipeline, so nothing would be made; add one: [[project.pipeline]] with kind = "archive""#]],
    );
    check(
        "[[project]]\nname = \"shop\"\ngit = \"file:///srv/shop.git\"\n[[project.pipeline]]",
        expect![[r#"
        gristmill.toml:1: neither `git` nor `name` tells the repository's name at its forge; add `repository = "owner/name"`, as its webhooks have it
        gristmill.toml:4: [[project.pipeline]] has no `kind`; add one, such as `kind = "archive"`"#]],
    );
    check(
        &project("", "branches = []"),
        expect![
            "gristmill.toml:5: pipeline `archive`: it wants no branch, no tag and no release, so nothing would be made; add `branches` or `tags`"
        ],
    );
    check(
        &project("", "name = \"x\"\n[[project.pipeline]]\nkind = \"module\""),
        expect![[r#"gristmill.toml:9: `kind` is "module"; expected one of: archive"#]],
    );
}

#[test]
fn what_is_no_toml_is_told_by_line_and_without_its_text() {
    check(
        "[server\nlisten = \"x\n\n[[project]]\nname = hunter2\n",
        expect![[r#"
        gristmill.toml:1: not valid TOML: unclosed table, expected `]`
        gristmill.toml:5: not valid TOML: string values must be quoted, expected literal string"#]],
    );
    check(
        "[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n",
        expect!["gristmill.toml:3: not valid TOML: duplicate key"],
    );
}

#[test]
fn git_urls() {
    let mut told = String::new();
    for git in [
        "ssh://git@git.example.org:2222/acme/shop.git",
        "git@git.example.org:acme/shop.git",
        "ssh://git:hunter2@github.com/acme/shop.git",
        "git@github.com:acme/$(whoami).git",
        "http://mill.example.org/acme/shop.git",
        "https://user:hunter2@github.com/acme/shop.git",
        "https://github.com",
        "https:///acme/shop",
        "https://github.com:99999/a/b",
        "https://-oProxyCommand=x/a/b",
        "https://github.com/a/b?x=y",
        "https://github.com/a b",
        "file://srv/git/shop.git",
        "./srv/git/shop.git",
        "/srv/git/../shop.git",
        "ext::sh -c whoami",
        "--upload-pack=touch",
        "ftp://host/a/b",
        "shop",
        "",
    ] {
        let text = project("", "").replace("https://github.com/acme/shop.git", git);
        told += &format!("{git}\n    {}\n", refusal(&text));
    }
    expect![[r#"
        ssh://git@git.example.org:2222/acme/shop.git
            gristmill.toml:3: `git` is reached by ssh, and it is not known which key the server git.example.org has; ask it (`ssh-keyscan -p 2222 git.example.org`), compare the fingerprints of the answer (`ssh-keyscan -p 2222 git.example.org | ssh-keygen -lf -`) with what the server's owner publishes, and only where they are the same write its lines into `host_keys = ["…"]` (or into a file, for `project add --host-keys FILE`)
        git@git.example.org:acme/shop.git
            gristmill.toml:3: `git` is reached by ssh, and it is not known which key the server git.example.org has; ask it (`ssh-keyscan git.example.org`), compare the fingerprints of the answer (`ssh-keyscan git.example.org | ssh-keygen -lf -`) with what the server's owner publishes, and only where they are the same write its lines into `host_keys = ["…"]` (or into a file, for `project add --host-keys FILE`)
        ssh://git:hunter2@github.com/acme/shop.git
            gristmill.toml:3: `git`: the git address has a user or password in it; leave it out and configure the token by file or environment
        git@github.com:acme/$(whoami).git
            gristmill.toml:3: `git`: the git address has a character that none may have: the path of an ssh address may have letters, digits, blanks as %20, and `._-~/+@=,:`
        http://mill.example.org/acme/shop.git
            gristmill.toml:3: `git`: http:// is neither private nor safe from changes on the way; use https://, or set `allow_http = true` for a network you trust
        https://user:hunter2@github.com/acme/shop.git
            gristmill.toml:3: `git`: the git address has a user or password in it; leave it out and configure the token by file or environment
        https://github.com
            gristmill.toml:3: `git`: the git address has no valid path: expected `/owner/name.git` after the host
        https:///acme/shop
            gristmill.toml:3: `git`: the git address has no valid host: it is empty
        https://github.com:99999/a/b
            gristmill.toml:3: `git`: the git address has a port that is not a number from 1 to 65535
        https://-oProxyCommand=x/a/b
            gristmill.toml:3: `git`: the host begins with `-`, which programs take for an option
        https://github.com/a/b?x=y
            gristmill.toml:3: `git`: the git address has no valid path: `?` and `#` mean nothing to git
        https://github.com/a b
            gristmill.toml:3: `git`: the git address has a character that none may have: a blank; write it as %20
        file://srv/git/shop.git
            gristmill.toml:3: `git`: the git address has no valid host: a file:// address has none; write file:///path/to/repository
        ./srv/git/shop.git
            gristmill.toml:3: `git`: the git address has no valid path: write a full address, or an absolute path of this machine
        /srv/git/../shop.git
            gristmill.toml:3: `git`: the git address has no valid path: `..` is not taken
        ext::sh -c whoami
            gristmill.toml:3: `git`: `ext::` addresses run a program and are never allowed; use https, file, git or ssh
        --upload-pack=touch
            gristmill.toml:3: `git`: the address begins with `-`, which programs take for an option
        ftp://host/a/b
            gristmill.toml:3: `git`: `ftp` is not a scheme for git here; use https://, file://, git:// or ssh://
        shop
            gristmill.toml:3: `git`: the git address has no valid path: write a full address, or an absolute path of this machine

            gristmill.toml:3: `git`: the git address is empty; write one such as https://github.com/owner/name.git
    "#]].assert_eq(&told);
}

#[test]
fn mistake_1_a_secret_that_is_empty_missing_or_written_out() {
    check(
        &project("secret = \"hunter2\"", ""),
        expect![[
            r#"gristmill.toml:4: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
        ]],
    );
    check(
        &project("secret = { env = \"EMPTY\" }", ""),
        expect![
            "gristmill.toml:4: the secret in the environment variable `EMPTY` is empty; an empty secret would let anybody in"
        ],
    );
    check(
        &project("secret = { env = \"UNSET\" }", ""),
        expect![[
            r#"gristmill.toml:4: the environment variable `UNSET` is not set; set it for the server, or name a file: { file = "…" }"#
        ]],
    );
    check(
        &project("secret = { file = \"none\" }", ""),
        expect![
            "gristmill.toml:4: the secret in none cannot be read: No such file or directory (os error 2)"
        ],
    );
    check(
        &project("secret = []", ""),
        expect![
            "gristmill.toml:4: `secret` lists 0 secrets; expected 1 to 8 (without a webhook, leave it out)"
        ],
    );
    check(
        &project("secret = [{ env = \"SECRET\" }, \"hunter2\"]", ""),
        expect![[
            r#"gristmill.toml:4: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
        ]],
    );
    check(
        &project("secret = {}", ""),
        expect![[r#"gristmill.toml:4: expected { env = "NAME" } or { file = "path" }"#]],
    );
    check(
        &project("secret = { env = \"SECRET\", file = \"x\" }", ""),
        expect![[r#"gristmill.toml:4: expected { env = "NAME" } or { file = "path" }"#]],
    );
    check(
        &project("secret = { env = \"A=B\" }", ""),
        expect![[
            r#"gristmill.toml:4: `env` is not the name of an environment variable, such as "ACME_HOOK_SECRET""#
        ]],
    );
    check(
        &project("secret = 5", ""),
        expect![[
            r#"gristmill.toml:4: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
        ]],
    );
    check(
        &project("token = \"hunter2\"", ""),
        expect![[
            r#"gristmill.toml:4: the secret itself stands here; put it into a file that only the server can read, or into its environment, and write { env = "NAME" } or { file = "path" }"#
        ]],
    );
    let git = project("token = { env = \"SECRET\" }", "").replace("https:", "git:");
    check(
        &git,
        expect![
            "gristmill.toml:4: `token` is only used with https:// and ssh:// remotes; leave it out, or change `git`"
        ],
    );
}

#[test]
fn names_that_are_none() {
    check(
        &project("", "").replace("\"acme/shop\"", "\"acme//shop\""),
        expect![
            "gristmill.toml:2: `name`: `acme//shop` is not a project name; expected parts of letters, digits, `.`, `_` and `-` between slashes, at most 200 bytes"
        ],
    );
}

#[test]
fn names_are_given_once() {
    let twice = project("", "[[project.pipeline]]\nkind = \"archive\"\nkey = \"x/{branch}.zip\"");
    check(
        &format!("{twice}\n{}", project("", "key = \"y/{branch}.zip\"")),
        expect![[r#"
        gristmill.toml:7: pipeline `archive` of project `acme/shop` is already configured in gristmill.toml:5; give this one a `name` of its own
        gristmill.toml:11: project `acme/shop` is already configured in gristmill.toml:1; give one of them another name"#]],
    );
    let place = Place::new();
    place.write("gristmill.toml", &project("", ""));
    place.write("projects.d/b.toml", &project("", "key = \"y/{branch}.zip\""));
    place.write("projects.d/a.toml", "[server]\nlisten = \"x\"");
    expect![[r#"
        projects.d/a.toml:1: unknown key `server` in the file. Known keys: project
        projects.d/b.toml:1: project `acme/shop` is already configured in gristmill.toml:1; give one of them another name"#]].assert_eq(&place.tidy(&place.load().unwrap_err().to_string()));
}

#[test]
fn templates_must_suit_their_refs() {
    check(
        &project("", "key = \"git2s3-2017\"\ntags = [\"v*\"]\nreleases = true"),
        expect![[r#"
        gristmill.toml:5: pipeline `archive`: `tags` are wanted, but the key for them is `{owner}/{repo}/{branch}/{full_name_}_{branch_}.zip`, and a tag has no {branch}; set `tag_key`, such as `tag_key = "{owner}/{repo}/tags/{tag}/{full_name_}_{tag_}.zip"`
        gristmill.toml:5: pipeline `archive`: `releases` are wanted, but the key for them is `{owner}/{repo}/{branch}/{full_name_}_{branch_}.zip`, and a tag has no {branch}; set `release_key`, such as `release_key = "{owner}/{repo}/release/tags/{tag}/{full_name_}_{tag_}.zip"`"#]],
    );
    check(
        &project("", "key = \"{repo}/{tag}.zip\""),
        expect![
            "gristmill.toml:5: pipeline `archive`: `key` is `{repo}/{tag}.zip`, but a branch has no {tag}; move that template to `tag_key` and give branches a `key` with {branch}, or set `branches = []`"
        ],
    );
    check(
        &project("", "branches = [\"a..b\", \"ok\"]\ntags = [\"a b\"]"),
        expect![[r#"
        gristmill.toml:5: pipeline `archive`: no branch or tag can be called `a..b`: `refs/heads/a..b` is not a ref name: it may not end with `.` or contain `..` or `@{`
        gristmill.toml:5: pipeline `archive`: no branch or tag can be called `a b`: `refs/tags/a b` is not a ref name: it has a space, a control character or one of `~^:?*[\`"#]],
    );
    check(
        &project("", "key = \"a//{branch}\""),
        expect![
            "gristmill.toml:7: `key`: `a//x` is not an object key: no part between slashes may be empty, `.` or `..`"
        ],
    );
    check(
        &project("", "key = \"{branch\""),
        expect!["gristmill.toml:7: `key`: key template `{branch`: a brace without its partner"],
    );
    let long = format!("key = \"{}/{{branch}}\"\nbranches = [\"{}\"]", "k".repeat(1000), "b".repeat(30));
    check(
        &project("", &long),
        expect![
            "gristmill.toml:5: pipeline `archive`: `kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…` is not an object key: it is longer than 1024 bytes"
        ],
    );
}

#[test]
fn schedules_that_never_come() {
    check(
        &project("", "schedule = \"0 0 30 2 *\""),
        expect![[
            r#"gristmill.toml:7: `schedule` is "0 0 30 2 *"; expected five cron fields in UTC (minute hour day month weekday), such as "0 3 * * *" (that day never comes)"#
        ]],
    );
    check(
        &project("", &format!("schedule = \"{}0 * * *\"", "0 ".repeat(200).trim_start())),
        expect![[
            r#"gristmill.toml:7: `schedule` is "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 …"; expected five cron fields in UTC (minute hour day month weekday), such as "0 3 * * *" (Invalid pattern: Pattern must have 5 fields when seconds are disallowed)"#
        ]],
    );
    check(
        &project("", &format!("schedule = \"0{}3 * * *\"", " ".repeat(200))),
        expect![[
            r#"gristmill.toml:7: `schedule` is "0                                                           …"; expected five cron fields in UTC (minute hour day month weekday), such as "0 3 * * *" (it is longer than 200 bytes)"#
        ]],
    );
}

#[test]
fn many_errors_are_cut() {
    let many: String = (0..60).map(|n| format!("x{n} = 1\n")).collect();
    let told = refusal(&many);
    assert_eq!(told.lines().count(), 51);
    assert_eq!(told.lines().last(), Some("and 10 more"));
    let fifty: String = (0..50).map(|n| format!("x{n} = 1\n")).collect();
    assert_eq!(refusal(&fifty).lines().count(), 50);
}
