//! A dispatcher that keeps the order until it has been called `after` times, and then breaks its
//! contract in the way that `wrong` names:
//!
//! | `wrong` | what it does |
//! | --- | --- |
//! | `over_sends` | sends one consumer all there is |
//! | `repeats` | assigns an event twice |
//! | `unknown_event`, `unknown_consumer` | makes them up |
//! | `forgets` | assigns nothing any more |
//! | `forgets_one` | loses one event |
//! | `panics` | panics |
//! | `spins` | computes until its fuel is used up |
//! | `waits` | sleeps, which a dispatcher may not |
//! | `unequal` | answers with columns of unequal length |
//! | `hoards` | allocates more memory than it may have |
//! | `panics_on_subscribe` | panics when a consumer joins |
//! | `panics_in_init`, `fails_in_init` | does not start |

use std::cell::RefCell;
use std::time::Duration;

use millrace_plugin::bindings::dispatcher::exports::millrace::plugin::dispatcher as raw;
use millrace_plugin::bindings::dispatcher::exports::millrace::plugin::dispatcher_state;
use millrace_plugin::dispatcher::{Columns, Consumers};
use millrace_plugin::host::{clock, config};

/// The state of the dispatcher.
#[derive(Debug, Default)]
struct State {
    consumers: Consumers,
    events: Vec<u64>,
    wrong: String,
    /// The calls until it breaks its contract.
    after: u32,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// It does not use `export_dispatcher!`, which keeps the contract for its users.
struct Unfair;

impl raw::Guest for Unfair {
    fn init() -> Result<Columns, String> {
        let wrong = config::get("wrong").unwrap_or_default();
        assert!(wrong != "panics_in_init", "it panics in init");
        if wrong == "fails_in_init" {
            return Err("it has no mind to start".to_owned());
        }
        let after = config::get("after").and_then(|after| after.parse().ok()).unwrap_or(0);
        STATE.set(State { wrong, after, ..State::default() });
        Ok(Columns::empty())
    }

    fn subscribe(consumer: raw::Consumer) {
        STATE.with_borrow_mut(|state| {
            assert!(state.wrong != "panics_on_subscribe" || !state.is_time(), "it wants nobody");
            state.consumers.subscribe(consumer.id, consumer.max_demand);
        });
    }

    fn cancel(consumer: u32) {
        STATE.with_borrow_mut(|state| state.consumers.cancel(consumer));
    }

    fn dispatch(offer: raw::Offer) -> raw::Assignments {
        STATE.with_borrow_mut(|state| {
            offer.asks.iter().for_each(|ask| state.consumers.ask(ask.consumer, ask.demand));
            state.events.retain(|event| !offer.withdrawn.contains(event));
            state.events.extend(&offer.events);
            let mut assigned = state.assign();
            if state.wrong != "panics_on_subscribe" && state.is_time() {
                state.break_contract(&mut assigned);
            }
            assigned
        })
    }
}

impl dispatcher_state::Guest for Unfair {
    fn snapshot() -> Vec<u8> {
        Vec::new()
    }

    fn restore(_: Vec<u8>) {}
}

impl State {
    fn is_time(&mut self) -> bool {
        let is_time = self.after == 0;
        self.after = self.after.saturating_sub(1);
        is_time
    }

    fn assign(&mut self) -> raw::Assignments {
        let (mut events, mut consumers) = (Vec::new(), Vec::new());
        while self.consumers.are_asking() && !self.events.is_empty() {
            events.push(self.events.remove(0));
            consumers.extend(self.consumers.next());
        }
        raw::Assignments { events, consumers }
    }

    /// Whether it breaks its contract by what it assigns.
    fn needs_events(&self) -> bool {
        matches!(self.wrong.as_str(), "unknown_event" | "unknown_consumer" | "forgets_one")
    }

    fn break_contract(&mut self, assigned: &mut raw::Assignments) {
        if assigned.events.is_empty() && self.needs_events() {
            self.after = 0;
            return;
        }
        match self.wrong.as_str() {
            "over_sends" => {
                assigned.events.append(&mut self.events);
                assigned.consumers.resize(assigned.events.len(), 0);
                // If that was not too much, it tries again next time.
                self.after = 0;
            }
            "repeats" => {
                if let [first, .., last] = assigned.events.as_mut_slice() {
                    *last = *first;
                }
                self.after = 0;
            }
            "unknown_event" => {
                assigned.events[0] = 77 << 32 | 5;
            }
            "unknown_consumer" => assigned.consumers.fill(99),
            "forgets" => {
                self.events.clear();
                (assigned.events, assigned.consumers) = (Vec::new(), Vec::new());
                self.after = 0;
            }
            "forgets_one" => {
                assigned.events.pop();
                assigned.consumers.pop();
            }
            "panics" => panic!("it has had enough"),
            "spins" => spin(),
            "waits" => clock::sleep(Duration::from_millis(1)),
            "unequal" => {
                assigned.events.push(1);
                self.after = 0;
            }
            "hoards" => {
                std::hint::black_box(vec![1_u8; 1 << 30]);
            }
            _ => {}
        }
    }
}

/// Never ends. A compiler cannot remove the loop, even if it sees that nothing follows.
fn spin() {
    let mut number = 1_u64;
    while number != 0 {
        number = std::hint::black_box(number) | 1;
    }
}

millrace_plugin::bindings::dispatcher::export_dispatcher_plugin!(
    Unfair with_types_in millrace_plugin::bindings::dispatcher
);
