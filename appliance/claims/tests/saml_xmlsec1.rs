//! The `xmlsec1` program as the oracle: what it signs is believed here, what is signed here it verifies.

mod support;

use std::path::Path;
use std::process::Command;

use support::{
    EXCLUSIVE, FORMS, ID, RESPONSE, SERVICE, Service, believed, judge_with, outer, refused,
    response, signed, template, unsigned, with,
};
use weir_claims::{Form, Refused, Token};

/// The program, in a directory with a service's key and certificate.
struct Oracle(tempfile::TempDir);

impl Oracle {
    /// Nothing, with the reason printed, where the program is not installed.
    fn with(service: &Service) -> Option<Self> {
        if Command::new("xmlsec1").arg("--version").output().is_err() {
            println!("skipped: xmlsec1 is not installed");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
        write("key.pem", &service.key_pem).expect("a file");
        write("cert.pem", &service.certificate_pem).expect("a file");
        Some(Self(directory))
    }

    fn run(&self, arguments: &[&str], document: &str) -> Option<String> {
        let file = |name: &str| self.0.path().join(name);
        std::fs::write(file("in.xml"), document).expect("a file");
        let status = Command::new("xmlsec1")
            .current_dir(self.0.path())
            .args(arguments)
            .args([
                "--id-attr:AssertionID",
                "urn:oasis:names:tc:SAML:1.0:assertion:Assertion",
            ])
            .args([
                "--id-attr:ID",
                "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
            ])
            .args([
                "--id-attr:ID",
                "urn:oasis:names:tc:SAML:2.0:protocol:Response",
            ])
            .args(["--output", "out.xml", "in.xml"])
            .output()
            .expect("the program runs");
        let out = file("out.xml");
        let written = Path::new(&out).exists();
        status.status.success().then(|| {
            if written {
                std::fs::read_to_string(out).expect("text")
            } else {
                String::new()
            }
        })
    }

    fn sign(&self, document: &str) -> String {
        self.run(&["--sign", "--privkey-pem", "key.pem,cert.pem"], document)
            .expect("it signs")
    }

    fn verifies(&self, document: &str) -> bool {
        let arguments = [
            "--verify",
            "--pubkey-cert-pem",
            "cert.pem",
            "--enabled-key-data",
            "key-name",
        ];
        self.run(&arguments, document).is_some()
    }
}

#[test]
fn what_it_signs_is_believed() {
    let Some(oracle) = Oracle::with(&SERVICE) else {
        return;
    };
    let kept = format!(
        "<ds:Transform Algorithm=\"{EXCLUSIVE}\"><ec:InclusiveNamespaces xmlns:ec=\"{EXCLUSIVE}\" \
         PrefixList=\"xs saml\"/></ds:Transform></ds:Transforms>"
    );
    let plain = format!("<ds:Transform Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms>");
    for form in FORMS {
        let usual = template(ID);
        for signature in [
            usual.clone(),
            usual.replace(&plain, &kept),
            usual.replace("rsa-sha256", "rsa-sha512"),
            usual.replace("xmlenc#sha256", "xmlenc#sha512"),
            usual.replace("><ds:", ">\n  <ds:"),
        ] {
            // Spelled as other writers do: entities, CDATA, declarations on the values, line ends.
            let document = with(&unsigned(form), &signature)
                .replace(
                    "AttributeValue>Finance<",
                    "AttributeValue xmlns:xs='http://www.w3.org/2001/XMLSchema' \
                     xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='xs:string'>\
                     <![CDATA[Fin]]>&#x61;n\u{63}e<",
                )
                .replace("Conditions><", "Conditions>\r\n\t<");
            let document = oracle.sign(&outer(form, &document));
            assert_eq!(believed(&document), believed(&signed(form)), "{document}");
        }
    }
    let document = response(&with(&unsigned(Form::Saml20), ""), &template(RESPONSE));
    assert_eq!(
        believed(&oracle.sign(&document)),
        believed(&signed(Form::Saml20))
    );
}

#[test]
fn what_is_signed_here_it_verifies() {
    let Some(oracle) = Oracle::with(&SERVICE) else {
        return;
    };
    for form in FORMS {
        let document = outer(form, &signed(form));
        believed(&document);
        assert!(oracle.verifies(&document), "{document}");
        let changed = document.replace("anna@", "boss@");
        assert!(!oracle.verifies(&changed));
    }
}

#[test]
fn elliptic_curves() {
    let service = Service::elliptic();
    let Some(oracle) = Oracle::with(&service) else {
        return;
    };
    for form in FORMS {
        let template = template(ID).replace("rsa-sha256", "ecdsa-sha256");
        let document = outer(form, &with(&unsigned(form), &template));
        let theirs = oracle.sign(&document);
        let ours = service.sign(&document);
        assert!(oracle.verifies(&ours));
        for document in [theirs, ours] {
            let token = judge_with(&service.trust(), &document);
            assert!(matches!(token, Token::Verified(_)), "{token:?}");
        }
    }
}

#[test]
fn its_sha_1_is_refused() {
    let Some(oracle) = Oracle::with(&SERVICE) else {
        return;
    };
    for form in FORMS {
        let sha1 = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
        let sha256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
        let template = template(ID).replace(sha256, sha1);
        let document = oracle.sign(&outer(form, &with(&unsigned(form), &template)));
        assert!(oracle.verifies(&document), "a real signature");
        assert_eq!(refused(&document), Refused::Algorithm);
    }
}

#[test]
fn its_other_transforms_are_refused() {
    let Some(oracle) = Oracle::with(&SERVICE) else {
        return;
    };
    let plain = format!("<ds:Transform Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms>");
    for form in FORMS {
        // Signs everything but the attributes, which could then say anything.
        let path = "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>\
                    not(ancestor-or-self::*[local-name()='AttributeStatement'])</ds:XPath></ds:Transform>";
        let template = template(ID).replace(&plain, &format!("{path}{plain}"));
        let document = oracle.sign(&outer(form, &with(&unsigned(form), &template)));
        let changed = document.replace("anna@", "boss@");
        assert!(oracle.verifies(&changed), "the trap is real");
        assert_eq!(refused(&changed), Refused::Transform);
    }
}
