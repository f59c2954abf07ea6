//! Every default, and why it is what it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Loopback: a server is opened to others on purpose.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// Beside the clients' port, and on loopback: what operators may do is more than
/// what clients may.
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4001);

/// Some operators with some tools each; none of them holds many.
pub(super) const ADMIN_MAX_CONNECTIONS: usize = 64;

/// As long as a few megabytes need over a slow line.
pub(super) const ADMIN_TIMEOUT_MS: u64 = 30_000;

/// Where phoenix.js examples connect to.
pub(super) const SOCKET_PATH: &str = "/socket";

/// As in Phoenix: two missed heartbeats of phoenix.js, which sends one every
/// 30 seconds.
pub(super) const IDLE_TIMEOUT_MS: u64 = 60_000;

/// As in `websock_adapter`, which Phoenix uses.
pub(super) const MAX_FRAME_BYTES: usize = 10_000_000;

/// As in Phoenix since 1.8.9.
pub(super) const MAX_CHANNELS: usize = 100;

/// A burst of a client while one slow call runs; more is a client that does not
/// wait for its answers.
pub(super) const MAX_PENDING: usize = 1_000;

/// One message of the largest size, and as much again behind it. A thousand connections
/// that all use theirs fit a machine with 16 GiB.
pub(super) const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// Longer than half a second of a slow line takes for the largest message that still comes
/// at the pace which is asked of it after that.
pub(super) const MESSAGE_TIMEOUT_MS: u64 = 10_000;

/// More than any handler has a use for: each broadcast on one of them is a call.
pub(super) const MAX_SUBSCRIPTIONS: usize = 1_000;

/// Some seconds of a busy room for a client whose line is slow; with what waits to be
/// handled, no more than `MAX_PENDING_BYTES`.
pub(super) const OUTBOX_BYTES: usize = 8 * 1024 * 1024;

/// As long as a phone may be in a tunnel: TCP tries again some ten times meanwhile.
pub(super) const STALL_TIMEOUT_MS: u64 = 30_000;

/// Connections of a server; each needs a file descriptor.
pub(super) const MAX_CONNECTIONS: usize = 100_000;

/// More than a page has any use for; a client that sends more waits.
pub(super) const MAX_MESSAGES_PER_SECOND: u32 = 50_000;

/// Half of what a gigabit carries.
pub(super) const MAX_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

/// Clients behind one proxy have one address, so there is no bound of its own.
pub(super) const MAX_CONNECTIONS_PER_ADDRESS: usize = 0;

/// What two cores can accept and still serve those they have.
pub(super) const MAX_CONNECTS_PER_SECOND: u32 = 10_000;

/// Half of those of all, so that whatever comes from one address, others come in. Not
/// for this machine's own, as that is what a proxy beside the server is.
pub(super) const MAX_CONNECTS_PER_SECOND_PER_ADDRESS: Option<u32> = None;

/// Some topics for each of those.
pub(super) const MAX_JOINS_PER_SECOND: u32 = 20_000;

/// Clients come back within it, and not all at once.
pub(super) const DRAIN_OVER_MS: u64 = 2_000;

/// Within what service managers wait before they kill (systemd: 90 s, Docker:
/// 10 s, Kubernetes: 30 s).
pub(super) const DRAIN_TIMEOUT_MS: u64 = 8_000;

/// As long as a slow phone needs to send a request's headers.
pub(super) const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Longer than proxies keep theirs, so that none is closed under a request: nginx and AWS
/// 60 s, Go, Traefik and Caddy 90 to 120 s, Google Cloud 600 s.
pub(super) const KEEP_ALIVE_TIMEOUT_MS: u64 = 620_000;

/// Tasks of one connection: a burst of a busy page.
pub(super) const MAX_TASKS_PER_CONNECTION: usize = 1_024;

/// Clients that were turned away come back after a second.
pub(super) const RETRY_AFTER_MS: u64 = 1_000;

/// Events of one topic pattern that are measured each for itself: more than an
/// app has, and few enough for a StatsD server's files.
pub(super) const MAX_EVENTS: usize = 50;

/// Where a StatsD server listens unless told otherwise.
pub(super) const STATSD_ADDRESS: &str = "127.0.0.1:8125";

pub(super) const STATSD_PREFIX: &str = "millrace";

/// What goes through Ethernet in one piece.
pub(super) const STATSD_DATAGRAM_BYTES: usize = 1432;

/// A tenth of what StatsD servers add up before they pass it on.
pub(super) const STATSD_INTERVAL_MS: u64 = 1_000;

/// Crashes of a client that has a bug, not of one that has a purpose.
pub(super) const MAX_FAULTS: u32 = 20;

/// As in GenStage.
pub(super) const BUFFER_SIZE: usize = 10_000;

/// Six kilobytes for each event of a full buffer.
pub(super) const BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// What is larger belongs elsewhere, and its address into the event.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;

/// As Broadway's processors: few enough that what waits is divided fairly, enough
/// that a worker that waits for others is busy.
pub(super) const MAX_DEMAND: u32 = 10;

/// As long as a channel's call.
pub(super) const WORKER_TIMEOUT_MS: u64 = 30_000;

/// The first, and four more within two seconds.
pub(super) const MAX_ATTEMPTS: u16 = 5;

/// As soon as a glitch is over.
pub(super) const BACKOFF_MS: u64 = 100;

/// As long as an outage that nobody has to be woken for.
pub(super) const MAX_BACKOFF_MS: u64 = 60_000;

/// As many as somebody will look at.
pub(super) const DEAD_LETTERS: usize = 1_000;

/// Ten thousand events of 100 bytes.
pub(super) const INGEST_BODY_BYTES: usize = 1024 * 1024;

/// Those of such a body, and as many as a buffer of the default size holds.
pub(super) const INGEST_EVENTS: usize = 10_000;

/// As long as a few megabytes need over a slow line.
pub(super) const INGEST_TIMEOUT_MS: u64 = 30_000;

/// Shorter than HTTP clients wait.
pub(super) const INGEST_WAIT_MS: u64 = 5_000;

/// A large plugin with all its names is a tenth of that.
pub(super) const MAX_UPLOAD_BYTES: usize = 64 * 1024 * 1024;

/// A large plugin takes a tenth of that, and a machine has as much to spare.
pub(super) const COMPILE_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// A plugin takes seconds on a busy machine.
pub(super) const COMPILE_TIMEOUT_MS: u64 = 60_000;

/// A person, or a pipeline of deployments; each compiles for as long as seconds.
pub(super) const MAX_UPLOADS_PER_MINUTE: u32 = 60;

/// More than the odd client that sends what nobody thought of.
pub(super) const MAX_FAULT_RATE: f64 = 0.05;

/// All of them: an error may be the right answer.
pub(super) const MAX_ERROR_RATE: f64 = 1.0;

/// One fault of so many is just about allowed.
pub(super) const MIN_CALLS: u64 = 20;

/// What one channel in a hundred has is missed by every second trial.
pub(super) const MIGRATION_SAMPLES: usize = 64;

/// The one before, and what somebody wants to compare it with.
pub(super) const KEPT_VERSIONS: usize = 5;

/// The user, and the group that a proxy on the machine is in.
pub(super) const UNIX_SOCKET_MODE: u32 = 0o660;

/// What nginx, Caddy, HAProxy and load balancers add to.
pub(super) const FORWARDED_HEADER: &str = "x-forwarded-for";

/// Nobody waits for a certificate longer, and a look costs microseconds.
pub(super) const REREAD_MS: u64 = 1_000;

/// As long as a first request may take.
pub(super) const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Some 40 MB while all of them are under way.
pub(super) const TLS_MAX_HANDSHAKES: usize = 1_024;

/// A quarter of a core with a key of the usual kind (ECDSA), a core with RSA.
pub(super) const TLS_MAX_HANDSHAKES_PER_SECOND: u32 = 1_000;
