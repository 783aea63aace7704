//! Services in front of a relying party, whose reply URLs they serve.

mod common;
#[path = "common/said.rs"]
mod said;

use common::{Site, with};
use said::check;

#[test]
fn a_relying_party_has_the_keys_and_the_names_of_claims_of_the_service_whose_tokens_it_gets() {
    let site = Site::new();
    let text = with(
        "ca = \"ca.pem\"",
        "ca = \"ca.pem\"\n[service.tokens]\nignore_case = true\ncomplete = [\"level\"]\n\
         [service.tokens.claims]\nlevel = \"urn:level\"\nsite = \"urn:site\"",
    ) + r#"
[[service]]
name = "portal"
hosts = ["portal.corp.example"]
addresses = ["192.0.2.30"]
profile = "portal"
managed = "proxy"
reverse_proxy = "https://portal.proxy.example/"
certificate = "chain.pem"
key = "key.pem"
[service.upstream]
kind = "plain"
servers = ["192.0.2.31:443"]
[service.tokens]
tokens_of = "sts"
audiences = ["urn:portal"]
[service.tokens.claims]
site = "urn:other"

[profile.portal]
rows = [
    { path = "/saml/acs", flow = "passive", reads = "reply", methods = "POST" },
    { path = "/**", flow = "asset" },
]
"#;
    let loaded = site.load(&text).expect("a good configuration");
    let said = loaded.warnings.to_string();
    assert!(!said.contains("{query}"), "{said}");
    let portal = loaded.config.services.last().expect("it is the last");
    let policy = loaded.config.policy(portal);
    assert!(policy.decide_at_token && policy.claims_any_case);
    assert_eq!(policy.claims, ["level", "site"]);
    let services = loaded.config.link_services().expect("the files are there");
    let tokens = services.last().and_then(|portal| portal.tokens.clone());
    let tokens = tokens.expect("they are looked at");
    assert_eq!(tokens.keys_of.as_deref(), Some("sts"));
    assert_eq!(tokens.mapping.preset.as_deref(), Some("adfs"));
    assert_eq!(tokens.mapping.claims["level"], ["urn:level"]);
    assert_eq!(tokens.mapping.claims["site"], ["urn:other"]);
    assert!(tokens.mapping.complete.contains("level"));
}

#[test]
fn mistakes_in_front_of_a_relying_party() {
    let party = |tokens: &str, rows: &str| {
        with(
            "server_name = \"adfs.corp.example\" }",
            "server_name = \"app.corp.example\" }",
        )
        .replace("kind = \"adfs\"", "kind = \"plain\"")
        .replace("profile = \"adfs\"\nmanaged", "profile = \"app\"\nmanaged")
        .replace(
            "[service.upstream]\nkind = \"wap\"",
            "[service.tokens]\n[service.upstream]\nkind = \"wap\"",
        )
        .replace(
            "[[list]]\nname = \"hq-egress\"",
            &format!("{tokens}\n[profile.app]\nrows = [{rows}]\n\n[[list]]\nname = \"hq-egress\""),
        )
        .replace("upstream = {", "[service.upstream]\n")
        .replace(
            ", servers = [\"192.0.2.21:443\"], server_name",
            "\nservers = [\"192.0.2.21:443\"]\nserver_name",
        )
        .replace("\"app.corp.example\" }", "\"app.corp.example\"")
    };
    let reply = "{ path = \"/saml/acs\", flow = \"passive\", reads = \"reply\" }, { path = \"/**\", flow = \"asset\" }";
    let tokens = |lines: &str| party(&format!("[service.tokens]\n{lines}"), reply);
    let right = "tokens_of = \"sts\"\naudiences = [\"urn:a\"]";
    check(&[
        ("replies-unverified", party("", reply)),
        ("replies-for-anybody", tokens("tokens_of = \"sts\"")),
        (
            "replies-of-nobody",
            tokens("tokens_of = \"stss\"\naudiences = [\"urn:a\"]"),
        ),
        (
            "replies-of-itself",
            tokens("tokens_of = \"adfs\"\naudiences = [\"urn:a\"]"),
        ),
        (
            "replies-of-the-unseen",
            tokens(right).replace("[service.tokens]\n[service.upstream]", "[service.upstream]"),
        ),
        (
            "replies-twice",
            tokens(&format!(
                "{right}\nmetadata = \"https://sts.example/m.xml\""
            )),
        ),
        (
            "replies-of-a-sign-in-server",
            tokens(right).replace("kind = \"plain\"", "kind = \"adfs\""),
        ),
        (
            "replies-forwarded",
            tokens(right).replace(
                "profile = \"app\"\nmanaged = \"proxy\"",
                "profile = \"app\"\nmanaged = \"forward\"",
            ),
        ),
        (
            "replies-beside-sign-ins",
            party(
                &format!("[service.tokens]\n{right}"),
                &format!("{reply}, {{ path = \"/login\", flow = \"oauth-browser\" }}"),
            ) + "\n",
        ),
        (
            "replies-like-a-sign-in-server",
            tokens(right).replace("[profile.app]", "[profile.app]\nlike = \"adfs\""),
        ),
    ]);
}
