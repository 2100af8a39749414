//! Makes what a project needs at its forge, all of it or nothing.

use gristmill_forge::api::{Answer, Api, ApiError, Call, Ensured, NewHook, NewKey, Repository};

/// What shall be there.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The webhook.
    pub hook: NewHook<'a>,
    /// The deploy key, for remotes over ssh.
    pub key: Option<NewKey<'a>>,
}

/// What is there now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The repository, as the token sees it.
    pub repository: Repository,
    /// The webhook.
    pub hook: Ensured,
    /// The deploy key, where one was wanted.
    pub key: Option<Ensured>,
}

/// Sees to it that all of it is there. Where the forge refuses in the middle, what was made before is taken away
/// again; what was there already stays.
///
/// # Errors
/// The first refusal.
pub fn make<E: From<ApiError>>(
    api: &Api,
    wanted: &Wanted<'_>,
    carry: &mut impl FnMut(Call) -> Result<Answer, E>,
) -> Result<Made, E> {
    let repository = api.repository(carry)?;
    let hook = api.ensure_hook(&wanted.hook, carry)?;
    let mut made = Made { repository, hook, key: None };
    if let Some(key) = &wanted.key {
        match api.ensure_key(key, carry) {
            Ok(key) => made.key = Some(key),
            Err(refusal) => {
                let _ = undo(api, &made, carry);
                return Err(refusal);
            }
        }
    }
    Ok(made)
}

/// Takes away again what [`make`] made and did not find; what could not be taken away, for a person to do.
pub fn undo<E: From<ApiError>>(
    api: &Api,
    made: &Made,
    carry: &mut impl FnMut(Call) -> Result<Answer, E>,
) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(key) = made.key.as_ref().filter(|key| key.made)
        && api.delete_key(&key.id, carry).is_err()
    {
        left.push(format!("the deploy key number {}", key.id));
    }
    if made.hook.made && api.delete_hook(&made.hook.id, carry).is_err() {
        left.push(format!("the webhook number {}", made.hook.id));
    }
    left
}

#[cfg(test)]
mod tests {
    use gristmill_forge::api::ApiBase;
    use gristmill_forge::{Forge, Secret};

    use super::*;

    const URL: &str = "https://mill.acme.org/hooks/acme/shop";
    const KEY: &str = "ssh-ed25519 AAAA";

    /// A forge with these hooks and keys, whose answer to a new key is this; what it was asked, and what came of it.
    fn made(hooks: &str, keys: &str, key_status: u16) -> (String, Result<Made, ApiError>) {
        let base = ApiBase::given("https://api.github.com").unwrap();
        let api = Api::new(Forge::Github, base, None, "acme/shop".parse().unwrap()).unwrap();
        let secret = Secret::new("s").unwrap();
        let wanted = Wanted {
            hook: NewHook { url: URL, secret: &secret },
            key: Some(NewKey { title: "t", key: KEY }),
        };
        let mut asked = String::new();
        let result = make(&api, &wanted, &mut |call: Call| {
            let path = call.url.strip_prefix("https://api.github.com/repos/acme/shop").unwrap().to_owned();
            let line = format!("{} {}", call.method.as_str(), path.split('?').next().unwrap());
            asked += &format!("{line}; ");
            let (status, body) = match line.as_str() {
                "GET " => (200, r#"{"id":1,"full_name":"acme/shop","private":true}"#),
                "GET /hooks" => (200, hooks),
                "GET /keys" => (200, keys),
                "POST /hooks" => (201, r#"{"id":7}"#),
                "POST /keys" => (key_status, r#"{"id":8,"key":"ssh-ed25519 AAAA","read_only":true}"#),
                _ => (200, ""),
            };
            Ok(Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        });
        (asked, result)
    }

    #[test]
    fn webhook_and_key_are_made() {
        let (asked, made) = made("[]", "[]", 201);
        assert_eq!(asked, "GET ; GET /hooks; POST /hooks; GET /keys; POST /keys; ");
        let made = made.unwrap();
        assert_eq!((made.hook.id.as_str(), made.hook.made), ("7", true));
        assert_eq!(made.key.map(|key| (key.id, key.made)), Some(("8".to_owned(), true)));
    }

    #[test]
    fn what_was_made_goes_again_where_the_rest_is_refused() {
        let (asked, refused) = made("[]", "[]", 422);
        assert_eq!(asked, "GET ; GET /hooks; POST /hooks; GET /keys; POST /keys; DELETE /hooks/7; ");
        assert!(matches!(refused, Err(ApiError::Refused { status: 422, .. })), "{refused:?}");
    }

    #[test]
    fn what_was_there_before_stays_in_any_case() {
        let hooks = format!(r#"[{{"id":5,"config":{{"url":"{URL}"}}}}]"#);
        let (asked, refused) = made(&hooks, "[]", 422);
        assert_eq!(asked, "GET ; GET /hooks; PATCH /hooks/5; GET /keys; POST /keys; ");
        assert!(refused.is_err());
        let keys = format!(r#"[{{"id":6,"key":"{KEY}","read_only":true}}]"#);
        let (asked, there) = made(&hooks, &keys, 201);
        assert_eq!(asked, "GET ; GET /hooks; PATCH /hooks/5; GET /keys; ");
        let there = there.unwrap();
        assert!(!there.hook.made && there.key.is_some_and(|key| key.id == "6" && !key.made));
    }
}
