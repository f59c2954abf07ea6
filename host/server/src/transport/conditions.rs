//! What of a file a request wants: its preconditions and its range (RFC 9110, sections 13
//! and 14).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use rustix::fs::Stat;

/// What a file is now, to tell it from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) etag: String,
    /// In whole seconds; `None` for a time that is no date of HTTP.
    pub(super) modified: Option<SystemTime>,
    /// In bytes.
    pub(super) len: u64,
}

/// What of it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// These bytes, which are a part of it or all.
    Bytes { range: Range<u64>, part: bool },
    /// The client has it.
    NotModified,
    /// A part that it does not have.
    Nothing,
    /// It is not what the client takes it for.
    Failed,
}

/// The first second of the year 10000, which has no HTTP date.
const YEAR_10_000: u64 = 253_402_300_800;

impl Version {
    /// The version of a file with this status. Its tag is made of its length, of when it was
    /// changed and of when it was put there: a file that takes the place of a newer one, or
    /// has the same times as all others, has another.
    pub(super) fn new(stat: &Stat) -> Self {
        const SECOND: i128 = 1_000_000_000;
        let changed = i128::from(stat.st_mtime) * SECOND + i128::from(stat.st_mtime_nsec);
        let put = i128::from(stat.st_ctime) * SECOND + i128::from(stat.st_ctime_nsec);
        let len = u64::try_from(stat.st_size).unwrap_or_default();
        let seconds = u64::try_from(stat.st_mtime).ok().filter(|seconds| *seconds < YEAR_10_000);
        let modified = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        // A date to come would be none of this version (section 8.8.2.1).
        let modified = modified.filter(|modified| *modified <= SystemTime::now());
        Self { etag: format!("\"{len:x}-{changed:x}-{put:x}\""), modified, len }
    }

    /// What a GET or HEAD wants, in the order of section 13.2.2.
    pub(super) fn wanted(&self, method: &Method, headers: &HeaderMap) -> Wanted {
        let is_met = match tags(headers, IF_MATCH) {
            Some(mut tags) => tags.any(|tag| tag == "*" || tag == self.etag),
            None => self.time(headers, IF_UNMODIFIED_SINCE).is_none_or(|(own, given)| own <= given),
        };
        if !is_met {
            return Wanted::Failed;
        }
        let is_had = match tags(headers, IF_NONE_MATCH) {
            Some(mut tags) => tags.any(|tag| tag == "*" || weak(tag) == self.etag),
            // An older one is another one, too.
            None => self.time(headers, IF_MODIFIED_SINCE).is_some_and(|(own, given)| own == given),
        };
        if is_had {
            return Wanted::NotModified;
        }
        if *method == Method::GET && self.may_be_part(headers) {
            match text(headers, RANGE).and_then(|range| part(range, self.len)) {
                Some(Some(range)) => return Wanted::Bytes { range, part: true },
                Some(None) => return Wanted::Nothing,
                None => {}
            }
        }
        Wanted::Bytes { range: 0..self.len, part: false }
    }

    /// Whether a part would go with what the client has.
    fn may_be_part(&self, headers: &HeaderMap) -> bool {
        match text(headers, IF_RANGE) {
            Some(tag) if tag.ends_with('"') => tag == self.etag,
            Some(_) => self.time(headers, IF_RANGE).is_some_and(|(own, given)| own == given),
            None => !headers.contains_key(IF_RANGE),
        }
    }

    /// When it was changed, and the date in a header, if there are both.
    fn time(&self, headers: &HeaderMap, name: HeaderName) -> Option<(SystemTime, SystemTime)> {
        let given = httpdate::parse_http_date(text(headers, name)?).ok()?;
        Some((self.modified?, given))
    }
}

/// A header that has one value.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok().map(str::trim)
}

/// The tags of a header, if it is there.
fn tags(headers: &HeaderMap, name: HeaderName) -> Option<impl Iterator<Item = &str>> {
    headers.contains_key(&name).then(|| {
        let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(str::trim)
    })
}

fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// The part of so many bytes that a `Range` names; the inner `None` if there is no such part.
/// The outer one if it names none or several, or in another unit: all is sent then, as
/// section 14.2 allows.
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

/// Digits; as large a number as there is for more of them.
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

    const WHOLE: Wanted = Wanted::Bytes { range: 0..100, part: false };

    fn bytes(range: Range<u64>) -> Wanted {
        Wanted::Bytes { range, part: true }
    }

    fn wanted(asked: &[(HeaderName, &'static str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in asked {
            headers.append(name, HeaderValue::from_static(value));
        }
        version().wanted(&Method::GET, &headers)
    }

    #[test]
    fn preconditions_are_looked_at_in_their_order() {
        for (asked, expected) in [
            (&[][..], WHOLE),
            (&[(IF_NONE_MATCH, "\"b\", W/\"a\"")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "*")], Wanted::NotModified),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, NOW)], WHOLE),
            (&[(IF_MODIFIED_SINCE, NOW)], Wanted::NotModified),
            (&[(IF_MODIFIED_SINCE, LATER)], WHOLE),
            (&[(IF_MODIFIED_SINCE, EARLIER)], WHOLE),
            (&[(IF_MODIFIED_SINCE, "yesterday")], WHOLE),
            (&[(IF_MATCH, "\"a\"")], WHOLE),
            (&[(IF_MATCH, "*")], WHOLE),
            (&[(IF_MATCH, "W/\"a\"")], Wanted::Failed),
            (&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Wanted::Failed),
            (&[(IF_UNMODIFIED_SINCE, EARLIER)], Wanted::Failed),
            (&[(IF_UNMODIFIED_SINCE, LATER)], WHOLE),
        ] {
            assert_eq!(wanted(asked), expected, "{asked:?}");
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
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=9-0", WHOLE),
            ("bytes=0-1,5-6", WHOLE),
            ("bytes=x-", WHOLE),
            ("bytes=-", WHOLE),
            ("bytes=", WHOLE),
            ("lines=1-2", WHOLE),
            ("bytes", WHOLE),
        ] {
            assert_eq!(wanted(&[(RANGE, range)]), expected, "{range}");
        }
        let nothing = Version { len: 0, ..version() };
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-"));
        assert_eq!(nothing.wanted(&Method::GET, &headers), Wanted::Nothing);
        assert_eq!(version().wanted(&Method::HEAD, &headers), WHOLE);
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
            let found = wanted(&[(RANGE, "bytes=0-0"), (IF_RANGE, if_range)]);
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
