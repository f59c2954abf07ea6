//! Every default, and the reason for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Loopback, so that a server is opened to others only on purpose.
pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// Beside the clients' port, and on loopback: operators may do more than clients.
pub(super) const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4001);

/// Some operators with some tools each, none of which holds many.
pub(super) const ADMIN_MAX_CONNECTIONS: usize = 64;

/// The time that a few megabytes need over a slow line.
pub(super) const ADMIN_TIMEOUT_MS: u64 = 30_000;

/// Long for a request to an identity provider, and well within a handshake's time. The keys are
/// fetched when the server starts, so few clients have to wait for it.
pub(super) const JWKS_TIMEOUT_MS: u64 = 3_000;

/// The path that examples of phoenix.js connect to.
pub(super) const SOCKET_PATH: &str = "/socket";

/// As in Phoenix: two missed heartbeats of phoenix.js, which sends one every
/// 30 seconds.
pub(super) const IDLE_TIMEOUT_MS: u64 = 60_000;

/// As in `websock_adapter`, which Phoenix uses.
pub(super) const MAX_FRAME_BYTES: usize = 10_000_000;

/// As in Phoenix since 1.8.9.
pub(super) const MAX_CHANNELS: usize = 100;

/// A burst of a client while one slow call runs; a client that sends more does not wait for its
/// answers.
pub(super) const MAX_PENDING: usize = 1_000;

/// One message of the largest size, and as much again behind it. A thousand connections that all
/// use this limit fit a machine with 16 GiB.
pub(super) const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// As long as a line may pause. Beyond that, 16 KiB per second of a message are enough.
pub(super) const MESSAGE_TIMEOUT_MS: u64 = 10_000;

/// More than any handler needs: each broadcast on one of the topics is a call.
pub(super) const MAX_SUBSCRIPTIONS: usize = 1_000;

/// Some seconds of a busy room for a client with a slow line; together with what waits to be
/// handled, no more than `MAX_PENDING_BYTES`.
pub(super) const OUTBOX_BYTES: usize = 8 * 1024 * 1024;

/// The time that a phone may be in a tunnel: TCP retries some ten times meanwhile.
pub(super) const STALL_TIMEOUT_MS: u64 = 30_000;

/// Some seconds of a busy topic, while a handler of who comes and goes is slow.
pub(super) const MAX_PRESENCE_WAITING: usize = 1_024;

/// One file descriptor is needed for each connection.
pub(super) const MAX_CONNECTIONS: usize = 100_000;

/// As in Phoenix: well below the 20 seconds after which phoenix.js gives a poll up.
pub(super) const LONG_POLL_WINDOW_MS: u64 = 10_000;

/// As in Phoenix, whose parsers read as much.
pub(super) const LONG_POLL_BODY_BYTES: usize = 8_000_000;

/// As many as phoenix.js sends in one request.
pub(super) const LONG_POLL_LINES: usize = 100;

/// More than a page needs; a client that sends more waits.
pub(super) const MAX_MESSAGES_PER_SECOND: u32 = 50_000;

/// Half of what a line of 1 Gbit/s carries.
pub(super) const MAX_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

/// No limit, because all clients behind one proxy have one address.
pub(super) const MAX_CONNECTIONS_PER_ADDRESS: usize = 0;

/// The number that two cores can accept while they serve the clients they have.
pub(super) const MAX_CONNECTS_PER_SECOND: u32 = 10_000;

/// Half of `max_connects_per_second`, so that others can connect whatever one address does. Without
/// limit for this machine's own addresses, because a proxy beside the server has one.
pub(super) const MAX_CONNECTS_PER_SECOND_PER_ADDRESS: Option<u32> = None;

/// Two topics for each of those connections.
pub(super) const MAX_JOINS_PER_SECOND: u32 = 20_000;

/// Clients come back within this time, and not all at once.
pub(super) const DRAIN_OVER_MS: u64 = 2_000;

/// Less than service managers wait before they kill (systemd: 90 s, Docker: 10 s,
/// Kubernetes: 30 s).
pub(super) const DRAIN_TIMEOUT_MS: u64 = 8_000;

/// The time that a slow phone needs to send a request's headers.
pub(super) const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// Longer than proxies keep their connections, so that none is closed under a request: nginx and
/// AWS 60 s, Go, Traefik and Caddy 90 to 120 s, Google Cloud 600 s.
pub(super) const KEEP_ALIVE_TIMEOUT_MS: u64 = 620_000;

/// Tasks of one connection: a burst of a busy page.
pub(super) const MAX_TASKS_PER_CONNECTION: usize = 1_024;

/// Clients that were refused come back after a second.
pub(super) const RETRY_AFTER_MS: u64 = 1_000;

/// Events of one topic pattern that are measured separately: more than an app has, and few enough
/// for the files of a StatsD server.
pub(super) const MAX_EVENTS: usize = 50;

/// The address at which StatsD servers listen by default.
pub(super) const STATSD_ADDRESS: &str = "127.0.0.1:8125";

pub(super) const STATSD_PREFIX: &str = "millrace";

/// What passes through Ethernet in one packet, as the page of StatsD about metric types says.
pub(super) const STATSD_DATAGRAM_BYTES: usize = 1432;

/// A tenth of the ten seconds over which StatsD servers add up.
pub(super) const STATSD_INTERVAL_MS: u64 = 1_000;

/// More crashes than a client with a bug causes, and fewer than one that attacks.
pub(super) const MAX_FAULTS: u32 = 20;

/// As in GenStage.
pub(super) const BUFFER_SIZE: usize = 10_000;

/// Six kilobytes for each event of a full buffer.
pub(super) const BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// A larger payload belongs elsewhere, with its address in the event.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;

/// As for Broadway's processors: few enough that waiting events are divided fairly, enough that a
/// worker that waits for others is busy.
pub(super) const MAX_DEMAND: u32 = 10;

/// As long as a channel's call may take.
pub(super) const WORKER_TIMEOUT_MS: u64 = 30_000;

/// The first attempt, and four more within two seconds.
pub(super) const MAX_ATTEMPTS: u16 = 5;

/// About as long as a short disturbance.
pub(super) const BACKOFF_MS: u64 = 100;

/// About as long as an outage for which nobody has to be woken.
pub(super) const MAX_BACKOFF_MS: u64 = 60_000;

/// As many as somebody will look at.
pub(super) const DEAD_LETTERS: usize = 1_000;

/// Ten thousand events of 100 bytes.
pub(super) const INGEST_BODY_BYTES: usize = 1024 * 1024;

/// The events of such a body, and as many as a buffer of the default size holds.
pub(super) const INGEST_EVENTS: usize = 10_000;

/// The time that a few megabytes need over a slow line.
pub(super) const INGEST_TIMEOUT_MS: u64 = 30_000;

/// Shorter than HTTP clients wait.
pub(super) const INGEST_WAIT_MS: u64 = 5_000;

/// Ten times a large plugin with all its names.
pub(super) const MAX_UPLOAD_BYTES: usize = 64 * 1024 * 1024;

/// Ten times the memory for a large plugin, and no more than a machine can spare.
pub(super) const COMPILE_MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// A plugin takes seconds on a busy machine.
pub(super) const COMPILE_TIMEOUT_MS: u64 = 60_000;

/// More than a person or a deployment uploads; each upload compiles for seconds.
pub(super) const MAX_UPLOADS_PER_MINUTE: u32 = 60;

/// More faults than the odd client causes that sends what nobody thought of.
pub(super) const MAX_FAULT_RATE: f64 = 0.05;

/// All calls may: an error may be the right answer.
pub(super) const MAX_ERROR_RATE: f64 = 1.0;

/// The fewest calls for which a single fault is just about allowed.
pub(super) const MIN_CALLS: u64 = 20;

/// So many that state which one channel in a hundred has is missed by only every second trial.
pub(super) const MIGRATION_SAMPLES: usize = 64;

/// The version before the live one, and some to compare with it.
pub(super) const KEPT_VERSIONS: usize = 5;

/// The user, and the group, which a proxy on the same machine can be in.
pub(super) const UNIX_SOCKET_MODE: u32 = 0o660;

/// The header that nginx, Caddy, HAProxy and load balancers add to.
pub(super) const FORWARDED_HEADER: &str = "x-forwarded-for";

/// Short enough for whoever renews a certificate, and a check costs only microseconds.
pub(super) const REREAD_MS: u64 = 1_000;

/// As long as a first request may take.
pub(super) const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 10_000;

/// About 40 MB while all of them are under way.
pub(super) const TLS_MAX_HANDSHAKES: usize = 1_024;

/// A quarter of a core with a key of the usual kind (ECDSA), a whole core with RSA.
pub(super) const TLS_MAX_HANDSHAKES_PER_SECOND: u32 = 1_000;
