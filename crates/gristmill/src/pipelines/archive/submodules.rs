//! The content of submodules, each from a mirror of its own.
//!
//! Which repositories those are, a file of the repository says: a stranger's word. So:
//!
//! * What lies on the scheme, host and port of the project's own address is the operator's own server. It gets
//!   the project's token or key, and may be in a private network.
//! * Everything else is reached by https alone (by http where the project itself is), without credentials, and only
//!   on public addresses.
//! * A mirror that was fetched as the operator's is that project's: what it may read, by its credentials or because
//!   its server lies in a private network, others may not. Strangers' are shared by their address.
//!
//! The tree pins each submodule's commit, so the step's key needs nothing of them.

use std::collections::HashMap;
use std::path::PathBuf;

use gristmill_git::{
    FetchLimits, Fetched, GitError, Mirror, Protocol, Remote, RemoteUrl, Submodule, SubmoduleLimits, Wanted,
};
use gristmill_model::{ArchiveOptions, CommitId, Digest, PublicReason};
use gristmill_outgoing::Whose;

use super::assemble::{Part, git_error, members_of};
use super::budget::Budget;
use super::fetch;
use super::outside::Outside;
use super::public;
use super::source::{Member, Planned, Source, shown};
use crate::worker::step::{Step, StepError, Subject};

/// The most submodules of an archive, those within others included.
const MODULES_MAX: usize = 200;
/// The most members that an archive has with its submodules.
const MEMBERS_MAX: usize = 2_000_000;

/// Where a submodule may be fetched from, or why not.
fn judge(own: &RemoteUrl, module: &RemoteUrl) -> Result<Whose, &'static str> {
    if let (Some(own), Some(module)) = (own.file_path(), module.file_path()) {
        let beside = own.parent().is_some_and(|folder| module.starts_with(folder));
        return beside
            .then_some(Whose::Operators)
            .ok_or("only repositories in the folder of the project's own one are taken from this machine");
    }
    // Another user of ssh is let in to other things, if by the same key.
    let user = |url: &RemoteUrl| url.user().unwrap_or("git").to_owned();
    let server = |url: &RemoteUrl| (url.protocol(), user(url), url.host().cloned(), port(url));
    if server(own) == server(module) {
        return Ok(Whose::Operators);
    }
    match module.protocol() {
        Protocol::Https => Ok(Whose::Strangers),
        Protocol::Http if own.protocol() == Protocol::Http => Ok(Whose::Strangers),
        Protocol::Http => Err("http:// is neither private nor safe from changes on the way; use https://"),
        Protocol::Ssh => Err("the project's key is for its own server; use https:// for a public repository"),
        Protocol::Git | Protocol::File => Err("only https:// is taken from other servers"),
    }
}

fn port(url: &RemoteUrl) -> Option<u16> {
    url.port().or(match url.protocol() {
        Protocol::Https => Some(443),
        Protocol::Http => Some(80),
        Protocol::Ssh => Some(22),
        Protocol::Git => Some(9418),
        Protocol::File => None,
    })
}

/// A commit whose submodules are looked for.
struct Level {
    mirror: Mirror,
    url: RemoteUrl,
    commit: CommitId,
    level: usize,
    /// Where its files lie in the archive: empty, or with a slash at its end.
    prefix: Vec<u8>,
}

/// Puts the content of submodules at their paths.
pub(super) struct Gathering<'a> {
    pub(super) step: &'a Step,
    pub(super) subject: &'a Subject,
    pub(super) options: &'a ArchiveOptions,
    /// The project's own address, with what lets us in.
    pub(super) own: &'a Remote,
    /// The way to strangers' servers.
    pub(super) outside: Option<&'a Outside>,
    /// What all of them may have.
    pub(super) budget: Budget,
    /// Their mirrors.
    pub(super) mirrors: Vec<Mirror>,
}

impl Gathering<'_> {
    /// Replaces the folders of submodules among the members of `part` by what they hold, to the last level.
    pub(super) async fn gather(
        &mut self,
        part: &Part<'_>,
        planned: Vec<Planned>,
        source: &mut Source,
    ) -> Result<Vec<Planned>, StepError> {
        let mut contents: HashMap<Vec<u8>, Vec<Planned>> = HashMap::new();
        let first = Level {
            mirror: part.mirror.clone(),
            url: part.remote.url.clone(),
            commit: part.commit,
            level: 0,
            prefix: Vec::new(),
        };
        let mut wanted = folders(&planned);
        let mut levels = vec![first];
        while let Some(level) = levels.pop() {
            for module in self.modules(&level).await? {
                let path = [level.prefix.as_slice(), module.path.as_bytes()].concat();
                // Left out by `export-ignore`.
                if !wanted.contains(&path) {
                    continue;
                }
                let (inner, members) = self.module(&level, &module, path.clone(), source).await?;
                wanted.extend(folders(&members));
                contents.insert(path, members);
                levels.push(inner);
            }
        }
        let planned = spread(planned, &mut contents);
        if planned.len() > MEMBERS_MAX {
            let what = format!("with its submodules the archive has more than {MEMBERS_MAX} members");
            return Err(StepError::fail(what).told(PublicReason::TreeTooLarge));
        }
        Ok(planned)
    }

    async fn modules(&self, level: &Level) -> Result<Vec<Submodule>, StepError> {
        let limits = SubmoduleLimits::default();
        let found = level.mirror.submodules(&level.url, level.commit, level.level, limits).await;
        let found = found.map_err(git_error)?;
        match found.unnamed.first() {
            None => Ok(found.modules),
            Some(path) => Err(StepError::fail(format!(
                "commit {} of {} pins a submodule at {}, and its .gitmodules does not say where that lies",
                level.commit,
                level.url,
                shown(path.as_bytes())
            ))
            .told(PublicReason::ModulesRefused)),
        }
    }

    /// Fetches one and lists its members by their names in the archive.
    async fn module(
        &mut self,
        above: &Level,
        module: &Submodule,
        path: Vec<u8>,
        source: &mut Source,
    ) -> Result<(Level, Vec<Planned>), StepError> {
        if self.mirrors.len() >= MODULES_MAX {
            let what = format!("there are more than {MODULES_MAX} submodules");
            let max = u32::try_from(MODULES_MAX).expect("a small number");
            return Err(StepError::fail(what).told(PublicReason::ModulesTooMany(max)));
        }
        let named = |why: &dyn std::fmt::Display| {
            let name = shown(&path);
            StepError::fail(format!("the submodule {name} ({}) cannot be fetched: {why}", module.url))
        };
        let whose =
            judge(&self.own.url, &module.url).map_err(|why| named(&why).told(PublicReason::ModuleServer))?;
        let (git, remote) = match whose {
            Whose::Operators => (&self.step.app.git, Remote { url: module.url.clone(), ..self.own.clone() }),
            Whose::Strangers => {
                let outside = self.outside.ok_or_else(|| named(&"there is no way to other servers"))?;
                (&outside.git, Remote::open(module.url.clone()))
            }
        };
        let mirror = Mirror::open_or_create(git, self.folder(whose, &remote.url)).await.map_err(git_error)?;
        // No archive needs a submodule's history. A partial mirror that another project began will do, and is filled.
        let mirror = mirror.of_kind(fetch::kind(self.subject)).without_history();
        let wanted = Wanted { git_ref: None, commit: module.commit };
        let commit = fetch::mend(&mirror, self.fetch(&mirror, &remote, &wanted, &named).await).await?;
        let part = Part {
            mirror: &mirror,
            remote: &remote,
            commit: commit.commit,
            decoration: "HEAD".to_owned(),
            whose,
            budget: &self.budget,
        };
        let mut members =
            fetch::mend(&mirror, members_of(self.step, self.options, &part, source).await).await?;
        let prefix = [path.as_slice(), b"/"].concat();
        for one in &mut members {
            one.name = [prefix.as_slice(), &one.name].concat();
        }
        self.step.log.line(&format!("submodule {}: {} of {}", shown(&path), commit.commit, module.url));
        self.mirrors.push(mirror.clone());
        let (level, url) = (above.level + 1, module.url.clone());
        Ok((Level { mirror, url, commit: commit.commit, level, prefix }, members))
    }

    /// Brings a submodule's commit, within what is left for all of them.
    async fn fetch(
        &self,
        mirror: &Mirror,
        remote: &Remote,
        wanted: &Wanted,
        named: &(dyn Fn(&dyn std::fmt::Display) -> StepError + Sync),
    ) -> Result<Fetched, StepError> {
        mirror.used().map_err(git_error)?;
        // What a mirror has counts once.
        let is_counted = self.mirrors.iter().any(|known| known.dir() == mirror.dir());
        let counted = if is_counted { mirror.bytes() } else { 0 };
        let limits = || {
            Ok::<_, StepError>(FetchLimits {
                time_max: self.budget.time()?,
                mirror_bytes_max: self.budget.bytes().saturating_add(counted),
                ..fetch::limits(self.step)
            })
        };
        let failed = |error: GitError| match error {
            GitError::TooLarge { .. } => {
                let too_much = self.budget.too_much();
                named(&too_much).told(too_much.public())
            }
            error if error.is_transient() && !matches!(error, GitError::Unreachable { .. }) => {
                git_error(error)
            }
            error if error.is_transient() => StepError::retry(error).told(PublicReason::ModuleUnfetched),
            error => named(&error).told(public::of_module(&error, wanted.commit)),
        };
        let fetched = mirror.fetch(remote, wanted, limits()?).await.map_err(failed)?;
        mirror.fill(remote, fetched.commit, limits()?).await.map_err(failed)?;
        self.budget.take(mirror.bytes().saturating_sub(counted))?;
        Ok(fetched)
    }

    /// The folder of a submodule's mirror.
    fn folder(&self, whose: Whose, url: &RemoteUrl) -> PathBuf {
        let app = &self.step.app;
        let above = match whose {
            Whose::Operators => app.mirror_folder(self.subject.run.project),
            Whose::Strangers => app.mirrors.clone(),
        };
        above.join(super::SUBMODULES).join(Digest::of(url.to_string().as_bytes()).to_hex())
    }
}

fn folders(planned: &[Planned]) -> std::collections::HashSet<Vec<u8>> {
    let folders = planned.iter().filter(|one| matches!(one.member, Member::Folder));
    folders.map(|one| one.name.clone()).collect()
}

/// Each folder that has content, replaced by it, at its place. A submodule without any file stays a folder.
fn spread(planned: Vec<Planned>, contents: &mut HashMap<Vec<u8>, Vec<Planned>>) -> Vec<Planned> {
    let mut whole = Vec::with_capacity(planned.len());
    for one in planned {
        match contents.remove(&one.name).filter(|members| !members.is_empty()) {
            Some(members) if matches!(one.member, Member::Folder) => whole.extend(spread(members, contents)),
            _ => whole.push(one),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_private_networks_are_for_the_projects_own_server() {
        let judged = |own: &str, module: &str| {
            let url = |text: &str| text.parse::<RemoteUrl>().expect("an address");
            judge(&url(own), &url(module)).map_err(|why| why.split([' ', ':']).next().unwrap_or_default())
        };
        let https = "https://git.acme.org/acme/shop.git";
        for (own, module, expected) in [
            (https, "https://git.acme.org/other/lib", Ok(Whose::Operators)),
            (https, "https://GIT.acme.org:443/other/lib", Ok(Whose::Operators)),
            (https, "https://git.acme.org:8443/other/lib", Ok(Whose::Strangers)),
            (https, "https://git.acme.org.evil.example/lib", Ok(Whose::Strangers)),
            (https, "https://127.0.0.1/lib", Ok(Whose::Strangers)),
            (https, "http://git.acme.org/other/lib", Err("http")),
            (https, "ssh://git@git.acme.org/other/lib", Err("the")),
            (https, "git://git.acme.org/other/lib", Err("only")),
            (https, "file:///srv/git/lib.git", Err("only")),
            ("http://git.acme.org/a/b", "http://git.acme.org/c", Ok(Whose::Operators)),
            ("http://git.acme.org/a/b", "http://elsewhere.example/c", Ok(Whose::Strangers)),
            ("ssh://git@git.acme.org/a/b", "git@git.acme.org:c/d", Ok(Whose::Operators)),
            ("ssh://git@git.acme.org/a/b", "ssh://git@git.acme.org:2222/c/d", Err("the")),
            ("ssh://git@git.acme.org/a/b", "ssh://git.acme.org/c/d", Ok(Whose::Operators)),
            ("ssh://git@git.acme.org/a/b", "ssh://root@git.acme.org/c/d", Err("the")),
            ("root@git.acme.org:a/b", "ssh://git.acme.org/c/d", Err("the")),
            ("git@git.acme.org:a/b", "https://git.acme.org/c/d", Ok(Whose::Strangers)),
            ("file:///srv/git/shop.git", "file:///srv/git/lib.git", Ok(Whose::Operators)),
            ("file:///srv/git/shop.git", "file:///srv/git/deep/lib.git", Ok(Whose::Operators)),
            ("file:///srv/git/shop.git", "file:///srv/github/lib.git", Err("only")),
            ("file:///srv/git/shop.git", "file:///home/somebody/lib.git", Err("only")),
        ] {
            assert_eq!(judged(own, module), expected, "{own} {module}");
        }
    }
}
