//! Evidence about the tenant, as the document describes it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use http::Method;
use weir_control::testing::Appliance;

use super::Seen;
use crate::tenant::Tenant;

const KEY: &str = "/v1/entra/review/key";
const SIGNATURE: &str = "/v1/entra/review/signature";
const SIGN_INS: &str = "/v1/entra/sign-ins";
const USER: &str = "/v1/explain/user";

/// What is handed out, and everything that can be wrong with that.
pub async fn evidence(seen: &mut Seen) {
    let plain = Appliance::start().await;
    let unread = Tenant::unread().await;
    let silent = &unread.appliance;
    let Tenant { lab, appliance } = &Tenant::start().await;
    let mut check = async |of: &Appliance, path: &str, query: &str, status: u16| {
        let target = format!("{path}{query}");
        let got = seen.ask(of, Method::GET, path, &target, "").await;
        assert_eq!(got, status, "{target}");
    };
    let exports = [
        ("access", ""),
        ("joiners", "&from=2026-01-01"),
        ("leavers", "&from=2026-01-01"),
        ("posture", ""),
    ];
    let exports = exports.map(|(what, query)| (format!("/v1/entra/review/{what}"), query));
    for (path, query) in &exports {
        for format in ["csv", "json"] {
            let query = format!("?format={format}{query}");
            check(appliance, path, &query, 200).await;
            check(silent, path, &query, 409).await;
            check(&plain, path, &query, 404).await;
        }
        check(appliance, path, "?format=xlsx", 400).await;
    }
    let alice = "?user=alice@mex.corp.example";
    let nobody = format!("?user={}/{}", lab.tenant(), uuid::Uuid::nil());
    for (of, path, query, status) in [
        (appliance, KEY, "", 200),
        (appliance, KEY, "?format=csv", 400),
        (&plain, KEY, "", 404),
        (appliance, SIGNATURE, "?export=1", 200),
        (appliance, SIGNATURE, "", 400),
        (appliance, SIGNATURE, "?export=99", 404),
        (appliance, SIGN_INS, "", 200),
        (appliance, SIGN_INS, "?from=noon", 400),
        (&plain, SIGN_INS, "", 404),
        (silent, SIGN_INS, "", 409),
        (appliance, SIGN_INS, "?source=x", 422),
        (appliance, USER, alice, 200),
        (appliance, USER, "", 400),
        (appliance, USER, &nobody, 404),
        (silent, USER, alice, 409),
    ] {
        check(of, path, query, status).await;
    }
    // A key that others may read signs nothing.
    let key = appliance.path("state/entra/evidence/evidence.key");
    std::fs::set_permissions(key, Permissions::from_mode(0o644)).expect("it is ours");
    for (path, query) in &exports {
        check(appliance, path, &query.replacen('&', "?", 1), 500).await;
    }
    check(appliance, KEY, "", 500).await;
    check(appliance, SIGNATURE, "?export=1", 500).await;
}
