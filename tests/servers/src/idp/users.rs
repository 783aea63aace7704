//! Who users are and what is claimed about them; and what the service knows of whoever asks.

use crate::http::Request;
use crate::plan::{Plan, User};
use crate::saml::assertion::{Claim, Method};

/// What AD FS knows about where a request comes from. A request that passed a proxy says so in its headers; one without
/// `X-MS-Proxy` is taken for the intranet's.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    proxy: Option<String>,
    context: Vec<(&'static str, String)>,
    user_agent: String,
}

impl Asker {
    /// Reads the request's headers.
    pub fn of(request: &Request) -> Self {
        let mut context = vec![(
            "x-ms-client-ip",
            request.peer.ip().to_canonical().to_string(),
        )];
        for name in CONTEXT_HEADERS {
            let values: Vec<&str> = request
                .headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            if !values.is_empty() {
                context.push((name, values.join(",")));
            }
        }
        Self {
            proxy: request.header("x-ms-proxy").map(str::to_owned),
            context,
            user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
        }
    }

    /// Whether AD FS takes the request for an intranet one.
    pub fn inside(&self) -> bool {
        self.proxy.is_none()
    }

    /// Whether Windows authentication is offered instead of the form.
    pub fn gets_windows_challenge(&self) -> bool {
        let agent = &self.user_agent;
        let edge = agent
            .find("Windows NT")
            .is_some_and(|at| agent[at..].contains("Edge"));
        self.inside() && (edge || WINDOWS_AGENTS.iter().any(|known| agent.contains(known)))
    }

    /// For the log: from where AD FS believes the request to come.
    pub fn describe(&self) -> String {
        let forwarded = self
            .context
            .iter()
            .find(|(name, _)| *name == "x-ms-forwarded-client-ip");
        match (&self.proxy, forwarded) {
            (None, _) => "intranet".to_owned(),
            (Some(proxy), None) => format!("extranet, by {proxy}"),
            (Some(proxy), Some((_, address))) => format!("extranet, by {proxy}, for {address}"),
        }
    }

    /// What is claimed about `user` in a token given to this asker.
    pub fn claims(&self, user: &User, method: Method) -> Vec<Claim> {
        let one = |kind: &str, value: &str| Claim {
            kind: kind.to_owned(),
            values: vec![value.to_owned()],
        };
        let mut claims = vec![
            one(UPN, &user.upn),
            one(IMMUTABLE_ID, &user.immutable_id),
            one(DEPARTMENT, &user.department),
            Claim {
                kind: GROUP.to_owned(),
                values: user.groups.clone(),
            },
            one(INSIDE, if self.inside() { "true" } else { "false" }),
            one(METHODS, method.saml2()),
        ];
        for (name, value) in &self.context {
            claims.push(one(&format!("{REQUEST_CONTEXT}{name}"), value));
        }
        claims
    }
}

/// The user, if the password is right.
pub fn check<'a>(plan: &'a Plan, name: &str, password: &str) -> Option<&'a User> {
    plan.user(name.trim())
        .filter(|user| user.password == password)
}

/// User principal name, as Microsoft 365 takes it.
pub const UPN: &str = "http://schemas.xmlsoap.org/claims/UPN";
/// The anchor that joins to the cloud user.
pub const IMMUTABLE_ID: &str = "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID";
/// Department: there is no standard type for it.
pub const DEPARTMENT: &str = "http://schemas.corp.example/claims/department";
/// Group names.
pub const GROUP: &str = "http://schemas.xmlsoap.org/claims/Group";
/// Whether the request came from inside.
pub const INSIDE: &str = "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork";
/// How the user authenticated.
pub const METHODS: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";
/// Prefix of the claims about the request.
pub const REQUEST_CONTEXT: &str = "http://schemas.microsoft.com/2012/01/requestcontext/claims/";

const CONTEXT_HEADERS: [&str; 5] = [
    "x-ms-proxy",
    "x-ms-forwarded-client-ip",
    "x-ms-endpoint-absolute-path",
    "x-ms-client-application",
    "x-ms-client-user-agent",
];

const WINDOWS_AGENTS: [&str; 10] = [
    "MSAuthHost/1.0/In-Domain",
    "MSIE 6.0",
    "MSIE 7.0",
    "MSIE 8.0",
    "MSIE 9.0",
    "MSIE 10.0",
    "Trident/7.0",
    "MSIPC",
    "Windows Rights Management Client",
    "MS_WorkFoldersClient",
];
