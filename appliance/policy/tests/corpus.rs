//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/careless.rs"]
mod careless;
#[path = "../fuzz/properties/form.rs"]
mod form;
#[path = "../fuzz/properties/one.rs"]
mod one;
#[path = "../fuzz/properties/path.rs"]
mod path;
#[path = "../../../tests/replay.rs"]
mod replay;
#[path = "../fuzz/properties/request.rs"]
mod request;
#[path = "../fuzz/properties/rules.rs"]
mod rules;
#[path = "../fuzz/properties/saml.rs"]
mod saml;
#[path = "../fuzz/properties/soap.rs"]
mod soap;

use replay::replay;

#[test]
fn paths_of_the_corpus() {
    replay("path", path::check);
}

#[test]
fn requests_of_the_corpus() {
    replay("request", request::check);
}

#[test]
fn ws_trust_messages_of_the_corpus() {
    replay("soap", soap::check);
}

#[test]
fn forms_of_the_corpus() {
    replay("form", form::check);
}

#[test]
fn saml_messages_of_the_corpus() {
    replay("saml", saml::check);
}

#[test]
fn policies_and_facts_of_the_corpus() {
    replay("rules", rules::check);
}
