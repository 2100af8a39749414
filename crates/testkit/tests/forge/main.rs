//! The fake forges behave as the forges' documentation says.

mod api;
mod bitbucket;
mod delivered;
mod faults;
mod gitea;
mod github;
mod gitlab;
mod push;
mod ssh;
