//! Where metrics are served must not be where clients are.

use crate::read::Draft;
use crate::reader::Context;

/// Checks `[metrics]` against the services.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    for listen in &draft.metrics {
        let address = listen.value.ip().to_canonical();
        let owner = draft.services.iter().find(|service| {
            let mut addresses = service.addresses.iter();
            addresses.any(|own| own.value == address)
        });
        if let Some(service) = owner {
            let name = service.name.as_ref().map_or("", |name| &name.value);
            context.error(
                &listen.span,
                format!("{address} is an address of service `{name}`: the Internet would read the metrics"),
                "name an address of the management side, such as `127.0.0.1:9464`",
            );
        } else if !address.is_loopback() {
            context.note(
                &listen.span,
                format!(
                    "whoever reaches {} reads the metrics, without a password",
                    listen.value
                ),
                "let the firewall of the management side say who may",
            );
        }
    }
}
