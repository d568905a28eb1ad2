use std::time::Duration;

use bytes::Bytes;
use relay_core::{
    delivery::{Attempt, outcome::Class},
    event::Event,
    id::IdMint,
};

use super::*;

fn write(delivery: &Delivery) -> Vec<u8> {
    super::write(delivery, &Ciphers::default())
}

fn read(id: DeliveryId, row: &[u8]) -> Result<Delivery, RecordError> {
    super::read(id, row, &Ciphers::default())
}

fn at(seconds: u64) -> Wall {
    Wall::from_micros(1_800_000_000_000_000) + Duration::from_secs(seconds)
}

fn ready() -> Delivery {
    let mut mint = IdMint::new(0, 7);
    let event = Event {
        id: mint.event(at(0)),
        source: "in".parse().expect("a name"),
        method: Bytes::new(),
        path: Bytes::new(),
        query: None,
        headers: Vec::new(),
        body: Bytes::from_static(b"{}"),
        body_sha256: [0; 32],
        received_at: at(0),
        name: None,
        key: None,
    };
    let destination = "crm".parse().expect("a name");
    Delivery::ready(mint.delivery(at(0)), &event, destination, false, at(0), Duration::from_hours(1))
}

/// What a script makes of a row when it leases.
fn lease(row: &mut [u8], instance: InstanceId, nonce: u64, now: Wall, until: Wall) {
    let mut put = |at: usize, bytes: &[u8]| row[at..at + bytes.len()].copy_from_slice(bytes);
    put(1, b"3");
    put(3, b"1");
    put(4, &1_u64.to_be_bytes());
    put(12, &fence(Token { counter: 1, nonce }));
    put(60, text::moment(now).as_bytes());
    put(176, &taken(instance, nonce, now));
    put(212, &end(until));
}

#[test]
fn a_row_reads_back() {
    let mut delivery = ready();
    assert_eq!(read(delivery.id, &write(&delivery)), Ok(delivery.clone()));
    delivery.last = Some(Attempt {
        number: 1,
        at: at(1),
        duration_ms: 5,
        status: Some(500),
        class: Class::Busy,
        counted: true,
        error: None,
        answer: None,
    });
    (delivery.tries, delivery.expires_at) = (u32::MAX, Wall::MAX);
    assert_eq!(read(delivery.id, &write(&delivery)), Ok(delivery.clone()));
    let other = DeliveryId::from_u128(delivery.id.as_u128() ^ (1 << 20));
    assert!(read(other, &write(&delivery)).is_err(), "it is another's");
}

/// I7: what is leased by header and overlay is what the core makes of such a lease, extended or not.
#[test]
fn a_lease_reads_as_the_core_makes_it() {
    let delivery = ready();
    let (instance, nonce) = (InstanceId::from_u128(5), 77);
    let mut row = write(&delivery);
    lease(&mut row, instance, nonce, at(3), at(63));
    let expected = delivery::leased(&delivery, instance, nonce, at(3), at(63));
    assert_eq!(read(delivery.id, &row), Ok(expected.clone()));
    row[4..12].copy_from_slice(&2_u64.to_be_bytes());
    row[212..232].copy_from_slice(&end(at(90)));
    row[232..242].copy_from_slice(b"0000000001");
    let mut extended = expected;
    extended.version = 2;
    extended.lease = extended.lease.map(|lease| Lease { until: at(90), ..lease });
    assert_eq!(read(delivery.id, &row), Ok(extended));
}

/// I18: whatever bit of a row is flipped that says something about the delivery, it does not read.
#[test]
fn a_flipped_bit_is_found() {
    let delivery = ready();
    let (instance, nonce) = (InstanceId::from_u128(5), 77);
    let mut leased = write(&delivery);
    lease(&mut leased, instance, nonce, at(3), at(63));
    for row in [write(&delivery), leased] {
        let whole = read(delivery.id, &row);
        assert!(whole.is_ok());
        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let found = read(delivery.id, &bad);
            assert!(found.is_err() || found == whole, "bit {bit} of byte {}", bit / 8);
        }
        for length in 0..row.len() {
            assert!(read(delivery.id, &row[..length]).is_err(), "cut to {length}");
        }
    }
}
