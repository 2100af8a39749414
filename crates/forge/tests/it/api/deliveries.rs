//! Deliveries that nobody took.

use expect_test::expect;
use gristmill_forge::api::{Answer, Api, ApiError, Call, HooksOf, MissedDeliveries};
use gristmill_forge::{Forge, parse_unverified};
use gristmill_model::Timestamp;

use super::{COMMIT, answer, check, told, with};

fn missed(
    api: &Api,
    mut carry: &mut dyn FnMut(Call) -> Result<Answer, ApiError>,
) -> Result<MissedDeliveries, ApiError> {
    // 2026-01-01T00:00:00Z
    api.missed_deliveries(HooksOf::Repository, "7", Timestamp(1_767_225_600_000), None, &mut carry)
}

fn attempt(id: u32, guid: &str, at: &str, code: i32) -> String {
    format!(
        r#"{{"id":{id},"guid":"{guid}","delivered_at":"{at}","redelivery":false,"duration":0.03,"status":"x","status_code":{code},"event":"push","action":null,"repository_id":4{id}}}"#
    )
}

#[test]
fn github_tells_each_attempt() {
    let first = [
        attempt(12, "g2", "2026-01-03T00:00:00.123Z", 200),
        attempt(11, "g3", "2026-01-02T12:00:00Z", 0),
        attempt(10, "g2", "2026-01-02T00:00:00Z", 502),
        attempt(9, "g3", "2026-01-01T12:00:00Z", 502),
        attempt(8, "g1", "2026-01-01T00:00:00Z", 299),
    ];
    let second = [
        attempt(7, "g4", "2026-01-01T00:00:00Z", 300),
        attempt(6, "g5", "2025-12-31T23:59:59Z", 502),
        attempt(5, "g6", "yesterday", 199),
    ];
    let next = "<https://api.github.com/repositories/1/hooks/7/deliveries?per_page=100&cursor=v1_5%2B>; rel=\"next\"";
    check(
        [told(
            Forge::Github,
            [
                with(answer(200, &format!("[{}]", first.join(","))), &[("Link", next)]),
                with(answer(200, &format!("[{}]", second.join(","))), &[("Link", next)]),
            ],
            missed,
        )],
        &expect![[r#"
            GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100
            GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=v1_5%2B
              = MissedDeliveries { deliveries: [Delivery { id: "11", guid: "g3", event: "push", delivered_at: Some(1767355200000 ms), status: None, repository_id: Some("411"), payload: None }, Delivery { id: "7", guid: "g4", event: "push", delivered_at: Some(1767225600000 ms), status: Some(300), repository_id: Some("47"), payload: None }, Delivery { id: "5", guid: "g6", event: "push", delivered_at: None, status: Some(199), repository_id: Some("45"), payload: None }], rest: None }
        "#]],
    );
}

#[test]
fn github_tells_a_payload_by_itself() {
    let detail = format!(
        r#"{{"id":11,"guid":"g3","request":{{"headers":{{"X-GitHub-Event":"push"}},"payload":{{"ref":"refs/heads/main","before":null,"after":"{COMMIT}",
           "repository":{{"id":42,"full_name":"acme/shop"}}}}}},"response":{{}}}}"#
    );
    let delivery = |body: &str| {
        let mut found = None;
        let listed = with(answer(200, &format!("[{}]", attempt(11, "g3", "2026-01-02T12:00:00Z", 0))), &[]);
        let told = told(Forge::Github, [listed, answer(200, body)], |api, mut carry| {
            let all = api.missed_deliveries(HooksOf::Repository, "7", Timestamp(0), None, &mut carry)?;
            found = api.payload(HooksOf::Repository, "7", &all.deliveries[0], &mut carry)?;
            Ok(found.is_some())
        });
        (told, found)
    };
    let (told, payload) = delivery(&detail);
    let events =
        parse_unverified(Forge::Github, Some("push"), payload.expect("a payload").json()).expect("a push");
    assert_eq!(events[0].after, Some(COMMIT.parse().expect("a commit")));
    check(
        [told],
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries/11
          = true
    "#]],
    );
    for body in [r#"{"id":11}"#, r#"{"request":{"payload":null}}"#, r#"{"request":{"payload":"x"}}"#] {
        assert_eq!(delivery(body).1, None, "{body}");
    }
}

#[test]
fn gitlab_tells_all_at_once() {
    let event = |id: u32, headers: &str, status: &str, data: &str| {
        format!(
            r#"{{"id":{id},"trigger":"push_hooks","request_headers":{headers},"request_data":{data},"response_status":"{status}"}}"#
        )
    };
    let headers = r#"{"Idempotency-Key":"k1","X-Gitlab-Event":"Push Hook","X-Gitlab-Event-UUID":"u","X-Gitlab-Token":"[REDACTED]"}"#;
    let signed = r#"{"webhook-id":"w1","idempotency-key":"k2","X-Gitlab-Event":"Tag Push Hook"}"#;
    let old = r#"{"X-Gitlab-Event-UUID":"u3"}"#;
    let first = [
        event(9, headers, "internal error", r#"{"object_kind":"push"}"#),
        event(8, signed, "503", r#"{"oversize":true}"#),
        event(7, old, "404", "null"),
        event(6, "{}", "500", "{}"),
        event(5, r#"{"Idempotency-Key":7}"#, "500", "{}"),
    ];
    let second = [event(4, headers, "500", "{}"), event(3, signed, "200", "{}")];
    check(
        [told(
            Forge::Gitlab,
            [
                with(answer(200, &format!("[{}]", first.join(","))), &[("X-Next-Page", "2")]),
                answer(200, &format!("[{}]", second.join(","))),
            ],
            missed,
        )],
        &expect![[r#"
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308
            GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=2
              = MissedDeliveries { deliveries: [Delivery { id: "9", guid: "k1", event: "Push Hook", delivered_at: None, status: None, repository_id: None, payload: Some(UnsignedPayload(22 bytes)) }, Delivery { id: "7", guid: "u3", event: "", delivered_at: None, status: Some(404), repository_id: None, payload: None }], rest: None }
        "#]],
    );
}

#[test]
fn no_more_than_five_pages_are_read_and_the_rest_from_there_on() {
    let page = |at: u32| {
        let github = attempt(at, &format!("g{at}"), "2026-01-02T00:00:00Z", 502);
        let gitlab = format!(r#""request_headers":{{"Idempotency-Key":"k{at}"}},"request_data":null"#);
        let body = format!("[{},{gitlab}}}]", github.trim_end_matches('}'));
        let next = format!("<https://x/?cursor=c{at}>; rel=\"next\"");
        with(answer(200, &body), &[("Link", &next), ("X-Next-Page", "9")])
    };
    let last =
        with(answer(200, "[]"), &[("Link", "<https://x/?cursor=c>; rel=\"next\""), ("X-Next-Page", "")]);
    let found = |forge| {
        told(forge, (1..=6).map(page).chain([last.clone()]), |api, mut carry| {
            let mut look =
                |rest| api.missed_deliveries(HooksOf::Repository, "7", Timestamp(0), rest, &mut carry);
            let first = look(None)?;
            let second = look(first.rest.clone())?;
            Ok((first.deliveries.len(), first.rest, second.deliveries.len(), second.rest))
        })
    };
    check(
        [found(Forge::Github), found(Forge::Gitlab)],
        &expect![[r#"
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c1
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c2
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c3
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c4
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c5
        GET https://api.github.com/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=c6
          = (5, Some(Place(Cursor("c5"))), 1, None)
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=2
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=3
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=4
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=5
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=6
        GET https://gitlab.acme.org/api/v4/projects/acme%2Fshop/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308&page=7
          = (5, Some(Place(Page(6))), 1, None)
    "#]],
    );
}

#[test]
fn others_keep_none() {
    for forge in [Forge::Gitea, Forge::Bitbucket, Forge::BitbucketServer] {
        let told = told(forge, [], missed);
        assert!(told.contains("keeps no deliveries"), "{told}");
    }
}

#[test]
fn those_of_an_organisation_or_a_group_are_asked_for_by_its_name() {
    let empty = || answer(200, "[]");
    let look = |forge| {
        told(forge, [empty(), empty()], |api, mut carry| {
            let hooks = api.owner_hooks(&mut carry)?.len();
            Ok((
                hooks,
                api.missed_deliveries(HooksOf::Owner, "7", Timestamp(0), None, &mut carry)?.rest.is_some(),
            ))
        })
    };
    let detail = told(Forge::Github, [answer(200, r#"{"request":{"payload":{}}}"#)], |api, mut carry| {
        let delivery = gristmill_forge::api::Delivery {
            id: "1".to_owned(),
            guid: "g".to_owned(),
            event: String::new(),
            delivered_at: None,
            status: None,
            repository_id: None,
            payload: None,
        };
        api.payload(HooksOf::Owner, "7", &delivery, &mut carry).map(|payload| payload.is_some())
    });
    let refused = |forge, status| {
        told(forge, [answer(status, "{}")], |api, mut carry| api.owner_hooks(&mut carry).map(drop))
    };
    let without = told(Forge::Gitea, [], |api, mut carry| api.owner_hooks(&mut carry).map(drop));
    check(
        [
            look(Forge::Github),
            look(Forge::Gitlab),
            detail,
            refused(Forge::Github, 404),
            refused(Forge::Gitlab, 403),
            without,
        ],
        &expect![[r#"
            GET https://api.github.com/orgs/acme/hooks?per_page=100&page=1
            GET https://api.github.com/orgs/acme/hooks/7/deliveries?per_page=100
              = (0, false)
            GET https://gitlab.acme.org/api/v4/groups/acme/hooks?per_page=100&page=1
            GET https://gitlab.acme.org/api/v4/groups/acme/hooks/7/events?per_page=20&status=client_failure,server_failure,301,302,303,307,308
              = (0, false)
            GET https://api.github.com/orgs/acme/hooks/7/deliveries/1
              = true
            GET https://api.github.com/orgs/acme/hooks?per_page=100&page=1
              = error: github finds no repository `acme/shop` or not what was asked of it, or hides it from this token; compare the name. Needed to see the webhooks of its organisation or group, and their deliveries: a fine-grained token of the organisation with `Webhooks: read` among its organization permissions, or a classic one with `admin:org_hook`, of an owner of the organisation
            GET https://gitlab.acme.org/api/v4/groups/acme/hooks?per_page=100&page=1
              = error: gitlab does not allow the token to see the webhooks of its organisation or group, and their deliveries (without a reason). Needed: a token with the scope `api` and the role Owner of the group

              = error: gitea cannot do this: it keeps no deliveries that its API would tell of; what was missed is found by polling
        "#]],
    );
}
