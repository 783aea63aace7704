//! `[metrics]`: what arrives, and what is said about mistakes.

mod common;

use std::net::SocketAddr;

use common::{FULL, Site, with};

fn listening(on: &str) -> String {
    with("[kernel]", &format!("[metrics]\nlisten = {on}\n\n[kernel]"))
}

#[test]
fn nobody_listens_unless_it_says_where() {
    let site = Site::new();
    let listens = |text: &str| site.load(text).expect("a good file").config.metrics;
    assert_eq!(listens(FULL), []);
    let addresses: [SocketAddr; 2] = [([127, 0, 0, 1], 9464).into(), ([10, 0, 0, 5], 9464).into()];
    assert_eq!(
        listens(&listening("[\"127.0.0.1:9464\", \"10.0.0.5:9464\"]")),
        addresses
    );
    assert_eq!(listens(&listening("\"[::1]:9464\"")).len(), 1);
}

#[test]
fn who_may_read_them_is_said_where_it_is_not_this_machine_alone() {
    let site = Site::new();
    let said = site.said(&listening("[\"10.0.0.5:9464\"]"));
    assert!(
        said.contains("whoever reaches 10.0.0.5:9464 reads"),
        "{said}"
    );
    let said = site.said(&listening("[\"127.0.0.1:9464\"]"));
    assert!(!said.contains("whoever reaches"), "{said}");
}

#[test]
fn what_cannot_be_listened_on_is_refused_with_its_place() {
    let site = Site::new();
    for (written, message, help) in [
        (
            "[\"192.0.2.10:9464\"]",
            "is an address of service",
            "the management side",
        ),
        (
            "[\"::ffff:192.0.2.10:9464\"]",
            "no address with a port",
            "such as",
        ),
        (
            "[\"[::ffff:192.0.2.10]:9464\"]",
            "is an address of service",
            "the management side",
        ),
        (
            "[\"0.0.0.0:9464\"]",
            "every address of this machine",
            "127.0.0.1:9464",
        ),
        (
            "[\"[::]:9464\"]",
            "every address of this machine",
            "127.0.0.1:9464",
        ),
        ("[\"127.0.0.1:0\"]", "cannot be listened on", "a port"),
        ("[\"239.1.2.3:9464\"]", "cannot be listened on", "a port"),
        (
            "[\"127.0.0.1\"]",
            "no address with a port",
            "`127.0.0.1:9464`",
        ),
        (
            "[\"localhost:9464\"]",
            "no address with a port",
            "`127.0.0.1:9464`",
        ),
        (
            "[\"127.0.0.1:9464\", \"127.0.0.1:9464\"]",
            "is named twice",
            "once",
        ),
        ("9464", "listen", ""),
    ] {
        let text = listening(written);
        let refused = site.load(&text).expect_err(written);
        let said = site.plain(&refused);
        assert!(
            said.contains(message) && said.contains(help),
            "{written}: {said}"
        );
        assert!(said.contains("--> weir.toml:"), "{written}: {said}");
    }
    let many: Vec<String> = (1..=9)
        .map(|last| format!("\"127.0.0.{last}:9464\""))
        .collect();
    let said = site.said(&listening(&format!("[{}]", many.join(", "))));
    assert!(said.contains("more than 8 addresses"), "{said}");
}

#[test]
fn what_is_missing_or_misspelt_is_named() {
    let site = Site::new();
    let said = site.said(&with("[kernel]", "[metrics]\n\n[kernel]"));
    let words: Vec<&str> = said.split_whitespace().collect();
    let words = words.join(" ");
    assert!(
        words.contains("write `listen = [\"127.0.0.1:9464\"]`"),
        "{said}"
    );
    let nowhere = site.load(&listening("[]")).expect("it is meant so");
    assert!(nowhere.config.metrics.is_empty());
    let said = site.said(&with("[kernel]", "[metrics]\nlistne = []\n\n[kernel]"));
    assert!(said.contains("did you mean `listen`?"), "{said}");
}
