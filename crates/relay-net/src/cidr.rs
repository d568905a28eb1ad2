//! Networks as operators write them: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`.
//!
//! **Source** RFC 4632 section 3.1, RFC 4291 section 2.3. An IPv4 address that is written as one of IPv6 (RFC 4291 section 2.5.5.2) is
//! that IPv4 address, in a network as well as where it is looked for.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

const WANT: &str = "want networks like 10.0.0.0/8 or 2001:db8::/32, or addresses";
/// Of an address of IPv4 as one of IPv6, the bits before those of its own.
const MAPPED_BITS: u8 = 96;

/// A network: an address and how many of its first bits all of its addresses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// The bits behind the prefix are zero; an IPv4 address is never one of IPv6.
    first: IpAddr,
    bits: u8,
}

/// Some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cidrs(Vec<Cidr>);

impl Cidr {
    /// Whether an address is of it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => first == masked_v4(address, self.bits),
            (IpAddr::V6(first), IpAddr::V6(address)) => first == masked_v6(address, self.bits),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn is_one_address(&self) -> bool {
        self.bits == if self.first.is_ipv4() { 32 } else { 128 }
    }
}

impl Cidrs {
    /// Whether an address is of any of them. Of none, none is.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|cidr| cidr.contains(address))
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// They, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Cidr> {
        self.0.iter()
    }
}

impl FromIterator<Cidr> for Cidrs {
    fn from_iter<I: IntoIterator<Item = Cidr>>(cidrs: I) -> Self {
        Self(cidrs.into_iter().collect())
    }
}

impl FromStr for Cidr {
    type Err = String;

    /// What is no network says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is none; {WANT}"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(format!("{text:?}: want /0 to /{most}"))?
            }
            Some(_) => return Err(format!("{text:?} is none; {WANT}")),
        };
        let (first, bits) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if bits >= MAPPED_BITS => (IpAddr::V4(mapped), bits - MAPPED_BITS),
            _ => (address, bits),
        };
        let masked = match first {
            IpAddr::V4(first) => IpAddr::V4(masked_v4(first, bits)),
            IpAddr::V6(first) => IpAddr::V6(masked_v6(first, bits)),
        };
        let network = Self { first: masked, bits };
        // Whoever wrote it meant that network or that address, and only he knows which.
        if masked != first {
            return Err(format!("{text:?} is an address within a network; want {network}, or {first} alone"));
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_address() { self.first.fmt(f) } else { write!(f, "{}/{}", self.first, self.bits) }
    }
}

fn masked_v4(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default())
}

fn masked_v6(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    /// S15: whatever spelling an address comes in, it is of the same networks.
    #[test]
    fn an_address_is_of_a_network_in_either_spelling() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
            ("::/0", "::1", "::ffff:192.0.2.7"),
        ] {
            assert!(cidr(network).contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!cidr(network).contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn a_network_is_shown_as_one_would_write_it() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(cidr(text).to_string(), text);
        }
        assert_eq!(cidr("192.0.2.7/32").to_string(), "192.0.2.7");
        assert_eq!(cidr("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_network_is_refused_in_words() {
        for text in
            ["", "10", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "a.example", "10.0.0.1/8/8"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        let refused = "10.1.2.3/8".parse::<Cidr>().unwrap_err();
        assert_eq!(refused, "\"10.1.2.3/8\" is an address within a network; want 10.0.0.0/8, or 10.1.2.3 alone");
    }
}
