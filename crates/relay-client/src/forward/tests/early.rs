//! Targets that answer before they have read the whole request.

use super::*;

/// More than the systems of both ends take in advance, and far more than one turn writes.
const BODY_BYTES: usize = 24 * 1024 * 1024;

/// A target that reads the head, says `answer`, and then does `rest`: the outcome, and the bytes of body that arrived.
async fn answered_early<F: Future<Output = usize>>(
    answer: &[u8],
    timeout: Duration,
    rest: impl FnOnce(TcpStream) -> F,
) -> (Outcome, usize) {
    let (listener, url) = listen().await;
    let target = target(&url, timeout);
    let webhook = webhook(vec![b'x'; BODY_BYTES].leak());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        rest(stream).await
    };
    let (ended, read) = tokio::join!(target.forward(&webhook), serve);
    let Ended::Tried(outcome) = ended else { panic!("{ended:?}") };
    (outcome, read)
}

/// Reads until all of the body is there, or the connection has ended.
async fn read_all(mut stream: TcpStream) -> usize {
    let (mut read, mut piece) = (0, vec![0; 64 * 1024]);
    while read < BODY_BYTES {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            count => read += count,
        }
    }
    read
}

/// I3: who says 2xx at the head gets the whole body all the same, whatever frames that answer.
#[tokio::test]
async fn an_early_success_gets_the_whole_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nno end of it is to be found",
    ] {
        let (outcome, read) = answered_early(answer.as_bytes(), LONG, read_all).await;
        assert_eq!((outcome.class, read), (Class::Delivered, BODY_BYTES), "{answer:?}: {outcome:?}");
        assert!(outcome.duration < LONG, "{answer:?}: {outcome:?}");
    }
}

/// I6: the status stands if the target takes no more of the body, and is not waited for beyond its time.
#[tokio::test]
async fn an_early_success_without_the_body_stands() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let leave = |stream| async move {
        drop(stream);
        0
    };
    let (outcome, _) = answered_early(answer, LONG, leave).await;
    assert_eq!(outcome.class, Class::Delivered);
    assert!(outcome.duration < LONG, "{outcome:?}");

    let hold = |stream: TcpStream| async move {
        tokio::time::sleep(2 * SHORT).await;
        drop(stream);
        0
    };
    let (outcome, _) = answered_early(answer, SHORT, hold).await;
    assert_eq!(outcome.class, Class::Delivered);
    assert!(outcome.duration >= SHORT, "it was waited for: {outcome:?}");
}

/// Who refuses at the head is not sent the rest of what he does not want.
#[tokio::test]
async fn an_early_refusal_ends_the_request() {
    let answer = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    let (outcome, read) = answered_early(answer, LONG, read_all).await;
    assert_eq!(outcome.class, Class::Refused);
    assert!(read < BODY_BYTES, "{outcome:?}");
}
