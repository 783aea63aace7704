//! Sign-ins out of the ordinary: too many groups, second factors, tokens that nobody should believe.

use weir_lab_servers::idp::product::MULTIPLE;
use weir_lab_servers::plan::Product;

use super::door::Door;
use super::{ALICE, BOB, CAROL, DAVE, GRACE, PAGE, Rows, SERVICE, about, named, redirected};
use crate::demo::row::{Act, Decider};
use crate::sources::{Class, Family};

impl Rows<'_> {
    /// Somebody in more groups than a token holds: what is not known opens nothing, and restricts.
    pub(super) fn overage(&mut self) {
        let service = self.product(Product::Adfs);
        for door in Door::BROWSER {
            let elsewhere = format!("{}, reverse proxy", door.passed());
            let shut_out = vec![
                Decider::pass("rule/contractors"),
                Decider::block("rule/contractors"),
            ];
            for (who, class, outcome, by) in [
                (GRACE, Class::Managed, PAGE, shut_out),
                (GRACE, Class::Unmanaged, &elsewhere, redirected()),
            ] {
                let start = self.start(&service, door, "");
                let name = format!("{}-overage", door.name());
                self.walk(&name, door.what(), who, class, start)
                    .expect(outcome, by);
            }
        }
        let start = self.start(&service, Door::WsFed, "");
        let what = "device that is not compliant";
        self.walk("device", what, BOB, Class::Unmanaged, start)
            .expect("signed in, reverse proxy", redirected());
        // An engineer's own would do, if only the token said so.
        let start = self.start(&service, Door::WsFed, "lab_twist=no-device");
        let what = "nothing is said of the device";
        self.walk("no-device", what, ALICE, Class::Unmanaged, start)
            .expect("signed in, reverse proxy", redirected());
    }

    /// Asked for, given, not to be had, and said to be there.
    pub(super) fn second_factor(&mut self) {
        let service = self.product(Product::Adfs);
        let asked = vec![Decider::pass("rule/sales"), Decider::step_up("rule/sales")];
        let already = vec![Decider::pass("rule/sales")];
        let says = format!("wauth={}", encoded(MULTIPLE));
        let class = format!("class={}", encoded(MULTIPLE));
        for (name, what, door, more, who, outcome, by) in [
            (
                "asked",
                "asked for a second factor",
                Door::WsFed,
                "",
                CAROL,
                "signed in, second factor",
                asked.clone(),
            ),
            (
                "not-there",
                "has no second factor",
                Door::WsFed,
                "",
                DAVE,
                "has no second factor",
                asked.clone(),
            ),
            (
                "says-so",
                "says it, and has none",
                Door::WsFed,
                &says,
                DAVE,
                "has no second factor",
                already.clone(),
            ),
            (
                "asks",
                "application asks for it",
                Door::Saml,
                &class,
                CAROL,
                "signed in, second factor",
                already,
            ),
            (
                "asked-by-saml",
                "asked for a second factor by SAML",
                Door::Saml,
                "",
                CAROL,
                "signed in, second factor",
                asked,
            ),
        ] {
            let start = self.start(&service, door, more);
            let name = format!("second-factor-{name}");
            self.walk(&name, what, who, Class::Bypass, start)
                .expect(outcome, by);
        }
    }

    /// Tokens that nobody should believe: they open nothing, they restrict where a rule asks, and hurt nobody else.
    pub(super) fn twisted(&mut self) {
        let service = self.product(Product::Adfs);
        for (twist, door, unmanaged, web) in [
            ("unsigned", Door::WsFed, REFUSED_THERE, REFUSED),
            ("foreign", Door::WsFed, REFUSED_THERE, REFUSED),
            ("expired", Door::WsFed, REFUSED_THERE, REFUSED),
            ("audience", Door::WsFed, REFUSED_THERE, REFUSED),
            ("wrapped", Door::WsFed, REFUSED_THERE, REFUSED),
            ("doubled", Door::WsFed, REFUSED_THERE, REFUSED),
            ("encrypted", Door::WsFed, REFUSED_THERE, REFUSED),
            ("unsigned", Door::Saml, REFUSED_THERE, REFUSED),
            ("wrapped", Door::Saml, REFUSED_THERE, REFUSED),
            ("doubled", Door::Saml, REFUSED_THERE, REFUSED),
            ("encrypted", Door::Saml, REFUSED_THERE, REFUSED),
            ("artifact", Door::Saml, PAGE, REFUSED),
            ("unsigned", Door::OAuth, THERE, "id_token"),
            ("foreign", Door::OAuth, THERE, "id_token"),
            ("audience", Door::OAuth, THERE, "id_token"),
        ] {
            let block = Decider::block("rule/elsewhere");
            let opens_nothing = match unmanaged {
                PAGE => vec![Decider::pass("rule/engineers"), block],
                _ => redirected(),
            };
            let restricts = vec![
                Decider::pass("rule/contractors"),
                Decider::block("rule/contractors"),
            ];
            let nobody_asks = vec![self.pass("browser-bypass")];
            for (who, class, outcome, by) in [
                (ALICE, Class::Unmanaged, unmanaged, opens_nothing),
                (CAROL, Class::Managed, PAGE, restricts),
                (CAROL, Class::Web, web, nobody_asks),
            ] {
                let start = self.start(&service, door, &format!("lab_twist={twist}"));
                let name = format!("{}-{twist}", door.name());
                let what = format!("{}, {twist}", door.what());
                self.walk(&name, &what, who, class, start)
                    .expect(outcome, by);
            }
        }
        // Good tokens, where no form can be sent elsewhere.
        for twist in ["query", "fragment"] {
            let more = format!("lab_twist={twist}");
            let start = self.start(&service, Door::OAuth, &more);
            let by = vec![
                Decider::pass("rule/engineers"),
                Decider::block("rule/elsewhere"),
            ];
            let name = format!("oauth-{twist}");
            self.walk(&name, "OAuth, no form", CAROL, Class::Unmanaged, start)
                .expect(PAGE, by);
        }
    }

    /// The signature round an assertion is as good as its own, whatever this application thinks of it.
    pub(super) fn signed_around(&mut self) {
        let service = self.product(Product::Adfs);
        let engineer = vec![Decider::pass("rule/engineers")];
        let contractor = vec![
            Decider::pass("rule/contractors"),
            Decider::block("rule/contractors"),
        ];
        for (who, class, outcome, by) in [
            (ALICE, Class::Unmanaged, REFUSED, engineer),
            (CAROL, Class::Unmanaged, REFUSED_THERE, redirected()),
            (DAVE, Class::Managed, PAGE, contractor),
        ] {
            let start = self.start(&service, Door::Saml, "lab_twist=response-signed");
            self.walk(
                "saml-response-signed",
                "SAML, response-signed",
                who,
                class,
                start,
            )
            .expect(outcome, by);
        }
    }

    /// A real browser, at the token.
    pub(super) fn in_chromium(&mut self) {
        for (who, class, outcome, by) in [
            (
                CAROL,
                Class::Managed,
                "signed in",
                vec![
                    Decider::pass("rule/contractors"),
                    self.pass("browser-managed"),
                ],
            ),
            (
                ALICE,
                Class::Unmanaged,
                "signed in",
                vec![Decider::pass("rule/engineers")],
            ),
            (
                CAROL,
                Class::Unmanaged,
                "signed in, token through the reverse proxy",
                redirected(),
            ),
        ] {
            let act = Act::Chromium(self.visit_of(who, SERVICE));
            let (what, name) = (about("sign-in", who), named("sign-in", who));
            let row = self.push(&name, "chromium", &what, SERVICE, class, Family::V4, act);
            row.expect(outcome, by);
            row.flows = &["passive"];
        }
    }
}

const REFUSED: &str = "refused by the application";
const REFUSED_THERE: &str = "refused by the application, reverse proxy";
const THERE: &str = "id_token, reverse proxy";

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
