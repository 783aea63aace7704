//! Lists that are fetched: what is read of them, and what the operator reads after a mistake.

mod common;
#[path = "common/said.rs"]
mod said;

use std::time::Duration;

use common::{Site, with};
use said::check;
use weir_config::{Contents, load_lists};
use weir_feeds::Web;
use weir_feeds::guard::Limits;
use weir_tables::Origin;

/// The full example, in which `exchange-online` is fetched.
fn fetched(lines: &str) -> String {
    with(
        "prefixes = [\"192.0.2.128/25\", \"2001:db8:40::/48\"]",
        lines,
    )
}

#[test]
fn a_list_is_fetched_from_an_address_or_from_microsoft_365() {
    let site = Site::new();
    let loaded = site
        .load(
            &(fetched(
                "url = \"https://lists.corp.example/exo.txt?key=1\"\nevery = \"30m\"\nmost = 500\n\
                 widest_v4 = 16\nwidest_v6 = 32\nshare = 10\nca = \"ca.pem\"",
            ) + "\n[outbound]\nproxy = \"http://proxy.corp.example:3128\"\nca = \"ca.pem\"\n"),
        )
        .expect("it is right");
    let config = &loaded.config;
    let Contents::Remote(remote) = &config.lists[3].contents else {
        panic!("{:?}", config.lists[3]);
    };
    let url = "https://lists.corp.example/exo.txt?key=1";
    assert_eq!(
        remote.source,
        Web::Url(url.parse().expect("an address")).into()
    );
    let shown = "https://lists.corp.example/exo.txt";
    assert_eq!(remote.source.to_string(), shown, "the query may hold a key");
    let limits = Limits {
        prefixes: 500,
        widest_v4: 16,
        widest_v6: 32,
        share: 10,
        ..Limits::default()
    };
    assert_eq!(
        (remote.limits, remote.every),
        (limits, Duration::from_mins(30))
    );
    assert_eq!(remote.ca, Some(site.path("ca.pem")));
    assert_eq!(remote.kept, site.path("state/lists/exchange-online.list"));
    let outbound = &config.outbound;
    assert_eq!(
        outbound.proxy.as_deref(),
        Some("http://proxy.corp.example:3128/")
    );
    assert_eq!(outbound.ca, Some(site.path("ca.pem")));

    let loaded = site.load(&fetched(
        "microsoft365 = [\"Exchange\", \"Common\"]\ninstance = \"USGovDoD\"",
    ));
    let loaded = loaded.expect("it is right");
    let remote = loaded.config.lists[3].contents.remote();
    let remote = remote.expect("it is fetched");
    assert_eq!(
        remote.source.to_string(),
        "Microsoft 365, USGovDoD: Common, Exchange"
    );
    assert_eq!(
        (remote.limits, remote.every),
        (Limits::default(), Duration::from_hours(1))
    );
}

#[test]
fn what_was_fetched_is_read_from_the_state_directory() {
    let site = Site::new();
    let loaded = site.load(&fetched("microsoft365 = [\"Exchange\"]"));
    let config = loaded.expect("it is right").config;
    let (lists, notes) = load_lists(&config).expect("nothing was fetched yet");
    assert_eq!(
        (lists[3].origin, lists[3].prefixes.len()),
        (Origin::Remote, 0)
    );
    let notes = site.plain(&notes);
    assert!(
        notes.contains("list `exchange-online` was not fetched yet"),
        "{notes}"
    );

    site.write("state/lists/exchange-online.list", "192.0.2.128/25\n");
    let (lists, notes) = load_lists(&config).expect("it is right");
    assert_eq!(
        (lists[3].origin, lists[3].prefixes.len()),
        (Origin::Remote, 1)
    );
    let notes = site.plain(&notes);
    assert!(!notes.contains("exchange-online"), "{notes}");
    let others = lists.iter().filter(|list| list.origin == Origin::Local);
    assert_eq!(others.count(), 3);

    site.write(
        "state/lists/exchange-online.list",
        "192.0.2.128/25\nnonsense\n",
    );
    let wrong = site.plain(&load_lists(&config).expect_err("half of it is no list"));
    assert!(
        wrong.contains("state/lists/exchange-online.list:2"),
        "{wrong}"
    );
}

#[test]
fn mistakes_in_lists_that_are_fetched() {
    let url = "url = \"https://lists.corp.example/exo.txt\"";
    check(&[
        (
            "remote-and-prefixes",
            fetched(&format!("{url}\nprefixes = []")),
        ),
        (
            "remote-twice",
            fetched(&format!("{url}\nmicrosoft365 = [\"Exchange\"]")),
        ),
        (
            "remote-without-tls",
            fetched("url = \"http://lists.corp.example/exo.txt\""),
        ),
        (
            "remote-with-a-password",
            fetched("url = \"https://ann:secret@lists.corp.example/exo.txt\""),
        ),
        (
            "remote-no-address",
            fetched("url = \"lists.corp.example/exo.txt\""),
        ),
        (
            "remote-fragment",
            fetched("url = \"https://lists.corp.example/exo.txt#egress\""),
        ),
        (
            "remote-areas",
            fetched("microsoft365 = [\"Exchnage\", \"Teams\"]\ninstance = \"Germany\""),
        ),
        ("remote-no-areas", fetched("microsoft365 = []")),
        (
            "remote-limits",
            fetched(&format!(
                "{url}\nevery = \"1m\"\nmost = 0\nwidest_v4 = 33\nwidest_v6 = 65\nshare = \"30\""
            )),
        ),
        (
            "remote-keys-on-a-local-list",
            fetched("prefixes = [\"192.0.2.128/25\"]\nevery = \"1h\"\nca = \"ca.pem\""),
        ),
        (
            "remote-keys-of-the-other-kind",
            fetched("microsoft365 = [\"Exchange\"]\nca = \"ca.pem\"")
                .replace("[[rule]]\nname = \"contractors\"", &format!("[[list]]\nname = \"more\"\nclass = \"relay\"\n{url}\ninstance = \"China\"\n[[rule]]\nname = \"contractors\"")),
        ),
        (
            "remote-no-authorities",
            fetched(&format!("{url}\nca = \"none.pem\"")) + "\n[outbound]\nca = \"key.pem\"\n",
        ),
        (
            "remote-managed",
            with(
                "prefixes = [\"203.0.113.0/24\", \"::ffff:198.51.100.9\"]",
                &format!("{url}\nmost = 20"),
            ),
        ),
        (
            "outbound-proxies",
            fetched(url) + "\n[outbound]\nproxy = \"https://proxy.corp.example:3128\"\nprxy = 1\n",
        ),
        (
            "outbound-proxy-with-a-password",
            fetched(url) + "\n[outbound]\nproxy = \"http://weir:secret@proxy.corp.example:3128\"\n",
        ),
        (
            "outbound-proxy-with-a-path",
            fetched(url) + "\n[outbound]\nproxy = \"http://proxy.corp.example:3128/pac\"\n",
        ),
    ]);
}
