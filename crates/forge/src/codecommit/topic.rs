//! [`TopicArn`]: which topic of Amazon SNS a project listens to.

use std::fmt;
use std::str::FromStr;

use crate::text;

/// The longest name of a topic, in bytes; Amazon's own limit.
const NAME_BYTES_MAX: usize = 256;

/// The name of a topic, such as `arn:aws:sns:eu-west-1:123456789012:pushes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicArn(String);

/// The text names no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the ARN of a topic of Amazon SNS; expected one such as `arn:aws:sns:eu-west-1:123456789012:pushes`"
)]
pub struct TopicArnError(String);

impl TopicArn {
    /// The ARN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicArn {
    type Err = TopicArnError;

    fn from_str(text: &str) -> Result<TopicArn, TopicArnError> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_place = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        let is_account = |part: &str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = |part: &str| {
            (1..=NAME_BYTES_MAX).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        match parts.as_slice() {
            ["arn", partition, "sns", region, account, name]
                if is_place(partition) && is_place(region) && is_account(account) && is_name(name) =>
            {
                Ok(TopicArn(text.to_owned()))
            }
            _ => Err(TopicArnError(text::shown(text))),
        }
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
