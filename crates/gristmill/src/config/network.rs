//! `[network]`: how others are reached. And lists of networks: single addresses and CIDR blocks, IPv4 and IPv6.

use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use gristmill_git::Proxy;
use ipnet::IpNet;

use super::reader::{Field, Section};
use super::secret::{self, SecretSource};
use super::{EnvLookup, Surroundings};

/// How others are reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// The proxy for http and https. Without one, the environment's `https_proxy` and its like count for git.
    pub proxy: Option<ProxySource>,
    /// What is reached without the proxy, as `no_proxy` has it: names, addresses and networks, with commas between.
    pub no_proxy: String,
    /// Private networks in which addresses may lie that repositories and answers name. What the configuration names
    /// needs no permission.
    pub allow: Vec<IpNet>,
}

/// Where the proxy's address is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProxySource {
    /// It stands in the file and has no password.
    Plain(String),
    /// It is a secret, because it has a password.
    Secret(SecretSource),
}

impl Network {
    /// The proxy for git, ready to be used; a secret is read.
    pub fn proxy(&self, env: &EnvLookup) -> anyhow::Result<Option<Proxy>> {
        let Some(address) = self.address(env)? else { return Ok(None) };
        Ok(Some(address.parse::<Proxy>()?.without(&self.no_proxy)?))
    }

    /// The proxy for our own calls: the same, or the one that the environment names, which git reads by itself.
    pub fn own_proxy(&self, env: &EnvLookup) -> anyhow::Result<Option<gristmill_outgoing::Proxy>> {
        let one_of = |names: &[&str]| names.iter().find_map(|name| env(name).filter(|text| !text.is_empty()));
        let (address, no_proxy) = match self.address(env)? {
            Some(address) => (address, self.no_proxy.clone()),
            None => {
                let named = one_of(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]);
                let Some(address) = named else { return Ok(None) };
                // As curl has it.
                let address = if address.contains("://") { address } else { format!("http://{address}") };
                (address, one_of(&["no_proxy", "NO_PROXY"]).unwrap_or_default())
            }
        };
        Ok(Some(address.parse::<gristmill_outgoing::Proxy>()?.without(&no_proxy)?))
    }

    fn address(&self, env: &EnvLookup) -> anyhow::Result<Option<String>> {
        match &self.proxy {
            None => Ok(None),
            Some(ProxySource::Plain(address)) => Ok(Some(address.clone())),
            Some(ProxySource::Secret(source)) => {
                let text = String::from_utf8(source.resolve(env)?).ok();
                text.context("the proxy's address is not UTF-8 text").map(Some)
            }
        }
    }
}

/// Reads the table.
pub(super) fn read(mut section: Section<'_>, folder: &Path, around: &Surroundings) -> Network {
    let proxy_field = section.get("proxy");
    let proxy = proxy_field.as_ref().and_then(|field| read_proxy(field, folder));
    let no_proxy = section.get("no_proxy").and_then(|field| read_no_proxy(&field, proxy_field.is_some()));
    let allow = section.get("allow").and_then(|field| networks(&field)).unwrap_or_default();
    section.finish();
    let network = Network { proxy, no_proxy: no_proxy.unwrap_or_default(), allow };
    if let (Some(field), true, Some(ProxySource::Secret(source))) =
        (&proxy_field, around.needs_secrets, &network.proxy)
    {
        secret::check(field, source, &*around.env);
        if source.resolve(&*around.env).is_ok()
            && let Err(error) = network.proxy(&*around.env)
        {
            field.error(format!("`proxy`: {error}"));
        }
    }
    network
}

fn read_proxy(field: &Field<'_>, folder: &Path) -> Option<ProxySource> {
    let Some(text) = field.as_text() else {
        return secret::read_source(field, folder).map(ProxySource::Secret);
    };
    if text.contains('@') {
        // Not repeated, whatever it is.
        field.error("`proxy` has a user or a password in it; put the whole address into a file that only the server can read, or into its environment, and write { env = \"NAME\" } or { file = \"path\" }");
        return None;
    }
    let _: Proxy = field.parsed("a proxy, such as \"http://proxy.example.org:3128\"")?;
    Some(ProxySource::Plain(text.to_owned()))
}

/// A list of names, addresses and networks, as the variable `no_proxy` has them.
fn read_no_proxy(field: &Field<'_>, has_proxy: bool) -> Option<String> {
    let expected = "a list of names, addresses and networks, such as [\".example.org\", \"10.0.0.0/8\"]";
    let plain = |text: &str| !text.is_empty() && !text.contains([',', ' ']);
    let mut names = Vec::new();
    for field in field.list(expected)? {
        let one =
            field.text_as("a name, an address or a network", |text| plain(text).then(|| text.to_owned()))?;
        names.push(one);
    }
    let names = names.join(",");
    let any: Proxy = "http://proxy.example.org".parse().expect("a proxy");
    if let Err(error) = any.without(&names) {
        field.error(format!("`no_proxy`: {error}"));
        return None;
    }
    if !has_proxy {
        field.error("`no_proxy` says what is reached without `proxy`, and there is none; add it, or leave `no_proxy` out");
        return None;
    }
    Some(names)
}

/// The longest list of the big forges has some 4 000 blocks; each costs a comparison a delivery.
const NETWORKS_MAX: usize = 10_000;

/// The networks of a list. An address that is no list counts as one of one element.
pub(super) fn networks(field: &Field<'_>) -> Option<Vec<IpNet>> {
    let expected = "a list of addresses and networks, such as [\"192.30.252.0/22\", \"2a0a:a440::/29\"]";
    let fields = if field.is_list() { field.list(expected)? } else { vec![field.clone()] };
    if fields.is_empty() || fields.len() > NETWORKS_MAX {
        field.error(format!(
            "a list of {} networks; expected 1 to {NETWORKS_MAX} (to let everybody in, leave it out)",
            fields.len()
        ));
        return None;
    }
    let mut networks = Vec::with_capacity(fields.len());
    for field in &fields {
        networks.push(field.text_as("an address or a network, such as \"192.30.252.0/22\"", network)?);
    }
    Some(networks)
}

/// One network; what lies behind its prefix is cut off, and IPv4 written as IPv6 becomes IPv4.
fn network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    let network = text.parse::<IpNet>().ok()?.trunc();
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(length)) if matches!(network, IpNet::V6(_)) => {
            IpNet::new(IpAddr::V4(address), length).ok()
        }
        _ => Some(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_or_blocks() {
        for (text, expected) in [
            ("192.30.252.0/22", Some("192.30.252.0/22")),
            ("192.30.253.7/22", Some("192.30.252.0/22")),
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("::1", Some("::1/128")),
            ("2a0a:a440::/29", Some("2a0a:a440::/29")),
            ("::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("192.0.2.1/33", None),
            ("192.0.2", None),
            ("0xC0.0.2.1", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), expected, "{text}");
        }
    }
}
