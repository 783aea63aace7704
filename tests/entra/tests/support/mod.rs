//! A client over TLS that trusts the lab's authority alone, and small helpers around its answers.
#![allow(dead_code, reason = "every test file uses its own part of this module")]

pub mod schema;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use weir_lab_entra::world::Quirks;
use weir_lab_entra::world::populate::{APP, SECRET, TENANT};
use weir_lab_entra::{Entra, Settings};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    /// `error.code` of Graph.
    pub fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The number of the token endpoint's error.
    pub fn aadsts(&self) -> u64 {
        self.json()["error_codes"][0].as_u64().unwrap_or_default()
    }

    pub fn items(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()["value"]
            .as_array()
            .expect("a collection")
            .clone()
    }
}

/// A client.
pub struct Client {
    pub http: reqwest::Client,
    pub token: String,
    graph: String,
    login: String,
}

/// The lab by the book, without limits.
pub async fn quiet() -> Entra {
    start(Settings {
        quirks: Quirks::none(),
        ..Settings::default()
    })
    .await
}

/// The lab with its quirks, without limits.
pub async fn quirky(seed: u64) -> Entra {
    start(Settings {
        seed,
        ..Settings::default()
    })
    .await
}

/// The same with nobody in it.
pub async fn bare(seed: u64) -> Entra {
    start(Settings {
        seed,
        filled: false,
        ..Settings::default()
    })
    .await
}

async fn start(settings: Settings) -> Entra {
    let lab = Entra::with(settings).await.expect("the lab starts");
    lab.world().throttle.on = false;
    lab
}

pub fn http(lab: &Entra) -> reqwest::Client {
    http_trusting(lab.ca().as_bytes())
}

pub fn http_trusting(ca: &[u8]) -> reqwest::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(ca).expect("a certificate");
    reqwest::Client::builder()
        .tls_certs_only([ca])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .expect("a client")
}

pub async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Answer {
        status,
        headers,
        text,
    }
}

impl Client {
    /// With a token of the lab's application.
    pub async fn new(lab: &Entra) -> Self {
        let mut client = Self {
            http: http(lab),
            token: String::new(),
            graph: lab.graph().to_owned(),
            login: lab.login().to_owned(),
        };
        client.sign_in().await;
        client
    }

    /// With a token whose application has these permissions alone.
    pub async fn with_roles(lab: &Entra, roles: &[&str]) -> Self {
        let now = lab.world().clock.now();
        lab.edit(|edit| {
            let account = edit.tenant.account_mut(APP).expect("the application");
            account.grants = roles.iter().map(|role| ((*role).to_owned(), now)).collect();
        });
        Self::new(lab).await
    }

    pub async fn sign_in(&mut self) {
        let answer = self.ask_token(&secret()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let answer = answer.json();
        let token = answer["access_token"].as_str().expect("a token");
        token.clone_into(&mut self.token);
    }

    pub async fn ask_token(&self, form: &[(&str, &str)]) -> Answer {
        self.ask_token_of(&TENANT.to_string(), form).await
    }

    pub async fn ask_token_of(&self, tenant: &str, form: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.login);
        let sent = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .expect("an answer");
        read(sent).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let response = self.try_send(method, path, headers, body).await;
        read(response.expect("an answer")).await
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<reqwest::Response> {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}/v1.0{path}", self.graph)
        };
        let mut request = self
            .http
            .request(method, url)
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        request.send().await
    }

    /// All items of a list, by its links.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = path.to_owned();
        loop {
            let page = self.get(&next).await;
            items.extend(page.items());
            match page.json()["@odata.nextLink"].as_str() {
                Some(link) => link.clone_into(&mut next),
                None => return items,
            }
        }
    }

    /// A round of a delta: its items, and the link to the next.
    pub async fn round(&self, path: &str) -> (Vec<Value>, String) {
        let (items, link, _) = self.round_with(path, &[]).await;
        (items, link)
    }

    /// A round of a delta with header fields: its items, the link to the next, and how many pages it had.
    pub async fn round_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Vec<Value>, String, usize) {
        let mut items = Vec::new();
        let mut next = path.to_owned();
        for pages in 1.. {
            let page = self.get_with(&next, headers).await;
            items.extend(page.items());
            let page = page.json();
            let link = |name: &str| page[name].as_str().map(str::to_owned);
            match (link("@odata.nextLink"), link("@odata.deltaLink")) {
                (Some(link), None) => next = link,
                (None, Some(link)) => return (items, link, pages),
                both => panic!("a page has one of both links: {both:?}"),
            }
        }
        unreachable!("there is no last page")
    }
}

/// The form that asks with the secret.
pub fn secret() -> [(&'static str, &'static str); 4] {
    // Leaked once for each use: a few bytes in a test.
    let client = Box::leak(APP.to_string().into_boxed_str());
    [
        ("client_id", client),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", "https://graph.microsoft.com/.default"),
    ]
}

/// What a client that reads delta as documented holds afterwards.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Copy {
    /// Properties by id.
    pub objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// Members by group.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Soft-deleted.
    pub gone: BTreeSet<String>,
}

impl Copy {
    pub fn apply(&mut self, items: &[Value]) {
        for item in items {
            let id = item["id"].as_str().expect("an id").to_owned();
            match item["@removed"]["reason"].as_str() {
                Some("changed") => {
                    self.objects.entry(id.clone()).or_default();
                    self.gone.insert(id);
                    continue;
                }
                Some("deleted") => {
                    self.objects.remove(&id);
                    self.members.remove(&id);
                    self.gone.remove(&id);
                    continue;
                }
                Some(other) => panic!("reason {other}"),
                None => {}
            }
            self.gone.remove(&id);
            let object = self.objects.entry(id.clone()).or_default();
            for (name, value) in item.as_object().expect("an object") {
                if !["id", "members@delta"].contains(&name.as_str()) {
                    object.insert(name.clone(), value.clone());
                }
            }
            for edge in item["members@delta"].as_array().into_iter().flatten() {
                let member = edge["id"].as_str().expect("an id").to_owned();
                let members = self.members.entry(id.clone()).or_default();
                if edge["@removed"].is_null() {
                    members.insert(member);
                } else {
                    members.remove(&member);
                }
            }
        }
    }
}

pub fn text(id: Uuid) -> Value {
    json!(id.to_string())
}
