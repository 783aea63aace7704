//! Servers that the kernel chooses among: those that do not answer get no new connections, and everybody
//! is told.

use std::net::{IpAddr, SocketAddr, TcpListener};

use serde_json::json;
use weir_api::Actor;
use weir_control::testing::{Appliance, Settings};

const FIRST: [u8; 4] = [127, 0, 0, 2];
const SECOND: [u8; 4] = [127, 0, 0, 3];

#[tokio::test]
async fn a_server_that_does_not_answer_gets_no_new_connections_until_it_does() {
    let (first, second) = (IpAddr::from(FIRST), IpAddr::from(SECOND));
    let one = TcpListener::bind((first, 0)).expect("a free port");
    let port = one.local_addr().expect("bound").port();
    let other = listen(second, port);
    let appliance = Appliance::start_with(dsr(port)).await;
    appliance.kernel.until_up(&[first, second]).await;

    drop(other);
    appliance.kernel.until_up(&[first]).await;
    let status = appliance.get("/v1/status").await;
    let service = &status["services"][0];
    assert_eq!(service["topology"], "dsr");
    assert_eq!(
        service["servers"],
        json!([
            {"address": "127.0.0.2", "answers": true},
            {"address": "127.0.0.3", "answers": false},
        ])
    );

    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains(&format!("127.0.0.3:{port}")),
        "{warnings}"
    );

    // A change does not forget it.
    let who = Actor::Signal("SIGHUP".to_owned());
    appliance
        .brain
        .reload(who, false)
        .await
        .expect("nothing is wrong");
    appliance.kernel.until_up(&[first]).await;

    // With none left, health has nothing to choose by.
    drop(one);
    appliance.kernel.until_up(&[first, second]).await;
    let _other = listen(second, port);
    appliance.kernel.until_up(&[second]).await;
    let _one = listen(first, port);
    appliance.kernel.until_up(&[first, second]).await;
}

#[tokio::test]
async fn a_restart_gives_no_new_connections_to_a_server_that_had_none() {
    let (first, second) = (IpAddr::from(FIRST), IpAddr::from(SECOND));
    let one = TcpListener::bind((first, 0)).expect("a free port");
    let port = one.local_addr().expect("bound").port();
    let mut appliance = Appliance::start_with(dsr(port)).await;
    appliance.kernel.until_up(&[first]).await;

    appliance.restart(async || {}).await;
    assert_eq!(appliance.kernel.up(), [first]);
    let _other = listen(second, port);
    appliance.kernel.until_up(&[first, second]).await;
}

#[tokio::test]
async fn a_server_that_is_taken_out_is_not_said_to_answer() {
    let (first, second) = (IpAddr::from(FIRST), IpAddr::from(SECOND));
    let one = TcpListener::bind((first, 0)).expect("a free port");
    let port = one.local_addr().expect("bound").port();
    let appliance = Appliance::start_with(dsr(port)).await;
    appliance.kernel.until_up(&[first]).await;
    let config = appliance.read("weir.toml");
    let config = config.replace(
        &format!("\"{first}\", \"{second}\""),
        &format!("\"{first}\""),
    );
    appliance.write("weir.toml", &config);
    let who = Actor::Signal("SIGHUP".to_owned());
    let reloaded = appliance.brain.reload(who, false).await;
    reloaded.expect("nothing is wrong");

    drop(one);
    let log = "/v1/events?kind=change&follow=true";
    let mut log = appliance.lines(log).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let line = log.next().await.expect("the log goes on");
        if line["action"] == "servers" {
            told.push(line["detail"].as_str().expect("text").to_owned());
        }
    }
    let silent = [second, first].map(|server| format!("{server}:{port} does not answer"));
    for (told, silent) in told.iter().zip(silent) {
        assert!(told.starts_with(&silent), "{told}");
    }
}

fn dsr(port: u16) -> Settings {
    let service = format!(
        "addresses = [\"192.0.2.10\"]\nports = [{port}]\ntopology = \"dsr\"\n\
         servers = [\"127.0.0.2\", \"127.0.0.3\"]"
    );
    Settings {
        edits: vec![(
            "addresses = [\"192.0.2.10\", \"2001:db8:10::10\"]\nports = [443]",
            service,
        )],
        ..Settings::default()
    }
}

fn listen(address: IpAddr, port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::new(address, port)).expect("nobody else has the port")
}
