//! Many messages in one call (`batch.handle-in` in `wit/v0.2/batch.wit`).

use crate::Channel;
use crate::bindings::batch::exports::millrace::plugin::batch::Messages;
use crate::bindings::batch::millrace::plugin::batched;
use crate::bindings::millrace::plugin::types::{Assigns, Outcome, Socket as RawSocket};
use crate::runtime::{self, Handled};
use crate::{Payload, Reply, Socket};

/// One message of a batch, and its channel.
///
/// The fields of the channel are used for all of its messages, and their memory for those of the
/// next channel.
#[derive(Debug)]
pub struct Current<'a> {
    socket: RawSocket,
    assigns: Assigns,
    event: &'a str,
    payload: &'a [u8],
    binary: bool,
    wants_reply: bool,
}

/// The number of columns in a row of `messages.rows`.
const ROW: usize = 9;
/// The bits of the third column.
const WANTS_REPLY: u64 = 1;
const BINARY: u64 = 2;
const HAS_USER_ID: u64 = 4;
const SAME_CHANNEL: u64 = 8;

impl Current<'_> {
    /// The topic of the channel.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.socket.topic
    }

    /// Calls the channel's handler with the message.
    pub fn handle<C: Channel>(&mut self) -> Handled {
        let RawSocket { connection, channel, topic, user_id } = &mut self.socket;
        let (topic, user_id) = (std::mem::take(topic), user_id.take());
        let raw = RawSocket { connection: *connection, channel: *channel, topic, user_id };
        let data = std::mem::take(&mut self.assigns.data);
        let assigns = Assigns { schema: self.assigns.schema, data };
        let mut socket = Socket::<C::Assigns>::new(raw, assigns);
        let payload = self.payload.to_vec();
        let payload = if self.binary { Payload::Binary(payload) } else { Payload::Json(payload) };
        let handled = runtime::handle::<C>(&mut socket, self.event, payload, self.wants_reply);
        (self.socket, self.assigns.data) = socket.into_parts();
        handled
    }
}

/// Handles the messages of a batch in order, and reports each before the next.
///
/// # Panics
///
/// If a row is not as the interface says.
pub fn handle_all(messages: &Messages, handle: impl Fn(&mut Current<'_>) -> Handled) {
    let socket = RawSocket { connection: 0, channel: 0, topic: String::new(), user_id: None };
    let assigns = Assigns { schema: 0, data: Vec::new() };
    let (event, payload) = ("", [].as_slice());
    let mut current =
        Current { socket, assigns, event, payload, binary: false, wants_reply: false };
    let mut rest = Rest { data: &messages.data, begin: 0 };
    for row in messages.rows.as_chunks::<ROW>().0 {
        let [connection, channel, marks, schema, topic, user_id, assigns, event, payload] = *row;
        if marks & SAME_CHANNEL == 0 {
            current.socket.connection = connection;
            current.socket.channel = channel;
            current.socket.topic.clear();
            current.socket.topic.push_str(rest.text(topic));
            let text = rest.text(user_id);
            current.socket.user_id = (marks & HAS_USER_ID > 0).then(|| text.to_owned());
            current.assigns.schema = u32::try_from(schema).unwrap_or_default();
            current.assigns.data.clear();
            current.assigns.data.extend_from_slice(rest.bytes(assigns));
        }
        current.event = rest.text(event);
        current.payload = rest.bytes(payload);
        current.binary = marks & BINARY > 0;
        current.wants_reply = marks & WANTS_REPLY > 0;
        let handled = handle(&mut current);
        if !report(handled, &mut current.assigns) {
            return;
        }
    }
}

/// Reports the result of a message, and keeps the assigns for the next message of its channel.
/// Returns whether to go on.
fn report(handled: Handled, kept: &mut Assigns) -> bool {
    if let Handled { reply: Reply::Ok(Payload::Json(json)), effects, assigns: None } = &handled
        && effects.is_empty()
    {
        return batched::replied(json);
    }
    let outcome = Outcome::from(handled);
    let go_on = batched::done(&outcome);
    if let Some(assigns) = outcome.assigns {
        *kept = assigns;
    }
    go_on
}

/// The part of a batch's data that was not read yet.
struct Rest<'a> {
    data: &'a [u8],
    begin: usize,
}

impl<'a> Rest<'a> {
    fn bytes(&mut self, end: u64) -> &'a [u8] {
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        let bytes = self.data.get(self.begin..end).expect("the ends of a batch lie in its data");
        self.begin = end;
        bytes
    }

    fn text(&mut self, end: u64) -> &'a str {
        std::str::from_utf8(self.bytes(end)).expect("topics, user ids and events are UTF-8")
    }
}
