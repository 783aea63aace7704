//! What lasts longer than a sign-in: keys that change, and grants.

use weir_lab_servers::control::Keys;
use weir_lab_servers::plan::Product;

use super::door::Door;
use super::{ALICE, CAROL, PAGE, Rows, SERVICE, redirected};
use crate::demo::chromium::Visit;
use crate::demo::curl::Call;
use crate::demo::row::{Act, Decider};
use crate::demo::rows::{BROWSER, passive};
use crate::demo::turn::Turn;
use crate::demo::walk::Walk;
use crate::sources::{Class, Family};

/// A verified engineer's address is as good as a managed one for a while.
pub(super) const GRANTING: &str = r#"
[[rule]]
name = "engineers"
when = { class = "unmanaged", flow = "passive", claim = { department = "Engineering" }, device = "compliant" }
then = { decision = "pass", grant = { class = "managed", for = "30m", kernel = true } }

[[rule]]
name = "visitors"
when = { class = "unmanaged", flow = "passive", claim = { department = "Sales" } }
then = { decision = "pass" }
"#;

impl Rows<'_> {
    /// A key that was announced goes by itself; one that nobody knows is held until somebody looks.
    pub(super) fn changed_keys(&mut self) {
        let service = self.product(Product::Adfs);
        let refresh = Turn::Weir(&["keys", "refresh", SERVICE], "");
        let held = Turn::Weir(&["keys", "show"], "held");
        let passes = || vec![Decider::pass("rule/engineers")];
        let restricts = vec![
            Decider::pass("rule/contractors"),
            Decider::block("rule/contractors"),
        ];
        let nobody_asks = vec![self.pass("browser-bypass")];
        let replaced = Turn::Keys(Keys::Replaced);
        for (name, what, turns, who, class, outcome, by) in [
            (
                "rolled",
                "announced key",
                vec![Turn::Keys(Keys::Rolled)],
                ALICE,
                Class::Unmanaged,
                "signed in",
                passes(),
            ),
            (
                "held",
                "all keys replaced",
                vec![replaced, refresh.clone(), held],
                ALICE,
                Class::Unmanaged,
                "signed in, reverse proxy",
                redirected(),
            ),
            (
                "held",
                "all keys replaced",
                vec![],
                CAROL,
                Class::Managed,
                PAGE,
                restricts,
            ),
            (
                "held",
                "all keys replaced",
                vec![],
                CAROL,
                Class::Web,
                "signed in",
                nobody_asks,
            ),
            (
                "approved",
                "keys approved",
                vec![Turn::Approve],
                ALICE,
                Class::Unmanaged,
                "signed in",
                passes(),
            ),
            (
                "back",
                "replaced again",
                vec![Turn::Keys(Keys::First), refresh, Turn::Approve],
                ALICE,
                Class::Unmanaged,
                "signed in",
                passes(),
            ),
        ] {
            let start = self.start(&service, Door::WsFed, "");
            let row = self.walk(name, what, who, class, start);
            row.expect(outcome, by);
            row.turns = turns;
        }
    }

    /// A sign-in opens the kernel's path for its address; who is taken for somebody else closes it, and so does an
    /// administrator.
    pub(super) fn granted(&mut self) {
        let (class, family) = (Class::Unmanaged, Family::V6);
        let forwarded = || vec![Decider::forward()];
        let proxied = || vec![Decider::pass("rule/engineers")];
        let shows = Turn::Weir(&["grants", "--json"], "\"kernel\": true");
        let revoke = Turn::Weir(&["grants", "revoke", "2001:db8:a9::10"], "");
        for (name, what, who, service, turns, outcome, by) in [
            (
                "earned",
                "sign-in",
                Some(ALICE),
                "sts",
                vec![],
                "signed in",
                proxied(),
            ),
            (
                "used",
                "next connection",
                None,
                "sts",
                vec![shows.clone()],
                "200 sign-in form",
                forwarded(),
            ),
            (
                "revoked",
                "after weir grants revoke",
                None,
                "sts",
                vec![revoke],
                "200 sign-in form",
                proxied(),
            ),
            (
                "again",
                "sign-in",
                Some(ALICE),
                "sts",
                vec![],
                "signed in",
                proxied(),
            ),
            (
                "used-again",
                "next connection",
                None,
                "sts",
                vec![shows],
                "200 sign-in form",
                forwarded(),
            ),
            (
                "second",
                "somebody else",
                Some(CAROL),
                "adfs",
                vec![],
                "signed in",
                vec![
                    Decider::pass("rule/engineers"),
                    Decider::pass("rule/visitors"),
                ],
            ),
            (
                "ended",
                "after somebody else",
                None,
                "sts",
                vec![],
                "200 sign-in form",
                proxied(),
            ),
        ] {
            let (client, act) = self.arrival(who, service);
            let row = self.push(name, client, what, service, class, family, act);
            row.flows = &["passive"];
            if by == forwarded() {
                row.taken_for = Class::Managed;
            }
            row.expect(outcome, by);
            row.turns = turns;
        }
    }

    /// Who signs in at a service, or somebody's first request.
    fn arrival(&self, who: Option<&str>, service: &'static str) -> (&'static str, Act) {
        match who {
            // The kernel goes by a sign-in while its connection is open, as a browser keeps it.
            Some(ALICE) => ("chromium", Act::Chromium(self.visit_of(ALICE, service))),
            Some(who) => {
                let Visit { start, .. } = self.visit_of(who, service);
                let user = self.person(who);
                (
                    "curl",
                    Act::Walk(Box::new(Walk {
                        start,
                        user,
                        twice: false,
                    })),
                )
            }
            None => {
                let browser = ["--user-agent", BROWSER];
                (
                    "curl",
                    Act::Curl(Call::get(passive(service)).with(&browser)),
                )
            }
        }
    }
}
