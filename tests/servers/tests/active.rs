//! Rich clients at both services: metadata exchange, `usernamemixed`, faults, OAuth, and what the service believes
//! about where they are.

mod support;

use bytes::Bytes;
use http::{Method, StatusCode};
use support::{Answer, Lab};
use time::{Duration, OffsetDateTime};
use weir_lab_servers::saml::moment;
use weir_lab_servers::xml::Element;

const V2005: &str = "http://schemas.xmlsoap.org/ws/2005/02/trust";
const V13: &str = "http://docs.oasis-open.org/ws-sx/ws-trust/200512";

/// A request for a token as clients write it, password in the clear.
fn request(
    namespace: &str,
    to: &str,
    user: &str,
    password: &str,
    created: OffsetDateTime,
) -> String {
    format!(
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:wsa='http://www.w3.org/2005/08/addressing' \
         xmlns:wsu='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'><s:Header>\
         <wsa:Action s:mustUnderstand='1'>{namespace}/RST/Issue</wsa:Action><wsa:messageID>urn:uuid:1</wsa:messageID>\
         <wsa:To s:mustUnderstand='1'>{to}</wsa:To><wsse:Security \
         xmlns:wsse='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>\
         <wsu:Timestamp><wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires></wsu:Timestamp>\
         <wsse:UsernameToken><wsse:Username>{user}</wsse:Username><wsse:Password>{password}</wsse:Password>\
         </wsse:UsernameToken></wsse:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t='{namespace}'>\
         <wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference>\
         <wsa:Address>urn:federation:MicrosoftOnline</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>\
         <t:RequestType>{namespace}/Issue</t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>",
        created = moment(created),
        expires = moment(created + Duration::minutes(10)),
    )
}

async fn post(lab: &Lab, url: &str, body: String, headers: &[(&'static str, &str)]) -> Answer {
    let browser = headers
        .iter()
        .fold(lab.browser(), |browser, (name, value)| {
            browser.with(name, value)
        });
    let mut browser = browser;
    browser
        .send(
            Method::POST,
            url,
            "application/soap+xml; charset=utf-8",
            Bytes::from(body),
        )
        .await
}

fn fault(answer: &Answer) -> (String, String) {
    let root = Element::parse(&answer.body).expect("an envelope");
    let text = |path: &[&str]| {
        root.path(path)
            .map(|element| element.text.clone())
            .unwrap_or_default()
    };
    (
        text(&["Body", "Fault", "Code", "Subcode", "Value"]),
        text(&["Body", "Fault", "Reason", "Text"]),
    )
}

#[tokio::test]
async fn both_versions_give_a_token_in_their_own_envelope() {
    let lab = Lab::services().await;
    for (version, namespace, root) in [
        ("2005", V2005, "RequestSecurityTokenResponse"),
        ("13", V13, "RequestSecurityTokenResponseCollection"),
    ] {
        let url = format!("https://sts.corp.example/adfs/services/trust/{version}/usernamemixed");
        let body = request(
            namespace,
            &url,
            "carol@mex-adfs.corp.example",
            "P\u{e4}ssw\u{f6}rd-3",
            OffsetDateTime::now_utc(),
        );
        let answer = post(&lab, &url, body, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let envelope = Element::parse(&answer.body).expect("an envelope");
        let response = &envelope.child("Body").expect("a body").children[0];
        assert_eq!(
            (response.namespace.as_str(), response.name.as_str()),
            (namespace, root)
        );
        let assertions = envelope.all(&|element| element.name == "Assertion");
        assert_eq!(assertions.len(), 1);
        assert_eq!(
            assertions[0].attribute("Issuer"),
            Some("http://sts.corp.example/adfs/services/trust")
        );
        assert_eq!(
            envelope
                .path(&["Header", "RelatesTo"])
                .map(|id| id.text.as_str()),
            Some("urn:uuid:1")
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_soap_fault_with_status_500() {
    let lab = Lab::services().await;
    let now = OffsetDateTime::now_utc();
    let url = "https://adfs.corp.example/adfs/services/trust/2005/usernamemixed";
    let good = request(
        V2005,
        url,
        "bob@nomex.corp.example",
        "Battery&amp;Staple&lt;2&gt;",
        now,
    );
    assert_eq!(
        post(&lab, url, good.clone(), &[]).await.status,
        StatusCode::OK
    );
    let elsewhere = url.replace("adfs.corp", "evil.corp");
    let cases = [
        (
            good.replace("Staple", "staple"),
            "a:FailedAuthentication",
            "ID3242",
        ),
        (
            good.replace("bob@", "nobody@"),
            "a:FailedAuthentication",
            "ID3242",
        ),
        (
            good.replace("urn:federation:MicrosoftOnline", "urn:other"),
            "a:InvalidScope",
            "ID3082",
        ),
        (
            good.replace("02/trust/Issue<", "02/trust/Renew<"),
            "a:InvalidRequest",
            "MSIS3127",
        ),
        (
            good.replace(url, &elsewhere),
            "a:DestinationUnreachable",
            "AddressFilter",
        ),
        (
            good.replace("wsse:Password", "wsse:Secret"),
            "a:InvalidSecurity",
            "verifying security",
        ),
        (
            request(
                V2005,
                url,
                "bob@nomex.corp.example",
                "x",
                now - Duration::hours(1),
            ),
            "a:InvalidSecurity",
            "verifying security",
        ),
    ];
    for (body, code, text) in cases {
        let answer = post(&lab, url, body, &[]).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{code}");
        assert!(
            answer
                .header("content-type")
                .starts_with("application/soap+xml"),
            "{code}"
        );
        let (found_code, found_text) = fault(&answer);
        assert_eq!(found_code, code);
        assert!(found_text.contains(text), "{found_text}");
    }
    assert_eq!(
        post(&lab, url, "not xml".to_owned(), &[]).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(lab.browser().get(url).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_intranets_metadata_is_seen_for_what_it_is() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let inside = browser
        .get("https://adfs.corp.example/adfs/services/trust/mex")
        .await;
    assert!(
        inside
            .body
            .contains("/adfs/services/trust/13/windowstransport")
    );
    let outside = browser
        .get("https://adfs.corp.example/adfs/services/trust/proxymex")
        .await;
    let published = browser
        .get("https://sts.corp.example/adfs/services/trust/mex")
        .await;
    for answer in [&outside, &published] {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header("content-type").starts_with("text/xml"));
        assert!(
            !answer.body.contains("windowstransport") && !answer.body.contains("kerberosmixed")
        );
        assert!(
            answer
                .body
                .contains("/adfs/services/trust/13/usernamemixed")
        );
        assert!(
            answer
                .body
                .contains("/adfs/services/trust/2005/usernamemixed")
        );
        Element::parse(&answer.body).expect("well-formed");
    }
    assert_eq!(
        lab.log("adfs")[1]["note"],
        "intranet; mex of the intranet, windowstransport in it"
    );
}

#[tokio::test]
async fn without_a_proxys_header_the_request_is_an_intranet_one() {
    let lab = Lab::services().await;
    let url = "https://adfs.corp.example/adfs/services/trust/13/usernamemixed";
    let body = request(
        V13,
        url,
        "alice@mex.corp.example",
        "Correct-Horse-1",
        OffsetDateTime::now_utc(),
    );
    let claims = |answer: &Answer| {
        let root = Element::parse(&answer.body).expect("an envelope");
        root.all(&|element| element.name == "Attribute")
            .iter()
            .map(|claim| {
                let values: Vec<&str> = claim
                    .children
                    .iter()
                    .map(|value| value.text.as_str())
                    .collect();
                (
                    claim
                        .attribute("AttributeName")
                        .unwrap_or_default()
                        .to_owned(),
                    values.join("|"),
                )
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let inside = claims(&post(&lab, url, body.clone(), &[]).await);
    assert_eq!(inside["insidecorporatenetwork"], "true");
    assert!(!inside.contains_key("x-ms-proxy"));
    assert_eq!(
        (inside["UPN"].as_str(), inside["Group"].as_str()),
        ("alice@mex.corp.example", "staff|engineers")
    );
    let headers = [
        ("x-ms-proxy", "weir-1"),
        ("x-ms-forwarded-client-ip", "203.0.113.7"),
        (
            "x-ms-endpoint-absolute-path",
            "/adfs/services/trust/13/usernamemixed",
        ),
    ];
    let outside = claims(&post(&lab, url, body, &headers).await);
    assert_eq!(outside["insidecorporatenetwork"], "false");
    assert_eq!(outside["x-ms-proxy"], "weir-1");
    assert_eq!(outside["x-ms-forwarded-client-ip"], "203.0.113.7");
    assert_eq!(
        outside["x-ms-endpoint-absolute-path"],
        "/adfs/services/trust/13/usernamemixed"
    );
}

#[tokio::test]
async fn the_web_application_proxy_speaks_for_itself() {
    let lab = Lab::services().await;
    let url = "https://sts.corp.example/adfs/services/trust/13/usernamemixed";
    let body = request(
        V13,
        url,
        "alice@mex.corp.example",
        "Correct-Horse-1",
        OffsetDateTime::now_utc(),
    );
    let headers = [
        ("x-ms-proxy", "forged"),
        ("x-ms-endpoint-absolute-path", "/forged"),
        ("x-ms-forwarded-client-ip", "203.0.113.7"),
    ];
    let answer = post(&lab, url, body, &headers).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.body.contains("forged"));
    assert!(answer.body.contains("wap-1.corp.example"));
    assert!(answer.body.contains("203.0.113.7,127.0.0.1"));
}

#[tokio::test]
async fn what_a_web_application_proxy_does_not_publish_is_not_there() {
    let lab = Lab::services().await;
    let paths = [
        (
            "/adfs/services/trust/2005/windowstransport",
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/adfs/ls/../services/trust/13/WindowsTransport",
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/adfs/Proxy/GetConfiguration",
            StatusCode::NOT_FOUND,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/adfs/backendproxytls",
            StatusCode::NOT_FOUND,
            StatusCode::UNAUTHORIZED,
        ),
        (
            "/adfs/services/trust/proxymex",
            StatusCode::NOT_FOUND,
            StatusCode::OK,
        ),
        ("/elsewhere", StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
    ];
    let get = |host: &'static str, path: &str| {
        let (target, lab) = (path.to_owned(), &lab);
        async move {
            // The path as it stands: a URL library would resolve the dots.
            let address = lab
                .plan
                .services
                .iter()
                .find(|service| service.host == host)
                .expect("planned")
                .listen[0];
            let stream = support::connect(&lab.plan, host, address, None)
                .await
                .expect("TLS");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
                    .await
                    .expect("HTTP");
            tokio::spawn(connection);
            let request = http::Request::get(target).header("host", host);
            let request = request
                .body(http_body_util::Empty::<Bytes>::new())
                .expect("a request");
            sender
                .send_request(request)
                .await
                .expect("an answer")
                .status()
        }
    };
    for (path, published, own) in paths {
        assert_eq!(
            get("sts.corp.example", path).await,
            published,
            "{path} at the proxy"
        );
        assert_eq!(
            get("adfs.corp.example", path).await,
            own,
            "{path} at the farm"
        );
    }
    let leaked: Vec<String> = lab
        .log("adfs")
        .iter()
        .filter_map(|line| {
            line["note"]
                .as_str()
                .filter(|note| note.contains("internal path"))
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(
        leaked.len(),
        2,
        "what leaks to the farm is seen: {leaked:?}"
    );
}

#[tokio::test]
async fn passwords_are_never_in_the_logs() {
    let lab = Lab::services().await;
    let url = "https://adfs.corp.example/adfs/services/trust/13/usernamemixed";
    post(
        &lab,
        url,
        request(V13, url, "a@b", "the-secret", OffsetDateTime::now_utc()),
        &[],
    )
    .await;
    let mut browser = lab
        .browser()
        .with("authorization", "Basic the-secret")
        .with("cookie", "MSISAuth=the-secret");
    browser
        .get("https://adfs.corp.example/adfs/oauth2/authorize?client_id=x&code=the-secret")
        .await;
    let text = std::fs::read_to_string(lab.plan.files().log("adfs")).expect("a log");
    assert_eq!(text.matches("\"event\":\"request\"").count(), 2);
    assert!(!text.contains("the-secret"), "{text}");
}

#[tokio::test]
async fn the_probe_answers_in_clear_text() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lab = Lab::services().await;
    let mut stream = tokio::net::TcpStream::connect(lab.plan.services[0].probe[0])
        .await
        .expect("a connection");
    stream
        .write_all(b"GET /adfs/probe HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n")
        .await
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    lab.stop().await;
}
