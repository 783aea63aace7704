//! What the operator reads after a mistake, word for word. Each mistake is the full example with
//! something changed; what is said about it stands in `tests/files/said/NAME.txt`. Run with
//! `UPDATE=1` to write these files anew, and read them.

mod common;
#[path = "common/said.rs"]
mod said;

use common::{FULL, Site, with};
use said::check;

#[test]
fn mistakes_in_the_text() {
    check(&[
        ("unquoted", with("name = \"weir-1\"", "name = weir-1")),
        (
            "several-syntax-errors",
            with("name = \"weir-1\"", "name = \"weir-1").replace("mark = 0x5745", "mark = 0x57Z5"),
        ),
        (
            "unclosed-header",
            with("[kernel]", "[kernel").replace("http1_only = true", "http1_only = yes"),
        ),
        (
            "key-twice",
            with("http1_only = true", "http1_only = true\nhttp1_only = false"),
        ),
        ("wrong-comment", with("[kernel]", "; interfaces\n[kernel]")),
        ("yaml-habit", with("http1_only = true", "http1_only: true")),
        (
            "curly-quotes",
            with("name = \"weir-1\"", "name = \u{201c}weir-1\u{201d}"),
        ),
        ("nothing", String::new()),
    ]);
}

#[test]
fn mistakes_in_keys_and_types() {
    check(&[
        (
            "misspelt-key",
            with(
                "addresses = [\"192.0.2.20\"]",
                "adresses = [\"192.0.2.20\"]",
            ),
        ),
        (
            "key-of-another-product",
            with("key = \"key.pem\"", "private_key = \"key.pem\""),
        ),
        (
            "key-in-the-wrong-table",
            with("mark = 0x5745", "managed = \"forward\""),
        ),
        ("unheard-of-key", with("mark = 0x5745", "colour = \"blue\"")),
        (
            "misspelt-value",
            with("managed = \"proxy\"", "managed = \"forwrd\""),
        ),
        ("misspelt-table", with("[kernel]", "[kernell]")),
        (
            "single-brackets",
            with("[application.payroll]", "[[application.payroll]]"),
        ),
        (
            "string-for-a-list",
            with("addresses = [\"192.0.2.20\"]", "addresses = \"192.0.2.20\"")
                .replace("ports = [443, 49443]", "ports = 443"),
        ),
        (
            "wrong-types",
            with("name = \"weir-1\"", "name = 1")
                .replace("mark = 0x5745", "mark = \"22341\"")
                .replace("http1_only = true", "http1_only = \"true\"")
                .replace("ports = [443, 49443]", "ports = [443, 70000]"),
        ),
    ]);
}

#[test]
fn mistakes_in_services() {
    check(&[
        ("no-managed", with("managed = \"proxy\"\n", "")),
        (
            "forward-to-adfs",
            with("managed = \"proxy\"", "managed = \"forward\""),
        ),
        (
            "needless-accept",
            with("http1_only = true", "accept_intranet = true"),
        ),
        (
            "hosts",
            with(
                "hosts = [\"adfs.corp.example\"]",
                "hosts = [\"https://adfs.corp.example/\", \"*.corp.example\", \"192.0.2.1\"]",
            ),
        ),
        (
            "addresses",
            with(
                "addresses = [\"192.0.2.20\"]",
                "addresses = [\"192.0.2.20/32\", \"192.0.2.20:443\", \"0.0.0.0\", \"adfs.corp.example\"]",
            ),
        ),
        (
            "servers",
            with(
                "servers = [\"192.0.2.10:443\", \"[2001:db8:10::10]:443\"]",
                "servers = [\"192.0.2.10\", \"sts.corp.example:443\"]",
            ),
        ),
        (
            "shared",
            with(
                "addresses = [\"192.0.2.20\"]",
                "addresses = [\"192.0.2.10\"]",
            )
            .replace(
                "hosts = [\"adfs.corp.example\"]",
                "hosts = [\"sts.corp.example\"]",
            )
            .replace("name = \"adfs\"", "name = \"sts\""),
        ),
        (
            "forgeable",
            with("outlook = \"relay-only\"", "outlook = \"pass\"")
                .replace("windows_logon = \"block\"", "windows_logon = \"pass\""),
        ),
        (
            "forgeable-rule-set",
            with("rules = \"office365-strict\"", "rules = \"office365\"")
                .replace("outlook = \"relay-only\"\n", ""),
        ),
        (
            "plain-http-target",
            with(
                "https://adfs-corp-example.proxy.example{query}",
                "http://adfs-corp-example.proxy.example{query}",
            ),
        ),
        (
            "two-slots",
            with(
                "https://adfs-corp-example.proxy.example{query}",
                "https://adfs-corp-example.proxy.example/{query}/{query}",
            ),
        ),
        (
            "no-slot",
            with(
                "https://adfs-corp-example.proxy.example{query}",
                "https://adfs-corp-example.proxy.example/",
            ),
        ),
        (
            "no-reverse-proxy",
            with(
                "reverse_proxy = \"https://adfs-corp-example.proxy.example{query}\"\n",
                "",
            ),
        ),
        (
            "egress-not-listed",
            with("class = \"managed\"", "class = \"blocked\"")
                .replace("class = \"bypass\"\nscope = \"web\"", "class = \"relay\""),
        ),
        (
            "no-such-profile",
            with("profile = \"adfs\"\nrules", "profile = \"adsf\"\nrules"),
        ),
    ]);
}

#[test]
fn mistakes_in_a_profile_of_ones_own() {
    let profile = |text: &str| {
        let uses = with("profile = \"adfs\"\nrules", "profile = \"corp\"\nrules");
        uses + "\n[profile.corp]\n" + text
    };
    check(&[
        (
            "profile-flow",
            profile(
                "rows = [\n    { methods = [\"GET\"], path = \"/sso/login\", flow = \"pasive\" },\n    \
                 { path = \"/sso/out\", flow = \"signout\" },\n]\n",
            ),
        ),
        (
            "profile-patterns",
            profile(
                "rows = [\n    { path = \"/SSO/Login\", flow = \"passive\" },\n    \
                 { path = \"sso/out\", flow = \"sign-out\" },\n    \
                 { path = \"/sso/*.css\", flow = \"asset\" },\n    \
                 { path = \"/**\", flow = \"passive\" },\n]\n",
            ),
        ),
        (
            "profile-rows",
            profile(
                "[[profile.corp.rows]]\npath = \"/sso\"\nflow = \"passive\"\nread = \"step\"\n\n\
                 [[profile.corp.rows]]\npath = \"/sso/x\"\n\n\
                 [[profile.corp.rows]]\npath = \"/out\"\nflow = \"sign-out\"\nreads = \"step\"\n",
            ),
        ),
        (
            "profile-settings",
            profile(
                "like = \"shiboleth\"\nmetadata = \"https://sso.corp.example/metadata\"\n\
                 user = \"login\"\n",
            ),
        ),
        ("profile-without-rows", profile("users = \"login\"\n")),
        (
            "profile-with-a-presets-name",
            FULL.to_owned() + "\n[profile.okta]\nlike = \"okta\"\n",
        ),
    ]);
}

#[test]
fn mistakes_in_tokens() {
    let tokens = |lines: &str| {
        with(
            "[[list]]\nname = \"hq-egress\"",
            &format!("[service.tokens]\n{lines}\n[[list]]\nname = \"hq-egress\""),
        )
        .replace("upstream = {", "[service.upstream]\n")
        .replace(
            ", servers = [\"192.0.2.21:443\"], server_name",
            "\nservers = [\"192.0.2.21:443\"]\nserver_name",
        )
        .replace("\"adfs.corp.example\" }", "\"adfs.corp.example\"")
    };
    check(&[
        (
            "tokens-misspelt",
            tokens("metdata = \"/metadata\"\naudience = [\"urn:a\"]"),
        ),
        (
            "tokens-places",
            tokens(
                "metadata = \"http://sts.corp.example/metadata\"\ndiscovery = \"adfs/discovery\"\njwks = \
                 \"https://user@sts.corp.example/keys\"",
            ),
        ),
        (
            "tokens-file",
            tokens("file = \"keys/sts.xml\"\nmetadata = \"/metadata\""),
        ),
        ("tokens-audiences", tokens("audiences = []")),
        ("tokens-blank-audience", tokens("audiences = [\" urn:a\"]")),
        (
            "tokens-origins",
            tokens(
                "decide = true\nforms = { \"https://login.microsoftonline.com/login.srf\" = \
                 \"login.microsoftonline.com.proxy.example\", \"https://app.example\" = \
                 [\"https://a.proxy.example\", \"https://b.proxy.example\"], \"https://b.example\" = \
                 \"https://b.example\" }",
            ),
        ),
        ("tokens-without-forms", tokens("decide = true")),
        (
            "tokens-claims",
            tokens(
                "[service.tokens.claims]\nDepartment = \"http://schemas.example.com/claims/department\"\nlevel \
                 = [\"a level\"]\ngroups = 1",
            ),
        ),
        (
            "tokens-from-nowhere",
            tokens("").replace(
                "profile = \"adfs\"\nmanaged = \"proxy\"",
                "profile = \"shop\"\nmanaged = \"proxy\"",
            ) + "\n[profile.shop]\nrows = [{ path = \"/login\", flow = \"passive\" }]\n",
        ),
    ]);
}

#[test]
fn more_than_the_kernel_has_room_for() {
    let lines = |number: u16, line: &dyn Fn(u16) -> String| -> String {
        (0..number).map(|n| line(n) + "\n").collect()
    };
    let service = |n: u16| {
        format!(
            "[[service]]\nname = \"s{n}\"\nhosts = [\"s{n}.corp.example\"]\n\
             addresses = [\"192.0.2.{}\"]\nprofile = \"adfs\"\nmanaged = \"proxy\"\n\
             certificate = \"chain.pem\"\nkey = \"key.pem\"\n\
             reverse_proxy = \"https://proxy.example{{query}}\"\n\
             upstream = {{ kind = \"plain\", servers = [\"192.0.2.40:443\"] }}",
            50 + n
        )
    };
    let addresses = |number| {
        let address = |n: u16| format!("\"10.0.{}.{}\",", n / 256, n % 256);
        with(
            "addresses = [\"192.0.2.20\"]",
            &format!("addresses = [\n{}]", lines(number, &address)),
        )
    };
    let ports = |list: &str| with("ports = [443, 49443]", &format!("ports = [{list}]"));
    check(&[
        ("too-many-services", FULL.to_owned() + &lines(63, &service)),
        ("too-many-ports", ports("1, 2, 3, 4, 5, 6, 7, 8, 9")),
        ("too-many-addresses", addresses(1023)),
    ]);
    let site = Site::new();
    assert_eq!(site.said(&(FULL.to_owned() + &lines(62, &service))), "");
    assert_eq!(site.said(&ports("1, 2, 3, 4, 5, 6, 7, 8")), "");
    assert_eq!(site.said(&addresses(1022)), "");
}

#[test]
fn mistakes_in_lists_and_rules() {
    check(&[
        (
            "prefixes",
            with(
                "\"203.0.113.0/24\", \"::ffff:198.51.100.9\"",
                "\"203.0.113.0/255.255.255.0\", \"203.0.113.9/24\", \"10.0.0.0 / 8\", \"0.0.0.0/0\"",
            ),
        ),
        (
            "prefixes-and-file",
            with("scope = \"web\"", "scope = \"web\"\nprefixes = []"),
        ),
        ("no-prefixes", with("prefixes = []\n", "")),
        (
            "scope-for-managed",
            with(
                "class = \"managed\"",
                "class = \"managed\"\nscope = \"web\"",
            ),
        ),
        ("list-twice", with("name = \"embargo\"", "name = \"casb\"")),
        (
            "names-in-rules",
            with("flow = \"active\"", "flow = \"activ\"")
                .replace("\"hq-egress\", \"casb\"]", "\"hq-egres\", \"casb\"]")
                .replace("application = \"payroll\"", "application = \"payrol\"")
                .replace("decision = \"block\"", "decision = \"blokc\""),
        ),
        (
            "conditions-of-rules",
            with(
                "flow = \"active\", user",
                "service = \"stss\", group = \"Staff\", claim = { departmnt = \"it\" }, device = \"compliand\", method = [\"mfa\", \"paswword\"], authenticated_within = \"8 hours\", country = \"UK\", location = \"ofice\", time = { days = [\"mon\", \"tues\"], from = \"8:00\", zone = \"Europe/Berlim\" }, user",
            )
            .replace(
                "[application.payroll]",
                "[location.office]\nprefixes = [\"203.0.113.0/33\"]\ncountries = [\"Germany\"]\n\n[application.payroll]",
            ),
        ),
        (
            "grants-and-step-up",
            with(
                "then = { decision = \"block\", reason",
                "then = { decision = \"pass\", within = \"1h\", grant = { class = \"blocked\", for = \"2h\", kernl = true }, reason",
            )
            .replace(
                "decision = \"redirect\", target = \"https://payroll.proxy.example{query}\"",
                "decision = \"step-up\"",
            ),
        ),
        (
            "claims-without-tokens",
            with(
                "flow = \"active\", user = \"@contractors.example\"",
                "role = \"Contractor\", inside_network = false",
            )
            .replace(
                "decision = \"redirect\", target = \"https://payroll.proxy.example{query}\"",
                "decision = \"step-up\"",
            ),
        ),
        (
            "attributes",
            with(
                "flow = \"active\", user = \"@contractors.example\"",
                "attribute = { departement = \"Sales\", enabled = \"yes\", job_title = \"Clerk\" }",
            ),
        ),
        (
            "rule-twice",
            with("name = \"payroll\"", "name = \"contractors\""),
        ),
        (
            "rule-without-then",
            with(
                "then = { decision = \"block\", reason = \"Contractors sign in with a browser.\" }\n",
                "",
            ),
        ),
        (
            "misspelt-condition",
            with("when = { flow", "when = { flows"),
        ),
        (
            "switched-off",
            with(
                "switched_off = []",
                "switched_off = [\"office365-strict/browser-unmanagd\"]",
            ),
        ),
    ]);
}

#[test]
fn mistakes_with_files() {
    check(&[
        (
            "no-such-certificate",
            with("certificate = \"chain.pem\"", "certificate = \"chian.pem\""),
        ),
        (
            "exchanged",
            with(
                "certificate = [\"chain.pem\"]\nkey = [\"key.pem\"]",
                "certificate = [\"key.pem\"]\nkey = [\"chain.pem\"]",
            ),
        ),
        (
            "certificate-of-another-host",
            with(
                "hosts = [\"adfs.corp.example\"]",
                "hosts = [\"adfs.corp.example\", \"adfs.other.example\"]",
            ),
        ),
        (
            "two-certificates-one-key",
            with(
                "certificate = [\"chain.pem\"]",
                "certificate = [\"chain.pem\", \"ca.pem\"]",
            ),
        ),
    ]);
}

#[test]
fn mistakes_in_topologies() {
    let dsr = |servers: &str| {
        with(
            "managed = \"forward\"",
            &format!("managed = \"forward\"\ntopology = \"dsr\"{servers}"),
        )
    };
    let many: Vec<_> = (1..=32)
        .map(|host| format!("\"192.0.2.1{host:02}\""))
        .collect();
    let many = many.join(", ");
    check(&[
        ("dsr-without-servers", dsr("")),
        (
            "dsr-without-a-server-of-a-family",
            dsr("\nservers = [\"192.0.2.21\"]"),
        ),
        (
            "dsr-with-a-services-address",
            dsr("\nservers = [\"192.0.2.21\", \"192.0.2.20\", \"2001:db8:10::21\"]"),
        ),
        (
            "dsr-with-a-server-twice",
            dsr("\nservers = [\"192.0.2.21\", \"2001:db8:10::21\", \"192.0.2.21\"]"),
        ),
        (
            "dsr-with-too-many-servers",
            dsr(&format!("\nservers = [{many}, \"2001:db8:10::21\"]")),
        ),
        (
            "servers-without-dsr",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\nservers = [\"192.0.2.21\"]",
            ),
        ),
        (
            "dsr-where-nothing-is-forwarded",
            with(
                "managed = \"proxy\"",
                "managed = \"proxy\"\ntopology = \"dsr\"\nservers = [\"192.0.2.21\"]",
            ),
        ),
        (
            "nat-hides-the-clients",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\ntopology = \"nat\"\nservers = [\"192.0.2.21\", \"2001:db8:10::21\"]",
            ),
        ),
        (
            "nat-with-one-interface",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\ntopology = \"nat\"\nservers = [\"192.0.2.21\", \"2001:db8:10::21\"]",
            )
            .replace("inside = [\"eth1\"]", "inside = []"),
        ),
        (
            "nat-with-the-services-port",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\ntopology = \"nat\"\nservers = [\"192.0.2.21\", \"2001:db8:10::21\"]",
            )
            .replace("443]", "443, 8443]"),
        ),
        (
            "nat-with-a-port-of-who-has-its-address",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\ntopology = \"nat\"\nservers = [\"192.0.2.21\", \"2001:db8:10::21\"]",
            )
            .replace("[kernel]", "[kernel]\nnat_address = [\"192.0.2.20\"]")
            .replace(
                "addresses = [\"192.0.2.20\"]",
                "addresses = [\"192.0.2.20\"]\nports = [443, 8443]",
            ),
        ),
        (
            "nat-ports-that-are-none",
            with("[kernel]", "[kernel]\nnat_ports = \"80-90\"\nnat_address = [\"192.0.2.1\", \"192.0.2.2\"]"),
        ),
        ("misspelt-topology", dsr("").replace("\"dsr\"", "\"drs\"")),
    ]);
}

#[test]
fn mistakes_in_what_happens_without_a_proxy() {
    check(&[
        (
            "forward-to-adfs-without-proxy",
            with(
                "managed = \"proxy\"",
                "managed = \"proxy\"\nproxy_down = \"forward-managed\"",
            ),
        ),
        (
            "needless-proxy-down",
            with(
                "managed = \"forward\"",
                "managed = \"forward\"\nproxy_down = \"forward-managed\"",
            ),
        ),
        (
            "proxy-down",
            with(
                "managed = \"proxy\"",
                "managed = \"proxy\"\nproxy_down = \"forward\"",
            ),
        ),
        (
            "restart-grace-without-unit",
            with("restart_grace = \"5s\"", "restart_grace = \"5\""),
        ),
        (
            "restart-grace-too-long",
            with("restart_grace = \"5s\"", "restart_grace = \"5m\""),
        ),
        (
            "restart-grace-in-words",
            with("restart_grace = \"5s\"", "restart_grace = \"soon\""),
        ),
        (
            "restart-grace-a-number",
            with("restart_grace = \"5s\"", "restart_grace = 5"),
        ),
    ]);
}

#[test]
fn the_full_example_has_no_mistake() {
    assert_eq!(Site::new().said(FULL), "");
}

#[test]
fn a_report_can_be_read_by_programs() {
    let site = Site::new();
    let report = site
        .load(&with("managed = \"proxy\"", "managed = \"forwrd\""))
        .expect_err("an error");
    let diagnostic = &report.diagnostics[0];
    assert_eq!((diagnostic.line, diagnostic.column), (45, 11));
    assert_eq!(
        diagnostic.file,
        site.path("weir.toml").display().to_string()
    );
    assert_eq!(report.summary(), "1 error");
}
