//! Sends back every WebSocket message, for `tests/autobahn/run.sh`: prints its address, and
//! ends with its standard input.

use std::io::{Read, Write};

use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    writeln!(std::io::stdout(), "ws://{}", listener.local_addr()?)?;
    runtime.spawn(millrace::bench::echo(listener));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.shutdown_background();
    Ok(())
}
