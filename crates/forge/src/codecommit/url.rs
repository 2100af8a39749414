//! Addresses of Amazon SNS, as far as a message may name them.

/// Whether `url` is where SNS keeps a certificate: `https://sns.<region>.amazonaws.com/….pem`.
pub(super) fn is_certificate(url: &str) -> bool {
    let is_path = |path: &str| {
        let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
        path.len() > ".pem".len() && path.ends_with(".pem") && plain && !path.contains("..")
    };
    path_at_sns(url).is_some_and(is_path)
}

/// Whether visiting `url` confirms a subscription: `https://sns.<region>.amazonaws.com/?Action=ConfirmSubscription&…`.
pub(super) fn is_confirmation(url: &str) -> bool {
    let is_query =
        |query: &str| query.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"&=%:._~+-".contains(&byte));
    path_at_sns(url)
        .and_then(|path| path.strip_prefix("?Action=ConfirmSubscription&"))
        .is_some_and(|query| !query.is_empty() && is_query(query))
}

/// The longest address taken, in bytes.
const URL_BYTES_MAX: usize = 2_000;

/// What follows the first slash, where the host is one of SNS's, the scheme https and the port its own.
/// Compared byte by byte: what would need decoding, folding or a second look is no address of SNS.
fn path_at_sns(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").filter(|_| url.len() <= URL_BYTES_MAX)?;
    let (authority, path) = rest.split_once('/')?;
    let host = authority.strip_suffix(":443").unwrap_or(authority);
    let labels = host.strip_prefix("sns.")?;
    let region =
        labels.strip_suffix(".amazonaws.com").or_else(|| labels.strip_suffix(".amazonaws.com.cn"))?;
    let is_region = !region.is_empty()
        && !region.starts_with('-')
        && !region.ends_with('-')
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_region.then_some(path)
}
