//! [`Headers`]: the seam between an HTTP library and this crate.

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
        let mut values = self.entries.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| *value);
        if values.next().is_some() {
            return Err(DuplicateHeader { name });
        }
        Ok(first)
    }
}
