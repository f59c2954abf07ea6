//! The destination of datagrams: one of the addresses that a name has, or a socket file.
//!
//! A name is looked up on a thread of its own, again and again. The address in use is kept as long
//! as the name has it and the system does not report that nobody listens there.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use cadence::{MetricSink, UdpMetricSink, UnixMetricSink};
use tracing::{info, warn};

/// The destination of measurements.
pub(super) struct Destination {
    /// The address as it is configured.
    address: String,
    socket: Socket,
    /// The number of datagrams that could not be sent since the start.
    lost: u64,
    health: Health,
}

enum Socket {
    Udp(Udp),
    Unix(UnixMetricSink),
}

/// The addresses of a name, and a socket for the one in use.
struct Udp {
    addresses: Vec<SocketAddr>,
    /// The index of the address in use.
    at: usize,
    connected: Option<Connected>,
    /// The resolver; `None` for an address that is no name.
    resolver: Option<Resolver>,
}

/// A socket that is connected to one address.
struct Connected {
    /// The connected socket. Only for a connected one does the system report that nobody listens.
    socket: UdpSocket,
    /// The sink that sends through the socket.
    sink: UdpMetricSink,
}

/// Finds the addresses of a name.
struct Resolver {
    look_up: LookUp,
    /// The result of the look-up that is under socket, if one is.
    pending: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
    next: Instant,
    problem: Option<io::Error>,
}

type LookUp = Arc<dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What the log was told about the destination, so that it is told only changes.
#[derive(Default)]
struct Health {
    /// The error of the last datagram of this report that was lost.
    problem: Option<io::Error>,
    /// Whether a datagram of this report was sent.
    has_sent: bool,
    /// Whether the log was told that datagrams are lost.
    is_failing: bool,
    /// The number of reports since then in which nothing was lost.
    clean: u32,
    /// The address that the log was told last.
    logged: Option<SocketAddr>,
}

/// The time between two look-ups of the name.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);
/// The same while the look-up fails, or nobody listens at its addresses.
const LOOK_UP_SOON: Duration = Duration::from_secs(5);
/// How long the first report waits for an address.
const FIRST_LOOK_UP: Duration = Duration::from_millis(100);
/// The number of reports without a loss after which the destination counts as healthy again. One is
/// not enough: that nobody listens at a remote address is reported only for the next datagram after
/// the lost one.
const CLEAN_REPORTS: u32 = 3;

impl Destination {
    /// A destination for `HOST:PORT` over UDP, or `unix:PATH`. It does not wait for the host's
    /// look-up.
    ///
    /// # Errors
    ///
    /// The address is neither, or there is no socket for it.
    pub(super) fn new(address: &str) -> io::Result<Self> {
        let socket = match address.strip_prefix("unix:") {
            Some(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Socket::Unix(UnixMetricSink::from(path, socket))
            }
            None => Socket::Udp(Udp::new(address)?),
        };
        Ok(Self { address: address.to_owned(), socket, lost: 0, health: Health::default() })
    }

    /// Begins a report: takes the addresses that were found since the last one.
    pub(super) fn begin(&mut self) {
        if let Socket::Udp(Udp { addresses, at, connected, resolver: Some(resolver) }) =
            &mut self.socket
            && let Some(found) = resolver.found(addresses.is_empty(), self.health.is_failing)
        {
            let used = addresses.get(*at);
            let stays = found.iter().position(|address| Some(address) == used);
            if stays.is_none() {
                *connected = None;
            }
            (*at, *addresses) = (stays.unwrap_or(0), found);
        }
    }

    /// Sends a datagram without waiting; one that cannot be sent is lost and counted.
    pub(super) fn send(&mut self, datagram: &str) {
        let sent = match &mut self.socket {
            Socket::Udp(udp) => udp.send(datagram),
            Socket::Unix(sink) => sink.emit(datagram).map(|_| ()),
        };
        match sent {
            Ok(()) => self.health.has_sent = true,
            Err(problem) => {
                self.lost += 1;
                self.health.problem = Some(problem);
            }
        }
    }

    /// The number of datagrams that could not be sent since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Ends a report: tells the log what has changed.
    pub(super) fn end(&mut self) {
        let configured = self.address.as_str();
        let health = &mut self.health;
        if let Some(problem) = health.problem.take() {
            health.clean = 0;
            if !std::mem::replace(&mut health.is_failing, true) {
                warn!(
                    "measurements do not reach statsd.address {configured:?}: {problem}; they are \
                     lost, which statsd.lost counts, and the next ones are tried"
                );
            }
            return;
        }
        if !std::mem::take(&mut health.has_sent) {
            return;
        }
        health.clean = health.clean.saturating_add(1);
        if health.is_failing && health.clean < CLEAN_REPORTS {
            return;
        }
        let address = match &self.socket {
            Socket::Udp(udp) => udp.addresses.get(udp.at).copied(),
            Socket::Unix(_) => None,
        };
        let is_other = address.is_some() && address != health.logged;
        if is_other || std::mem::take(&mut health.is_failing) {
            let to = address.map_or_else(|| configured.to_owned(), |address| address.to_string());
            info!("measurements go to {to} (statsd.address is {configured:?})");
        }
        health.is_failing = false;
        health.logged = address;
    }
}

impl Udp {
    fn new(address: &str) -> io::Result<Self> {
        if let Ok(address) = address.parse() {
            return Ok(Self { addresses: vec![address], at: 0, connected: None, resolver: None });
        }
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            let expected = "HOST:PORT or unix:PATH is expected";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, expected));
        }
        let name = address.to_owned();
        Ok(Self::named(Arc::new(move || Ok(name.to_socket_addrs()?.collect()))))
    }

    fn named(look_up: LookUp) -> Self {
        let (pending, next, problem) = (None, Instant::now(), None);
        let resolver = Some(Resolver { look_up, pending, next, problem });
        Self { addresses: Vec::new(), at: 0, connected: None, resolver }
    }

    /// Sends to the address in use, or to the next one at which somebody may listen.
    fn send(&mut self, datagram: &str) -> io::Result<()> {
        let mut problem = None;
        // One attempt more than there are addresses: the first error may belong to the datagram
        // before.
        for _ in 0..=self.addresses.len() {
            let Some(address) = self.addresses.get(self.at).copied() else { break };
            match self.send_to(address, datagram) {
                Ok(()) => return Ok(()),
                // The socket's buffer is full, which is no reason to try another address.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    problem = Some(io::Error::new(error.kind(), format!("{address}: {error}")))
                }
            }
            self.connected = None;
            self.at = (self.at + 1) % self.addresses.len();
        }
        let unknown = || match self.resolver.as_mut().and_then(|resolver| resolver.problem.take()) {
            Some(problem) => problem,
            None => io::Error::new(io::ErrorKind::NotFound, "its host is not found yet"),
        };
        Err(problem.unwrap_or_else(unknown))
    }

    fn send_to(&mut self, address: SocketAddr, datagram: &str) -> io::Result<()> {
        let Connected { socket, sink } = match &mut self.connected {
            Some(connected) => connected,
            none => none.insert(Connected::new(address)?),
        };
        sink.emit(datagram)?;
        // On this machine the system knows at once whether somebody listens.
        socket.take_error()?.map_or(Ok(()), Err)
    }
}

impl Connected {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        let sink = UdpMetricSink::from(address, socket.try_clone()?).map_err(io::Error::other)?;
        Ok(Self { socket, sink })
    }
}

impl Resolver {
    /// The addresses that were found since the last time, if a look-up has ended; begins a look-up
    /// when it is time for one.
    fn found(&mut self, is_first: bool, is_failing: bool) -> Option<Vec<SocketAddr>> {
        if self.pending.is_none() && Instant::now() >= self.next {
            self.begin();
        }
        let pending = self.pending.as_ref()?;
        let timeout = if is_first { FIRST_LOOK_UP } else { Duration::ZERO };
        let found = match pending.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("no look-up")),
            Ok(found) => found,
        };
        self.pending = None;
        let found = match found {
            Ok(found) if found.is_empty() => Err(io::Error::other("its host has no address")),
            found => found,
        };
        let is_well = found.is_ok() && !is_failing;
        self.next = Instant::now() + if is_well { LOOK_UP_EVERY } else { LOOK_UP_SOON };
        // After an error the known addresses stay in use.
        found.map_err(|problem| self.problem = Some(problem)).ok()
    }

    fn begin(&mut self) {
        let (sender, pending) = channel();
        let look_up = Arc::clone(&self.look_up);
        let thread = thread::Builder::new().name("statsd-names".to_owned());
        // Without a thread the channel is closed, which counts as a failed look-up.
        let _ = thread.spawn(move || sender.send(look_up()));
        self.pending = Some(pending);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn receiver(host: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// An address at which nobody listens.
    fn deserted(host: &str) -> SocketAddr {
        receiver(host).1
    }

    fn destination(udp: Udp) -> Destination {
        let health = Health::default();
        Destination { address: "name:1".to_owned(), socket: Socket::Udp(udp), lost: 0, health }
    }

    fn report(to: &mut Destination, datagram: &str) {
        to.begin();
        to.send(datagram);
        to.end();
    }

    fn received(socket: &UdpSocket) -> String {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        str::from_utf8(&buffer[..length]).unwrap().to_owned()
    }

    #[test]
    fn an_address_at_which_nobody_listens_is_passed_over_and_nothing_is_lost() {
        let (socket, address) = receiver("127.0.0.1");
        for first in ["::1", "127.0.0.1"] {
            let addresses = vec![deserted(first), address];
            let mut to = destination(Udp::named(Arc::new(move || Ok(addresses.clone()))));
            for datagram in ["a", "", "c"] {
                report(&mut to, datagram);
                assert_eq!(received(&socket), datagram, "{first}");
            }
            assert_eq!((to.lost(), to.health.logged), (0, Some(address)));
        }
    }

    /// Makes the next report look the name up again.
    fn look_up(to: &mut Destination) {
        let Socket::Udp(Udp { resolver: Some(resolver), .. }) = &mut to.socket else {
            panic!("no name")
        };
        let found = (resolver.look_up)();
        let (sender, pending) = channel();
        sender.send(found).unwrap();
        resolver.pending = Some(pending);
    }

    #[test]
    fn a_name_that_is_found_later_and_moves_is_followed() {
        let found = Arc::new(Mutex::new(Err("no such host")));
        let answer = Arc::clone(&found);
        let mut to = destination(Udp::named(Arc::new(move || {
            let found: Result<Vec<SocketAddr>, &str> = answer.lock().unwrap().clone();
            found.map_err(io::Error::other)
        })));
        look_up(&mut to);
        report(&mut to, "lost");
        assert!(to.lost() == 1 && to.health.is_failing);
        for host in ["127.0.0.1", "::1"] {
            let (socket, address) = receiver(host);
            *found.lock().unwrap() = Ok(vec![address]);
            look_up(&mut to);
            for _ in 0..CLEAN_REPORTS {
                report(&mut to, "found");
                assert_eq!(received(&socket), "found");
            }
            assert_eq!((to.lost(), to.health.logged), (1, Some(address)));
        }
        // The known address stays in use.
        *found.lock().unwrap() = Err("no such host");
        let (socket, address) = receiver("127.0.0.1");
        if let Socket::Udp(udp) = &mut to.socket {
            (udp.addresses, udp.at, udp.connected) = (vec![address], 0, None);
        }
        look_up(&mut to);
        report(&mut to, "found");
        assert_eq!(received(&socket), "found");
    }

    #[test]
    fn what_is_lost_is_told_once_and_once_that_all_is_well_again() {
        let (socket, address) = receiver("127.0.0.1");
        drop(socket);
        let mut to = Destination::new(&address.to_string()).unwrap();
        for lost in 1..4 {
            report(&mut to, "x");
            assert!(to.lost() == lost && to.health.is_failing);
        }
        let socket = UdpSocket::bind(address).unwrap();
        for report_number in 1..=CLEAN_REPORTS {
            report(&mut to, "x");
            assert_eq!(to.health.is_failing, report_number < CLEAN_REPORTS);
        }
        assert_eq!((received(&socket), to.lost()), ("x".to_owned(), 3));
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for address in ["localhost", "localhost:", ":8125", "localhost:99999", "8125", ""] {
            let error = Destination::new(address).err().unwrap();
            assert!(error.to_string().contains("HOST:PORT or unix:PATH"), "{address}");
        }
        for address in ["localhost:8125", "[::1]:8125", "unix:/x", "nobody.invalid:8125"] {
            assert!(Destination::new(address).is_ok(), "{address}");
        }
    }
}
