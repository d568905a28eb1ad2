//! A port that nobody has, for a server that does not say which one it took.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below those that systems give to whoever connects: one of these would be taken between here and there, under load by chance alone.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

/// Each time another; where it begins differs between processes that test at the same time.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(process::id() * 61 % u32::from(COUNT)).expect("it is less than a count");
    let numbers = (0..COUNT).map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
    let mut ports = numbers.map(|number| FIRST + (begin + number) % COUNT);
    ports.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).expect("one of so many is free")
}
