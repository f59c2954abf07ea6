//! The encoding of the messages of a batch for `batch.handle-in` (`wit/v0.2/batch.wit`).

use millrace_wire::Payload;

use super::batch::BatchMessage;

/// The arguments of one call: all texts and payloads, and a row of numbers for each message.
pub(super) struct EncodedBatch {
    pub(super) data: Vec<u8>,
    pub(super) rows: Vec<[u64; 9]>,
}

/// The bits of the third number of a row.
const WANTS_REPLY: u64 = 1;
const BINARY: u64 = 2;
const HAS_USER_ID: u64 = 4;
const SAME_CHANNEL: u64 = 8;

/// The capacity to begin with, in bytes and messages: most rounds need no more.
const USUAL_BYTES: usize = 2048;
const USUAL_MESSAGES: usize = 16;

impl EncodedBatch {
    pub(super) fn new() -> Self {
        let (data, rows) = (Vec::with_capacity(USUAL_BYTES), Vec::with_capacity(USUAL_MESSAGES));
        Self { data, rows }
    }

    /// Adds a message. Without assigns it is of the same channel as the message before.
    pub(super) fn push(&mut self, message: &BatchMessage<'_>) {
        let context = &message.caller.context;
        let mut flags = 0;
        let mut ends = [0; 5];
        let parts = match message.assigns {
            Some(assigns) => {
                let user_id = context.user_id.as_deref();
                flags |= if user_id.is_some() { HAS_USER_ID } else { 0 };
                [context.topic.as_bytes(), user_id.unwrap_or_default().as_bytes(), &assigns.data]
            }
            None => {
                flags |= SAME_CHANNEL;
                [[].as_slice(); 3]
            }
        };
        let payload = match message.payload {
            Payload::Json(text) => text.as_bytes(),
            Payload::Binary(bytes) => {
                flags |= BINARY;
                bytes
            }
        };
        flags |= if message.wants_reply { WANTS_REPLY } else { 0 };
        let [topic, user_id, assigns] = parts;
        let parts = [topic, user_id, assigns, message.event.as_bytes(), payload];
        for (end, part) in ends.iter_mut().zip(parts) {
            self.data.extend_from_slice(part);
            *end = self.data.len() as u64;
        }
        let schema = message.assigns.map_or(0, |assigns| assigns.schema);
        let [topic, user_id, assigns, event, payload] = ends;
        let (connection, channel) = (context.connection, context.channel);
        let schema = schema.into();
        let row = [connection, channel, flags, schema, topic, user_id, assigns, event, payload];
        self.rows.push(row);
    }
}
