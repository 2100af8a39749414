//! [`Reach`]: which addresses may be connected to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::address;

/// Which addresses may be connected to.
#[derive(Debug, Clone)]
pub struct Reach {
    anywhere: bool,
    allow: Vec<IpNet>,
}

/// An address that is not on the public internet, and what it is instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPublic {
    /// The address, as it was going to be connected to.
    pub address: IpAddr,
    /// What it is, such as `a loopback address`.
    pub kind: &'static str,
}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.address, self.kind)
    }
}

impl Reach {
    /// For URLs that strangers wrote: public addresses, and the networks in `allow`.
    ///
    /// An IPv6 address that stands for an IPv4 one (mapped, compatible, NAT64, 6to4) is what that one is, here
    /// and in `allow`.
    pub fn strangers(allow: Vec<IpNet>) -> Reach {
        Reach { anywhere: false, allow }
    }

    /// For what the operator configured.
    pub fn anywhere() -> Reach {
        Reach { anywhere: true, allow: Vec::new() }
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    ///
    /// [`NotPublic`], with what the address is.
    pub fn check(&self, address: IpAddr) -> Result<(), NotPublic> {
        let judged = inner(address);
        if self.anywhere || self.allow.iter().any(|net| net.contains(&judged) || net.contains(&address)) {
            return Ok(());
        }
        let kind = match judged {
            IpAddr::V4(address) => address::special_v4(address),
            IpAddr::V6(address) => address::special_v6(address),
        };
        kind.map_or(Ok(()), |kind| Err(NotPublic { address, kind }))
    }

    /// Whether the operator's word is all that counts.
    pub(crate) fn is_anywhere(&self) -> bool {
        self.anywhere
    }
}

/// The IPv4 address that an IPv6 one stands for, where it does.
fn inner(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => within(v6).map_or(address, IpAddr::V4),
    }
}

fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    // `::` and `::1` are of the compatible form, but have their own meaning.
    if address.is_unspecified() || address.is_loopback() {
        return None;
    }
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match segments {
        // IPv4-compatible (RFC 4291, 2.5.5.1), mapped (2.5.5.2) and translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        // NAT64, RFC 6052.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4, RFC 3056.
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}
