//! What a pipeline costs for each event: `cargo bench -p millrace --bench
//! pipeline`, after `millrace build tests/apps/trivial`.
//!
//! Each line is one run over a million events of 100 bytes, which one producer
//! hands over a thousand at a time and one consumer works on; everything on one
//! thread. The first column is events in a second, the second CPU time for each.
//!
//! `-- WORDS` picks the lines with all of these words, `EVENTS=N` in the
//! environment another number of events, for a profiler.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace::App;
use millrace::pipeline::{
    BufferSpec, DemandLimits, DispatcherSpec, NewEvent, Nowhere, OnFull, Pipeline, PipelineSpec,
    RetryPolicy, StageSpec, Worker, WorkerSpec,
};
use millrace::plugin::{Plugin, Settings};
use millrace::telemetry::Metrics;
use millrace::wasm::{Engine, Work};

const CHUNK: usize = 1_000;
/// Runs of each line; the median is shown.
const RUNS: usize = 5;

fn events() -> usize {
    std::env::var("EVENTS").map_or(1_000_000, |events| events.parse().unwrap())
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let native = Worker::Native(Arc::new(|batch| {
            let mut from = 0;
            for meta in &batch.metas {
                let payload = batch.payloads.get(from..meta.payload_end as usize);
                from = meta.payload_end as usize;
                assert!(payload.is_some_and(|payload| !payload.is_empty()));
            }
            Work::default()
        }));
        let wasm = Worker::Plugin(Arc::new(trivial().await));
        for (name, max, min, batch) in [
            ("batches, max 2000, min 1000", 2000, 1000, 1000),
            ("batches, max 1000, min 500", 1000, 500, 500),
            ("batches, max 10, min 5", 10, 5, 5),
            ("each for itself, max 1000", 1000, 500, 1),
            ("each for itself, max 10", 10, 5, 1),
        ] {
            for worker in [&native, &wasm] {
                let line = format!("{name:30} {:8}", worker.name());
                if !words.iter().all(|word| line.contains(word)) {
                    continue;
                }
                let mut runs = Vec::new();
                for _ in 0..RUNS {
                    runs.push(run(worker.clone(), max, min, batch).await);
                }
                runs.sort();
                let (took, cpu) = runs[RUNS / 2];
                println!(
                    "{line} {:>11.0} events/s {:>6.0} ns CPU",
                    events() as f64 / took.as_secs_f64(),
                    cpu.as_nanos() as f64 / events() as f64,
                );
            }
        }
    });
}

async fn run(worker: Worker, max: u32, min: u32, batch_size: u32) -> (Duration, Duration) {
    let worker = WorkerSpec {
        worker,
        consumers: 1,
        demand: DemandLimits::new(max, Some(min)).unwrap(),
        batch_size,
        batch_timeout: Duration::ZERO,
        concurrency: max,
        timeout: Duration::from_secs(30),
        selector: None,
    };
    let spec = PipelineSpec {
        name: "bench".to_owned(),
        buffer: BufferSpec {
            size: 10_000,
            max_bytes: 64 << 20,
            max_event_bytes: 1024,
            max_per_key: 0,
            on_full: OnFull::Wait,
        },
        retry: RetryPolicy {
            max_attempts: 5,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        },
        partition_by: None,
        deadline: None,
        ordered: false,
        rate_per_second: None,
        dead_letters: 10,
        keep_dropped: false,
        stages: vec![StageSpec { dispatcher: DispatcherSpec::Demand, workers: vec![worker] }],
    };
    let pipeline = Arc::new(Pipeline::new(spec, 1, &Metrics::none()).unwrap());
    pipeline.start(Weak::<Nowhere>::new());
    let payload = Bytes::from(vec![b'x'; 100]);
    let (began, cpu) = (Instant::now(), cpu_time());
    for _ in 0..events() / CHUNK {
        let events = (0..CHUNK).map(|_| {
            let payload = Bytes::copy_from_slice(&payload);
            NewEvent { payload, ..NewEvent::default() }
        });
        let handover = pipeline.enqueue_patiently(events.collect(), Duration::from_secs(60)).await;
        assert!(handover.refused.is_empty());
    }
    pipeline.emptied().await;
    let took = (began.elapsed(), cpu_time() - cpu);
    assert_eq!(pipeline.totals().done, events() as u64);
    took
}

async fn trivial() -> Plugin {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/apps/trivial");
    let app = App::load(&folder).unwrap();
    let plugin = &app.plugins[0];
    let wasm = std::fs::read(plugin.source.component()).expect("millrace build tests/apps/trivial");
    let engine = Engine::new(16, 64 << 20, false).unwrap();
    let settings =
        Settings::new(plugin.name.clone(), Default::default(), Default::default(), Metrics::none());
    let loading = engine.compile(&wasm, Arc::new(settings), plugin.limits).unwrap();
    Plugin::new(plugin.name.clone(), loading.finish().await.unwrap())
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
