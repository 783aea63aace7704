//! `[directory]` and the rates of Windows logon: what arrives, and what is said about mistakes.

mod common;

use common::{FULL, Site, with};
use weir_config::{load_countries, load_users};
use weir_policy::Rate;

const DIRECTORY: &str = "\n[directory]\nusers = \"users.list\"\n";

fn passing() -> String {
    with(
        "windows_logon = \"block\"",
        "windows_logon = \"pass\"\nwindows_logon_rate = { user_per_hour = 5 }",
    ) + DIRECTORY
}

#[test]
fn users_and_rates_arrive() {
    let site = Site::new();
    site.write(
        "users.list",
        "# staff\nAlice@corp.example\nbob@corp.example # left\n",
    );
    let config = site.load(&passing()).expect("a good file").config;
    let policy = config.policy(&config.services[0]);
    assert_eq!(
        policy.windows_logon_rate,
        Rate {
            user_per_hour: 5,
            service_per_minute: 600
        }
    );
    assert_eq!(config.services[1].windows_logon_rate, Rate::default());
    let (users, report) = load_users(&config).expect("good users");
    assert!(report.is_empty());
    let users = users.expect("there is a directory");
    assert_eq!(users.as_text(), "alice@corp.example\nbob@corp.example\n");

    let without = site.load(FULL).expect("a good file").config;
    assert_eq!(load_users(&without).expect("nothing to read").0, None);
}

#[test]
fn a_file_of_users_with_mistakes_is_refused_line_by_line() {
    let site = Site::new();
    site.write("users.list", "alice@corp.example\nCORP\\bob\n\ncarol\n");
    let config = site.load(&passing()).expect("a good file").config;
    let report = load_users(&config).expect_err("two lines are wrong");
    assert_eq!(
        site.plain(&report),
        "\
error: this is no user principal name
 --> users.list:2:1
  |
2 | CORP\\bob
  | ^^^^^^^^
  = help: write name@domain, one a line

error: this is no user principal name
 --> users.list:4:1
  |
4 | carol
  | ^^^^^
  = help: write name@domain, one a line
"
    );
    site.write("users.list", "# nobody yet\n");
    let (users, report) = load_users(&config).expect("an empty directory");
    assert!(users.is_some_and(|users| users.is_empty()));
    assert!(
        site.plain(&report)
            .contains("the list of users names nobody")
    );
    std::fs::remove_file(site.path("users.list")).expect("it was there");
    let report = load_users(&config).expect_err("there is no file");
    assert!(site.plain(&report).contains("there is no such file"));
}

#[test]
fn windows_logon_without_a_directory_is_said_to_be_blocked() {
    let site = Site::new();
    let lonely = passing().replace(DIRECTORY, "");
    assert!(
        site.said(&lonely)
            .contains("without a directory Windows logon is blocked all the same")
    );
    site.write("users.list", "alice@corp.example\n");
    let said = site.said(&passing());
    assert!(said.contains("let through") && !said.contains("without a directory"));
    assert!(
        site.said(&(FULL.to_owned() + "\n[directory]\n"))
            .contains("`[directory]` has no `users`")
    );
    let rate = passing().replace("user_per_hour = 5", "user_per_hour = 0");
    assert!(site.said(&rate).contains("`0` is not possible"));
}

#[test]
fn countries_arrive_and_mistakes_in_them_are_told_line_by_line() {
    let site = Site::new();
    site.write("countries.csv", "203.0.113.0/24,DE\n2001:db8::/32,FR\n");
    let config = site
        .load(&(FULL.to_owned() + "\n[directory]\ncountries = \"countries.csv\"\n"))
        .expect("a good file")
        .config;
    let (countries, _) = load_countries(&config)
        .expect("a good table")
        .expect("there is one");
    let address = "203.0.113.7".parse().expect("an address");
    assert_eq!(
        countries.find(address).map(|it| it.to_string()),
        Some("DE".to_owned())
    );

    site.write(
        "countries.csv",
        "203.0.113.0/24,DE\n198.51.100.0/24,Germany\n",
    );
    let report = load_countries(&config).expect_err("a line is wrong");
    assert_eq!(
        site.plain(&report),
        "\
error: this tells no country
 --> countries.csv:2:1
  |
2 | 198.51.100.0/24,Germany
  | ^^^^^^^^^^^^^^^^^^^^^^^
  = help: write a network or two addresses, and two letters: 203.0.113.0/24,DE
"
    );
    let without = site.load(FULL).expect("a good file").config;
    assert!(load_countries(&without).expect("nothing to read").is_none());
}

#[test]
fn a_rule_about_countries_without_a_table_is_warned_of() {
    let site = Site::new();
    let rule = "\n[[rule]]\nname = \"abroad\"\nwhen = { country = \"FR\" }\nthen = { decision = \"block\" }\n";
    let told = |text: &str| {
        let loaded = site.load(text).expect("a good file");
        site.plain(&loaded.warnings)
            .contains("in which country an address is")
    };
    let text = FULL.to_owned() + rule;
    assert!(told(&text));
    assert!(!told(
        &(text + "\n[directory]\ncountries = \"countries.csv\"\n")
    ));
}
