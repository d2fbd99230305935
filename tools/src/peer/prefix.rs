//! Ranges of IPv6 addresses.

use std::{net::Ipv6Addr, str::FromStr};

use anyhow::{Context, Result, ensure};

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    address: Ipv6Addr,
    bits: u32,
}

impl Prefix {
    pub(super) fn contains(self, other: Ipv6Addr) -> bool {
        let differ = self.address.to_bits() ^ other.to_bits();
        differ.leading_zeros() >= self.bits
    }
}

impl FromStr for Prefix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, bits) = text.split_once('/').with_context(|| format!("{text:?} has no prefix length"))?;
        let address = address.parse().with_context(|| format!("{text:?} has no IPv6 address"))?;
        let bits = bits.parse().with_context(|| format!("{text:?} has no number after the slash"))?;
        ensure!(bits <= 128, "{text:?} has a prefix length over 128");
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_compares_the_leading_bits_only() {
        let contains = |prefix: &str, address: &str| {
            prefix.parse::<Prefix>().expect("a prefix").contains(address.parse().expect("an address"))
        };
        assert!(contains("fd7a::1/128", "fd7a::1"));
        assert!(!contains("fd7a::1/128", "fd7a::2"));
        assert!(contains("fd7a::/16", "fd7a::2"));
        assert!(!contains("fd7a::/16", "fd7b::2"));
        assert!(contains("::/0", "fd7b::2"));
    }
}
