//! Takes a body in: counted, reserved as it arrives, in time, or not at all.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use hyper::body::{Frame, Incoming};
use relay_core::limits;
use tokio::time::{Instant, timeout_at};

use super::uploads::{Extent, Listed, Owner, Turn, Uploads, Waited};
use crate::{
    apart::apart,
    budget::Reservation,
    error::{Code, Problem},
};

/// A body that comes slower than this is not waited for.
const BYTES_PER_SECOND_MIN: u64 = 1024;
/// A body as large as it may become must come at least this fast, all in all: what has arrived holds memory, and nobody may
/// hold a large part of it for hours by sending the rest in drops.
const WHOLE_BYTES_PER_SECOND_MIN: u64 = 64 * 1024;
/// A body of this size may well have come with its head.
const SKIPPED_BYTES_MAX: u64 = 8 * 1024;
/// Memory that is set aside at most for what a body has not sent yet: others may want it meanwhile.
const STEP_BYTES_MAX: u64 = 1024 * 1024;

const NO_MEMORY: Problem =
    Problem::new(Code::StoreUnavailable, "there is no memory for another body at the moment; send it again").closing();
const GIVEN_UP: Problem =
    Problem::new(Code::StoreUnavailable, "memory is short, and others are sooner whole than this body; send it again")
        .closing();
const TOO_LARGE: Problem = Problem::new(Code::TooLarge, "the body is larger than this relay takes").closing();
const TOO_SLOW: Problem = Problem::new(Code::Timeout, "the body came too slowly").closing();
const BROKEN: Problem =
    Problem::new(Code::Malformed, "the body ended early, or is not chunked as it should be").closing();

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes.
    pub(super) bytes_max: u64,
    /// Time without a byte, and time for any body; beyond that, the minimum rate.
    pub(super) patience: Duration,
    /// Bytes that the event keeps besides: they count against the budget like the body.
    pub(super) head_bytes: u64,
}

/// Reads a whole body. Its memory counts against the budget until the last clone of the result is gone.
///
/// Refuses before reading what declares itself too large, so that a sender that waits for `100 Continue` sends nothing.
pub(super) async fn read(
    body: Incoming,
    uploads: &Uploads,
    owner: Owner<'_>,
    bounds: Bounds,
) -> Result<Bytes, Problem> {
    let mut arrival = Arrival::begin(body, uploads, owner, bounds)?;
    // Most bodies come whole with their heads: they need no clock and no list, and their requests no room for either.
    if poll_fn(|cx| Poll::Ready(arrival.is_there(cx))).await? {
        return Ok(arrival.taken.finish());
    }
    apart(|| arrival.in_time()).await
}

/// A body on its way in.
struct Arrival<'a> {
    body: Incoming,
    uploads: &'a Uploads,
    owner: Owner<'a>,
    bounds: Bounds,
    declared: Option<u64>,
    taken: Taken,
    /// What came of it and is not taken yet.
    came: Option<Bytes>,
}

impl<'a> Arrival<'a> {
    fn begin(body: Incoming, uploads: &'a Uploads, owner: Owner<'a>, bounds: Bounds) -> Result<Self, Problem> {
        let declared = body.size_hint().exact();
        if declared.is_some_and(|bytes| bytes > bounds.bytes_max) {
            return Err(TOO_LARGE);
        }
        let least = bounds.head_bytes.saturating_add(declared.unwrap_or(0));
        if least > uploads.budget.max() {
            return Err(TOO_LARGE);
        }
        let mut taken = Taken::new(uploads.budget.open(uploads.budget.entitles(least)), declared);
        taken.reserved = bounds.head_bytes;
        Ok(Self { body, uploads, owner, bounds, declared, taken, came: None })
    }

    /// Takes a small body that is there whole, if there is memory for it.
    fn is_there(&mut self, cx: &mut Context<'_>) -> Result<bool, Problem> {
        let Some(length) = self.declared.filter(|length| *length <= limits::SMALL_BODY_BYTES) else { return Ok(false) };
        if self.body.is_end_stream() {
            return Ok(self.taken.reservation.grow(self.bounds.head_bytes));
        }
        let Poll::Ready(Some(frame)) = Pin::new(&mut self.body).poll_frame(cx) else { return Ok(false) };
        let Ok(data) = frame.map_err(|_| BROKEN)?.into_data() else { return Ok(false) };
        let is_there = data.len() as u64 == length && self.taken.reservation.grow(self.bounds.head_bytes + length);
        if is_there {
            self.taken.push(&data);
        } else {
            self.came = Some(data);
        }
        Ok(is_there)
    }

    /// Takes it as it comes, as long as that may take.
    async fn in_time(self) -> Result<Bytes, Problem> {
        let Self { mut body, uploads, owner, bounds, declared, mut taken, mut came } = self;
        let room = uploads.budget.max().saturating_sub(bounds.head_bytes);
        let whole = declared.unwrap_or(bounds.bytes_max.min(room));
        let size = |body: u64| bounds.head_bytes.saturating_add(body);
        if !taken.reservation.grow(bounds.head_bytes)
            && uploads.wait(&mut taken.reservation, bounds.head_bytes, owner, None).await != Waited::Grown
        {
            let ends = !body.is_end_stream();
            return Err(Problem { close: ends, ..NO_MEMORY });
        }
        if came.is_none() && body.is_end_stream() {
            return Ok(taken.finish());
        }
        let mut listed = None;
        if let Some(length) = declared.filter(|length| *length > limits::SMALL_BODY_BYTES) {
            // Whoever is refused here has been asked for nothing.
            let large = listed.insert(uploads.list(owner, declared, taken.extent()));
            let first = if owner.proven { length } else { limits::SMALL_BODY_BYTES };
            let wanted = Turn { ceiling: first, more: first, size: size(length) };
            refused(uploads.turn(large, wanted).await, true)?;
        }
        let started = Instant::now();
        let mut last_byte = started;
        loop {
            let data = if let Some(data) = came.take() {
                data
            } else {
                let crowded = uploads.budget.used() > uploads.budget.max() / 2;
                let end = end(started, whole, crowded, bounds.patience);
                let until = deadline(started, last_byte, taken.len(), bounds.patience).min(end);
                let list = || uploads.list(owner, declared, taken.extent());
                let mut next = Next { body: &mut body, listed: &mut listed, list };
                let frame = match timeout_at(until, poll_fn(|cx| next.poll(cx))).await {
                    Err(_) => return Err(TOO_SLOW),
                    Ok(Err(problem)) => return Err(problem),
                    Ok(Ok(None)) => return Ok(taken.finish()),
                    Ok(Ok(Some(frame))) => frame,
                };
                let Ok(data) = frame.into_data() else { continue };
                data
            };
            let (before, len) = (taken.extent(), taken.len() + data.len() as u64);
            if len > bounds.bytes_max || len > room {
                return Err(TOO_LARGE);
            }
            let ends = declared != Some(len);
            let ceiling = listed.as_ref().map_or(limits::SMALL_BODY_BYTES, Listed::ceiling);
            if len > ceiling {
                let listed = listed.get_or_insert_with(|| uploads.list(owner, declared, before));
                let next = ceiling_behind(len, whole);
                let more = size(next).saturating_sub(taken.reservation.bytes());
                let wanted = Turn { ceiling: next, more, size: size(next) };
                refused(uploads.turn(listed, wanted).await, ends)?;
                taken.reservation.becomes(size(declared.unwrap_or(next)));
            }
            if !taken.has_room_for(data.len(), ceiling) {
                // What waits for memory may have to give way itself.
                let listed = &*listed.get_or_insert_with(|| uploads.list(owner, declared, before));
                let lacking = taken.lacking(data.len());
                refused(uploads.wait(&mut taken.reservation, lacking, owner, Some(listed)).await, ends)?;
            }
            taken.push(&data);
            if declared == Some(taken.len()) {
                return Ok(taken.finish());
            }
            last_byte = Instant::now();
            if let Some(listed) = &listed {
                listed.comes_to(taken.extent());
            }
        }
    }
}

/// What a body may hold next, once so much of it is there and more is not promised: as much again, and never more than it may
/// become.
pub(super) fn ceiling_behind(len: u64, whole: u64) -> u64 {
    (2 * len + limits::SMALL_BODY_BYTES).min(whole)
}

/// What came of waiting, to whoever sends; there may be more of the body to come.
fn refused(waited: Waited, ends: bool) -> Result<(), Problem> {
    match waited {
        Waited::Grown => Ok(()),
        Waited::GivenUp => Err(GIVEN_UP),
        Waited::InVain => Err(Problem { close: ends, ..NO_MEMORY }),
    }
}

/// The next part of a body; it is listed once it has to be waited for.
struct Next<'a, 'u, L> {
    body: &'a mut Incoming,
    listed: &'a mut Option<Listed<'u>>,
    list: L,
}

impl<'u, L: Fn() -> Listed<'u>> Next<'_, 'u, L> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Problem>> {
        match Pin::new(&mut *self.body).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Ok(Some(frame))),
            Poll::Ready(Some(Err(_))) => Poll::Ready(Err(BROKEN)),
            Poll::Pending => {
                let listed = self.listed.get_or_insert_with(&self.list);
                if listed.is_given_up(cx) { Poll::Ready(Err(GIVEN_UP)) } else { Poll::Pending }
            }
        }
    }
}

/// Whether a body that is not read ends its connection: the HTTP library skips only what is there already, and a sender that
/// waits for `100 Continue` sends nothing. The answer says so, for the sender not to use the connection again.
pub(super) fn is_given_up(headers: &HeaderMap, body: &Incoming) -> bool {
    let is_small = body.size_hint().exact().is_some_and(|bytes| bytes <= SKIPPED_BYTES_MAX);
    !body.is_end_stream() && (!is_small || headers.contains_key(header::EXPECT))
}

/// When the next byte must be there: soon after the last one, and early enough for the minimum rate.
fn deadline(started: Instant, last_byte: Instant, bytes: u64, patience: Duration) -> Instant {
    let earned = Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
    (last_byte + patience).min(started + patience + earned)
}

/// When all of a body of `whole` bytes must be there, however steadily it comes.
fn end(started: Instant, whole: u64, crowded: bool, patience: Duration) -> Instant {
    let rate = if crowded { limits::CROWDED_BYTES_PER_SECOND_MIN } else { WHOLE_BYTES_PER_SECOND_MIN };
    started + patience + Duration::from_millis(whole.saturating_mul(1_000) / rate)
}

/// A body as far as it has arrived, copied out of the connection's buffer: a small body must not pin a large buffer.
///
/// It is kept in pieces until it is whole: one that grew in its place would be moved again and again, and each move of
/// megabytes leaves as many behind in the allocator.
///
/// **Invariant:** no more is allocated than is reserved, but for the moment in which pieces are joined.
struct Taken {
    pieces: Vec<Vec<u8>>,
    len: usize,
    capacity: usize,
    declared: Option<u64>,
    reservation: Reservation,
    /// Of the reservation, what is for the head.
    reserved: u64,
}

impl Taken {
    fn new(reservation: Reservation, declared: Option<u64>) -> Self {
        Self { pieces: Vec::new(), len: 0, capacity: 0, declared, reservation, reserved: 0 }
    }

    fn len(&self) -> u64 {
        self.len as u64
    }

    fn extent(&self) -> Extent {
        Extent { came: self.len(), held: self.reservation.bytes().saturating_sub(self.reserved) }
    }

    /// Bytes that are missing in the reservation for so many more.
    fn lacking(&self, more: usize) -> u64 {
        (self.reserved + self.len() + more as u64).saturating_sub(self.reservation.bytes())
    }

    /// Whether so many more fit into what is reserved, or can be reserved at once: then with a step for what is to follow, if
    /// there is memory for that and it may have it.
    fn has_room_for(&mut self, more: usize, ceiling: u64) -> bool {
        let lacking = self.lacking(more);
        lacking == 0 || self.reservation.grow(lacking.max(self.step(ceiling))) || self.reservation.grow(lacking)
    }

    /// Adds what there is a reservation for.
    fn push(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            let room = self.pieces.last().map_or(0, |last| last.capacity() - last.len());
            let (now, later) = data.split_at(room.min(data.len()));
            if let Some(last) = self.pieces.last_mut() {
                last.extend_from_slice(now);
            }
            data = later;
            if !data.is_empty() {
                let reserved = (self.reservation.bytes() - self.reserved) as usize;
                let piece = Vec::with_capacity(reserved - self.capacity);
                self.capacity += piece.capacity();
                self.pieces.push(piece);
            }
        }
    }

    /// How much more to reserve than what came: as much again as is there, so that the pieces are few; never beyond what was
    /// declared, and nothing for the first piece, which may be the last for long.
    fn step(&self, ceiling: u64) -> u64 {
        let wanted = (self.len() + self.len().min(STEP_BYTES_MAX)).min(ceiling);
        let wanted = self.declared.map_or(wanted, |declared| wanted.min(declared));
        (self.reserved + wanted).saturating_sub(self.reservation.bytes())
    }

    fn finish(mut self) -> Bytes {
        let mut data = match self.pieces.len() {
            0 | 1 => self.pieces.pop().unwrap_or_default(),
            _ => self.joined(),
        };
        if data.capacity() > data.len() + data.len() / 8 {
            data.shrink_to_fit();
        }
        self.reservation.shrink_to(self.reserved + data.capacity() as u64);
        self.reservation.hold(data)
    }

    /// All pieces in one. Each goes as soon as it is copied.
    fn joined(&mut self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.len);
        for piece in self.pieces.drain(..) {
            data.extend_from_slice(&piece);
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S9: a byte now and then is not enough.
    #[test]
    fn a_body_must_keep_up_the_minimum_rate() {
        let (started, patience) = (Instant::now(), Duration::from_secs(30));
        let after = |seconds| started + Duration::from_secs(seconds);
        assert_eq!(deadline(started, started, 0, patience), after(30));
        assert_eq!(deadline(started, after(29), 29, patience), after(30));
        assert_eq!(deadline(started, after(29), 100 * 1024, patience), after(59));
        assert_eq!(deadline(started, after(1), 25 * 1024 * 1024, patience), after(31));
    }

    /// S9: whoever sends most of a large body and then trickles holds its memory for minutes, not for hours; for less
    /// while memory is short.
    #[test]
    fn a_whole_body_has_an_end_however_steadily_it_comes() {
        let (started, patience) = (Instant::now(), Duration::from_secs(30));
        let after = |seconds| started + Duration::from_secs(seconds);
        assert_eq!(end(started, 25 * 1024 * 1024, false, patience), after(430));
        assert_eq!(end(started, 25 * 1024 * 1024, true, patience), after(55));
        assert_eq!(end(started, 0, false, patience), after(30));
    }

    /// I16: one byte of a large body takes little, and what is taken is reserved, however it comes.
    #[test]
    fn no_more_is_allocated_than_is_reserved() {
        for declared in [Some(1_000_000), None] {
            let budget = crate::budget::Budget::new(2_000_000);
            let mut taken = Taken { reserved: 100, ..Taken::new(budget.open(true), declared) };
            assert!(taken.reservation.grow(100));
            for piece in [1, 1, 5_000, 70_000, 1, 200_000, 724_997] {
                assert!(taken.has_room_for(piece, u64::MAX));
                let from = taken.len();
                taken.push(&(from..from + piece as u64).map(|at| at as u8).collect::<Vec<_>>());
                let allocated: usize = taken.pieces.iter().map(Vec::capacity).sum();
                assert!(allocated as u64 + 100 <= budget.used(), "{piece} of {declared:?}");
                assert!(budget.used() <= 100 + 2 * taken.len(), "{piece} of {declared:?}");
            }
            assert!(taken.pieces.len() < 10);
            let body = taken.finish();
            assert_eq!((body.len(), budget.used()), (1_000_000, 1_000_100));
            assert!(body.iter().enumerate().all(|(at, byte)| *byte == at as u8), "in its order");
            drop(body);
            assert_eq!(budget.used(), 0);
        }
    }
}
