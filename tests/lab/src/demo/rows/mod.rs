//! The rows of the demonstration, house by house. What is expected is written by hand from the default policy: no word of
//! it is read from the appliance.
//!
//! A house is a configuration: a rule set and its settings. Each rule set has the complete table once; a house that
//! differs from another in one setting has the rows that this setting decides.

mod claims;
mod kinds;
mod matrix;
mod requests;
mod settings;
mod sign_ins;

use weir_lab_servers::plan::{Plan, User};

use super::row::{Act, Decider, PORTS, Row, Verdict};
use crate::settings::{Hook, OFFICE365, STRICT, Settings};
use crate::sources::{Class, Family};

pub(super) use claims::entra;
pub use kinds::BROWSER;
pub use requests::passive;

/// A configuration, and the rows that are done under it.
#[derive(Debug)]
pub struct House {
    /// Its name, the first part of its rows' names.
    pub name: &'static str,
    /// The configuration.
    pub settings: Settings,
    /// Its rows, in the order in which they are done.
    pub rows: Vec<Row>,
}

/// Every house, in order.
pub fn all(plan: &Plan) -> Vec<House> {
    let mut houses = vec![
        house(plan, "strict", Settings::of(STRICT), |rows| {
            rows.complete();
            rows.outlook(RELAY_ONLY);
            rows.logon_blocked();
            rows.more_requests();
            rows.msal();
            rows.chromium();
        }),
        house(plan, "office365", Settings::of(OFFICE365), |rows| {
            rows.complete();
            rows.outlook(PASS);
            rows.logon_blocked();
        }),
        house(
            plan,
            "strict-pass",
            Settings {
                outlook: Some("pass"),
                windows_logon: Some("pass"),
                directory: true,
                ..Settings::of(STRICT)
            },
            |rows| {
                rows.outlook(PASS);
                rows.logon_by_directory();
                rows.logon_too_often();
            },
        ),
        house(
            plan,
            "strict-block",
            Settings {
                outlook: Some("block"),
                windows_logon: Some("pass"),
                ..Settings::of(STRICT)
            },
            |rows| {
                rows.outlook(BLOCK);
                rows.logon_without_directory();
            },
        ),
        house(
            plan,
            "office365-relay",
            Settings {
                outlook: Some("relay-only"),
                windows_logon: Some("pass"),
                directory: true,
                ..Settings::of(OFFICE365)
            },
            |rows| {
                rows.outlook(RELAY_ONLY);
                rows.logon_by_directory();
            },
        ),
        house(
            plan,
            "office365-block",
            Settings {
                outlook: Some("block"),
                windows_logon: Some("pass"),
                ..Settings::of(OFFICE365)
            },
            |rows| {
                rows.outlook(BLOCK);
                rows.logon_without_directory();
            },
        ),
    ];
    houses.extend(claims::houses(plan));
    houses
}

use matrix::{BLOCK, PASS, RELAY_ONLY};

fn house(
    plan: &Plan,
    name: &'static str,
    settings: Settings,
    fill: impl FnOnce(&mut Rows<'_>),
) -> House {
    let mut rows = Rows {
        plan,
        house: name,
        set: settings.rules,
        pushed: Vec::new(),
    };
    fill(&mut rows);
    House {
        name,
        settings,
        rows: rows.pushed,
    }
}

impl House {
    /// Makes the rows expect that the kernel plane decides at this hook.
    pub fn under(&mut self, hook: Hook) {
        for row in &mut self.rows {
            for decider in &mut row.expected.by {
                decider.under(hook);
            }
        }
    }
}

struct Rows<'a> {
    plan: &'a Plan,
    house: &'static str,
    set: &'static str,
    pushed: Vec<Row>,
}

impl Rows<'_> {
    /// What managed sources get at a service: `sts` is forwarded in the kernel, `adfs` goes through the proxy.
    fn managed(&self, service: &str, rule: &str) -> Vec<Decider> {
        if service == "sts" {
            vec![Decider::forward()]
        } else {
            vec![self.pass(rule)]
        }
    }

    fn pass(&self, rule: &str) -> Decider {
        Decider::pass(&format!("{}/{rule}", self.set))
    }

    fn block(&self, rule: &str) -> Decider {
        Decider::block(&format!("{}/{rule}", self.set))
    }

    fn redirect(&self, rule: &str) -> Decider {
        Decider::redirect(&format!("{}/{rule}", self.set))
    }

    /// A user whose domain is federated with `service`.
    fn user(&self, service: &'static str) -> User {
        self.users(service)
            .next()
            .expect("the plan federates every service")
    }

    /// All of them; the directory holds the first.
    fn users(&self, service: &'static str) -> impl Iterator<Item = User> {
        let of = move |user: &&User| {
            self.plan
                .domains
                .iter()
                .any(|domain| domain.service == service && domain.name == user.domain())
        };
        self.plan.users.iter().filter(of).cloned()
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
        mut act: Act,
    ) -> &mut Row {
        // A request that nobody answers tells its port only when it is told which to take.
        let mut port = None;
        if class == Class::Blocked
            && let Act::Curl(call) = &mut act
        {
            let taken = self.pushed.iter().filter(|row| row.port.is_some()).count();
            let own = PORTS.start + u16::try_from(taken).expect("a house has fewer rows");
            call.options
                .extend(["--local-port".to_owned(), own.to_string()]);
            port = Some(own);
        }
        self.pushed.push(Row {
            name: format!(
                "{}/{client}/{name}/{service}/{}/{}",
                self.house,
                class.name(),
                u8::from(family)
            )
            .to_lowercase(),
            class,
            taken_for: class,
            family,
            service,
            client,
            what: what.to_owned(),
            act,
            expected: Verdict::new("", Vec::new()),
            flows: &[],
            port,
            turns: Vec::new(),
        });
        self.pushed.last_mut().expect("it was pushed just now")
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
