//! The tags of partitions: what stands in braces in a key, and so decides its slot in a cluster.

/// Their slots are evenly spread, so that however many primaries share them none is without work.
const TAGS: [&str; 16] = [
    "00-23", "01-28", "02-10", "03-08", "04-44", "05-58", "06-77", "07-78", "08-10", "09-08", "10-38", "11-37",
    "12-19", "13-12", "14-48", "15-43",
];

/// Most partitions.
pub(super) const PARTITIONS_MAX: usize = TAGS.len();

/// The tag of one of so many partitions.
pub(super) fn tag(partition: usize, of: usize) -> &'static str {
    TAGS[partition * TAGS.len() / of]
}

/// Slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a tag, as `CLUSTER KEYSLOT` reckons it: CRC-16 (XMODEM) of what stands in braces.
pub(super) fn slot(tag: &str) -> u16 {
    let mut crc = 0_u16;
    for byte in tag.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_primary_has_work_however_many_share_the_slots() {
        assert_eq!(slot("123456789"), 0x31c3);
        for primaries in [3_u16, 4, 5, 6, 8] {
            let mut work = vec![0; primaries.into()];
            for partition in 0..TAGS.len() {
                let slot = u32::from(slot(tag(partition, TAGS.len())));
                work[(slot * u32::from(primaries) / 16_384) as usize] += 1;
            }
            let (least, most) = (work.iter().min().copied(), work.iter().max().copied());
            assert!(least >= Some(1) && most <= least.map(|least| least + 2), "{primaries} primaries: {work:?}");
        }
    }

    #[test]
    fn partitions_have_tags_of_their_own() {
        for of in 1..=PARTITIONS_MAX {
            let tags: std::collections::BTreeSet<&str> = (0..of).map(|partition| tag(partition, of)).collect();
            assert_eq!(tags.len(), of);
        }
    }
}
