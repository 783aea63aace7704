//! What a configuration becomes: typed values, services for the proxy, verdicts for the kernel, lists.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{FULL, Site, certificate, day, with};
use proptest::prelude::*;
use weir_abi::{Class, Topology, Verdict};
use weir_config::{
    Contents, HookSetting, Managed, Severity, load_at, load_lists, load_lists_with, load_text,
    state_directory,
};
use weir_config::{KeyPlace, KeySource};
use weir_link::UpstreamKind;
use weir_policy::{OutlookSetting, RuleSetName, Values, WindowsLogonSetting};
use weir_tables::{Lists, Scope};

#[test]
fn every_value_arrives() {
    let site = Site::new();
    let loaded = site.load(FULL).expect("a good configuration");
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.file, site.path("weir.toml"));
    assert_eq!(config.appliance.name, "weir-1");
    assert_eq!(config.appliance.run.to_str(), Some("/run/weir"));
    assert_eq!(config.appliance.state, site.path("state"));
    assert_eq!(config.appliance.control_group.as_deref(), Some("weir"));
    assert_eq!(
        config.appliance.proxy_protocol_from,
        ["10.9.0.0/24".parse().expect("a prefix")]
    );
    assert_eq!((config.kernel.mark, config.kernel.table), (0x5745, 5745));
    assert_eq!(
        (config.kernel.outside, config.kernel.inside),
        (vec!["eth0".into()], vec!["eth1".into()])
    );

    let [sts, adfs] = config.services.as_slice() else {
        panic!("two services")
    };
    assert_eq!(sts.hosts, ["sts.corp.example"]);
    assert_eq!(sts.ports, [443, 49443]);
    assert_eq!(
        (sts.rules, sts.managed),
        (RuleSetName::Office365Strict, Managed::Forward)
    );
    assert_eq!(sts.outlook, Some(OutlookSetting::RelayOnly));
    assert_eq!(sts.windows_logon, WindowsLogonSetting::Block);
    assert_eq!(sts.upstream.kind, UpstreamKind::Wap);
    assert_eq!(sts.upstream.server_name, "sts.corp.example");
    assert_eq!(sts.upstream.ca, Some(site.path("ca.pem")));
    assert_eq!(sts.certificates[0].certificate, site.path("chain.pem"));
    assert!(sts.http1_only && !adfs.http1_only);
    assert_eq!(adfs.ports, [443]);
    assert_eq!(
        adfs.rules,
        RuleSetName::Office365Strict,
        "the default rule set"
    );
    assert_eq!(adfs.tunnel, ["certauth.adfs.corp.example"]);
    assert_eq!(
        adfs.upstream.servers,
        ["192.0.2.21:443".parse::<SocketAddr>().expect("a server")]
    );

    assert_eq!(config.rules[0].name, "contractors");
    assert_eq!(config.rules[0].when.flow, Values::One("active".into()));
    let not = config.rules[0].when.not.as_ref().expect("a condition");
    assert_eq!(
        not.list,
        Values::Many(vec!["hq-egress".into(), "casb".into()])
    );
    assert_eq!(
        config.rules[1].then.target.as_deref(),
        Some("https://payroll.proxy.example{query}")
    );
    assert_eq!(
        config.applications["payroll"].relying_parties,
        ["urn:payroll"]
    );
}

/// The policy of the first service as it was loaded last.
fn loaded_policy(site: &Site) -> weir_policy::PolicySpec {
    let loaded = load_at(site.path("weir.toml"), day(2026, 6, 1)).expect("it was loaded before");
    loaded.config.policy(&loaded.config.services[0])
}

#[test]
fn how_tokens_are_looked_at_arrives() {
    let site = Site::new();
    let tokens = |lines: &str| {
        let written = format!("ca = \"ca.pem\"\n[service.tokens]\n{lines}");
        let loaded = site.load(&with("ca = \"ca.pem\"", &written));
        let loaded = loaded.expect("a good configuration");
        let services = loaded.config.link_services().expect("the files are there");
        let [sts, adfs] = services.as_slice() else {
            panic!("two services")
        };
        assert_eq!(adfs.tokens, None);
        let linked = sts.tokens.clone().expect("they are looked at");
        assert!(linked.keys.is_empty(), "keys come later");
        (
            loaded.config.services[0]
                .tokens
                .clone()
                .expect("as written"),
            linked,
        )
    };
    let usual = |path: &str| {
        Some(KeySource {
            place: KeyPlace::Upstream(path.to_owned()),
            named: false,
        })
    };
    let (plain, linked) = tokens("");
    assert_eq!(
        plain.keys.metadata,
        usual("/FederationMetadata/2007-06/FederationMetadata.xml")
    );
    assert_eq!(
        plain.keys.discovery,
        usual("/adfs/.well-known/openid-configuration")
    );
    assert_eq!(plain.keys.jwks, usual("/adfs/discovery/keys"));
    assert_eq!(linked.mapping.preset.as_deref(), Some("adfs"));
    assert!(!plain.decide && linked.audiences.is_empty());

    let (named, linked) = tokens(
        "metadata = \"https://sts.example/m.xml?appid=1\"\naudiences = [\"urn:a\"]\ndecide = true\nignore_case = \
         true\nforms = { \"https://login.example:8443\" = \"https://login.casb.example\" }\n[service.tokens.claims]\ndepartment = \
         \"urn:department\"\nlevel = [\"urn:a\", \"urn:b\"]",
    );
    let metadata = named.keys.metadata.expect("it is named");
    let elsewhere = KeyPlace::Elsewhere("https://sts.example/m.xml?appid=1".to_owned());
    assert_eq!((&metadata.place, metadata.named), (&elsewhere, true));
    assert_eq!(metadata.place.to_string(), "https://sts.example/m.xml");
    let policy = &loaded_policy(&site);
    assert!(policy.decide_at_token && policy.claims_any_case);
    assert_eq!(policy.claims, ["department", "level"]);
    assert_eq!(
        (linked.audiences, linked.forms),
        (
            vec!["urn:a".to_owned()],
            [(
                "https://login.example:8443".to_owned(),
                "https://login.casb.example".to_owned()
            )]
            .into()
        )
    );
    assert_eq!(linked.mapping.claims["department"], ["urn:department"]);
    assert_eq!(linked.mapping.claims["level"], ["urn:a", "urn:b"]);

    site.write("keys/sts.xml", "<EntityDescriptor/>");
    let (file, _) = tokens("file = \"keys/sts.xml\"");
    let place = file.keys.metadata.map(|source| source.place);
    assert_eq!(place, Some(KeyPlace::File(site.path("keys/sts.xml"))));
    assert_eq!((file.keys.discovery, file.keys.jwks), (None, None));
}

#[test]
fn defaults_are_safe() {
    let site = Site::new();
    let text = r#"
[appliance]
name = "weir-1"
[kernel]
outside = ["eth0"]
inside = ["eth1"]
[[service]]
name = "sts"
hosts = ["sts.corp.example"]
addresses = ["192.0.2.10"]
profile = "adfs"
managed = "proxy"
certificate = "chain.pem"
key = "key.pem"
upstream = { kind = "wap", servers = ["192.0.2.11:443"] }
"#;
    let config = site.load(text).expect("a good configuration").config;
    assert_eq!(config.appliance.run.to_str(), Some("/run/weir"));
    assert_eq!(config.appliance.control_group, None, "root alone");
    assert_eq!(config.appliance.proxy_user, "weir-proxy");
    assert!(config.appliance.proxy_protocol_from.is_empty());
    let service = &config.services[0];
    assert_eq!(service.rules, RuleSetName::Office365Strict);
    assert_eq!(service.windows_logon, WindowsLogonSetting::Block);
    assert!(!service.accept_intranet);
}

#[test]
fn the_hook_is_chosen_in_the_file() {
    let site = Site::new();
    let hook = |text: &str| Some(site.load(text).ok()?.config.kernel.hook);
    assert_eq!(hook(FULL), Some(HookSetting::Auto));
    for (word, meaning) in [
        ("auto", HookSetting::Auto),
        ("tcx", HookSetting::Tcx),
        ("xdp", HookSetting::Xdp),
    ] {
        let line = format!("table = 5745\nhook = \"{word}\"");
        assert_eq!(hook(&with("table = 5745", &line)), Some(meaning));
    }
    let said = site.said(&with("table = 5745", "hook = \"generic\""));
    assert!(
        said.contains("unknown value `generic` for `hook`"),
        "{said}"
    );
}

#[test]
fn a_sources_new_connections_are_bounded_in_the_file() {
    let site = Site::new();
    let bounds = |text: &str| {
        let kernel = site.load(text).ok()?.config.kernel;
        Some((kernel.new_connections, kernel.new_connections_forwarded))
    };
    assert_eq!(bounds(FULL), Some((500, 5000)));
    let lines = "table = 5745\nnew_connections = 0\nnew_connections_forwarded = 70_000";
    assert_eq!(bounds(&with("table = 5745", lines)), Some((0, 70_000)));
    let said = site.said(&with("table = 5745", "new_connections = -1"));
    assert!(said.contains("`new_connections`"), "{said}");
}

#[test]
fn the_kernel_or_a_service_is_only_observed() {
    let site = Site::new();
    let observed = |text: &str| {
        let config = site.load(text).ok()?.config;
        let services = config.services.iter().map(|service| service.observe);
        Some((services.collect::<Vec<_>>(), config.kernel.flow_sample))
    };
    assert_eq!(observed(FULL), Some((vec![false, false], 1)));
    let all = with(
        "table = 5745",
        "table = 5745\nobserve = true\nflow_sample = 50",
    );
    assert_eq!(observed(&all), Some((vec![true, true], 50)));
    let one = FULL.replacen("[[service]]", "[[service]]\nobserve = true", 1);
    assert_eq!(observed(&one), Some((vec![true, false], 1)));
    for (text, whom) in [(&all, "every service"), (&one, "this service")] {
        let warned = site.load(text).expect("it can be observed").warnings;
        let words = warned.to_string();
        assert!(
            words.contains(&format!("{whom} is only observed")),
            "{words}"
        );
    }
    let said = site.said(&with("table = 5745", "observe = \"yes\""));
    assert!(said.contains("`observe`"), "{said}");
}

#[test]
fn verdicts_follow_from_where_managed_flows_go() {
    let config = Site::new().load(FULL).expect("a good configuration").config;
    let verdict =
        |service: usize, class: Class| config.services[service].verdicts()[class as usize];
    assert_eq!(verdict(0, Class::Managed), Verdict::Forward);
    assert_eq!(verdict(1, Class::Managed), Verdict::Proxy);
    for service in [0, 1] {
        assert_eq!(verdict(service, Class::Unmanaged), Verdict::Proxy);
        assert_eq!(verdict(service, Class::Bypass), Verdict::Proxy);
        assert_eq!(verdict(service, Class::Relay), Verdict::Proxy);
        assert_eq!(verdict(service, Class::Blocked), Verdict::Drop);
    }
}

#[test]
fn services_for_the_proxy_hold_their_files() {
    let site = Site::new();
    let config = site.load(FULL).expect("a good configuration").config;
    let services = config.link_services().expect("files that are there");
    assert_eq!(services.len(), 2);
    assert!(
        services[0].certificates[0]
            .chain
            .contains("BEGIN CERTIFICATE")
    );
    assert!(services[0].certificates[0].key.contains("PRIVATE KEY"));
    assert!(
        services[0]
            .upstream
            .ca
            .as_ref()
            .is_some_and(|ca| ca.contains("BEGIN CERTIFICATE"))
    );
    assert_eq!(services[1].policy.service, "adfs");
    assert_eq!(services[1].policy.rules.len(), 2);
    assert_eq!(services[1].policy.applications.len(), 1);

    std::fs::remove_file(site.path("key.pem")).expect("the key");
    let report = config.link_services().expect_err("no key");
    assert_eq!(
        site.plain(&report).lines().take(2).collect::<Vec<_>>(),
        [
            "error: cannot read the key `key.pem`: there is no such file",
            "  --> weir.toml:27:7",
        ]
    );
}

#[test]
fn the_digest_changes_with_the_file() {
    let site = Site::new();
    let one = site.load(FULL).expect("a good configuration").digest;
    assert_eq!(one.len(), 64);
    assert_eq!(site.load(FULL).expect("the same").digest, one);
    assert_ne!(
        site.load(&format!("{FULL}# x\n")).expect("another").digest,
        one
    );
}

#[test]
fn lists_come_from_the_file_and_from_files_of_their_own() {
    let site = Site::new();
    let config = site.load(FULL).expect("a good configuration").config;
    assert!(
        matches!(&config.lists[0].contents, Contents::Inline { line: 54, prefixes } if prefixes.len() == 2)
    );
    assert!(
        matches!(&config.lists[1].contents, Contents::File(path) if *path == site.path("lists/casb.list"))
    );
    let (lists, report) = load_lists(&config).expect("good lists");
    assert_eq!(
        site.plain(&report).lines().next(),
        Some("note: list `embargo` holds no prefix")
    );
    assert_eq!(lists[1].scope, Scope::Web);
    let compiled = Lists::compile(&lists);
    let found = |source: &str| compiled.find(source.parse().expect("an address"));
    assert_eq!(
        found("198.51.100.9").list,
        Some("hq-egress"),
        "the longest prefix, once IPv6"
    );
    assert_eq!(found("198.51.100.10").list, Some("casb"));
    assert_eq!(found("2001:db8:40::1").class, Class::Relay);
}

#[test]
fn a_bad_line_in_a_list_names_its_file_and_the_fix() {
    let site = Site::new();
    let config = site.load(FULL).expect("a good configuration").config;
    site.write(
        "lists/casb.list",
        "198.51.100.0/25\n\n198.51.100.300\n10.1.1.1/8\n",
    );
    let report = load_lists(&config).expect_err("a bad line");
    assert_eq!(report.count(Severity::Error), 1);
    assert!(
        site.plain(&report).starts_with(
            "error: `300` is above 255\n \
             --> lists/casb.list:3:12\n  \
             |\n\
             3 | 198.51.100.300\n  \
             |            ^^^\n  \
             = help: an IPv4 address has four numbers from 0 to 255\n\
             \n\
             warning: `10.1.1.1/8` has bits set after its length\n"
        ),
        "{}",
        site.plain(&report)
    );
    site.write("lists/casb.list", "198.51.100.0/25\n");
    assert!(load_lists(&config).is_ok());
}

#[test]
fn a_list_file_that_is_gone_is_an_error_at_the_line_that_names_it() {
    let site = Site::new();
    let config = site.load(FULL).expect("a good configuration").config;
    std::fs::remove_file(site.path("lists/casb.list")).expect("the list");
    let report = load_lists(&config).expect_err("no list");
    assert_eq!(
        site.plain(&report).lines().take(2).collect::<Vec<_>>(),
        [
            "error: cannot read the list `lists/casb.list`: there is no such file",
            "  --> weir.toml:60:8",
        ]
    );
}

#[test]
fn prefixes_longer_than_a_block_of_the_kernel_cost_no_more_than_others() {
    let site = Site::new();
    let config = site.load(FULL).expect("a good configuration").config;
    let halves = (0..17_000u32).map(|block| Ipv4Addr::from_bits(0x0a00_0000 + (block << 8)));
    let text: String = halves
        .flat_map(|half| [half.to_string(), "/25\n".to_owned()])
        .collect();
    site.write("lists/casb.list", &text);
    assert!(load_lists(&config).is_ok());
}

#[test]
fn certificates_are_checked_against_the_clock() {
    let site = Site::new();
    site.write("weir.toml", FULL);
    let first = |now| {
        let loaded = load_at(site.path("weir.toml"), now).expect("warnings at most");
        loaded
            .warnings
            .diagnostics
            .first()
            .map(|said| said.message.clone())
    };
    assert_eq!(first(day(2026, 11, 30)), None);
    assert_eq!(
        first(day(2026, 12, 10)).as_deref(),
        Some("this certificate expires on 2026-12-31")
    );
    assert_eq!(
        first(day(2027, 1, 2)).as_deref(),
        Some("this certificate expired on 2026-12-31: clients refuse it")
    );
    assert_eq!(
        first(day(2025, 12, 1)).as_deref(),
        Some("this certificate is valid from 2026-01-01 on, not yet")
    );
}

#[test]
fn keys_are_checked_against_their_certificates() {
    let site = Site::new();
    let said = || {
        let report = site.load(FULL).expect_err("an error");
        report.diagnostics[0].message.clone()
    };
    let (chain, key) = certificate(&["sts.corp.example", "*.corp.example"]);
    let (other, _) = certificate(&["ca.corp.example"]);

    site.write("key.pem", &key);
    assert_eq!(said(), "the certificate and the key do not belong together");

    site.write("chain.pem", &format!("{other}{chain}"));
    assert_eq!(
        said(),
        "the key belongs to certificate 2 of the chain, not to the first"
    );

    site.write("chain.pem", &format!("{chain}{other}"));
    assert!(site.load(FULL).is_ok());

    site.write(
        "key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert_eq!(
        said(),
        format!("the key `{}` is encrypted", site.path("key.pem").display())
    );
}

#[test]
fn a_key_that_everyone_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(site.path("key.pem"), mode).expect("a mode");
    let warnings = site.load(FULL).expect("a warning at most").warnings;
    assert!(
        warnings.diagnostics[0]
            .message
            .starts_with("everyone on this machine may read the key")
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_an_error() {
    let site = Site::new();
    let report = load_at(site.path("weir.toml"), day(2026, 6, 1)).expect_err("no file");
    assert_eq!(
        site.plain(&report),
        "error: cannot read the configuration `weir.toml`: there is no such file\n  --> weir.toml\n"
    );
    std::fs::write(site.path("weir.toml"), b"[appliance]\nname = \"\xff\"\n").expect("a file");
    let report = load_at(site.path("weir.toml"), day(2026, 6, 1)).expect_err("no text");
    assert!(
        report.diagnostics[0]
            .message
            .ends_with("is not UTF-8 text (line 2)")
    );
}

#[test]
fn what_never_ends_is_not_waited_for() {
    let site = Site::new();
    let path = site.path("weir.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("coreutils").success());
    let pipe = load_at(&path, day(2026, 6, 1)).expect_err("a pipe");
    let device = load_at("/dev/zero", day(2026, 6, 1)).expect_err("a device");
    for report in [pipe, device] {
        let message = &report.diagnostics[0].message;
        assert!(
            message.ends_with("it is no file, but a pipe or a device"),
            "{message}"
        );
    }
    std::fs::remove_file(&path).expect("the pipe");
    let long = std::fs::File::create(&path).expect("a file");
    long.set_len(600 << 20).expect("room without blocks");
    let report = load_at(&path, day(2026, 6, 1)).expect_err("a long file");
    let message = &report.diagnostics[0].message;
    assert!(message.ends_with("it is longer than 512 MiB"), "{message}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_matter() {
    let site = Site::new();
    let text = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert_eq!(site.said(&text), "");
    let text = text.replace("managed = \"proxy\"", "managed = \"forwrd\"");
    assert!(site.said(&text).contains("weir.toml:45:11\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_text_panics(
        at in any::<prop::sample::Index>(),
        cut in 0usize..40,
        insert in "(?s)[\\[\\]{}=\"'a-z0-9.,\n# \u{e9}-]{0,12}",
    ) {
        let site = Site::new();
        let start = at.index(FULL.len());
        let end = (start + cut).min(FULL.len());
        let text = format!("{}{insert}{}", &FULL[..start], &FULL[end..]);
        if let Ok(loaded) = site.load(&text) {
            prop_assert!(!loaded.warnings.has_errors());
            prop_assert!(!loaded.config.services.is_empty());
        }
    }
}

#[test]
fn each_fail_mode_says_what_becomes_of_the_proxys_classes() {
    let site = Site::new();
    let without_proxy = |mode: &str| {
        let text = format!("managed = \"proxy\"\n{mode}accept_intranet = true");
        let config = site
            .load(&with("managed = \"proxy\"", &text))
            .expect("good")
            .config;
        let service = &config.services[1];
        assert_eq!(service.verdicts()[Class::Managed as usize], Verdict::Proxy);
        service.verdicts_without_proxy()
    };
    for (mode, managed, others) in [
        ("", Verdict::Reject, Verdict::Reject),
        ("proxy_down = \"drop\"\n", Verdict::Drop, Verdict::Drop),
        (
            "proxy_down = \"forward-managed\"\n",
            Verdict::Forward,
            Verdict::Reject,
        ),
    ] {
        let verdicts = without_proxy(mode);
        for class in Class::ALL {
            let expected = match class {
                Class::Managed => managed,
                Class::Blocked => Verdict::Drop,
                _ => others,
            };
            assert_eq!(verdicts[class as usize], expected, "{mode}: {class:?}");
        }
    }
    let forwarded = site.load(FULL).expect("good").config;
    let verdicts = forwarded.services[0].verdicts_without_proxy();
    assert_eq!(verdicts[Class::Managed as usize], Verdict::Forward);
}

#[test]
fn a_service_names_its_topology_and_servers() {
    let site = Site::new();
    let routed = site.load(FULL).expect("good").config;
    assert_eq!(routed.services[0].topology, Topology::Route);
    assert!(routed.services[0].servers.is_empty());
    let text = "managed = \"forward\"\ntopology = \"dsr\"\nservers = [\"192.0.2.21\", \"2001:db8:10::21\"]";
    let loaded = site
        .load(&with("managed = \"forward\"", text))
        .expect("good");
    let service = &loaded.config.services[0];
    assert_eq!(service.topology, Topology::Dsr);
    let servers: Vec<_> = service.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.21", "2001:db8:10::21"]);
}

#[test]
fn the_restart_grace_has_units_and_a_default() {
    let site = Site::new();
    let grace = |line: &str| {
        let text = with("restart_grace = \"5s\"\n", line);
        site.load(&text)
            .expect("good")
            .config
            .appliance
            .restart_grace
    };
    assert_eq!(grace(""), Duration::from_secs(5));
    assert_eq!(
        grace("restart_grace = \"1500ms\"\n"),
        Duration::from_millis(1500)
    );
    assert_eq!(grace("restart_grace = \"1m\"\n"), Duration::from_mins(1));
}

#[test]
fn a_copy_stands_in_for_a_file_that_cannot_be_read() {
    let site = Site::new();
    let good = site.load(FULL).expect("good");
    assert_eq!(good.text, FULL);
    let path = site.path("weir.toml");
    let state = |text: &str| state_directory(&path, text);
    assert_eq!(
        state(&FULL.replace("[kernel]", "[kernel")),
        site.path("state")
    );
    assert_eq!(state("").to_str(), Some("/var/lib/weir"));

    let copy = load_text(&path, &good.text, day(2026, 6, 1)).expect("as good as it was");
    assert_eq!(copy.digest, good.digest);
    site.write("lists/casb.list", "half a li");
    load_lists(&copy.config).expect_err("a broken list");
    let list = (site.path("lists/casb.list"), "198.51.100.0/26\n".to_owned());
    let (lists, _) = load_lists_with(&copy.config, &[list].into()).expect("its copy");
    let casb = lists
        .iter()
        .find(|list| list.name == "casb")
        .expect("it is there");
    assert_eq!(
        casb.prefixes,
        ["198.51.100.0/26".parse().expect("a prefix")]
    );
}

#[test]
fn accepting_the_intranet_is_said_in_the_file() {
    let site = Site::new();
    let text = with(
        "managed = \"proxy\"",
        "managed = \"forward\"\naccept_intranet = true",
    );
    let config = site.load(&text).expect("accepted").config;
    assert_eq!(config.services[1].managed, Managed::Forward);
}

#[test]
fn the_group_that_may_only_ask_is_another_than_the_one_that_may_change() {
    let site = Site::new();
    let groups = |read: &str| {
        let both = format!("control_group = \"weir\"\nread_group = {read}");
        with("control_group = \"weir\"", &both)
    };
    let loaded = site.load(&groups("\"weir-read\"")).expect("two groups");
    assert_eq!(
        loaded.config.appliance.read_group.as_deref(),
        Some("weir-read")
    );
    assert!(loaded.warnings.is_empty());
    let said = site.said(&groups("\"weir\""));
    assert!(said.contains("weir.toml:6:14"), "{said}");
    assert!(said.contains("may change everything already"), "{said}");
    let said = site.said(&groups("\"two words\""));
    assert!(said.contains("cannot be the name of a group"), "{said}");
}
