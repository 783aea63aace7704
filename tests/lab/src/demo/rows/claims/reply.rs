//! Tokens that are judged where they arrive: Weir stands in front of a relying party, and serves its reply URLs.

use weir_lab_servers::plan::{Plan, Product};

use super::door::Door;
use super::{CAROL, DAVE, House, PAGE, Rows, SERVICE};
use crate::demo::row::{Act, Decider, Row};
use crate::settings::{STRICT, Settings, Tokens};
use crate::sources::Class;

/// At the portal contractors are shut out. Whoever else brings a token that is believed is one of the staff.
const RULES: &str = r#"
[[rule]]
name = "portal-contractors"
when = { service = "portal", flow = "passive", group = "contractors" }
then = { decision = "block", reason = "The portal is for staff." }

[[rule]]
name = "portal-staff"
when = { service = "portal", flow = "passive", class = "managed" }
then = { decision = "pass" }
"#;

pub(super) fn house(plan: &Plan) -> House {
    let settings = Settings {
        tokens: Some(Tokens {
            product: Product::Adfs,
            about: "a relying party behind Weir",
            rules: RULES,
            portal: true,
        }),
        ..Settings::of(STRICT)
    };
    super::house(plan, "reply-endpoint", settings, |rows| {
        rows.posted();
        rows.not_believed();
    })
}

const PASS: &str = "rule/portal-staff";

impl Rows<'_> {
    fn posted(&mut self) {
        for (door, path) in DOORS {
            let signs_in = self.pass("browser-managed");
            let passes = vec![signs_in.clone(), Decider::pass(PASS)];
            let blocked = vec![signs_in, Decider::block("rule/portal-contractors")];
            let (name, start) = (door.name(), self.portal(path, ""));
            self.sign_in_to_portal(name, door.what(), CAROL, start.clone(), passes, "signed in");
            self.sign_in_to_portal(name, door.what(), DAVE, start, blocked, PAGE);
        }
        let by = vec![
            self.pass("browser-managed"),
            Decider::pass(PASS),
            self.block("unbelieved-token"),
        ];
        let (name, start) = ("replayed", self.portal("", ""));
        let row = self.sign_in_to_portal(name, "token posted twice", CAROL, start, by, PAGE);
        if let Act::Walk(walk) = &mut row.act {
            walk.twice = true;
        }
    }

    /// The relying party would refuse them, too; they do not get there.
    fn not_believed(&mut self) {
        for (door, path) in DOORS {
            for twist in ["unsigned", "foreign", "expired", "audience", "encrypted"] {
                let by = vec![self.pass("browser-managed"), self.block("unbelieved-token")];
                let name = format!("{}-{twist}", door.name());
                let what = format!("{}, {twist}", door.what());
                let start = self.portal(path, &format!("lab_twist={twist}"));
                self.sign_in_to_portal(&name, &what, CAROL, start, by, PAGE);
            }
        }
    }

    /// Where a sign-in to the portal begins, with more parameters.
    fn portal(&self, path: &str, more: &str) -> String {
        let host = &self.plan.cloud.portal.host;
        format!("https://{host}{path}/{SERVICE}?{more}")
    }

    fn sign_in_to_portal(
        &mut self,
        name: &str,
        what: &str,
        who: &str,
        start: String,
        by: Vec<Decider>,
        outcome: &str,
    ) -> &mut Row {
        let what = format!("portal, {what}");
        let row = self.walk(name, &what, who, Class::Managed, start);
        row.expect(outcome, by);
        row.flows = &["passive"];
        row
    }
}

/// Ways to sign in to the portal, and where its pages begin them.
const DOORS: [(Door, &str); 2] = [(Door::WsFed, ""), (Door::Saml, "/saml")];
