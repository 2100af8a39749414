//! The programs on a shared database: who is up, and whose configuration is in force.

use gristmill_db::boot::Boot;
use gristmill_model::{Digest, Timestamp};

use super::Check;
use crate::boots::{self, Standing};
use crate::config::{Config, DatabaseUrl, Surroundings};
use crate::database;

const NAME: &str = "programs";

/// Nothing where the database is a file, which one program works on.
pub(super) async fn examine(config: &Config, around: &Surroundings) -> Vec<Check> {
    if !matches!(config.database, DatabaseUrl::Postgres(_)) {
        return Vec::new();
    }
    let (this, env) = (config.clone(), around.env.clone());
    let read = tokio::task::spawn_blocking(move || {
        let db = database::open_existing(&this, &*env)?;
        anyhow::Ok((db.read_blocking(Standing::read)?, db.clock().now()))
    });
    // One that cannot be read has been told of by the check of the database.
    let Ok(Ok((standing, now))) = read.await else { return Vec::new() };
    let mut checks = judge(&standing, boots::digest(config), now);
    if config.server.key.is_empty() {
        checks.push(Check::warning(
            NAME,
            "`server.key` is not set, so the key in this data folder seals and opens ssh keys, which other programs on the database cannot do with theirs",
            "set the same `key` in [server] for all of them",
        ));
    }
    checks
}

fn judge(standing: &Standing, mine: Digest, now: Timestamp) -> Vec<Check> {
    let mut checks: Vec<Check> = standing.up.iter().map(|boot| one(standing, boot, now)).collect();
    if checks.is_empty() {
        checks.push(Check::warning(NAME, "none is up", "start `gristmill serve`"));
    }
    if !standing.has(mine) {
        let by = standing.importer().map_or_else(
            || "a program that is not up any more".to_owned(),
            |boot| format!("{} at {}", boot.kind.as_str(), boot.place),
        );
        checks.push(Check::warning(
            NAME,
            format!("the projects of this configuration are not the ones in force, which {by} imported last"),
            "give all programs the same configuration; the one of the server that starts, or takes a change up, last is in force",
        ));
    }
    checks
}

fn one(standing: &Standing, boot: &Boot, now: Timestamp) -> Check {
    let seconds = now.since(boot.seen).as_secs();
    let work = if boot.works { "" } else { ", does not work" };
    let end = if boot.draining { ", is stopping" } else { "" };
    let (kind, place, version) = (boot.kind.as_str(), &boot.place, &boot.version);
    let text = format!("{kind} at {place}, version {version}{work}{end}, seen {seconds} s ago");
    match boot.config {
        Some(config) if !standing.has(config) => Check::warning(
            NAME,
            format!("{text}: its projects are not the ones in force"),
            "give it the same configuration as the others",
        ),
        _ => Check::ok(NAME, text),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_db::boot::{Imported, Kind};
    use gristmill_model::{BootId, FolderId};

    use super::*;

    #[test]
    fn each_program_is_told_and_who_has_another_configuration() {
        let at = Timestamp(10_000);
        let id = |n| BootId::new(Timestamp(1), n);
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let boot = |n, kind, config| Boot {
            id: id(n),
            folder: FolderId::new(Timestamp(1), n),
            kind,
            place: format!("host-{n}:/data"),
            version: "1.2.3".to_owned(),
            works: kind == Kind::Worker,
            config: Some(config),
            draining: n == 2,
            started: at,
            seen: at,
        };
        let up = vec![boot(1, Kind::Serve, new), boot(2, Kind::Worker, old)];
        let standing = Standing { in_force: Some(Imported { config: new, by: id(1) }), up };
        let texts = |mine| -> Vec<String> {
            judge(&standing, mine, Timestamp(12_500)).iter().map(ToString::to_string).collect()
        };
        let both = [
            "ok       programs: serve at host-1:/data, version 1.2.3, does not work, seen 2 s ago",
            "warning  programs: worker at host-2:/data, version 1.2.3, is stopping, seen 2 s ago: its projects are not the ones in force\n         → give it the same configuration as the others",
        ];
        assert_eq!(texts(new), both);
        assert_eq!(texts(old)[..2], both);
        assert!(texts(old)[2].contains("which serve at host-1:/data imported last"), "{:?}", texts(old));
    }
}
