//! What a request is, who signs in, and to what: with the shapes that real clients send.

mod common;

use common::{FIREFOX, MICROSOFT_ONLINE, PASSIVE, Request, UNMANAGED, compile, msal, strict};
use weir_policy::{Client, Facts, Flow, Said, TrustVersion};

fn facts(request: &Request) -> Facts {
    request
        .facts(&compile(&strict()), UNMANAGED)
        .expect("a readable request")
}

fn bound(value: &str) -> Said {
    Said::Bound(value.to_owned())
}

fn stated(values: &[&str]) -> Said {
    Said::Stated(values.iter().map(|&value| value.to_owned()).collect())
}

fn is_unknown(said: &Said) -> bool {
    matches!(said, Said::Unknown(_))
}

const ENDPOINTS: &[(&str, &str, Flow)] = &[
    ("GET", "/adfs/ls", Flow::Passive),
    ("GET", "/adfs/ls/", Flow::Passive),
    ("HEAD", "/ADFS/LS/", Flow::Passive),
    ("POST", "/adfs/ls/", Flow::Passive),
    ("GET", "/adfs/ls/IdpInitiatedSignOn.aspx", Flow::Passive),
    ("GET", "/adfs/ls/idpinitiatedsignon", Flow::Passive),
    ("GET", "/adfs/portal/updatepassword/", Flow::Passive),
    ("GET", "/adfs/oauth2/authorize", Flow::OauthBrowser),
    ("GET", "/adfs/oauth2/authorize/", Flow::OauthBrowser),
    ("POST", "/adfs/oauth2/authorize", Flow::OauthBrowser),
    ("GET", "/adfs/oauth2/deviceauth", Flow::OauthBrowser),
    ("POST", "/adfs/oauth2/token", Flow::OauthToken),
    ("POST", "/adfs/oauth2/token/", Flow::OauthToken),
    ("POST", "/adfs/oauth2/devicecode", Flow::OauthToken),
    ("GET", "/adfs/oauth2/logout", Flow::SignOut),
    ("GET", "/adfs/services/trust/mex", Flow::Mex),
    ("POST", "/adfs/services/trust/MEX", Flow::Mex),
    (
        "POST",
        "/adfs/services/trust/2005/usernamemixed",
        Flow::Active,
    ),
    (
        "POST",
        "/adfs/services/trust/13/UserNameMixed",
        Flow::Active,
    ),
    (
        "POST",
        "/adfs/services/trust/13/certificatemixed",
        Flow::Active,
    ),
    (
        "POST",
        "/adfs/services/trust/2005/issuedtokenmixedasymmetricbasic256",
        Flow::Active,
    ),
    (
        "GET",
        "/FederationMetadata/2007-06/FederationMetadata.xml",
        Flow::Metadata,
    ),
    (
        "GET",
        "/federationmetadata/2007-06/federationmetadata.xml",
        Flow::Metadata,
    ),
    (
        "GET",
        "/adfs/.well-known/openid-configuration",
        Flow::Metadata,
    ),
    ("GET", "/adfs/discovery/keys", Flow::Metadata),
    ("GET", "/.well-known/webfinger", Flow::Metadata),
    ("GET", "/adfs/userinfo", Flow::Metadata),
    ("GET", "/adfs/portal/css/style.css", Flow::Asset),
    ("GET", "/adfs/portal/logo/logo.png", Flow::Asset),
    (
        "POST",
        "/EnrollmentServer/DeviceEnrollmentWebService.svc",
        Flow::Device,
    ),
    ("POST", "/adfs/proxy/EstablishTrust", Flow::Internal),
    ("GET", "/adfs/Proxy/GetConfiguration", Flow::Internal),
    ("POST", "/adfs/backendproxytls", Flow::Internal),
    ("GET", "/adfs/probe", Flow::Internal),
    ("GET", "/adfs/services/trust/proxymex", Flow::Internal),
    (
        "POST",
        "/adfs/services/trust/2005/windowstransport",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/services/trust/13/windowstransport",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/services/trust/13/kerberosmixed",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/services/trust/proxytrustrenewal",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/services/trust/samlprotocol/proxycertificatetransport",
        Flow::Internal,
    ),
    ("POST", "/adfs/services/trusttcp/windows", Flow::Internal),
    (
        "POST",
        "/adfs/services/proxytrustpolicystoretransfer",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/ls/federationserverservice.asmx",
        Flow::Internal,
    ),
    (
        "POST",
        "/adfs/fs/federationserverservice.asmx",
        Flow::Internal,
    ),
    ("GET", "/adfs/services/trust", Flow::Other),
    (
        "GET",
        "/adfs/services/trust/2005/usernamemixed",
        Flow::Other,
    ),
    ("PUT", "/adfs/ls/", Flow::Other),
    ("TRACE", "/adfs/ls/", Flow::Other),
    ("get", "/adfs/ls/", Flow::Other),
    ("GET", "/adfs/oauth2/token", Flow::Other),
    ("GET", "/adfs/ls/wia", Flow::Other),
    ("GET", "/adfs/portal/", Flow::Other),
    ("GET", "/adfs/portal/css", Flow::Other),
    ("GET", "/adfs", Flow::Other),
    ("GET", "/", Flow::Other),
];

#[test]
fn every_endpoint_of_ad_fs() {
    for &(method, path, flow) in ENDPOINTS {
        let request = Request {
            method: method.into(),
            target: path.into(),
            ..Request::default()
        };
        assert_eq!(facts(&request).flow, flow, "{method} {path}");
    }
    for import in ["?wsdl", "?xsd=xsd0"] {
        let request = Request::get(&format!("/adfs/services/trust/mex{import}"));
        assert_eq!(facts(&request).flow, Flow::Mex);
    }
}

#[test]
fn signing_out_is_a_get_that_says_nothing_else() {
    let saml_logout = "/adfs/ls/?SAMLRequest=s8lJTE8Mys8vKcnMS1coSExPtQUA";
    for (target, flow) in [
        ("/adfs/ls/?wa=wsignout1.0", Flow::SignOut),
        ("/adfs/ls?wa=wsignoutcleanup1.0", Flow::SignOut),
        (
            "/adfs/ls/?wa=wsignout1.0&wreply=https%3a%2f%2flogin.microsoftonline.com",
            Flow::SignOut,
        ),
        ("/adfs/ls/?%77a=wsignout1.0", Flow::SignOut),
        ("/adfs/ls/?wa=WSIGNOUT1.0", Flow::Passive),
        ("/adfs/ls/?wa=wsignout1.0&wa=wsignin1.0", Flow::Passive),
        ("/adfs/ls/?wa=wsignout1.0&WA=wsignin1.0", Flow::Passive),
        ("/adfs/ls/?wa=wsignout1.0&SAMLRequest=x", Flow::Passive),
        ("/adfs/ls/?wa=wsignout1.0&x=%zz", Flow::Passive),
        ("/adfs/ls/?wa=wsignout1.0%00", Flow::Passive),
        ("/adfs/ls/?wa=wsignin1.0", Flow::Passive),
        ("/adfs/ls/", Flow::Passive),
        ("/adfs/ls/idpinitiatedsignon?wa=wsignout1.0", Flow::Passive),
        (saml_logout, Flow::Passive),
    ] {
        assert_eq!(facts(&Request::get(target)).flow, flow, "{target}");
    }
    let posted = Request::form("/adfs/ls/?wa=wsignout1.0", "UserName=a&Password=b");
    assert_eq!(facts(&posted).flow, Flow::Passive);
    let with_body = Request::get("/adfs/ls/?wa=wsignout1.0").with("Content-Length", "20");
    assert_eq!(facts(&with_body).flow, Flow::Passive);
    let chunked = Request::get("/adfs/ls/?wa=wsignout1.0").with("Transfer-Encoding", "chunked");
    assert_eq!(facts(&chunked).flow, Flow::Passive);
}

#[test]
fn a_saml_logout_by_form_is_told_from_a_sign_in() {
    let logout = "PHNhbWxwOkxvZ291dFJlcXVlc3QgeG1sbnM6c2FtbHA9InVybjpvYXNpczpuYW1lczp0YzpTQU1MOjIuMDpwcm90b2NvbCIvPg%3D%3D";
    let form = |body: &str| facts(&Request::form("/adfs/ls/", body)).flow;
    assert_eq!(
        form(&format!("SAMLRequest={logout}&RelayState=x")),
        Flow::SignOut
    );
    assert_eq!(
        form(&format!("SAMLRequest={logout}&wa=wsignin1.0")),
        Flow::Passive
    );
    assert_eq!(
        form(&format!("SAMLRequest={logout}&UserName=a")),
        Flow::Passive
    );
    assert_eq!(
        form(&format!("SAMLRequest={logout}&SAMLRequest={logout}")),
        Flow::Passive
    );
    assert_eq!(form("SAMLRequest=junk"), Flow::Passive);
}

#[test]
fn a_form_that_may_be_in_another_charset_is_no_logout() {
    // In UTF-7 the second name is `wa`: whoever heeds that charset reads a sign-in.
    let message =
        base64("<samlp:LogoutRequest xmlns:samlp='urn:oasis:names:tc:SAML:2.0:protocol'/>");
    let form = format!(
        "SAMLRequest={}&%2BAHcAYQ-=wsignin1.0",
        message.replace('+', "%2b")
    );
    let flow = |charset: &str| {
        let kind = format!("application/x-www-form-urlencoded{charset}");
        facts(&Request::post("/adfs/ls/", &kind, form.as_str())).flow
    };
    for plain in ["", "; charset=utf-8", ";Charset=\"UTF-8\""] {
        assert_eq!(flow(plain), Flow::SignOut, "{plain}");
    }
    for foreign in [
        "; charset=utf-7",
        "; charset =utf-7",
        "; charset= utf-7",
        "; charset=utf-8; charset=utf-7",
        "; charset=utf-8-or-not",
    ] {
        assert_eq!(flow(foreign), Flow::Passive, "{foreign}");
    }
}

#[test]
fn a_token_call_is_a_servers_by_its_endpoint_and_its_body_alone() {
    let server = "grant_type=refresh_token&refresh_token=r&client_id=a&client_secret=s";
    for (target, client) in [
        ("/adfs/oauth2/token", Client::Server),
        ("/adfs/oauth2/token?client-request-id=1", Client::Server),
        // The device-code endpoint knows no grant, whatever a form says.
        ("/adfs/oauth2/devicecode", Client::Native),
        ("/adfs/oauth2/devicecode/", Client::Native),
        (
            "/adfs/oauth2/token?grant_type=password&username=u",
            Client::Native,
        ),
        ("/adfs/oauth2/token?grant%5ftype=password", Client::Native),
        ("/adfs/oauth2/token?%zz", Client::Native),
    ] {
        assert_eq!(
            facts(&Request::form(target, server)).client,
            client,
            "{target}"
        );
    }
}

#[test]
fn a_client_that_names_itself_in_a_header_too_is_unknown() {
    let call = Request::form("/adfs/oauth2/token", "grant_type=password&client_id=a");
    assert_eq!(facts(&call).relying_party, bound("a"));
    let call = call.with("Authorization", "Basic YjpzZWNyZXQ=");
    assert!(is_unknown(&facts(&call).relying_party));
}

#[test]
fn an_answer_of_a_claims_provider_leaves_the_relying_party_unknown() {
    let target = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3aa";
    assert_eq!(
        facts(&Request::form(target, "Kmsi=true")).relying_party,
        bound("urn:a")
    );
    for form in [
        "wresult=%3ct%2f%3e&wctx=b",
        "SAMLResponse=PGEvPg",
        "samlart=AAQ",
    ] {
        let found = facts(&Request::form(target, form)).relying_party;
        assert!(is_unknown(&found), "{form}: {found:?}");
    }
}

#[test]
fn a_browser_that_entra_sends() {
    let seen = facts(&Request::get(PASSIVE).agent(FIREFOX));
    assert_eq!(seen.relying_party, bound(MICROSOFT_ONLINE));
    assert_eq!(seen.user, stated(&["alice@corp.example"]));
    assert_eq!(seen.host, "sts.corp.example");
    assert_eq!(
        seen.client_request_id.as_deref(),
        Some("8f3c6f0e-7a8b-4b8a-9a55-3f1a2b4c5d6e")
    );
    assert_eq!(seen.soap, None);
}

#[test]
fn credentials_are_posted_with_wa_in_the_query() {
    let request = Request::form(
        PASSIVE,
        "UserName=bob%40corp.example&Password=secret&Kmsi=true&AuthMethod=FormsAuthentication",
    );
    let seen = facts(&request);
    assert_eq!(seen.flow, Flow::Passive);
    assert_eq!(seen.relying_party, bound(MICROSOFT_ONLINE));
    assert_eq!(
        seen.user,
        stated(&["bob@corp.example", "alice@corp.example"])
    );
    assert!(
        !serde_json::to_string(&seen)
            .expect("facts are JSON")
            .contains("secret")
    );
}

#[test]
fn a_relying_party_named_in_two_places_is_unknown() {
    for request in [
        Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a&wtrealm=b"),
        Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a&WTREALM=a"),
        Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a&SAMLRequest=x"),
        Request::get("/adfs/ls/?wa=wsignin1.0"),
        Request::get("/adfs/ls/?wtrealm=a&broken=%"),
        Request::form("/adfs/ls/?wtrealm=a", "wtrealm=b"),
        Request::post(
            "/adfs/ls/?wtrealm=a",
            "multipart/form-data; boundary=x",
            "--x",
        ),
        Request::post(
            "/adfs/ls/?wtrealm=a",
            "application/x-www-form-urlencoded; charset=utf-7",
            "a=b",
        ),
        Request::form("/adfs/ls/?wtrealm=a", "a=b").with("Content-Encoding", "gzip"),
        Request::form("/adfs/ls/?wtrealm=a", &"a=b&".repeat(100_000)),
        Request::get("/adfs/oauth2/authorize?client_id=a&request=e.y.J"),
        Request::get("/adfs/oauth2/authorize?client_id=a&client_id=b"),
    ] {
        let party = facts(&request).relying_party;
        assert!(is_unknown(&party), "{}: {party:?}", request.target);
    }
    let by_oauth = facts(&Request::get(
        "/adfs/oauth2/authorize?client_id=app&login_hint=a%40b",
    ));
    assert_eq!(
        (by_oauth.relying_party, by_oauth.user),
        (bound("app"), stated(&["a@b"]))
    );
}

#[test]
fn a_saml_request_names_its_issuer() {
    // <samlp:AuthnRequest ...><saml:Issuer>urn:federation:MicrosoftOnline</saml:Issuer></...>, raw DEFLATE.
    let xml = "<samlp:AuthnRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\"><saml:Issuer xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">urn:federation:MicrosoftOnline</saml:Issuer></samlp:AuthnRequest>";
    let seen = facts(&Request::form(
        "/adfs/ls/",
        &format!("SAMLRequest={}", base64(xml)),
    ));
    assert_eq!(
        (seen.flow, seen.relying_party),
        (Flow::Passive, bound(MICROSOFT_ONLINE))
    );
}

#[test]
fn msal_by_both_versions() {
    for (version, expected) in [("2005", TrustVersion::V2005), ("13", TrustVersion::V13)] {
        let seen = facts(&msal(version, "Alice@corp.example"));
        assert_eq!(seen.flow, Flow::Active);
        assert_eq!(seen.user, bound("Alice@corp.example"));
        assert_eq!(seen.relying_party, bound(MICROSOFT_ONLINE));
        let soap = seen.soap.expect("active flows have a SOAP message");
        assert_eq!(soap.version, expected);
        assert_eq!(
            soap.message_id.as_deref(),
            Some("urn:uuid:0fbcbf0c-6d4c-4fbb-a3c9-9f1b4d5b3b52")
        );
    }
}

/// The body of a good request, changed.
fn changed(change: impl Fn(&str) -> String) -> Facts {
    let mut request = msal("2005", "alice@corp.example");
    let text = String::from_utf8(request.body.expect("a body")).expect("text");
    let body = change(&text);
    assert_ne!(body, text, "the change changes nothing");
    request.body = Some(body.into_bytes());
    facts(&request)
}

#[test]
fn other_clients_write_it_differently() {
    // adal: the element's case is wrong.
    let adal = changed(|text| text.replace("wsa:MessageID", "wsa:messageID"));
    assert!(adal.soap.expect("a SOAP message").message_id.is_some());
    // node-sp-auth: no MessageID, no Timestamp.
    let node = changed(|text| {
        let (before, rest) = text.split_once("<wsa:MessageID>").expect("a MessageID");
        let (_, after) = rest.split_once("</wsa:MessageID>").expect("a MessageID");
        format!("{before}{after}")
    });
    assert_eq!(node.soap.expect("a SOAP message").message_id, None);
    assert_eq!(node.user, bound("alice@corp.example"));
    // office365-rest-python: IDCRL's header, another order, no mustUnderstand.
    let idcrl = changed(|text| {
        text.replace(" s:mustUnderstand='1'", "").replace(
            "<wsse:Security",
            "<ps:AuthInfo xmlns:ps='http://schemas.microsoft.com/Passport/SoapServices/PPCRL' Id='PPAuthInfo'><ps:HostingApp>Managed IDCRL</ps:HostingApp></ps:AuthInfo><wsse:Security",
        )
    });
    assert_eq!(idcrl.user, bound("alice@corp.example"));
    assert_eq!(idcrl.relying_party, bound(MICROSOFT_ONLINE));
    // Comments and CDATA split nothing.
    let split = changed(|text| {
        text.replace(
            ">alice@corp.example<",
            "> ali<!-- @evil.example --><![CDATA[ce@corp]]>.example <",
        )
    });
    assert_eq!(split.user, bound("alice@corp.example"));
}

#[test]
fn a_user_is_certain_only_when_nobody_else_can_be_meant() {
    let token =
        "<wsse:UsernameToken><wsse:Username>boss@corp.example</wsse:Username></wsse:UsernameToken>";
    for seen in [
        changed(|text| text.replace("</wsse:Security>", &format!("{token}</wsse:Security>"))),
        changed(|text| {
            text.replace(
                "<s:Body>",
                &format!("<s:Body><x xmlns:wsse='u'>{token}</x>"),
            )
        }),
        changed(|text| {
            text.replace(
                "<wsse:Password>",
                "<wsse:Username>boss</wsse:Username><wsse:Password>",
            )
        }),
        changed(|text| {
            text.replace(
                "</wsse:Security>",
                "<wsse:BinarySecurityToken/></wsse:Security>",
            )
        }),
        changed(|text| text.replace("<wst:KeyType>", "<wst:OnBehalfOf/><wst:KeyType>")),
        changed(|text| text.replace("wss-wssecurity-secext-1.0", "wss-wssecurity-secext-9.9")),
        changed(|text| {
            text.replace("<s:Header>", "<s:Header><w>")
                .replace("</s:Header>", "</w></s:Header>")
        }),
        changed(|text| text.replace(">alice@corp.example<", "><b/>alice@corp.example<")),
    ] {
        assert!(matches!(seen.user, Said::Stated(_)), "{:?}", seen.user);
    }
    let mut by_certificate = msal("13", "boss@corp.example");
    by_certificate.target = "/adfs/services/trust/13/certificatemixed".into();
    assert_eq!(facts(&by_certificate).user, stated(&["boss@corp.example"]));
}

#[test]
fn a_relying_party_is_certain_only_where_it_belongs() {
    let address = "<wsa:Address>urn:federation:MicrosoftOnline</wsa:Address>";
    for seen in [
        changed(|text| text.replace(address, &format!("{address}{address}"))),
        changed(|text| text.replace(address, "")),
        changed(|text| text.replace("ws/2004/09/policy", "ws/2099/09/policy")),
        changed(|text| {
            text.replace(
                "<wst:KeyType>",
                "<wsp:AppliesTo xmlns:wsp='u'/><wst:KeyType>",
            )
        }),
        changed(|text| {
            text.replace(
                "<s:Body>",
                "<s:Body><wst:RequestSecurityToken xmlns:wst='u'/>",
            )
        }),
    ] {
        assert!(is_unknown(&seen.relying_party), "{:?}", seen.relying_party);
    }
}

#[test]
fn an_unreadable_body_is_judged_by_path_and_source() {
    let good = msal("13", "alice@corp.example");
    let variants = [
        Request {
            body: Some(Vec::new()),
            ..good.clone()
        },
        Request {
            body: Some(b"\xff\xfe<\0".to_vec()),
            ..good.clone()
        },
        Request {
            body: Some(vec![b' '; 300 << 10]),
            ..good.clone()
        },
        good.clone().with("Content-Encoding", "gzip"),
        Request::post(
            &good.target,
            "text/plain",
            good.body.clone().unwrap_or_default(),
        ),
        Request::post(
            &good.target,
            "application/soap+xml; charset=utf-16",
            good.body.clone().unwrap_or_default(),
        ),
    ];
    for request in variants {
        let seen = facts(&request);
        assert_eq!(seen.flow, Flow::Active);
        assert!(
            is_unknown(&seen.user) && is_unknown(&seen.relying_party),
            "{seen:?}"
        );
        assert_eq!(
            seen.soap.expect("a SOAP answer is due").version,
            TrustVersion::V13
        );
        let decision = compile(&strict())
            .decide(&facts(&request), &common::Known)
            .without_token();
        assert_eq!(&*decision.rule, "office365-strict/native-unmanaged");
    }
}

#[test]
fn a_correlation_id_is_taken_only_when_it_looks_like_one() {
    let id = |value: &str| {
        facts(&Request::get("/adfs/services/trust/mex").with("client-request-id", value))
            .client_request_id
    };
    assert_eq!(id("{0fbcbf0c-6d4c}").as_deref(), Some("{0fbcbf0c-6d4c}"));
    for bad in ["", "a b", "x\u{1b}[31m", "<script>", &"a".repeat(65)] {
        assert_eq!(id(bad), None, "{bad}");
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    out
}
