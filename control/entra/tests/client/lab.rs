//! Against the lab's tenant, which keeps to Entra's and Graph's own rules and limits, over real TLS.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use url::Url;
use weir_entra::clock::{Clock, Sleep};
use weir_entra::cloud::Cloud;
use weir_entra::credential::{
    Assigned, Certificate, Credential, ManagedIdentity, Registration, Secret,
};
use weir_entra::decode::{
    Malformed, audits, conditional_access, credentials, defaults, deleted, domains, groups,
    locations, methods, organisation, registrations, roles, sign_ins, users,
};
use weir_entra::graph::{Ask, At, Call, Failure, Graph, Kind, Priority};
use weir_entra::health::{Finding, Reason};
use weir_entra::model::{Id, Item, Next, Page, Part, Text, Told};
use weir_entra::network::Network;
use weir_entra::token::Tokens;
use weir_lab_entra::Entra;
use weir_lab_entra::faults::{Act, Fault};
use weir_lab_entra::world::Expired;
use weir_lab_entra::world::populate::{APP, MACHINE_APP, SECRET, TENANT};

/// The lab's own clock, which goes on at once when somebody sleeps by it.
struct LabClock {
    lab: Arc<Entra>,
    start: OffsetDateTime,
}

impl std::fmt::Debug for LabClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LabClock")
    }
}

impl Clock for LabClock {
    fn now(&self) -> OffsetDateTime {
        self.lab.world().clock.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(self.now() - self.start).expect("it only goes forward")
    }

    fn chance(&self) -> f64 {
        0.9
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        Box::pin(async move {
            let time = time::Duration::try_from(time).expect("short");
            self.lab.world().clock.advance(time);
        })
    }
}

struct Client {
    lab: Arc<Entra>,
    graph: Graph,
}

impl Client {
    async fn start() -> Self {
        let lab = Arc::new(Entra::start().await);
        let secret = Secret::new(SECRET.as_bytes(), None).expect("a secret");
        Self::of(lab, Credential::Secret(secret), APP)
    }

    fn of(lab: Arc<Entra>, credential: Credential, client: Id) -> Self {
        let start = {
            let mut world = lab.world();
            let now = world.clock.now();
            world.clock.stop_at(now);
            now
        };
        let clock: Arc<dyn Clock> = Arc::new(LabClock {
            lab: Arc::clone(&lab),
            start,
        });
        let mut network = Network::default();
        network.trust(lab.ca().as_bytes()).expect("an authority");
        let registration = Arc::new(Registration {
            cloud: Cloud::custom(lab.login(), lab.graph()).expect("origins"),
            tenant: TENANT,
            client,
            credential,
        });
        let tokens = Tokens::new(&network, Arc::clone(&clock)).expect("a client");
        let graph = Graph::new(registration, Arc::new(tokens), &network, clock);
        Self {
            lab,
            graph: graph.expect("a client"),
        }
    }

    async fn one<T>(
        &self,
        ask: &Ask,
        decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, Failure> {
        let answer = self.graph.get(&Call::start(ask), decode).await;
        answer.map(|answer| answer.said)
    }

    /// All pages from somewhere on, and the link to what comes after.
    async fn walk<T>(
        &self,
        ask: &Ask,
        from: Option<&str>,
        decode: impl Fn(&[u8]) -> Result<Page<T>, Malformed>,
    ) -> Result<(Vec<T>, Option<String>), Failure> {
        let mut call = Call::at(ask, from.map_or(At::Start, At::Delta));
        let mut all = Vec::new();
        let mut link;
        loop {
            let page = self.graph.get(&call, &decode).await?.said;
            all.extend(page.items);
            match page.next {
                Next::More(next) => link = next,
                Next::Done(delta) => return Ok((all, delta)),
            }
            call = Call::at(ask, At::Next(&link));
        }
    }

    async fn list<T>(
        &self,
        ask: &Ask,
        decode: impl Fn(&[u8]) -> Result<Page<T>, Malformed>,
    ) -> Vec<T> {
        let all = self.walk(ask, None, decode).await;
        all.unwrap_or_else(|failure| panic!("{ask:?}: {failure}")).0
    }
}

#[tokio::test]
async fn each_credential_signs_in_and_proves_the_tenant() {
    let lab = Arc::new(Entra::start().await);
    let secret = Secret::new(SECRET.as_bytes(), None).expect("a secret");
    let parts = Certificate::from_parts(lab.certificate().as_bytes(), lab.key().as_bytes());
    let machine = format!("{}/metadata/identity/oauth2/token", lab.machine());
    let machine = Url::parse(&machine).expect("an address");
    let machine = ManagedIdentity::at(machine, Assigned::Client(MACHINE_APP));
    let credentials = [
        (Credential::Secret(secret), APP),
        (
            Credential::Certificate(parts.expect("they belong together")),
            APP,
        ),
        (Credential::ManagedIdentity(machine), MACHINE_APP),
    ];
    for (credential, client) in credentials {
        let kind = credential.kind();
        let client = Client::of(Arc::clone(&lab), credential, client);
        let proof = client.graph.prove(&Part::ALL, false).await;
        let proof = proof.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(proof.organisation.id, TENANT);
        assert!(proof.missing.is_empty(), "{kind}: {:?}", proof.missing);
        assert!(proof.too_much.is_empty(), "{kind}: {:?}", proof.too_much);
    }
}

#[tokio::test]
async fn every_question_has_an_answer() {
    let client = Client::start().await;
    let long_ago = OffsetDateTime::now_utc() - time::Duration::days(20);
    let people = client.list(&Ask::Users, users::list).await;
    let teams = client.list(&Ask::Groups, groups::list).await;
    assert!(people.len() > 3 && teams.len() > 3);
    client.list(&Ask::DeletedUsers, deleted).await;
    // That takes more than reading groups does.
    let denied = client.one(&Ask::DeletedGroups, deleted).await;
    let denied = denied.expect_err("nobody consented to it");
    assert_eq!(denied.kind, Kind::NotPermitted);
    assert!(
        !client
            .list(&Ask::RoleDefinitions, roles::definitions)
            .await
            .is_empty()
    );
    assert!(
        !client
            .list(&Ask::RoleAssignments, roles::assignments)
            .await
            .is_empty()
    );
    client
        .list(&Ask::RoleAssignmentSchedules, roles::assignments)
        .await;
    assert!(
        !client
            .list(&Ask::RoleEligibilitySchedules, roles::eligibilities)
            .await
            .is_empty()
    );
    assert!(
        !client
            .list(&Ask::ConditionalAccess, conditional_access::decode)
            .await
            .is_empty()
    );
    assert!(
        !client
            .list(&Ask::Locations, locations::decode)
            .await
            .is_empty()
    );
    let methods = client
        .one(&Ask::Methods, methods::decode)
        .await
        .expect("a policy");
    assert!(!methods.methods.is_empty());
    client
        .one(&Ask::SecurityDefaults, defaults::decode)
        .await
        .expect("a policy");
    let organisation = client.one(&Ask::Organisation, organisation::decode).await;
    assert_eq!(organisation.expect("one").id, TENANT);
    let all = client.list(&Ask::Domains, domains::decode).await;
    for domain in all {
        let federation = client
            .one(&Ask::Federation(domain.id.clone()), domains::federation)
            .await;
        let federation = federation.unwrap_or_else(|failure| panic!("{}: {failure}", domain.id));
        let is_federated = domain.authentication_type == "Federated";
        assert_eq!(federation.is_some(), is_federated, "{}", domain.id);
    }
    let applications = client
        .list(&Ask::Credentials(APP), credentials::decode)
        .await;
    let secret = Secret::new(SECRET.as_bytes(), None).expect("a secret");
    assert_eq!(
        applications[0].password_credentials[0].hint,
        Some(secret.hint())
    );
    let own = Certificate::from_parts(
        client.lab.certificate().as_bytes(),
        client.lab.key().as_bytes(),
    );
    let known = applications[0].key_credentials[0]
        .custom_key_identifier
        .as_deref();
    assert!(
        own.expect("a certificate")
            .is_named(known.expect("it is named"))
    );
    client
        .list(&Ask::Registrations, registrations::decode)
        .await;
    client.list(&Ask::SignIns(long_ago), sign_ins::decode).await;
    client.list(&Ask::Audits(long_ago), audits::decode).await;
    // By all of that no limit was overrun.
    let throttled = client
        .lab
        .seen()
        .into_iter()
        .filter(|seen| seen.status == 429);
    assert_eq!(throttled.count(), 0);
}

#[tokio::test]
async fn changes_are_told_from_link_to_link() {
    let client = Client::start().await;
    let (before, link) = client
        .walk(&Ask::UserChanges, None, users::changes)
        .await
        .expect("all");
    assert!(before.len() > 3);
    let link = link.expect("a link to changes");
    let (new, gone) = client.lab.edit(|tenant| {
        let new = tenant.user("new@fabrik.example", "Nina Neu");
        let gone = tenant.user("gone@fabrik.example", "Gert Gone");
        tenant.delete(gone).expect("deleted");
        tenant
            .set(new, "accountEnabled", &false.into())
            .expect("set");
        (new, gone)
    });
    let (after, next) = client
        .walk(&Ask::UserChanges, Some(&link), users::changes)
        .await
        .expect("all");
    assert!(next.is_some_and(|next| next != link));
    let nina = after.iter().rev().find_map(|item| match item {
        Item::Live(id, patch) if *id == new => Some(patch),
        _ => None,
    });
    let nina = nina.expect("she is told of");
    assert_eq!(nina.enabled, Told::Is(false));
    assert_eq!(
        nina.texts[&Text::Upn].as_deref(),
        Some("new@fabrik.example")
    );
    assert!(after.contains(&Item::Gone(gone)));

    let (groups, link) = client
        .walk(&Ask::GroupChanges, None, groups::changes)
        .await
        .expect("all");
    assert!(
        groups
            .iter()
            .any(|item| matches!(item, Item::Live(_, patch) if !patch.members.is_empty()))
    );
    let team = client.lab.edit(|tenant| {
        let team = tenant.group("sg-new");
        tenant.join(team, new).expect("joined");
        team
    });
    let link = link.expect("a link to changes");
    let (after, _) = client
        .walk(&Ask::GroupChanges, Some(&link), groups::changes)
        .await
        .expect("all");
    let joined = after.iter().any(|item| match item {
        Item::Live(id, patch) => {
            *id == team
                && patch
                    .members
                    .iter()
                    .any(|edge| edge.member == new && edge.is_member)
        }
        _ => false,
    });
    assert!(joined, "{after:?}");
    // Both ways of asking agree.
    let check = Ask::CheckMemberGroups(new, vec![team, Id::nil()]);
    assert_eq!(
        client
            .one(&check, groups::checked)
            .await
            .expect("an answer"),
        [team]
    );
    let asks = [Ask::Members(team), Ask::Members(Id::from_u128(1))];
    let batch = client
        .graph
        .batch(&asks, Priority::Low, Duration::from_mins(1), |_, body| {
            groups::members(body)
        })
        .await;
    let members = batch[0].as_ref().expect("an answer");
    assert_eq!(members.said.items[0].member, new);
    assert_eq!(
        batch[1].as_ref().expect_err("no such group").kind,
        Kind::Missing
    );
}

#[tokio::test]
async fn a_link_that_expired_says_so_in_every_way() {
    for expired in [
        Expired::BadRequest,
        Expired::BadRequestCapital,
        Expired::NotFound,
        Expired::Gone,
    ] {
        let client = Client::start().await;
        client.lab.world().quirks.expired = expired;
        let now = client
            .walk(&Ask::UserChangesFromNow, None, users::changes)
            .await;
        let link = now.expect("only a link").1.expect("a link to changes");
        client.lab.world().clock.advance(time::Duration::days(8));
        let failure = client
            .walk(&Ask::UserChanges, Some(&link), users::changes)
            .await;
        assert_eq!(
            failure.expect_err("it expired").kind,
            Kind::Resync,
            "{expired:?}"
        );
    }
}

#[tokio::test]
async fn no_token_goes_where_a_false_link_leads() {
    let client = Client::start().await;
    let origin = client.lab.elsewhere().to_owned();
    client.lab.fault(Fault::graph(
        "/v1.0/users/delta*",
        Act::Links {
            origin: origin.clone(),
        },
    ));
    let failure = match client.walk(&Ask::UserChanges, None, users::changes).await {
        Err(failure) => failure,
        Ok((_, link)) => {
            let link = link.expect("a link");
            let walked = client
                .walk(&Ask::UserChanges, Some(&link), users::changes)
                .await;
            walked.expect_err("it leads away")
        }
    };
    assert!(matches!(failure.kind, Kind::Foreign(_)), "{failure}");
    let host = origin.trim_start_matches("https://");
    assert!(client.lab.seen().iter().all(|seen| seen.host != host));
}

#[tokio::test]
async fn what_goes_wrong_for_once_goes_right_again() {
    let client = Client::start().await;
    let once = [
        Act::Cut { bytes: 50 },
        Act::Truncate { bytes: 50 },
        Act::WrongLength,
        Act::Html { status: 502 },
        Act::Gzip,
        Act::Drip {
            bytes: 512,
            milliseconds: 1,
        },
        Act::Graph {
            status: 429,
            code: "TooManyRequests".to_owned(),
            message: "No.".to_owned(),
            headers: vec![("Retry-After".to_owned(), "2.5".to_owned())],
        },
        Act::Graph {
            status: 401,
            code: "InvalidAuthenticationToken".to_owned(),
            message: "Access token has expired or is not yet valid.".to_owned(),
            headers: Vec::new(),
        },
    ];
    let expected = client.list(&Ask::Users, users::list).await;
    for act in once {
        client.lab.world().faults.clear();
        client
            .lab
            .fault(Fault::graph("/v1.0/users*", act.clone()).times(1));
        let read = client.list(&Ask::Users, users::list).await;
        assert_eq!(read, expected, "{act:?}");
    }
    client.lab.fault(
        Fault::graph(
            "/v1.0/users*",
            Act::Redirect {
                location: client.lab.elsewhere().to_owned(),
            },
        )
        .times(1),
    );
    client
        .one(&Ask::Users, users::list)
        .await
        .expect_err("it leads away");
}

#[tokio::test]
async fn refusals_of_the_sign_in_name_their_reasons() {
    let cases = [
        (7_000_222, Reason::SecretExpired),
        (7_000_215, Reason::SecretWrong),
        (700_016, Reason::AppNotFound),
        (53003, Reason::Blocked),
        (90002, Reason::TenantNotFound),
    ];
    let client = Client::start().await;
    let registration = client.graph.registration();
    for (code, reason) in cases {
        client.lab.world().faults.clear();
        client.lab.fault(Fault::token(Act::Aadsts { code }));
        client.graph.tokens().forget(registration);
        let failure = client
            .one(&Ask::Users, users::list)
            .await
            .expect_err("no token");
        let finding = Finding::of_failure(&failure, registration);
        assert_eq!(finding.reason, reason, "{code}: {finding}");
        assert_eq!(finding.code, Some(format!("AADSTS{code}")));
    }
    client.lab.world().faults.clear();
    client.graph.tokens().forget(registration);
    client
        .one(&Ask::Users, users::list)
        .await
        .expect("all is well again");

    // Asked in another tenant's name, another tenant answers.
    let other = Id::from_u128(0x7d3c_1a52_9f0e_4f5b_8c3d_2b6a_1e0f_ffff);
    client
        .lab
        .fault(Fault::graph("/v1.0/organization*", Act::Tenant { id: other }).times(1));
    let organisation = client.one(&Ask::Organisation, organisation::decode).await;
    assert_eq!(organisation.expect("one").id, other);
    client
        .lab
        .fault(Fault::graph("/v1.0/organization*", Act::Tenant { id: other }).times(1));
    client
        .graph
        .prove(&[Part::Users], false)
        .await
        .expect_err("it is another one");
}

#[tokio::test]
async fn the_tenants_limits_are_kept() {
    let client = Client::start().await;
    for _ in 0..12 {
        client
            .list(&Ask::ConditionalAccess, conditional_access::decode)
            .await;
        client.list(&Ask::Locations, locations::decode).await;
        client
            .list(&Ask::Registrations, registrations::decode)
            .await;
    }
    let seen = client.lab.seen();
    assert!(seen.len() > 36);
    assert!(seen.iter().all(|seen| seen.status == 200), "{seen:?}");
}
