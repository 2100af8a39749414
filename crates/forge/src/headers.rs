//! [`Headers`]: the seam between an HTTP library and this crate.

use std::fmt;
use std::str::FromStr;

use crate::text;

/// The headers of a request, in whatever form the HTTP library hands them out.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a> {
    entries: Vec<(&'a str, &'a [u8])>,
}

/// A header that decides something came more than once. Which one a proxy and we would take may
/// differ, so neither is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header `{name}` came more than once; expected one")]
pub struct DuplicateHeader {
    /// The header's name, as the forge's documentation writes it.
    pub name: &'static str,
}

impl<'a> Headers<'a> {
    /// Takes pairs of name and value. The caller bounds their number (HTTP libraries do).
    pub fn new(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Headers<'a> {
        Headers { entries: entries.into_iter().collect() }
    }

    /// The value of the one header called `name`, in any case.
    ///
    /// # Errors
    /// [`DuplicateHeader`] where there are several, even of equal value.
    pub fn one(&self, name: &'static str) -> Result<Option<&'a [u8]>, DuplicateHeader> {
        self.one_called(name, name)
    }

    /// The same for a name that the project's configuration gives; `shown` stands for it in the error.
    pub(crate) fn one_called(
        &self,
        name: &str,
        shown: &'static str,
    ) -> Result<Option<&'a [u8]>, DuplicateHeader> {
        let mut values = self.entries.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| *value);
        if values.next().is_some() {
            return Err(DuplicateHeader { name: shown });
        }
        Ok(first)
    }
}

/// The longest name of a header taken, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// The name of a header that a project has its token sent in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeaderName(String);

/// The text names no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a header; expected 1 to 100 letters, digits and `-`, such as `X-Webhook-Token`"
)]
pub struct HeaderNameError(String);

impl HeaderName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = HeaderNameError;

    fn from_str(name: &str) -> Result<HeaderName, HeaderNameError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if fits { Ok(HeaderName(name.to_owned())) } else { Err(HeaderNameError(text::shown(name))) }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
