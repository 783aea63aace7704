//! Sign-ins as a proxy tells of them.

use std::net::{IpAddr, SocketAddr};

use weir_abi::Class;
use weir_link::{GrantAsked, SignIn};

/// The principal of a tenant that a hexadecimal digit stands for.
pub fn principal(who: char) -> String {
    format!("00000000-0000-0000-0000-000000000001/00000000-0000-0000-0000-00000000000{who}")
}

/// A sign-in of [`principal`] for which a rule grants the kernel's path, for so many seconds.
pub fn earn(who: char, source: &str, seconds: u64) -> SignIn {
    let source: IpAddr = source.parse().expect("an address");
    SignIn {
        principal: principal(who).parse().expect("two ids"),
        source,
        peer: SocketAddr::new(source, 40000),
        service: "sts".to_owned(),
        id: "00000000000000a1".to_owned(),
        grant: Some(GrantAsked {
            rule: "own/grant".to_owned(),
            class: Class::Managed,
            seconds,
            kernel: true,
        }),
    }
}
