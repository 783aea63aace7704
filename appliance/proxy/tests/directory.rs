//! Decisions by the directory of the tenant, which weir-control swaps beside the generations.

mod common;
#[path = "../../claims/tests/support/mod.rs"]
mod issuer;
#[path = "tokens/stage.rs"]
#[allow(dead_code, reason = "each test file uses a part of it")]
mod stage;

use std::time::Duration;

use common::client::{Answer, Http};
use common::{MANAGED, Stage, UNMANAGED, patiently};
use http::Request;
use http_body_util::Full;
use stage::{BROWSER, PAGE, group, rule, wresult};
use time::UtcDateTime;
use uuid::Uuid;
use weir_directory::{Attribute, Builder, Head, NewGroup, NewUser};
use weir_link::{Event, sealed};

const DAY: Duration = Duration::from_hours(24);
const ID: &str = "00000000-0000-0000-0000-0000000000";
const IMMUTABLE: &str = "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID";

/// The tenant with this number, seen so long ago: Anna, by her user principal name or what joins her account, is in
/// these groups of `Trainees` (a0), `Contractors` (a1) and `Staff` (a2).
fn tenant(epoch: u64, ago: Duration, anna: (Attribute, &str), groups: &[u32]) -> Vec<u8> {
    let seen = UtcDateTime::now().unix_timestamp() - ago.as_secs().cast_signed();
    let mut builder = Builder::new(Head {
        tenant: Uuid::from_u128(1),
        epoch,
        taken_at: seen,
        checked: [Some(seen); 3],
    });
    for (number, name) in (0xa0..).zip(["Trainees", "Contractors", "Staff"]) {
        let group = NewGroup {
            id: Uuid::from_u128(number),
            name: Some(name),
            complete: true,
        };
        builder.group(group).expect("in order");
    }
    let anna_is = NewUser {
        id: Uuid::from_u128(0xb0),
        enabled: Some(true),
        groups: builder.set(groups).expect("they are there"),
    };
    builder.user(anna_is, [anna]).expect("the first");
    builder.finish().expect("it is small")
}

const ANNA: (Attribute, &str) = (Attribute::Upn, "anna@corp.example");

async fn offer(stage: &mut Stage, epoch: u64, bytes: &[u8]) -> Result<u64, String> {
    let memory = sealed::create(&format!("directory-{epoch}"), bytes).expect("memory");
    let length = bytes.len() as u64;
    stage.control.offer((epoch, length), DAY, &[memory]).await
}

fn rules() -> Vec<weir_policy::RuleSpec> {
    vec![
        rule("staff", group(&format!("{ID}a2")), "pass"),
        rule("contractors", group(&format!("{ID}a1")), "redirect"),
        rule("trainees", group("Trainees"), "block"),
    ]
}

async fn ask(http: &mut Http) -> Answer {
    let mut request: Request<Full<_>> = http.request("GET", PAGE, "");
    let headers = request.headers_mut();
    headers.insert("user-agent", BROWSER.parse().expect("plain text"));
    http.send(request).await.expect("an answer")
}

/// What came of a request, by the record and for the browser.
async fn decided(stage: &mut Stage, http: &mut Http) -> (String, u16, Event) {
    let answer = ask(http).await;
    let event = stage.event().await;
    let said = format!("{} {}", event.decision, event.rule);
    (said, answer.status.as_u16(), event)
}

#[tokio::test]
async fn the_next_decision_on_an_open_connection_asks_the_new_directory() {
    let mut stage = stage::stage(rules(), |_| wresult(|text| text)).await;
    let mut http = stage.http1(MANAGED).await;
    // Nobody can say, and that is enough for a rule that restricts.
    let (said, _, event) = decided(&mut stage, &mut http).await;
    assert_eq!(said, "redirect rule/contractors");
    let heard = event.facts.expect("facts").directory;
    assert_eq!(heard.of_token.map(|told| told.epoch), Some(0));

    for (epoch, groups, expected, status) in [
        (1, &[][..], "pass office365-strict/browser-managed", 200),
        (2, &[0], "block rule/trainees", 403),
        (3, &[1], "redirect rule/contractors", 200),
        (4, &[0, 1, 2], "pass rule/staff", 200),
    ] {
        let bytes = tenant(epoch, Duration::ZERO, ANNA, groups);
        assert_eq!(offer(&mut stage, epoch, &bytes).await, Ok(epoch));
        let (said, got, event) = decided(&mut stage, &mut http).await;
        assert_eq!((&*said, got), (expected, status));
        let heard = event.facts.expect("facts").directory;
        let told = heard.of_token.expect("it was asked");
        assert_eq!((told.epoch, told.id), (epoch, Some(Uuid::from_u128(0xb0))));
        assert_eq!(told.groups.expect("they are known").of.len(), groups.len());
    }
    // The next generation asks it, too: what its rules name is looked up anew.
    stage.control.plan.policy.rules = vec![rule("new", group("Contractors"), "block")];
    stage.control.publish(3).await.expect("a good generation");
    let (said, ..) = decided(&mut stage, &mut http).await;
    assert_eq!(said, "block rule/new");
    assert_eq!(stage.control.take_away().await, Ok(0));
    let (said, ..) = decided(&mut stage, &mut http).await;
    // The token names groups by name, and this is none of them.
    assert_eq!(said, "pass office365-strict/browser-managed");

    // What nobody asks any more is given back.
    let gone = async {
        while std::fs::read_to_string("/proc/self/maps")
            .expect("proc")
            .contains("memfd:directory-")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patiently(gone).await;
}

#[tokio::test]
async fn what_is_too_old_restricts_and_opens_nothing() {
    let mut stage = stage::stage(rules(), |_| wresult(|text| text)).await;
    let mut managed = stage.http1(MANAGED).await;
    let mut unmanaged = stage.http1(UNMANAGED).await;
    let staff = |epoch, ago| tenant(epoch, ago, ANNA, &[2]);
    offer(&mut stage, 1, &staff(1, DAY / 2))
        .await
        .expect("good");
    for http in [&mut managed, &mut unmanaged] {
        let (said, ..) = decided(&mut stage, http).await;
        assert_eq!(said, "pass rule/staff");
    }
    offer(&mut stage, 2, &staff(2, 2 * DAY))
        .await
        .expect("good");
    for http in [&mut managed, &mut unmanaged] {
        let (said, ..) = decided(&mut stage, http).await;
        assert_eq!(said, "redirect rule/contractors");
    }
    // Age is measured when a request is judged, not when the directory comes.
    let fresh = Duration::from_secs(1);
    let bytes = staff(3, Duration::ZERO);
    let memory = sealed::create("directory-3", &bytes).expect("memory");
    let length = bytes.len() as u64;
    let taken = stage.control.offer((3, length), fresh, &[memory]).await;
    assert_eq!(taken, Ok(3));
    let ages = async {
        while decided(&mut stage, &mut managed).await.0 != "redirect rule/contractors" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    patiently(ages).await;
}

#[tokio::test]
async fn accounts_are_joined_by_their_immutable_id() {
    let join = |text: String| {
        let (namespace, name) = IMMUTABLE.rsplit_once('/').expect("a claim type");
        let attribute = format!(
            "<saml:Attribute AttributeName=\"{name}\" AttributeNamespace=\"{namespace}\"><saml:AttributeValue>\
             QW5uYQ==</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>"
        );
        text.replace("</saml:AttributeStatement>", &attribute)
    };
    let mut stage = stage::stage(rules(), move |_| wresult(join)).await;
    let mut http = stage.http1(MANAGED).await;
    let anna = (Attribute::ImmutableId, "QW5uYQ==");
    offer(&mut stage, 1, &tenant(1, Duration::ZERO, anna, &[0]))
        .await
        .expect("good");
    let (said, ..) = decided(&mut stage, &mut http).await;
    assert_eq!(said, "block rule/trainees");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_the_one_before_stays() {
    let mut stage = stage::stage(rules(), |_| wresult(|text| text)).await;
    let mut http = stage.http1(MANAGED).await;
    let bytes = tenant(1, Duration::ZERO, ANNA, &[0]);
    offer(&mut stage, 1, &bytes).await.expect("good");

    let other = tenant(2, Duration::ZERO, ANNA, &[]);
    let length = other.len() as u64;
    let mut damaged = other.clone();
    damaged[200] ^= 0xff;
    let sealed = |bytes: &[u8]| sealed::create("directory-2", bytes).expect("memory");
    let open = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut &open, &other).expect("room");
    for (announced, memory, why) in [
        ((2, length), vec![sealed(&damaged)], "damaged"),
        ((2, 8), vec![sealed(b"weir-dir")], "version 0"),
        ((2, length + 1), vec![sealed(&other)], "were announced"),
        ((2, length), vec![open.into()], "not sealed"),
        ((3, length), vec![sealed(&other)], "3 was announced"),
        ((2, length), vec![], "0 descriptors"),
        (
            (2, length),
            vec![sealed(&other), sealed(&other)],
            "2 descriptors",
        ),
    ] {
        let refused = stage.control.offer(announced, DAY, &memory).await;
        let refused = refused.expect_err("it cannot be used");
        assert!(refused.contains(why), "{refused}");
        let (said, ..) = decided(&mut stage, &mut http).await;
        assert_eq!(said, "block rule/trainees");
    }
    offer(&mut stage, 2, &other).await.expect("good");
    let (said, ..) = decided(&mut stage, &mut http).await;
    assert_eq!(said, "pass office365-strict/browser-managed");
}
