//! Over which way Entra is reached, and what is said when it is not.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_entra::clock::Clock;
use weir_entra::cloud::Cloud;
use weir_entra::network::{Network, NetworkError, Proxy, SetupError};
use weir_entra::token::{TokenError, Tokens};

use crate::support::{
    Authority, Reply, Server, TENANT, TunnelProxy, Turned, issued, registration, token, trusting,
};

async fn login(authority: &Authority, clock: &Arc<Turned>) -> Server {
    let script = |_: &_, nth| issued(&token(TENANT, &[], nth));
    authority.serve(clock, script).await
}

async fn sign_in(network: &Network, clock: &Arc<Turned>, login: &str) -> Result<(), NetworkError> {
    let tokens = Tokens::new(network, Arc::clone(clock) as Arc<dyn Clock>).expect("a client");
    let cloud = Cloud::custom(login, "https://graph.example").expect("origins");
    match tokens.get(&registration(cloud)).await {
        Ok(_) => Ok(()),
        Err(TokenError::Network(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn only_known_authorities_are_trusted() {
    let authority = Authority::new();
    let clock = Arc::<Turned>::default();
    let server = login(&authority, &clock).await;
    sign_in(&trusting(&authority), &clock, &server.origin)
        .await
        .expect("it is trusted");
    let stranger = trusting(&Authority::new());
    let refused = sign_in(&stranger, &clock, &server.origin).await;
    assert!(matches!(refused, Err(NetworkError::Tls(_))), "{refused:?}");
    // By another name than its certificate's.
    let elsewhere = server.origin.replace("localhost", "127.0.0.1");
    let refused = sign_in(&trusting(&authority), &clock, &elsewhere).await;
    assert!(matches!(refused, Err(NetworkError::Tls(_))), "{refused:?}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_proxy_is_asked_for_tunnels_and_sees_nothing_else() {
    let authority = Authority::new();
    let clock = Arc::<Turned>::default();
    let server = login(&authority, &clock).await;
    let proxy = TunnelProxy::start().await;
    let mut network = trusting(&authority);
    let address = format!("http://user:p%40ss@127.0.0.1:{}", proxy.port);
    network.proxy = Some(Proxy::parse(&address).expect("a proxy"));
    assert!(!format!("{network:?}").contains("p@ss"));
    assert!(!format!("{network:?}").contains("p%40ss"));
    sign_in(&network, &clock, &server.origin)
        .await
        .expect("by the proxy");
    assert_eq!(proxy.tunnels.load(Ordering::Relaxed), 1);
    let heads = proxy.heads.lock().expect("heads").clone();
    let host = server.origin.trim_start_matches("https://");
    assert!(
        heads[0].starts_with(&format!("CONNECT {host} HTTP/1.1\r\n")),
        "{}",
        heads[0]
    );
    // user:p@ss
    let login = "proxy-authorization: basic dXNlcjpwQHNz";
    assert!(
        heads[0].to_lowercase().contains(&login.to_lowercase()),
        "{}",
        heads[0]
    );
    assert!(!heads[0].contains("client_secret"));

    proxy.refuses.store(true, Ordering::Relaxed);
    let refused = sign_in(&network, &clock, &server.origin).await;
    assert!(
        matches!(refused, Err(NetworkError::Proxy(_))),
        "{refused:?}"
    );
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    // The same tests as above, where every proxy of the environment leads nowhere.
    let mut again = Command::new(std::env::current_exe().expect("it runs"));
    again.args(["--exact", "network::only_known_authorities_are_trusted"]);
    for name in [
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ] {
        again.env(name, "http://127.0.0.1:1");
    }
    let output = again.env_remove("NO_PROXY").env_remove("no_proxy").output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
async fn it_is_said_what_fails() {
    let clock = Arc::<Turned>::default();
    let authority = Authority::new();
    let network = trusting(&authority);
    let unknown = sign_in(&network, &clock, "https://nobody.invalid").await;
    assert!(matches!(unknown, Err(NetworkError::Name(_))), "{unknown:?}");
    // A port that nobody listens on.
    let closed = sign_in(&network, &clock, "https://127.0.0.1:1").await;
    assert!(
        matches!(closed, Err(NetworkError::Unreachable(_))),
        "{closed:?}"
    );

    let silent = authority.serve(&clock, |_, _| Reply::Silence).await;
    let mut impatient = trusting(&authority);
    impatient.answer_within = std::time::Duration::from_millis(200);
    let late = sign_in(&impatient, &clock, &silent.origin).await;
    assert_eq!(late, Err(NetworkError::Late));
}

#[test]
fn a_proxy_that_is_none_is_refused_without_its_password() {
    for text in [
        "https://proxy:8080",
        "socks5://proxy:1080",
        "http://user:hunter2@",
        "http://user:hunter2",
        "http://user:hunter2@proxy:8080/path",
        "http://user@proxy:8080",
        "proxy:8080",
        "",
    ] {
        let error = Proxy::parse(text).map(drop).expect_err(text);
        assert_eq!(error, SetupError::Proxy);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn authorities_that_are_none_are_refused() {
    let mut network = Network::default();
    for pem in [
        "",
        "no PEM",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
    ] {
        let refused = network.trust(pem.as_bytes());
        assert!(matches!(refused, Err(SetupError::Authorities(_))), "{pem}");
    }
}

#[test]
fn a_cloud_is_two_hosts_and_nothing_else() {
    let global = Cloud::global();
    assert_eq!(global.login(), "https://login.microsoftonline.com");
    assert_eq!(global.scope(), "https://graph.microsoft.com/.default");
    assert_eq!(
        global.token_url(TENANT),
        format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    );
    let hosts = ["global", "usgov", "usgov-dod", "china"].map(|name| {
        let cloud = Cloud::named(name).expect("a cloud");
        assert_eq!(cloud.name().to_string(), name);
        [cloud.login_host().to_owned(), cloud.graph_host().to_owned()]
    });
    assert_eq!(
        hosts,
        [
            ["login.microsoftonline.com", "graph.microsoft.com"],
            ["login.microsoftonline.us", "graph.microsoft.us"],
            ["login.microsoftonline.us", "dod-graph.microsoft.us"],
            ["login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"],
        ]
    );
    assert!(Cloud::named("mars").is_err());
    let custom = Cloud::custom("https://login.example:8443", "https://graph.example/");
    assert_eq!(
        custom.expect("two hosts").login(),
        "https://login.example:8443"
    );
    for address in [
        "http://login.example",
        "https://login.example/path",
        "https://login.example?query",
        "https://login.example#fragment",
        "https://me:hunter2@login.example",
        "login.example",
        "",
    ] {
        let error = Cloud::custom(address, "https://graph.example").expect_err(address);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
