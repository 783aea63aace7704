//! Microsoft's own library signs in to the lab over TLS.

mod support;

use std::path::PathBuf;
use std::process::Stdio;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use support::quiet;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use weir_lab_entra::Entra;
use weir_lab_entra::world::populate::{APP, SECRET, TENANT};

/// The Python that has msal, or nothing with the reason printed.
fn python(test: &str) -> Option<PathBuf> {
    let program = std::env::var_os("WEIR_VENV").map(|venv| PathBuf::from(venv).join("bin/python"));
    let program = program.filter(|program| program.is_file());
    if program.is_none() {
        println!(
            "skipped: {test}: WEIR_VENV names no Python environment (cargo xtask setup makes one)"
        );
    }
    program
}

async fn sign_in(python: &PathBuf, lab: &Entra, with: Value) -> Value {
    let mut wanted = json!({ "ca": lab.ca_file(), "authority": format!("{}/{TENANT}", lab.login()),
        "client_id": APP, "graph": lab.graph() });
    let (Value::Object(all), Value::Object(more)) = (&mut wanted, with) else {
        unreachable!("both are objects");
    };
    all.extend(more);
    let mut child = Command::new(python)
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/msal_app.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(wanted.to_string().as_bytes())
        .await
        .expect("Python reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn good() -> Value {
    json!({ "status": 200, "organization": "Fabrik am See" })
}

#[tokio::test]
async fn msal_signs_in_with_a_secret() {
    let Some(python) = python("msal_signs_in_with_a_secret") else {
        return;
    };
    let lab = quiet().await;
    assert_eq!(
        sign_in(&python, &lab, json!({ "secret": SECRET })).await,
        good()
    );
    let wrong = sign_in(&python, &lab, json!({ "secret": "wrong" })).await;
    assert_eq!(wrong["error"], "invalid_client");
    assert!(
        wrong["said"]
            .as_str()
            .expect("words")
            .starts_with("AADSTS7000215: "),
        "{wrong}"
    );
}

#[tokio::test]
async fn msal_signs_in_with_a_certificate_by_both_algorithms() {
    let Some(python) = python("msal_signs_in_with_a_certificate_by_both_algorithms") else {
        return;
    };
    let lab = quiet().await;
    let new = json!({ "key": lab.key(), "certificate": lab.certificate() });
    assert_eq!(sign_in(&python, &lab, new).await, good());
    let der = CertificateDer::from_pem_slice(lab.certificate().as_bytes()).expect("PEM");
    let thumbprint: Vec<String> = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let thumbprint = thumbprint.concat();
    let old = json!({ "key": lab.key(), "thumbprint": thumbprint });
    assert_eq!(sign_in(&python, &lab, old).await, good());
    lab.world()
        .app_mut(APP)
        .expect("the application")
        .certificates
        .clear();
    let gone = json!({ "key": lab.key(), "certificate": lab.certificate() });
    let gone = sign_in(&python, &lab, gone).await;
    assert!(
        gone["said"]
            .as_str()
            .expect("words")
            .starts_with("AADSTS700027: "),
        "{gone}"
    );
}

#[tokio::test]
async fn msal_takes_the_identity_of_the_machine() {
    let Some(python) = python("msal_takes_the_identity_of_the_machine") else {
        return;
    };
    let lab = quiet().await;
    assert_eq!(
        sign_in(&python, &lab, json!({ "machine": lab.machine() })).await,
        good()
    );
}
