//! The page behind a proxy that has it below a path of its own.

use millrace_tests::{App, HttpRequest, HttpResponse, Script, TestServer, chromium};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Hands what is below `/rt` on to a server; its address.
async fn proxy(server: &TestServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = server.address().to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                // A client that goes away ends it.
                let _ = hand_on(client, &to).await;
            });
        }
    });
    address
}

/// One request for each connection, or a WebSocket.
async fn hand_on(client: TcpStream, to: &str) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut server = TcpStream::connect(to).await?;
    let mut line = String::new();
    client.read_line(&mut line).await?;
    let Some(path) = line.strip_prefix("GET /rt/") else {
        return client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    };
    let (mut head, mut is_upgrade) = (format!("GET /{path}"), false);
    loop {
        line.clear();
        client.read_line(&mut line).await?;
        let name = line.to_ascii_lowercase();
        is_upgrade |= name.starts_with("upgrade:");
        if line == "\r\n" {
            break;
        }
        if !name.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    head.push_str(if is_upgrade {
        "Connection: Upgrade\r\n\r\n"
    } else {
        "Connection: close\r\n\r\n"
    });
    server.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn get(address: &str, path: &str) -> HttpResponse {
    HttpRequest::new("GET", path).send(address).await
}

#[tokio::test]
async fn what_the_page_links_to_is_below_it() {
    let server = App::slow().dashboard().serve();
    let address = proxy(&server).await;
    let asked = get(&address, "/rt/dashboard").await;
    assert_eq!((asked.status, asked.header("location")), (303, Some("dashboard/")), "{asked:?}");
    let page = get(&address, "/rt/dashboard/").await;
    assert_eq!(page.status, 200, "{page:?}");
    let links = page.body.split("href=\"").chain(page.body.split("src=\"")).filter_map(|rest| {
        let (link, _) = rest.split_once('"')?;
        link.ends_with(['s', 'n']).then_some(link)
    });
    let links: Vec<_> = links.filter(|link| !link.contains([' ', '<'])).collect();
    assert!(links.len() >= 5, "{links:?}");
    for link in links {
        let response = get(&address, &format!("/rt/dashboard/{link}")).await;
        assert_eq!(response.status, 200, "{link}: {response:?}");
    }
}

#[tokio::test]
async fn it_lives_there_in_a_browser() {
    let Some(chromium) = chromium() else { return };
    let server = App::slow().dashboard().with("[dashboard]\ntoken = \"secret\"").serve();
    let url = format!("http://{}/rt/dashboard?token=secret", proxy(&server).await);
    let mut script = Script::start("browser/prefix.mjs", &[&url, chromium]);
    script.expect(json!({ "status": "live", "path": "/rt/dashboard/" })).await;
    script.expect_end().await;
}
