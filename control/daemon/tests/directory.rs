//! The directory by hand: its users reach the proxy, are watched, and are never lost by accident.

use http::{Method, StatusCode};
use serde_json::json;
use weir_control::testing::{Appliance, FakeProxy, Received};

/// What Windows sends at logon, as `explain` is asked about it.
fn logon(user: &str) -> serde_json::Value {
    let trust = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";
    let security =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    let body = format!(
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' \
         xmlns:a='http://www.w3.org/2005/08/addressing'><s:Header>\
         <o:Security xmlns:o='{security}'><o:UsernameToken><o:Username>{user}</o:Username>\
         <o:Password>p</o:Password></o:UsernameToken></o:Security></s:Header><s:Body>\
         <t:RequestSecurityToken xmlns:t='{trust}'>\
         <p:AppliesTo xmlns:p='http://schemas.xmlsoap.org/ws/2004/09/policy'>\
         <a:EndpointReference><a:Address>urn:federation:MicrosoftOnline</a:Address>\
         </a:EndpointReference></p:AppliesTo></t:RequestSecurityToken></s:Body></s:Envelope>"
    );
    json!({
        "source": "198.51.100.7",
        "url": "https://sts.corp.example/adfs/services/trust/13/usernamemixed",
        "method": "POST",
        "headers": [
            ["User-Agent", "Windows-AzureAD-Authentication-Provider/1.0"],
            ["Content-Type", "application/soap+xml; charset=utf-8"],
        ],
        "body": body,
    })
}

async fn users(proxy: &mut FakeProxy) -> Option<String> {
    match proxy.next().await {
        Some(Received::Generation { users, .. }) => users,
        other => panic!("a generation was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn users_reach_the_proxy_and_explain_and_are_watched() {
    let appliance = Appliance::start().await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    assert_eq!(users(&mut proxy).await, None);
    appliance.proxy_works().await;

    appliance.write(
        "hq.users",
        "# staff\nAlice@corp.example\nbob@corp.example\n",
    );
    let config = appliance.read("weir.toml");
    let config = config.replace("rules = ", "windows_logon = \"pass\"\nrules = ");
    appliance.write(
        "weir.toml",
        &(config + "\n[directory]\nusers = \"hq.users\"\n"),
    );
    let (status, done) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    let sent = users(&mut proxy).await;
    assert_eq!(
        sent.as_deref(),
        Some("alice@corp.example\nbob@corp.example\n")
    );
    for (user, rule) in [
        (
            "ALICE@corp.example",
            "office365-strict/windows-logon-exempt",
        ),
        (
            "carol@corp.example",
            "office365-strict/windows-logon-unmanaged",
        ),
    ] {
        let (_, explained) = appliance
            .ask(Method::POST, "/v1/explain", Some(logon(user)))
            .await;
        assert_eq!(explained["proxy"]["rule"], rule, "{explained}");
    }

    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    appliance.write("hq.users", "carol@corp.example\n");
    let sent = users(&mut proxy).await;
    assert_eq!(sent.as_deref(), Some("carol@corp.example\n"));
    // A disk that is full, or an editor: not a person who wants nobody to sign in.
    appliance.write("hq.users", "");
    loop {
        let change = log.next().await.expect("a line");
        if change["done"] == false {
            assert!(change.to_string().contains("hq.users"), "{change}");
            break;
        }
    }
    let (_, explained) = appliance
        .ask(
            Method::POST,
            "/v1/explain",
            Some(logon("carol@corp.example")),
        )
        .await;
    assert_eq!(
        explained["proxy"]["rule"],
        "office365-strict/windows-logon-exempt"
    );
}
