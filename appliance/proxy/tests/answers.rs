//! What each kind of client is told, and what the audit log holds of it.

mod common;

use common::client::Answer;
use common::{BYPASS, BYPASS_WEB, MANAGED, RELAY, Stage, UNMANAGED};
use weir_abi::Class;
use weir_link::{Event, EventKind};
use weir_policy::{RuleSpec, ThenSpec, Values, WhenSpec};

const SIGN_IN: &str =
    "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=x%2By";
const ACTIVE: &str = "/adfs/services/trust/2005/usernamemixed";
const MEX: &str = "/adfs/services/trust/mex";

const RST: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://www.w3.org/2005/08/addressing"
 xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
 xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">
<s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue</a:Action>
<a:MessageID>urn:uuid:7e2f2c31-0001-4c2e-9c0e-1f6a55a0e1aa</a:MessageID>
<a:To s:mustUnderstand="1">https://sts.corp.example/adfs/services/trust/2005/usernamemixed</a:To>
<o:Security s:mustUnderstand="1"><o:UsernameToken u:Id="x"><o:Username>alice@corp.example</o:Username>
<o:Password>correct horse</o:Password></o:UsernameToken></o:Security></s:Header>
<s:Body><trust:RequestSecurityToken xmlns:trust="http://schemas.xmlsoap.org/ws/2005/02/trust">
<wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference>
<a:Address>urn:federation:MicrosoftOnline</a:Address></a:EndpointReference></wsp:AppliesTo>
<trust:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</trust:RequestType>
</trust:RequestSecurityToken></s:Body></s:Envelope>"#;

#[tokio::test]
async fn an_unmanaged_native_application_gets_a_soap_fault() {
    let mut stage = Stage::new().await;
    let answer = stage
        .http1(UNMANAGED)
        .await
        .post(ACTIVE, "application/soap+xml; charset=utf-8", RST)
        .await;
    assert_eq!(answer.status, 403);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/soap+xml")
    );
    assert!(answer.text().contains("Fault"), "{}", answer.text());
    let event = stage.event().await;
    same_reference(&answer, &event);
    assert_eq!(event.decision, "block");
    assert!(
        event.rule.starts_with("office365-strict/"),
        "{}",
        event.rule
    );
    assert_eq!(event.flow.as_deref(), Some("active"));
    assert_eq!(event.class, Class::Unmanaged);
    assert_eq!(event.stated_user.as_deref(), Some("alice@corp.example"));
    assert_eq!(
        event.relying_party.as_deref(),
        Some("urn:federation:MicrosoftOnline")
    );
    assert!(!format!("{event:?}").contains("correct horse"));
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn the_same_bytes_reach_the_upstream_from_a_managed_source() {
    let mut stage = Stage::new().await;
    for source in [MANAGED, BYPASS] {
        let mut client = stage.http1(source).await;
        assert_eq!(
            client
                .post(ACTIVE, "application/soap+xml", RST)
                .await
                .status,
            200
        );
        assert_eq!(stage.upstream.seen().last().unwrap().body, RST.as_bytes());
        assert_eq!(stage.event().await.decision, "pass");
    }
    // A list that exempts browsers only exempts no native application.
    let mut client = stage.http1(BYPASS_WEB).await;
    assert_eq!(
        client
            .post(ACTIVE, "application/soap+xml", RST)
            .await
            .status,
        403
    );
    assert_eq!(stage.event().await.decision, "block");
    assert_eq!(client.get(SIGN_IN).await.status, 200);
}

#[tokio::test]
async fn an_unmanaged_browser_is_sent_to_the_reverse_proxy() {
    let mut stage = Stage::new().await;
    for mut client in [stage.http1(UNMANAGED).await, stage.http2(UNMANAGED).await] {
        let mut request = client.request("GET", SIGN_IN, "");
        request
            .headers_mut()
            .insert("user-agent", "Mozilla/5.0 Firefox/140.0".parse().unwrap());
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 302);
        let location = answer.header("location").unwrap();
        assert!(
            location.starts_with("https://sts-corp-example.proxy.example"),
            "{location}"
        );
        assert!(
            location.ends_with(SIGN_IN.split_once('?').unwrap().1),
            "{location}"
        );
        let event = stage.event().await;
        assert_eq!(
            (event.decision.as_str(), event.status),
            ("redirect", Some(302))
        );
        assert_eq!(event.path.as_deref(), Some("/adfs/ls/"));
        assert!(!format!("{event:?}").contains("wctx"));
    }
    let mut client = stage.http1(UNMANAGED).await;
    let form = "UserName=alice%40corp.example&Password=secret&AuthMethod=FormsAuthentication";
    let answer = client
        .post(SIGN_IN, "application/x-www-form-urlencoded", form)
        .await;
    assert_eq!(answer.status, 303);
    assert!(!answer.header("location").unwrap().contains("secret"));
    assert!(!answer.text().contains("secret"));
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn mex_and_token_calls_from_elsewhere_are_told_why() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(UNMANAGED).await;
    let answer = client.get(MEX).await;
    assert_eq!(answer.status, 403);
    same_reference(&answer, &stage.event().await);

    let form = "grant_type=password&client_id=x&username=alice%40corp.example&password=secret";
    let answer = client
        .post(
            "/adfs/oauth2/token",
            "application/x-www-form-urlencoded",
            form,
        )
        .await;
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/json")
    );
    assert!(
        answer.text().contains("error_description"),
        "{}",
        answer.text()
    );
    let event = stage.event().await;
    same_reference(&answer, &event);
    assert_eq!(event.flow.as_deref(), Some("oauth-token"));
    assert!(!format!("{event:?}").contains("secret"));
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_relay_is_judged_by_the_client_behind_it() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(RELAY).await;
    let mut relayed = async |behind: String| {
        let mut request = client.request("POST", ACTIVE, RST);
        let headers = request.headers_mut();
        headers.insert("content-type", "application/soap+xml".parse().unwrap());
        headers.insert("x-ms-forwarded-client-ip", behind.parse().unwrap());
        client.send(request).await.unwrap().status.as_u16()
    };
    assert_eq!(relayed(MANAGED.0.to_string()).await, 200);
    assert_eq!(relayed(UNMANAGED.0.to_string()).await, 403);
    let first = stage.event().await;
    assert_eq!(first.effective_source, Some(MANAGED.0.into()));
    assert_eq!(
        (first.class, first.list.as_deref()),
        (Class::Managed, Some("hq"))
    );
    let second = stage.event().await;
    assert_eq!(second.effective_source, Some(UNMANAGED.0.into()));
    assert_eq!(second.class, Class::Unmanaged);
}

#[tokio::test]
async fn an_administrators_rule_comes_first() {
    let mut stage = Stage::new().await;
    stage.control.plan.policy.rules = vec![RuleSpec {
        name: "no-alice".into(),
        when: WhenSpec {
            user: Values::One("alice@corp.example".into()),
            ..WhenSpec::default()
        },
        then: ThenSpec {
            decision: "block".into(),
            reason: Some("ask the desk".into()),
            target: None,
            within: None,
            grant: None,
        },
    }];
    stage.control.publish(2).await.unwrap();
    let answer = stage
        .http1(MANAGED)
        .await
        .post(ACTIVE, "application/soap+xml", RST)
        .await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("ask the desk"), "{}", answer.text());
    let event = stage.event().await;
    assert_eq!(
        (event.rule.as_str(), event.generation),
        ("rule/no-alice", 2)
    );
    same_reference(&answer, &event);
}

#[tokio::test]
async fn there_is_one_event_for_each_request() {
    let mut stage = Stage::new().await;
    let mut ids = std::collections::HashSet::new();
    let mut expected = 0;
    for source in [MANAGED, UNMANAGED] {
        let mut client = stage.http2(source).await;
        for target in [
            SIGN_IN,
            MEX,
            "/adfs/proxy/x",
            "/FederationMetadata/2007-06/FederationMetadata.xml",
        ] {
            client.get(target).await;
            expected += 1;
        }
    }
    for _ in 0..expected {
        let event = stage.event().await;
        assert!(event.id.len() == 16 && event.id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(event.generation, 1);
        assert!(event.status.is_some() && !event.rule.is_empty() && !event.decision.is_empty());
        assert!(ids.insert(event.id));
    }
    let counts = stage
        .control
        .counts(|counts| counts.requests + counts.refused == 8)
        .await;
    assert_eq!(
        (counts.requests, counts.refused, counts.events_lost),
        (8, 0, 0)
    );
    stage.control.no_more_events();
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_event() {
    // An upstream that takes the connection and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stage = Stage::new().await;
    stage.control.plan.upstream.servers = vec![silent.local_addr().unwrap()];
    stage.control.publish(2).await.unwrap();
    let mut client = stage.http1(MANAGED).await;
    let request = client.request("GET", SIGN_IN, "");
    let waiting = tokio::spawn(async move { client.begin(request).await.is_ok() });
    let _taken = common::patiently(silent.accept()).await.unwrap();
    waiting.abort();
    let event = stage.event().await;
    assert_eq!((event.kind, event.status), (EventKind::Request, None));
    assert_eq!(event.decision, "pass");
}

fn same_reference(answer: &Answer, event: &Event) {
    assert!(
        answer.text().contains(&event.id),
        "{} is not in {}",
        event.id,
        answer.text()
    );
    assert_eq!(event.status, Some(answer.status.as_u16()));
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let stage = Stage::new().await;
    for mut client in [stage.http1(MANAGED).await, stage.http2(MANAGED).await] {
        for _ in 0..2 {
            let request = client.request("HEAD", "/adfs/nothing", "");
            let answer = client.send(request).await.expect("an answer");
            assert_eq!((answer.status.as_u16(), answer.text()), (404, ""));
        }
    }
}
