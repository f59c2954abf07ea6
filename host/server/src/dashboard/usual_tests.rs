//! Tests with made series, a step at a time: what is marked, how soon, and what is not.

use super::*;

/// The number of steps in a day.
const DAY: usize = 24 * 60 * 60 / 15;
/// The step at which something happens, long after the start.
const AT: usize = 200;

/// Random numbers that are the same each time (SplitMix64).
struct Noise(u64);

impl Noise {
    /// A number from 0 to 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// A normally distributed number around 0, by the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform().max(1e-12), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// A factor around 1, skewed as times are: a `spread` of 0.3 is about 30 %.
    fn factor(&mut self, spread: f64) -> f64 {
        (spread * self.normal()).exp()
    }

    /// The rate over a step of something that happens by chance, `rate` times a second.
    fn events(&mut self, rate: f64) -> f64 {
        let happens = |_: &u32| self.uniform() < rate / 100.0;
        let count = (0..1500).filter(happens).count();
        f64::from(u32::try_from(count).unwrap()) / 15.0
    }
}

/// The steps at which marks begin.
fn marks(watch: &mut Watch, series: impl IntoIterator<Item = f64>) -> Vec<(usize, Side)> {
    let mut begun = Vec::new();
    for (at, level) in series.into_iter().enumerate() {
        let was_marked = watch.mark().is_some();
        watch.step(Some(level));
        if let (false, Some(mark)) = (was_marked, watch.mark()) {
            begun.push((at, mark.side));
        }
    }
    begun
}

fn steps(watch: &mut Watch, levels: impl IntoIterator<Item = f64>) {
    levels.into_iter().for_each(|level| watch.step(Some(level)));
}

/// The marks of a figure in milliseconds.
fn times(series: impl IntoIterator<Item = f64>) -> Vec<(usize, Side)> {
    marks(&mut Watch::new(5.0, false), series)
}

/// The marks of a figure of which less is noteworthy, too.
fn levels(series: impl IntoIterator<Item = f64>) -> Vec<(usize, Side)> {
    marks(&mut Watch::new(20.0, true), series)
}

fn minutes(steps: usize) -> f64 {
    f64::from(u32::try_from(steps).unwrap()) * STEP_SECONDS / 60.0
}

#[test]
fn a_step_is_marked_after_half_a_minute() {
    let mut noise = Noise(1);
    let mut step = |times: f64| {
        let level = move |at| if at < AT { 10.0 } else { 10.0 * times };
        (0..AT + 100).map(|at| level(at) * noise.factor(0.2)).collect::<Vec<_>>()
    };
    let soon = (AT + IN_A_ROW - 1, Side::Above);
    assert_eq!(times(step(6.0)), [soon]);
    assert_eq!(times(step(1.3)), []);
    let down: Vec<_> = step(1.0 / 3.0).iter().map(|level| level * 100.0).collect();
    assert_eq!(levels(down.clone()), [(soon.0, Side::Below)]);
    assert_eq!(times(down), [], "less of a time is no trouble");
}

#[test]
fn a_mark_stays_until_it_is_back_or_is_usual() {
    let mut watch = Watch::new(5.0, false);
    let mut marked = 0;
    for at in 0..3 * MAX_STEPS {
        watch.step(Some(if at < MAX_STEPS { 10.0 } else { 60.0 }));
        marked += usize::from(watch.mark().is_some());
    }
    assert_eq!(marked, MAX_STEPS, "a quarter of an hour");
    steps(&mut watch, [10.0; 40]);
    steps(&mut watch, [60.0, 60.0]);
    assert_eq!(watch.mark(), None, "it has been there lately");
    steps(&mut watch, [10.0; MAX_STEPS]);
    steps(&mut watch, [60.0, 90.0]);
    let mark = watch.mark().unwrap();
    assert_eq!((mark.now, mark.usual.centre), (90.0, 10.0));
    steps(&mut watch, [10.0, 10.0]);
    assert_eq!(watch.mark(), None);
}

#[test]
fn a_single_spike_says_nothing() {
    let spikes = (0..DAY).map(|at| if at % 100 == 99 { 5_000.0 } else { 10.0 });
    assert_eq!(times(spikes), []);
    // Neither is the next one hidden by it.
    let then = |at| if at == AT - 20 || at >= AT { 60.0 } else { 10.0 };
    assert_eq!(times((0..AT + 10).map(then)), [(AT + 1, Side::Above)]);
}

#[test]
fn a_rise_is_marked_if_it_doubles_within_minutes() {
    let rise = |doubling_minutes: f64| {
        let mut noise = Noise(2);
        let exponent = move |at: usize| minutes(at.saturating_sub(AT)) / doubling_minutes;
        times((0..AT + 240).map(|at| 10.0 * exponent(at).min(5.0).exp2() * noise.factor(0.1)))
    };
    for doubling_minutes in [1.0, 2.0, 4.0] {
        let marked = rise(doubling_minutes);
        let after = minutes(marked.first().expect("it is marked").0 - AT);
        assert!(after <= 2.0 * doubling_minutes, "{doubling_minutes}: {after}");
    }
    // What takes longer is for rules that look farther back, or know a threshold.
    for doubling_minutes in [10.0, 30.0, 120.0] {
        assert_eq!(rise(doubling_minutes), [], "{doubling_minutes}");
    }
}

#[test]
fn noise_is_hardly_ever_marked() {
    for spread in [0.05, 0.2, 0.5, 1.0] {
        let mut noise = Noise(3);
        let marked = times((0..10 * DAY).map(|_| 30.0 * noise.factor(spread)));
        assert!(marked.len() <= 1, "{spread}: {marked:?} in ten days");
    }
    for rate in [0.01, 0.1, 1.0] {
        let mut noise = Noise(4);
        let mut watch = Watch::new(0.2, false);
        let marked = marks(&mut watch, (0..DAY).map(|_| noise.events(rate)));
        assert_eq!(marked, [], "{rate}");
    }
}

#[test]
fn a_season_is_not_marked() {
    let season = |period_minutes: f64, times: f64| {
        let mut noise = Noise(5);
        let level = move |at| {
            let angle = std::f64::consts::TAU * minutes(at) / period_minutes;
            1_000.0 * times.powf((1.0 - angle.cos()) / 2.0)
        };
        levels((0..DAY).map(|at| level(at) * noise.factor(0.05)))
    };
    // The periods are a day, an hour and a few minutes; noon has five times as much as night.
    for period_minutes in [24.0 * 60.0, 60.0, 5.0] {
        assert_eq!(season(period_minutes, 5.0), [], "{period_minutes}");
    }
    // A job runs for one minute, every ten.
    let job = |at| if at % 40 < 4 { 300.0 } else { 20.0 };
    let marked = times((0..DAY).map(job));
    assert!(marked.iter().all(|(at, _)| *at < MAX_STEPS), "known after the first: {marked:?}");
}

#[test]
fn there_is_silence_at_the_start() {
    let wild = (0..MIN_STEPS).map(|at| if at % 7 < 4 { 0.0 } else { 1e6 });
    assert_eq!(times(wild), []);
    // Nothing measured is no history.
    let mut watch = Watch::new(5.0, false);
    (0..MAX_STEPS).for_each(|_| watch.step(None));
    assert_eq!(marks(&mut watch, [1e6; 10]), []);
    // With five minutes of levels there is a history.
    let early = (0..MIN_STEPS + 2).map(|at| if at < MIN_STEPS { 10.0 } else { 100.0 });
    assert_eq!(times(early), [(MIN_STEPS + 1, Side::Above)]);
}

#[test]
fn what_was_never_there_is_new() {
    let mut watch = Watch::new(0.2, false);
    let faults = (0..AT + 4).map(|at| if at < AT { 0.0 } else { 12.0 });
    assert_eq!(marks(&mut watch, faults), [(AT + 1, Side::Above)]);
    let mark = watch.mark().unwrap();
    assert_eq!((mark.usual.centre, mark.usual.max, mark.now), (0.0, 0.0, 12.0));
}
