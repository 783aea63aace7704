//! The client credentials grant: an application proves who it is, and gets a token for what it was consented to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use weir_lab_servers::http::{Parameters, Request, Response, add, json as json_answer, noted};

use super::assertion;
use super::errors::Aadsts;
use crate::faults::{Act, opaque};
use crate::lab::Shared;
use crate::world::World;
use crate::world::apps::{Account, App, GRAPH};

/// Answers a POST to the token endpoint of `tenant`.
pub fn token(
    shared: &Shared,
    tenant: &str,
    request: &Request,
    acts: &[Act],
) -> Result<Response, Aadsts> {
    let form = request.form();
    let basic = basic(request);
    let field = |name: &str| form.get(name).map(str::to_owned);
    let (client, secret) = match (field("client_id"), basic) {
        (Some(client), basic) => (
            client,
            field("client_secret").or(basic.map(|basic| basic.1)),
        ),
        (None, Some((client, secret))) => (client, Some(secret)),
        (None, None) => return Err(missing("client_id")),
    };
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(other) => {
            let text = format!("The app requested an unsupported grant type '{other}'.");
            return Err(Aadsts::new(70003, text));
        }
        None => return Err(missing("grant_type")),
    }
    if ["common", "organizations", "consumers"].contains(&tenant) {
        return Err(Aadsts::usual(9_001_023));
    }
    let mut world = shared.world();
    let now = world.clock.now();
    let id = tenant_id(&world, tenant)?;
    scope(shared, form.get("scope"))?;
    let app_id = Uuid::try_parse(&client).map_err(|_| not_found(&client))?;
    let (app, account) = known(&world, id, app_id).ok_or_else(|| not_found(&client))?;
    if !account.enabled {
        return Err(Aadsts::usual(7_000_112));
    }
    let strength = prove(shared, app, id, tenant, &form, secret.as_deref(), now)?;
    if let Strength::Assertion(assertion) = &strength {
        #[expect(clippy::cast_precision_loss, reason = "no clock goes so far")]
        let present = now.unix_timestamp() as f64;
        world.assertions.retain(|_, until| *until > present);
        let used = format!("{app_id} {}", assertion.id);
        if world.assertions.insert(used, assertion.until).is_some() {
            return Err(Aadsts::new(
                700_027,
                "Client assertion failed signature validation. [Reason - The assertion was presented before.]",
            ));
        }
    }
    no_loop(&mut world, app_id, now)?;
    let about = acts.iter().find_map(|act| match act {
        Act::Tenant { id } => Some(*id),
        _ => None,
    });
    let body = issue(
        shared,
        &mut world,
        id,
        about.unwrap_or(id),
        app_id,
        strength.level(),
    );
    let mut response = json_answer(StatusCode::OK, &body);
    add(&mut response, "cache-control", "no-store, no-cache");
    add(&mut response, "pragma", "no-cache");
    Ok(noted(response, format!("token for {app_id}")))
}

/// The tenant that a path names.
pub fn tenant_id(world: &World, name: &str) -> Result<Uuid, Aadsts> {
    if let Some(tenant) = world.find(name) {
        return Ok(tenant.id);
    }
    if Uuid::try_parse(name).is_err() && !name.contains('.') {
        return Err(Aadsts::new(
            900_023,
            format!(
                "Specified tenant identifier '{name}' is neither a valid DNS name, nor a valid external domain."
            ),
        ));
    }
    Err(Aadsts::new(
        90002,
        format!(
            "Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
        ),
    ))
}

/// A token for Graph, and what the endpoint says with it.
pub fn issue(
    shared: &Shared,
    world: &mut World,
    tenant: Uuid,
    about: Uuid,
    app_id: Uuid,
    level: &str,
) -> Value {
    let now = world.clock.now();
    let chance = world.next_request().of_text("token");
    let tenant = world.tenant(tenant).expect("it was found before");
    let account = tenant.account(app_id).expect("it was found before");
    let life = 3600 + i64::try_from(chance.below(1800)).expect("less than an hour");
    let roles = account.roles(now);
    let issuer = format!("https://sts.windows.net/{about}/");
    let name = world.app(app_id).map_or("weir", |app| app.name.as_str());
    let mut claims = json!({
        "aud": shared.places.graph, "iss": issuer, "iat": now.unix_timestamp(), "nbf": now.unix_timestamp(),
        "exp": now.unix_timestamp() + life, "aio": opaque(chance.of(1).id().as_bytes()), "app_displayname": name,
        "appid": app_id, "appidacr": level, "idp": issuer, "idtyp": "app", "oid": account.object_id,
        "rh": format!("1.{}", opaque(chance.of(2).id().as_bytes())), "sub": account.object_id,
        "tenant_region_scope": tenant.region, "tid": about, "uti": opaque(chance.of(3).id().as_bytes()),
        "ver": "1.0", "wids": ["0997a1d0-0d1d-4acb-b408-d5ca73121e90"], "xms_idrel": "7 16",
        "xms_tcdt": 1_554_105_600,
    });
    if !roles.is_empty() {
        claims["roles"] = json!(roles);
    }
    let nonce = opaque(chance.of(4).id().as_bytes());
    json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life,
        "access_token": shared.jwt.sign_sealed(&nonce, &claims) })
}

/// The application and its account in the tenant, if it has one there.
fn known(world: &World, tenant: Uuid, app_id: Uuid) -> Option<(&App, &Account)> {
    let app = world.app(app_id)?;
    let account = world.tenant(tenant)?.account(app_id)?;
    (app.home == tenant || app.multi_tenant).then_some((app, account))
}

enum Strength {
    Secret,
    Assertion(assertion::Assertion),
}

impl Strength {
    /// `appidacr`
    fn level(&self) -> &'static str {
        match self {
            Self::Secret => "1",
            Self::Assertion(_) => "2",
        }
    }
}

fn prove(
    shared: &Shared,
    app: &App,
    id: Uuid,
    tenant: &str,
    form: &Parameters,
    secret: Option<&str>,
    now: OffsetDateTime,
) -> Result<Strength, Aadsts> {
    if let Some(text) = form.get("client_assertion") {
        if form.get("client_assertion_type") != Some(assertion::KIND) {
            return Err(missing("client_assertion_type"));
        }
        let login = &shared.places.login;
        let audiences = [
            format!("{login}/{tenant}/oauth2/v2.0/token"),
            format!("{login}/{id}/oauth2/v2.0/token"),
            format!("{login}/{id}/v2.0"),
        ];
        return assertion::check(text, app, &audiences, now).map(Strength::Assertion);
    }
    let secret = secret.ok_or_else(|| Aadsts::usual(7_000_216))?;
    let same: Vec<_> = app
        .secrets
        .iter()
        .filter(|known| known.is(secret) && known.start <= now)
        .collect();
    if same.iter().any(|known| now < known.end) {
        return Ok(Strength::Secret);
    }
    if same.is_empty() {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{}'.",
            app.app_id
        );
        return Err(Aadsts::new(7_000_215, text));
    }
    let text = format!(
        "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys for your app.",
        app.app_id
    );
    Err(Aadsts::new(7_000_222, text))
}

fn scope(shared: &Shared, scope: Option<&str>) -> Result<(), Aadsts> {
    let Some(scope) = scope.filter(|scope| !scope.trim().is_empty()) else {
        return Err(Aadsts::usual(90014));
    };
    let resource = scope.strip_suffix("/.default");
    let Some(resource) = resource.filter(|resource| !resource.contains(' ')) else {
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
        );
        return Err(Aadsts::new(70011, text));
    };
    let known = [
        shared.places.graph.as_str(),
        "https://graph.microsoft.com",
        GRAPH,
    ];
    if known.contains(&resource.trim_end_matches('/')) {
        return Ok(());
    }
    Err(Aadsts::new(
        500_011,
        format!("The resource principal named {resource} was not found in the tenant."),
    ))
}

fn no_loop(world: &mut World, app_id: Uuid, now: OffsetDateTime) -> Result<(), Aadsts> {
    let limit = world.token_loop;
    let asked = world.asked.entry(app_id).or_default();
    asked.retain(|at| now - *at < Duration::MINUTE);
    asked.push(now);
    if asked.len() > limit {
        return Err(Aadsts::usual(50196));
    }
    Ok(())
}

fn missing(name: &str) -> Aadsts {
    Aadsts::new(
        900_144,
        format!("The request body must contain the following parameter: '{name}'."),
    )
}

fn not_found(client: &str) -> Aadsts {
    Aadsts::new(
        700_016,
        format!(
            "Application with identifier '{client}' was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
        ),
    )
}

/// Name and password of HTTP Basic, each of which was form-encoded first.
fn basic(request: &Request) -> Option<(String, String)> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    let decode = |text: &str| {
        let pair = Parameters::parse(format!("x={text}").as_bytes());
        pair.get("x").map(str::to_owned)
    };
    Some((decode(name)?, decode(password)?))
}
