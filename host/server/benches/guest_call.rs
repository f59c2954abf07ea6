//! What a call of a plugin costs, by the size of the payload, which goes in and
//! comes back as a reply, and by how many are handled together: `cargo bench -p millrace --bench guest_call`, after
//! `millrace build tests/apps/probe`.

mod guest;

use divan::Bencher;
use guest::{Guest, json};

fn main() {
    divan::main();
}

#[divan::bench(args = [64, 1024, 16 * 1024])]
fn ping(bencher: Bencher<'_, '_>, bytes: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guest = runtime.block_on(Guest::probe(false));
    let payload = json(bytes);
    // The first call makes the instance.
    runtime.block_on(guest.ping(&payload));
    bencher.bench_local(|| runtime.block_on(guest.ping(&payload)));
}

#[divan::bench(args = [1, 4, 16, 64])]
fn together(bencher: Bencher<'_, '_>, messages: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guest = runtime.block_on(Guest::probe(false));
    let payload = json(100);
    runtime.block_on(guest.ping(&payload));
    let bencher = bencher.counter(divan::counter::ItemsCount::new(messages));
    bencher.bench_local(|| runtime.block_on(guest.pings(&payload, messages)));
}
