//! What happens between rows: a service changes its keys, and somebody looks after them with `weir`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::sleep;
use weir_lab_servers::control::{Control, Keys};
use weir_lab_servers::plan::Product;

use crate::lab::Lab;

/// The service that is told to do otherwise.
const SERVICE: &str = "adfs";

/// How long `weir` may say something else, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Something that happens before a row is done.
#[derive(Clone, Debug)]
pub enum Turn {
    /// The service has these keys from now on.
    Keys(Keys),
    /// Somebody runs `weir` with these arguments, until it says this.
    Weir(&'static [&'static str], &'static str),
    /// Somebody approves the keys that are held, by their fingerprints.
    Approve,
}

impl Turn {
    /// Does it; what is not as it should be.
    pub async fn take(&self, lab: &Lab, product: Option<Product>) -> Result<Option<String>> {
        match self {
            Self::Keys(keys) => tell(lab, product, *keys)?,
            Self::Weir(arguments, said) => {
                let begun = Instant::now();
                while !lab.said_by_weir(arguments).await?.contains(said) {
                    if begun.elapsed() > PATIENCE {
                        let line = arguments.join(" ");
                        return Ok(Some(format!("* but `weir {line}` does not say: {said}")));
                    }
                    sleep(ASK_AGAIN).await;
                }
            }
            Self::Approve => {
                if approve(lab).await? == 0 {
                    return Ok(Some("* but no keys are held".to_owned()));
                }
            }
        }
        lab.control().both_planes_ready().await?;
        Ok(None)
    }
}

/// Tells the service which product it is and which keys it has.
pub fn tell(lab: &Lab, product: Option<Product>, keys: Keys) -> Result<()> {
    let control = Control {
        product,
        keys,
        ..Control::default()
    };
    control
        .save(lab.plan.files(), SERVICE)
        .context("the service cannot be told")
}

/// Has Weir read the services' keys, and approves those that are not as before: the lab knows why.
pub async fn settle_keys(lab: &Lab) -> Result<()> {
    let control = lab.control();
    control
        .ask("POST", "/v1/keys/refresh", Some(&json!({})))
        .await?;
    approve(lab).await?;
    for service in keys(lab).await? {
        if service["keys"].as_array().is_none_or(Vec::is_empty) || !service["held_since"].is_null()
        {
            bail!("the keys of a service are not known: {service}");
        }
    }
    control.both_planes_ready().await
}

/// Approves what is held as an operator does: by what `weir keys --json` tells.
async fn approve(lab: &Lab) -> Result<usize> {
    let mut approved = 0;
    for service in keys(lab).await? {
        let named = service["to_approve"].as_array().into_iter().flatten();
        let named: Vec<&str> = named.filter_map(Value::as_str).collect();
        if named.is_empty() {
            continue;
        }
        let name = service["service"].as_str().unwrap_or_default();
        let mut arguments = vec!["keys", "approve", name];
        arguments.extend(named.iter().flat_map(|one| ["--fingerprint", one]));
        lab.said_by_weir(&arguments).await?;
        approved += 1;
    }
    Ok(approved)
}

async fn keys(lab: &Lab) -> Result<Vec<Value>> {
    let told = lab.control().ask("GET", "/v1/keys", None).await?;
    let told: Value = serde_json::from_slice(&told).context("the keys are no JSON")?;
    Ok(told["services"].as_array().cloned().unwrap_or_default())
}
