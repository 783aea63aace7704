//! The SOAP faults for those who sign in by SOAP, in the version that was asked in (SOAP 1.2 part 1, 5.4;
//! SOAP 1.1, 4.4; WS-Addressing SOAP binding 6).
//!
//! A block is the sender's fault, and an outage the receiver's: the same message may be sent again. To
//! WS-Trust the code of a block is `RequestFailed`, not `FailedAuthentication`: the latter makes applications
//! ask for the password again, until the account is locked. With HTTP 403 real clients show the reason text.

use super::{Answer, common, escape};
use crate::{Envelope, Soap, TrustVersion};

pub(super) fn blocked(status: u16, soap: Option<&Soap>, reason: &str, reference: &str) -> Answer {
    if is_old(soap) {
        return old_fault(status, "s:Client", reason, reference);
    }
    let trust = match soap.map(|soap| soap.version).unwrap_or_default() {
        TrustVersion::V2005 => "http://schemas.xmlsoap.org/ws/2005/02/trust",
        TrustVersion::V13 => "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
    };
    let code = format!(
        "<s:Value>s:Sender</s:Value>\
         <s:Subcode><s:Value xmlns:wst=\"{trust}\">wst:RequestFailed</s:Value></s:Subcode>"
    );
    fault(status, soap, &code, reason, reference)
}

pub(super) fn unavailable(
    status: u16,
    soap: Option<&Soap>,
    reason: &str,
    reference: &str,
) -> Answer {
    if is_old(soap) {
        return old_fault(status, "s:Server", reason, reference);
    }
    let code = "<s:Value>s:Receiver</s:Value>";
    fault(status, soap, code, reason, reference)
}

fn is_old(soap: Option<&Soap>) -> bool {
    soap.is_some_and(|soap| soap.envelope == Envelope::V11)
}

/// SOAP 1.1, as SAML's clients ask (ECP): nothing of it refers to the request.
fn old_fault(status: u16, code: &str, reason: &str, reference: &str) -> Answer {
    let reason = escape(reason);
    let reference = escape(reference);
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault>\
         <faultcode>{code}</faultcode>\
         <faultstring xml:lang=\"en\">{reason} Reference: {reference}</faultstring>\
         </s:Fault></s:Body></s:Envelope>"
    );
    Answer {
        status,
        headers: common("text/xml; charset=utf-8"),
        body,
    }
}

fn fault(status: u16, soap: Option<&Soap>, code: &str, reason: &str, reference: &str) -> Answer {
    let relates_to = soap
        .and_then(|soap| soap.message_id.as_deref())
        .map(|id| format!("<a:RelatesTo>{}</a:RelatesTo>", escape(id)))
        .unwrap_or_default();
    let reason = escape(reason);
    let reference = escape(reference);
    let body = format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://www.w3.org/2005/08/addressing\">\
         <s:Header>\
         <a:Action s:mustUnderstand=\"1\">http://www.w3.org/2005/08/addressing/soap/fault</a:Action>\
         {relates_to}\
         </s:Header>\
         <s:Body><s:Fault>\
         <s:Code>{code}</s:Code>\
         <s:Reason><s:Text xml:lang=\"en\">{reason} Reference: {reference}</s:Text></s:Reason>\
         </s:Fault></s:Body></s:Envelope>"
    );
    Answer {
        status,
        headers: common("application/soap+xml; charset=utf-8"),
        body,
    }
}
