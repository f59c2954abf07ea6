//! What a pipeline costs for each event: `cargo bench -p millrace --bench
//! pipeline`, after `millrace build tests/apps/trivial` and `millrace build
//! tests/apps/jobs`.
//!
//! Each line is one run over a million events of 100 bytes, which one producer
//! hands over a thousand at a time and one consumer works on; everything on one
//! thread. The first column is events in a second, the second CPU time for each;
//! the lines of a block are run in turns, and each shows its median.
//!
//! `-- WORDS` picks the lines with all of these words, `EVENTS=N` in the
//! environment another number of events, for a profiler.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use millrace::bench::{App, Plugin, roles};
use millrace_pipeline::{
    BufferSpec, DemandLimits, DispatcherSpec, Native, NewEvent, NullSink, OnFull, Pipeline,
    PipelineSpec, RetryPolicy, StageSpec, Work, Worker, WorkerSpec,
};
use millrace_telemetry::Metrics;
use millrace_wasm::{Engine, EngineLimits, Settings};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CHUNK: usize = 1_000;
/// Runs of each line; the median is shown.
const RUNS: usize = 5;

fn events() -> usize {
    std::env::var("EVENTS").map_or(1_000_000, |events| events.parse().unwrap())
}

/// One line.
#[derive(Clone)]
struct Case {
    name: String,
    worker: Arc<dyn Worker>,
    dispatcher: DispatcherSpec,
    max: u32,
    min: u32,
    batch: u32,
    /// Different keys; 0 for none.
    keys: usize,
    /// Events that wait while the million goes through.
    queued: usize,
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for block in blocks().await {
            let wanted = |case: &Case| words.iter().all(|word| case.name.contains(word));
            let block: Vec<_> = block.into_iter().filter(wanted).collect();
            let mut runs = vec![Vec::new(); block.len()];
            for _ in 0..RUNS {
                for (case, runs) in block.iter().zip(&mut runs) {
                    runs.push(run(case).await);
                }
            }
            for (case, mut runs) in block.iter().zip(runs) {
                runs.sort();
                let (took, cpu) = runs[RUNS / 2];
                println!(
                    "{:52} {:>11.0} events/s {:>6.0} ns CPU",
                    case.name,
                    events() as f64 / took.as_secs_f64(),
                    cpu.as_nanos() as f64 / events() as f64,
                );
            }
        }
    });
}

async fn blocks() -> Vec<Vec<Case>> {
    let native = Native::new(|batch| {
        let mut from = 0;
        for [_, end, ..] in &batch.rows {
            let payload = batch.payloads.get(from..*end as usize);
            from = *end as usize;
            assert!(payload.is_some_and(|payload| !payload.is_empty()));
        }
        Work::default()
    }) as Arc<dyn Worker>;
    let wasm = roles(Arc::new(plugin("trivial", "trivial").await)).worker;
    let fair = roles(Arc::new(plugin("jobs", "fair").await)).dispatcher;
    let workers = |name: &str, max, min, batch| {
        let case = |worker: &Arc<dyn Worker>| Case {
            name: format!("worker {:8} {name}", worker.name()),
            worker: Arc::clone(worker),
            dispatcher: DispatcherSpec::Demand,
            max,
            min,
            batch,
            keys: 0,
            queued: 0,
        };
        vec![case(&native), case(&wasm)]
    };
    let dispatchers = |batch: u32, queued: usize, keys: usize| {
        let all = [DispatcherSpec::Demand, DispatcherSpec::Partition, fair.clone()];
        let case = |dispatcher: DispatcherSpec| Case {
            name: format!(
                "dispatcher {:9} {keys:6} keys, {queued:7} queued, by {batch}",
                dispatcher.name()
            ),
            worker: Arc::clone(&native),
            dispatcher,
            max: 2 * batch,
            min: batch,
            batch,
            keys,
            queued,
        };
        all.map(case).to_vec()
    };
    vec![
        workers("batches, max 2000, min 1000", 2000, 1000, 1000),
        workers("batches, max 1000, min 500", 1000, 500, 500),
        workers("batches, max 10, min 5", 10, 5, 5),
        workers("each for itself, max 1000", 1000, 500, 1),
        workers("each for itself, max 10", 10, 5, 1),
        dispatchers(64, 1_000, 100),
        dispatchers(1_000, 1_000, 100),
        dispatchers(64, 1_000_000, 100_000),
        dispatchers(1_000, 1_000_000, 100_000),
    ]
}

async fn run(case: &Case) -> (Duration, Duration) {
    let pipeline = Arc::new(Pipeline::new(spec(case), 1, &Metrics::none()).unwrap());
    pipeline.start(Weak::<NullSink>::new());
    let payload = Bytes::from(vec![b'x'; 100]);
    let keys: Vec<Box<str>> = (0..case.keys).map(|key| format!("user-{key}").into()).collect();
    let mut number = 0;
    let mut chunk = || {
        let event = |_| {
            number += 1;
            let key = (!keys.is_empty()).then(|| keys[number % keys.len()].clone());
            NewEvent { payload: Bytes::copy_from_slice(&payload), key, ..NewEvent::default() }
        };
        (0..CHUNK).map(event).collect()
    };
    for _ in 0..case.queued / CHUNK {
        assert!(pipeline.enqueue(chunk()).refused.is_empty());
    }
    let (began, cpu) = (Instant::now(), cpu_time());
    for _ in 0..events() / CHUNK {
        let outcome = pipeline.enqueue_all(chunk(), Some(Duration::from_secs(60))).await;
        assert!(outcome.unwrap().refused.is_empty());
    }
    if case.queued == 0 {
        pipeline.emptied().await;
    }
    let took = (began.elapsed(), cpu_time() - cpu);
    let expected = events() - case.queued.min(events()) / 2;
    assert!(pipeline.totals().done >= expected as u64 / 2, "{:?}", pipeline.totals());
    pipeline.emptied().await;
    assert_eq!(pipeline.totals().done, (events() + case.queued) as u64);
    took
}

fn spec(case: &Case) -> PipelineSpec {
    let worker = WorkerSpec {
        worker: case.worker.clone(),
        consumers: 1,
        demand: DemandLimits::new(case.max, Some(case.min)).unwrap(),
        batch_size: case.batch,
        batch_timeout: Duration::ZERO,
        concurrency: case.max,
        timeout: Duration::from_secs(30),
        selector: None,
    };
    PipelineSpec {
        name: "bench".to_owned(),
        buffer: BufferSpec {
            // Room for two chunks beside what waits.
            size: if case.queued > 0 { case.queued + 2 * CHUNK } else { 4 * CHUNK },
            max_bytes: 1 << 30,
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
        stages: vec![StageSpec { dispatcher: case.dispatcher.clone(), workers: vec![worker] }],
    }
}

/// A plugin of a test app.
async fn plugin(app: &str, name: &str) -> Plugin {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/apps").join(app);
    let app = App::load(&folder).unwrap();
    let plugin = app.plugins.iter().find(|plugin| plugin.name == name).unwrap();
    let path = plugin.source.component();
    let wasm = std::fs::read(path).unwrap_or_else(|_| panic!("{path:?}: `millrace build` it"));
    let (max_memory_bytes, max_stack_bytes) = (64 << 20, 192 << 10);
    let limits = EngineLimits { max_instances: 100, max_memory_bytes, max_stack_bytes };
    let engine = Engine::new(limits, None).unwrap();
    let settings =
        Settings::new(plugin.name.clone(), Default::default(), Default::default(), Metrics::none());
    let loading = engine.compile(&wasm, Arc::new(settings), plugin.limits).unwrap();
    Plugin::new(plugin.name.clone(), loading.finish().await.unwrap())
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
