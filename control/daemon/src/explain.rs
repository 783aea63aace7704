//! What both planes would do with a connection and a request: the loaded kernel program by a crafted
//! packet, the proxy by the same policy code with the generation in force.

use std::net::{IpAddr, SocketAddr};

use weir_abi::Verdict;
use weir_api::{Explain, ExplainRequest, KernelPart, ListTest, ProxyPart, Tried};
use weir_config::Service;
use weir_dataplane::Probe;
use weir_policy::{BodyNeed, Classified, Classify, Head, Policy, Uncounted, Users};
use weir_tables::{Lists, Scope};

use crate::Error;
use crate::brain::Brain;
use crate::generation::Generation;

impl Brain {
    /// What both planes would do.
    pub async fn explain(&self, request: ExplainRequest) -> Result<Explain, Error> {
        let running = self.running();
        let source = request.source.to_canonical();
        let target = Target::of(&request)?;
        let index = service_index(&running, &request, target.host.as_deref())?;
        let service = &running.candidate.config().services[index];
        let port = request
            .port
            .or_else(|| service.ports.first().copied())
            .unwrap_or(443);
        let destination = service
            .addresses
            .iter()
            .find(|address| address.is_ipv4() == source.is_ipv4())
            .copied()
            .ok_or_else(|| Error::NoAddress {
                service: service.name.clone(),
                source_address: source,
            })?;
        let probe = Probe {
            source,
            destination,
            port,
        };
        let outcome = self
            .parts
            .plane
            .run(move |plane| plane.probe(&probe))
            .await?
            .map_err(Error::NotAsked)?;
        let found = running.candidate.compiled.find(source);
        let kernel = KernelPart {
            // For a packet that is no service's the program looks no class up.
            class: outcome.service.map_or(found.class, |_| outcome.class),
            list: found.list.map(str::to_owned),
            prefix: found.prefix,
            verdict: outcome.verdict,
            reason: outcome.reason.name().to_owned(),
            service: outcome.service.map(|id| running.service_name(Some(id))),
            destination: Some(SocketAddr::new(destination, port)),
            topology: (outcome.verdict == Verdict::Forward)
                .then(|| service.topology.name().to_owned()),
            hook: outcome.hook.name().to_owned(),
            hook_why: outcome.hook_why.map(str::to_owned),
            grant: self.grant_of(source),
            observed: outcome.observed,
        };
        let policy = &running.candidate.policies[index];
        let is_proxys = service.verdicts()[kernel.class as usize] == Verdict::Proxy;
        let candidate = &running.candidate;
        let lists = ByList(&candidate.compiled, candidate.users.as_deref());
        let (proxy, note) = match (kernel.verdict, &target.path) {
            (Verdict::Proxy, Some(_)) => (
                Some(judge(service, policy, &lists, source, &target, &request)),
                None,
            ),
            (Verdict::Proxy, None) => (None, Some(NO_REQUEST.to_owned())),
            (Verdict::Pass, _) => (
                None,
                Some(
                    "this is not for a service's address and port: Weir leaves the packet alone"
                        .to_owned(),
                ),
            ),
            (verdict, _) if is_proxys && self.noted().fail_mode => (
                None,
                Some(format!(
                    "no proxy is alive, so the fail mode of the service acts: {}",
                    verdict.name()
                )),
            ),
            (verdict, _) => {
                let name = verdict.name();
                (
                    None,
                    Some(format!(
                        "the kernel says {name}: the proxy never sees the request"
                    )),
                )
            }
        };
        Ok(Explain {
            generation: running.number,
            kernel,
            proxy,
            note,
        })
    }

    /// What the lists in force say of an address.
    pub fn test_lists(&self, source: IpAddr) -> ListTest {
        let running = self.running();
        let source = source.to_canonical();
        let found = running.candidate.compiled.find(source);
        ListTest {
            source,
            class: found.class,
            scope: found.scope.name().to_owned(),
            list: found.list.map(str::to_owned),
            prefix: found.prefix,
            generation: running.number,
        }
    }
}

const NO_REQUEST: &str =
    "no request was described; add --url to see what the proxy decides about one";

/// The lists in force, as policy asks them, and the users of the directory.
struct ByList<'a>(&'a Lists, Option<&'a Users>);

impl Classify for ByList<'_> {
    fn classify(&self, source: IpAddr) -> Classified {
        let found = self.0.find(source);
        Classified {
            class: found.class,
            web_only: found.scope == Scope::Web,
            list: found.list.map(str::to_owned),
        }
    }
}

/// Where the described request goes.
struct Target {
    host: Option<String>,
    path: Option<String>,
    query: Option<String>,
}

impl Target {
    fn of(request: &ExplainRequest) -> Result<Self, Error> {
        let mut host = request.host.clone();
        let Some(url) = request.url.as_deref() else {
            return Ok(Self {
                host: host.as_deref().map(without_port),
                path: None,
                query: None,
            });
        };
        let rest = match url.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                host = host.or_else(|| Some(authority.to_owned()));
                path
            }
            None if url.starts_with('/') => url,
            None => {
                return Err(Error::Request(format!(
                    "`{url}` is no URL: write a path that begins with `/`, or https://host/path"
                )));
            }
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            host: host.as_deref().map(without_port),
            path: Some(path.to_owned()),
            query,
        })
    }
}

fn without_port(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.to_ascii_lowercase()
}

fn service_index(
    running: &Generation,
    request: &ExplainRequest,
    host: Option<&str>,
) -> Result<usize, Error> {
    let services = &running.candidate.config().services;
    let (found, wanted) = match (&request.service, host) {
        (Some(name), _) => (
            services.iter().position(|service| service.name == *name),
            format!("`{name}`"),
        ),
        (None, Some(host)) => {
            let fronts = |service: &Service| {
                service
                    .hosts
                    .iter()
                    .chain(&service.tunnel)
                    .any(|known| known == host)
            };
            (
                services.iter().position(fronts),
                format!("with the host name `{host}`"),
            )
        }
        (None, None) => (
            (!services.is_empty()).then_some(0),
            "in the configuration".to_owned(),
        ),
    };
    found.ok_or_else(|| Error::NoService {
        wanted,
        known: services
            .iter()
            .map(|service| service.name.clone())
            .collect(),
    })
}

fn judge(
    service: &Service,
    policy: &Policy,
    lists: &ByList<'_>,
    source: IpAddr,
    target: &Target,
    request: &ExplainRequest,
) -> ProxyPart {
    let host = target
        .host
        .clone()
        .or_else(|| service.hosts.first().cloned())
        .unwrap_or_default();
    if service.tunnel.contains(&host) {
        let (source, decision) = policy.tunnel(source, lists);
        return ProxyPart {
            facts: facts(&source),
            tried: Vec::new(),
            decision: decision.kind.name().to_owned(),
            rule: decision.rule.to_string(),
            reason: Some(decision.reason.to_string()),
            status: decision.status,
        };
    }
    let headers: Vec<(&str, &[u8])> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let head = Head {
        method: request.method.as_deref().unwrap_or("GET"),
        host: &host,
        path: target.path.as_deref().unwrap_or("/"),
        query: target.query.as_deref(),
        headers: &headers,
    };
    let recognised = match policy.recognise(&head) {
        Ok(recognised) => recognised,
        Err(refusal) => {
            return ProxyPart {
                facts: serde_json::Map::new(),
                tried: Vec::new(),
                decision: "refuse".to_owned(),
                rule: refusal.why.to_string(),
                reason: Some(refusal.why.to_string()),
                status: Some(refusal.status),
            };
        }
    };
    let body = request.body.as_deref().unwrap_or_default().as_bytes();
    let body = match recognised.body {
        BodyNeed::None => None,
        BodyNeed::UpTo(limit) => (body.len() <= limit).then_some(body),
    };
    let known = policy.facts(&head, &recognised, body, source, lists);
    let users = Uncounted(lists.1);
    let (decision, tried) = policy.explain(&known, &users);
    ProxyPart {
        facts: facts(&known),
        tried: tried
            .into_iter()
            .map(|tried| Tried {
                rule: tried.rule,
                matched: tried.matched,
                why: tried.why,
            })
            .collect(),
        decision: decision.kind.name().to_owned(),
        rule: decision.rule.to_string(),
        reason: Some(decision.reason.to_string()),
        status: decision.status,
    }
}

/// Facts by name, as the audit log names them.
fn facts(known: &impl serde::Serialize) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(known) {
        Ok(serde_json::Value::Object(facts)) => facts,
        _ => serde_json::Map::new(),
    }
}
