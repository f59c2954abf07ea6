//! Listening sockets: TCP, Unix, and those that systemd has opened.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use listenfd::ListenFd;
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tracing::{debug, info};

use super::acceptor::Socket;
use crate::config::{ListenAddress, ListenConfig};

/// The connections that may wait to be accepted by one thread.
const BACKLOG: u32 = 1024;

/// A listening socket that belongs to a tokio runtime.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening socket that does not belong to a runtime yet.
#[derive(Debug)]
enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// The listening sockets of one address: one for each thread.
#[derive(Debug)]
pub(crate) struct Listeners {
    first: Bound,
    others: Vec<Bound>,
    /// The address, with the port that the system chose for port 0.
    pub(crate) address: ListenAddress,
    pub(crate) config: ListenConfig,
    /// The file of a Unix socket; it is removed at the end.
    file: Option<SocketFile>,
}

/// The file of a Unix socket; dropping this removes the file, unless another server has replaced
/// it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

/// The name that systemd has for the socket of the admin interface.
const ADMIN: &str = "admin";

/// The sockets that systemd has opened for this process (`LISTEN_FDS`).
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// The sockets for clients, in the order of `listen`.
    clients: Vec<Bound>,
    pub(crate) admin: Option<std::net::TcpListener>,
}

impl Inherited {
    /// Takes the sockets from the environment, which works once.
    ///
    /// # Errors
    ///
    /// A descriptor cannot be used as a socket, or the socket named `admin` is a Unix socket.
    pub(crate) fn take() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<_> = names.split(':').collect();
        let mut sockets = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..sockets.len() {
            // A socket is only taken if it is of this kind.
            let socket = match sockets.take_tcp_listener(index) {
                Ok(Some(tcp)) => Bound::Tcp(tcp),
                _ => match sockets.take_unix_listener(index)? {
                    Some(unix) => Bound::Unix(unix),
                    None => continue,
                },
            };
            match (socket, names.get(index)) {
                (Bound::Tcp(tcp), Some(name)) if *name == ADMIN => inherited.admin = Some(tcp),
                (Bound::Unix(_), Some(name)) if *name == ADMIN => {
                    let problem = "the socket `admin` (FileDescriptorName) is a Unix socket; the \
                                   admin interface has TCP alone";
                    return Err(io::Error::other(problem));
                }
                (socket, _) => inherited.clients.push(socket),
            }
        }
        Ok(inherited)
    }

    /// The number of sockets for clients.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }
}

impl Listeners {
    /// Listens at all addresses. Inherited sockets take the place of the first addresses.
    ///
    /// # Errors
    ///
    /// The first address at which nothing can listen, with the error of the system.
    pub(crate) fn bind_all(
        all: &[ListenConfig],
        inherited: Inherited,
    ) -> Result<Vec<Self>, (ListenAddress, io::Error)> {
        let mut inherited = inherited.clients.into_iter();
        let bind = |config: &ListenConfig| {
            let is_v4_taken =
                || all.iter().any(|other| takes_v4_of(&other.address, &config.address));
            match inherited.next() {
                Some(socket) => Self::of(socket, config),
                None => Self::bind(config, is_v4_taken()),
            }
            .map_err(|error| (config.address.clone(), error))
        };
        all.iter().map(bind).collect()
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another server listens there; other errors of the system.
    fn bind(config: &ListenConfig, is_v4_taken: bool) -> io::Result<Self> {
        let address = match &config.address {
            ListenAddress::Unix(path) => return Self::bind_unix(path, config),
            ListenAddress::Tcp(address) => *address,
        };
        let open = |address| socket(address, is_v4_taken);
        let socket = open(address)?;
        // Without SO_REUSEPORT at first: then this fails if the address is taken, even by a server
        // that would share it.
        socket.bind(address)?;
        socket.set_reuseport(true)?;
        let first = socket.listen(BACKLOG)?.into_std()?;
        let address = first.local_addr()?;
        let another = || {
            let socket = open(address)?;
            socket.set_reuseport(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?.into_std()
        };
        let mut others = Vec::new();
        for _ in 1..threads() {
            others.push(Bound::Tcp(match another() {
                Ok(listener) => listener,
                Err(error) => {
                    debug!(%error, "threads share a listener");
                    first.try_clone()?
                }
            }));
        }
        let (first, address) = (Bound::Tcp(first), ListenAddress::Tcp(address));
        Ok(Self { first, others, address, config: config.clone(), file: None })
    }

    fn bind_unix(path: &Path, config: &ListenConfig) -> io::Result<Self> {
        remove_stale_socket(path)?;
        let socket = unix_socket()?;
        // The mode is set before the socket is bound: otherwise others could connect in between.
        fchmod(&socket, Mode::from_raw_mode(config.mode))?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        // The umask may have removed some permissions.
        fs::set_permissions(path, fs::Permissions::from_mode(config.mode))?;
        rustix::net::listen(&socket, BACKLOG as i32)?;
        let socket = std::os::unix::net::UnixListener::from(socket);
        let file = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
        Ok(Self { file: Some(file), ..Self::of(Bound::Unix(socket), config)? })
    }

    /// The listeners for a socket that listens already, which all threads share.
    fn of(first: Bound, config: &ListenConfig) -> io::Result<Self> {
        let address = first.prepare()?;
        let others = (1..threads()).map(|_| first.try_clone()).collect::<io::Result<_>>()?;
        Ok(Self { first, others, address, config: config.clone(), file: None })
    }

    /// The address at which it listens, and the settings.
    pub(crate) fn bound_config(&self) -> ListenConfig {
        ListenConfig { address: self.address.clone(), ..self.config.clone() }
    }

    /// A listener for each thread, and the file that has to be kept until all threads have ended.
    pub(crate) fn into_parts(
        self,
    ) -> (impl Iterator<Item = UnregisteredListener>, Option<SocketFile>) {
        let Self { first, others, file, .. } = self;
        (others.into_iter().chain([first]).map(UnregisteredListener), file)
    }
}

/// A listener that is on its way to a thread.
#[derive(Debug)]
pub(crate) struct UnregisteredListener(Bound);

impl UnregisteredListener {
    /// Registers the listener with the current tokio runtime.
    pub(crate) fn start(self) -> io::Result<Listener> {
        Ok(match self.0 {
            Bound::Tcp(tcp) => Listener::Tcp(TcpListener::from_std(tcp)?),
            Bound::Unix(unix) => Listener::Unix(UnixListener::from_std(unix)?),
        })
    }
}

impl Bound {
    /// Makes the socket non-blocking, and returns its address.
    fn prepare(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(tcp) => {
                tcp.set_nonblocking(true)?;
                tcp.local_addr().map(ListenAddress::Tcp)
            }
            Self::Unix(unix) => {
                unix.set_nonblocking(true)?;
                let address = unix.local_addr()?;
                Ok(ListenAddress::Unix(address.as_pathname().unwrap_or(Path::new("?")).to_owned()))
            }
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(tcp) => Self::Tcp(tcp.try_clone()?),
            Self::Unix(unix) => Self::Unix(unix.try_clone()?),
        })
    }
}

impl Listener {
    /// Waits for the next connection, and returns it with the client's address. Unix sockets have
    /// none.
    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Self::Tcp(tcp) => {
                let (socket, address) = tcp.accept().await?;
                Ok((Socket::Tcp(socket), Some(address)))
            }
            Self::Unix(unix) => Ok((Socket::Unix(unix.accept().await?.0), None)),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another server may have put its own socket there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a server that has stopped. Anything else that is there is an error.
fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is there"));
    }
    match rustix::net::connect(&unix_socket()?, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => {
            info!(path = %path.display(), "removed the socket of a server that is gone");
            fs::remove_file(path)
        }
        // A server listens there; with AGAIN, its backlog is full.
        Ok(()) | Err(Errno::AGAIN) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error.into()),
    }
}

/// Creates a non-blocking Unix socket that is not bound.
fn unix_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Whether `one` is all of IPv4 at the port at which `other` is all of IPv6.
fn takes_v4_of(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(SocketAddr::V4(one)), ListenAddress::Tcp(SocketAddr::V6(other))) => {
            one.ip().is_unspecified() && other.ip().is_unspecified() && one.port() == other.port()
        }
        _ => false,
    }
}

/// Creates a socket. One for all of IPv6 accepts IPv4 too, unless another listener has that,
/// whatever the system's default is.
fn socket(address: SocketAddr, is_v4_taken: bool) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(v6) => {
            let socket = TcpSocket::new_v6()?;
            if v6.ip().is_unspecified() {
                set_ipv6_v6only(&socket, is_v4_taken)?;
            }
            socket
        }
    };
    // The address of a server that has just stopped can be used at once.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// The number of threads that serve connections.
pub(crate) fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str) -> io::Result<Listeners> {
        let config = ListenAddress::parse(address).unwrap().into();
        Listeners::bind(&config, false)
    }

    #[tokio::test]
    async fn an_address_is_taken_once_for_all_threads() {
        let listeners = bind("127.0.0.1:0").unwrap();
        assert_eq!(listeners.others.len() + 1, threads());
        for listener in &listeners.others {
            assert_eq!(listener.prepare().unwrap(), listeners.address);
        }
        let address = listeners.address.to_string();
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse, "another server");
        drop(listeners);
        bind(&address).unwrap();
    }

    #[tokio::test]
    async fn a_unix_socket_is_taken_once_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        let address = format!("unix:{}", path.display());
        let listeners = bind(&address).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        assert!(!path.exists());
        // A killed server leaves its socket's file behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(bind(&address).unwrap());
        fs::write(&path, "mine").unwrap();
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn all_of_ipv6_is_all_of_ipv4_unless_that_is_another_listener() {
        let address = |text| ListenAddress::parse(text).unwrap();
        assert!(takes_v4_of(&address("0.0.0.0:1"), &address("[::]:1")));
        for (one, other) in
            [("0.0.0.0:2", "[::]:1"), ("127.0.0.1:1", "[::]:1"), ("[::]:1", "[::]:1")]
        {
            assert!(!takes_v4_of(&address(one), &address(other)), "{one} {other}");
        }
    }
}
