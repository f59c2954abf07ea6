//! Whatever happens in whichever order: clients know what is published, and end with what is true.

use proptest::prelude::*;

use super::world::{KEYS, Operation, TOPICS, World};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    Here(u64, Operation),
    Other(u64, Operation),
    Exchange,
    Forget { reconnects: bool },
    Pass(u64),
    Subscribe(usize),
    JoinAndTrack { topic: usize, key: usize },
    OfClient(usize, Operation),
    ResendState(usize),
    DisconnectOrRejoin(usize),
    Settle,
}

fn operation() -> impl Strategy<Value = Operation> {
    let place = || (0..TOPICS.len(), 0..KEYS.len());
    prop_oneof![
        4 => (place(), any::<u32>())
            .prop_map(|((topic, key), v)| Operation::Track { topic, key, v }),
        3 => (place(), any::<u32>())
            .prop_map(|((topic, key), v)| Operation::Update { topic, key, v }),
        2 => place().prop_map(|(topic, key)| Operation::Untrack { topic, key }),
        1 => Just(Operation::Leave),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..6_u64, operation()).prop_map(|(owner, operation)| Step::Here(owner, operation)),
        6 => (0..4_u64, operation()).prop_map(|(owner, operation)| Step::Other(owner, operation)),
        4 => Just(Step::Exchange),
        1 => any::<bool>().prop_map(|reconnects| Step::Forget { reconnects }),
        5 => prop_oneof![0..200_u64, 0..2_000_u64].prop_map(Step::Pass),
        2 => (0..TOPICS.len()).prop_map(Step::Subscribe),
        4 => (0..TOPICS.len(), 0..KEYS.len())
            .prop_map(|(topic, key)| Step::JoinAndTrack { topic, key }),
        4 => (any::<usize>(), operation()).prop_map(|(which, op)| Step::OfClient(which, op)),
        1 => any::<usize>().prop_map(Step::ResendState),
        3 => any::<usize>().prop_map(Step::DisconnectOrRejoin),
        1 => Just(Step::Settle),
    ]
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Here(owner, operation) => world.run_here(owner, operation),
        Step::Other(owner, operation) => world.run_other(owner, operation),
        Step::Exchange => world.exchange(),
        Step::Forget { reconnects } => world.forget(reconnects),
        Step::Pass(ms) => world.pass(ms),
        Step::Subscribe(topic) => world.subscribe(topic),
        Step::JoinAndTrack { topic, key } => world.join_and_track(topic, key),
        Step::OfClient(which, operation) => world.run_of_client(which, operation),
        Step::ResendState(which) => world.resend_state(which),
        Step::DisconnectOrRejoin(which) => world.disconnect_or_rejoin(which),
        Step::Settle => world.settle(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn clients_end_with_what_is_true_and_nothing_is_left(
        max_members in prop_oneof![0..5_usize, Just(100)],
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(max_members);
        for step in steps {
            take(&mut world, step);
        }
        world.settle();
        world.end();
    }
}
