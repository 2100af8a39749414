//! [`Fault`]: how a fake forge misbehaves.

/// What of the forge misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Git over HTTP.
    Git,
    /// The API.
    Api,
    /// Downloads of archives, wherever they are.
    Downloads,
}

/// How the server misbehaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// Answers each request with this status.
    Status(u16),
    /// Takes requests and never answers.
    Hang,
    /// Closes connections before it answers.
    Refuse,
    /// Sends at most about so many bytes a second.
    Slow(u32),
    /// Sends everybody to another server: what stands here and the path.
    Redirect(String),
    /// Sends everybody to exactly this address.
    RedirectTo(String),
    /// Closes the connection after so many bytes of the body, whose length was announced.
    Cut(usize),
    /// Answers as the forge does to whom it has too many requests from: come back in so many seconds.
    Limited(u64),
    /// Answers each request with this status and body.
    Body(u16, String),
    /// Misbehaves so many times, then no more.
    Times(u32, Box<Fault>),
}

impl Fault {
    /// What befalls the next request; counts where that is counted.
    pub(super) fn next(&mut self) -> Fault {
        let Fault::Times(left, fault) = self else { return self.clone() };
        if *left == 0 {
            return Fault::None;
        }
        *left -= 1;
        fault.next()
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn faults_are_counted() {
        let mut twice = Fault::Times(2, Box::new(Fault::Status(503)));
        let seen: Vec<Fault> = (0..3).map(|_| twice.next()).collect();
        assert_eq!(seen, [Fault::Status(503), Fault::Status(503), Fault::None]);
        assert_eq!(Fault::Hang.next(), Fault::Hang);
    }
}
