//! A number out of others: the same on every machine and in every version, for what several processes reckon alike.

/// All bits of it moved by all of its bits: the finalizer of `SplitMix64` (Steele, Lea, Flood, 2014).
pub(crate) const fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// That of bytes, eight of them after the other. Zeros at the end count for nothing.
pub(crate) fn mixed_bytes(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0, |sum, chunk| {
        let number = chunk.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        mixed(sum ^ number)
    })
}
