//! Compiling what an operator uploads: whatever the file makes of the compiler, clients are
//! served, the server does not grow, and it stops when it is told to.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use millrace_tests::{App, Run, TestServer, eventually, run};
use tempfile::TempDir;

use crate::longest_ping;

/// A core module with one function, of so many steps, that takes a compiler long.
fn module(steps: u32) -> Vec<u8> {
    const LOCALS: u32 = 2_000;
    let mut code = vec![1];
    leb(&mut code, LOCALS);
    code.push(0x7e);
    for step in 0..steps {
        let local = |of: u32| (step.wrapping_mul(of)) % LOCALS;
        // loop; local = a * b; br_if 0 (a == 0); end
        code.extend([0x03, 0x40, 0x20]);
        leb(&mut code, local(7));
        code.push(0x20);
        leb(&mut code, local(13));
        code.extend([0x7e, 0x21]);
        leb(&mut code, local(1));
        code.push(0x20);
        leb(&mut code, local(3));
        code.extend([0x50, 0x0d, 0x00, 0x0b]);
    }
    code.push(0x0b);
    let mut body = vec![1];
    leb(&mut body, u32::try_from(code.len()).unwrap());
    body.extend(code);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &[1, 0]);
    section(&mut module, 10, &body);
    module
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb(out, u32::try_from(content.len()).unwrap());
    out.extend(content);
}

fn leb(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        out.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}

/// A component that would be the probe's next version, and has such a module besides.
fn bomb(folder: &TempDir) -> PathBuf {
    let mut component = fs::read(App::probe_v2_plugin().path()).unwrap();
    section(&mut component, 1, &module(60_000));
    let file = folder.path().join("bomb.wasm");
    fs::write(&file, component).unwrap();
    file
}

fn app(compile: &str) -> App {
    App::probe().admin().with(&format!("[drain]\ntimeout_ms = 1000\n[compile]\n{compile}"))
}

/// Uploads it while a bystander pings; what came of it.
async fn upload_beside_a_bystander(server: &TestServer, file: PathBuf) -> Run {
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    let admin = server.admin().to_owned();
    let swap = async move {
        let words = ["swap", "probe", file.to_str().unwrap(), "--admin", &admin];
        run(words).await
    };
    let upload = tokio::spawn(swap);
    while !upload.is_finished() {
        let longest = longest_ping(&mut bystander, "room:bystander", 10).await;
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    }
    upload.await.unwrap()
}

#[tokio::test]
async fn a_component_that_takes_too_long_is_refused() {
    let (server, folder) = (app("timeout_ms = 1500").serve(), TempDir::new().unwrap());
    let before = server.resident_bytes();
    let upload = upload_beside_a_bystander(&server, bomb(&folder)).await;
    upload.assert_refused(&["takes longer than 1500 ms to compile (compile.timeout_ms)"]);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 50_000_000, "the server has grown by {grown} bytes");
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_is_refused() {
    // A little more than any plugin needs, so that it comes to the bound of memory first.
    let bounds = "max_memory_bytes = 80_000_000\ntimeout_ms = 60000";
    let (server, folder) = (app(bounds).serve(), TempDir::new().unwrap());
    let before = server.resident_bytes();
    let upload = upload_beside_a_bystander(&server, bomb(&folder)).await;
    upload.assert_refused(&["more than 80000000 bytes to compile (compile.max_memory_bytes)"]);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 50_000_000, "the server has grown by {grown} bytes");
}

#[tokio::test]
async fn compiling_does_not_hold_up_the_stop() {
    let (server, folder) = (app("timeout_ms = 60000").serve(), TempDir::new().unwrap());
    let (file, admin) = (bomb(&folder), server.admin().to_owned());
    let upload = tokio::spawn(async move {
        run(["swap", "probe", file.to_str().unwrap(), "--admin", &admin]).await
    });
    let compiler = eventually("it compiles", async || compiler_of(&server)).await;
    let began = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(upload.await.unwrap().code, Some(1));
    // Killed with the server.
    let exe = PathBuf::from(format!("/proc/{compiler}/exe"));
    eventually("the compiler has ended", async || exe.read_link().err()).await;
}

/// The child process of a server.
fn compiler_of(server: &TestServer) -> Option<u32> {
    let pid = server.pid();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().find_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

#[tokio::test]
async fn a_plugin_is_compiled_ahead() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("probe.cwasm");
    let plugin = App::probe_plugin();
    let words = ["compile".as_ref(), plugin.path().as_os_str(), "--output".as_ref()];
    let compiled = run(words.into_iter().chain([output.as_os_str()])).await;
    assert_eq!(compiled.code, Some(0), "{compiled:#?}");
    assert!(fs::metadata(output).unwrap().len() > 100_000);
    let text = folder.path().join("text.wasm");
    fs::write(&text, "nothing good").unwrap();
    let refused = run(["compile".as_ref(), text.as_os_str()]).await;
    refused.assert_refused(&["text.wasm is not WebAssembly"]);
    for (option, value, key) in [
        ("--max-memory-bytes", "1000", "compile.max_memory_bytes"),
        ("--max-memory-bytes", "60000000", "compile.max_memory_bytes"),
        ("--timeout-ms", "1", "compile.timeout_ms"),
    ] {
        let words = ["compile".as_ref(), plugin.path().as_os_str(), "--output".as_ref()];
        let bound = [folder.path().join("none").into_os_string(), option.into(), value.into()];
        let words = words.into_iter().chain(bound.iter().map(AsRef::as_ref));
        let refused = run(words).await;
        assert_eq!(refused.code, Some(1), "{option} {value}: {refused:#?}");
        refused.assert_refused(&[key]);
    }
}
