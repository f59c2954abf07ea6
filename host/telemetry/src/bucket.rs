//! A token bucket and a leaky bucket. Neither reads a clock: callers pass the time.

use std::time::{Duration, Instant};

/// A token bucket: a rate of tokens per second, and the most tokens that it holds at once. It may
/// go into debt, so that something larger than the bucket passes now and is paid for later.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// The tokens that are added per second; 0 means no limit.
    rate: f64,
    /// The most tokens that are held at once.
    most: f64,
    tokens: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket that gets `rate` tokens per second, and holds as many.
    pub fn new(rate: f64, now: Instant) -> Self {
        Self { rate, most: rate, tokens: rate, at: now }
    }

    /// A full bucket that gets `most` tokens per minute, and holds as many.
    pub fn per_minute(most: u32, now: Instant) -> Self {
        let most = f64::from(most);
        Self { rate: most / 60.0, most, tokens: most, at: now }
    }

    /// Takes tokens, even if there are fewer; returns how long it takes until the debt is paid.
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

    /// Takes one token.
    ///
    /// # Errors
    ///
    /// There is no token; the error is the time until there is one.
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

    /// Whether the bucket holds all its tokens.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.tokens >= self.most
    }

    /// The number of whole tokens in the bucket; `usize::MAX` without a limit.
    pub fn available(&mut self, now: Instant) -> usize {
        if self.rate == 0.0 {
            return usize::MAX;
        }
        self.refill(now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below 0")]
        let whole = self.tokens.max(0.0) as usize;
        whole
    }

    /// The time until there is a token; zero if there is one.
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

/// A leaky bucket: a level that is raised from outside, and that falls by one each second.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeakyBucket {
    level: f64,
    at: Option<Instant>,
}

impl LeakyBucket {
    /// A bucket that begins at this level.
    pub fn at(level: f64, now: Instant) -> Self {
        Self { level, at: Some(now) }
    }

    /// The level at this time.
    pub fn level(&self, now: Instant) -> f64 {
        (self.level - self.since(now).as_secs_f64()).max(0.0)
    }

    /// Raises the level by one, but not above `most`.
    pub fn add(&mut self, most: f64, now: Instant) {
        self.level = (self.level(now) + 1.0).min(most);
        self.at = Some(now);
    }

    /// The time since something was added last; [`Duration::MAX`] if nothing ever was.
    pub fn since(&self, now: Instant) -> Duration {
        self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// In any span of time, no more passes than the rate allows, and one burst.
        #[test]
        fn the_rate_holds(rate in 1..1000u32, waits in proptest::collection::vec(0..50u64, 1..500)) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(f64::from(rate), start);
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
        let mut bucket = TokenBucket::new(10.0, now);
        assert_eq!(bucket.spend(10.0, now), Duration::ZERO);
        assert_eq!(bucket.spend(5.0, now), Duration::from_millis(500));
        assert_eq!(bucket.take(now + Duration::from_millis(500)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + Duration::from_millis(700)), Ok(()));
    }

    #[test]
    fn a_level_falls_by_one_each_second() {
        let (mut leaky, now) = (LeakyBucket::default(), Instant::now());
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
        let mut bucket = TokenBucket::new(0.0, now);
        assert_eq!(bucket.spend(1e9, now), Duration::ZERO);
        assert_eq!(bucket.take(now), Ok(()));
    }
}
