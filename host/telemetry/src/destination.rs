//! Where datagrams are sent: one of the addresses that a name has, or a socket file.
//!
//! A name is looked up on a thread of its own, again and again. Of its addresses, the one
//! in use is kept until the system says that nobody listens there.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use cadence::{MetricSink, UdpMetricSink, UnixMetricSink};
use tracing::{info, warn};

/// Where measurements go.
pub(super) struct Destination {
    /// As it is configured.
    address: String,
    way: Way,
    /// Datagrams that could not be sent, since the start.
    lost: u64,
    health: Health,
}

enum Way {
    Udp(Udp),
    Unix(UnixMetricSink),
}

/// The addresses of a name, and a socket for the one in use.
struct Udp {
    addresses: Vec<SocketAddr>,
    /// Which of them is in use.
    at: usize,
    connected: Option<Connected>,
    /// None for an address that is no name.
    names: Option<Names>,
}

/// A socket for one address.
struct Connected {
    /// Only of one that is connected does the system tell that nobody listens.
    socket: UdpSocket,
    /// Sends from it.
    sink: UdpMetricSink,
}

/// What finds the addresses of a name.
struct Names {
    look_up: LookUp,
    /// Of the thread that is looking.
    looking: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
    next: Instant,
    problem: Option<io::Error>,
}

type LookUp = Arc<dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What was told of it, so that nothing is told again.
#[derive(Default)]
struct Health {
    /// Why the last datagram of this report that was lost was so.
    problem: Option<io::Error>,
    /// Something of this report was sent.
    has_sent: bool,
    /// It was told that datagrams are lost.
    is_failing: bool,
    /// Reports since then of which nothing was lost.
    clean: u32,
    /// It was told that they go there.
    told: Option<SocketAddr>,
}

/// How often the name is looked up again.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);
/// How often while that fails, or nobody listens there.
const LOOK_UP_SOON: Duration = Duration::from_secs(5);
/// How long the first report waits for an address.
const FIRST_LOOK_UP: Duration = Duration::from_millis(100);
/// Reports after which all is well again: an address elsewhere is told to be wrong only by
/// the datagram after the one that was lost.
const CLEAN_REPORTS: u32 = 3;

impl Destination {
    /// To `HOST:PORT` over UDP, or `unix:PATH`; an error when it is neither. Nothing waits
    /// for the host to be found.
    pub(super) fn new(address: &str) -> io::Result<Self> {
        let way = match address.strip_prefix("unix:") {
            Some(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Way::Unix(UnixMetricSink::from(path, socket))
            }
            None => Way::Udp(Udp::new(address)?),
        };
        Ok(Self { address: address.to_owned(), way, lost: 0, health: Health::default() })
    }

    /// Before each report: takes up what was found of the name since the last one.
    pub(super) fn begin(&mut self) {
        if let Way::Udp(Udp { addresses, at, connected, names: Some(names) }) = &mut self.way
            && let Some(found) = names.found(addresses.is_empty(), self.health.is_failing)
        {
            let used = addresses.get(*at);
            let stays = found.iter().position(|address| Some(address) == used);
            if stays.is_none() {
                *connected = None;
            }
            (*at, *addresses) = (stays.unwrap_or(0), found);
        }
    }

    /// Sends a datagram, without ever waiting; one that cannot be sent is lost.
    pub(super) fn send(&mut self, datagram: &str) {
        let sent = match &mut self.way {
            Way::Udp(udp) => udp.send(datagram),
            Way::Unix(sink) => sink.emit(datagram).map(|_| ()),
        };
        match sent {
            Ok(()) => self.health.has_sent = true,
            Err(problem) => {
                self.lost += 1;
                self.health.problem = Some(problem);
            }
        }
    }

    /// Datagrams that could not be sent, since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// After each report: tells what has become different.
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
        let address = match &self.way {
            Way::Udp(udp) => udp.addresses.get(udp.at).copied(),
            Way::Unix(_) => None,
        };
        let is_other = address.is_some() && address != health.told;
        if is_other || std::mem::take(&mut health.is_failing) {
            let to = address.map_or_else(|| configured.to_owned(), |address| address.to_string());
            info!("measurements go to {to} (statsd.address is {configured:?})");
        }
        health.is_failing = false;
        health.told = address;
    }
}

impl Udp {
    fn new(address: &str) -> io::Result<Self> {
        if let Ok(address) = address.parse() {
            return Ok(Self { addresses: vec![address], at: 0, connected: None, names: None });
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
        let (looking, next, problem) = (None, Instant::now(), None);
        let names = Some(Names { look_up, looking, next, problem });
        Self { addresses: Vec::new(), at: 0, connected: None, names }
    }

    /// Sends to the address in use, or to the next one at which somebody may listen.
    fn send(&mut self, datagram: &str) -> io::Result<()> {
        let mut problem = None;
        // Once more than there are: the first error may be of the datagram before.
        for _ in 0..=self.addresses.len() {
            let Some(address) = self.addresses.get(self.at).copied() else { break };
            match self.send_to(address, datagram) {
                Ok(()) => return Ok(()),
                // It is sent to as much as it takes.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    problem = Some(io::Error::new(error.kind(), format!("{address}: {error}")))
                }
            }
            self.connected = None;
            self.at = (self.at + 1) % self.addresses.len();
        }
        let unknown = || match self.names.as_mut().and_then(|names| names.problem.take()) {
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
        // On this machine it is known at once whether somebody listens.
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

impl Names {
    /// What was found since the last time, and what has to be looked up next.
    fn found(&mut self, is_first: bool, is_failing: bool) -> Option<Vec<SocketAddr>> {
        if self.looking.is_none() && Instant::now() >= self.next {
            self.begin();
        }
        let looking = self.looking.as_ref()?;
        let patience = if is_first { FIRST_LOOK_UP } else { Duration::ZERO };
        let found = match looking.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("no look-up")),
            Ok(found) => found,
        };
        self.looking = None;
        let found = match found {
            Ok(found) if found.is_empty() => Err(io::Error::other("its host has no address")),
            found => found,
        };
        let is_well = found.is_ok() && !is_failing;
        self.next = Instant::now() + if is_well { LOOK_UP_EVERY } else { LOOK_UP_SOON };
        // Those that are known are tried on.
        found.map_err(|problem| self.problem = Some(problem)).ok()
    }

    fn begin(&mut self) {
        let (told, looking) = channel();
        let look_up = Arc::clone(&self.look_up);
        let thread = thread::Builder::new().name("statsd-names".to_owned());
        // Without a thread there is no answer, which is an answer.
        let _ = thread.spawn(move || told.send(look_up()));
        self.looking = Some(looking);
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
        Destination { address: "name:1".to_owned(), way: Way::Udp(udp), lost: 0, health }
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
            assert_eq!((to.lost(), to.health.told), (0, Some(address)));
        }
    }

    /// Has the name looked up anew before the next report.
    fn look_up(to: &mut Destination) {
        let Way::Udp(Udp { names: Some(names), .. }) = &mut to.way else { panic!("no name") };
        let found = (names.look_up)();
        let (told, looking) = channel();
        told.send(found).unwrap();
        names.looking = Some(looking);
    }

    #[test]
    fn a_name_that_is_found_later_and_moves_is_followed() {
        let found = Arc::new(Mutex::new(Err("no such host")));
        let names = Arc::clone(&found);
        let mut to = destination(Udp::named(Arc::new(move || {
            let found: Result<Vec<SocketAddr>, &str> = names.lock().unwrap().clone();
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
            assert_eq!((to.lost(), to.health.told), (1, Some(address)));
        }
        // What was known is used on.
        *found.lock().unwrap() = Err("no such host");
        let (socket, address) = receiver("127.0.0.1");
        if let Way::Udp(udp) = &mut to.way {
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
