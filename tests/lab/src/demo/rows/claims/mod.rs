//! Rules about what stands in tokens, for each product of a sign-in server; keys that change; sign-ins that open the
//! kernel's path.

mod door;
mod lasting;
mod odd;
mod reply;
mod tenant;

use url::Url;
use weir_lab_servers::idp::product::Endpoint;
use weir_lab_servers::plan::{MICROSOFT_ONLINE, Plan, Product, ServicePlan, User};

use self::door::{Door, ecp, has, password};
use self::lasting::GRANTING;
pub(in crate::demo) use self::tenant::entra;
use super::kinds::active_at;
use super::{House, Rows, house};
use crate::demo::chromium::Visit;
use crate::demo::msal::SignIn;
use crate::demo::row::{Act, Decider, Row};
use crate::demo::walk::{NATIVE, Walk};
use crate::settings::{STRICT, Settings, Tokens};
use crate::sources::{Class, Family};

/// The service that is every product in turn.
const SERVICE: &str = "adfs";
const ALICE: &str = "alice@mex.corp.example";
const BOB: &str = "bob@nomex.corp.example";
const CAROL: &str = "carol@mex-adfs.corp.example";
const DAVE: &str = "dave@nomex-adfs.corp.example";
const GRACE: &str = "grace@nomex.corp.example";

/// From managed devices contractors are shut out, and administrators give a second factor. From elsewhere engineers
/// with a compliant device come in, and whoever is in one project; all others go through the reverse proxy. From the
/// exempt network, sales give a second factor. Of the exempt browsers no rule asks anything. A token without roles does
/// not say that its user has none: so it is told by another claim, too, who cannot be an administrator.
const RULES: &str = r#"
[[rule]]
name = "contractors"
when = { class = "managed", flow = ["passive", "active", "oauth-browser", "oauth-token"], group = "contractors" }
then = { decision = "block", reason = "Contractors sign in at their own company." }

[[rule]]
name = "administrators"
when = { class = "managed", flow = ["passive", "oauth-browser"], claim = { access_level = "high" }, role = "Steering.Admin" }
then = { decision = "step-up" }

[[rule]]
name = "engineers"
when = { class = "unmanaged", flow = ["passive", "active", "oauth-browser", "oauth-token"], claim = { department = "Engineering" }, device = "compliant" }
then = { decision = "pass" }

[[rule]]
name = "project"
when = { class = "unmanaged", flow = ["passive", "oauth-browser"], group = "project-007" }
then = { decision = "pass" }

[[rule]]
name = "elsewhere"
when = { class = "unmanaged", flow = ["passive", "oauth-browser"] }
then = { decision = "redirect" }

[[rule]]
name = "sales"
when = { list = "exempt", flow = ["passive", "oauth-browser"], claim = { department = "Sales" } }
then = { decision = "step-up" }
"#;

/// The houses.
pub(super) fn houses(plan: &Plan) -> Vec<House> {
    let settings = |product, about, rules| Settings {
        tokens: Some(Tokens {
            product,
            about,
            rules,
            portal: false,
        }),
        ..Settings::of(STRICT)
    };
    let of = |name, product| {
        house(
            plan,
            name,
            settings(product, "rules about claims", RULES),
            |rows| rows.sign_ins(product),
        )
    };
    let adfs = Product::Adfs;
    vec![
        house(
            plan,
            "claims",
            settings(adfs, "rules about claims", RULES),
            |rows| {
                rows.sign_ins(adfs);
                rows.overage();
                rows.second_factor();
                rows.twisted();
                rows.signed_around();
                rows.in_chromium();
            },
        ),
        of("claims-okta", Product::Okta),
        of("claims-pingfederate", Product::PingFederate),
        of("claims-shibboleth", Product::Shibboleth),
        of("claims-simplesamlphp", Product::SimpleSamlPhp),
        house(
            plan,
            "keys",
            settings(adfs, "keys that change", RULES),
            |rows| {
                rows.changed_keys();
            },
        ),
        house(plan, "grants", settings(adfs, "grants", GRANTING), |rows| {
            rows.granted();
        }),
        reply::house(plan),
    ]
}

const PAGE: &str = "403 page, explained";

impl Rows<'_> {
    /// Staff, a contractor and an administrator from a managed device; an engineer and somebody else from elsewhere:
    /// by every way that the product has.
    fn sign_ins(&mut self, product: Product) {
        let service = self.product(product);
        let begins = Decider::pass("rule/contractors");
        for door in Door::BROWSER {
            if !has(&service, door) {
                continue;
            }
            let second = format!("{}, second factor", door.passed());
            let elsewhere = format!("{}, reverse proxy", door.passed());
            let step_up = Decider::step_up("rule/administrators");
            let block = Decider::block("rule/administrators");
            let (administrated, administrator) = if door.asks(product) {
                let pass = Decider::pass("rule/administrators");
                (&*second, vec![begins.clone(), step_up, pass])
            } else {
                (PAGE, vec![begins.clone(), block])
            };
            let (managed, unmanaged) = (Class::Managed, Class::Unmanaged);
            for (who, class, outcome, by) in [
                (
                    CAROL,
                    managed,
                    door.passed(),
                    vec![begins.clone(), self.pass("browser-managed")],
                ),
                (
                    DAVE,
                    managed,
                    PAGE,
                    vec![begins.clone(), Decider::block("rule/contractors")],
                ),
                (ALICE, managed, administrated, administrator),
                (
                    ALICE,
                    unmanaged,
                    door.passed(),
                    vec![Decider::pass("rule/engineers")],
                ),
                (CAROL, unmanaged, &elsewhere, redirected()),
            ] {
                let start = self.start(&service, door, "");
                self.walk(door.name(), door.what(), who, class, start)
                    .expect(outcome, by);
            }
        }
        for door in Door::NATIVE {
            if has(&service, door) {
                self.native(&service, door);
            }
        }
        self.rich_clients(product);
    }

    /// The same by applications, whose answer carries the token.
    fn native(&mut self, service: &ServicePlan, door: Door) {
        for (who, class, passes, by) in [
            (CAROL, Class::Managed, true, self.pass("native-managed")),
            (
                DAVE,
                Class::Managed,
                false,
                Decider::block("rule/contractors"),
            ),
            (
                ALICE,
                Class::Unmanaged,
                true,
                Decider::pass("rule/engineers"),
            ),
            (
                CAROL,
                Class::Unmanaged,
                false,
                self.block("native-unmanaged"),
            ),
        ] {
            let user = self.person(who);
            let call = match door {
                Door::Ecp => ecp(service, &user),
                Door::Token => password(self.plan, service, &user),
                _ => {
                    let endpoints = [Endpoint::Active, Endpoint::Active2005];
                    let mut places = endpoints.iter().filter_map(|at| service.endpoint(*at));
                    let place = places.next().expect("only where there is one");
                    active_at(place, "2005", &user, MICROSOFT_ONLINE)
                }
            };
            let outcome = if passes {
                door.passed()
            } else {
                door.blocked()
            };
            self.by(door.name(), door.what(), who, class, Act::Curl(call))
                .expect(outcome, vec![by]);
        }
    }

    /// The same by msal, realm discovery first. Without a metadata exchange it knows the paths of AD FS alone.
    fn rich_clients(&mut self, product: Product) {
        let token = match product {
            Product::Adfs => "token by WS-Trust 1.3",
            Product::SimpleSamlPhp => "token by WS-Trust 2005",
            Product::Okta | Product::PingFederate => "token",
            Product::Shibboleth => return,
        };
        let staff = (CAROL, token, self.pass("native-managed"));
        let contractor = (
            DAVE,
            "blocked, explained",
            Decider::block("rule/contractors"),
        );
        let contractor = Some(contractor).filter(|_| product == Product::Adfs);
        for (who, outcome, by) in [staff].into_iter().chain(contractor) {
            let User { upn, password, .. } = self.person(who);
            let (what, name) = (about("sign-in", &upn), named("sign-in", &upn));
            let act = Act::Msal(SignIn::Password {
                user: upn,
                password,
            });
            let (class, family) = (Class::Managed, Family::V6);
            self.push(&name, "msal", &what, SERVICE, class, family, act)
                .expect(outcome, vec![by]);
        }
    }

    fn product(&self, product: Product) -> ServicePlan {
        let service = self.plan.service(SERVICE).expect("the plan has it");
        ServicePlan {
            product,
            ..service.clone()
        }
    }

    fn person(&self, upn: &str) -> User {
        self.plan.user(upn).expect("the plan has this user").clone()
    }

    /// Where a browser's sign-in begins, with more parameters.
    fn start(&self, service: &ServicePlan, door: Door, more: &str) -> String {
        let application = &self.plan.cloud.application.host;
        match door {
            Door::WsFed => format!("https://{application}/{}?{more}", service.name),
            Door::Saml => format!("https://{application}/saml/{}?{more}", service.name),
            _ => {
                let place = service.endpoint(Endpoint::Authorize);
                let place = place.expect("only where there is one");
                let mut place = Url::parse(&place).expect("an address of the plan");
                place.set_query(Some(more).filter(|more| !more.is_empty()));
                place
                    .query_pairs_mut()
                    .append_pair("client_id", &self.plan.oauth_clients[0].id)
                    .append_pair("redirect_uri", NATIVE)
                    .append_pair("response_type", "id_token")
                    .append_pair("response_mode", "form_post")
                    .append_pair("nonce", "n")
                    .append_pair("state", "s");
                place.into()
            }
        }
    }

    /// A sign-in in a browser, from the application's page.
    fn visit_of(&self, who: &str, service: &str) -> Visit {
        let User { upn, password, .. } = self.person(who);
        Visit {
            start: format!("https://{}/{service}", self.plan.cloud.application.host),
            user: upn,
            password,
            trusts_lab: true,
        }
    }

    fn walk(&mut self, name: &str, what: &str, who: &str, class: Class, start: String) -> &mut Row {
        let user = self.person(who);
        self.by(
            name,
            what,
            who,
            class,
            Act::Walk(Box::new(Walk {
                start,
                user,
                twice: false,
            })),
        )
    }

    fn by(&mut self, name: &str, what: &str, who: &str, class: Class, act: Act) -> &mut Row {
        // What is granted elsewhere is granted over IPv6.
        let family = match class {
            Class::Unmanaged => Family::V4,
            _ => Family::V6,
        };
        let (what, name) = (about(what, who), named(name, who));
        self.push(&name, "curl", &what, SERVICE, class, family, act)
    }
}

/// The pages are shown, and the token is sent to the reverse proxy.
fn redirected() -> Vec<Decider> {
    vec![
        Decider::pass("rule/engineers"),
        Decider::redirect("rule/elsewhere"),
    ]
}

fn first_name(who: &str) -> &str {
    who.split('@').next().unwrap_or(who)
}

fn about(what: &str, who: &str) -> String {
    format!("{what}: {}", first_name(who))
}

fn named(name: &str, who: &str) -> String {
    format!("{name}-{}", first_name(who))
}
