//! [`Call`] and [`Answer`]: requests to a fake forge's API and what it answers.

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

/// A request to the API, or for a page beside it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    /// The path's parts below the API's prefix, decoded: an encoded slash stays within its part.
    pub(super) parts: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The request's own address without its query, for links to further pages.
    pub(super) url: String,
}

impl Call {
    pub(super) fn route(&self) -> (&str, Vec<&str>) {
        (&self.method, self.parts.iter().map(String::as_str).collect())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number of the query, within bounds.
    pub(super) fn number(&self, name: &str, default: usize, max: usize) -> usize {
        let asked = self.query(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        asked.unwrap_or(default).min(max)
    }

    /// The body as JSON; a form's fields as an object of strings.
    pub(super) fn json(&self) -> Option<Value> {
        let is_form = self.header("content-type").is_some_and(|kind| kind.contains("form-urlencoded"));
        if !is_form {
            return serde_json::from_slice(&self.body).ok();
        }
        let text = std::str::from_utf8(&self.body).ok()?;
        Some(Value::Object(pairs(text).into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// The same address with another query.
    pub(super) fn link(&self, query: &[(&str, String)]) -> String {
        let mut all: Vec<(String, String)> = self.query.clone();
        all.retain(|(name, _)| query.iter().all(|(other, _)| other != name));
        all.extend(query.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let text: Vec<String> = all.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        format!("{}?{}", self.url, text.join("&"))
    }
}

/// `a=b&c=d`, decoded.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (decode(name), decode(value))
    };
    text.split('&').filter(|text| !text.is_empty()).map(pair).collect()
}

/// The parts of a path, decoded one by one.
pub(super) fn parts(path: &str) -> Vec<String> {
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: u16, value: &Value) -> Answer {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Answer { status, headers, body: value.to_string().into_bytes() }
    }

    pub(super) fn text(status: u16, text: &str) -> Answer {
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        Answer { status, headers, body: text.as_bytes().to_vec() }
    }

    pub(super) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn redirect(status: u16, to: String) -> Answer {
        Answer::empty(status).with("location", to)
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
}

/// One page of a list, counted from 1.
pub(super) struct Page<'a, T> {
    pub(super) items: &'a [T],
    pub(super) number: usize,
    pub(super) per_page: usize,
    pub(super) total: usize,
}

impl<'a, T> Page<'a, T> {
    pub(super) fn of(all: &'a [T], number: usize, per_page: usize) -> Page<'a, T> {
        let start = (number - 1).saturating_mul(per_page).min(all.len());
        let end = (start + per_page).min(all.len());
        Page { items: &all[start..end], number, per_page, total: all.len() }
    }

    pub(super) fn pages(&self) -> usize {
        self.total.div_ceil(self.per_page).max(1)
    }

    pub(super) fn next(&self) -> Option<usize> {
        (self.number < self.pages()).then_some(self.number + 1)
    }

    /// `Link` (RFC 8288) as GitHub, GitLab and Gitea write it; `None` where there is one page only.
    pub(super) fn link(&self, call: &Call) -> Option<String> {
        let mut links = Vec::new();
        let mut add = |page: usize, relation: &str| {
            links.push(format!("<{}>; rel=\"{relation}\"", call.link(&[("page", page.to_string())])));
        };
        if let Some(next) = self.next() {
            add(next, "next");
            add(self.pages(), "last");
        }
        if self.number > 1 {
            add(1, "first");
            add(self.number - 1, "prev");
        }
        (!links.is_empty()).then(|| links.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, pairs, parts};

    #[test]
    fn paths_and_queries_are_decoded_part_by_part() {
        assert_eq!(parts("/projects/grp%2Fsub/hooks/"), ["projects", "grp/sub", "hooks"]);
        let read = pairs("a=1&b=x%20y+z&c");
        let read: Vec<(&str, &str)> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("a", "1"), ("b", "x y z"), ("c", "")]);
    }

    #[test]
    fn pages_end_where_the_list_ends() {
        let all = [1, 2, 3, 4, 5];
        for (number, per_page, items, next) in [
            (1, 2, &[1, 2][..], Some(2)),
            (3, 2, &[5], None),
            (4, 2, &[], None),
            (1, 5, &all[..], None),
            (1, 4, &[1, 2, 3, 4], Some(2)),
        ] {
            let page = Page::of(&all, number, per_page);
            assert_eq!((page.items, page.next()), (items, next), "{number} {per_page}");
        }
        assert_eq!(Page::<u8>::of(&[], 1, 5).pages(), 1);
    }
}
