//! The file that `weir init` writes: `load` accepts it, and it says what was answered.

#[expect(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::Site;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use weir_config::Managed;
use weir_config::init::{Answers, first_configuration};
use weir_link::UpstreamKind;
use weir_policy::RuleSetName;

fn answers() -> Answers {
    Answers {
        appliance: "weir-1".to_owned(),
        outside: "eth0".to_owned(),
        inside: "eth1".to_owned(),
        host: "sts.corp.example".to_owned(),
        addresses: vec![
            "192.0.2.10".parse().expect("v4"),
            "2001:db8:10::10".parse().expect("v6"),
        ],
        profile: "adfs".to_owned(),
        upstream: UpstreamKind::Wap,
        servers: vec![],
        managed: Some(Managed::Forward),
        managed_prefixes: vec!["203.0.113.0/24".parse().expect("a prefix")],
        reverse_proxy: Some("https://sts-corp-example.proxy.example{query}".to_owned()),
        certificate: "chain.pem".to_owned(),
        key: "key.pem".to_owned(),
    }
}

#[test]
fn what_was_answered_is_what_is_loaded() {
    let site = Site::new();
    let text = first_configuration(&answers());
    let loaded = site
        .load(&text)
        .unwrap_or_else(|report| panic!("{report}\n{text}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let service = &loaded.config.services[0];
    assert_eq!(service.name, "sts");
    assert_eq!(
        service.rules,
        RuleSetName::Office365Strict,
        "the recommended rule set"
    );
    assert_eq!(service.addresses, answers().addresses);
    let servers: Vec<String> = service
        .upstream
        .servers
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.10:443", "[2001:db8:10::10]:443"]);
    let (lists, _) = weir_config::load_lists(&loaded.config).expect("good lists");
    assert_eq!(lists[0].prefixes, answers().managed_prefixes);
}

#[test]
fn every_combination_of_answers_loads() {
    let site = Site::new();
    for upstream in [UpstreamKind::Wap, UpstreamKind::Adfs, UpstreamKind::Plain] {
        for managed in [Managed::Forward, Managed::Proxy] {
            for reverse_proxy in [None, answers().reverse_proxy] {
                let answers = Answers {
                    upstream,
                    managed: Some(managed),
                    reverse_proxy,
                    managed_prefixes: vec![],
                    ..answers()
                };
                let text = first_configuration(&answers);
                match site.load(&text) {
                    Ok(loaded) => assert_eq!(loaded.config.services[0].managed, managed),
                    Err(report) => {
                        // The one combination that a person has to accept in the file.
                        assert_eq!((upstream, managed), (UpstreamKind::Adfs, Managed::Forward));
                        assert_eq!(
                            report.summary().split(',').next(),
                            Some("1 error"),
                            "{report}"
                        );
                        let accepted = text.replace("# accept_intranet", "accept_intranet");
                        assert!(site.load(&accepted).is_ok());
                    }
                }
            }
        }
    }
}

#[test]
fn an_open_decision_is_asked_for() {
    let text = first_configuration(&Answers {
        managed: None,
        ..answers()
    });
    let report = Site::new().load(&text).expect_err("a decision is open");
    assert_eq!(report.diagnostics.len(), 1, "{report}");
    assert_eq!(
        report.diagnostics[0].message,
        "`[[service]]` has no `managed`"
    );
}

#[test]
fn without_its_files_only_these_are_missing() {
    let site = Site::new();
    std::fs::remove_file(site.path("chain.pem")).expect("a file");
    std::fs::remove_file(site.path("key.pem")).expect("a file");
    let report = site
        .load(&first_configuration(&answers()))
        .expect_err("files are missing");
    assert!(
        report
            .diagnostics
            .iter()
            .all(|said| said.message.ends_with("there is no such file"))
    );
    assert_eq!(report.diagnostics.len(), 2, "{report}");
}

#[test]
fn the_examples_in_its_comments_are_right() {
    let site = Site::new();
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let params = CertificateParams::new(vec!["weir".to_owned()]).expect("a name");
    let registered = params.self_signed(&key).expect("a certificate");
    site.write("entra.pem", &registered.pem());
    site.write("entra.key", &key.serialize_pem());
    let text = first_configuration(&Answers {
        reverse_proxy: None,
        ..answers()
    });
    // Every commented line that is TOML, without the sentences.
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(toml) if toml.starts_with('[') || toml.contains(" = ") => format!("{toml}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = site
        .load(&uncommented)
        .unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.config.lists.len(), 2);
    assert_eq!(loaded.config.rules.len(), 2);
    let tokens = loaded.config.services[0].tokens.as_ref();
    assert!(tokens.is_some_and(|tokens| tokens.decide));
    assert!(loaded.config.directory.countries.is_some());
    let entra = loaded.config.entra.expect("the tenant");
    assert_eq!(entra.groups.len(), 1);
}
