//! One request by curl, and what curl got, in words.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use super::Stage;
use super::row::Evidence;
use crate::exec::{Identity, clean};
use crate::netns::Part;
use crate::sources::{Class, Family};

/// Longer than any answer takes; a dropped connection is given up earlier by curl itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Address with query.
    pub url: String,
    /// Options of curl besides those that every call gets.
    pub options: Vec<String>,
}

/// What curl got.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Exit status of curl; 28 is "no answer in time".
    pub exit: i32,
    /// Status of the response, 0 when there was none.
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    /// Where a redirect goes.
    pub location: Option<String>,
    /// The body.
    pub body: String,
    /// What curl complained about.
    pub complaint: String,
}

impl Call {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            options: Vec::new(),
        }
    }

    /// A POST of form fields.
    pub fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Self {
        let options = fields
            .iter()
            .flat_map(|(name, value)| ["--data-urlencode".to_owned(), format!("{name}={value}")])
            .collect();
        Self {
            url: url.into(),
            options,
        }
    }

    /// With more options.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options
            .extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// Sends it, from the address of `class`, or from the router's own.
    pub async fn send(
        &self,
        stage: &Stage<'_>,
        class: Option<Class>,
        family: Family,
    ) -> Result<Answer> {
        let identity = class.map_or(Identity::Root, |class| Identity::Reader(class.source().uid));
        let mut command = clean("curl");
        command.args([
            "--silent",
            "--show-error",
            "--include",
            "--connect-timeout",
            "1",
        ]);
        command.args([
            "--max-time",
            "20",
            if family == Family::V4 { "-4" } else { "-6" },
        ]);
        command.arg("--cacert").arg(stage.lab.ca());
        if !self
            .options
            .iter()
            .any(|option| option.starts_with("--http"))
        {
            command.arg("--http1.1");
        }
        command.args(["--write-out", "%{stderr}%{http_code} %{http_version}\n"]);
        command
            .args(&self.options)
            .arg(&self.url)
            .stdin(Stdio::null());
        stage
            .lab
            .entry(Part::Inet, Some(family), identity)?
            .apply(&mut command);
        let output = Command::from(command).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output)
            .await
            .context("curl does not end")?;
        let output = output.context("cannot run curl")?;
        Ok(Answer::read(
            output.status.code().unwrap_or(-1),
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&output.stderr),
        ))
    }
}

impl Answer {
    fn read(exit: i32, stdout: &str, stderr: &str) -> Self {
        let (complaints, facts): (Vec<&str>, Vec<&str>) =
            stderr.lines().partition(|line| line.starts_with("curl:"));
        let facts: Vec<&str> = facts
            .last()
            .map_or_else(Vec::new, |line| line.split(' ').collect());
        let fact = |at: usize| facts.get(at).copied().unwrap_or_default();
        // An interim response (100, 103) has a head of its own in front.
        let mut rest = stdout;
        let mut head = "";
        while rest.starts_with("HTTP/") {
            (head, rest) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        }
        let location = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location")
                .then(|| value.trim().to_owned())
        });
        Self {
            exit,
            status: fact(0).parse().unwrap_or(0),
            version: fact(1).to_owned(),
            location,
            body: rest.to_owned(),
            complaint: complaints.join(" "),
        }
    }

    /// What it is, in words: the same words whatever was expected.
    pub fn describe(&self, asked: &str, evidence: &Evidence) -> String {
        match self.exit {
            0 => {}
            28 => return "no answer".to_owned(),
            35 => return "connection refused in TLS".to_owned(),
            52 | 56 => return "connection cut".to_owned(),
            7 => return "connection refused".to_owned(),
            60 => return "certificate not trusted".to_owned(),
            other => return format!("curl error {other}"),
        }
        let what = match self.status {
            300..=399 => self.describe_redirect(asked),
            _ => self.describe_body(evidence),
        };
        let over = if self.version == "2" { ", h2" } else { "" };
        format!("{} {what}{over}", self.status)
            .trim_end()
            .to_owned()
    }

    fn describe_redirect(&self, asked: &str) -> String {
        let target = self
            .location
            .as_deref()
            .and_then(|location| Url::parse(location).ok());
        let (Some(target), Ok(asked)) = (target, Url::parse(asked)) else {
            return "to nowhere".to_owned();
        };
        // The reverse proxy's name for a host: its dots as hyphens, under one suffix.
        let host = asked.host_str().unwrap_or_default().replace('.', "-") + ".proxy.example";
        if target.scheme() != "https" || target.host_str() != Some(&host) {
            return format!("to {}", target.host_str().unwrap_or_default());
        }
        if target.path() != asked.path() {
            return format!("to the reverse proxy's {}", target.path());
        }
        match (target.query() == asked.query(), asked.query()) {
            (true, _) => "to the reverse proxy".to_owned(),
            (false, _) => "to the reverse proxy, query lost".to_owned(),
        }
    }

    fn describe_body(&self, evidence: &Evidence) -> String {
        let holds = |words: &str| self.body.contains(words);
        let explained = explains(&self.body, evidence);
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let error = json["error"].as_str();
        let what = if holds("id=\"loginForm\"") {
            "sign-in form"
        } else if holds("EntityDescriptor") {
            "federation metadata"
        } else if holds("id=\"signoutMessage\"") {
            "signed out"
        } else if self.body.starts_with("certificate: ") {
            "certificate seen"
        } else if json["device_code"].is_string() {
            "device code"
        } else if self.body.starts_with("*{box-sizing") {
            "style sheet"
        } else if json["access_token"].is_string() {
            "token"
        } else if holds("GetMetadata") || holds("wsdl:definitions") {
            "endpoints"
        } else if holds("RequestedSecurityToken") || holds("<Assertion ") {
            "token"
        } else if error.is_some() && explained {
            "OAuth error, explained"
        } else if holds("Envelope") && holds("Fault") {
            if explained {
                "SOAP fault, explained"
            } else {
                "SOAP fault"
            }
        } else if explained {
            if holds("<html") {
                "page, explained"
            } else {
                "explained"
            }
        } else {
            error.unwrap_or_default()
        };
        what.to_owned()
    }
}

/// Whether a client's text holds the reference id and the reason of one of Weir's own answers.
pub fn explains(text: &str, evidence: &Evidence) -> bool {
    let plain = text
        .replace("&#39;", "'")
        .replace("&apos;", "'")
        .replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    evidence.events.iter().any(|event| {
        let reason = event.reason.as_deref().filter(|reason| !reason.is_empty());
        event.id.len() == 16
            && plain.contains(&event.id)
            && reason.is_some_and(|reason| plain.contains(reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "https://sts.corp.example/adfs/ls/?wa=wsignin1.0&wctx=a%3Db";

    fn redirect(location: &str) -> String {
        let stdout = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n");
        Answer::read(0, &stdout, "302 1.1\n").describe(ASKED, &Evidence::default())
    }

    #[test]
    fn a_redirect_is_to_the_reverse_proxy_only_with_host_path_and_query() {
        let good = ASKED.replace("sts.corp.example", "sts-corp-example.proxy.example");
        assert_eq!(redirect(&good), "302 to the reverse proxy");
        assert_eq!(
            redirect(&good.replace("a%3Db", "a=b")),
            "302 to the reverse proxy, query lost"
        );
        assert_eq!(
            redirect(&good.replace("https", "http")),
            "302 to sts-corp-example.proxy.example"
        );
        assert_eq!(redirect("https://evil.example/"), "302 to evil.example");
    }

    #[test]
    fn an_answer_is_weirs_only_with_its_reference_id() {
        let event = serde_json::json!({
            "seq": 1, "time": "", "kind": "request", "id": "0123456789abcdef", "reason": "Use a managed device.",
        });
        let event = serde_json::from_value(event).expect("these are all it needs");
        let evidence = Evidence {
            events: vec![event],
            ..Evidence::default()
        };
        let said = "Use a managed device. Reference: 0123456789abcdef";
        assert!(explains(said, &evidence));
        assert!(!explains("Use a managed device.", &evidence));
        assert!(!explains(said, &Evidence::default()));
        let mut silent = evidence.clone();
        silent.events[0].reason = None;
        assert!(!explains(said, &silent));
    }

    #[test]
    fn what_curl_wrote_is_taken_apart() {
        let answer = Answer::read(
            0,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/2 400 \r\ncontent-type: application/json\r\n\r\n{\"error\":\"invalid_grant\"}",
            "400 2\n",
        );
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.describe(ASKED, &Evidence::default()),
            "400 invalid_grant, h2"
        );
        let silent = Answer::read(28, "", "curl: (28) Connection timed out\n000 0\n");
        assert_eq!(silent.describe(ASKED, &Evidence::default()), "no answer");
    }
}
