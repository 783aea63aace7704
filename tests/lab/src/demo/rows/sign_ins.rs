//! Whole sign-ins, by msal and Chromium, and a forged token.

use weir_lab_servers::plan::User;

use super::{Rows, url};
use crate::demo::chromium::Visit;
use crate::demo::msal::SignIn;
use crate::demo::row::{Act, Decider, Verdict};
use crate::demo::witness::SERVICES;
use crate::sources::{Class, Family};

impl Rows<'_> {
    /// Rich clients.
    pub(super) fn msal(&mut self) {
        use Class::{Blocked, Bypass, Managed, Unmanaged};
        let users: Vec<(User, &'static str, bool)> = self
            .plan
            .domains
            .iter()
            .filter_map(|domain| {
                let of = |user: &&User| user.domain() == domain.name;
                let user = self.plan.users.iter().find(of)?;
                let service = SERVICES.into_iter().find(|name| *name == domain.service)?;
                Some((user.clone(), service, domain.mex))
            })
            .collect();
        for family in Family::ALL {
            for (user, service, mex) in &users {
                let (what, token) = if *mex {
                    ("realm, MEX, WS-Trust 1.3", "token by WS-Trust 1.3")
                } else {
                    ("realm, WS-Trust 2005", "token by WS-Trust 2005")
                };
                let id = if *mex { "mex" } else { "direct" };
                for class in [Managed, Bypass, Unmanaged, Blocked] {
                    // Once a way is enough, and each to a service of its own: only so the wire tells them apart.
                    let waits = ("sts", true, Family::V4);
                    let waits_too = ("adfs", false, Family::V6);
                    if class == Blocked && ![waits, waits_too].contains(&(*service, *mex, family)) {
                        continue;
                    }
                    let sign_in = SignIn::Password {
                        user: user.upn.clone(),
                        password: user.password.clone(),
                    };
                    let verdict = match class {
                        Managed => Verdict::new(token, self.managed(service, "native-managed")),
                        Bypass => Verdict::new(token, vec![self.pass("native-bypass")]),
                        Blocked => Verdict::new("no answer", vec![Decider::drop()]),
                        _ if *mex => {
                            Verdict::new("403 at MEX", vec![self.block("native-unmanaged")])
                        }
                        _ => {
                            Verdict::new("blocked, explained", vec![self.block("native-unmanaged")])
                        }
                    };
                    self.push(id, "msal", what, service, class, family, Act::Msal(sign_in))
                        .expected = verdict;
                }
            }
        }
        self.msal_requests();
    }

    /// The versions and ways that a whole sign-in does not choose by itself.
    fn msal_requests(&mut self) {
        use Class::{Managed, Unmanaged};
        for (service, version, class, family) in [
            ("sts", "2005", Managed, Family::V4),
            ("adfs", "13", Managed, Family::V6),
            ("adfs", "2005", Unmanaged, Family::V4),
            ("sts", "13", Unmanaged, Family::V6),
        ] {
            let user = self.user(service);
            let (name, shown) = if version == "13" {
                ("active-13", "1.3")
            } else {
                ("active-2005", "2005")
            };
            let sign_in = SignIn::Active {
                url: url(
                    service,
                    &format!("/adfs/services/trust/{version}/usernamemixed"),
                ),
                version,
                user: user.upn,
                password: user.password,
            };
            let verdict = if class == Managed {
                Verdict::new(
                    format!("token by WS-Trust {shown}"),
                    self.managed(service, "native-managed"),
                )
            } else {
                Verdict::new("blocked, explained", vec![self.block("native-unmanaged")])
            };
            let what = format!("WS-Trust {shown}, without MEX");
            self.push(
                name,
                "msal",
                &what,
                service,
                class,
                family,
                Act::Msal(sign_in),
            )
            .expected = verdict;
        }
        for (service, class, family) in [
            ("sts", Unmanaged, Family::V4),
            ("adfs", Managed, Family::V6),
        ] {
            let sign_in = SignIn::Mex {
                url: url(service, "/adfs/services/trust/mex"),
            };
            let verdict = if class == Managed {
                Verdict::new("endpoints", vec![self.pass("native-managed")])
            } else {
                Verdict::new("403 at MEX", vec![self.block("native-unmanaged")])
            };
            self.push(
                "mex-alone",
                "msal",
                "MEX alone",
                service,
                class,
                family,
                Act::Msal(sign_in),
            )
            .expected = verdict;
        }
        for (service, family) in [("sts", Family::V4), ("adfs", Family::V6)] {
            let user = self.user(service);
            let sign_in = SignIn::Password {
                user: user.upn,
                password: "not the password".to_owned(),
            };
            let by = self.managed(service, "native-managed");
            self.push(
                "wrong-password",
                "msal",
                "wrong password",
                service,
                Managed,
                family,
                Act::Msal(sign_in),
            )
            .expect("wrong password", by);
        }
    }

    /// Browsers: the whole sign-in, to the application's page.
    pub(super) fn chromium(&mut self) {
        use Class::{Blocked, Bypass, Managed, Unmanaged};
        for (service, class, family) in [
            ("sts", Managed, Family::V4),
            ("sts", Managed, Family::V6),
            ("adfs", Managed, Family::V4),
            ("adfs", Managed, Family::V6),
            ("sts", Bypass, Family::V4),
            ("adfs", Bypass, Family::V6),
            ("sts", Unmanaged, Family::V4),
            ("sts", Unmanaged, Family::V6),
            ("adfs", Unmanaged, Family::V4),
            ("adfs", Unmanaged, Family::V6),
            ("sts", Blocked, Family::V6),
            ("adfs", Blocked, Family::V4),
        ] {
            let verdict = match class {
                Managed => Verdict::new("signed in", self.managed(service, "browser-managed")),
                Bypass => Verdict::new("signed in", vec![self.pass("browser-bypass")]),
                Blocked => Verdict::new("ERR_CONNECTION_TIMED_OUT", vec![Decider::drop()]),
                // The reverse proxy's own connections come from a bypass list.
                _ => Verdict::new(
                    "signed in, reverse proxy",
                    vec![
                        self.redirect("browser-unmanaged"),
                        self.pass("browser-bypass"),
                    ],
                ),
            };
            let visit = self.visit(service, true);
            let what = "whole sign-in by the form";
            let row = self.push(
                "sign-in",
                "chromium",
                what,
                service,
                class,
                family,
                Act::Chromium(visit),
            );
            row.expected = verdict;
            row.flows = &["passive"];
        }
        for (service, class, family, verdict) in [
            (
                "sts",
                Managed,
                Family::V6,
                Verdict::new("signed in", self.managed("sts", "")),
            ),
            (
                "adfs",
                Unmanaged,
                Family::V4,
                Verdict::new(
                    "signed in, reverse proxy",
                    vec![
                        self.redirect("browser-unmanaged"),
                        self.pass("browser-bypass"),
                    ],
                ),
            ),
        ] {
            let application = &self.plan.cloud.application.host;
            let visit = Visit {
                start: format!("https://{application}/saml/{service}"),
                ..self.visit(service, true)
            };
            let act = Act::Chromium(visit);
            let what = "whole sign-in by SAML";
            let row = self.push("saml", "chromium", what, service, class, family, act);
            row.expected = verdict;
            row.flows = &["passive"];
        }
        let visit = self.visit("sts", false);
        self.push(
            "no-ca",
            "chromium",
            "without the lab's CA",
            "sts",
            Managed,
            Family::V4,
            Act::Chromium(visit),
        )
        .expect("ERR_CERT_AUTHORITY_INVALID", Vec::new());
        let by = vec![self.pass("browser-managed")];
        self.push(
            "flipped-byte",
            "curl",
            "token with a changed byte",
            "adfs",
            Managed,
            Family::V4,
            Act::FlippedByte,
        )
        .expect("refused; intact: accepted", by);
    }

    fn visit(&self, service: &'static str, trusts_lab: bool) -> Visit {
        let user = self.user(service);
        Visit {
            start: format!("https://{}/{service}", self.plan.cloud.application.host),
            user: user.upn,
            password: user.password,
            trusts_lab,
        }
    }
}
