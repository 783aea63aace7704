//! Browsers: the whole sign-in, direct and behind the reverse proxy, by both protocols; and what is refused.

mod support;

use base64::Engine;
use http::StatusCode;
use support::{Answer, Browser, EGRESS, Lab, field};

const ALICE: (&str, &str) = ("alice@mex.corp.example", "Correct-Horse-1");

/// From the application's start page to the page that would post the token.
async fn until_token(browser: &mut Browser<'_>, start: &str, user: (&str, &str)) -> Answer {
    let start = browser.get(start).await;
    assert_eq!(start.status, StatusCode::FOUND);
    let url = start.header("location").to_owned();
    let page = browser.get(&url).await;
    assert!(page.body.contains("id=\"loginForm\""), "{}", page.body);
    let (_, token) = browser.sign_in(&url, &page, user.0, user.1).await;
    assert_eq!(token.status, StatusCode::OK);
    token
}

#[tokio::test]
async fn a_ws_federation_sign_in_ends_in_the_application() {
    let Some(lab) = Lab::whole("a_ws_federation_sign_in_ends_in_the_application").await else {
        return;
    };
    for service in ["sts", "adfs"] {
        let mut browser = lab.browser();
        let token = until_token(
            &mut browser,
            &format!("https://app.cloud.example/{service}"),
            ALICE,
        )
        .await;
        let cookies = browser.cookies(&format!("{service}.corp.example"));
        for name in [
            "MSISAuth",
            "MSISAuth1",
            "MSISAuthenticated",
            "MSISLoopDetectionCookie",
            "MSISSignOut",
        ] {
            assert!(cookies.contains(&name), "{name} in {cookies:?}");
        }
        let (action, fields) = token.form();
        assert_eq!(action, "https://app.cloud.example/login.srf");
        let answer = browser.post(&action, &fields).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::SEE_OTHER, "/home"),
            "{}",
            answer.body
        );
        let home = browser.get("https://app.cloud.example/home").await;
        assert!(
            home.body
                .contains("<dd id=\"upn\">alice@mex.corp.example</dd>"),
            "{}",
            home.body
        );
        assert!(home.body.contains(&format!(
            "http://{service}.corp.example/adfs/services/trust"
        )));
        assert!(home.body.contains("<dd id=\"address\">127.0.0.1</dd>"));

        let again = browser.post(&action, &fields).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN, "a token is taken once");
    }
}

#[tokio::test]
async fn the_application_refuses_what_was_changed_and_says_why() {
    let Some(lab) = Lab::whole("the_application_refuses_what_was_changed_and_says_why").await
    else {
        return;
    };
    let change = |fields: &[(String, String)], name: &str, from: &str, to: &str| {
        let mut fields = fields.to_vec();
        for (found, value) in &mut fields {
            if found == name {
                assert!(value.contains(from), "{from}");
                *value = value.replacen(from, to, 1);
            }
        }
        fields
    };
    let mut browser = lab.browser();
    let token = until_token(&mut browser, "https://app.cloud.example/sts", ALICE).await;
    let (action, fields) = token.form();
    let flipped = change(&fields, "wresult", "Engineering", "Engineerinh");
    let answer = browser.post(&action, &flipped).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.body.contains("signature does not verify"),
        "{}",
        answer.body
    );

    let token = until_token(&mut lab.browser(), "https://app.cloud.example/sts", ALICE).await;
    let foreign = change(&token.form().1, "wctx", "estsredirect=2", "estsredirect=3");
    let answer = browser.post(&action, &foreign).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.body.contains("wctx"), "{}", answer.body);

    // The same token under a fresh wctx: a replay.
    let mut second = lab.browser();
    let token = until_token(&mut second, "https://app.cloud.example/sts", ALICE).await;
    let (_, fields) = token.form();
    assert_eq!(
        second.post(&action, &fields).await.status,
        StatusCode::SEE_OTHER
    );
    let replayed: Vec<_> = fields
        .into_iter()
        .filter(|(name, _)| name != "wctx")
        .collect();
    let answer = second.post(&action, &replayed).await;
    assert!(
        answer.status == StatusCode::FORBIDDEN && answer.body.contains("used before"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn behind_the_reverse_proxy_the_browser_never_leaves_it() {
    let Some(lab) = Lab::whole("behind_the_reverse_proxy_the_browser_never_leaves_it").await else {
        return;
    };
    for (start, last) in [("sts", "/login.srf"), ("saml/adfs", "/saml/acs")] {
        let mut browser = lab.browser();
        let start = format!("https://app-cloud-example.proxy.example/{start}");
        let token = until_token(&mut browser, &start, ALICE).await;
        assert_eq!(token.header("x-inspected-by"), "proxy.example");
        assert!(token.body.contains("id=\"inspected\""));
        let (action, fields) = token.form();
        assert_eq!(
            action,
            format!("https://app-cloud-example.proxy.example{last}")
        );
        let answer = browser.post(&action, &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let home = browser
            .get("https://app-cloud-example.proxy.example/home")
            .await;
        assert!(
            home.body
                .contains(&format!("<dd id=\"address\">{EGRESS}</dd>")),
            "{}",
            home.body
        );
    }
    for server in ["sts", "adfs"] {
        for line in lab.log(server) {
            let peer = line["peer"].as_str().expect("a peer");
            assert!(peer.starts_with(EGRESS), "{server} was reached from {peer}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let url = "https://sts.corp.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=a%26b";
    let page = browser.get(url).await;
    let (_, again) = browser.sign_in(url, &page, ALICE.0, "wrong").await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(again.body.contains("Incorrect user ID or password"));
    assert!(browser.cookies("sts.corp.example").is_empty());
    let (_, token) = browser.sign_in(url, &again, ALICE.0, ALICE.1).await;
    assert_eq!(field(&token.form().1, "wctx"), "a&b");
}

#[tokio::test]
async fn a_demand_for_a_fresh_sign_in_is_kept_once() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let plain = "https://adfs.corp.example/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline&wctx=c";
    let page = browser.get(plain).await;
    browser.sign_in(plain, &page, ALICE.0, ALICE.1).await;
    let silent = browser.get(plain).await;
    assert_eq!(
        silent.form().0,
        "https://app.cloud.example/login.srf",
        "the session signs in silently"
    );
    for demand in ["&wfresh=0", "&prompt=login"] {
        let url = format!("{plain}{demand}");
        let page = browser.get(&url).await;
        assert!(
            page.body.contains("id=\"loginForm\""),
            "{demand} must ask again"
        );
        let (url, token) = browser.sign_in(&url, &page, ALICE.0, ALICE.1).await;
        assert_eq!(token.form().0, "https://app.cloud.example/login.srf");
        assert!(
            browser.get(&url).await.body.contains("id=\"loginForm\""),
            "{demand} must ask every time"
        );
    }
}

#[tokio::test]
async fn windows_authentication_is_offered_to_the_intranet_only() {
    let lab = Lab::services().await;
    let agent = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0)";
    let path = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline";
    let own = format!("https://adfs.corp.example{path}");
    let inside = lab.browser().with("user-agent", agent).get(&own).await;
    assert_eq!(inside.status, StatusCode::UNAUTHORIZED);
    assert_eq!(inside.header("www-authenticate"), "Negotiate");
    let proxied = lab
        .browser()
        .with("user-agent", agent)
        .with("x-ms-proxy", "weir-1")
        .get(&own)
        .await;
    assert_eq!(proxied.status, StatusCode::OK);
    let wap = lab
        .browser()
        .with("user-agent", agent)
        .get(&format!("https://sts.corp.example{path}"))
        .await;
    assert_eq!(wap.status, StatusCode::OK);
}

#[tokio::test]
async fn sign_out_ends_the_session_and_fetches_the_applications() {
    let lab = Lab::services().await;
    let mut browser = lab.browser();
    let url = "https://sts.corp.example/adfs/ls/idpinitiatedsignon.aspx?loginToRp=urn:federation:MicrosoftOnline";
    let page = browser.get(url).await;
    assert!(
        page.form().0.starts_with("https://sts.corp.example:443/"),
        "{}",
        page.form().0
    );
    browser.sign_in(url, &page, "CORP\\alice", ALICE.1).await;
    let out = browser
        .get("https://sts.corp.example/adfs/ls/?wa=wsignout1.0")
        .await;
    assert!(
        out.body
            .contains("src=\"https://app.cloud.example/login.srf?wa=wsignoutcleanup1.0\""),
        "{}",
        out.body
    );
    assert!(browser.get(url).await.body.contains("id=\"loginForm\""));
}

#[tokio::test]
async fn saml_requests_by_post_survive_the_form() {
    let Some(lab) = Lab::whole("saml_requests_by_post_survive_the_form").await else {
        return;
    };
    let mut browser = lab.browser();
    let request = browser
        .get("https://app.cloud.example/saml/sts?binding=post")
        .await;
    let (action, fields) = request.form();
    assert_eq!(action, "https://sts.corp.example/adfs/ls/");
    let page = browser.post(&action, &fields).await;
    let (_, token) = browser.sign_in(&action, &page, ALICE.0, ALICE.1).await;
    let (action, answer) = token.form();
    assert_eq!(field(&answer, "RelayState"), field(&fields, "RelayState"));
    let end = browser.post(&action, &answer).await;
    assert_eq!(end.status, StatusCode::SEE_OTHER, "{}", end.body);
}

#[tokio::test]
async fn the_token_endpoint_takes_the_assertion_and_nothing_else() {
    let Some(lab) = Lab::whole("the_token_endpoint_takes_the_assertion_and_nothing_else").await
    else {
        return;
    };
    let url = "https://login.microsoftonline.com/organizations/oauth2/v2.0/token";
    let mut browser = lab.browser();
    let token = until_token(&mut browser, "https://app.cloud.example/sts", ALICE).await;
    let (_, fields) = token.form();
    let result = field(&fields, "wresult");
    let start = result.find("<saml:Assertion").expect("an assertion");
    let end = result.find("</saml:Assertion>").expect("an assertion") + "</saml:Assertion>".len();
    let assertion = &result[start..end];
    let grant = |kind: &str, assertion: &str| {
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(assertion);
        [
            ("grant_type", kind),
            ("client_id", "c"),
            ("assertion", &encoded),
            ("scope", "openid"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let saml11 = "urn:ietf:params:oauth:grant-type:saml1_1-bearer";
    let answer = browser.post(url, &grant(saml11, assertion)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let tokens: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert!(
        tokens["access_token"]
            .as_str()
            .is_some_and(|token| token.matches('.').count() == 2)
    );

    let flipped = assertion.replacen("Engineering", "Engineerinh", 1);
    let cases = [
        (saml11, flipped.as_str(), 5_000_811),
        (saml11, "<a/>", 50008),
        (
            "urn:ietf:params:oauth:grant-type:saml2-bearer",
            assertion,
            50008,
        ),
        ("password", "", 50126),
        ("client_credentials", "", 70003),
    ];
    for (kind, assertion, code) in cases {
        let answer = browser.post(url, &grant(kind, assertion)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{kind}");
        let error: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(error["error_codes"][0], code, "{}", answer.body);
    }
}

#[tokio::test]
async fn cookies_spread_over_http2_fields_arrive_as_one_field() {
    let Some(lab) = Lab::whole("cookies_spread_over_http2_fields_arrive_as_one_field").await else {
        return;
    };
    let host = "sts-corp-example.proxy.example";
    let address = lab.plan.cloud.reverse_proxy.listen[0];
    let stream = support::connect_with(&lab.plan, host, address, None, &["h2"])
        .await
        .expect("TLS");
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{host}/adfs/portal/css/style.css"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .expect("a request");
    assert_eq!(
        sender
            .send_request(request)
            .await
            .expect("an answer")
            .status(),
        StatusCode::OK
    );
    let log = lab.log("sts");
    let headers = log.last().expect("a request")["headers"]
        .as_array()
        .expect("headers")
        .clone();
    let cookies: Vec<_> = headers
        .iter()
        .filter(|header| header[0] == "cookie")
        .collect();
    assert_eq!(cookies, [&serde_json::json!(["cookie", "a=*; b=*"])]);
}
