//! The table of the default policy (DESIGN 3), cell by cell, written by hand: who asks, by where from.
//!
//! A cell is what is done and the rule that does it: `+` passes, `-` blocks, `>` redirects. All of it is asked of `adfs`,
//! where managed sources go through the proxy too; what of it a forwarded client can ask, once more of `sts`. Blocked
//! sources are dropped by the kernel whatever they ask.

use super::Rows;
use super::kinds::Kind;
use crate::demo::curl::Call;
use crate::demo::row::{Act, Decider, Verdict};
use crate::sources::{Class, Family};

/// A request and its cells, one for each column.
type Cells = (Kind, &'static str);

/// The columns of who comes directly. A relay of the last one says that a managed device stands behind it.
const DIRECT: [Class; 5] = [
    Class::Managed,
    Class::Bypass,
    Class::Web,
    Class::Unmanaged,
    Class::Relay,
];

/// Who stands behind a relay, by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// A source of that class.
    One(Class),
    /// It does not say.
    Silent,
    /// What it says is no address.
    Malformed,
    /// Only relays.
    Relays,
    /// An unmanaged source, a managed one, a relay: the right-most that is no relay counts.
    Several,
}

/// The columns of those who come through a relay.
const RELAYED: [Behind; 8] = [
    Behind::One(Class::Managed),
    Behind::One(Class::Bypass),
    Behind::One(Class::Unmanaged),
    Behind::One(Class::Blocked),
    Behind::Silent,
    Behind::Malformed,
    Behind::Relays,
    Behind::Several,
];

/// Rows that no setting changes.
const TABLE: &[Cells] = &[
    (
        Kind::WsFed,
        "+browser-managed +browser-bypass +browser-bypass >browser-unmanaged -browser-relay",
    ),
    (
        Kind::Authorize,
        "+browser-managed +browser-bypass +browser-bypass >browser-unmanaged -browser-relay",
    ),
    (
        Kind::WebView,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -relay-flow",
    ),
    (
        Kind::Active2005,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged",
    ),
    (
        Kind::Active13,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged",
    ),
    (
        Kind::Mex,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged",
    ),
    (
        Kind::PublicClient,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -relay-flow",
    ),
    (
        Kind::Password,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -relay-flow",
    ),
    (
        Kind::DeviceCode,
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -relay-flow",
    ),
    (
        Kind::ServerCode,
        "+server-managed +server-bypass +server-unmanaged +server-unmanaged -server-relay",
    ),
    (
        Kind::ServerRefresh,
        "+server-managed +server-bypass +server-unmanaged +server-unmanaged -server-relay",
    ),
    (
        Kind::ServerOwn,
        "+server-managed +server-bypass +server-unmanaged +server-unmanaged -server-relay",
    ),
    (
        Kind::Metadata,
        "+metadata +metadata +metadata +metadata +metadata",
    ),
    (Kind::Asset, "+asset +asset +asset +asset +asset"),
    (
        Kind::SignOut,
        "+sign-out +sign-out +sign-out +sign-out +sign-out",
    ),
    (
        Kind::Internal,
        "-internal-path -internal-path -internal-path -internal-path -internal-path",
    ),
    (
        Kind::Unknown,
        "-unknown-path -unknown-path -unknown-path -unknown-path -unknown-path",
    ),
];

/// What native applications get through a relay.
const RELAYED_NATIVE: &str = "+native-managed +native-bypass -native-unmanaged -blocked-source \
     -native-unmanaged -native-unmanaged -native-unmanaged +native-managed";
/// What others get of whom a blocked source stands behind: no other column is asked for them.
const RELAYED_BLOCKED: &[Kind] = &[
    Kind::WsFed,
    Kind::WebView,
    Kind::Password,
    Kind::ServerOwn,
    Kind::Metadata,
];

/// The cells of Outlook: by its User-Agent directly, its web view, by the word of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    direct: &'static str,
    relayed: &'static str,
}

/// `outlook = "pass"`, the default of `office365`.
pub const PASS: Outlook = Outlook {
    direct: "+outlook-managed +outlook-bypass +outlook-unmanaged +outlook-unmanaged",
    relayed: "+outlook-relay +outlook-relay +outlook-relay -blocked-source +outlook-relay \
              +outlook-relay +outlook-relay +outlook-relay",
};
/// `outlook = "relay-only"`, the default of `office365-strict`.
pub const RELAY_ONLY: Outlook = Outlook {
    direct: "+outlook-managed +outlook-bypass -outlook-unmanaged -outlook-unmanaged",
    relayed: PASS.relayed,
};
/// `outlook = "block"`.
pub const BLOCK: Outlook = Outlook {
    direct: RELAY_ONLY.direct,
    relayed: "+outlook-managed +outlook-bypass -outlook-unmanaged -blocked-source \
              -outlook-unmanaged -outlook-unmanaged -outlook-unmanaged +outlook-managed",
};

impl Rows<'_> {
    /// The table, without what a setting decides.
    pub(super) fn complete(&mut self) {
        for family in Family::ALL {
            for &(kind, cells) in TABLE {
                self.direct(kind, cells, family);
                self.forwarded(kind, family);
                self.blocked(kind, family);
            }
            for kind in [Kind::Active2005, Kind::Active13, Kind::Mex] {
                self.relayed(kind, RELAYED_NATIVE, family);
            }
            for &kind in RELAYED_BLOCKED {
                self.relay(kind, Behind::One(Class::Blocked), "-blocked-source", family);
            }
        }
    }

    /// Outlook's rows.
    pub(super) fn outlook(&mut self, outlook: Outlook) {
        for family in Family::ALL {
            self.direct(Kind::Outlook, outlook.direct, family);
            self.forwarded(Kind::Outlook, family);
            self.relayed(Kind::Outlook, outlook.relayed, family);
            let view = format!("{} -relay-flow", outlook.direct);
            self.direct(Kind::OutlookView, &view, family);
            self.blocked(Kind::Outlook, family);
        }
    }

    /// Who comes directly, and the relay that does not say who sent it here.
    pub(super) fn direct(&mut self, kind: Kind, cells: &str, family: Family) {
        for (class, cell) in DIRECT.into_iter().zip(cells.split_whitespace()) {
            if class == Class::Relay {
                self.relay(kind, Behind::One(Class::Managed), cell, family);
                continue;
            }
            // What a client says of who stands behind it changes nothing.
            let claim = forwarded_for(&Class::Managed.source().address(family).to_string());
            let call = self.request(kind, "adfs").with(&["--header", &claim]);
            self.ask(kind, "", "adfs", class, family, call).expected =
                verdict(self.set, kind, cell);
        }
    }

    /// A managed source at the service that is forwarded in the kernel: Weir sees no request.
    pub(super) fn forwarded(&mut self, kind: Kind, family: Family) {
        // The server's own table of paths answers: it is an edge itself.
        let outcome = match kind {
            Kind::Internal | Kind::Unknown => "404",
            _ => kind.passed(),
        };
        let call = self.request(kind, "sts");
        self.ask(kind, "", "sts", Class::Managed, family, call)
            .expected = Verdict::new(outcome, vec![Decider::forward()]);
    }

    /// A blocked source, at either service.
    pub(super) fn blocked(&mut self, kind: Kind, family: Family) {
        for service in ["sts", "adfs"] {
            let call = self.request(kind, service);
            self.ask(kind, "", service, Class::Blocked, family, call)
                .expected = Verdict::new("no answer", vec![Decider::drop()]);
        }
    }

    fn relayed(&mut self, kind: Kind, cells: &str, family: Family) {
        for (behind, cell) in RELAYED.into_iter().zip(cells.split_whitespace()) {
            self.relay(kind, behind, cell, family);
        }
    }

    fn relay(&mut self, kind: Kind, behind: Behind, cell: &str, family: Family) {
        let mut request = self.request(kind, "adfs");
        if matches!(kind, Kind::Outlook | Kind::OutlookView) {
            let client = "X-MS-Client-Application: Microsoft.Exchange.ActiveSync";
            request = request.with(&["--header", client]);
        }
        if let Some(said) = behind.said(family) {
            request = request.with(&["--header", &forwarded_for(&said)]);
        }
        let expected = verdict(self.set, kind, cell);
        self.ask(kind, behind.name(), "adfs", Class::Relay, family, request)
            .expected = expected;
    }

    fn ask(
        &mut self,
        kind: Kind,
        behind: &str,
        service: &'static str,
        class: Class,
        family: Family,
        call: Call,
    ) -> &mut crate::demo::row::Row {
        let (mut name, mut what) = (kind.name().to_owned(), kind.what().to_owned());
        if !behind.is_empty() {
            name = format!("{name}-for-{behind}");
            what = format!("{what}, for {behind}");
        }
        self.push(
            &name,
            "curl",
            &what,
            service,
            class,
            family,
            Act::Curl(call),
        )
    }
}

impl Behind {
    const fn name(self) -> &'static str {
        match self {
            Self::One(class) => class.name(),
            Self::Silent => "nobody",
            Self::Malformed => "junk",
            Self::Relays => "relays",
            Self::Several => "several",
        }
    }

    /// What the relay says; some of it in the order in which proxies on the way added it.
    fn said(self, family: Family) -> Option<String> {
        let address = |class: Class| class.source().address(family).to_string();
        Some(match self {
            Self::One(class) => address(class),
            Self::Silent => return None,
            Self::Malformed => format!("{}, not-an-address", address(Class::Managed)),
            Self::Relays => format!("{0}, {0}", address(Class::Relay)),
            Self::Several => format!(
                "{}, {}, {}",
                address(Class::Unmanaged),
                address(Class::Managed),
                address(Class::Relay)
            ),
        })
    }
}

/// What must come of a request by the cell.
pub fn verdict(set: &str, kind: Kind, cell: &str) -> Verdict {
    let (sign, rule) = cell.split_at(1);
    let rule = format!("{set}/{rule}");
    match sign {
        "+" => Verdict::new(kind.passed(), vec![Decider::pass(&rule)]),
        ">" => Verdict::new("302 to the reverse proxy", vec![Decider::redirect(&rule)]),
        _ => Verdict::new(kind.blocked(), vec![Decider::block(&rule)]),
    }
}

fn forwarded_for(addresses: &str) -> String {
    format!("X-MS-Forwarded-Client-IP: {addresses}")
}
