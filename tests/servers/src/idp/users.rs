//! What the service knows of whoever asks, and whether a password is right.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::control::{Control, Keys, Twist};
use crate::http::Request;
use crate::people::User;
use crate::plan::Plan;

/// What AD FS knows about where a request comes from, and what the service is told to do otherwise for it. A request
/// that passed a proxy says so in its headers; one without `X-MS-Proxy` is taken for the intranet's.
#[derive(Debug, Clone, Default)]
pub struct Asker {
    proxy: Option<String>,
    context: Vec<(&'static str, String)>,
    user_agent: String,
    control: Control,
    twists: Vec<Twist>,
    conversation: Option<String>,
}

impl Asker {
    /// Reads the request's headers. `twists` are those that the request asks for itself.
    pub fn of(request: &Request, control: Control, twists: Vec<Twist>) -> Self {
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
            control,
            twists,
            conversation: None,
        }
    }

    /// The same in the sign-in of that number, which began with these twists.
    pub(super) fn conversing(&self, id: &str, twists: &[Twist]) -> Self {
        Self {
            conversation: Some(id.to_owned()),
            twists: [&self.twists, twists].concat(),
            ..self.clone()
        }
    }

    /// The number of the sign-in that this is a step of.
    pub(super) fn conversation(&self) -> Option<&str> {
        self.conversation.as_deref()
    }

    /// The keys in use.
    pub fn keys(&self) -> Keys {
        self.control.keys
    }

    /// Whether this is to be done otherwise for the user.
    pub fn has(&self, twist: Twist, user: &User) -> bool {
        self.twists.contains(&twist) || self.control.twists_for(&user.upn).any(|own| own == twist)
    }

    /// What is claimed about the request: name and value.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
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
}

/// The user, if the password is right.
pub fn check<'a>(plan: &'a Plan, name: &str, password: &str) -> Option<&'a User> {
    plan.user(name.trim())
        .filter(|user| user.password == password)
}

/// Name and password of HTTP Basic, or of what stands in the lab for a Windows ticket: the same after `Negotiate`.
pub fn credentials(request: &Request, scheme: &str) -> Option<(String, String)> {
    let (found, value) = request.header("authorization")?.split_once(' ')?;
    if !found.eq_ignore_ascii_case(scheme) {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

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
