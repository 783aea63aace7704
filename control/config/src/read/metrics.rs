//! `[metrics]`: where the state of the appliance is told to whoever collects metrics.

use std::net::{IpAddr, SocketAddr};

use crate::reader::{At, Context, Table};

/// More addresses than a machine has management networks.
const MOST: usize = 8;

/// Reads the table; without one nobody listens.
pub(super) fn read(context: &Context<'_>, table: Option<&Table<'_>>) -> Vec<At<SocketAddr>> {
    let Some(table) = table else {
        return Vec::new();
    };
    if !table.has("listen") {
        let help = "name the address and port of the management side that Prometheus asks: write \
                    `listen = [\"127.0.0.1:9464\"]`";
        table.missing("listen", help);
    }
    let mut listen: Vec<At<SocketAddr>> = Vec::new();
    for item in table.one_or_more("listen").unwrap_or_default() {
        let Some(address) = address(context, &item) else {
            continue;
        };
        if listen.iter().any(|other| other.value == address) {
            let message = format!("`{address}` is named twice");
            context.error(&item.span, message, "name each address once");
        } else if listen.len() == MOST {
            let message = format!("more than {MOST} addresses to listen on");
            context.error(
                &item.span,
                message,
                "name those of the management side alone",
            );
            break;
        } else {
            listen.push(At {
                value: address,
                span: item.span,
            });
        }
    }
    listen
}

/// An address of this machine, by itself and with its port.
fn address(context: &Context<'_>, item: &At<String>) -> Option<SocketAddr> {
    let written = item.value.as_str();
    let (message, help) = match written.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => (
            format!(
                "`{written}` is every address of this machine, also those towards the Internet"
            ),
            "name the address of the management side, such as `127.0.0.1:9464`".to_owned(),
        ),
        Ok(address) if address.port() == 0 || address.ip().is_multicast() => (
            format!("`{written}` cannot be listened on"),
            "write an address of this machine and a port, such as `127.0.0.1:9464`".to_owned(),
        ),
        Ok(address) => return Some(address),
        Err(_) => {
            let bare = written.trim_matches(['[', ']', ' ']).parse::<IpAddr>();
            let help = match bare {
                Ok(address) => format!(
                    "the port is missing: write `{}`",
                    SocketAddr::new(address, 9464)
                ),
                Err(_) => "write an address and a port, such as `127.0.0.1:9464` or `[::1]:9464`"
                    .to_owned(),
            };
            (format!("`{written}` is no address with a port"), help)
        }
    };
    context.error(&item.span, message, help);
    None
}
