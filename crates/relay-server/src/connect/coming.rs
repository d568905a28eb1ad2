//! What comes of a client, and what of it is a sign of life.

use std::{future::poll_fn, task::Poll};

use futures_util::{Stream, StreamExt as _};
use relay_core::limits;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error as WsError, Message as Frame};

use super::account::Share;

/// What comes of a client.
pub(super) enum Came {
    Whole(Frame),
    /// More of a message.
    Part,
}

/// What comes of a client, frame by frame, and that something does while a message takes its time.
pub(super) struct Coming<'a, S> {
    frames: &'a mut S,
    share: &'a Share,
    /// Bytes of pings and pongs: something in between may send them for a dead client.
    control: u64,
    /// Bytes of anything else that were noticed so far.
    noticed: u64,
    /// Of these, those of whole messages.
    whole: u64,
    /// When something was told last.
    told: Instant,
}

/// Bytes of a control frame of a client beside its payload.
const CONTROL_HEAD_BYTES: u64 = 6;

impl<'a, S: Stream<Item = Result<Frame, WsError>> + Unpin> Coming<'a, S> {
    pub(super) fn new(frames: &'a mut S, share: &'a Share) -> Self {
        Self { frames, share, control: 0, noticed: 0, whole: 0, told: Instant::now() }
    }

    /// `None`: nothing more comes. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Came> {
        poll_fn(|cx| match self.frames.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Frame::Ping(payload) | Frame::Pong(payload) = &frame {
                    self.control += CONTROL_HEAD_BYTES + payload.len() as u64;
                } else {
                    self.keeps();
                    (self.noticed, self.told) = (self.said(), Instant::now());
                    self.whole = self.noticed;
                }
                Poll::Ready(Some(Came::Whole(frame)))
            }
            Poll::Ready(Some(Err(_)) | None) => Poll::Ready(None),
            Poll::Pending => {
                self.keeps();
                if self.has_more() { Poll::Ready(Some(Came::Part)) } else { Poll::Pending }
            }
        })
        .await
    }

    /// Whether more of a message has come, told now and then.
    fn has_more(&mut self) -> bool {
        if self.said() <= self.noticed || self.told.elapsed() < limits::HEARD_EVERY {
            return false;
        }
        (self.noticed, self.told) = (self.said(), Instant::now());
        true
    }

    /// What has come of a message is memory that is kept.
    fn keeps(&self) {
        self.share.comes(self.said().saturating_sub(self.whole));
    }

    fn said(&self) -> u64 {
        self.share.pace().came().saturating_sub(self.control)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncWriteExt as _, time::sleep};
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    use super::*;
    use crate::{connect::account::Account, outbox::Paced};

    /// S11, I19: what comes of a client in drops is told about once a second, and pings are not.
    #[tokio::test(start_paused = true)]
    async fn part_of_a_message_is_a_sign_of_life() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (stream, pace) = Paced::new(near);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let peer = tokio::spawn(async move {
            // A binary message of a hundred bytes, masked with zeros, one a second; pings all the while would show nothing.
            let message = [&[0x82, 0x80 | 0x64, 0, 0, 0, 0][..], &[7; 100]].concat();
            for byte in message {
                sleep(Duration::from_secs(1)).await;
                far.write_all(&[byte]).await.unwrap();
            }
            for _ in 0..100 {
                sleep(Duration::from_secs(1)).await;
                far.write_all(&[0x89, 0x80 | 3, 0, 0, 0, 0, 1, 2, 3]).await.unwrap();
            }
        });
        let (mut parts, mut pings, mut whole, mut after) = (0, 0, 0, 0);
        let share = Account::new(u64::MAX).share(relay_core::hub::ConnId(1), pace);
        let mut coming = Coming::new(&mut socket, &share);
        while let Some(came) = coming.next().await {
            match came {
                Came::Part if whole == 0 => parts += 1,
                Came::Part => after += 1,
                Came::Whole(Frame::Ping(_)) => pings += 1,
                Came::Whole(_) => whole += 1,
            }
        }
        peer.await.unwrap();
        assert!((90..=106).contains(&parts), "{parts}");
        assert_eq!((whole, pings, after), (1, 100, 0));
    }
}
