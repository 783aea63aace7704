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
