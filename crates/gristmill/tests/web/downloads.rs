//! `GET /archive/…`.

use axum::http::StatusCode;
use gristmill::http::access::new_token;
use gristmill_db::token;
use gristmill_model::Digest;

use super::{TREE, World, commit};

const KEY: &str = "acme/shop/main.zip";
const PATH: &str = "/archive/acme/shop/main.zip";

/// More than one piece of a body, and not a whole number of them.
fn large() -> Vec<u8> {
    (0..600_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[tokio::test]
async fn the_whole_archive_with_all_that_is_known_of_it() {
    let world = World::new("", "").await;
    let bytes = large();
    let put = world.publish(KEY, 7, &commit('a'), &bytes).await;
    let answer = world.get(PATH).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body == bytes);
    let hex = put.digest.to_hex();
    for (name, value) in [
        ("etag", format!("\"{hex}\"")),
        ("content-type", "application/zip".to_owned()),
        ("content-length", "600001".to_owned()),
        ("accept-ranges", "bytes".to_owned()),
        ("cache-control", "no-cache".to_owned()),
        ("gristmill-commit", commit('a')),
        ("gristmill-tree", TREE.to_owned()),
        ("gristmill-ref", "refs/heads/main".to_owned()),
        ("gristmill-version", "7".to_owned()),
        ("content-disposition", "attachment; filename=\"main.zip\"".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(answer.header("content-digest"), answer.header("repr-digest"));
    assert!(answer.header("content-digest").starts_with("sha-256=:"));

    let head = world.ask("HEAD", PATH, &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), "600001");
    assert_eq!(head.header("etag"), format!("\"{hex}\""));
    assert_eq!(head.header("repr-digest"), answer.header("repr-digest"));
    assert_eq!(head.header("content-digest"), "", "the digest of nothing is not told");
}

#[tokio::test]
async fn digests_are_those_of_the_rfc() {
    let world = World::new("", "").await;
    world.publish("hello.json", 1, &commit('a'), b"{\"hello\": \"world\"}\n").await;
    let answer = world.get("/archive/hello.json").await;
    // RFC 9530, appendix A: the digest of this very text.
    assert_eq!(answer.header("repr-digest"), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
}

#[tokio::test]
async fn parts_of_an_archive() {
    let world = World::new("", "").await;
    let bytes = large();
    let put = world.publish(KEY, 7, &commit('a'), &bytes).await;
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=262143-262144", 262_143, 262_144),
        ("bytes=1-", 1, 600_000),
        ("bytes=-3", 599_998, 600_000),
        ("bytes=600000-700000", 600_000, 600_000),
    ] {
        let answer = world.ask("GET", PATH, &[("range", range)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert!(answer.body == bytes[first..=last], "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/600001"));
        assert_eq!(answer.header("content-length"), (last + 1 - first).to_string());
        assert_eq!(answer.header("content-digest"), "");
        assert!(!answer.header("repr-digest").is_empty());
    }
    let behind = world.ask("GET", PATH, &[("range", "bytes=600001-")]).await;
    assert_eq!(behind.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(behind.header("content-range"), "bytes */600001");
    let several = world.ask("GET", PATH, &[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, several.body.len()), (StatusCode::OK, 600_001));
    let etag = format!("\"{}\"", put.digest.to_hex());
    let same = world.ask("GET", PATH, &[("range", "bytes=0-1"), ("if-range", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (StatusCode::PARTIAL_CONTENT, 2));
    let other = world.ask("GET", PATH, &[("range", "bytes=0-1"), ("if-range", "\"x\"")]).await;
    assert_eq!((other.status, other.body.len()), (StatusCode::OK, 600_001));
}

#[tokio::test]
async fn conditions() {
    let world = World::new("", "").await;
    let put = world.publish(KEY, 7, &commit('a'), b"zip").await;
    let etag = format!("\"{}\"", put.digest.to_hex());
    let same = world.ask("GET", PATH, &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(same.header("etag"), etag);
    assert_eq!(same.header("cache-control"), "no-cache");
    let other = world.ask("GET", PATH, &[("if-none-match", "\"x\"")]).await;
    assert_eq!((other.status, other.body.as_slice()), (StatusCode::OK, b"zip".as_slice()));
    let wanted = world.ask("GET", PATH, &[("if-match", "\"x\"")]).await;
    assert_eq!(wanted.status, StatusCode::PRECONDITION_FAILED);
    let wanted = world.ask("GET", PATH, &[("if-match", &etag)]).await;
    assert_eq!(wanted.status, StatusCode::OK);
}

#[tokio::test]
async fn versions_and_commits() {
    let world = World::new("", "").await;
    world.publish(KEY, 1, &commit('a'), b"one").await;
    world.publish(KEY, 2, &commit('b'), b"two").await;
    let newest = world.publish(KEY, 5, &commit('c'), b"five").await;
    world.make(KEY, &commit('d'), b"never moved").await;
    let put = world.make(KEY, &commit('e'), b"desired").await;
    world.desire(KEY, 6, &commit('e'), &put, 7).await;

    assert_eq!(world.get(PATH).await.text(), "five", "what is only desired is not seen yet");
    let immutable = "public, max-age=31536000, immutable";
    for (path, body, version) in [
        (format!("{PATH}?version=1"), "one", "1"),
        (format!("{PATH}?version=2"), "two", "2"),
        (format!("{PATH}@{}", commit('a')), "one", ""),
        (format!("{PATH}@{}", commit('d')), "never moved", ""),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.text(), body, "{path}");
        assert_eq!(answer.header("cache-control"), immutable, "{path}");
        assert_eq!(answer.header("gristmill-version"), version, "{path}");
        assert_eq!(answer.header("gristmill-tree"), TREE);
    }
    for path in [
        format!("{PATH}?version=3"),
        format!("{PATH}?version=6"),
        format!("{PATH}@{}", commit('f')),
        format!("{PATH}@{}?version=1", commit('a')),
        format!("{PATH}@{}?versions", commit('a')),
        "/archive/acme/shop".to_owned(),
        "/archive/none?versions".to_owned(),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.json()["hint"].as_str().unwrap().is_empty());
    }
    let list = world.get(&format!("{PATH}?versions")).await.json();
    let seqs: Vec<i64> =
        list.as_array().unwrap().iter().map(|one| one["version"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [5, 2, 1]);
    let first = &list[0];
    assert_eq!(first["commit"], commit('c'));
    assert_eq!(first["tree"], TREE);
    assert_eq!(first["ref"], "refs/heads/main");
    assert_eq!(first["sha256"], newest.digest.to_hex());
    assert_eq!(first["size"], 4);
    assert_eq!(first["run"], newest.run.to_string());
    assert!(first["published"].as_str().unwrap().ends_with('Z'));
    let page = world.get(&format!("{PATH}?versions&before=5&limit=1")).await.json();
    assert_eq!((page.as_array().unwrap().len(), &page[0]["version"]), (1, &2.into()));
    let end = world.get(&format!("{PATH}?versions&before=1")).await;
    assert_eq!((end.status, end.text()), (StatusCode::OK, "[]".to_owned()));
}

#[tokio::test]
async fn a_key_that_looks_like_a_commit_goes_first() {
    let world = World::new("", "").await;
    world.publish("a.zip", 1, &commit('a'), b"moving").await;
    let tricky = format!("a.zip@{}", commit('a'));
    world.publish(&tricky, 2, &commit('b'), b"a key of its own").await;
    let answer = world.get(&format!("/archive/{tricky}")).await;
    assert_eq!(answer.text(), "a key of its own");
    assert_eq!(answer.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn paths_are_read_as_they_are_written() {
    let world = World::new("", "").await;
    world.publish("größe/a b.zip", 1, &commit('a'), b"odd").await;
    let answer = world.get("/archive/gr%C3%B6%C3%9Fe%2Fa%20b.zip").await;
    assert_eq!(answer.text(), "odd");
    for path in
        ["/archive/a%", "/archive/a%zz", "/archive/%ff", "/archive/a//b", "/archive/a/../b", "/archive/a%00"]
    {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("the path is not a key: "));
    }
    for query in ["version=x", "version=1&versions", "versions&limit=1001"] {
        let answer = world.get(&format!("/archive/a?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(world.ask("POST", "/archive/a", &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn without_a_right_nothing_can_be_told_apart() {
    let world = World::new("anonymous_read = false", "").await;
    world.publish(KEY, 1, &commit('a'), b"private").await;
    let (text, hash) = new_token([7; 32]);
    let id = world.app.db.transact(move |tx| token::create(tx, "ci", hash)).await.unwrap();
    let there = world.get(PATH).await;
    assert_eq!(there.status, StatusCode::UNAUTHORIZED);
    assert_eq!(there.header("www-authenticate"), "Basic realm=\"gristmill\", Bearer");
    let wrong = format!("Bearer {}", new_token([8; 32]).0);
    for (path, authorization) in [
        ("/archive/none", ""),
        ("/archive/a%", ""),
        ("/archive/a?limit=x", ""),
        (PATH, "Bearer x"),
        (PATH, &wrong),
    ] {
        let answer = world.ask("GET", path, &[("authorization", authorization)]).await;
        assert_eq!((answer.status, &answer.body), (there.status, &there.body), "{path}");
        assert_eq!(answer.headers, there.headers, "{path}");
    }
    let bearer = format!("Bearer {text}");
    let answer = world.ask("GET", PATH, &[("authorization", &bearer)]).await;
    assert_eq!(answer.text(), "private");
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    for path in ["/", "/metrics", "/runs/x", "/runs/x/jobs/y/log"] {
        assert_eq!(world.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.get(path).await.status, StatusCode::OK, "{path}");
    }
    assert!(world.app.db.transact(move |tx| token::revoke(tx, id)).await.unwrap());
    let answer = world.ask("GET", PATH, &[("authorization", &bearer)]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bytes_that_are_gone_or_cut_are_not_sent() {
    let world = World::new("", "").await;
    let put = world.publish(KEY, 1, &commit('a'), b"whole").await;
    let path = world.blob_path(put.digest);
    std::fs::remove_file(&path).unwrap();
    for method in ["GET", "HEAD"] {
        let answer = world.ask(method, PATH, &[]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    std::fs::write(&path, b"who").unwrap();
    assert_eq!(world.get(PATH).await.status, StatusCode::SERVICE_UNAVAILABLE);
    std::fs::write(&path, b"whole").unwrap();
    assert_eq!(world.get(PATH).await.text(), "whole");
    assert_eq!(put.digest, Digest::of(b"whole"));
}
