//! The delivery of a broadcast: it is encoded once, and all subscribers share the bytes (Phoenix's
//! "fastlane").

use std::sync::Arc;

use millrace_session::channel::{Broadcast, ChannelId, Notice};
use millrace_telemetry::Published;
use millrace_wire::{EncodeError, Frame, Serializer};
use tracing::warn;

use super::registry::Map;
use super::{Delivery, Subscriber};
use crate::outbox::Queued;

/// Hands a broadcast to all `subscribers` but the channel `from`; returns how many got it.
/// `published` has the time of the broadcast, if that is measured.
///
/// A subscriber whose protocol version cannot carry the payload is skipped, and one whose outbox
/// refuses the frame is not counted.
pub(super) fn dispatch(
    subscribers: &Map,
    broadcast: &Arc<Broadcast>,
    from: Option<ChannelId>,
    published: Option<&Published>,
) -> usize {
    let mut encoded = Encoded { broadcast, v1: None, v2: None };
    let mut reached = 0;
    for subscriber in subscribers.values().filter(|s| Some(s.channel) != from) {
        let delivered = match &subscriber.delivery {
            Delivery::Fastlane { intercepts, .. } if intercepts.contains(&broadcast.event) => {
                subscriber.notify(broadcast, true)
            }
            Delivery::Fastlane { serializer, .. } => match encoded.frame(*serializer) {
                Some(frame) => {
                    let (topic, event) = (&broadcast.topic, &broadcast.event);
                    let queued = Queued { frame, published: published.cloned() };
                    subscriber.outbox.push_under(subscriber.overflow, queued, topic, event)
                }
                None => false,
            },
            Delivery::Info => subscriber.notify(broadcast, false),
        };
        reached += usize::from(delivered);
    }
    reached
}

/// Hands a broadcast to the clients that have not been told who is present.
pub(super) fn tell_newcomers(subscribers: &mut Map, broadcast: &Arc<Broadcast>) {
    let mut encoded = Encoded { broadcast, v1: None, v2: None };
    for subscriber in subscribers.values_mut().filter(|s| !s.knows_presences) {
        let Delivery::Fastlane { serializer, .. } = subscriber.delivery else { continue };
        subscriber.knows_presences = true;
        if let Some(frame) = encoded.frame(serializer) {
            subscriber.outbox.push(frame);
        }
    }
}

impl Subscriber {
    /// Hands a broadcast to the subscriber's plugin; false if its outbox takes no more.
    fn notify(&self, broadcast: &Arc<Broadcast>, intercepted: bool) -> bool {
        self.outbox.notify(Notice {
            topic: Arc::clone(&self.topic),
            channel: self.channel,
            broadcast: Arc::clone(broadcast),
            intercepted,
        })
    }
}

/// The frames of one broadcast, each encoded when it is first needed. The inner `None` is for a
/// version that cannot carry it.
struct Encoded<'a> {
    broadcast: &'a Broadcast,
    v1: Option<Option<Frame>>,
    v2: Option<Option<Frame>>,
}

impl Encoded<'_> {
    fn frame(&mut self, serializer: Serializer) -> Option<Frame> {
        let slot = match serializer {
            Serializer::V1 => &mut self.v1,
            Serializer::V2 => &mut self.v2,
        };
        slot.get_or_insert_with(|| encode(serializer, self.broadcast)).clone()
    }
}

/// The frame of a broadcast; `None`, and a line in the log, if this version cannot carry it.
fn encode(serializer: Serializer, broadcast: &Broadcast) -> Option<Frame> {
    let frame = serializer.broadcast(&broadcast.topic, &broadcast.event, &broadcast.payload);
    match frame {
        Ok(frame) => Some(frame),
        Err(error @ (EncodeError::BinaryInV1 | EncodeError::TooLong { .. })) => {
            warn!(topic = %broadcast.topic, event = %broadcast.event, %error,
                "broadcast skipped subscribers that cannot receive it");
            None
        }
    }
}
