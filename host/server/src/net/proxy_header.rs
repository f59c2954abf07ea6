//! The header of the PROXY protocol, versions 1 and 2, in which a proxy names the client that it
//! connects for (HAProxy's `doc/proxy-protocol.txt`).

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};

/// The longest line of version 1, in bytes, with its end.
const MAX_LINE_BYTES: usize = 107;
/// The bytes of a header of version 2 before its addresses: signature, command, family and length.
const HEAD_BYTES: usize = 16;
/// The longest header of version 2 that is read, in bytes: addresses have at most 216 bytes, and
/// what proxies add about themselves and TLS has some hundred more.
const MAX_HEADER_BYTES: usize = 4096;

/// A socket whose next bytes can be read without taking them.
pub(crate) trait Peek: AsyncRead + Unpin {
    /// Waits for some bytes and copies them, but leaves them in the socket.
    fn peek(&self, into: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

impl Peek for TcpStream {
    async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        TcpStream::peek(self, into).await
    }
}

impl Peek for UnixStream {
    async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.readable().await?;
            let peeked = self.try_io(tokio::io::Interest::READABLE, || {
                let flags = rustix::net::RecvFlags::PEEK;
                let (read, _) = rustix::net::recv(self, &mut *into, flags)?;
                Ok(read)
            });
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked,
            }
        }
    }
}

/// Reads the header and nothing after it. `None` if the proxy connects for itself, or names no IP
/// address.
///
/// # Errors
///
/// `InvalidData` if there is no header or a wrong one, `UnexpectedEof` if the connection ends
/// before it.
pub(crate) async fn read(socket: &mut impl Peek) -> io::Result<Option<SocketAddr>> {
    let mut first = [0];
    match (socket.peek(&mut first).await?, first) {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, [b'P']) => line(socket).await,
        (_, [0x0d]) => binary(socket).await,
        (_, [found]) => Err(no_header(format!("its first byte is {found:#04x}"))),
    }
}

/// Reads a header of version 1.
async fn line(socket: &mut impl Peek) -> io::Result<Option<SocketAddr>> {
    let (mut line, mut ahead) = (Vec::new(), [0; MAX_LINE_BYTES]);
    loop {
        let room = ahead.get_mut(line.len()..).unwrap_or_default();
        let seen = socket.peek(room).await?;
        let seen = room.get_mut(..seen).unwrap_or_default();
        if seen.is_empty() {
            return Err(match line.len() {
                MAX_LINE_BYTES => no_header("its line does not end".to_owned()),
                _ => io::ErrorKind::UnexpectedEof.into(),
            });
        }
        // Everything up to the end of the header is taken from the socket.
        let end = seen.iter().position(|byte| *byte == b'\n');
        let whole = end.map_or(seen.len(), |end| end + 1);
        let seen = seen.get_mut(..whole).unwrap_or_default();
        socket.read_exact(seen).await?;
        line.extend_from_slice(seen);
        if end.is_some() {
            return understood(&line);
        }
    }
}

/// Reads a header of version 2.
async fn binary(socket: &mut impl Peek) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; HEAD_BYTES];
    socket.read_exact(&mut header).await?;
    let Some((_, &[high, low])) = header.split_last_chunk() else {
        return Err(no_header("it is cut off".to_owned()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_HEADER_BYTES {
        return Err(no_header(format!("it has {length} bytes, more than {MAX_HEADER_BYTES}")));
    }
    header.resize(HEAD_BYTES + length, 0);
    socket.read_exact(header.get_mut(HEAD_BYTES..).unwrap_or_default()).await?;
    understood(&header)
}

fn understood(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let parsed = HeaderResult::parse(header);
    if parsed.is_incomplete() {
        return Err(no_header("it is cut off".to_owned()));
    }
    let source = match parsed {
        HeaderResult::V1(header) => {
            match header.map_err(|error| no_header(error.to_string()))?.addresses {
                v1::Addresses::Tcp4(tcp) => (tcp.source_address, tcp.source_port).into(),
                v1::Addresses::Tcp6(tcp) => (tcp.source_address, tcp.source_port).into(),
                v1::Addresses::Unknown => return Ok(None),
            }
        }
        HeaderResult::V2(header) => {
            let header = header.map_err(|error| no_header(error.to_string()))?;
            match (header.command, header.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
                    (ip.source_address, ip.source_port).into()
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
                    (ip.source_address, ip.source_port).into()
                }
                // LOCAL, by which a proxy checks whether the server is there, or a family without
                // IP addresses.
                _ => return Ok(None),
            }
        }
    };
    Ok(Some(source))
}

fn no_header(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    /// What is read of these pieces, and the bytes that are left after it.
    async fn reads(pieces: &[&[u8]]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let (mut client, mut server) = UnixStream::pair().unwrap();
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let sending = async move {
            for piece in pieces {
                client.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (read, ()) = tokio::join!(read(&mut server), sending);
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (read, rest)
    }

    #[tokio::test]
    async fn a_header_is_read_and_nothing_behind_it() {
        let v4 = [V2, &[0x21, 0x11, 0, 12, 1, 2, 3, 4, 9, 9, 9, 9, 0, 80, 1, 187][..]].concat();
        let local = [V2, &[0x20, 0, 0, 0][..]].concat();
        let mut with_more = [V2, &[0x21, 0x11, 0, 16][..]].concat();
        with_more.extend([1, 2, 3, 4, 9, 9, 9, 9, 0, 80, 1, 187, 0x04, 0, 1, 0]);
        let v6 = "PROXY TCP6 2001:db8::1 2001:db8::2 5 443\r\n";
        for (header, expected) in [
            (&b"PROXY TCP4 1.2.3.4 9.9.9.9 80 443\r\n"[..], Some("1.2.3.4:80")),
            (v6.as_bytes(), Some("[2001:db8::1]:5")),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
            (&v4, Some("1.2.3.4:80")),
            (&with_more, Some("1.2.3.4:80")),
            (&local, None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            let whole = [header, b"GET /"].concat();
            let (read, rest) = reads(&[&whole]).await;
            assert_eq!((read.unwrap(), rest.as_slice()), (expected, &b"GET /"[..]), "{header:?}");
            let (one, other) = header.split_at(header.len() / 2);
            let (read, rest) = reads(&[one, other, b"GET /"]).await;
            assert_eq!((read.unwrap(), rest.as_slice()), (expected, &b"GET /"[..]), "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_told() {
        let long = [V2, &[0x21, 0x11, 0xff, 0xff][..]].concat();
        for (bytes, problem) in [
            (&b"GET / HTTP/1.1\r\n"[..], "its first byte is 0x47"),
            (b"PROXY TCP4 here there 1 2\r\n", ""),
            (&[b'P'; 200], "its line does not end"),
            (&long, "more than 4096"),
            (b"", ""),
            (b"PROXY", ""),
            (V2, ""),
        ] {
            let (read, _) = reads(&[bytes]).await;
            let error = read.unwrap_err().to_string();
            assert!(error.contains(problem), "{bytes:?}: {error}");
        }
    }
}
