//! Git as Gristmill uses it: remotes are asked and mirrored by the `git` program, objects are read in process.
//!
//! * [`Git`] is the configured program. It runs each command in an environment of its own, in a process
//!   group of its own, with bounded time and output; dropping the future ends the whole group.
//! * [`RemoteUrl`] is an address that was checked at the edge; [`Remote`] adds what is needed to be let in.
//! * [`DeployKey`] and [`HostKeys`] are for ssh, [`Credentials`] and [`CredentialHelper`] for https, [`Proxy`] for the way.
//! * [`Mirror`] is a bare repository per project. It brings exact commits and keeps them.
//!   A partial one ([`MirrorKind`]) leaves out the contents of files that no wanted commit has.
//! * [`Import`] puts content into a mirror that came another way than by git.
//! * [`Objects`] reads commits, trees and blobs of a mirror without starting a process.
//! * [`Checkout`] is a repository of somebody else's, with a work tree, that is only read.
//! * [`LfsPointer`], [`Git::lfs_authenticate`] and [`Mirror::put_lfs`] are for large files, [`Mirror::submodules`] for other repositories.
//!
//! # What keeps a stranger's repository from running anything here
//!
//! Nothing is ever checked out. A shell sees two texts, both constant but for a quoted path of ours: git's own start
//! of `git-upload-pack` for repositories on this machine, and how ssh and the store of tokens are named. The environment is emptied; neither system nor user configuration is read;
//! hooks, fsmonitor, maintenance and submodules are off; exactly the one transport that the address names is
//! allowed (`GIT_ALLOW_PROTOCOL`), so `ext::` and remote helpers cannot be reached. Values that come from
//! outside are parsed into types first and stand behind `--`. Redirects are not followed.
//!
//! `transfer.fsckObjects` stays off on purpose: it refuses many honest old histories (zero-padded modes,
//! missing taggers), while `index-pack` checks every object's hash anyway and [`Objects::walk`] refuses the
//! trees that could do harm when unpacked.
//!
//! A repository on this machine may belong to another user. `upload-pack` then wants `safe.directory`, which it
//! takes from no command line (git clears `-c` for it), so a configuration file of ours that says
//! `safe.directory = *` is named for `file` remotes alone. That is safe because upload-pack runs no command that
//! the served repository's configuration names: `uploadpack.packObjectsHook` counts only in protected
//! configuration, and it neither uses an index (fsmonitor) nor runs hooks.

mod access;
mod checkout;
mod classify;
mod credentials;
mod deploykey;
mod error;
mod fetch;
mod helper;
mod hostkeys;
mod import;
mod join;
mod leftovers;
mod lfs;
mod lfs_held;
mod lfs_put;
mod lfs_ssh;
mod limit;
mod lock;
mod mirror;
mod objects;
mod orphan;
mod own_clone;
mod partial;
mod process;
mod program;
mod protocol;
mod proxy;
mod refs;
mod remote;
mod repair;
mod settings;
mod submodules;
mod url;
mod url_error;
mod vault;
mod version;
mod walk;
mod whole;

pub use checkout::{Changed, Checkout, CheckoutError};
pub use credentials::Credentials;
pub use deploykey::{DeployKey, DeployKeyError};
pub use error::{GitError, ObjectError};
pub use helper::CredentialHelper;
pub use hostkeys::{HostKeyError, HostKeys};
pub use import::{Import, ImportStream};
pub use lfs::{LfsOid, LfsPointer, PointerFault};
pub use lfs_held::{LfsLimits, LfsObjects};
pub use lfs_put::{Authorization, LfsIncoming};
pub use lfs_ssh::LfsAnswer;
pub use limit::Limit;
pub use mirror::{FetchLimits, Fetched, Maintained, Mirror, Reachability, Wanted};
pub use objects::{CommitInfo, Objects};
pub use own_clone::{CloneFile, CloneLimits, OwnClone};
pub use partial::MirrorKind;
pub use program::{Git, GitOptions, PASSED_ENV};
pub use protocol::Protocol;
pub use proxy::{Proxy, ProxyError};
pub use refs::{ListLimits, RemoteRef, RemoteRefs};
pub use remote::{Host, Remote, SshAccess};
pub use submodules::{Submodule, SubmoduleLimits, Submodules};
pub use url::RemoteUrl;
pub use url_error::UrlError;
pub use version::{PARTIAL_VERSION_MIN, VERSION_MIN, Version};
pub use walk::{Entry, EntryMode, WalkLimits};
