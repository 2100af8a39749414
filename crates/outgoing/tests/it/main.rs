//! The border, from outside.

mod client;
mod gate;
mod names;
mod proxies;
mod reach;
mod ssrf;
mod tls;
mod urls;
