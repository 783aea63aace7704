//! Requests and lists for the tests: written as they are seen on the wire.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod people;

use std::net::IpAddr;

use weir_abi::Class;
use weir_policy::{
    ApplicationSpec, BodyNeed, Classified, Classify, Directory, Facts, Head, Policy, PolicySpec,
    Refusal, RuleSetName, RuleSpec, SignIn,
};

/// One address of each class.
pub const MANAGED: &str = "203.0.113.10";
pub const BYPASS: &str = "198.51.100.10";
pub const WEB_BYPASS: &str = "198.51.100.20";
pub const BLOCKED: &str = "192.0.2.66";
pub const RELAY: &str = "40.92.0.25";
pub const UNMANAGED: &str = "100.64.7.7";

pub struct Lists;

impl Classify for Lists {
    fn classify(&self, source: IpAddr) -> Classified {
        let (class, web_only, list) = match source.to_string().as_str() {
            MANAGED | "2001:db8:a::10" => (Class::Managed, false, "hq-egress"),
            BYPASS => (Class::Bypass, false, "branch"),
            WEB_BYPASS => (Class::Bypass, true, "branch-web"),
            BLOCKED => (Class::Blocked, false, "bad"),
            RELAY => (Class::Relay, false, "exchange-online"),
            _ => return Classified::default(),
        };
        Classified {
            class,
            web_only,
            list: Some(list.to_owned()),
        }
    }
}

/// A directory that knows alice, within every rate.
pub struct Known;

impl Directory for Known {
    fn knows(&self, user: &str) -> Option<bool> {
        Some(user == "alice@corp.example")
    }

    fn admit(&self, _: &SignIn<'_>) -> bool {
        true
    }

    fn would_admit(&self, _: &SignIn<'_>) -> bool {
        true
    }
}

/// A request as it stands on the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn get(target: &str) -> Self {
        Self {
            method: "GET".into(),
            target: target.into(),
            ..Self::default()
        }
    }

    pub fn post(target: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            method: "POST".into(),
            target: target.into(),
            ..Self::default()
        }
        .with("Content-Type", content_type)
        .with("Content-Length", &body.len().to_string())
        .body(body)
    }

    pub fn form(target: &str, body: &str) -> Self {
        Self::post(target, "application/x-www-form-urlencoded", body)
    }

    pub fn soap(target: &str, body: &str) -> Self {
        Self::post(target, "application/soap+xml; charset=utf-8", body)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn agent(self, agent: &str) -> Self {
        self.with("User-Agent", agent)
    }

    fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Recognises the request and gathers its facts, reading of the body what policy asks for.
    pub fn facts(&self, policy: &Policy, peer: &str) -> Result<Facts, Refusal> {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let head = Head {
            method: &self.method,
            host: "STS.corp.example",
            path,
            query,
            headers: &headers,
        };
        let recognised = policy.recognise(&head)?;
        let body = match (recognised.body, &self.body) {
            (BodyNeed::UpTo(limit), Some(body)) if body.len() <= limit => Some(body.as_slice()),
            (BodyNeed::UpTo(_), None) => Some(&[][..]),
            _ => None,
        };
        let peer = peer.parse().expect("an address");
        Ok(policy.facts(&head, &recognised, body, peer, &Lists))
    }
}

pub fn spec(rule_set: RuleSetName) -> PolicySpec {
    PolicySpec {
        service: "sts".into(),
        profile: "adfs".into(),
        rule_set,
        outlook: None,
        windows_logon: weir_policy::WindowsLogonSetting::Block,
        windows_logon_rate: weir_policy::Rate::default(),
        reverse_proxy: Some("https://sts-corp-example.proxy.example{query}".into()),
        rules: Vec::new(),
        switched_off: Vec::new(),
        applications: std::collections::BTreeMap::new(),
        locations: std::collections::BTreeMap::default(),
        claims: Vec::new(),
        claims_any_case: false,
        decide_at_token: false,
    }
}

pub fn strict() -> PolicySpec {
    spec(RuleSetName::Office365Strict)
}

pub fn compile(spec: &PolicySpec) -> Policy {
    Policy::compile(spec).expect("a good policy")
}

pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
pub const OFFICE_VIEW: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; ms-office; MSOffice 16)";
pub const OUTLOOK: &str =
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)";
pub const WINDOWS: &str = "Windows-AzureAD-Authentication-Provider/1.0";
pub const MICROSOFT_ONLINE: &str = "urn:federation:MicrosoftOnline";

/// The first request of a sign-in to Microsoft 365.
pub const PASSIVE: &str = "/adfs/ls/?client-request-id=8f3c6f0e-7a8b-4b8a-9a55-3f1a2b4c5d6e&username=alice%40corp.example&wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=estsredirect%3d2%26estsrequest%3drQI";

/// What msal for Python sends (2005 or 13).
pub fn msal(version: &str, user: &str) -> Request {
    let trust = if version == "2005" {
        "http://schemas.xmlsoap.org/ws/2005/02/trust"
    } else {
        "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
    };
    let target = format!("/adfs/services/trust/{version}/usernamemixed");
    let body = format!(
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:wsa='http://www.w3.org/2005/08/addressing' xmlns:wsu='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'>
        <s:Header>
            <wsa:Action s:mustUnderstand='1'>{trust}/RST/Issue</wsa:Action>
            <wsa:MessageID>urn:uuid:0fbcbf0c-6d4c-4fbb-a3c9-9f1b4d5b3b52</wsa:MessageID>
            <wsa:ReplyTo>
                <wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address>
            </wsa:ReplyTo>
            <wsa:To s:mustUnderstand='1'>https://sts.corp.example{target}</wsa:To>
            <wsse:Security s:mustUnderstand='1' xmlns:wsse='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>
                <wsu:Timestamp wsu:Id='_0'>
                    <wsu:Created>2024-05-01T10:00:00.000Z</wsu:Created>
                    <wsu:Expires>2024-05-01T10:10:00.000Z</wsu:Expires>
                </wsu:Timestamp>
                <wsse:UsernameToken wsu:Id='ADALUsernameToken'>
                    <wsse:Username>{user}</wsse:Username>
                    <wsse:Password>p&lt;w&amp;d</wsse:Password>
                </wsse:UsernameToken>
            </wsse:Security>
        </s:Header>
        <s:Body>
            <wst:RequestSecurityToken xmlns:wst='{trust}'>
                <wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'>
                    <wsa:EndpointReference>
                        <wsa:Address>urn:federation:MicrosoftOnline</wsa:Address>
                    </wsa:EndpointReference>
                </wsp:AppliesTo>
                <wst:KeyType>http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey</wst:KeyType>
                <wst:RequestType>{trust}/Issue</wst:RequestType>
            </wst:RequestSecurityToken>
        </s:Body>
        </s:Envelope>"
    );
    Request::soap(&target, &body)
        .with("SOAPAction", &format!("{trust}/RST/Issue"))
        .agent("python-requests/2.32.3")
}

/// A rule as the configuration holds it.
pub fn rule(json: &str) -> RuleSpec {
    serde_json::from_str(json).expect("a rule")
}

pub fn with(rules: &[&str]) -> PolicySpec {
    let mut spec = strict();
    spec.rules = rules.iter().map(|json| rule(json)).collect();
    spec.applications.insert(
        "m365".into(),
        ApplicationSpec {
            relying_parties: vec![MICROSOFT_ONLINE.into()],
            hosts: Vec::new(),
        },
    );
    spec
}

/// An application at Okta, by its path.
pub const OKTA_APP: &str = "/app/office365/exk1a2b3c4";

/// The strict policy with a preset, and an application `m365`.
pub fn with_profile(profile: &str) -> Policy {
    let mut spec = with(&[]);
    spec.profile = profile.into();
    let m365 = spec.applications.get_mut("m365").expect("it is there");
    m365.relying_parties.push(OKTA_APP.into());
    compile(&spec)
}

/// The facts of a request from an unmanaged source, with a preset.
pub fn facts_with(profile: &str, request: &Request) -> Facts {
    request
        .facts(&with_profile(profile), UNMANAGED)
        .expect("a readable request")
}
