//! Times on the command line.

use std::time::Duration;

/// Reads a time such as `30s`, `500ms`, `2m` or `12h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no time; one such as 30s, 500ms, 2m or 12h is expected");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| expected())?;
    let ms = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err(expected()),
    };
    Ok(Duration::from_millis(number.saturating_mul(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(duration("12h").unwrap(), Duration::from_secs(43_200));
        for wrong in ["", "30", "s", "1d", "-1s", "1.5s"] {
            assert!(duration(wrong).unwrap_err().contains("30s"), "{wrong}");
        }
    }
}
