//! What a token costs: a verdict on one that is believed, and on those that are made to cost more.

#[path = "../timing.rs"]
mod timing;

#[path = "../../appliance/claims/tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use support::{
    AUDIENCE, EXCLUSIVE, FORMS, ID, SERVICE, expected, outer, signed, template, unsigned, with,
};
use weir_claims::saml::look;
use weir_claims::{Form, Token};

criterion_group!(name = benches; config = timing::short(); targets = believed, hostile);
criterion_main!(benches);

/// Size of the hostile ones.
const HOSTILE: usize = 256 * 1024;

fn believed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for form in FORMS {
        let document = unsigned(form).replace("Staff", &"Staff of the whole of it ".repeat(40));
        let document = outer(form, &SERVICE.sign(&with(&document, &template(ID))));
        assert!(judged(&document), "the measured token is a good one");
        let trust = SERVICE.trust();
        let audiences = [AUDIENCE.to_owned()];
        let expected = expected(&audiences);
        group.bench_function(format!("{form:?}, {} bytes", document.len()), |bencher| {
            bencher.iter(|| look(black_box(&document), &trust, &expected));
        });
    }
    group.finish();
}

fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostile token");
    let good = signed(Form::Saml20);
    let attributes = numbered(|text, number| write!(text, " a{number}='1'"));
    let namespaces = numbered(|text, number| write!(text, " xmlns:a{number}='urn:a'"));
    let few = |name: &str| {
        let text = (0..15).fold(String::new(), |text, number| {
            text + &format!(" {name}{number}='u'")
        });
        format!("<x{text}/>")
    };
    let scoped = few("xmlns:n").replace("/>", ">");
    let prefixes = "n1 n2 n3 n4";
    let kept = format!(
        "<ds:Transform Algorithm=\"{EXCLUSIVE}\"><ec:InclusiveNamespaces xmlns:ec=\"{EXCLUSIVE}\" \
         PrefixList=\"{prefixes}\"/></ds:Transform></ds:Transforms>"
    );
    let plain = format!("<ds:Transform Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms>");
    let reference = &good[good.find("<ds:Reference ").expect("a reference")
        ..good
            .find("</ds:SignedInfo>")
            .expect("the end of all references")];
    let of = |text: &str| text.repeat(HOSTILE / text.len());
    let inside = |text: &str| good.replace("anna@corp.example", text);
    let cases = [
        (
            "attributes on one element",
            inside(&format!("<x{attributes}/>")),
        ),
        (
            "namespaces on one element",
            inside(&format!("<x{namespaces}/>")),
        ),
        ("attributes on many elements", inside(&of(&few("a")))),
        ("namespaces on many elements", inside(&of(&few("xmlns:a")))),
        (
            "namespaces kept round many elements",
            inside(&format!(
                "{scoped}{}</x>",
                format!("<x>{}</x>", "a".repeat(60)).repeat(4_000)
            ))
            .replace(&plain, &kept),
        ),
        (
            "elements",
            inside(&format!("<x>{}</x>", "a".repeat(60)).repeat(4_000)),
        ),
        ("nesting", inside(&of("<x>"))),
        ("references", good.replace(reference, &of(reference))),
        ("more elements", inside(&of("<x/>"))),
        ("text", inside(&of("a"))),
        ("text in pieces", inside(&of("&amp;"))),
        ("comments", inside(&of("<!---->"))),
        (
            "values",
            good.replace(
                "<AttributeValue>Staff",
                &format!(
                    "{}<AttributeValue>Staff",
                    of(&format!(
                        "<AttributeValue>{}</AttributeValue>",
                        "Staff".repeat(8)
                    ))
                ),
            ),
        ),
        (
            "certificates",
            good.replace(
                "<ds:X509Certificate>",
                &format!(
                    "{}<ds:X509Certificate>",
                    of("<ds:X509Certificate>AAAA</ds:X509Certificate>")
                ),
            ),
        ),
        (
            "white space in the signature",
            good.replace(
                "<ds:SignatureValue>",
                &format!("<ds:SignatureValue>{}", of(" ")),
            ),
        ),
    ];
    let trust = SERVICE.trust();
    let audiences = [AUDIENCE.to_owned()];
    let expected = expected(&audiences);
    for (name, document) in &cases {
        assert!(
            document.len() > HOSTILE / 4,
            "{name} is as large as it says"
        );
        let why = match look(document, &trust, &expected) {
            Token::Refused { why, .. } => format!("{why:?}"),
            other => format!("{:?}", matches!(other, Token::Verified(_))),
        };
        group.bench_function(format!("{name}: {why}"), |bencher| {
            bencher.iter(|| look(black_box(document), &trust, &expected));
        });
    }
}

fn judged(document: &str) -> bool {
    matches!(support::judge(document), Token::Verified(_))
}

fn numbered(write: impl Fn(&mut String, usize) -> std::fmt::Result) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= HOSTILE {
            break;
        }
        write(&mut text, number).expect("a string takes every write");
    }
    text
}
