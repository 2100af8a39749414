//! The little HTML there is: escaping, one frame for every page, and how ages and sizes read.

use std::fmt::{self, Display, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gristmill_model::Digest;

/// The style of every page; the policy names its digest, so that no other style can be slipped in.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ddd}\
code,pre{font:13px/1.4 ui-monospace,monospace}pre{background:#f4f4f4;padding:1rem;overflow:auto}.bad{color:#a00}.good{color:#060}";

/// No script, nothing from anywhere else, nothing sent anywhere, not inside another page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = BASE64.encode(Digest::of(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("ASCII")
});

/// A text with everything escaped that could be taken for markup, in content and in quoted attributes.
pub(super) struct Escaped<T>(pub(super) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            c => self.0.write_char(c),
        })
    }
}

/// A whole page. `title` is escaped here; `body` is markup.
pub(super) fn page(title: &str, body: &str) -> Response {
    let title = Escaped(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}</body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, html).into_response()
}

/// A table of rows of markup; nothing where there are no rows.
pub(super) fn table(heads: &[&str], rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = String::from("<table><tr>");
    for head in heads {
        write!(html, "<th>{head}</th>").expect("a String takes all");
    }
    html.push_str("</tr>\n");
    for row in rows {
        writeln!(html, "<tr>{row}</tr>").expect("a String takes all");
    }
    html.push_str("</table>\n");
    html
}

/// A span of time, roughly, in its largest unit.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_could_be_markup_is_escaped() {
        for (text, escaped) in [
            ("plain größe", "plain größe"),
            ("<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            ("a\"b&c", "a&quot;b&amp;c"),
            ("&amp;", "&amp;amp;"),
            ("", ""),
        ] {
            assert_eq!(Escaped(text).to_string(), escaped);
        }
        assert_eq!(Escaped(format_args!("{}<", 1)).to_string(), "1&lt;");
    }

    #[test]
    fn spans_read_in_their_largest_unit() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (86_399, "23 h"),
            (86_400, "1 d"),
            (864_000, "10 d"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn tables() {
        assert_eq!(table(&["a"], &[]), "");
        let rows = ["<td>1</td>".to_owned()];
        assert_eq!(table(&["a"], &rows), "<table><tr><th>a</th></tr>\n<tr><td>1</td></tr>\n</table>\n");
    }

    #[test]
    fn the_policy_names_the_style_and_nothing_else() {
        let response = page("<t>", "<p>b</p>");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let digest = BASE64.encode(Digest::of(STYLE.as_bytes()).as_bytes());
        assert!(policy.starts_with(&format!("default-src 'none'; style-src 'sha256-{digest}';")), "{policy}");
    }
}
