//! The loop guard and Windows logon, end to end.

mod common;

use std::net::Ipv4Addr;

use common::client::Source;
use common::{BYPASS, HOST, MANAGED, Stage, UNMANAGED};
use http::Request;
use http_body_util::Full;
use weir_policy::{Rate, WindowsLogonSetting};

const PAGE: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline";
const ACTIVE: &str = "/adfs/services/trust/13/usernamemixed";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const WINDOWS: &str = "Windows-AzureAD-Authentication-Provider/1.0";

/// A browser that keeps Weir's cookie.
struct Browser {
    http: common::client::Http,
    cookie: Option<String>,
}

impl Browser {
    async fn new(stage: &Stage, source: Source) -> Self {
        Self {
            http: stage.http2(source).await,
            cookie: None,
        }
    }

    async fn ask(&mut self, method: &str, body: &str) -> common::client::Answer {
        let mut request = self.http.request(method, PAGE, body);
        let headers = request.headers_mut();
        headers.insert("user-agent", FIREFOX.parse().unwrap());
        headers.insert(
            "content-type",
            "application/x-www-form-urlencoded".parse().unwrap(),
        );
        if let Some(cookie) = &self.cookie {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        let answer = self.http.send(request).await.unwrap();
        if let Some(set) = answer.header("set-cookie") {
            let (pair, attributes) = set.split_once(';').unwrap();
            assert!(attributes.contains("Secure; HttpOnly"), "{set}");
            let forgets = attributes.contains("Max-Age=0");
            self.cookie = (!forgets).then(|| pair.to_owned());
        }
        answer
    }
}

#[tokio::test]
async fn a_browser_that_comes_back_three_times_reads_why_and_may_begin_anew() {
    let mut stage = Stage::new().await;
    let mut browser = Browser::new(&stage, UNMANAGED).await;
    for round in 0..2 {
        for method in ["GET", "POST", "GET"] {
            let body = if method == "POST" {
                "UserName=a&Password=p"
            } else {
                ""
            };
            let answer = browser.ask(method, body).await;
            let expected = if method == "POST" { 303 } else { 302 };
            assert_eq!(answer.status, expected, "round {round}");
            assert_eq!(
                stage.event().await.rule,
                "office365-strict/browser-unmanaged"
            );
        }
        let stopped = browser.ask("GET", "").await;
        assert_eq!(stopped.status, 403);
        assert!(
            stopped
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/html"))
        );
        assert!(stopped.text().contains("three times"));
        let event = stage.event().await;
        assert_eq!(
            (event.rule.as_str(), event.decision.as_str(), event.status),
            ("office365-strict/redirect-loop", "block", Some(403))
        );
        assert!(stopped.text().contains(&event.id));
        assert_eq!(browser.cookie, None, "the page has forgotten the count");
    }
    // Another browser behind the same address, and the same browser behind the reverse proxy.
    let mut other = Browser::new(&stage, UNMANAGED).await;
    assert_eq!(other.ask("GET", "").await.status, 302);
    for source in [BYPASS, MANAGED] {
        let mut passed = Browser::new(&stage, source).await;
        passed.cookie = Some("__Host-weir-redirects=3".into());
        assert_eq!(passed.ask("GET", "").await.status, 200);
    }
    // Weir's cookie is nothing to the sign-in server's own.
    let cookies = stage.upstream.seen();
    assert_eq!(cookies.len(), 2);
}

/// What Windows sends at logon.
fn logon(user: &str) -> Request<Full<bytes::Bytes>> {
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
    Request::post(ACTIVE)
        .header("host", HOST)
        .header("user-agent", WINDOWS)
        .header("content-type", "application/soap+xml; charset=utf-8")
        .body(Full::new(body.into()))
        .unwrap()
}

#[tokio::test]
async fn windows_logon_passes_for_known_users_as_often_as_the_rate_allows() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(UNMANAGED).await;
    stage.control.plan.policy.windows_logon = WindowsLogonSetting::Pass;
    stage.control.plan.policy.windows_logon_rate = Rate {
        user_per_hour: 3,
        service_per_minute: 1000,
    };
    let blocked = "office365-strict/windows-logon-unmanaged";
    stage.control.publish(2).await.unwrap();
    assert_eq!(
        client
            .send(logon("alice@corp.example"))
            .await
            .unwrap()
            .status,
        403
    );
    assert_eq!(stage.event().await.rule, blocked, "there is no directory");

    stage.control.plan.users = Some("alice@corp.example\nbob@corp.example\n");
    stage.control.publish(3).await.unwrap();
    for user in ["Alice@CORP.example", "alice@corp.example"] {
        assert_eq!(client.send(logon(user)).await.unwrap().status, 200);
        assert_eq!(
            stage.event().await.rule,
            "office365-strict/windows-logon-exempt"
        );
    }
    assert_eq!(
        client
            .send(logon("mallory@corp.example"))
            .await
            .unwrap()
            .status,
        403
    );
    assert_eq!(stage.event().await.rule, blocked);

    // A reload gives nobody more.
    stage.control.publish(4).await.unwrap();
    assert_eq!(
        client
            .send(logon("alice@corp.example"))
            .await
            .unwrap()
            .status,
        200
    );
    stage.event().await;
    let refused = client.send(logon("alice@corp.example")).await.unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("s:Fault") && refused.text().contains("too often"));
    assert_eq!(
        stage.event().await.rule,
        "office365-strict/windows-logon-rate"
    );
    assert_eq!(
        client.send(logon("bob@corp.example")).await.unwrap().status,
        200
    );
    assert_eq!(stage.upstream.seen().len(), 4);
}

#[tokio::test]
async fn one_source_does_not_use_up_windows_logon_for_all_others() {
    let mut stage = Stage::new().await;
    stage.control.plan.policy.windows_logon = WindowsLogonSetting::Pass;
    stage.control.plan.policy.windows_logon_rate = Rate {
        user_per_hour: 10,
        service_per_minute: 8,
    };
    stage.control.plan.users = Some("alice@corp.example\n");
    stage.control.publish(2).await.unwrap();
    let mex = || {
        Request::get("/adfs/services/trust/mex")
            .header("host", HOST)
            .header("user-agent", WINDOWS)
            .body(Full::default())
            .unwrap()
    };
    let mut flood = stage.http1(UNMANAGED).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(flood.send(mex()).await.unwrap().status.as_u16());
        stage.event().await;
    }
    assert_eq!(statuses, [200, 200, 403, 403]);
    let rule = "office365-strict/windows-logon-rate";
    assert_eq!(flood.send(mex()).await.unwrap().status, 403);
    assert_eq!(stage.event().await.rule, rule);
    let mut other = stage.http1(Source(Ipv4Addr::new(127, 0, 0, 51))).await;
    assert_eq!(other.send(mex()).await.unwrap().status, 200);
}

#[tokio::test]
async fn users_that_are_no_names_are_no_generation() {
    let mut stage = Stage::new().await;
    stage.control.plan.users = Some("alice@corp.example\nCORP\\bob\n");
    let why = stage.control.publish(2).await.unwrap_err();
    assert!(why.contains("the users of the directory: line 2"), "{why}");
}
