//! The boundaries of a client's WebSocket frames, as their headers tell them (RFC 6455, section
//! 5.2).
//!
//! The WebSocket library shows only whole messages. But the bytes of an unfinished message take
//! memory, and control frames and fragments take time like messages. So they are counted here, as
//! the bytes go by.

/// Follows the frames that a client sends. It does not check them: the library refuses wrong
/// headers.
#[derive(Debug, Default)]
pub(super) struct FrameMeter {
    /// The bytes of a header that is not whole yet.
    head: [u8; MAX_HEADER_BYTES],
    head_len: u8,
    /// The bytes of the current frame that are still to come.
    left: u64,
    /// Whether the current frame ends a message. A control frame is a message of its own.
    ends: FrameEnd,
    /// The bytes of the message that is not whole yet, headers included.
    unfinished: u64,
    /// The number of frames that have ended since [`Self::take_ended`].
    ended: u32,
    /// The number of messages and control frames that have ended since the start.
    whole: u64,
    /// The close frame that is coming. Boxed, as each connection has only one, at its end.
    closing: Option<Box<Closing>>,
}

/// A close frame, as far as it has come.
#[derive(Debug)]
struct Closing {
    mask: [u8; 4],
    /// The bytes of the payload that were read; the first two are the code.
    read: usize,
    code: u16,
}

/// 1014, the code for a gateway that got no answer. It is registered at IANA, but the library does
/// not know it, and would take it for an error of the client.
const BAD_GATEWAY: u16 = 1014;
const CLOSE: u8 = 0x08;

/// The thing that ends with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FrameEnd {
    /// A whole message.
    #[default]
    Message,
    /// A fragment of a message that goes on.
    Fragment,
    /// A control frame with so many bytes, perhaps between two fragments.
    Control(u64),
}

/// The most bytes of a header: two, eight for the length, and four for the mask.
const MAX_HEADER_BYTES: usize = 14;

impl FrameMeter {
    /// Follows bytes on their way to the library. Returns `Some` when the client closes with a code
    /// that the library does not know: the code, and how many of the last bytes the library must
    /// not see.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Option<(u16, usize)> {
        while !bytes.is_empty() {
            if self.left == 0 {
                bytes = self.header(bytes)?;
                continue;
            }
            if self.closing.is_some()
                && let Some(unknown) = self.close_code(bytes)
            {
                return Some(unknown);
            }
            let now = self.left.min(bytes.len() as u64);
            self.left -= now;
            self.unfinished += now;
            bytes = bytes.get(usize::try_from(now).unwrap_or(usize::MAX)..).unwrap_or_default();
            if self.left == 0 {
                self.frame_ended();
            }
        }
        None
    }

    /// Reads the code of the close frame that goes on with `bytes`.
    #[cold]
    fn close_code(&mut self, bytes: &[u8]) -> Option<(u16, usize)> {
        let Closing { mask, read, code } = self.closing.as_deref_mut()?;
        for (at, byte) in bytes.iter().enumerate().take(2_usize.saturating_sub(*read)) {
            let unmasked = byte ^ mask.get(*read)?;
            (*code, *read) = (*code << 8 | u16::from(unmasked), *read + 1);
            if *read == 2 && *code == BAD_GATEWAY {
                return Some((*code, bytes.len() - at));
            }
        }
        None
    }

    /// The bytes that have come of a message that is not whole.
    pub(super) fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// The bytes that this message will have at least, by what its headers announce.
    pub(super) fn announced(&self) -> u64 {
        self.unfinished.saturating_add(self.left)
    }

    /// The number of messages and control frames that have come whole since the start.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// Takes the number of frames that have ended since the last call.
    pub(super) fn take_ended(&mut self) -> u32 {
        std::mem::take(&mut self.ended)
    }

    /// The number of frames that have ended since [`Self::take_ended`], without taking it.
    pub(super) fn ended(&self) -> u32 {
        self.ended
    }

    /// Reads the next bytes of a header. Returns what follows it, once it is whole.
    fn header<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let have = usize::from(self.head_len);
        let head = self.head.get_mut(have..)?;
        let more = bytes.len().min(head.len());
        head.get_mut(..more)?.copy_from_slice(bytes.get(..more)?);
        let len = header_len(self.head.get(..have + more)?);
        let (used, is_whole) = match len {
            Some(len) if len <= have + more => (len - have, true),
            _ => (more, false),
        };
        self.unfinished += used as u64;
        if !is_whole {
            self.head_len = u8::try_from(have + more).unwrap_or(u8::MAX);
            return None;
        }
        let [first, ..] = self.head;
        self.left = payload_len(&self.head);
        self.head_len = 0;
        let (is_control, is_last) = (first & 0x08 != 0, first & 0x80 != 0);
        if first & 0x0f == CLOSE {
            let closing = |mask| Box::new(Closing { mask, read: 0, code: 0 });
            self.closing = mask(&self.head, len?).map(closing);
        }
        self.ends = match (is_control, is_last) {
            (true, _) => FrameEnd::Control(len.unwrap_or_default() as u64 + self.left),
            (false, true) => FrameEnd::Message,
            (false, false) => FrameEnd::Fragment,
        };
        if self.left == 0 {
            self.frame_ended();
        }
        bytes.get(used..)
    }

    fn frame_ended(&mut self) {
        self.ended = self.ended.saturating_add(1);
        match self.ends {
            FrameEnd::Message => {
                self.unfinished = 0;
                self.whole += 1;
            }
            FrameEnd::Fragment => {}
            FrameEnd::Control(bytes) => {
                self.unfinished = self.unfinished.saturating_sub(bytes);
                self.whole += 1;
            }
        }
    }
}

/// The length of a header in bytes, as soon as its first two bytes are there.
fn header_len(head: &[u8]) -> Option<usize> {
    let &[_, second, ..] = head else { return None };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some(2 + length + mask)
}

/// The mask of a frame's payload, which every client has to use.
fn mask(head: &[u8; MAX_HEADER_BYTES], header_len: usize) -> Option<[u8; 4]> {
    let [_, second, ..] = *head;
    let mask = head.get(..header_len)?.last_chunk()?;
    (second & 0x80 != 0).then_some(*mask)
}

/// The length of the payload in bytes, by a whole header.
fn payload_len(head: &[u8; MAX_HEADER_BYTES]) -> u64 {
    let [_, second, a, b, c, d, e, f, g, h, ..] = *head;
    match second & 0x7f {
        126 => u16::from_be_bytes([a, b]).into(),
        127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        short => short.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A masked frame, as a client sends it.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + payload, b'x');
        frame
    }

    const TEXT: u8 = 0x81;
    const TEXT_PART: u8 = 0x01;
    const CONTINUATION_PART: u8 = 0x00;
    const LAST: u8 = 0x80;
    const PING: u8 = 0x89;

    #[test]
    fn what_is_not_whole_is_counted_and_control_frames_in_between_are_not() {
        let mut meter = FrameMeter::default();
        meter.pass(&frame(TEXT_PART, 200));
        let first = 200 + 8;
        assert_eq!((meter.unfinished(), meter.whole()), (first, 0));
        meter.pass(&frame(PING, 5));
        assert_eq!((meter.unfinished(), meter.whole()), (first, 1));
        let last = frame(LAST, 100_000);
        meter.pass(&last[..20]);
        assert_eq!(meter.unfinished(), first + 20);
        assert_eq!(meter.announced(), first + last.len() as u64);
        meter.pass(&last[20..]);
        assert_eq!((meter.unfinished(), meter.announced(), meter.whole()), (0, 0, 2));
        assert_eq!((meter.take_ended(), meter.take_ended()), (3, 0));
    }

    #[test]
    fn a_length_beyond_all_bounds_is_only_a_number() {
        let mut meter = FrameMeter::default();
        meter.pass(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1]);
        assert_eq!((meter.unfinished(), meter.announced()), (15, u64::MAX));
    }

    /// A close frame with a reason.
    fn close(code: u16) -> Vec<u8> {
        let payload = [&code.to_be_bytes()[..], b"why"].concat();
        let masked = payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key);
        let head = [0x88, 0x85, 1, 2, 3, 4];
        head.into_iter().chain(masked).collect()
    }

    #[test]
    fn a_code_that_the_library_does_not_know_is_found_however_it_comes() {
        for (code, found) in [(1000, None), (1013, None), (1014, Some(1014)), (4000, None)] {
            let bytes = [frame(TEXT, 3), close(code)].concat();
            for cut in 0..=bytes.len() {
                let mut meter = FrameMeter::default();
                let (first, second) = bytes.split_at(cut);
                let (first, second) = (meter.pass(first), meter.pass(second));
                let passed = first.or(second);
                assert_eq!(passed.map(|(code, _)| code), found, "{code} {cut}");
                // The last byte of the code and the reason, as far as they came in one piece.
                let hidden = if first.is_some() { cut + 4 - bytes.len() } else { 4 };
                assert!(passed.is_none_or(|(_, bytes)| bytes == hidden), "{cut}");
            }
        }
    }

    proptest! {
        /// The result does not depend on how the bytes are cut into pieces.
        #[test]
        fn pieces_make_no_difference(
            frames in proptest::collection::vec((0..5usize, 0..70_000usize), 1..8),
            cuts in proptest::collection::vec(1..2_000usize, 1..50),
            end in 0..200usize,
        ) {
            let kinds = [TEXT, TEXT_PART, CONTINUATION_PART, LAST, PING];
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, len)| {
                frame(kinds[*kind], if kinds[*kind] == PING { len % 126 } else { *len })
            }).collect();
            let bytes = &bytes[..bytes.len().saturating_sub(end)];
            let (mut whole, mut pieces) = (FrameMeter::default(), FrameMeter::default());
            whole.pass(bytes);
            let (mut rest, mut cuts) = (bytes, cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                pieces.pass(piece);
                rest = more;
            }
            prop_assert_eq!(whole.unfinished(), pieces.unfinished());
            prop_assert_eq!(whole.announced(), pieces.announced());
            prop_assert_eq!(whole.whole(), pieces.whole());
            prop_assert_eq!(whole.take_ended(), pieces.take_ended());
        }
    }
}
