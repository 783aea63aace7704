//! Windows' own sign-in, under the settings that decide of it.

use weir_lab_servers::plan::{MICROSOFT_ONLINE, User};

use super::kinds::Kind;
use super::{Rows, url};
use crate::demo::curl::Call;
use crate::demo::row::{Act, Row};
use crate::settings::STRANGER;
use crate::sources::{Class, Family};

/// Somewhere else than Microsoft 365.
const OTHER_PARTY: &str = "https://app.cloud.example/saml";
/// More sign-ins of one user than the default rate lets through at once.
const TOO_OFTEN: usize = 11;

impl Rows<'_> {
    /// `windows_logon = "block"`, the default.
    pub(super) fn logon_blocked(&mut self) {
        for family in Family::ALL {
            for kind in [Kind::Logon, Kind::LogonMex] {
                self.direct(
                    kind,
                    "+windows-logon-managed +windows-logon-bypass -windows-logon-unmanaged \
                     -windows-logon-unmanaged -windows-logon-relay",
                    family,
                );
                self.forwarded(kind, family);
                self.blocked(kind, family);
            }
        }
    }

    /// `windows_logon = "pass"` with a directory that holds the service's first user.
    pub(super) fn logon_by_directory(&mut self) {
        for family in Family::ALL {
            self.direct(
                Kind::LogonMex,
                "+windows-logon-managed +windows-logon-bypass +windows-logon-mex \
                 +windows-logon-mex -windows-logon-relay",
                family,
            );
            self.direct(
                Kind::Logon,
                "+windows-logon-managed +windows-logon-bypass +windows-logon-exempt \
                 +windows-logon-exempt -windows-logon-relay",
                family,
            );
            self.logon_blocked_all_the_same(family);
        }
    }

    /// What stays blocked although a known user's sign-in passes.
    fn logon_blocked_all_the_same(&mut self, family: Family) {
        let known = self.user("adfs");
        let stranger = self.plan.user(STRANGER).expect("the plan has this user");
        let stranger = Self::logon_of("adfs", stranger, MICROSOFT_ONLINE);
        let elsewhere = Self::logon_of("adfs", &known, OTHER_PARTY);
        let certificate = Call {
            url: url("adfs", "/adfs/services/trust/13/certificatemixed"),
            ..Self::logon_of("adfs", &known, MICROSOFT_ONLINE)
        };
        for (name, what, call) in [
            ("stranger", "not in the directory", stranger),
            ("elsewhere", "to another application", elsewhere),
            ("certificate", "at another endpoint", certificate),
        ] {
            let by = vec![self.block("windows-logon-unmanaged")];
            self.logon(name, what, family, Act::Curl(call))
                .expect(Kind::Logon.blocked(), by);
        }
    }

    /// One sign-in more than the rate of a user allows, which is ten in an hour.
    pub(super) fn logon_too_often(&mut self) {
        let users: Vec<User> = self.users("adfs").collect();
        for (family, user) in Family::ALL.into_iter().zip(users.iter().rev()) {
            let often = vec![Self::logon_of("adfs", user, MICROSOFT_ONLINE); TOO_OFTEN];
            let by = vec![
                self.pass("windows-logon-exempt"),
                self.block("windows-logon-rate"),
            ];
            self.logon("often", "11 in a row", family, Act::Several(often))
                .expect(Kind::Logon.blocked(), by);
        }
    }

    /// `windows_logon = "pass"` without a directory: nobody is known.
    pub(super) fn logon_without_directory(&mut self) {
        for family in Family::ALL {
            for kind in [Kind::Logon, Kind::LogonMex] {
                self.direct(
                    kind,
                    "+windows-logon-managed +windows-logon-bypass -windows-logon-unmanaged \
                     -windows-logon-unmanaged -windows-logon-relay",
                    family,
                );
            }
        }
    }

    fn logon(&mut self, name: &str, what: &str, family: Family, act: Act) -> &mut Row {
        let name = format!("{}-{name}", Kind::Logon.name());
        let what = format!("logon, {what}");
        self.push(&name, "curl", &what, "adfs", Class::Unmanaged, family, act)
    }
}
