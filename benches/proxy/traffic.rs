//! What clients ask for: the same bytes for every proxy.

use crate::stage::HOST;

/// Pages of the backend, by what they are called and their bytes.
pub const PAGES: [(&str, usize); 3] = [("1k", 1 << 10), ("10k", 10 << 10), ("100k", 100 << 10)];

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
}

/// A browser begins to sign in, and is answered with this page.
pub fn sign_in(page: &str) -> Request {
    Request {
        method: "GET",
        target: format!(
            "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline\
             &wctx=estsredirect%3d2%26estsrequest%3drQQIARAAjZJNb9NAGITj&cbcxt=&username=alice%40corp.example\
             &mkt=en-GB&lc=2057&page={page}"
        ),
        headers: vec![
            (
                "User-Agent",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
            ),
            (
                "Accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            ),
            ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
            ("Accept-Encoding", "gzip, deflate, br"),
            ("Referer", "https://login.microsoftonline.com/"),
            ("Cookie", "MSISSamlRequest=none; SamlSession=not-a-real-one"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ],
        body: String::new(),
    }
}

/// A program asks for a token with a name and a password, as Microsoft's libraries do.
pub fn trust() -> Request {
    Request {
        method: "POST",
        target: "/adfs/services/trust/2005/usernamemixed".into(),
        headers: vec![
            ("Content-Type", "application/soap+xml; charset=utf-8"),
            (
                "SOAPAction",
                "http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue",
            ),
            ("User-Agent", "python-requests/2.32.5"),
            ("Accept", "*/*"),
            ("client-request-id", "7f5c3c7e-4f5b-4f3a-9f2c-1d2a3b4c5d6e"),
        ],
        body: envelope(),
    }
}

/// A page of so many bytes.
pub fn page(bytes: usize) -> String {
    const LINE: &str = "<p>Sign in with your organizational account, or with another one.</p>\n";
    LINE.chars().cycle().take(bytes).collect()
}

fn envelope() -> String {
    let (oasis, soap) = (
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity",
        "http://schemas.xmlsoap.org/ws",
    );
    let padding = " ".repeat(700);
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://www.w3.org/2005/08/addressing\" xmlns:u=\"{oasis}-utility-1.0.xsd\"><s:Header>\
         <a:Action s:mustUnderstand=\"1\">{soap}/2005/02/trust/RST/Issue</a:Action>\
         <a:MessageID>urn:uuid:7f5c3c7e-4f5b-4f3a-9f2c-1d2a3b4c5d6e</a:MessageID>\
         <a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>\
         <a:To s:mustUnderstand=\"1\">https://{HOST}/adfs/services/trust/2005/usernamemixed</a:To>\
         <o:Security s:mustUnderstand=\"1\" xmlns:o=\"{oasis}-secext-1.0.xsd\"><u:Timestamp u:Id=\"_0\">\
         <u:Created>2026-11-21T08:00:00.000Z</u:Created><u:Expires>2026-11-21T08:10:00.000Z</u:Expires>\
         </u:Timestamp><o:UsernameToken u:Id=\"user\"><o:Username>alice@corp.example</o:Username>\
         <o:Password>not a real one</o:Password></o:UsernameToken></o:Security></s:Header><s:Body>{padding}\
         <t:RequestSecurityToken xmlns:t=\"{soap}/2005/02/trust\"><p:AppliesTo xmlns:p=\"{soap}/2004/09/policy\">\
         <a:EndpointReference><a:Address>urn:federation:MicrosoftOnline</a:Address></a:EndpointReference>\
         </p:AppliesTo><t:KeyType>{soap}/2005/05/identity/NoProofKey</t:KeyType>\
         <t:RequestType>{soap}/2005/02/trust/Issue</t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>",
    )
}

impl Request {
    /// As it stands on an HTTP/1.1 connection that ends with it, or goes on.
    pub fn bytes(&self, ends: bool) -> Vec<u8> {
        let lines = self.headers.iter();
        let mut head: Vec<String> = lines
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        if ends {
            head.push("Connection: close".into());
        }
        if !self.body.is_empty() {
            head.push(format!("Content-Length: {}", self.body.len()));
        }
        let (method, target, head) = (self.method, &self.target, head.join("\r\n"));
        let first = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n");
        format!("{first}{head}\r\n\r\n{}", self.body).into_bytes()
    }
}
