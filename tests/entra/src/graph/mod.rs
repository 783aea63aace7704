//! `graph.microsoft.com`: the parts of Microsoft Graph v1.0 that a read-only directory client asks for.
//!
//! In: a request with a token of the lab's own. Out: what the tenant of the token has, as Graph shows it. A token that
//! the lab did not sign, that is over, or that is for somebody else gets 401; a permission that it lacks, 403.

pub mod batch;
pub mod delta;
pub mod documents;
pub mod error;
pub mod filter;
pub mod link;
pub mod list;
pub mod members;
pub mod permit;
pub mod query;
pub mod render;
pub mod route;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;
use weir_lab_servers::http::{Handler, Request, Response, answer, noted};

use crate::chance::Chance;
use crate::faults::{self, Act, Service};
use crate::lab::{Met, Shared};
use crate::throttle::Ask;
use crate::world::object::Kind;
use crate::world::{Licence, Tenant, World};
use error::Refusal;
use query::Query;
use route::Route;

/// The Graph host.
#[derive(Debug)]
pub struct Graph(pub(crate) Arc<Shared>);

/// Who asks: what the token says.
#[derive(Debug, Clone)]
pub struct Session {
    /// The tenant.
    pub tenant: Uuid,
    /// The application.
    pub app: Uuid,
    /// What it may do.
    pub roles: Vec<String>,
}

impl Session {
    /// Whether it has a permission.
    pub fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// Whether it has one of these permissions.
    pub fn any(&self, roles: &[&str]) -> bool {
        roles.iter().any(|role| self.has(role))
    }
}

/// A request, alone or from a batch.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whether it is a POST.
    pub post: bool,
    /// Path below `/v1.0/`.
    pub path: String,
    /// Query.
    pub query: Query,
    /// `Prefer`
    pub prefer: String,
    /// Whether `ConsistencyLevel: eventual` was said.
    pub eventual: bool,
    /// Body.
    pub body: Bytes,
}

/// An answer, alone or in a batch.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// `Content-Type`
    pub kind: &'static str,
    /// Body.
    pub body: Bytes,
    /// More header fields.
    pub headers: Vec<(String, String)>,
}

/// How Graph marks its JSON.
pub const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

impl Reply {
    /// 200 with JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            kind: JSON,
            body: body.into(),
            headers: Vec::new(),
        }
    }
}

/// What a request is answered from.
#[derive(Debug)]
pub struct Context<'a> {
    /// Everything.
    pub world: &'a mut World,
    pub(crate) shared: &'a Shared,
    /// Who asks.
    pub session: &'a Session,
    /// What.
    pub call: &'a Call,
    /// Chance of this request.
    pub chance: Chance,
}

impl Context<'_> {
    /// The tenant of the token.
    pub fn tenant(&self) -> &Tenant {
        self.world
            .tenant(self.session.tenant)
            .expect("the session was made for a tenant that there is")
    }

    /// The tenant of the token, to be changed.
    pub fn tenant_mut(&mut self) -> &mut Tenant {
        let id = self.session.tenant;
        self.world
            .tenants
            .iter_mut()
            .find(|tenant| tenant.id == id)
            .expect("the session was made for a tenant that there is")
    }

    /// A number as plain text, which is to be had with the header alone.
    pub fn number(&self, number: impl FnOnce() -> usize) -> Result<Reply, Refusal> {
        if !self.call.eventual {
            return Err(Refusal::bad(
                "$count is not currently supported without the header ConsistencyLevel: eventual.",
            ));
        }
        Ok(Reply {
            kind: "text/plain",
            ..Reply::json(number().to_string())
        })
    }

    /// Address of a path below `/v1.0/`.
    pub fn url(&self, path: &str) -> String {
        format!("{}/v1.0/{path}", self.shared.places.graph)
    }

    /// The number of the change up to which the replica that answers has seen them.
    pub fn replica(&self) -> usize {
        let quirks = &self.world.quirks;
        let sequence = self.tenant().directory.sequence();
        if quirks.lag > 0 && self.chance.of_text("lags").happens(quirks.lagging) {
            return sequence.saturating_sub(self.chance.of_text("lag").below(quirks.lag) + 1);
        }
        sequence
    }
}

impl Handler for Graph {
    async fn handle(&self, request: Request) -> Response {
        let Met { acts, now, chance } = self.0.meet(Service::Graph, &request).await;
        for act in &acts {
            if let Some(refusal) = scripted(act) {
                return finish(Err(refusal), &request, now, chance);
            }
            if let Some(response) = faults::foreign(act) {
                return noted(response, "as the script says");
            }
        }
        let reply = self.answer(&request, now, chance);
        let response = finish(reply, &request, now, chance);
        faults::spoil(&acts, response, &self.0.places.graph, now)
    }
}

impl Graph {
    fn answer(
        &self,
        request: &Request,
        now: OffsetDateTime,
        chance: Chance,
    ) -> Result<Reply, Refusal> {
        let header = |name: &str| request.header(name).unwrap_or_default();
        let session = session(&self.0, header("authorization"), now)?;
        let Some(path) = request.uri.path().strip_prefix("/v1.0/") else {
            let segment = request.uri.path().split('/').nth(1).unwrap_or_default();
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                format!("Invalid version: {segment}"),
            ));
        };
        let call = Call {
            post: request.method == http::Method::POST,
            path: path.to_owned(),
            query: Query::parse(request.uri.query().unwrap_or_default()),
            prefer: header("prefer").to_owned(),
            eventual: header("consistencylevel").eq_ignore_ascii_case("eventual"),
            body: request.body.clone(),
        };
        let mut world = self.0.world();
        world.forget();
        one(&mut world, &self.0, &session, &call, chance)
    }
}

/// Answers one request: permission, licence, limits, then what was asked.
pub(crate) fn one(
    world: &mut World,
    shared: &Shared,
    session: &Session,
    call: &Call,
    chance: Chance,
) -> Result<Reply, Refusal> {
    let absent = |route: &Route| match route {
        Route::Documents(section) | Route::Document(section, _) => world
            .tenant(session.tenant)
            .is_some_and(|tenant| tenant.not_offered.contains(section)),
        _ => false,
    };
    let route = Route::of(&call.path);
    let route = route.filter(|route| route.is_post() == call.post && !absent(route));
    let Some(route) = route else {
        let segment = call.path.split('/').next_back().unwrap_or_default();
        return Err(Refusal::bad(format!(
            "Resource not found for the segment '{segment}'."
        )));
    };
    if world.tenant(session.tenant).is_none() {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "Directory_ObjectNotFound",
            "Unable to read the company information from the directory.",
        ));
    }
    let mut context = Context {
        world,
        shared,
        session,
        call,
        chance,
    };
    if route == Route::Batch {
        return batch::answer(&mut context);
    }
    permitted(session, &route)?;
    licensed(context.tenant(), &route)?;
    let used = count(&mut context, &route);
    let (cost, used) = used?;
    let mut reply = match route {
        Route::List(kind) => list::all(&context, kind),
        Route::Count(kind) => list::count(&context, kind),
        Route::One(kind, id) => list::one(&context, kind, &id),
        Route::Deleted(kind) => list::deleted(&context, kind),
        Route::GetByIds => list::by_ids(&context),
        Route::Delta(kind) => delta::answer(&mut context, kind),
        Route::Members(reach, group) => members::members(&context, reach, &group),
        Route::MemberOf(reach, kind, id) => members::member_of(&context, reach, kind, &id),
        Route::Ask(question, id) => members::ask(&context, question, &id),
        Route::Documents(section) => documents::all(&context, section),
        Route::Document(section, id) => documents::one(&context, section, &id),
        Route::Federation(domain, id) => documents::federation(&context, &domain, id.as_deref()),
        Route::DirectoryRoles => documents::directory_roles(&context),
        Route::RoleMembers(role) => members::of_role(&context, &role),
        Route::Applications => documents::applications(&context),
        Route::Application(id) => {
            documents::application(&context, |app| Uuid::try_parse(&id) == Ok(app.object_id))
        }
        Route::ApplicationByAppId(id) => {
            documents::application(&context, |app| Uuid::try_parse(&id) == Ok(app.app_id))
        }
        Route::Registrations => documents::registrations(&context),
        Route::Batch => unreachable!("answered above"),
    }?;
    let mut add = |name: &str, value: String| reply.headers.push((name.to_owned(), value));
    add("x-ms-resource-unit", cost.to_string());
    if used > 0.8 {
        add("x-ms-throttle-limit-percentage", format!("{used:.1}"));
    }
    Ok(reply)
}

fn permitted(session: &Session, route: &Route) -> Result<(), Refusal> {
    let endpoint = route.endpoint();
    if session.any(permit::accepted(endpoint)) {
        return Ok(());
    }
    if permit::is_policy(endpoint) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "You cannot perform the requested operation, required scopes are missing in the token.",
        ));
    }
    Err(Refusal::denied())
}

fn licensed(tenant: &Tenant, route: &Route) -> Result<(), Refusal> {
    use crate::world::documents::Section;
    match route {
        Route::Documents(Section::SignIns)
        | Route::Document(Section::SignIns, _)
        | Route::Registrations
            if tenant.licence == Licence::Free =>
        {
            Err(Refusal::not_premium())
        }
        Route::Documents(Section::RoleEligibilities | Section::RoleAssignmentSchedules)
            if tenant.licence < Licence::P2 =>
        {
            Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "AadPremiumLicenseRequired",
                "The tenant needs to have Microsoft Entra ID P2 or Microsoft Entra ID Governance license.",
            ))
        }
        _ => Ok(()),
    }
}

fn count(context: &mut Context<'_>, route: &Route) -> Result<(u32, f64), Refusal> {
    let query = &context.call.query;
    let saved = u32::from(query.get("$select").is_some())
        + u32::from(query.top().is_some_and(|top| top < 20));
    let more = u32::from(query.get("$expand").is_some());
    let cost = (route.cost() + more).saturating_sub(saved).max(1);
    let now = context.world.clock.now();
    let ask = Ask {
        app: context.session.app,
        tenant: context.session.tenant,
        users: context.tenant().directory.of_kind(Kind::User).len(),
        lane: route.lane(),
        cost,
    };
    let counted = context.world.throttle.count(ask, now);
    let used = counted.map_err(|too_much| {
        let message = format!(
            "Too many requests from Identifier:{} under category:{}. Please try again later.",
            ask.tenant, too_much.category
        );
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        let mut add = |name: &str, value: String| refusal.headers.push((name.to_owned(), value));
        if let Some(after) = too_much.after {
            add("Retry-After", after.to_string());
        }
        add("x-ms-throttle-information", too_much.information.to_owned());
        add(
            "x-ms-throttle-scope",
            format!("Tenant_Application/ReadWrite/{}/{}", ask.app, ask.tenant),
        );
        refusal
    })?;
    Ok((cost, used))
}

/// Who asks, by the token.
fn session(shared: &Shared, header: &str, now: OffsetDateTime) -> Result<Session, Refusal> {
    let token = header
        .strip_prefix("Bearer ")
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Refusal::token("Access token is empty."))?;
    if token.split('.').count() != 3 {
        return Err(Refusal::token(
            "CompactToken parsing failed with error code: 80049217",
        ));
    }
    let claims = shared
        .jwt
        .signed(token)
        .ok_or_else(|| Refusal::token("Access token validation failure. Invalid signature."))?;
    if claims["aud"].as_str() != Some(shared.places.graph.as_str()) {
        return Err(Refusal::token(
            "Access token validation failure. Invalid audience.",
        ));
    }
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    let present = now.unix_timestamp();
    if time("exp") <= present || time("nbf") > present + 300 {
        return Err(Refusal::token(
            "Lifetime validation failed, the token is expired. Access token has expired or is not yet valid.",
        ));
    }
    let id = |name: &str| {
        let text = claims[name].as_str().unwrap_or_default();
        Uuid::try_parse(text).map_err(|_| Refusal::token("Access token validation failure."))
    };
    let roles = claims["roles"].as_array();
    let roles = roles.into_iter().flatten().filter_map(Value::as_str);
    Ok(Session {
        tenant: id("tid")?,
        app: id("appid")?,
        roles: roles.map(str::to_owned).collect(),
    })
}

/// The error that the script asks for.
fn scripted(act: &Act) -> Option<Refusal> {
    match act {
        Act::Graph {
            status,
            code,
            message,
            headers,
        } => {
            let mut refusal = Refusal::new(faults::code(*status), code.clone(), message.clone());
            refusal.headers.clone_from(headers);
            Some(refusal)
        }
        _ => None,
    }
}

fn finish(
    reply: Result<Reply, Refusal>,
    request: &Request,
    now: OffsetDateTime,
    chance: Chance,
) -> Response {
    let id = chance.of_text("request-id").id();
    let client = request.header("client-request-id").map(str::to_owned);
    let client = client.unwrap_or_else(|| id.to_string());
    let (response, headers, note) = match reply {
        Ok(reply) => {
            let response = answer(reply.status, reply.kind, reply.body);
            (response, reply.headers, None)
        }
        Err(refusal) => {
            let body = refusal.body(now, id, &client).to_string();
            let response = answer(refusal.status, "application/json", body);
            (response, refusal.headers, Some(refusal.code.into_owned()))
        }
    };
    let usual = [
        ("request-id", id.to_string()),
        ("client-request-id", client),
        ("OData-Version", "4.0".to_owned()),
        ("Cache-Control", "no-cache".to_owned()),
        (
            "x-ms-ags-diagnostic",
            r#"{"ServerInfo":{"DataCenter":"Lab","Slice":"E","Ring":"5","ScaleUnit":"001","RoleInstance":"LAB01"}}"#.to_owned(),
        ),
    ];
    let usual = usual.map(|(name, value)| (name.to_owned(), value));
    let response = faults::with(faults::with(response, &usual), &headers);
    match note {
        Some(note) => noted(response, note),
        None => response,
    }
}
