//! Rules on groups that a tenant's directory knows: who is in them is Entra's word, by whatever the token names somebody.

use weir_lab_servers::plan::{Plan, Product};

use super::door::Door;
use super::{ALICE, BOB, CAROL, DAVE, GRACE, House, PAGE, Rows, house};
use crate::demo::row::{Act, Decider};
use crate::demo::walk::Walk;
use crate::settings::{STRICT, Settings, Tenant, Tokens};
use crate::sources::{Class, Family};

const ERIN: &str = "erin@mex-adfs.corp.example";
const FRANK: &str = "frank@mex-adfs.corp.example";

/// Engineers, by the group's id: a sign-in opens the kernel's path, or only passes. The shift is a group of groups that
/// contain each other, by name. A project, of a person who is in more groups than a token holds. The night desk, by id.
/// Where much is given, the account must not be disabled. From managed devices contractors are shut out, by id.
const RULES: &str = r#"
[[rule]]
name = "engineers-path"
when = { service = "sts", class = "unmanaged", flow = "passive", group = "91df9a8e-8982-259c-ef0f-3ebadee81520", attribute = { enabled = "true" } }
then = { decision = "pass", grant = { class = "managed", for = "30m", kernel = true } }

[[rule]]
name = "engineers"
when = { service = "adfs", class = "unmanaged", flow = "passive", group = "91df9a8e-8982-259c-ef0f-3ebadee81520" }
then = { decision = "pass" }

[[rule]]
name = "shift"
when = { service = "adfs", class = "unmanaged", flow = "passive", group = "sg-lab-shift" }
then = { decision = "pass" }

[[rule]]
name = "project"
when = { service = "adfs", class = "unmanaged", flow = "passive", group = "project-007" }
then = { decision = "pass" }

[[rule]]
name = "night-desk"
when = { service = "adfs", class = "unmanaged", flow = "passive", group = "6cc43bad-95b5-2c30-1ed7-f9cbd57e79c5", attribute = { enabled = "true" } }
then = { decision = "pass" }

[[rule]]
name = "elsewhere"
when = { class = "unmanaged", flow = "passive" }
then = { decision = "redirect" }

[[rule]]
name = "contractors"
when = { service = "adfs", class = "managed", flow = "passive", group = "f04ee782-287c-c0c7-ced7-3b507481fcaf" }
then = { decision = "block", reason = "Contractors sign in at their own company." }
"#;

/// The rows, which the scenes of the demonstration do when it is their time.
pub(in crate::demo) fn entra(plan: &Plan) -> House {
    let settings = Settings {
        tokens: Some(Tokens {
            product: Product::Adfs,
            about: "rules about groups",
            rules: RULES,
            portal: false,
        }),
        tenant: Some(Tenant::USUAL),
        ..Settings::of(STRICT)
    };
    house(plan, "entra", settings, |rows| {
        rows.joined();
        rows.in_trouble();
        rows.granted_by_group();
        rows.purged();
    })
}

impl Rows<'_> {
    /// Everybody's rule, by how they are joined to the directory.
    fn joined(&mut self) {
        for (name, who, rule) in [
            ("by-immutable-id", ALICE, Some("engineers")),
            ("by-upn", BOB, Some("shift")),
            ("overage", GRACE, Some("project")),
            ("by-immutable-id", ERIN, Some("night-desk")),
            ("name-given-again", CAROL, None),
            ("in-no-group", DAVE, None),
        ] {
            self.elsewhere(name, who, rule);
        }
        self.managed_device("no-contractor", ERIN, true);
        self.managed_device("contractor", DAVE, false);
    }

    /// The same decisions while rounds go wrong and are held.
    fn in_trouble(&mut self) {
        self.elsewhere("throttled", ALICE, Some("engineers"));
        self.elsewhere("broken", ALICE, Some("engineers"));
        self.elsewhere("held", ERIN, Some("night-desk"));
        self.elsewhere("held-disabled", FRANK, None);
    }

    /// A sign-in earns the kernel's path while Entra has the group so.
    fn granted_by_group(&mut self) {
        for (name, what) in [
            ("earned", "an engineer"),
            ("again", "an engineer again"),
            ("last", "enabled again"),
        ] {
            let visit = self.visit_of(ALICE, "sts");
            let (class, family) = (Class::Unmanaged, Family::V6);
            let act = Act::Chromium(visit);
            let row = self.push(name, "chromium", what, "sts", class, family, act);
            row.flows = &["passive"];
            row.expect("signed in", vec![Decider::pass("rule/engineers-path")]);
        }
        for (name, what) in [("left", "no engineer any more"), ("disabled", "disabled")] {
            let start = self.visit_of(ALICE, "sts").start;
            let user = self.person(ALICE);
            let walk = Walk {
                start,
                user,
                twice: false,
            };
            let (class, family) = (Class::Unmanaged, Family::V6);
            let act = Act::Walk(Box::new(walk));
            let by = vec![
                Decider::pass("rule/engineers-path"),
                Decider::redirect("rule/elsewhere"),
            ];
            self.push(name, "curl", what, "sts", class, family, act)
                .expect("signed in, reverse proxy", by);
        }
    }

    /// After a disconnection, with the data kept, and destroyed: nobody knows who is no contractor.
    fn purged(&mut self) {
        self.elsewhere("data-kept", ALICE, Some("engineers"));
        self.elsewhere("data-purged", ALICE, None);
        self.managed_device("purged", ERIN, false);
    }

    fn elsewhere(&mut self, name: &str, who: &str, rule: Option<&str>) {
        let first = Decider::pass("rule/engineers");
        let (outcome, last) = match rule {
            Some(rule) => ("signed in", Decider::pass(&format!("rule/{rule}"))),
            None => (
                "signed in, reverse proxy",
                Decider::redirect("rule/elsewhere"),
            ),
        };
        let mut by = vec![first];
        if !by.contains(&last) {
            by.push(last);
        }
        let service = self.product(Product::Adfs);
        let start = self.start(&service, Door::WsFed, "");
        self.walk(name, "sign-in", who, Class::Unmanaged, start)
            .expect(outcome, by);
    }

    fn managed_device(&mut self, name: &str, who: &str, passes: bool) {
        let (outcome, last) = if passes {
            ("signed in", self.pass("browser-managed"))
        } else {
            (PAGE, Decider::block("rule/contractors"))
        };
        let service = self.product(Product::Adfs);
        let start = self.start(&service, Door::WsFed, "");
        self.walk(name, "sign-in", who, Class::Managed, start)
            .expect(outcome, vec![Decider::pass("rule/contractors"), last]);
    }
}

#[cfg(test)]
mod tests {
    use weir_lab_servers::people::id_of;

    use super::*;

    #[test]
    fn rules_name_the_groups_by_the_ids_that_these_have() {
        for group in ["engineers", "contractors", "night-desk"] {
            assert!(RULES.contains(&id_of(group).to_string()), "{group}");
        }
        let house = entra(&Plan::new("/lab"));
        assert!(house.rows.iter().all(|row| !row.expected.by.is_empty()));
        let own = |row: &crate::demo::row::Row| ["adfs", "sts"].contains(&row.service);
        assert!(house.rows.iter().all(own));
    }
}
