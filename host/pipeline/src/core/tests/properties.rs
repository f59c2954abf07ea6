//! Properties of the core that hold whatever happens.

use proptest::prelude::*;

use super::dispatchers::Sabotage;
use super::run::{Ending, Kind, Run, Step};
use super::*;

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(Ending::Ok),
        1 => Just(Ending::Crash),
        1 => Just(Ending::Unavailable),
        2 => proptest::collection::vec(0..5_u8, 0..8).prop_map(Ending::Mixed),
    ]
}

fn sabotage() -> impl Strategy<Value = Option<(Sabotage, u8)>> {
    let sabotage = proptest::sample::select(Sabotage::ALL.as_slice());
    proptest::option::weighted(0.7, (sabotage, 0..6_u8))
}

/// Steps that happen to a pipeline; with `peace`, none that breaks a dispatcher or ends a
/// subscription.
fn steps(peace: bool) -> impl Strategy<Value = Vec<Step>> {
    let unrest = u32::from(!peace);
    let step = prop_oneof![
        8 => (proptest::option::of(0..4_u8), proptest::option::of(0..8_u8))
            .prop_map(|(key, selected)| Step::Accept { key, selected }),
        8 => (0..2_u8, 0..6_u8, 0..12_u8)
            .prop_map(|(stage, consumer, allowed)| Step::Take { stage, consumer, allowed }),
        8 => (any::<u8>(), ending()).prop_map(|(call, end)| Step::Finish { call, end }),
        unrest => (0..2_u8, 1..12_u8, 0..12_u8, 1..4_u8).prop_map(|(stage, max, min, calls)| {
            Step::Subscribe { stage, max, min: min % max, calls }
        }),
        unrest => (0..2_u8, 0..6_u8)
            .prop_map(|(stage, consumer)| Step::Cancel { stage, consumer }),
        2 * unrest => (0..2_u8, sabotage())
            .prop_map(|(stage, sabotage)| Step::Swap { stage, sabotage }),
        1 => (0..2_u8).prop_map(|stage| Step::Swap { stage, sabotage: None }),
        2 => (0..500_u16).prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 0..200)
}

fn on_full() -> impl Strategy<Value = OnFull> {
    proptest::sample::select(vec![OnFull::Reject, OnFull::KeepFirst, OnFull::KeepLast])
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let last = proptest::sample::select(vec![Kind::Demand, Kind::Partition, Kind::Broadcast]);
    (any::<bool>(), last).prop_map(|(transforms, last)| match transforms {
        true => vec![Kind::Demand, last],
        false => vec![last],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_over_sent(
        steps in steps(false),
        kinds in kinds(),
        ordered: bool,
        on_full in on_full(),
        max_per_key in 0..4_usize,
        deadline_ms in proptest::option::of(200..2_000_u64),
    ) {
        let deadline = deadline_ms.map(Duration::from_millis);
        let config =
            CoreConfig { size: 12, ordered, on_full, max_per_key, deadline, ..config() };
        let mut run = Run::new(config, &kinds, &[(4, 2), (3, 0)]);
        steps.into_iter().for_each(|step| run.step(step));
        run.end();
    }

    /// Events of a key start in order without `ordered` too, as long as one consumer gets all of
    /// them. An event that is tried again has started before, and is left out.
    #[test]
    fn events_of_a_key_start_in_order_with_one_consumer(
        steps in steps(true),
        partition: bool,
        on_full in on_full(),
    ) {
        let config = CoreConfig { size: 12, on_full, ..config() };
        let mut run = match partition {
            true => Run::new(config, &[Kind::Partition], &[(4, 2), (3, 0), (6, 5)]),
            false => Run::new(config, &[Kind::Demand], &[(6, 2)]),
        };
        run.starts_in_order = true;
        steps.into_iter().for_each(|step| run.step(step));
        run.end();
    }
}
