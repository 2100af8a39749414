//! Who sent a request: the address at the other end of the connection or, behind proxies that the
//! configuration names, the one that they passed on in `X-Forwarded-For`.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ipnet::IpNet;

/// More hops than this are no real chain of proxies.
const HOPS_MAX: usize = 20;

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The client's address: the last one in `X-Forwarded-For` that is no trusted proxy's, where the
    /// request came from a trusted proxy. Each proxy appends the address it saw, so that everything
    /// before is what the client made up. `None` where a trusted proxy passed on something else.
    pub fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
        let mut client = self.0.to_canonical();
        if !is_within(client, proxies) {
            return Some(client);
        }
        let mut hops = 0;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in value.to_str().ok()?.rsplit(',') {
                hops += 1;
                client = (hops <= HOPS_MAX).then(|| address(hop.trim()))??;
                if !is_within(client, proxies) {
                    return Some(client);
                }
            }
        }
        Some(client)
    }
}

/// An address as proxies write it: some add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, _)) => inside,
        None => text,
    };
    let found = bare
        .parse::<IpAddr>()
        .or_else(|_| bare.parse::<std::net::SocketAddrV4>().map(|both| IpAddr::V4(*both.ip())));
    found.ok().map(|address| address.to_canonical())
}

/// Whether the address is in one of the networks.
pub fn is_within(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Peer(peer.parse().unwrap()).client(&headers, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_who_the_last_trusted_proxy_saw() {
        for (peer, forwarded, expected) in [
            // Without a proxy the header is the client's own invention.
            ("198.51.100.7", &["192.0.2.1"][..], Some("198.51.100.7")),
            ("198.51.100.7", &[], Some("198.51.100.7")),
            ("::ffff:198.51.100.7", &[], Some("198.51.100.7")),
            ("10.1.2.3", &[], Some("10.1.2.3")),
            ("10.1.2.3", &["192.0.2.1"], Some("192.0.2.1")),
            ("::ffff:10.1.2.3", &["192.0.2.1"], Some("192.0.2.1")),
            ("10.1.2.3", &["203.0.113.9, 192.0.2.1"], Some("192.0.2.1")),
            ("10.1.2.3", &["203.0.113.9, 192.0.2.1 ,10.9.9.9,  fd00::5"], Some("192.0.2.1")),
            ("10.1.2.3", &["203.0.113.9", "192.0.2.1", "10.9.9.9"], Some("192.0.2.1")),
            ("fd00::1", &["2001:db8::1"], Some("2001:db8::1")),
            ("10.1.2.3", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("10.1.2.3", &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            ("10.1.2.3", &["10.0.0.9"], Some("10.0.0.9")),
            ("10.1.2.3", &["unknown"], None),
            ("10.1.2.3", &["192.0.2.1, "], None),
            ("10.1.2.3", &["192.0.2.1 10.0.0.1"], None),
            ("10.1.2.3", &["192.0.2.1\u{e9}"], None),
        ] {
            assert_eq!(client(peer, forwarded).as_deref(), expected, "{peer} {forwarded:?}");
        }
        let hops = ["10.0.0.1"; HOPS_MAX].join(",");
        assert_eq!(client("10.1.2.3", &[&hops]).as_deref(), Some("10.0.0.1"));
        let more = ["10.0.0.1"; HOPS_MAX + 1].join(",");
        assert_eq!(client("10.1.2.3", &[&more]), None);
    }

    #[test]
    fn an_address_is_within_its_network_however_it_is_written() {
        let networks: Vec<IpNet> =
            ["192.30.252.0/22", "2a0a:a440::/29"].map(|text| text.parse().unwrap()).into();
        for (address, expected) in [
            ("192.30.252.0", true),
            ("192.30.255.255", true),
            ("::ffff:192.30.252.9", true),
            ("192.30.251.255", false),
            ("192.31.0.0", false),
            ("2a0a:a447:ffff::1", true),
            ("2a0a:a448::1", false),
        ] {
            assert_eq!(is_within(address.parse().unwrap(), &networks), expected, "{address}");
        }
        assert!(!is_within("192.0.2.1".parse().unwrap(), &[]));
    }
}
