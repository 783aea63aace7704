//! `[entra]`: what arrives of it, and what the operator reads after a mistake.

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;
#[path = "common/said.rs"]
mod said;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use common::{FULL, Site, certificate};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use said::check_at;
use weir_abi::Class;
use weir_config::{CredentialSource, Entra, Loaded};
use weir_entra::cloud::{Cloud, Name};
use weir_entra::credential::Assigned;
use weir_entra::guard::{Limits, Share};
use weir_entra::model::Part;
use weir_entra::sync::Keep;
use weir_feeds::Source;

const TENANT: &str = "11111111-2222-4333-8444-555555555555";
const APPLICATION: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";
const CERTIFICATE: &str = "[entra.credential]\ncertificate = \"entra.pem\"\nkey = \"entra.key\"\n";
/// A rule that gives groups something to bound.
const GRANTS: &str = "[[rule]]\nname = \"earned\"\nwhen = { flow = \"passive\", service = \"sts\" }\n\
    then = { decision = \"pass\", grant = { class = \"managed\", for = \"30m\" } }\n";

/// Certificates that differ in key and end.
struct Pairs {
    present: (String, String),
    next: (String, String),
    soon: (String, String),
    over: (String, String),
    early: (String, String),
}

/// Keys take their time: they are made once.
static PAIRS: LazyLock<Pairs> = LazyLock::new(|| {
    let (present, next) = (rsa(), rsa());
    Pairs {
        soon: (
            signed(&present, (2026, 1), (2026, 6)),
            present.serialize_pem(),
        ),
        over: (
            signed(&present, (2025, 1), (2026, 5)),
            present.serialize_pem(),
        ),
        early: (
            signed(&present, (2026, 7), (2027, 7)),
            present.serialize_pem(),
        ),
        present: (
            signed(&present, (2026, 1), (2027, 1)),
            present.serialize_pem(),
        ),
        next: (signed(&next, (2026, 1), (2028, 1)), next.serialize_pem()),
    }
});

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

/// Valid from the first day of a month to the twentieth of another.
fn signed(key: &KeyPair, from: (i32, u8), to: (i32, u8)) -> String {
    let mut params = CertificateParams::new(vec!["weir".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(from.0, from.1, 1);
    params.not_after = date_time_ymd(to.0, to.1, 20);
    params.self_signed(key).expect("a certificate").pem()
}

/// A site with the files of credentials.
fn site() -> Site {
    let site = Site::new();
    let pairs = &*PAIRS;
    for (name, (certificate, key)) in [
        ("entra", &pairs.present),
        ("next", &pairs.next),
        ("soon", &pairs.soon),
        ("over", &pairs.over),
        ("early", &pairs.early),
    ] {
        site.write(&format!("{name}.pem"), certificate);
        site.write(&format!("{name}.key"), key);
    }
    site.write("both.pem", &(pairs.present.1.clone() + &pairs.present.0));
    let (ec, ec_key) = certificate(&["weir.corp.example"]);
    site.write("ec.pem", &ec);
    site.write("ec.key", &ec_key);
    site.write("secret", "abc~DEFghi.jkl-mno_pqr\n");
    site.write("secret-id", "0f8fad5b-d9cb-469f-a165-70867728950e\n");
    site.write("empty", "\n");
    site
}

/// The full example with a tenant; `lines` stand in `[entra]`, `tables` behind it.
fn tenant(lines: &str, tables: &str) -> String {
    format!(
        "{FULL}\n[entra]\ntenant = \"{TENANT}\"\napplication = \"{APPLICATION}\"\n{lines}\n{tables}"
    )
}

/// The same, signed in to with a certificate.
fn with_certificate(lines: &str, tables: &str) -> String {
    tenant(lines, &format!("{CERTIFICATE}{tables}"))
}

/// The same, with a service whose rules may grant.
fn granting(lines: &str, tables: &str) -> String {
    let text = with_certificate(lines, &format!("{tables}{GRANTS}"));
    let decides = "ca = \"ca.pem\"\n[service.tokens]\ndecide = true\n";
    text.replacen("ca = \"ca.pem\"\n", decides, 1)
}

fn entra(loaded: Loaded) -> Entra {
    loaded.config.entra.expect("it is configured")
}

#[test]
fn without_it_there_is_no_tenant() {
    let loaded = site().load(FULL).expect("a good file");
    assert_eq!(loaded.config.entra, None);
}

#[test]
fn what_is_not_said_is_as_usual() {
    let site = site();
    let loaded = site.load(&with_certificate("", "")).expect("a good file");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let entra = entra(loaded);
    assert_eq!(entra.tenant.to_string(), TENANT);
    assert_eq!(entra.application.to_string(), APPLICATION);
    assert_eq!(entra.cloud, Cloud::global());
    assert_eq!(
        entra.credential,
        CredentialSource::Certificate {
            certificate: site.path("entra.pem"),
            key: site.path("entra.key"),
        }
    );
    assert_eq!(entra.next_credential, None);
    assert_eq!(entra.parts, Part::ALL.into());
    assert_eq!(entra.every, BTreeMap::new());
    assert_eq!(entra.max_age, Duration::from_hours(24));
    assert_eq!(
        (entra.limits, entra.keep),
        (Limits::default(), Keep::default())
    );
    assert_eq!((entra.callback, entra.ca), (None, None));
    assert!(entra.groups.is_empty() && entra.elsewhere.is_empty());
}

#[test]
fn everything_that_is_said_arrives() {
    let site = site();
    let text = granting(
        "login = \"https://login.lab.example:8443\"\ngraph = \"https://graph.lab.example\"\n\
         parts = [\"users\", \"groups\", \"sign-ins\"]\nmax_age = \"3d\"\nca = \"ca.pem\"\n\
         callback = \"https://weir.corp.example/consent\"\nelsewhere = [\"Other.example\"]",
        &format!(
            "[entra.next_credential]\nsecret = \"secret\"\nexpires = 2027-02-28\n\
             [entra.every]\nusers = \"5m\"\nsign-ins = \"1h\"\n\
             [entra.limits]\nusers = {{ floor = 3, percent = 1 }}\nedges = {{ percent = 20 }}\nwatched_people = 0\n\
             watched_percent = 50\n\
             [entra.keep]\nlogs = \"90d\"\nentries = 5000\njournal = \"800d\"\n\
             [[entra.group]]\ngroup = \"Contractors\"\nclass = \"bypass\"\n\
             [[entra.group]]\ngroup = \"{}\"\nclass = \"unmanaged\"\n",
            TENANT.to_uppercase()
        ),
    );
    let loaded = site.load(&text).unwrap_or_else(|report| panic!("{report}"));
    let entra = entra(loaded);
    assert_eq!(entra.cloud.name(), Name::Custom);
    assert_eq!(entra.cloud.login(), "https://login.lab.example:8443");
    assert_eq!(entra.cloud.graph(), "https://graph.lab.example");
    let next = entra.next_credential.expect("it is written");
    assert_eq!(
        next,
        CredentialSource::Secret {
            file: site.path("secret"),
            expires: Some(time::macros::date!(2027 - 02 - 28)),
        }
    );
    let next = next.load().expect("it can be read");
    assert_eq!(next.kind(), "secret");
    let end = time::macros::datetime!(2027-02-28 0:00 UTC);
    assert_eq!(next.expires(), Some(end), "by the beginning of that day");
    assert_eq!(
        entra.parts,
        [Part::Users, Part::Groups, Part::SignIns].into()
    );
    let every = [
        (Part::Users, Duration::from_mins(5)),
        (Part::SignIns, Duration::from_hours(1)),
    ];
    assert_eq!(entra.every, every.into());
    assert_eq!(entra.max_age, Duration::from_hours(72));
    let usual = Limits::default();
    let limits = Limits {
        users: Share {
            floor: 3,
            percent: 1,
        },
        edges: Share {
            percent: 20,
            ..usual.edges
        },
        watched_percent: 50,
        watched_people: 0,
        ..usual
    };
    assert_eq!(entra.limits, limits);
    let keep = Keep {
        logs: Duration::from_hours(90 * 24),
        entries: 5000,
        journal: Duration::from_hours(800 * 24),
    };
    assert_eq!(entra.keep, keep);
    let callback = entra.callback.expect("it is written");
    assert_eq!(callback.as_str(), "https://weir.corp.example/consent");
    assert_eq!(entra.ca, Some(site.path("ca.pem")));
    assert_eq!(entra.elsewhere, ["other.example".to_owned()].into());
    let groups: Vec<_> = (entra.groups.iter())
        .map(|bound| (bound.group.as_str(), bound.class))
        .collect();
    assert_eq!(
        groups,
        [("Contractors", Class::Bypass), (TENANT, Class::Unmanaged)]
    );
    let lines: Vec<_> = text.lines().collect();
    for bound in &entra.groups {
        let line = lines[bound.line - 1].to_lowercase();
        assert!(line.contains(&bound.group.to_lowercase()), "{bound:?}");
    }
}

#[test]
fn clouds_and_identities_have_words() {
    let site = site();
    for (word, name) in [
        ("global", Name::Global),
        ("usgov", Name::UsGov),
        ("usgov-dod", Name::UsGovDod),
        ("china", Name::China),
    ] {
        let loaded = site.load(&with_certificate(&format!("cloud = \"{word}\""), ""));
        let entra = entra(loaded.expect("a good file"));
        assert_eq!(entra.cloud.name(), name);
        for part in Part::ALL {
            let read = entra.parts.contains(&part);
            assert_eq!(read, entra.cloud.offers(part), "{part:?} in {word}");
        }
    }
    let identity = |written: &str| {
        let text = tenant(
            "",
            &format!("[entra.credential]\nmanaged_identity = {written}\n"),
        );
        entra(site.load(&text).expect("a good file")).credential
    };
    let own = CredentialSource::ManagedIdentity(Assigned::System);
    assert_eq!(identity("true"), own);
    let given = Assigned::Client(APPLICATION.parse().expect("an id"));
    let given = CredentialSource::ManagedIdentity(given);
    assert_eq!(identity(&format!("\"{APPLICATION}\"")), given);
}

#[test]
fn one_file_may_hold_certificate_and_key() {
    let site = site();
    let both = "[entra.credential]\ncertificate = \"both.pem\"\nkey = \"both.pem\"\n";
    let credential = entra(site.load(&tenant("", both)).expect("a good file")).credential;
    let credential = credential.load().expect("it can be read");
    let end = time::macros::datetime!(2027-01-20 0:00 UTC);
    assert_eq!(
        (credential.kind(), credential.expires()),
        ("certificate", Some(end))
    );
}

#[test]
fn an_expired_certificate_stops_nothing_else() {
    let site = site();
    let over = "[entra.credential]\ncertificate = \"over.pem\"\nkey = \"over.key\"\n";
    let loaded = site.load(&tenant("", over)).expect("the rest is right");
    let said = site.plain(&loaded.warnings);
    assert!(
        said.contains("warning: this certificate expired on 2026-05-20"),
        "{said}"
    );
    let next = with_certificate(
        "",
        "[entra.next_credential]\ncertificate = \"over.pem\"\nkey = \"over.key\"\n",
    );
    let said = site.plain(&site.load(&next).expect_err("it would never be used"));
    assert!(
        said.contains("error: this certificate expired on 2026-05-20"),
        "{said}"
    );
}

#[test]
fn what_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = site();
    for (name, what, text) in [
        ("entra.key", "key", with_certificate("", "")),
        (
            "secret",
            "secret",
            tenant(
                "",
                "[entra.credential]\nsecret = \"secret\"\nexpires = 2027-02-28\n",
            ),
        ),
    ] {
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(site.path(name), mode).expect("a mode");
        let loaded = site.load(&text).expect("it can be used");
        let said = site.plain(&loaded.warnings);
        let expected = format!("everyone on this machine may read the {what} `{name}`");
        assert!(said.contains(&expected), "{said}");
        assert!(!said.contains("abc~"), "the secret is not shown: {said}");
    }
}

#[test]
fn a_list_comes_from_a_named_location() {
    let site = site();
    for (class, must_be_trusted) in [
        ("managed", true),
        ("bypass", true),
        ("blocked", false),
        ("relay", false),
    ] {
        let text = with_certificate(
            "",
            &format!(
                "[[list]]\nname = \"offices\"\nclass = \"{class}\"\nnamed_location = \"Head office\"\nmost = 50\n"
            ),
        );
        let loaded = site.load(&text).unwrap_or_else(|report| panic!("{report}"));
        let list = loaded.config.lists.last().expect("it is written");
        let remote = list.contents.remote().expect("it comes from elsewhere");
        let source = Source::NamedLocation {
            location: "Head office".to_owned(),
            must_be_trusted,
        };
        assert_eq!(remote.source, source, "{class}");
        assert_eq!(remote.source.to_string(), "named location \"Head office\"");
        assert_eq!(
            (remote.limits.prefixes, remote.every),
            (50, Duration::from_hours(1))
        );
        assert_eq!(remote.kept, site.path("state/lists/offices.list"));
    }
}

#[test]
fn mistakes_in_the_tenant() {
    let ids = |tenant: &str, application: &str| {
        format!("{FULL}\n[entra]\ntenant = {tenant}\napplication = {application}\n{CERTIFICATE}")
    };
    let (good, other) = (format!("\"{TENANT}\""), format!("\"{APPLICATION}\""));
    check_at(
        &site(),
        &[
            ("entra-nothing", format!("{FULL}\n[entra]\n")),
            ("entra-names", ids("\"corp.example\"", &other)),
            ("entra-same-ids", ids(&good, &good)),
            (
                "entra-nil",
                ids("\"00000000-0000-0000-0000-000000000000\"", &other),
            ),
            (
                "entra-other-words",
                ids(&good, &other)
                    .replace("\ntenant =", "\ntenant_id =")
                    .replace("\napplication =", "\nclient_id ="),
            ),
            (
                "entra-cloud",
                with_certificate("cloud = \"us-gov\"\nprts = []", ""),
            ),
            (
                "entra-cloud-twice",
                with_certificate(
                    "cloud = \"china\"\nlogin = \"https://login.lab.example\"",
                    "",
                ),
            ),
            (
                "entra-half-a-cloud",
                with_certificate("login = \"https://login.lab.example\"", ""),
            ),
            (
                "entra-cloud-without-tls",
                with_certificate(
                    "login = \"http://login.lab.example\"\ngraph = \"https://graph.lab.example/v1.0\"",
                    "",
                ),
            ),
            (
                "entra-cloud-with-a-password",
                with_certificate(
                    "login = \"https://ann:secret@login.lab.example\"\ngraph = \"graph\"",
                    "",
                ),
            ),
            (
                "entra-parts",
                with_certificate("parts = [\"users\", \"group\", \"mailboxes\"]", ""),
            ),
            ("entra-no-parts", with_certificate("parts = []", "")),
            (
                "entra-parts-of-china",
                with_certificate("cloud = \"china\"\nparts = [\"methods\"]", ""),
            ),
            (
                "entra-times",
                with_certificate(
                    "max_age = \"5m\"\nparts = [\"users\"]",
                    "[entra.every]\nusers = \"30s\"\nroles = \"15m\"\ngruops = \"3m\"\n",
                ),
            ),
            (
                "entra-seldom",
                with_certificate("max_age = \"1h\"", "[entra.every]\ngroups = \"2h\"\n"),
            ),
            (
                "entra-callback",
                with_certificate("callback = \"http://weir.corp.example/consent\"", ""),
            ),
            (
                "entra-callback-fragment",
                with_certificate("callback = \"https://weir.corp.example/#consent\"", ""),
            ),
            (
                "entra-callback-nowhere",
                with_certificate(
                    "callback = \"weir.corp.example/consent\"\nca = \"none.pem\"",
                    "",
                ),
            ),
            (
                "entra-limits",
                with_certificate(
                    "",
                    "[entra.limits]\nusers = 5\ngroups = {}\nedges = { percent = 100, flor = 1 }\n\
                     watched_people = -1\n[entra.keep]\nlogs = \"1h\"\nentries = \"all\"\n",
                ),
            ),
        ],
    );
}

#[test]
fn mistakes_in_credentials() {
    let credential = |lines: &str| tenant("", &format!("[entra.credential]\n{lines}\n"));
    let next = |lines: &str| with_certificate("", &format!("[entra.next_credential]\n{lines}\n"));
    let pair = |certificate: &str, key: &str| {
        credential(&format!("certificate = \"{certificate}\"\nkey = \"{key}\""))
    };
    check_at(
        &site(),
        &[
            ("credential-missing", tenant("", "")),
            ("credential-empty", credential("")),
            (
                "credential-misspelt",
                credential("certifcate = \"entra.pem\"\nkey = \"entra.key\""),
            ),
            (
                "credential-without-a-key",
                credential("certificate = \"entra.pem\""),
            ),
            ("credential-key-alone", credential("key = \"entra.key\"")),
            (
                "credential-both",
                credential("certificate = \"entra.pem\"\nkey = \"entra.key\"\nsecret = \"secret\""),
            ),
            ("credential-no-files", pair("none.pem", "none.key")),
            ("credential-of-another-key", pair("entra.pem", "next.key")),
            ("credential-no-rsa", pair("ec.pem", "ec.key")),
            ("credential-exchanged", pair("entra.key", "entra.pem")),
            ("credential-soon-over", pair("soon.pem", "soon.key")),
            ("credential-not-yet", pair("early.pem", "early.key")),
            ("credential-secret", credential("secret = \"secret\"")),
            (
                "credential-secret-over",
                credential("secret = \"secret\"\nexpires = \"2026-05-31\""),
            ),
            (
                "credential-secret-id",
                credential("secret = \"secret-id\"\nexpires = 2027-02-28"),
            ),
            (
                "credential-secret-empty",
                credential("secret = \"empty\"\nexpires = 28.02"),
            ),
            (
                "credential-secret-day",
                credential("secret = \"secret\"\nexpires = \"28 February\""),
            ),
            (
                "credential-expires",
                credential(
                    "certificate = \"entra.pem\"\nkey = \"entra.key\"\nexpires = 2027-02-28",
                ),
            ),
            (
                "credential-identity-none",
                credential("managed_identity = false"),
            ),
            (
                "credential-identity-name",
                credential("managed_identity = \"weir\""),
            ),
            (
                "credential-next-the-same",
                next("certificate = \"both.pem\"\nkey = \"both.pem\""),
            ),
            (
                "credential-next-early",
                next("certificate = \"early.pem\"\nkey = \"early.key\""),
            ),
        ],
    );
}

#[test]
fn mistakes_about_groups_and_parts() {
    let bound = |group: &str, class: &str| {
        format!("[[entra.group]]\ngroup = \"{group}\"\nclass = \"{class}\"\n")
    };
    let location =
        "[[list]]\nname = \"offices\"\nclass = \"blocked\"\nnamed_location = \"Offices\"\n";
    let asks = "[[rule]]\nname = \"admins\"\nwhen = { group = \"Administrators\", role = \"Helpdesk\" }\n\
                then = { decision = \"block\" }\n";
    let mut twice = bound("Contractors", "bypass");
    twice.push_str(&bound("contractors", "unmanaged"));
    check_at(
        &site(),
        &[
            ("group-twice", granting("", &twice)),
            (
                "group-gives",
                granting("", &(bound("Staff", "managed") + &bound("Mail", "relay"))),
            ),
            (
                "group-class",
                granting("", &(bound("Staff", "bypas") + "[[entra.group]]\n")),
            ),
            (
                "group-without-a-grant",
                with_certificate("", &bound("Staff", "unmanaged")),
            ),
            (
                "group-unread",
                granting("parts = [\"users\"]", &bound("Staff", "unmanaged")),
            ),
            ("group-blank", granting("", &bound(" ", "unmanaged"))),
            (
                "entra-rules-unread",
                with_certificate("parts = [\"users\"]", asks),
            ),
            ("location-without-a-tenant", format!("{FULL}\n{location}")),
            (
                "location-unread",
                with_certificate("parts = [\"users\"]", location),
            ),
            (
                "location-twice",
                with_certificate("", &format!("{location}prefixes = []\nca = \"ca.pem\"\n")),
            ),
            (
                "location-blank",
                with_certificate("", &location.replace("Offices", "")),
            ),
            (
                "location-managed",
                with_certificate("", &location.replace("blocked", "managed")),
            ),
        ],
    );
}
