//! `millrace sockets` and `millrace disconnect`: the connections of a server.

use hyper::Method;
use serde_json::{Value, json};

use super::admin::AdminArgs;
use super::table::Table;
use super::value::{list, number, text};
use super::{print, say};

/// Prints all connections, or those of one user, page by page.
pub(super) async fn show(server: &AdminArgs, user: Option<&str>) -> anyhow::Result<()> {
    let columns = ["ID", "PEER", "USER", ">CHANNELS", ">WAITING BYTES"];
    let mut table = Table::new(&columns);
    let mut from = Some(0);
    while let Some(first) = from {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("from", &first.to_string());
        user.map(|user| query.append_pair("user", user));
        let page = server.get(&format!("/sockets?{}", query.finish())).await?;
        for socket in list(&page, &["sockets"]) {
            if server.json {
                say(&socket.to_string());
                continue;
            }
            let names = ["id", "peer", "user", "channels", "waiting_bytes"];
            table.row(names.map(|name| text(socket, &[name])));
        }
        from = page.get("next").and_then(Value::as_u64);
    }
    if !server.json {
        print(&table, "nobody is connected");
    }
    Ok(())
}

/// Closes all connections of a user.
pub(super) async fn disconnect(server: &AdminArgs, user: &str) -> anyhow::Result<()> {
    let response =
        server.request(Method::POST, "/disconnect", Some(json!({ "user": user }))).await?;
    if server.json {
        say(&response.to_string());
        return Ok(());
    }
    match number(&response, &["closed"]) {
        0 => say(&format!("{user:?} has no connection")),
        1 => say(&format!("1 connection of {user:?} was told to close")),
        closed => say(&format!("{closed} connections of {user:?} were told to close")),
    }
    Ok(())
}
