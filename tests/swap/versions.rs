//! What a new version takes over, and what a rollback gives back.

use millrace_tests::App;
use serde_json::json;

use super::{count, millrace, outcomes, swap, version};

const TOPIC: &str = "room:swap";

#[tokio::test]
async fn a_channel_goes_on_counting_across_the_exchange() {
    let server = App::probe().admin().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    count(&mut client, TOPIC, 1).await;
    count(&mut client, TOPIC, 2).await;
    assert_eq!(version(&mut client, TOPIC).await, "1");
    let told = swap(&server, App::probe_v2_plugin().path()).await;
    for step in ["trust", "compile", "warm", "self-test", "migrate", "1 channels tried", "live"] {
        assert!(told.stdout.contains(step), "{step:?} is missing in {told:#?}");
    }
    assert_eq!(version(&mut client, TOPIC).await, "2");
    count(&mut client, TOPIC, 3).await;
    count(&mut client, TOPIC, 4).await;
    assert_eq!(outcomes(&server).await, ["live"]);
}

/// What the first version cannot read, its clients join for anew.
#[tokio::test]
async fn after_a_rollback_what_cannot_be_read_is_joined_anew() {
    let server = App::probe().admin().serve();
    swap(&server, App::probe_v2_plugin().path()).await;
    let (mut counted, mut plain) = (server.client().await, server.client().await);
    counted.join(TOPIC).await;
    plain.join(TOPIC).await;
    count(&mut counted, TOPIC, 1).await;
    let back = millrace(&server, &["rollback", "probe"]).await;
    assert_eq!(back.code, Some(0), "{back:#?}");
    assert_eq!(version(&mut plain, TOPIC).await, "1");
    counted.push(TOPIC, "count", json!({})).await;
    counted.expect_crashed(TOPIC).await;
    counted.join(TOPIC).await;
    count(&mut counted, TOPIC, 1).await;
    assert_eq!(outcomes(&server).await, ["rolled_back", "live"]);
    // And back again: the one before is always at hand.
    assert_eq!(millrace(&server, &["rollback", "probe"]).await.code, Some(0));
    assert_eq!(version(&mut plain, TOPIC).await, "2");
}

#[tokio::test]
async fn a_channel_may_be_kept_by_the_version_that_can_read_it() {
    let server = App::probe().admin().with("[limits]\non_migrate = \"keep-old\"\n").serve();
    swap(&server, App::probe_v2_plugin().path()).await;
    let (mut counted, mut plain) = (server.client().await, server.client().await);
    counted.join(TOPIC).await;
    plain.join(TOPIC).await;
    count(&mut counted, TOPIC, 1).await;
    assert_eq!(millrace(&server, &["rollback", "probe"]).await.code, Some(0));
    count(&mut counted, TOPIC, 2).await;
    assert_eq!(version(&mut counted, TOPIC).await, "2");
    assert_eq!(version(&mut plain, TOPIC).await, "1");
    // Until it leaves.
    let left = counted.push(TOPIC, "phx_leave", json!({})).await;
    counted.expect_reply(TOPIC, &left, "ok", json!({})).await;
    counted.expect_closed(TOPIC).await;
    counted.join(TOPIC).await;
    assert_eq!(version(&mut counted, TOPIC).await, "1");
}
