//! Sign-ins as a proxy tells of them.

use std::net::{IpAddr, SocketAddr};

use weir_abi::Class;
use weir_link::{GrantAsked, SignIn};

/// The principal of a tenant that a hexadecimal digit stands for.
pub fn principal(who: char) -> String {
    format!("00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000{who}")
}

/// What [`super::CONFIG`] needs for [`earn`]: a pool in which every address is one person's, and a rule that
/// grants.
pub fn grants() -> [(&'static str, String); 2] {
    let rule = "[grants]\nsingle_user = [\"10.20.0.0/16\"]\n[[rule]]\nname = \"grant\"\nwhen = { group = \"staff\" }\n\
                then = { decision = \"pass\", grant = { class = \"managed\", for = \"60m\", kernel = true } }\n\
                [kernel]";
    [
        ("[kernel]", rule.to_owned()),
        (
            "[service.upstream]",
            "[service.tokens]\ndecide = true\n[service.upstream]".to_owned(),
        ),
    ]
}

/// A sign-in of [`principal`] for which a rule grants the kernel's path, for so many seconds.
pub fn earn(who: char, source: &str, seconds: u64) -> SignIn {
    let source: IpAddr = source.parse().expect("an address");
    SignIn {
        number: 1,
        ago: 0,
        principal: principal(who).parse().expect("two ids"),
        source,
        peer: SocketAddr::new(source, 40000),
        service: "sts".to_owned(),
        id: "00000000000000a1".to_owned(),
        grant: Some(GrantAsked {
            rule: "rule/grant".to_owned(),
            class: Class::Managed,
            seconds,
            kernel: true,
        }),
    }
}
