//! A service in front of a relying party gets the keys of the service whose tokens are posted to it.

use std::slice::from_ref;

use http::{Method, StatusCode};
use weir_control::testing::{
    Appliance, FakeProxy, METADATA, Publisher, Received, Settings, SigningKey,
};

const PORTAL: &str = r#"[[service]]
name = "portal"
hosts = ["portal.more.corp.example"]
addresses = ["192.0.2.30"]
profile = "portal"
managed = "proxy"
certificate = "chain.pem"
key = "key.pem"
[service.upstream]
kind = "plain"
servers = ["192.0.2.31:443"]
[service.tokens]
tokens_of = "sts"
audiences = ["urn:portal"]
[profile.portal]
rows = [{ methods = ["POST"], path = "/saml/acs", flow = "passive", reads = ["reply"] }]
[[list]]
name = "hq-egress"
"#;

#[tokio::test]
async fn it_has_the_keys_of_the_other_service_and_nobody_asks_its_own_servers() {
    let key = SigningKey::new();
    let publisher = Publisher::start(&[&key]).await;
    let edits = vec![
        publisher.edit(""),
        ("[[list]]\nname = \"hq-egress\"\n", PORTAL.to_owned()),
    ];
    let appliance = Appliance::start_with(Settings {
        edits,
        ..Settings::default()
    })
    .await;
    let mut proxy = FakeProxy::connect(&appliance.proxy_socket()).await;
    loop {
        let Received::Generation { generation, .. } = proxy.next().await.expect("the link stays")
        else {
            panic!("a generation was expected");
        };
        let tokens = generation.services.iter().map(|service| {
            let tokens = service.tokens.as_ref();
            tokens.expect("tokens of both are looked at")
        });
        let [sts, portal] = tokens.collect::<Vec<_>>()[..] else {
            panic!("two services were expected");
        };
        assert_eq!(sts.keys, portal.keys, "together, always");
        assert_eq!(portal.keys_of.as_deref(), Some("sts"));
        if !portal.keys.is_empty() {
            assert_eq!(portal.keys.certificates, from_ref(&key.certificate));
            break;
        }
    }
    let asked = publisher.asked();
    assert!(asked.contains(&format!("{METADATA} for sts.corp.example")));
    assert!(
        !asked.iter().any(|line| line.contains("portal")),
        "{asked:?}"
    );

    let (status, answer) = appliance.ask(Method::POST, "/v1/keys/refresh", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let services = answer["services"].as_array().expect("a list");
    assert_eq!(services.len(), 1, "{answer}");
}
