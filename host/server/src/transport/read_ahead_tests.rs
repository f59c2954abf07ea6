//! Tests of reading ahead: the order of bytes, the bound of what is read, and clients that end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

async fn pair(early: &[u8]) -> (ReadAhead, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (ReadAhead::new(stream.into(), early), client)
}

/// The number of bytes that come next; `None` once nothing more comes.
async fn read_some(stream: &mut ReadAhead, into: &mut [u8]) -> Option<usize> {
    let mut into = ReadBuf::new(into);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut into) {
        Poll::Pending if stream.end().is_some() => Poll::Ready(None),
        read => read.map(|read| {
            read.unwrap();
            Some(into.filled().len())
        }),
    })
    .await
}

#[tokio::test]
async fn a_close_code_that_the_library_does_not_know_is_kept_from_it() {
    let (mut stream, mut client) = pair(b"").await;
    client.write_all(&[0x89, 0x80, 0, 0, 0, 0, 0x88, 0x82, 0, 0, 0, 0, 3, 0xf6]).await.unwrap();
    let (mut read, mut into) = (0, [0; 100]);
    while let Some(bytes) = read_some(&mut stream, &mut into).await {
        read += bytes;
    }
    assert_eq!((read, stream.end()), (13, Some(ReadEnd::Closed(1014))));
    client.shutdown().await.unwrap();
    stream.skip_rest().await;
}

#[tokio::test]
async fn everything_is_read_in_order_and_then_the_end() {
    let (mut stream, mut client) = pair(b"early").await;
    // More than one piece, so that some messages are read whole and some are not.
    let sent: Vec<u8> = (0..5 * PIECE_BYTES).map(|n| (n % 251) as u8).collect();
    let expected = [b"early".as_slice(), &sent].concat();
    let sends = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut read = Vec::new();
    let mut small = [0; 1000];
    while let Some(bytes) = read_some(&mut stream, &mut small).await {
        read.extend_from_slice(&small[..bytes]);
    }
    assert_eq!(stream.end(), Some(ReadEnd::Ended));
    assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
    sends.await.unwrap();
}

#[tokio::test]
async fn what_was_read_last_is_known_and_waited_for() {
    let (mut stream, mut client) = pair(b"").await;
    let mut into = [0; 2];
    for sent in [b"abc".as_slice(), b"d"] {
        let mut read = std::pin::pin!(stream.read(&mut into));
        let first = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
        assert!(first.is_pending(), "nothing was sent");
        client.write_all(sent).await.unwrap();
        assert_eq!(read.await.unwrap(), sent.len().min(2));
        assert_eq!(stream.last_read(), sent.len());
        let rest = sent.len().saturating_sub(2);
        stream.read_exact(&mut into[..rest]).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_reads_late_gets_everything() {
    let (mut stream, mut client) = pair(b"").await;
    let sent: Vec<u8> = (0..16 << 20).map(|n| (n % 251) as u8).collect();
    let mut write = std::pin::pin!(stream.write_all(&sent));
    let first = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
    assert!(first.is_pending(), "no socket takes 16 MiB");
    let mut read = vec![0; sent.len()];
    let (written, got) = tokio::join!(write, client.read_exact(&mut read));
    written.unwrap();
    got.unwrap();
    assert!(read == sent);
}

#[tokio::test]
async fn a_client_that_is_gone_is_an_error() {
    let (mut stream, client) = pair(b"").await;
    drop(client);
    let bytes = vec![0; 1 << 20];
    let error = loop {
        if let Err(error) = stream.write_all(&bytes).await {
            break error;
        }
    };
    let kind = error.kind();
    assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind}");
}

#[tokio::test]
async fn no_more_is_read_than_is_allowed() {
    let (mut stream, mut client) = pair(b"").await;
    client.write_all(&[b'x'; 100]).await.unwrap();
    let mut into = [0; 60];
    stream.allow(50);
    assert_eq!(stream.read(&mut into[..40]).await.unwrap(), 40);
    assert_eq!(stream.read(&mut into).await.unwrap(), 60, "it ends between two reads");
    assert!(!stream.is_cut_short());
    let mut read = std::pin::pin!(stream.read(&mut into));
    let more = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
    assert!(more.is_pending());
    assert!(stream.is_cut_short());
    assert_eq!(stream.take_read().0, 100);
}

#[tokio::test]
async fn a_frame_that_is_written_directly_goes_before_what_follows() {
    for len in [0, 1, 125, 126, 65_535, 65_536, 8 << 20] {
        let (mut stream, mut client) = pair(b"").await;
        let payload = Bytes::from(vec![b'y'; len]);
        stream.direct(0x82, payload.clone());
        let head = match len {
            0..126 => vec![0x82, len as u8],
            126..65_536 => [&[0x82, 126][..], &(len as u16).to_be_bytes()].concat(),
            _ => [&[0x82, 127][..], &(len as u64).to_be_bytes()].concat(),
        };
        let expected = [head.as_slice(), &payload, b"after"].concat();
        let mut got = vec![0; expected.len()];
        let (written, read) = tokio::join!(stream.write_all(b"after"), client.read_exact(&mut got));
        written.unwrap();
        read.unwrap();
        assert!(got == expected, "{len}");
        assert_eq!(stream.written(), expected.len() as u64);
    }
}
