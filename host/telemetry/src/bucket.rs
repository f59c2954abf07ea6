//! Buckets that are told the time: one of tokens, and one that leaks.

use std::time::{Duration, Instant};

/// So many tokens in a second, and at most so many at once. It may go
/// into debt, so that something larger than it gets through now and is paid for
/// later.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// In a second; 0 is without bound.
    rate: f64,
    /// That are there at once.
    most: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// So many in a second, and as many at once.
    pub fn new(rate: f64, now: Instant) -> Self {
        Self { rate, most: rate, tokens: rate, at: now }
    }

    /// So many in a minute, and as many at once.
    pub fn per_minute(most: u32, now: Instant) -> Self {
        let most = f64::from(most);
        Self { rate: most / 60.0, most, tokens: most, at: now }
    }

    /// Takes tokens, whatever is there; how long it takes to pay for them.
    pub fn spend(&mut self, tokens: f64, now: Instant) -> Duration {
        if self.rate == 0.0 {
            return Duration::ZERO;
        }
        self.refill(now);
        self.tokens -= tokens;
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / self.rate).unwrap_or(Duration::MAX)
    }

    /// Takes one token if it is there; if not, when it will be.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.rate == 0.0 {
            return Ok(());
        }
        self.refill(now);
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Whether all tokens are there.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.most
    }

    /// The whole tokens that are there.
    pub fn available(&mut self, now: Instant) -> usize {
        if self.rate == 0.0 {
            return usize::MAX;
        }
        self.refill(now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0")]
        let whole = self.tokens.max(0.0) as usize;
        whole
    }

    /// How long it takes until one is there.
    pub fn until_next(&mut self, now: Instant) -> Duration {
        self.refill(now);
        Duration::try_from_secs_f64((1.0 - self.tokens) / self.rate).unwrap_or_default()
    }

    fn refill(&mut self, now: Instant) {
        if now == self.at {
            return;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.most);
        self.at = now;
    }
}

/// A level that something raises and that falls by one each second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaky {
    level: f64,
    at: Option<Instant>,
}

impl Leaky {
    /// Begins at a level.
    pub fn at(level: f64, now: Instant) -> Self {
        Self { level, at: Some(now) }
    }

    /// The level at this time.
    pub fn level(&self, now: Instant) -> f64 {
        (self.level - self.since(now).as_secs_f64()).max(0.0)
    }

    /// Raises it by one, to `most` at the highest.
    pub fn add(&mut self, most: f64, now: Instant) {
        self.level = (self.level(now) + 1.0).min(most);
        self.at = Some(now);
    }

    /// How long nothing has been added.
    pub fn since(&self, now: Instant) -> Duration {
        self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Over any time, no more goes through than the rate and one burst.
        #[test]
        fn the_rate_holds(rate in 1..1000u32, waits in proptest::collection::vec(0..50u64, 1..500)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(f64::from(rate), start);
            let (mut now, mut taken) = (start, 0u32);
            for wait in waits {
                now += Duration::from_millis(wait);
                taken += u32::from(bucket.take(now).is_ok());
            }
            let allowed = f64::from(rate) * (1.0 + (now - start).as_secs_f64());
            prop_assert!(f64::from(taken) <= allowed + 1e-6, "{taken} of {allowed}");
        }
    }

    #[test]
    fn debts_are_paid_in_time() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10.0, now);
        assert_eq!(bucket.spend(10.0, now), Duration::ZERO);
        assert_eq!(bucket.spend(5.0, now), Duration::from_millis(500));
        assert_eq!(bucket.take(now + Duration::from_millis(500)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + Duration::from_millis(700)), Ok(()));
    }

    #[test]
    fn a_level_falls_by_one_each_second() {
        let (mut leaky, now) = (Leaky::default(), Instant::now());
        assert_eq!(leaky.level(now), 0.0);
        (0..5).for_each(|_| leaky.add(3.0, now));
        assert_eq!(leaky.level(now), 3.0);
        assert_eq!(leaky.level(now + Duration::from_secs(2)), 1.0);
        assert_eq!(leaky.level(now + Duration::from_secs(9)), 0.0);
        assert_eq!(leaky.since(now + Duration::from_secs(9)), Duration::from_secs(9));
    }

    #[test]
    fn a_rate_of_zero_bounds_nothing() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0.0, now);
        assert_eq!(bucket.spend(1e9, now), Duration::ZERO);
        assert_eq!(bucket.take(now), Ok(()));
    }
}
