//! The terminal of `millrace top`.

use std::io::{self, IsTerminal, Read, Write};
use std::thread;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc::{Receiver, channel};

/// The terminal in raw mode, with a screen of its own. Dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    before: Termios,
    keys: Receiver<u8>,
}

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// The size in columns and rows if the system does not know it.
const SIZE: (usize, usize) = (80, 24);

impl Terminal {
    /// Takes the terminal; `None` when stdin or stdout is something else.
    pub(super) fn take() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        // Keys come at once and are not shown. Ctrl-C stays a signal; Ctrl-Z would leave the screen
        // as it is.
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        for (index, value) in [
            (SpecialCodeIndex::VMIN, 1),
            (SpecialCodeIndex::VTIME, 0),
            (SpecialCodeIndex::VSUSP, 0),
        ] {
            raw.special_codes[index] = value;
        }
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let terminal = Self { before, keys: keys() };
        write(ENTER)?;
        Ok(Some(terminal))
    }

    /// The size in columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => SIZE,
        }
    }

    /// Shows only these lines, the first of them in bold.
    pub(super) fn show(&self, lines: &[String]) -> io::Result<()> {
        // Written from the top, each line cleared behind its end, so that nothing flickers.
        let mut screen = "\x1b[H".to_owned();
        for (number, line) in lines.iter().enumerate() {
            let newline = if number == 0 { "" } else { "\n" };
            let (bold, plain) = if number == 0 { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            screen.push_str(&format!("{newline}{bold}{line}{plain}\x1b[K"));
        }
        screen.push_str("\x1b[J");
        write(&screen)
    }

    /// Waits until `q` is pressed, or the terminal has gone.
    pub(super) async fn quit(&mut self) {
        while let Some(key) = self.keys.recv().await {
            if matches!(key, b'q' | b'Q') {
                return;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The terminal may have gone.
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The keys that are typed. The thread waits in a read that nothing ends, until the process ends.
fn keys() -> Receiver<u8> {
    let (typed, keys) = channel(16);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut key = [0];
        while let Ok(1) = stdin.read(&mut key) {
            if key.iter().any(|key| typed.blocking_send(*key).is_err()) {
                return;
            }
        }
    });
    keys
}
