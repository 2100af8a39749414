//! The fake forges behave as the forges' documentation says.

mod api;
mod azure;
mod bitbucket;
mod bitbucket_server;
mod delivered;
mod faults;
mod gitea;
mod github;
mod gitlab;
mod push;
mod recorded;
mod ssh;
