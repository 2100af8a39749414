//! The addresses that are not on the public internet.
//!
//! Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and what it was extended by), RFC
//! 1918, RFC 4193, RFC 4291, RFC 6598. Blocks for protocols that are partly reachable from everywhere, such as
//! 192.0.0.0/24, are refused whole: nobody serves a repository there.

use std::net::{Ipv4Addr, Ipv6Addr};

const PRIVATE: &str = "a private address";
const LINK_LOCAL: &str = "a link-local address, where clouds have their metadata service";
const LOOPBACK: &str = "a loopback address";
const DOCUMENTATION: &str = "an address for documentation";
const PROTOCOL: &str = "an address reserved for protocols";
const MULTICAST: &str = "a multicast address";
const METADATA: &str = "an address of a cloud's own services";

/// Network, length of its prefix, what it is. The first that matches counts.
const V4: [([u8; 4], u32, &str); 20] = [
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, PRIVATE),
    ([100, 64, 0, 0], 10, "an address shared behind a carrier's NAT"),
    ([127, 0, 0, 0], 8, LOOPBACK),
    // Azure's WireServer: the one metadata service in a public block. Documented by Microsoft as "IP address
    // 168.63.129.16".
    ([168, 63, 129, 16], 32, METADATA),
    ([169, 254, 0, 0], 16, LINK_LOCAL),
    ([172, 16, 0, 0], 12, PRIVATE),
    ([192, 0, 0, 0], 24, PROTOCOL),
    ([192, 0, 2, 0], 24, DOCUMENTATION),
    ([192, 31, 196, 0], 24, PROTOCOL),
    ([192, 52, 193, 0], 24, PROTOCOL),
    ([192, 88, 99, 0], 24, PROTOCOL),
    ([192, 168, 0, 0], 16, PRIVATE),
    ([192, 175, 48, 0], 24, PROTOCOL),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([198, 51, 100, 0], 24, DOCUMENTATION),
    ([203, 0, 113, 0], 24, DOCUMENTATION),
    ([224, 0, 0, 0], 4, MULTICAST),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// What the address is where it is not public. Those that stand for an IPv4 address are that one's matter.
pub(crate) fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let of = |&(net, prefix, _): &([u8; 4], u32, &str)| {
        (bits ^ Ipv4Addr::from(net).to_bits()) >> (32 - prefix) == 0
    };
    V4.iter().find(|block| of(block)).map(|block| block.2)
}

/// The first three segments of a network, length of its prefix, what it is. The first that matches counts.
const V6: [([u16; 3], u32, &str); 10] = [
    ([0xfc00, 0, 0], 7, PRIVATE),
    ([0xfe80, 0, 0], 10, LINK_LOCAL),
    ([0xfec0, 0, 0], 10, "a site-local address"),
    ([0xff00, 0, 0], 8, MULTICAST),
    // With Teredo, ORCHID and benchmarks in it.
    ([0x2001, 0, 0], 23, PROTOCOL),
    ([0x2001, 0xdb8, 0], 32, DOCUMENTATION),
    ([0x3fff, 0, 0], 20, DOCUMENTATION),
    ([0x2620, 0x4f, 0x8000], 48, PROTOCOL),
    ([0x100, 0, 0], 16, "an address that discards"),
    ([0x64, 0xff9b, 1], 48, "an address of a NAT of this network"),
];

/// See [`special_v4`].
pub(crate) fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("an unspecified address");
    }
    if address.is_loopback() {
        return Some(LOOPBACK);
    }
    let bits = address.to_bits();
    let of = |&([a, b, c], prefix, _): &([u16; 3], u32, &str)| {
        (bits ^ Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits()) >> (128 - prefix) == 0
    };
    if let Some(block) = V6.iter().find(|block| of(block)) {
        return Some(block.2);
    }
    // Only these are given out as addresses of the internet: RFC 4291, 2.4, and IANA's list of global unicast.
    let is_global_unicast = address.segments()[0] & 0xe000 == 0x2000;
    (!is_global_unicast).then_some("a reserved address")
}
