//! What a JWT costs: a verdict on one that is believed, and on those that are made to cost more.

#[path = "../timing.rs"]
mod timing;

#[path = "../../appliance/claims/tests/signing/mod.rs"]
mod signing;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use signing::{P256, RSA, look, payload, with};
use weir_claims::Token;

criterion_group!(name = benches; config = timing::short(); targets = believed, hostile);
criterion_main!(benches);

/// Longest payload that still fits into a token.
const PAYLOAD: usize = 47 * 1024;

fn believed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("JWT");
    let groups: Vec<String> = (0..18)
        .map(|n| format!("S-1-5-21-1004336348-1177238915-682003330-{n}"))
        .collect();
    let said = with(payload(), &json!({ "groups": groups }));
    for signer in [&*RSA, &*P256] {
        let token = signer.token(&said);
        assert!(
            matches!(look(&token), Token::Verified(_)),
            "the measured token is a good one"
        );
        group.bench_function(
            format!("{:?}, {} bytes", signer.algorithm, token.len()),
            |bencher| {
                bencher.iter(|| look(black_box(&token)));
            },
        );
    }
    group.finish();
}

fn hostile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostile JWT");
    let header = RSA.header().to_string();
    let base = payload().to_string();
    let filled = |piece: &dyn Fn(usize) -> String| {
        let mut members = String::from("{");
        for n in 0.. {
            let next = piece(n);
            if members.len() + next.len() + base.len() > PAYLOAD {
                break;
            }
            members.push_str(&next);
        }
        members + &base[1..]
    };
    let one = |value: String| format!("{{\"a\":{value},{}", &base[1..]);
    let half = "[".repeat(PAYLOAD / 2 - 300);
    for (name, payload) in [
        (
            "one long text",
            one(format!("\"{}\"", "x".repeat(PAYLOAD - 600))),
        ),
        ("many members", filled(&|n| format!("\"{n}\":1,"))),
        (
            "many escapes",
            one(format!("\"{}\"", "\\u0041".repeat(PAYLOAD / 6 - 100))),
        ),
        (
            "many values",
            one(format!("[{}0]", "0,".repeat(PAYLOAD / 2 - 300))),
        ),
        ("deep", one(format!("{half}{}", "]".repeat(half.len())))),
        (
            "the last member twice",
            filled(&|n| format!("\"{n}\":1,")).replacen("\"0\":1,", "\"upn\":1,", 1),
        ),
    ] {
        let token = RSA.sign(&header, &payload);
        assert!(token.len() <= 64 * 1024, "{name} is looked at");
        group.bench_function(format!("{name}, {} KB", token.len() / 1024), |bencher| {
            bencher.iter(|| look(black_box(&token)));
        });
    }
    let dots = ".".repeat(64 * 1024);
    group.bench_function("nothing but dots", |bencher| {
        bencher.iter(|| look(black_box(&dots)));
    });
    let signature = format!("{}{}", RSA.token(&payload()), "A".repeat(60 * 1024));
    group.bench_function("a long signature", |bencher| {
        bencher.iter(|| look(black_box(&signature)));
    });
    group.finish();
}
