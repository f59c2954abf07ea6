//! Conditional requests and ranges: which part of a file a request wants (RFC 9110, sections 13 and
//! 14).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use rustix::fs::Stat;

/// The version of a file, by which it is told from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) etag: String,
    /// The time of the last change in whole seconds; `None` for a time that HTTP dates cannot
    /// express.
    pub(super) modified: Option<SystemTime>,
    /// The length in bytes.
    pub(super) len: u64,
}

/// The part of a file that a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selected {
    /// The bytes of a range, or all of the file.
    Bytes { range: Range<u64>, part: bool },
    /// Nothing, as the client has this version (304).
    NotModified,
    /// A range that the file does not have (416).
    RangeNotSatisfiable,
    /// Another version than this one (412).
    PreconditionFailed,
}

/// The first second of the year 10000, which HTTP dates cannot express.
const YEAR_10_000: u64 = 253_402_300_800;

impl Version {
    /// The version of a file with this status. Its tag is made of the length, the time of the last
    /// change of its content, and that of its inode. So a file has another tag if it replaces a
    /// newer one, or if all files have the same modification time.
    pub(super) fn new(stat: &Stat) -> Self {
        const SECOND: i128 = 1_000_000_000;
        let changed = i128::from(stat.st_mtime) * SECOND + i128::from(stat.st_mtime_nsec);
        let put = i128::from(stat.st_ctime) * SECOND + i128::from(stat.st_ctime_nsec);
        let len = u64::try_from(stat.st_size).unwrap_or_default();
        let seconds = u64::try_from(stat.st_mtime).ok().filter(|seconds| *seconds < YEAR_10_000);
        let modified = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        // A date in the future must not be sent (RFC 9110, section 8.8.2.1).
        let modified = modified.filter(|modified| *modified <= SystemTime::now());
        Self { etag: format!("\"{len:x}-{changed:x}-{put:x}\""), modified, len }
    }

    /// The part that a GET or HEAD wants, by the order of section 13.2.2.
    pub(super) fn select(&self, method: &Method, headers: &HeaderMap) -> Selected {
        let is_met = match tags(headers, IF_MATCH) {
            Some(mut tags) => tags.any(|tag| tag == "*" || tag == self.etag),
            None => self.time(headers, IF_UNMODIFIED_SINCE).is_none_or(|(own, given)| own <= given),
        };
        if !is_met {
            return Selected::PreconditionFailed;
        }
        let is_had = match tags(headers, IF_NONE_MATCH) {
            Some(mut tags) => tags.any(|tag| tag == "*" || weak(tag) == self.etag),
            // Only the same time matches: a file that is older was replaced, too.
            None => self.time(headers, IF_MODIFIED_SINCE).is_some_and(|(own, given)| own == given),
        };
        if is_had {
            return Selected::NotModified;
        }
        if *method == Method::GET && self.may_be_part(headers) {
            match text(headers, RANGE).and_then(|range| part(range, self.len)) {
                Some(Some(range)) => return Selected::Bytes { range, part: true },
                Some(None) => return Selected::RangeNotSatisfiable,
                None => {}
            }
        }
        Selected::Bytes { range: 0..self.len, part: false }
    }

    /// Whether a part would belong to the version that the client has (`If-Range`).
    fn may_be_part(&self, headers: &HeaderMap) -> bool {
        match text(headers, IF_RANGE) {
            Some(tag) if tag.ends_with('"') => tag == self.etag,
            Some(_) => self.time(headers, IF_RANGE).is_some_and(|(own, given)| own == given),
            None => !headers.contains_key(IF_RANGE),
        }
    }

    /// The time of the last change, and the date in a header; `None` if one of them is missing.
    fn time(&self, headers: &HeaderMap, name: HeaderName) -> Option<(SystemTime, SystemTime)> {
        let given = httpdate::parse_http_date(text(headers, name)?).ok()?;
        Some((self.modified?, given))
    }
}

/// The value of a header that occurs once.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok().map(str::trim)
}

/// The tags in a header; `None` if the header is missing.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<impl Iterator<Item = &str>> {
    headers.contains_key(&name).then(|| {
        let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(str::trim)
    })
}

fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The range of a file of `len` bytes that a `Range` header names. The outer `None` means that the
/// header has no range, several, or another unit: then the whole file is sent, as section 14.2
/// allows. The inner one means that the file has no such range.
fn part(header: &str, len: u64) -> Option<Option<Range<u64>>> {
    let (unit, ranges) = header.split_once('=')?;
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let range = ranges.next().filter(|_| ranges.next().is_none())?;
    let (first, last) = range.split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let range = match (first, last) {
        ("", last) => len.saturating_sub(number(last)?)..len,
        (first, "") => number(first)?..len,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..len.min(last.saturating_add(1))
        }
    };
    Some((!range.is_empty()).then_some(range))
}

/// Parses digits; a number that is too large becomes the largest one.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn version() -> Version {
        let modified = Some(httpdate::parse_http_date(NOW).unwrap());
        Version { etag: "\"a\"".to_owned(), modified, len: 100 }
    }

    const WHOLE: Selected = Selected::Bytes { range: 0..100, part: false };

    fn bytes(range: Range<u64>) -> Selected {
        Selected::Bytes { range, part: true }
    }

    fn select(asked: &[(HeaderName, &'static str)]) -> Selected {
        let mut headers = HeaderMap::new();
        for (name, value) in asked {
            headers.append(name, HeaderValue::from_static(value));
        }
        version().select(&Method::GET, &headers)
    }

    #[test]
    fn preconditions_are_looked_at_in_their_order() {
        for (asked, expected) in [
            (&[][..], WHOLE),
            (&[(IF_NONE_MATCH, "\"b\", W/\"a\"")], Selected::NotModified),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Selected::NotModified),
            (&[(IF_NONE_MATCH, "*")], Selected::NotModified),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, NOW)], WHOLE),
            (&[(IF_MODIFIED_SINCE, NOW)], Selected::NotModified),
            (&[(IF_MODIFIED_SINCE, LATER)], WHOLE),
            (&[(IF_MODIFIED_SINCE, EARLIER)], WHOLE),
            (&[(IF_MODIFIED_SINCE, "yesterday")], WHOLE),
            (&[(IF_MATCH, "\"a\"")], WHOLE),
            (&[(IF_MATCH, "*")], WHOLE),
            (&[(IF_MATCH, "W/\"a\"")], Selected::PreconditionFailed),
            (&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Selected::PreconditionFailed),
            (&[(IF_UNMODIFIED_SINCE, EARLIER)], Selected::PreconditionFailed),
            (&[(IF_UNMODIFIED_SINCE, LATER)], WHOLE),
        ] {
            assert_eq!(select(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_range_is_one_of_bytes_or_all() {
        for (range, expected) in [
            ("bytes=0-9", bytes(0..10)),
            ("Bytes = 90-", bytes(90..100)),
            ("bytes=90-1000", bytes(90..100)),
            ("bytes=-10", bytes(90..100)),
            ("bytes=-1000", bytes(0..100)),
            ("bytes=99-99999999999999999999999", bytes(99..100)),
            ("bytes=100-", Selected::RangeNotSatisfiable),
            ("bytes=-0", Selected::RangeNotSatisfiable),
            ("bytes=99999999999999999999999-", Selected::RangeNotSatisfiable),
            ("bytes=9-0", WHOLE),
            ("bytes=0-1,5-6", WHOLE),
            ("bytes=x-", WHOLE),
            ("bytes=-", WHOLE),
            ("bytes=", WHOLE),
            ("lines=1-2", WHOLE),
            ("bytes", WHOLE),
        ] {
            assert_eq!(select(&[(RANGE, range)]), expected, "{range}");
        }
        let nothing = Version { len: 0, ..version() };
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-"));
        assert_eq!(nothing.select(&Method::GET, &headers), Selected::RangeNotSatisfiable);
        assert_eq!(version().select(&Method::HEAD, &headers), WHOLE);
    }

    #[test]
    fn a_part_goes_with_what_the_client_has() {
        for (if_range, expected) in [
            ("\"a\"", bytes(0..1)),
            ("\"b\"", WHOLE),
            ("W/\"a\"", WHOLE),
            (NOW, bytes(0..1)),
            (EARLIER, WHOLE),
            (LATER, WHOLE),
            ("nonsense", WHOLE),
        ] {
            let found = select(&[(RANGE, "bytes=0-0"), (IF_RANGE, if_range)]);
            assert_eq!(found, expected, "{if_range}");
        }
    }

    #[test]
    fn times_that_are_no_dates_are_left_out() {
        let mut stat = rustix::fs::stat("/").unwrap();
        for (seconds, is_date) in [(-1, false), (0, true), (253_402_300_800, false)] {
            stat.st_mtime = seconds;
            assert_eq!(Version::new(&stat).modified.is_some(), is_date, "{seconds}");
        }
    }
}
