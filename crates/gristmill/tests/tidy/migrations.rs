//! Two versions of the program work on one database while programs are replaced: the version before must be able to
//! read and write what a migration leaves behind (docs/decisions/0014).

use crate::{assert_none, texts};

/// What the version before would stumble over.
const HARMFUL: &[&str] =
    &["DROP", "RENAME", "ALTER COLUMN", "SET NOT NULL", "ADD CONSTRAINT", "CREATE UNIQUE INDEX", "CHECK"];
/// The line before such a statement: since which release nothing uses what it takes away.
const MARKER: &str = "-- contract: unused since ";

/// Statements that take something away, or narrow it, without a marker before them.
fn harms(path: &str, sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_marked = false;
    for (line, number) in sql.lines().zip(1..) {
        let (code, comment) = line.split_once("--").map_or((line, ""), |(code, _)| (code, line.trim()));
        is_marked |= comment.strip_prefix(MARKER).is_some_and(|since| !since.trim().is_empty());
        let words = code.to_uppercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let needs_default =
            words.contains("ADD COLUMN") && words.contains("NOT NULL") && !words.contains("DEFAULT");
        let harm = HARMFUL.iter().find(|harm| words.contains(*harm)).copied();
        if let Some(harm) = harm.or(needs_default.then_some("ADD COLUMN … NOT NULL without DEFAULT"))
            && !is_marked
        {
            found.push(format!("{path}:{number}: `{harm}` without `{MARKER}RELEASE` before it"));
        }
        is_marked &= !code.trim_end().ends_with(';');
    }
    found
}

#[test]
fn no_migration_takes_away_what_the_version_before_uses() {
    let later = |path: &str| path.starts_with("crates/db/migrations/") && !path.ends_with("/0001_house.sql");
    let all = texts().into_iter().filter(|text| later(&text.path) && text.path.ends_with(".sql"));
    assert_none(&all.flat_map(|text| harms(&text.path, &text.content)).collect::<Vec<_>>());
}

#[test]
fn what_takes_something_away_is_found_and_a_marker_is_for_one_statement() {
    for (sql, count) in [
        ("CREATE TABLE a (b TEXT NOT NULL);\nALTER TABLE c ADD COLUMN d TEXT;\nCREATE INDEX e ON c (d);", 0),
        ("ALTER TABLE c ADD COLUMN d BIGINT NOT NULL DEFAULT 0;", 0),
        ("ALTER TABLE c ADD COLUMN d BIGINT NOT NULL;", 1),
        ("DROP TABLE a;", 1),
        ("alter table a\n    rename column b to c;", 1),
        ("ALTER TABLE a ALTER  COLUMN b SET NOT NULL;", 1),
        ("CREATE UNIQUE INDEX a ON b (c);", 1),
        ("-- drop nothing\nCREATE TABLE a (b TEXT); -- DROP", 0),
        ("-- contract: unused since 1.4\nDROP TABLE a;", 0),
        ("-- contract: unused since 1.4\nALTER TABLE a\n    DROP COLUMN b;", 0),
        ("-- contract: unused since 1.4\nDROP TABLE a;\nDROP TABLE b;", 1),
        ("-- contract: unused since \nDROP TABLE a;", 1),
    ] {
        assert_eq!(harms("x", sql).len(), count, "{sql}: {:?}", harms("x", sql));
    }
}
