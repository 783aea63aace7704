//! What a request costs: recognising it, and deciding it.

#[path = "../timing.rs"]
mod timing;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use uuid::Uuid;
use weir_benches::rules;
use weir_directory::{Attribute, Builder, NewGroup, NewUser, Snapshot};
use weir_policy::{
    Classified, Classify, Head, Policy, PolicySpec, Resident, TokenFacts, Told, Uncounted,
};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

criterion_group!(name = benches; config = timing::short(); targets = recognise, decide, decide_by_token, decide_by_directory);
criterion_main!(benches);

/// Everybody is unmanaged, so that the whole rule set is gone through.
struct Nobody;

impl Classify for Nobody {
    fn classify(&self, _: IpAddr) -> Classified {
        Classified::default()
    }
}

fn recognise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recognise");
    let policy = policy(0);
    let body = trust_request();
    let headers: [(&str, &[u8]); 4] = [
        ("host", b"sts.corp.example"),
        ("content-type", b"application/soap+xml; charset=utf-8"),
        ("user-agent", b"python-requests/2.32.5"),
        (
            "soapaction",
            b"http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue",
        ),
    ];
    let active = Head {
        method: "POST",
        host: "sts.corp.example",
        path: "/adfs/services/trust/2005/usernamemixed",
        query: None,
        headers: &headers,
    };
    group.bench_function("WS-Trust request of 2 KB", |bencher| {
        bencher.iter(|| facts(&policy, &active, Some(body.as_bytes())));
    });
    let passive = Head {
        method: "GET",
        path: "/adfs/ls/",
        query: Some(
            "wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=estsredirect%3d2",
        ),
        headers: &headers[..1],
        ..active
    };
    group.bench_function("passive sign-in", |bencher| {
        bencher.iter(|| facts(&policy, &passive, None));
    });
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    let head = Head {
        method: "GET",
        host: "sts.corp.example",
        path: "/adfs/ls/",
        query: Some("wa=wsignin1.0"),
        headers: &[],
    };
    for rules in [0, 1_000] {
        let policy = policy(rules);
        let facts = facts(&policy, &head, None);
        group.bench_function(BenchmarkId::new("rules in front", rules), |bencher| {
            bencher.iter(|| black_box(policy.decide(black_box(&facts), &Uncounted(None))));
        });
    }
}

/// A thousand rules, each about one user, group, relying party or claim, none of which is this user's; and one
/// rule behind them, about a group of theirs.
fn decide_by_token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide at the token");
    let keys = ["user", "group", "relying_party", "claim"];
    let rule = |name: &str, key: &str, value: &str, decision: &str| {
        let rule = format!(
            r#"{{"name":"{name}","when":{{"{key}":{value}}},"then":{{"decision":"{decision}"}}}}"#
        );
        serde_json::from_str(&rule).expect("a rule")
    };
    let others = |decision| {
        (0..1_000).map(move |number| {
            let key = keys[number % 4];
            let value = match key {
                "user" => format!("\"user{number}@corp.example\""),
                "group" => format!("\"{}\"", id(number)),
                "claim" => format!("{{\"department\":\"department {number}\"}}"),
                _ => format!("\"urn:app:{number}\""),
            };
            rule(&format!("r{number}"), key, &value, decision)
        })
    };
    let compiled = |rules| {
        let decide_at_token = true;
        let spec = PolicySpec {
            rules,
            decide_at_token,
            ..rules::behind(Vec::new())
        };
        Policy::compile(&spec).expect("the rules are valid")
    };
    let head = Head {
        method: "GET",
        host: "sts.corp.example",
        path: "/adfs/ls/",
        query: Some("wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline"),
        headers: &[],
    };
    let group_of = |number| id(1_000 + number);
    let blocking = compiled(others("block").collect());
    let passing = compiled(others("pass").collect());
    let mut about_groups = |policy: &Policy, name: &str, groups: usize| {
        let mut facts = facts(policy, &head, None);
        let mut token = TokenFacts::default();
        let values = &mut token.values;
        values.insert("upn".into(), vec!["alice@corp.example".into()]);
        values.insert("groups".into(), (0..groups).map(group_of).collect());
        values.insert("department".into(), vec!["it".into()]);
        facts.token = Told::Verified(token);
        group.bench_function(BenchmarkId::new(name, groups), |bencher| {
            bencher.iter(|| black_box(policy.decide(black_box(&facts), &Uncounted(None))));
        });
    };
    for groups in [10, 150] {
        about_groups(&blocking, "groups of the user", groups);
        let last = format!("\"{}\"", group_of(groups - 1));
        let last = rule("last", "group", &last, "pass");
        let policy = compiled(others("block").chain([last]).collect());
        about_groups(&policy, "groups of the user, one in a rule", groups);
        let named = rule("named", "group", "\"Staff\"", "block");
        let policy = compiled(others("block").chain([named]).collect());
        about_groups(&policy, "groups of the user, a rule names its own", groups);
    }
    for (name, policy) in [("block", &blocking), ("pass", &passing)] {
        let mut facts = facts(policy, &head, None);
        for (when, told) in [
            ("ahead", Told::Ahead),
            ("unbelieved", Told::Unbelieved("it is encrypted".into())),
        ] {
            facts.token = told;
            let id = BenchmarkId::new(format!("token {when}, rules that"), name);
            group.bench_function(id, |bencher| {
                bencher.iter(|| black_box(policy.decide(black_box(&facts), &Uncounted(None))));
            });
        }
    }
}

/// Two hundred and fifty rules, each about a group that is none of the user's, and one about the last of theirs; the
/// token names nobody's groups. The directory is as large as that of a large organisation.
fn decide_by_directory(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide by the directory");
    let rule = |number: usize, decision: &str| {
        let rule = format!(
            r#"{{"name":"r{number}","when":{{"group":"{}"}},"then":{{"decision":"{decision}"}}}}"#,
            id(number)
        );
        serde_json::from_str(&rule).expect("a rule")
    };
    let (all, users) = (GROUPS, USERS);
    let theirs = |user: usize| (0..150).map(move |at| 250 + (user * 61 + at * 613) % (all - 250));
    let snapshot = large_tenant(all, users, &theirs);
    let head = Head {
        method: "GET",
        host: "sts.corp.example",
        path: "/adfs/ls/",
        query: Some("wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline"),
        headers: &[],
    };
    for (name, decision) in [("block", "block"), ("pass", "pass")] {
        let user = users / 3;
        let last = theirs(user).next_back().expect("they are in some");
        let rules = (0..250).map(|number| rule(number, decision));
        let rules = rules.chain([rule(last, "pass")]).collect();
        let spec = PolicySpec {
            rules,
            decide_at_token: true,
            ..rules::behind(Vec::new())
        };
        let policy = Policy::compile(&spec).expect("the rules are valid");
        let resolved = policy.resolve(&snapshot);
        let mut facts = facts(&policy, &head, None);
        let mut token = TokenFacts::default();
        let values = &mut token.values;
        values.insert("upn".into(), vec![upn(user)]);
        values.insert("immutable_id".into(), vec![immutable_id(user)]);
        token.missing.insert("groups".into());
        facts.token = Told::Verified(token);
        let judge = |facts: &mut weir_policy::Facts| {
            let view = snapshot.at(SEEN_AT, Duration::from_hours(24));
            let directory = Resident::new(None, Some((view, &resolved)));
            policy.judge(facts, &directory)
        };
        let ruling = judge(&mut facts.clone()).without_token();
        assert_eq!(&*ruling.rule, format!("rule/r{last}"));
        let mut judged = facts.clone();
        group.bench_function(
            BenchmarkId::new(
                "250 rules on groups, 150 groups of the user, and the record, rules that",
                name,
            ),
            |bencher| bencher.iter(|| black_box(judge(black_box(&mut judged)))),
        );
        group.bench_function(
            BenchmarkId::new(
                "250 rules on groups, 150 groups of the user, rules that",
                name,
            ),
            |bencher| {
                bencher.iter(|| {
                    let view = snapshot.at(SEEN_AT, Duration::from_hours(24));
                    let directory = Resident::new(None, Some((view, &resolved)));
                    black_box(policy.decide(black_box(&facts), &directory))
                });
            },
        );
        group.bench_function(
            BenchmarkId::new("what the names mean in a snapshot, rules that", name),
            |bencher| {
                bencher.iter(|| black_box(policy.resolve(black_box(&snapshot))));
            },
        );
    }
}

const GROUPS: usize = 20_000;
const USERS: usize = 100_000;
const SEEN_AT: i64 = 1_795_177_800;

fn upn(user: usize) -> String {
    format!("user{user}@corp.example")
}

fn immutable_id(user: usize) -> String {
    format!("{user:022}==")
}

/// Every user is in a hundred and fifty groups.
fn large_tenant<I: Iterator<Item = usize>>(
    groups: usize,
    users: usize,
    of: &impl Fn(usize) -> I,
) -> Snapshot<Vec<u8>> {
    let mut builder = Builder::new(weir_directory::Head {
        tenant: Uuid::from_u128(1),
        epoch: 1,
        taken_at: SEEN_AT,
        checked: [Some(SEEN_AT); 3],
    });
    let by_id = |count: usize, salt: usize| {
        let mut ids: Vec<(Uuid, usize)> = (0..count)
            .map(|number| (id(number + salt).parse().expect("an id"), number))
            .collect();
        ids.sort_unstable();
        ids
    };
    let mut numbers = vec![0; groups];
    for (group, number) in by_id(groups, 0) {
        let name = format!("Group {number}");
        let group = NewGroup {
            id: group,
            name: Some(&name),
            complete: true,
        };
        numbers[number] = builder.group(group).expect("in order");
    }
    for (user, number) in by_id(users, 1 << 30) {
        let mut groups: Vec<u32> = of(number).map(|group| numbers[group]).collect();
        groups.sort_unstable();
        groups.dedup();
        let user = NewUser {
            id: user,
            enabled: Some(true),
            groups: builder.set(&groups).expect("in order"),
        };
        let (upn, immutable_id) = (upn(number), immutable_id(number));
        let texts = [
            (Attribute::Upn, &*upn),
            (Attribute::ImmutableId, &*immutable_id),
        ];
        builder.user(user, texts).expect("in order");
    }
    Snapshot::parse(builder.finish().expect("there is room")).expect("what was written")
}

/// An id as Entra gives them to groups: as good as random.
fn id(number: usize) -> String {
    let mixed = |salt: u64| (number as u64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [front, back] = [mixed(1), mixed(1 << 20)].map(|mixed| mixed ^ mixed >> 29);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        front >> 32,
        front >> 16 & 0xffff,
        front & 0xfff,
        back >> 52,
        back & 0xffff_ffff_ffff
    )
}

fn facts(policy: &Policy, head: &Head<'_>, body: Option<&[u8]>) -> weir_policy::Facts {
    let recognised = policy.recognise(head).expect("the path is a plain one");
    policy.facts(head, &recognised, body, PEER, &Nobody)
}

/// The default policy behind `rules` rules of an administrator that do not match.
fn policy(rules: usize) -> Policy {
    let rules = (0..rules).map(|number| rules::block(number, "active", "bypass"));
    Policy::compile(&rules::behind(rules.collect())).expect("the rules are valid")
}

/// A request as Microsoft's libraries send it.
fn trust_request() -> String {
    let padding = " ".repeat(600);
    format!(
        r"<?xml version='1.0' encoding='utf-8'?>
<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:wsa='http://www.w3.org/2005/08/addressing' xmlns:wsu='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd'>
<s:Header><wsa:Action s:mustUnderstand='1'>http://schemas.xmlsoap.org/ws/2005/02/trust/RST/Issue</wsa:Action>
<wsa:MessageID>urn:uuid:7f5c3c7e-4f5b-4f3a-9f2c-1d2a3b4c5d6e</wsa:MessageID>
<wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>
<wsa:To s:mustUnderstand='1'>https://sts.corp.example/adfs/services/trust/2005/usernamemixed</wsa:To>
<wsse:Security s:mustUnderstand='1' xmlns:wsse='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>
<wsu:Timestamp wsu:Id='_0'><wsu:Created>2026-11-21T08:00:00.000Z</wsu:Created><wsu:Expires>2026-11-21T08:10:00.000Z</wsu:Expires></wsu:Timestamp>
<wsse:UsernameToken wsu:Id='ADALUsernameToken'><wsse:Username>alice@corp.example</wsse:Username><wsse:Password>not a real one</wsse:Password></wsse:UsernameToken>
</wsse:Security></s:Header>
<s:Body>{padding}<wst:RequestSecurityToken xmlns:wst='http://schemas.xmlsoap.org/ws/2005/02/trust'>
<wsp:AppliesTo xmlns:wsp='http://schemas.xmlsoap.org/ws/2004/09/policy'><wsa:EndpointReference><wsa:Address>urn:federation:MicrosoftOnline</wsa:Address></wsa:EndpointReference></wsp:AppliesTo>
<wst:KeyType>http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey</wst:KeyType>
<wst:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</wst:RequestType>
</wst:RequestSecurityToken></s:Body></s:Envelope>"
    )
}
