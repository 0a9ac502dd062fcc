use std::fmt;
use std::net::IpAddr;

/// An address range as Istio reads it (Go's `netip`): an IP address, or an address and a prefix length.
/// Host bits are ignored; the two families never meet, not even for IPv4-mapped addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    length: u8,
}

impl Cidr {
    /// Reads `10.1.2.3`, `10.1.0.0/16` or `2001:db8::/32`.
    ///
    /// `None` for anything else: leading zeros, zones, a prefix length out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(digits) => {
                let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (digits.len() == 1 || !digits.starts_with('0'));
                let length: u8 = digits.parse().ok().filter(|_| canonical)?;
                (length <= bits).then_some(length)?
            }
        };
        Some(Self { network, length })
    }

    /// Whether the range holds `address`.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.length))
                    .unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.length))
                    .unwrap_or(0);
                (network.to_bits() ^ address.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network, self.length) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.network.fmt(f),
            (network, length) => write!(f, "{network}/{length}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, address: &str, expected: bool) {
        let range = Cidr::parse(range).unwrap();
        assert_eq!(range.contains(address.parse().unwrap()), expected);
    }

    #[test]
    fn host_bits_are_ignored() {
        check("127.9.9.9/8", "127.0.0.1", true);
        check("10.0.0.0/31", "10.0.0.1", true);
        check("10.0.0.0/31", "10.0.0.2", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("0.0.0.0/0", "9.9.9.9", true);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
    }

    #[test]
    fn families_do_not_meet() {
        check("::/0", "127.0.0.1", false);
        check("::ffff:127.0.0.1", "127.0.0.1", false);
        check("0.0.0.0/0", "::1", false);
    }

    #[test]
    fn refuses_what_netip_refuses() {
        for text in [
            "",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/08",
            "1.2.3.4/+8",
            "1.2.3.4/8/8",
            "fe80::1%eth0/64",
            "::/129",
            "a.b.c.d",
            " 1.2.3.4",
            "1.2.3.4/300",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
