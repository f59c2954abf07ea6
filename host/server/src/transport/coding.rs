//! Compressed request bodies (RFC 9110, section 8.4).

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::header::{CONTENT_ENCODING, HeaderMap};

/// The compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// No compression.
    Identity,
    Gzip,
    /// The zlib format (RFC 1950), or the raw DEFLATE format that some programs send.
    Deflate,
}

/// The codings that [`Coding::of`] knows, for `Accept-Encoding`.
pub(super) const ACCEPTED: &str = "gzip, deflate";

/// The reason why a body cannot be decoded.
#[derive(Debug)]
pub(super) enum CodingError {
    /// The decoded body has more bytes than are allowed.
    TooLarge,
    /// The body is not in the format that its header names.
    Invalid(std::io::Error),
}

impl Coding {
    /// The coding that the headers of a request name.
    ///
    /// # Errors
    ///
    /// The names of codings that are not known, or of several at once.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let values = headers.get_all(CONTENT_ENCODING).iter();
        let values: Vec<_> = values.map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        let given = values.join(", ").to_ascii_lowercase();
        let codings = given.split(',').map(str::trim);
        let codings: Vec<_> = codings.filter(|c| !matches!(*c, "" | "identity")).collect();
        match codings.as_slice() {
            [] => Ok(Self::Identity),
            ["gzip" | "x-gzip"] => Ok(Self::Gzip),
            ["deflate"] => Ok(Self::Deflate),
            _ => Err(given),
        }
    }

    /// Decodes a body; stops as soon as it has more than `max` bytes.
    pub(super) fn decode(self, body: &[u8], max: usize) -> Result<Vec<u8>, CodingError> {
        let mut decoded = Vec::new();
        // One byte more shows that the limit is passed.
        let most = (max as u64).saturating_add(1);
        let read = match self {
            Self::Identity => body.take(most).read_to_end(&mut decoded),
            Self::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut decoded),
            Self::Deflate if is_zlib(body) => {
                ZlibDecoder::new(body).take(most).read_to_end(&mut decoded)
            }
            Self::Deflate => DeflateDecoder::new(body).take(most).read_to_end(&mut decoded),
        };
        match read {
            Ok(read) if read > max => Err(CodingError::TooLarge),
            Ok(_) => Ok(decoded),
            Err(error) => Err(CodingError::Invalid(error)),
        }
    }

    /// The name of the coding in headers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// Whether a body begins with a zlib header (RFC 1950, section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use hyper::header::HeaderValue;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn coding(values: &[&'static str]) -> Result<Coding, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        Coding::of(&headers)
    }

    #[test]
    fn codings_are_told_by_their_names() {
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&["", "identity"]), Ok(Coding::Identity));
        assert_eq!(coding(&["GZIP"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["identity, x-gzip"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["deflate"]), Ok(Coding::Deflate));
        assert_eq!(coding(&["zstd"]), Err("zstd".to_owned()));
        assert_eq!(coding(&["gzip", "gzip"]), Err("gzip, gzip".to_owned()));
    }

    #[test]
    fn what_was_compressed_is_read_up_to_the_bound() {
        let text = b"some text, some text";
        let decode = |coding: Coding, body: &[u8]| coding.decode(body, text.len());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(text).unwrap();
        let two = [gzip(b"some text, "), gzip(b"some text")].concat();
        for (coding, body) in [
            (Coding::Identity, text.to_vec()),
            (Coding::Gzip, gzip(text)),
            (Coding::Gzip, two),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
        ] {
            assert_eq!(decode(coding, &body).unwrap(), text, "{coding:?}");
            assert!(matches!(coding.decode(&body, 19), Err(CodingError::TooLarge)));
        }
        let bomb = gzip(&vec![b' '; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(decode(Coding::Gzip, &bomb), Err(CodingError::TooLarge)));
        for wrong in [&b"no gzip"[..], b"", &gzip(text)[..20]] {
            assert!(matches!(decode(Coding::Gzip, wrong), Err(CodingError::Invalid(_))));
        }
    }
}
