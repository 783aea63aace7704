//! A decision of the proxy, as it tells of one.

use weir_abi::Class;
use weir_link::{Event, EventKind};

/// A request that was blocked, with all that there can be in an event.
pub fn event(id: &str) -> Event {
    let text = |text: &str| Some(text.to_owned());
    Event {
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        id: id.to_owned(),
        kind: EventKind::Request,
        generation: 1,
        service: text("sts"),
        peer: ([198, 51, 100, 7], 50_000).into(),
        effective_source: Some([192, 0, 2, 9].into()),
        class: Class::Unmanaged,
        list: text("hq-egress"),
        method: text("POST"),
        host: text("sts.corp.example"),
        path: text("/adfs/services/trust/2005/usernamemixed"),
        flow: text("active"),
        client: text("native"),
        relying_party: text("urn:federation:MicrosoftOnline"),
        stated_user: text("ann@corp.example"),
        decision: "block".to_owned(),
        rule: "office365-strict/native-unmanaged".to_owned(),
        reason: text("because"),
        status: Some(403),
        client_request_id: text("c"),
        decided_in_us: Some(12),
    }
}
