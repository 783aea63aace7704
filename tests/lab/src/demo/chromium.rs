//! A sign-in in a browser: the application's page, the form, the password, and the page where it ends.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;
use url::Url;

use super::Stage;
use super::row::{Evidence, Row};
use super::webdriver::{Browser, Driver};
use crate::exec::{Identity, clean};
use crate::netns::Part;
use crate::require;
use crate::sources::{Class, Family};

/// How long the driver may take to say that it listens.
const START: Duration = Duration::from_secs(30);
/// What the driver says then, before its port.
const STARTED: &str = "ChromeDriver was started successfully on port ";
/// On the application's page of a user who is signed in: who that is, and from where the token was posted.
const WHO: &str = "#upn";
const POSTED_FROM: &str = "#address";

/// A sign-in.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The application's page that starts it.
    pub start: String,
    /// What is typed.
    pub user: String,
    /// What is typed.
    pub password: String,
    /// Whether the lab's authority is in the browser's store.
    pub trusts_lab: bool,
}

/// Where the browser ended up.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Address of the last page.
    pub address: String,
    /// Address of the page with the form.
    pub form: String,
    /// Who is signed in, by the application's page.
    pub who: String,
    /// From which address the application got the token.
    pub posted_from: String,
    /// Why it went no further.
    pub failure: Option<String>,
    /// The picture of the last page.
    pub screenshot: Option<PathBuf>,
}

/// The browser's programs, found once.
#[derive(Clone, Debug)]
pub struct Programs {
    browser: PathBuf,
    driver: PathBuf,
}

impl Programs {
    /// Finds them, or says what is missing.
    pub fn find() -> Result<Self> {
        require::tools(&["chromium", "chromedriver", "certutil"])?;
        let find = |program| require::find(program).context("it was there just now");
        Ok(Self {
            browser: find("chromium")?,
            driver: find("chromedriver")?,
        })
    }
}

impl Visit {
    /// Does it, from the address of the row's class. A page that does not come is an answer; a browser that does not
    /// start is an error.
    pub async fn run(&self, stage: &Stage<'_>, row: &Row) -> Result<Answer> {
        let (class, family) = (row.class, row.family);
        let programs = stage.programs.as_ref().context("this row needs Chromium")?;
        let home = self.home(stage, row)?;
        let (mut process, port) = start_driver(programs, stage, class, family, &home).await?;
        let driver = Driver::new(stage.lab.namespace(Part::Inet), port);
        let browser = driver.start(options(&programs.browser, &home)).await?;
        let mut answer = Answer::default();
        if let Err(error) = self.sign_in(&browser, &mut answer).await {
            answer.failure = Some(format!("{error:#}"));
        }
        answer.address = browser.address().await.unwrap_or_default();
        let picture = stage
            .screenshots
            .join(format!("{}.png", row.name.replace('/', "-")));
        fs::write(&picture, browser.screenshot().await?)
            .with_context(|| format!("cannot write {}", picture.display()))?;
        answer.screenshot = Some(picture);
        browser.quit().await?;
        process.kill().await.context("cannot stop chromedriver")?;
        Ok(answer)
    }

    async fn sign_in(&self, browser: &Browser, answer: &mut Answer) -> Result<()> {
        browser.go(&self.start).await?;
        let user = browser.find("#userNameInput, .error-code").await?;
        let error = browser.text(&user).await?;
        if error.contains("ERR_") {
            bail!("{error}");
        }
        answer.form = browser.address().await?;
        browser.type_into(&user, &self.user).await?;
        let password = browser.find("#passwordInput").await?;
        browser.type_into(&password, &self.password).await?;
        browser.click(&browser.find("#submitButton").await?).await?;
        answer.who = browser.text(&browser.find(WHO).await?).await?;
        answer.posted_from = browser.text(&browser.find(POSTED_FROM).await?).await?;
        Ok(())
    }

    /// A home directory of the row's own, with the lab's authority in it or not.
    fn home(&self, stage: &Stage<'_>, row: &Row) -> Result<PathBuf> {
        // Two that run at once are of different families. A short path: Chromium keeps a socket below it, and the name of a socket has 107 bytes at most (unix(7)).
        let home = stage
            .lab
            .home(row.class)
            .join(format!("b{}", u8::from(row.family)));
        if home.exists() {
            fs::remove_dir_all(&home)
                .with_context(|| format!("cannot empty {}", home.display()))?;
        }
        let store = home.join(".pki/nssdb");
        fs::create_dir_all(&store).with_context(|| format!("cannot make {}", store.display()))?;
        let database = format!("sql:{}", store.display());
        let certutil = |arguments: &[&str]| -> Result<()> {
            let output = clean("certutil")
                .args(["-d", &database])
                .args(arguments)
                .output()?;
            if !output.status.success() {
                bail!(
                    "certutil: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
            Ok(())
        };
        certutil(&["-N", "--empty-password"])?;
        if self.trusts_lab {
            let ca = stage.lab.ca();
            let ca = ca.to_str().context("the lab's directory is not UTF-8")?;
            certutil(&["-A", "-t", "C,,", "-n", "lab", "-i", ca])?;
        }
        give(&home, row.class.source().uid)?;
        Ok(home)
    }
}

impl Answer {
    /// What it is, in words: the same words whatever was expected.
    pub fn describe(
        &self,
        row: &Row,
        visit: &Visit,
        evidence: &Evidence,
        egress: &[IpAddr],
    ) -> String {
        let host = |address: &str| {
            Url::parse(address)
                .ok()
                .and_then(|url| url.host_str().map(ToOwned::to_owned))
                .unwrap_or_default()
        };
        if let Some(failure) = &self.failure {
            return match failure.find("ERR_") {
                Some(at) => failure[at..]
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                None => format!("at {}: {failure}", host(&self.address)),
            };
        }
        if self.who != visit.user {
            return format!("signed in as somebody else: {}", self.who);
        }
        let posted_from = self.posted_from.parse::<IpAddr>().ok();
        let by_source = posted_from == Some(row.class.source().address(row.family));
        let by_proxy = posted_from.is_some_and(|address| egress.contains(&address));
        let through = |address: &str| host(address).ends_with(".proxy.example");
        match (through(&self.form), through(&self.address)) {
            (false, false) if by_source => "signed in".to_owned(),
            (true, true) if by_proxy => {
                let source = row.class.source().address(row.family);
                match Self::after_redirect(source, evidence) {
                    Some(0) => "signed in, reverse proxy".to_owned(),
                    Some(more) => format!("went to the service {more} times after the redirect"),
                    None => "at the reverse proxy without a redirect".to_owned(),
                }
            }
            // At the token: the browser was at the service until then.
            (false, true) if by_proxy => "signed in, token through the reverse proxy".to_owned(),
            (form, _) => format!(
                "form at {}, end at {}, token posted from {}",
                if form {
                    "the reverse proxy"
                } else {
                    "the service"
                },
                host(&self.address),
                self.posted_from
            ),
        }
    }

    /// How often `source` went to the services after Weir redirected it: connections that it opened, by the capture's
    /// times, and requests on those it had, by the audit events. `None` without a redirect, or when the capture missed the
    /// connection that was redirected.
    fn after_redirect(source: IpAddr, evidence: &Evidence) -> Option<usize> {
        let mut requests = evidence
            .events
            .iter()
            .filter(|event| {
                event
                    .peer
                    .is_some_and(|peer| peer.ip().to_canonical() == source)
            })
            .skip_while(|event| event.decision != "redirect");
        let at = OffsetDateTime::parse(&requests.next()?.time, &Rfc3339).ok()?;
        let (after, before): (Vec<_>, Vec<_>) = evidence
            .seen
            .opened
            .iter()
            .filter(|opened| opened.from.ip() == source)
            .partition(|opened| opened.at > at);
        (!before.is_empty()).then(|| after.len() + requests.count())
    }
}

/// What a person's browser would do, without the calls home that would have nobody to answer them.
fn options(browser: &Path, home: &Path) -> serde_json::Value {
    json!({
        "binary": browser,
        "args": [
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,880",
            format!("--user-data-dir={}", home.join("profile").display()),
        ],
    })
}

async fn start_driver(
    programs: &Programs,
    stage: &Stage<'_>,
    class: Class,
    family: Family,
    home: &Path,
) -> Result<(Child, u16)> {
    let mut command: Command = clean(&programs.driver);
    command
        .arg("--port=0")
        .env("HOME", home)
        .env("TMPDIR", home)
        .current_dir(home);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let identity = Identity::Plain(class.source().uid);
    stage
        .lab
        .entry(Part::Inet, Some(family), identity)?
        .apply(&mut command);
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .context("cannot run chromedriver")?;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout was asked for")).lines();
    let port = timeout(START, async {
        while let Some(line) = lines.next_line().await? {
            if let Some(port) = line.strip_prefix(STARTED) {
                return Ok(port.trim_end_matches('.').parse()?);
            }
        }
        bail!("chromedriver ended")
    });
    let port = port.await.context("chromedriver does not start")??;
    // The rest of what it says must go somewhere, or it would wait.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, port))
}

fn give(path: &Path, uid: u32) -> Result<()> {
    chown(path, Some(uid), Some(uid))
        .with_context(|| format!("cannot give away {}", path.display()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid)?;
        }
    }
    Ok(())
}
