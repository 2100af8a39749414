//! The PostgreSQL that tests start is a real one, and dies and comes back as they say.

use gristmill_testkit::postgres::{Mode, Options, Postgres};

#[test]
fn databases_know_nothing_of_each_other() {
    let test = "postgres::databases_know_nothing_of_each_other";
    let Some(server) = Postgres::shared(test) else { return };
    assert!(server.version() >= 12, "{}", server.version());
    let (one, other) = (server.create_database(), server.create_database());
    assert_ne!(one, other);
    assert_eq!(
        server.sql(&one, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1), (2); SELECT n, n + 1 FROM t"),
        Ok("1|2\n2|3\n".to_owned())
    );
    let error = server.sql(&other, "SELECT * FROM t").expect_err("the table is in the other one");
    assert!(error.contains("relation \"t\" does not exist"), "{error}");
}

#[test]
fn templates_are_made_once() {
    let Some(server) = Postgres::shared("postgres::templates_are_made_once") else { return };
    let mut made = 0;
    let urls: Vec<String> = (0..3)
        .map(|_| {
            server.create_database_from("numbers", |url| {
                made += 1;
                server.sql(url, "CREATE TABLE numbers (n INT)").expect("a table");
            })
        })
        .collect();
    assert_eq!(made, 1);
    for url in &urls {
        let text = "INSERT INTO numbers VALUES (1); SELECT count(*) FROM numbers";
        assert_eq!(server.sql(url, text), Ok("1\n".to_owned()), "{url}");
    }
}

#[test]
fn nobody_comes_in_without_the_password() {
    let Some(server) = Postgres::shared("postgres::nobody_comes_in_without_the_password") else { return };
    let url = server.url("postgres");
    let (start, end) = (url.find("gristmill:").expect("a user") + 10, url.find('@').expect("a host"));
    let wrong = format!("{}wrong{}", &url[..start], &url[end..]);
    for (url, expected) in [(&url, true), (&wrong, false)] {
        let output = std::process::Command::new("psql").args(["--no-psqlrc", "-c", "SELECT 1", url]).output();
        assert_eq!(output.expect("psql").status.success(), expected);
    }
}

#[test]
fn committed_rows_survive_each_end() {
    let options = Options { fsync: true };
    let Some(server) = Postgres::launch("postgres::committed_rows_survive_each_end", options) else { return };
    let url = server.create_database();
    assert_eq!(server.sql(&url, "SHOW fsync"), Ok("on\n".to_owned()));
    server.sql(&url, "CREATE TABLE t (n INT)").expect("a table");
    let ends: [(&str, &dyn Fn()); 4] = [
        ("smart", &|| server.stop(Mode::Smart)),
        ("fast", &|| server.stop(Mode::Fast)),
        ("immediate", &|| server.stop(Mode::Immediate)),
        ("killed", &|| server.kill()),
    ];
    for (number, (name, end)) in (1..).zip(ends) {
        server.sql(&url, &format!("INSERT INTO t VALUES ({number})")).expect("a row");
        end();
        assert!(!server.is_running(), "{name}");
        assert!(server.sql(&url, "SELECT 1").is_err(), "{name}: somebody answers");
        server.start();
        assert_eq!(server.sql(&url, "SELECT count(*) FROM t"), Ok(format!("{number}\n")), "{name}");
    }
    let recovered = server.log().matches("was not properly shut down; automatic recovery").count();
    assert_eq!(recovered, 2, "immediate, and killed:\n{}", server.log());
}

#[test]
fn syncing_is_off_unless_it_is_asked_for() {
    let Some(server) = Postgres::shared("postgres::syncing_is_off_unless_it_is_asked_for") else { return };
    assert_eq!(server.sql("postgres", "SHOW fsync"), Ok("off\n".to_owned()));
}
