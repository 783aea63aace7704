//! What it costs to find the token in a page of 20 KB that sends itself, to send its form elsewhere, and to
//! see that a page to sign in has none.

#[path = "../timing.rs"]
mod timing;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use weir_claims::carrier::{Answer, Answering, Carried, answer, rewrite};

const OLD: &str = "https://login.microsoftonline.com";

criterion_group!(name = benches; config = timing::short(); targets = pages);
criterion_main!(benches);

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("carrier");
    let headers = [("content-type", b"text/html; charset=utf-8".as_slice())];
    let page = |body| Answer {
        url: "https://sts.corp.example/adfs/ls/",
        status: 200,
        headers: &headers,
        body,
    };
    let token = "&lt;saml:Attribute a=&quot;b&quot;>value&lt;/saml:Attribute>".repeat(330);
    let sends = format!(
        "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" \
         action=\"{OLD}:443/login.srf\"><input type=\"hidden\" name=\"wa\" value=\"wsignin1.0\" />\
         <input type=\"hidden\" name=\"wresult\" value=\"{token}\" /><noscript><p>Script is disabled.</p>\
         <input type=\"submit\" value=\"Submit\" /></noscript></form><script language=\"javascript\">\
         window.setTimeout('document.forms[0].submit()', 0);</script></body></html>"
    );
    let asks = format!(
        "<html><body>{}<form method=\"post\"><input name=\"UserName\"/><input name=\"Password\"/></form>\
         <script>{}</script></body></html>",
        "<div class=\"a\"><p>Sign in</p></div>".repeat(280),
        "function login() { return document.forms[0].submit(); }\n".repeat(180)
    );
    let (sends, asks) = (page(sends.as_bytes()), page(asks.as_bytes()));
    assert!(matches!(
        answer(Answering::Passive, &sends),
        Carried::Token(_)
    ));
    assert_eq!(answer(Answering::Passive, &asks), Carried::Nothing);
    let size = sends.body.len();
    group.bench_function(format!("token in a page of {size} bytes"), |bencher| {
        bencher.iter(|| answer(Answering::Passive, black_box(&sends)));
    });
    let size = asks.body.len();
    group.bench_function(format!("no token in a page of {size} bytes"), |bencher| {
        bencher.iter(|| answer(Answering::Passive, black_box(&asks)));
    });
    let expected = [OLD.to_owned()];
    group.bench_function("form sent elsewhere", |bencher| {
        bencher.iter(|| rewrite(black_box(&sends), &expected, "https://proxy.example/sso"));
    });
    group.finish();
}
