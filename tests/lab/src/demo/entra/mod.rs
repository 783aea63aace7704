//! `demo entra`: a tenant's directory, from the consent that it begins with to the disconnection that ends it.
//!
//! Scenes build on each other, as in the life of a tenant, and are made of two kinds of rows: sign-ins, which are judged as
//! those of the other houses, and stories, in which somebody does something with `weir`, or in the tenant, and statements
//! say what had to come of it. What the tenant says of itself is held against what Weir says of it, and when it said so
//! against when Weir acted.

mod change;
mod connect;
mod evidence;
mod flow;
mod held;
mod keep;
mod told;
mod trouble;

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use weir_lab_servers::people::id_of;

use self::told::Told;
use super::client::Client;
use super::life::Lived;
use super::row::Done;
use super::rows::{self, House};
use super::stage::Stage;
use super::table::Table;
use super::{is_wanted, turn};
use crate::args;
use crate::lab::{Lab, with_lab};
use crate::settings::{Hook, Settings, Tenant};
use crate::tenant::{APPLICATION, Administration};

/// The name of the house, of which all rows are.
const HOUSE: &str = "entra";
/// How long anything of Weir's may take that is not timed by itself, and how often it is asked for.
const PATIENCE: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// People in the tenant besides the lab's: so many that half of them is a mass.
const CROWD: usize = 40;

const ALICE: &str = "alice@mex.corp.example";
const BOB: &str = "bob@nomex.corp.example";
const CAROL: &str = "carol@mex-adfs.corp.example";
const ERIN: &str = "erin@mex-adfs.corp.example";
const FRANK: &str = "frank@mex-adfs.corp.example";
const ENGINEERS: &str = "engineers";
const NIGHT_DESK: &str = "night-desk";

/// A part of the demonstration: rows that are done one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Connect,
    Decide,
    Change,
    Trouble,
    Held,
    Location,
    Evidence,
    Credentials,
    Leave,
}

impl Scene {
    const ALL: [Self; 9] = [
        Self::Connect,
        Self::Decide,
        Self::Change,
        Self::Trouble,
        Self::Held,
        Self::Location,
        Self::Evidence,
        Self::Credentials,
        Self::Leave,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "entra/connect",
            Self::Decide => "entra/decide",
            Self::Change => "entra/change",
            Self::Trouble => "entra/trouble",
            Self::Held => "entra/held",
            Self::Location => "entra/location",
            Self::Evidence => "entra/evidence",
            Self::Credentials => "entra/credentials",
            Self::Leave => "entra/leave",
        }
    }
}

/// What scenes are done with, and what came of them.
struct Show<'a> {
    lab: &'a Lab,
    stage: Stage<'a>,
    client: Client,
    tenant: Administration,
    house: House,
    settings: Settings,
    table: Table,
    rows: Vec<Done>,
    stories: Vec<Lived>,
    /// When Alice was among the engineers, and when not any more.
    history: Vec<time::OffsetDateTime>,
}

/// Raises a lab with a tenant, shows the scenes, prints the table, and says by the exit status whether all is as expected.
pub async fn run(wanted: &args::Demo) -> Result<ExitCode> {
    let scenes = Scene::ALL;
    let mut scenes: Vec<Scene> = scenes
        .into_iter()
        .filter(|scene| is_wanted(&wanted.only, scene.name()))
        .collect();
    if scenes.is_empty() {
        bail!("no scene has such a name; `demo entra --list` prints them");
    }
    if wanted.list {
        for scene in scenes {
            println!("{}", scene.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Whatever follows needs the connection.
    if scenes[0] != Scene::Connect {
        scenes.insert(0, Scene::Connect);
    }
    let mut options = wanted.raise.options()?;
    options.tenant = true;
    let progress = |text: &str| eprintln!("  {text}");
    let report = with_lab(options, &progress, async |lab: &Lab, _daemons| {
        show(lab, wanted, &scenes).await
    })
    .await?;
    let as_expected = report["as_expected"] == report["total"];
    if let Some(path) = &wanted.json {
        let [good, total] = ["as_expected", "total"].map(|key| report[key].clone());
        let report = json!({ "runs": [report], "as_expected": good, "total": total });
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if as_expected {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn show(lab: &Lab, wanted: &args::Demo, scenes: &[Scene]) -> Result<Value> {
    let mut house = rows::entra(&lab.plan);
    let hook = wanted.raise.hook.unwrap_or(Hook::Tcx);
    house.under(hook);
    let houses = std::slice::from_ref(&house);
    let stage = Stage::new(lab, wanted, houses, hook).await?;
    let mut show = Show {
        lab,
        stage,
        client: Client::new(lab)?,
        tenant: Administration::of(lab),
        settings: house.settings,
        house,
        table: Table::default(),
        rows: Vec::new(),
        stories: Vec::new(),
        history: Vec::new(),
    };
    let begun = Instant::now();
    show.table.house(&show.house);
    show.people().await?;
    for scene in scenes {
        let done = match scene {
            Scene::Connect => show.connect().await,
            Scene::Decide => show.decide().await,
            Scene::Change => show.change().await,
            Scene::Trouble => show.trouble().await,
            Scene::Held => show.held().await,
            Scene::Location => show.location().await,
            Scene::Evidence => show.evidence().await,
            Scene::Credentials => show.credentials().await,
            Scene::Leave => show.leave().await,
        };
        if let Err(error) = done {
            let mut lived = show.begin(scene.name(), "the scene goes on to its end");
            lived.state(false, String::new(), format!("it breaks off: {error:#}"));
            show.end(lived);
        }
    }
    show.stage.leave()?;
    let seconds = begun.elapsed().as_secs();
    let good = show.rows.iter().filter(|row| row.ok).count()
        + show.stories.iter().filter(|row| row.ok).count();
    let total = show.rows.len() + show.stories.len();
    show.table.group(HOUSE, good, total);
    show.table.summary(good, total, seconds);
    if wanted.keep {
        eprintln!("  the lab stands; Ctrl-C takes it down");
        std::future::pending::<()>().await;
    }
    Ok(json!({
        "rows": show.rows, "life": show.stories, "as_expected": good, "total": total, "seconds": seconds, "hook": hook,
        "switched_off": lab.options.switched_off,
    }))
}

impl Show<'_> {
    /// The people of the tenant as this demonstration has them. Alice bears another name in the cloud than on premises;
    /// nothing but his name joins Bob; Carol's name was given to somebody else.
    async fn people(&self) -> Result<()> {
        let [alice, bob, carol] = [ALICE, BOB, CAROL].map(|who| id_of(who).to_string());
        let tenant = &self.tenant;
        let other = json!("alice.arden@mex.corp.example");
        tenant.set(&alice, "userPrincipalName", other).await?;
        for property in ["onPremisesImmutableId", "onPremisesSecurityIdentifier"] {
            tenant.set(&bob, property, Value::Null).await?;
        }
        let anchor = json!("c29tZWJvZHkgZWxzZS4uLg==");
        tenant.set(&carol, "onPremisesImmutableId", anchor).await?;
        let sid = json!("S-1-5-21-1004336348-1177238915-682003330-99");
        tenant
            .set(&carol, "onPremisesSecurityIdentifier", sid)
            .await?;
        let group = id_of(NIGHT_DESK).to_string();
        let made = json!({ "do": "create", "kind": "group", "properties": { "id": group, "displayName": "Night desk",
            "securityEnabled": true, "mailEnabled": false, "groupTypes": [] } });
        tenant.change(made).await?;
        for who in [ERIN, FRANK] {
            tenant.member(&group, &id_of(who).to_string(), true).await?;
        }
        for domain in &self.lab.plan.domains {
            let settings = federation(self.lab, &domain.service)?;
            let change = json!({ "do": "federate", "domain": domain.name, "settings": settings });
            tenant.change(change).await?;
        }
        let settings = federation(self.lab, "sts")?;
        let change = json!({ "do": "federate", "domain": "fabrik.example", "settings": settings });
        tenant.change(change).await?;
        for number in 0..CROWD {
            let upn = crowd(number);
            let made = json!({ "do": "create", "kind": "user", "properties": { "id": id_of(&upn), "userPrincipalName": upn,
                "displayName": format!("Crowd {number}"), "accountEnabled": true, "userType": "Member" } });
            tenant.change(made).await?;
        }
        Ok(())
    }

    /// Puts other settings in force.
    async fn configure(&mut self, settings: Settings) -> Result<()> {
        self.settings = settings;
        self.lab.configure(settings)?;
        let control = self.lab.control();
        control
            .ask("POST", "/v1/reload", Some(&json!({})))
            .await
            .context("Weir does not take the settings")?;
        control.both_planes_ready().await
    }

    /// The same with another tenant in them.
    async fn reconfigure(&mut self, tenant: Tenant) -> Result<()> {
        let settings = Settings {
            tenant: Some(tenant),
            ..self.settings
        };
        self.configure(settings).await
    }

    /// The settings of the house, with the services' keys settled.
    async fn enter(&mut self) -> Result<()> {
        self.stage.enter(&self.house).await?;
        turn::settle_keys(self.lab).await
    }

    fn begin(&self, name: &'static str, what: &'static str) -> Lived {
        Lived::of(HOUSE, name, what, self.stage.hook())
    }

    fn end(&mut self, lived: Lived) {
        let lived = lived.done();
        self.table.life(&lived);
        self.stories.push(lived);
    }

    /// Does those rows of the house whose names begin so.
    async fn perform(&mut self, names: &[&str]) -> Result<()> {
        self.stage.forget().await?;
        for name in names {
            let starts = ["curl", "chromium"].map(|client| format!("{HOUSE}/{client}/{name}"));
            let is_meant =
                |row: &&super::row::Row| starts.iter().any(|start| row.name.starts_with(start));
            let row = self.house.rows.iter().find(is_meant);
            let row = row.with_context(|| format!("the house has no row {name}"))?;
            let done = self.stage.perform(&self.house, row).await;
            let done = done.with_context(|| format!("row {}", row.name))?;
            self.table.row(&done);
            self.rows.push(done);
        }
        Ok(())
    }

    /// What `weir` says to these words, whatever its exit status.
    async fn weir(&self, words: &[&str]) -> Result<Told> {
        Told::by(self.lab, words).await
    }

    /// How the tenant stands, by `weir entra status`.
    async fn status(&self) -> Result<Value> {
        self.weir(&["entra", "status", "--json"]).await?.json()
    }

    /// The same, once it is so; else the last answer.
    async fn status_when(&self, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let status = self.status().await?;
            if is_so(&status) || begun.elapsed() > PATIENCE {
                return Ok(status);
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Reads a part now, and waits until the proxy judges by what came of it. What came of it.
    async fn sync(&self, words: &[&str]) -> Result<Value> {
        let words = [&["entra", "sync"], words, &["--json"]].concat();
        let told = timeout(PATIENCE, self.weir(&words));
        let told = told
            .await
            .context("weir entra sync does not end")??
            .json()?;
        self.settled().await?;
        Ok(told)
    }

    /// Waits until both planes judge by the same picture.
    async fn settled(&self) -> Result<Value> {
        let same = |status: &Value| {
            let wanted = status["epoch"].as_u64().unwrap_or(0);
            status["proxy_epoch"].as_u64().unwrap_or(0) == wanted
        };
        let status = self.status_when(same).await?;
        if !same(&status) {
            bail!(
                "the proxy judges by picture {}, and weir-control by {}",
                status["proxy_epoch"],
                status["epoch"]
            );
        }
        Ok(status)
    }
}

/// The federation settings of a domain whose people sign in at a service, with the certificates of its keys: the one in
/// use and the next.
fn federation(lab: &Lab, service: &str) -> Result<Value> {
    let plan = &lab.plan;
    let own = plan.service(service);
    let own = own.with_context(|| format!("the plan has no service {service}"))?;
    let certificate = |position| -> Result<String> {
        let file = plan.files().signing_certificate_at(service, position);
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        Ok(lines.collect())
    };
    let at = format!("https://{}/adfs", own.host);
    Ok(
        json!({ "@odata.type": "#microsoft.graph.internalDomainFederation", "id": id_of(&own.host),
        "displayName": own.host, "issuerUri": own.issuer(), "metadataExchangeUri": format!("{at}/services/trust/mex"),
        "signingCertificate": certificate(0)?, "nextSigningCertificate": certificate(1)?,
        "passiveSignInUri": format!("{at}/ls/"), "signOutUri": format!("{at}/ls/"),
        "activeSignInUri": format!("{at}/services/trust/2005/usernamemixed"), "passwordResetUri": null,
        "preferredAuthenticationProtocol": "wsFed", "promptLoginBehavior": "nativeSupport",
        "federatedIdpMfaBehavior": "acceptIfMfaDoneByFederatedIdp", "isSignedAuthenticationRequestRequired": null,
        "signingCertificateUpdateStatus": { "certificateUpdateResult": "Success",
            "lastRunDateTime": "2026-08-10T00:00:00Z" } }),
    )
}

/// A name of one of the crowd.
fn crowd(number: usize) -> String {
    format!("crowd{number:02}@fabrik.example")
}

/// The part of that name in a status.
fn part<'a>(status: &'a Value, name: &str) -> &'a Value {
    let parts = status["parts"].as_array().into_iter().flatten();
    let mut own = parts.filter(|part| part["part"] == name);
    own.next().unwrap_or(&Value::Null)
}

/// Everything that a status finds wrong: of the connection, and of each part.
fn findings(status: &Value) -> Vec<&Value> {
    let parts = status["parts"].as_array().into_iter().flatten();
    let of_parts = parts.flat_map(|part| part["findings"].as_array().into_iter().flatten());
    let own = status["findings"].as_array().into_iter().flatten();
    own.chain(of_parts).collect()
}

/// In few words, for a statement.
fn in_words(status: &Value) -> String {
    let mut words = BTreeSet::new();
    for finding in findings(status) {
        let part = finding["part"].as_str().unwrap_or("connection");
        let reason = finding["reason"].as_str().unwrap_or("?");
        let said = finding["words"].as_str().unwrap_or_default();
        words.insert(format!("{part}: {reason} ({said})"));
    }
    let state = status["state"].as_str().unwrap_or("nothing");
    format!("{state} {}", Vec::from_iter(words).join("; "))
}

/// What had to be said of a picture: its number, and how much is in it.
fn picture(status: &Value) -> [u64; 3] {
    ["epoch", "users", "groups"].map(|key| status[key].as_u64().unwrap_or(0))
}

/// The id of the application, as JSON.
fn application() -> Value {
    json!(APPLICATION)
}
