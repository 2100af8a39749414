//! The program from outside: a real server, a fake GitHub, and what readers get.
//!
//! Tests whose names begin with `mistake_NN` prove that a numbered mistake of the systems this one carries on is
//! not made; `rule_N` is a numbered rule for webhooks.

mod backup;
mod bucket;
mod bucket_faults;
mod campaign;
mod canary;
mod cli;
mod clock_jumps;
mod codecommit;
mod content;
mod control;
mod crash;
mod credentials;
mod disk;
mod download;
mod fakes;
mod forges;
mod forges_missed;
mod forges_ssh;
mod formats;
mod hooks;
mod hostile;
mod lists;
mod mending;
mod moved;
mod options;
mod post_receive;
mod proxy;
mod push;
mod remote;
mod senders;
mod serving;
mod several;
mod ssh;
mod ssh_keys;
mod sshd;
mod world;
