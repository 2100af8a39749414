//! Lists of networks: single addresses and CIDR blocks, IPv4 and IPv6.

use std::net::IpAddr;

use ipnet::IpNet;

use super::reader::Field;

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
