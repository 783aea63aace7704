//! `weir keys`: by which keys tokens are verified, and the approval of those that replace them all.

use std::io::Write;

use clap::{Args, Subcommand};
use weir_api::keys::{ApproveKeys, Key, KeyState, Keys as Answer, RefreshKeys, ServiceKeys};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, columns, moment};

/// Shows by which keys tokens of the services are verified, reads them anew, and approves those that
/// replace all that were known.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir keys\n  weir keys refresh\n  weir keys approve sts --fingerprint 5f3a..."
)]
pub struct Keys {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the keys, where they come from, and what is wrong with them.
    #[command(after_help = "Example:\n  weir keys show")]
    Show,
    /// Reads the keys of a service, or of all, where they are published, now.
    #[command(after_help = "Examples:\n  weir keys refresh\n  weir keys refresh sts")]
    Refresh {
        /// The service.
        service: Option<String>,
    },
    /// Puts keys in force that are held, because they replace all that were known. Compare them with the
    /// sign-in server first, on its own console.
    #[command(
        after_help = "Example:\n  weir keys approve sts --fingerprint 5f3a0c...\n\nOn AD FS, Get-AdfsCertificate -CertificateType Token-Signing shows its keys; SHA-256 of one is\n  openssl x509 -in CERTIFICATE -noout -fingerprint -sha256"
    )]
    Approve {
        /// The service.
        service: String,
        /// SHA-256 of a key, in hexadecimal digits with or without colons; each key that is new.
        #[arg(long = "fingerprint", value_name = "SHA256", required = true)]
        fingerprints: Vec<String>,
    },
}

impl Keys {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let answer = match self.verb {
            None | Some(Verb::Show) => client.get::<Answer>("/v1/keys").await?,
            Some(Verb::Refresh { service }) => {
                let request = RefreshKeys { service };
                client.post::<Answer>("/v1/keys/refresh", &request).await?
            }
            Some(Verb::Approve {
                service,
                fingerprints,
            }) => {
                let request = ApproveKeys {
                    service,
                    fingerprints,
                };
                client.post::<Answer>("/v1/keys/approve", &request).await?
            }
        };
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        show(out, &answer.value.services)
    }
}

fn show(out: &mut Out, services: &[ServiceKeys]) -> Result<(), Failed> {
    if services.is_empty() {
        writeln!(
            out,
            "no service has its tokens looked at: none has `[service.tokens]`"
        )?;
        return Ok(());
    }
    let head = [
        "SERVICE",
        "KIND",
        "FINGERPRINT",
        "NOT AFTER",
        "STATE",
        "NAME",
    ];
    let mut table = vec![head.map(|name| out.paint(Colour::Head, name)).to_vec()];
    for service in services {
        table.extend(service.keys.iter().map(|key| row(out, service, key)));
    }
    if table.len() > 1 {
        for line in columns(&table) {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
    }
    for service in services {
        told(out, service)?;
    }
    Ok(())
}

fn row(out: &Out, service: &ServiceKeys, key: &Key) -> Vec<String> {
    let colour = match key.state {
        KeyState::InForce => Colour::Good,
        KeyState::Expired => Colour::Careful,
        KeyState::Held => Colour::Bad,
    };
    let short: String = key.fingerprint.chars().take(16).collect();
    let until = key.not_after.as_deref().map(moment);
    vec![
        clean(&service.service),
        key.kind.name().to_owned(),
        clean(&short),
        until.unwrap_or_else(|| "-".to_owned()),
        out.paint(colour, key.state.name()),
        clean(&key.name),
    ]
}

/// Where the keys of a service come from, and what to do about them.
fn told(out: &mut Out, service: &ServiceKeys) -> Result<(), Failed> {
    let name = clean(&service.service);
    for issuer in &service.issuers {
        writeln!(out, "{name}  issuer  {}", clean(issuer))?;
    }
    for source in &service.sources {
        writeln!(out, "{name}  source  {}", clean(source))?;
    }
    let read = match &service.fetched {
        Some(time) => format!("{} UTC", moment(time)),
        None => "never".to_owned(),
    };
    writeln!(out, "{name}  read    {read}")?;
    if let Some(error) = &service.error {
        let since = service.failing_since.as_deref().map(moment);
        let words = format!(
            "fails since {} UTC: {}",
            since.unwrap_or_default(),
            clean(error)
        );
        writeln!(out, "{name}  {}", out.paint(Colour::Bad, &words))?;
    }
    if let Some(since) = &service.held_since {
        let words = format!(
            "held since {} UTC: compare these with the sign-in server's own, then approve them",
            moment(since)
        );
        writeln!(out, "{name}  {}", out.paint(Colour::Bad, &words))?;
        let named: Vec<_> = service.to_approve.iter().map(|one| clean(one)).collect();
        writeln!(
            out,
            "  weir keys approve {name} --fingerprint {}",
            named.join(" --fingerprint ")
        )?;
    }
    for warning in &service.warnings {
        writeln!(
            out,
            "{name}  {}",
            out.paint(Colour::Careful, &clean(warning))
        )?;
    }
    Ok(())
}
