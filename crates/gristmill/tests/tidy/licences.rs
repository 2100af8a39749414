//! Which licences and packages may be in the program. The list is that of `deny.toml`, which `cargo deny`
//! reads too; this needs no further tool and no network.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::{assert_none, read, root};

fn deny() -> Table {
    read("deny.toml").parse().unwrap()
}

fn allowed_licences() -> Vec<String> {
    let list = deny()["licenses"]["allow"].as_array().unwrap().clone();
    list.iter().map(|value| value.as_str().unwrap().to_owned()).collect()
}

/// Whether an SPDX expression can be met with the allowed licences alone. What cannot be read is not met.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    // `MIT/Apache-2.0` is how licences were listed before SPDX expressions.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut left = tokens.as_slice();
    any_of(&mut left, allowed) == Some(true) && left.is_empty()
}

fn any_of(tokens: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = all_of(tokens, allowed)?;
    while let ["OR", rest @ ..] = *tokens {
        *tokens = rest;
        met |= all_of(tokens, allowed)?;
    }
    Some(met)
}

fn all_of(tokens: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = one(tokens, allowed)?;
    while let ["AND", rest @ ..] = *tokens {
        *tokens = rest;
        met &= one(tokens, allowed)?;
    }
    Some(met)
}

fn one(tokens: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let (first, rest) = tokens.split_first()?;
    *tokens = rest;
    match *first {
        "(" => {
            let met = any_of(tokens, allowed)?;
            let [")", rest @ ..] = *tokens else { return None };
            *tokens = rest;
            Some(met)
        }
        "OR" | "AND" | "WITH" | ")" => None,
        name => {
            // An exception only ever adds permissions.
            if let ["WITH", _, rest @ ..] = *tokens {
                *tokens = rest;
            }
            Some(allowed.iter().any(|licence| licence == name))
        }
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()];
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("LGPL-2.1-or-later", false),
        ("GPL-2.0-only OR AGPL-3.0-only", false),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 / MIT", true),
        ("GPL-2.0-only/MIT", true),
        ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("GPL-3.0-only AND MIT OR Apache-2.0", true),
        ("MIT AND (GPL-3.0-only OR Apache-2.0)", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("mit", false),
        ("MITX", false),
        ("", false),
        ("MIT OR", false),
        ("(MIT", false),
        ("MIT)", false),
        ("MIT MIT", false),
        ("AND MIT", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

/// What cargo knows of every package that is built here, from what is downloaded already.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let version = Command::new(&cargo).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(&cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn everything_that_is_built_may_be_given_away() {
    let allowed = allowed_licences();
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages", packages.len());
    let mut complaints = Vec::new();
    for package in packages {
        let (name, licence) = (&package["name"], package["license"].as_str());
        if !licence.is_some_and(|licence| is_met(licence, &allowed)) {
            complaints.push(format!("{name}: {}", licence.unwrap_or("no licence")));
        }
    }
    assert_none(&complaints);
}

#[test]
fn allowed_licences_are_permissive() {
    for licence in allowed_licences() {
        let copyleft = ["GPL", "MPL", "EPL", "CDDL", "EUPL", "OSL", "SSPL", "BUSL", "CC-BY-SA", "CC-BY-NC"];
        assert!(!copyleft.iter().any(|part| licence.contains(part)), "{licence}");
    }
}

/// The lock file's packages: name and source.
fn locked() -> Vec<(String, Option<String>)> {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    let text = |package: &toml::Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    let packages = lock["package"].as_array().unwrap();
    packages.iter().map(|package| (text(package, "name").unwrap(), text(package, "source"))).collect()
}

#[test]
fn banned_packages_are_not_locked() {
    let deny = deny();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    assert!(!banned.is_empty());
    for ban in banned {
        let name = ban["crate"].as_str().unwrap();
        assert!(locked().iter().all(|(locked, _)| locked != name), "{name}: {}", ban["reason"]);
    }
}

#[test]
fn packages_come_from_one_registry() {
    let mut sources: Vec<String> = locked().into_iter().filter_map(|(_, source)| source).collect();
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources[0].starts_with("registry+"), "{sources:?}");
}
