//! The key material: every leaf is for exactly its names, and only the lab's authority stands behind it.

mod support;

use rustls::client::danger::ServerCertVerifier;
use std::collections::BTreeSet;
use tokio::net::TcpStream;
use weir_lab_servers::pki;
use weir_lab_servers::plan::Plan;
use x509_parser::extensions::GeneralName;

fn names(plan: &Plan, leaf: &str) -> BTreeSet<String> {
    let chain = support::certificates(&plan.files().chain(leaf));
    let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).expect("a certificate");
    let extension = certificate
        .subject_alternative_name()
        .expect("well-formed")
        .expect("names");
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        other => panic!("unexpected name {other:?}"),
    };
    extension.value.general_names.iter().map(name).collect()
}

#[test]
fn every_leaf_is_for_exactly_its_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(directory.path());
    pki::create(&plan).expect("key material");
    let expected = [
        ("sts", vec!["sts.corp.example", "certauth.sts.corp.example"]),
        ("adfs", vec!["adfs.corp.example"]),
        ("login", vec!["login.microsoftonline.com"]),
        ("application", vec!["app.cloud.example"]),
        ("portal", vec!["portal.corp.example"]),
        ("reverse-proxy", vec!["*.proxy.example"]),
        ("other-sts", vec!["sts.corp.example"]),
    ];
    for (leaf, expected) in expected {
        assert_eq!(
            names(&plan, leaf),
            expected.into_iter().map(str::to_owned).collect(),
            "{leaf}"
        );
    }
}

#[test]
fn keys_and_plan_are_readable_by_their_owner_only_and_the_plan_survives_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(directory.path());
    pki::create(&plan).expect("key material");
    let file = directory.path().join("plan.json");
    plan.save(&file).expect("saved");
    for path in [
        plan.files().ca_key(),
        plan.files().signing_key("sts"),
        file.clone(),
    ] {
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    assert_eq!(Plan::load(&file).expect("loaded"), plan);
}

#[test]
fn a_leaf_of_the_other_authority_is_not_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let plan = Plan::new(directory.path());
    pki::create(&plan).expect("key material");
    let files = plan.files();
    let chain = support::certificates(&files.chain("other-sts"));
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        weir_lab_servers::server::roots(&files.ca())
            .expect("roots")
            .into(),
        weir_lab_servers::server::provider(),
    )
    .build()
    .expect("a verifier");
    let name = "sts.corp.example".try_into().expect("a name");
    let now = rustls::pki_types::UnixTime::now();
    let refused = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now);
    assert!(refused.is_err(), "the other authority's leaf was accepted");
    let own = support::certificates(&files.chain("sts"));
    verifier
        .verify_server_cert(&own[0], &own[1..], &name, &[], now)
        .expect("the lab's own leaf is trusted");
}

#[tokio::test]
async fn a_connection_that_asks_for_no_known_name_is_dropped_and_logged() {
    let lab = support::Lab::services().await;
    let address = lab.plan.services[1].listen[0];
    for host in ["sts.corp.example", "127.0.0.1"] {
        assert!(
            support::connect(&lab.plan, host, address, None)
                .await
                .is_err(),
            "{host}"
        );
    }
    drop(TcpStream::connect(address).await.expect("a connection"));
    lab.browser()
        .get("https://adfs.corp.example/adfs/portal/css/style.css")
        .await;
    let log = lab.log("adfs");
    let problems: Vec<&str> = log
        .iter()
        .filter_map(|line| line["error"].as_str())
        .collect();
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("no binding for server name sts.corp.example"))
    );
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("no binding for server name (none)"))
    );
}

#[tokio::test]
async fn the_certificate_host_is_shown_the_clients_certificate() {
    let lab = support::Lab::services().await;
    let address = lab.plan.services[0].listen[0];
    for (client, expected) in [
        (Some("client-alice"), "CN=alice@mex.corp.example"),
        (None, "no client certificate"),
    ] {
        let stream = support::connect(&lab.plan, "certauth.sts.corp.example", address, client)
            .await
            .expect("TLS");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
                .await
                .expect("HTTP");
        tokio::spawn(connection);
        let request = http::Request::get("/adfs/ls/").header("host", "certauth.sts.corp.example");
        let request = request
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .expect("a body")
            .to_bytes();
        assert!(
            String::from_utf8_lossy(&body).contains(expected),
            "{body:?}"
        );
    }
}
