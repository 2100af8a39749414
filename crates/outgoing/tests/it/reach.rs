//! Which addresses are public.

use std::net::IpAddr;

use gristmill_outgoing::Reach;

fn kind(reach: &Reach, address: &str) -> &'static str {
    let address: IpAddr = address.parse().expect("an address");
    reach.check(address).map_or_else(|why| why.kind, |()| "public")
}

#[test]
fn every_block_ends_where_it_ends() {
    let reach = Reach::strangers(Vec::new());
    for (first, last, before, after, part) in [
        ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0"), "unspecified"),
        ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0"), "private"),
        ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0"), "carrier"),
        ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0"), "loopback"),
        ("168.63.129.16", "168.63.129.16", Some("168.63.129.15"), Some("168.63.129.17"), "cloud"),
        ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0"), "link-local"),
        ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0"), "private"),
        ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0"), "protocols"),
        ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0"), "documentation"),
        ("192.31.196.0", "192.31.196.255", Some("192.31.195.255"), Some("192.31.197.0"), "protocols"),
        ("192.52.193.0", "192.52.193.255", Some("192.52.192.255"), Some("192.52.194.0"), "protocols"),
        ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0"), "protocols"),
        ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0"), "private"),
        ("192.175.48.0", "192.175.48.255", Some("192.175.47.255"), Some("192.175.49.0"), "protocols"),
        ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0"), "benchmarks"),
        ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0"), "documentation"),
        ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0"), "documentation"),
        ("224.0.0.0", "239.255.255.255", Some("223.255.255.255"), None, "multicast"),
        ("240.0.0.0", "255.255.255.254", None, None, "reserved"),
        ("255.255.255.255", "255.255.255.255", None, None, "broadcast"),
        ("::", "::", None, None, "unspecified"),
        ("::1", "::1", None, None, "loopback"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", None, None, "NAT"),
        ("100::", "100::ffff:ffff:ffff:ffff", None, None, "discards"),
        ("2001::", "2001:1ff:ffff::", Some("2000:ffff::"), Some("2001:200::"), "protocols"),
        ("2001:db8::", "2001:db8:ffff::", Some("2001:db7:ffff::"), Some("2001:db9::"), "documentation"),
        (
            "2620:4f:8000::",
            "2620:4f:8000:ffff::",
            Some("2620:4f:7fff::"),
            Some("2620:4f:8001::"),
            "protocols",
        ),
        ("3fff::", "3fff:fff:ffff::", Some("3ffe:ffff::"), Some("3fff:1000::"), "documentation"),
        ("4000::", "fbff::", Some("3fff:ffff::"), None, "reserved"),
        ("5f00::", "5f00:ffff::", None, None, "reserved"),
        ("fc00::", "fdff:ffff::", None, None, "private"),
        ("fd00:ec2::254", "fd00:ec2::254", None, None, "private"),
        ("fe80::", "febf:ffff::", None, None, "link-local"),
        ("fec0::", "feff:ffff::", None, None, "site-local"),
        ("ff00::", "ffff:ffff::", None, None, "multicast"),
    ] {
        for inside in [first, last] {
            let kind = kind(&reach, inside);
            assert!(kind.contains(part), "{inside} is {kind}");
        }
        for outside in [before, after].into_iter().flatten() {
            assert_eq!(kind(&reach, outside), "public", "{outside}");
        }
    }
}

#[test]
fn an_ipv6_address_that_stands_for_an_ipv4_one_is_what_that_one_is() {
    let reach = Reach::strangers(Vec::new());
    for (v4, expected) in [
        ("127.0.0.1", "a loopback address"),
        ("169.254.169.254", "a link-local address, where clouds have their metadata service"),
        ("10.1.2.3", "a private address"),
        ("8.8.8.8", "public"),
    ] {
        let six = {
            let octets: std::net::Ipv4Addr = v4.parse().expect("an address");
            let [a, b, c, d] = octets.octets();
            format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")
        };
        for form in [
            format!("::ffff:{v4}"),
            format!("::ffff:0:{v4}"),
            format!("64:ff9b::{v4}"),
            format!("::{v4}"),
            six,
        ] {
            assert_eq!(kind(&reach, &form), expected, "{form}");
        }
    }
}

#[test]
fn what_is_allowed_is_a_network_and_no_more() {
    let reach =
        Reach::strangers(vec!["10.1.0.0/16".parse().expect("one"), "fd12::/16".parse().expect("one")]);
    for open in ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1", "8.8.8.8"] {
        assert_eq!(kind(&reach, open), "public", "{open}");
    }
    for closed in ["10.0.255.255", "10.2.0.0", "127.0.0.1", "::ffff:10.2.0.1", "fd13::1", "fe80::1"] {
        assert_ne!(kind(&reach, closed), "public", "{closed}");
    }
    for any in ["127.0.0.1", "169.254.169.254", "::1", "10.2.0.1"] {
        assert_eq!(kind(&Reach::anywhere(), any), "public", "{any}");
    }
}
