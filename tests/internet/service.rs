//! What a service manager does: sockets that it has opened, and what it is told.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use millrace_tests::{App, HttpRequest, PATIENCE, binary};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// A socket that the manager is told by.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// Waits until it is told this.
    fn is_told(&self, what: &str) {
        loop {
            let mut datagram = [0; 1000];
            let received = self.socket.recv(&mut datagram).unwrap();
            let told = String::from_utf8_lossy(&datagram[..received]).into_owned();
            if told.lines().any(|line| line.starts_with(what)) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_service_manager_is_told_how_the_server_is() {
    let manager = Manager::new();
    let path = manager.folder.path().join("notify");
    let app = App::probe()
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .environment("WATCHDOG_USEC", "20000");
    let server = app.serve();
    manager.is_told("READY=1");
    manager.is_told("WATCHDOG=1");
    manager.is_told("WATCHDOG=1");
    server.signal(Signal::HUP);
    manager.is_told("RELOADING=1");
    manager.is_told("READY=1");
    server.tell_to_stop();
    manager.is_told("STOPPING=1");
    assert!(server.wait().success());
}

/// `systemd-socket-activate`'s part: its sockets are descriptors 3 and on, and it becomes
/// the server.
const PASSES: &str = "
import os, socket, sys
names, program = sys.argv[1], sys.argv[2:]
sockets = []
for name in names.split(':'):
    if name == 'unix':
        one = socket.socket(socket.AF_UNIX)
        one.bind('web.sock')
    else:
        one = socket.socket()
        one.bind(('127.0.0.1', 0))
    one.listen()
    sockets.append(one)
print(' '.join(str(one.getsockname()) for one in sockets), flush=True)
# Out of the way of the places that they get.
high = [os.dup(os.dup2(one.fileno(), 50 + i)) for i, one in enumerate(sockets)]
for i, one in enumerate(high):
    os.dup2(one, 3 + i, inheritable=True)
for one in range(3 + len(sockets), 100):
    try: os.close(one)
    except OSError: pass
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=names)
os.execv(program[0], program)
";

#[tokio::test]
async fn sockets_that_a_service_manager_has_opened_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let app =
        App::probe().with(&format!("listen = [\"127.0.0.1:1\", \"unix:elsewhere.sock\"]\n{ADMIN}"));
    let mut child = Command::new("python3")
        .args(["-c", PASSES, "web:admin:unix"])
        .arg(binary())
        .args(["serve".as_ref(), app.path().as_os_str()])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is there");
    let mut stdout = child.stdout.take().unwrap();
    let port = |line: &str, index: usize| {
        let numbers: Vec<_> = line.split(|c: char| !c.is_ascii_digit()).collect();
        numbers.into_iter().filter(|text| text.len() > 2).nth(index).map(str::to_owned)
    };
    let mut text = String::new();
    let mut piece = [0; 1000];
    while !text.contains("admin http") {
        let read = stdout.read(&mut piece).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    let first = text.lines().next().unwrap();
    // `('127.0.0.1', 40001) ('127.0.0.1', 40002) web.sock`: 127 is a number, too.
    let (clients, admin) = (port(first, 1).unwrap(), port(first, 3).unwrap());
    let ready = HttpRequest::new("GET", "/ready").send(&format!("127.0.0.1:{clients}")).await;
    assert_eq!(ready.status, 200);
    let plugins = HttpRequest::new("GET", "/plugins").send(&format!("127.0.0.1:{admin}")).await;
    assert_eq!(plugins.status, 200);
    let unix = tokio::net::UnixStream::connect(folder.path().join("web.sock")).await.unwrap();
    is_served(&mut client_over(unix, &[]).await).await;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    // It is the manager's.
    assert!(folder.path().join("web.sock").exists());
}
