//! The rows of the demonstration. What is expected is written by hand from the default policy: no word of it is read
//! from the appliance.

mod requests;
mod sign_ins;

use weir_lab_servers::plan::{Plan, User};

use super::row::{Act, Decider, Row, Verdict};
use crate::sources::{Class, Family};

/// The rule set that the lab's services are configured with.
pub const SET: &str = "office365-strict";

/// Every row, in the order in which they are done.
pub fn all(plan: &Plan) -> Vec<Row> {
    let mut rows = Rows {
        plan,
        rows: Vec::new(),
    };
    rows.pages();
    rows.oauth();
    rows.native_requests();
    rows.relayed();
    rows.tunnel();
    rows.not_for_the_proxy();
    rows.msal();
    rows.chromium();
    rows.rows
}

struct Rows<'a> {
    plan: &'a Plan,
    rows: Vec<Row>,
}

/// What managed sources get at a service: `sts` is forwarded in the kernel, `adfs` goes through the proxy.
fn managed(service: &str, rule: &str) -> Vec<Decider> {
    if service == "sts" {
        vec![Decider::forward()]
    } else {
        vec![pass(rule)]
    }
}

fn pass(rule: &str) -> Decider {
    Decider::pass(&format!("{SET}/{rule}"))
}

fn block(rule: &str) -> Decider {
    Decider::block(&format!("{SET}/{rule}"))
}

fn redirect(rule: &str) -> Decider {
    Decider::redirect(&format!("{SET}/{rule}"))
}

impl Rows<'_> {
    /// A user whose domain is federated with `service`.
    fn user(&self, service: &str) -> User {
        let of = |user: &&User| {
            self.plan
                .domains
                .iter()
                .any(|domain| domain.service == service && domain.name == user.domain())
        };
        self.plan
            .users
            .iter()
            .find(of)
            .expect("the plan federates every service")
            .clone()
    }

    #[expect(clippy::too_many_arguments, reason = "a row has that many columns")]
    fn push(
        &mut self,
        name: &str,
        client: &'static str,
        what: &str,
        service: &'static str,
        class: Class,
        family: Family,
        act: Act,
    ) -> &mut Row {
        self.rows.push(Row {
            name: format!(
                "{client}/{name}/{service}/{}/{}",
                class.name(),
                u8::from(family)
            )
            .to_lowercase(),
            class,
            family,
            service,
            client,
            what: what.to_owned(),
            act,
            expected: Verdict::new("", Vec::new()),
            flows: &[],
        });
        self.rows.last_mut().expect("it was pushed just now")
    }
}

impl Row {
    fn expect(&mut self, outcome: &str, by: Vec<Decider>) {
        self.expected = Verdict::new(outcome, by);
    }
}

fn url(service: &str, path: &str) -> String {
    format!("https://{service}.corp.example{path}")
}

/// A WS-Federation sign-in as Microsoft 365 asks for it, with a context that must arrive unchanged.
pub fn passive(service: &str) -> String {
    url(
        service,
        "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=LoginOptions%3D3%26estsredirect%3d2",
    )
}
