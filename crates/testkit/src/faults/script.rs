//! What befalls which request.

use std::collections::HashMap;
use std::time::Duration;

use super::operation::{Operation, Subject};
use crate::text::TextSource;

/// What befalls one request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is sent on after this time.
    Delay(Duration),
    /// It is answered with this status and S3's document for it, and not sent on.
    Status(u16),
    /// The server does it, and the client is told this status.
    DoneThenStatus(u16),
    /// The connection is reset before any of it is sent on.
    ResetBefore,
    /// The server gets its head and half its body; then both connections are reset.
    ResetMidway,
    /// The server does it; then the client's connection is reset.
    ResetAfter,
    /// It is not sent on and never answered: until the client leaves, or the proxy is dropped or goes away.
    Hang,
    /// The server does it, and it is never answered.
    DoneThenHang,
    /// Of the body of a success at most so many bytes arrive, and not the last; then the connection ends.
    Truncate(usize),
    /// It is not sent on, and answered with status 200 and an error: as S3 does where copying or completing an upload
    /// fails after it has begun to answer.
    ErrorIn200,
}

impl Fault {
    /// Whether a server of S3 can fail so in that operation.
    fn suits(self, operation: Operation) -> bool {
        match self {
            Fault::ErrorIn200 => matches!(
                operation,
                Operation::CopyObject | Operation::CompleteMultipartUpload | Operation::UploadPartCopy
            ),
            Fault::Truncate(_) => !matches!(operation, Operation::HeadObject | Operation::HeadBucket),
            _ => true,
        }
    }
}

/// A fault for the requests that it says; all, where it says nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    fault: Fault,
    operation: Option<Operation>,
    key: Option<String>,
    after: u32,
    times: u32,
}

impl Rule {
    /// For each request.
    pub fn new(fault: Fault) -> Rule {
        Rule { fault, operation: None, key: None, after: 0, times: u32::MAX }
    }

    /// Only for this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Rule {
        self.operation = Some(operation);
        self
    }

    /// Only for keys with this text in them.
    #[must_use]
    pub fn key(mut self, text: &str) -> Rule {
        self.key = Some(text.to_owned());
        self
    }

    /// Not for the first so many that it would be for.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Rule {
        self.after = requests;
        self
    }

    /// Only for so many.
    #[must_use]
    pub fn times(mut self, requests: u32) -> Rule {
        self.times = requests;
        self
    }

    fn is_for(&self, subject: &Subject) -> bool {
        self.operation.is_none_or(|operation| operation == subject.operation)
            && self.key.as_ref().is_none_or(|text| subject.key.contains(text))
    }
}

/// Faults by chance, from a seed. What befalls a request depends on the seed, its operation, key and part, and on how
/// many like it came before: not on what other connections do, nor on names that servers give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Odds {
    /// Another one gives another run.
    pub seed: u64,
    /// How many of a thousand requests have a fault.
    pub per_thousand: u32,
    /// Which, each as likely as the other among those that suit the operation.
    pub faults: Vec<Fault>,
}

/// Rules, and odds for what no rule is for.
#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    odds: Option<Odds>,
    /// How often each request has come.
    like_it: HashMap<u64, u64>,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn set_odds(&mut self, odds: Option<Odds>) {
        self.odds = odds;
        self.like_it.clear();
    }

    pub(super) fn clear(&mut self) {
        *self = Script::default();
    }

    pub(super) fn next(&mut self, subject: &Subject) -> Fault {
        for rule in self.rules.iter_mut().filter(|rule| rule.is_for(subject)) {
            if rule.after > 0 {
                rule.after -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return rule.fault;
            }
        }
        self.draw(subject)
    }

    fn draw(&mut self, subject: &Subject) -> Fault {
        let Some(odds) = &self.odds else { return Fault::Pass };
        let name = fnv(&format!("{:?} {} {:?}", subject.operation, subject.key, subject.part));
        let count = self.like_it.entry(name).or_default();
        let mut source = TextSource::new(fnv(&format!("{} {name} {count}", odds.seed)));
        *count += 1;
        let suiting: Vec<Fault> =
            odds.faults.iter().copied().filter(|fault| fault.suits(subject.operation)).collect();
        let hits = u32::try_from(source.below(1000)).is_ok_and(|number| number < odds.per_thousand);
        let chosen = suiting.get(source.below(suiting.len()));
        chosen.copied().filter(|_| hits).unwrap_or(Fault::Pass)
    }
}

/// FNV-1a: the same in every version of Rust, which the standard library's hash is not.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::operation::subject;
    use super::{Fault, Odds, Operation, Rule, Script};

    #[test]
    fn rules_are_counted_each_for_itself() {
        let mut script = Script::default();
        script.add(Rule::new(Fault::Hang).on(Operation::PutObject).key("a").after(1).times(2));
        script.add(Rule::new(Fault::ResetAfter).on(Operation::PutObject).times(1));
        let mut next = |request: &str| {
            let (method, target) = request.split_once(' ').expect("two words");
            script.next(&subject(method, target, false))
        };
        for (number, (request, expected)) in [
            ("GET /b/a", Fault::Pass),
            // The first is not for the first rule, so that the second has it.
            ("PUT /b/a", Fault::ResetAfter),
            ("PUT /b/x", Fault::Pass),
            ("PUT /b/a", Fault::Hang),
            ("PUT /b/xa", Fault::Hang),
            ("PUT /b/a", Fault::Pass),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(next(request), expected, "{number}: {request}");
        }
    }

    fn drawn(seed: u64, per_thousand: u32, order: impl Iterator<Item = u32>) -> Vec<(u32, Fault)> {
        let mut script = Script::default();
        let faults = vec![Fault::Status(500), Fault::ResetAfter, Fault::ErrorIn200];
        script.set_odds(Some(Odds { seed, per_thousand, faults }));
        let mut drawn: Vec<(u32, Fault)> = order
            .map(|number| (number, script.next(&subject("PUT", &format!("/b/key-{number}"), false))))
            .collect();
        drawn.sort_by_key(|(number, _)| *number);
        drawn
    }

    #[test]
    fn chance_is_the_seeds_and_not_the_orders() {
        let forth = drawn(7, 300, 0..1000);
        assert_eq!(forth, drawn(7, 300, (0..1000).rev()));
        assert_ne!(forth, drawn(8, 300, 0..1000));
        let count = |fault: Fault| forth.iter().filter(|(_, drawn)| *drawn == fault).count();
        let faults = count(Fault::Status(500)) + count(Fault::ResetAfter);
        assert!((250..350).contains(&faults), "{faults} of 300");
        assert!(count(Fault::ResetAfter) > 100, "{}", count(Fault::ResetAfter));
        // It suits no upload in one request.
        assert_eq!(count(Fault::ErrorIn200), 0);
        for (per_thousand, expected) in [(0, 0), (1000, 1000)] {
            let drawn = drawn(7, per_thousand, 0..1000);
            assert_eq!(drawn.iter().filter(|(_, fault)| *fault != Fault::Pass).count(), expected);
        }
    }

    #[test]
    fn the_same_request_again_has_another_chance() {
        let mut script = Script::default();
        script.set_odds(Some(Odds { seed: 1, per_thousand: 500, faults: vec![Fault::Hang] }));
        let faults = (0..100).filter(|_| script.next(&subject("GET", "/b/k", false)) == Fault::Hang).count();
        assert!((30..70).contains(&faults), "{faults} of 50");
    }
}
