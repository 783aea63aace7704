//! Metadata exchange: where the WS-Trust endpoints are and what they ask for, as one WSDL document.
//!
//! There are two: the farm's own (`mex`), with the endpoints of the intranet in it, and the one for outside
//! (`proxymex`). A proxy answers the public `mex` with the latter; whoever hands out the former leaks.

use std::fmt::Write;

use http::{Method as Verb, StatusCode};

use crate::http::{Request, Response, answer, noted};
use crate::idp::Idp;
use crate::plan::Product;
use crate::saml::response::{WSU, WsTrust};

/// For whom the document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// All endpoints.
    Intranet,
    /// Those that a proxy publishes.
    Extranet,
}

impl Idp {
    /// The document, by GET or by POST; with `?xsd=`, the schemas that it imports.
    pub(super) fn mex(&self, audience: Audience, request: &Request) -> Response {
        if request
            .uri
            .query()
            .is_some_and(|query| query.starts_with("xsd="))
        {
            return answer(StatusCode::OK, "text/xml; charset=UTF-8", SCHEMA);
        }
        let document = self.wsdl(audience);
        let note = match audience {
            Audience::Intranet => "mex of the intranet, windowstransport in it",
            Audience::Extranet => "mex of the extranet",
        };
        if request.method == Verb::POST {
            let envelope = format!(
                "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
                 xmlns:a=\"http://www.w3.org/2005/08/addressing\"><s:Header><a:Action s:mustUnderstand=\"1\">\
                 http://schemas.xmlsoap.org/ws/2004/09/transfer/GetResponse</a:Action></s:Header><s:Body>\
                 <Metadata xmlns=\"http://schemas.xmlsoap.org/ws/2004/09/mex\"><MetadataSection \
                 Dialect=\"http://schemas.xmlsoap.org/wsdl/\">{document}</MetadataSection></Metadata></s:Body>\
                 </s:Envelope>"
            );
            return noted(
                answer(
                    StatusCode::OK,
                    "application/soap+xml; charset=utf-8",
                    envelope,
                ),
                note,
            );
        }
        noted(
            answer(StatusCode::OK, "text/xml; charset=UTF-8", document),
            note,
        )
    }

    /// Where an endpoint of AD FS is; of other products, where theirs for names and passwords is.
    fn published(&self, endpoint: &Endpoint) -> Option<&'static str> {
        use crate::idp::product::Endpoint as At;
        if self.service.product == Product::Adfs {
            return Some(endpoint.path);
        }
        let own = match endpoint.version {
            WsTrust::V2005 => At::Active2005,
            WsTrust::V13 => At::Active13,
        };
        let place = self.shape.path(own).or(self.shape.path(At::Active));
        place.filter(|_| endpoint.proof == Proof::UserName)
    }

    fn wsdl(&self, audience: Audience) -> String {
        let endpoints: Vec<(&Endpoint, String)> = ENDPOINTS
            .iter()
            .filter(|endpoint| audience == Audience::Intranet || endpoint.outside)
            .filter_map(|endpoint| Some((endpoint, self.url(self.published(endpoint)?))))
            .collect();
        let mut policies = String::new();
        let mut bindings = String::new();
        let mut ports = String::new();
        for (endpoint, address) in endpoints {
            let name = endpoint.name;
            policies.push_str(&endpoint.policy());
            write!(bindings,
                "<wsdl:binding name=\"{name}\" type=\"tns:IWSTrust{contract}Async\"><wsp:PolicyReference \
                 URI=\"#{name}_policy\"/><soap12:binding transport=\"http://schemas.xmlsoap.org/soap/http\"/>\
                 <wsdl:operation name=\"Trust{contract}IssueAsync\"><soap12:operation soapAction=\"{action}\" \
                 style=\"document\"/><wsdl:input><soap12:body use=\"literal\"/></wsdl:input><wsdl:output>\
                 <soap12:body use=\"literal\"/></wsdl:output></wsdl:operation></wsdl:binding>",
                contract = endpoint.contract(),
                action = endpoint.version.request_action(),
            ).expect("writing to a string does not fail");
            write!(ports,
                "<wsdl:port name=\"{name}\" binding=\"tns:{name}\"><soap12:address location=\"{address}\"/>\
                 <wsa10:EndpointReference><wsa10:Address>{address}</wsa10:Address></wsa10:EndpointReference></wsdl:port>",
            ).expect("writing to a string does not fail");
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><wsdl:definitions name=\"SecurityTokenService\" \
             targetNamespace=\"http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice\" \
             xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\" \
             xmlns:wsu=\"{WSU}\" xmlns:soap12=\"http://schemas.xmlsoap.org/wsdl/soap12/\" \
             xmlns:wsa10=\"http://www.w3.org/2005/08/addressing\" \
             xmlns:tns=\"http://schemas.microsoft.com/ws/2008/06/identity/securitytokenservice\" \
             xmlns:sp=\"{SP_2005}\" xmlns:sp12=\"{SP_12}\" \
             xmlns:http=\"http://schemas.microsoft.com/ws/06/2004/policy/http\">{policies}<wsdl:types>\
             <xsd:schema targetNamespace=\"http://schemas.microsoft.com/Message\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><xsd:import schemaLocation=\"{mex}?xsd=xsd0\" \
             namespace=\"http://schemas.xmlsoap.org/ws/2005/02/trust\"/><xsd:import schemaLocation=\"{mex}?xsd=xsd1\" \
             namespace=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"/></xsd:schema></wsdl:types>{bindings}\
             <wsdl:service name=\"SecurityTokenService\">{ports}</wsdl:service></wsdl:definitions>",
            mex = self
                .service
                .endpoint(crate::idp::product::Endpoint::Mex)
                .or_else(|| self
                    .service
                    .endpoint(crate::idp::product::Endpoint::ProxyMex))
                .unwrap_or_default(),
        )
    }
}

/// What a client has to prove itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    UserName,
    Certificate,
    Kerberos,
    Windows,
}

#[derive(Debug)]
struct Endpoint {
    name: &'static str,
    path: &'static str,
    version: WsTrust,
    proof: Proof,
    outside: bool,
}

impl Endpoint {
    fn contract(&self) -> &'static str {
        match self.version {
            WsTrust::V2005 => "Feb2005",
            WsTrust::V13 => "13",
        }
    }

    fn policy(&self) -> String {
        let sp = match self.version {
            WsTrust::V2005 => "sp",
            WsTrust::V13 => "sp12",
        };
        let transport = format!(
            "<{sp}:TransportBinding><wsp:Policy><{sp}:TransportToken><wsp:Policy><{sp}:HttpsToken \
             RequireClientCertificate=\"false\"/></wsp:Policy></{sp}:TransportToken><{sp}:AlgorithmSuite><wsp:Policy>\
             <{sp}:Basic256/></wsp:Policy></{sp}:AlgorithmSuite><{sp}:Layout><wsp:Policy><{sp}:Strict/></wsp:Policy>\
             </{sp}:Layout><{sp}:IncludeTimestamp/></wsp:Policy></{sp}:TransportBinding>"
        );
        let include = match self.version {
            WsTrust::V2005 => format!("{SP_2005}/IncludeToken/AlwaysToRecipient"),
            WsTrust::V13 => format!("{SP_12}/IncludeToken/AlwaysToRecipient"),
        };
        let signed = match self.version {
            WsTrust::V2005 => "SignedSupportingTokens",
            WsTrust::V13 => "SignedEncryptedSupportingTokens",
        };
        let tokens = match self.proof {
            Proof::UserName => format!(
                "<{sp}:{signed}><wsp:Policy><{sp}:UsernameToken {sp}:IncludeToken=\"{include}\"><wsp:Policy>\
                 <{sp}:WssUsernameToken10/></wsp:Policy></{sp}:UsernameToken></wsp:Policy></{sp}:{signed}>\
                 <{sp}:EndorsingSupportingTokens><wsp:Policy><{sp}:SignedParts><{sp}:Header Name=\"To\" \
                 Namespace=\"http://www.w3.org/2005/08/addressing\"/></{sp}:SignedParts></wsp:Policy>\
                 </{sp}:EndorsingSupportingTokens>"
            ),
            Proof::Certificate => format!(
                "<{sp}:EndorsingSupportingTokens><wsp:Policy><{sp}:X509Token {sp}:IncludeToken=\"{include}\">\
                 <wsp:Policy><{sp}:WssX509V3Token10/></wsp:Policy></{sp}:X509Token></wsp:Policy>\
                 </{sp}:EndorsingSupportingTokens>"
            ),
            Proof::Kerberos => format!(
                "<{sp}:SignedSupportingTokens><wsp:Policy><{sp}:KerberosToken {sp}:IncludeToken=\"{include}\">\
                 <wsp:Policy><{sp}:WssGssKerberosV5ApReqToken11/></wsp:Policy></{sp}:KerberosToken></wsp:Policy>\
                 </{sp}:SignedSupportingTokens>"
            ),
            Proof::Windows => "<http:NegotiateAuthentication/>".to_owned(),
        };
        format!(
            "<wsp:Policy wsu:Id=\"{}_policy\"><wsp:ExactlyOne><wsp:All>{transport}{tokens}</wsp:All></wsp:ExactlyOne>\
             </wsp:Policy>",
            self.name,
        )
    }
}

const ENDPOINTS: [Endpoint; 8] = [
    endpoint(
        "WindowsWSTrustBinding_IWSTrustFeb2005Async",
        "/adfs/services/trust/2005/windowstransport",
        WsTrust::V2005,
        Proof::Windows,
    ),
    endpoint(
        "CertificateWSTrustBinding_IWSTrustFeb2005Async",
        "/adfs/services/trust/2005/certificatemixed",
        WsTrust::V2005,
        Proof::Certificate,
    ),
    endpoint(
        "UserNameWSTrustBinding_IWSTrustFeb2005Async",
        "/adfs/services/trust/2005/usernamemixed",
        WsTrust::V2005,
        Proof::UserName,
    ),
    endpoint(
        "KerberosWSTrustBinding_IWSTrustFeb2005Async",
        "/adfs/services/trust/2005/kerberosmixed",
        WsTrust::V2005,
        Proof::Kerberos,
    ),
    endpoint(
        "WindowsWSTrustBinding_IWSTrust13Async",
        "/adfs/services/trust/13/windowstransport",
        WsTrust::V13,
        Proof::Windows,
    ),
    endpoint(
        "CertificateWSTrustBinding_IWSTrust13Async",
        "/adfs/services/trust/13/certificatemixed",
        WsTrust::V13,
        Proof::Certificate,
    ),
    endpoint(
        "UserNameWSTrustBinding_IWSTrust13Async",
        "/adfs/services/trust/13/usernamemixed",
        WsTrust::V13,
        Proof::UserName,
    ),
    endpoint(
        "KerberosWSTrustBinding_IWSTrust13Async",
        "/adfs/services/trust/13/kerberosmixed",
        WsTrust::V13,
        Proof::Kerberos,
    ),
];

const fn endpoint(
    name: &'static str,
    path: &'static str,
    version: WsTrust,
    proof: Proof,
) -> Endpoint {
    Endpoint {
        name,
        path,
        version,
        proof,
        outside: matches!(proof, Proof::UserName | Proof::Certificate),
    }
}

const SP_2005: &str = "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy";
const SP_12: &str = "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702";

const SCHEMA: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><xs:schema elementFormDefault=\"qualified\" \
xmlns:xs=\"http://www.w3.org/2001/XMLSchema\"><xs:element name=\"RequestSecurityToken\" type=\"xs:anyType\"/>\
</xs:schema>";
