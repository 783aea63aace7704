//! What both planes would do with a connection and a request: the loaded kernel program by a crafted
//! packet, the proxy by the same policy code with the generation in force. And why a decision that was
//! recorded was made, and whether it would be made again.

mod judged;
mod known;
mod user;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;
use weir_abi::Verdict;
use weir_api::{
    Explain, ExplainRequest, KernelPart, ListTest, ProxyPart, Record, RecordBody, Recorded,
};
use weir_config::Service;
use weir_dataplane::Probe;
use weir_link::Event;
use weir_policy::{ClaimTypes, Classify, Described, Head, Method, Policy, Target, TokenFacts};

use crate::Error;
use crate::audit::{Filter, Reader};
use crate::brain::Brain;
use crate::generation::Generation;
pub(crate) use judged::{looked, of_facts};
pub(crate) use known::{Known, names};

impl Brain {
    /// What both planes would do; or what was done, and whether it would be done again.
    pub async fn explain(
        &self,
        request: ExplainRequest,
        readers: &Arc<Semaphore>,
    ) -> Result<Explain, Error> {
        match (&request.id, request.source) {
            (Some(id), None) => {
                let rest = ExplainRequest {
                    id: None,
                    ..request.clone()
                };
                if rest != ExplainRequest::default() {
                    return Err(Error::Request(
                        "ask either by `id`, which names a whole request, or with a request".into(),
                    ));
                }
                self.recorded(id, readers).await
            }
            (None, Some(source)) => self.described(source.to_canonical(), &request).await,
            _ => Err(Error::Request(
                "name either the `source` of a request, or the `id` of a decision".into(),
            )),
        }
    }

    async fn recorded(&self, id: &str, readers: &Arc<Semaphore>) -> Result<Explain, Error> {
        let filter = Filter {
            id: Some(id.to_owned()),
            ..Filter::default()
        };
        let mut reader = Reader::new(self.audit(), readers, filter);
        let found = reader.newest().await;
        let (found, back) =
            found.map_err(|error| Error::file("read the audit log", self.audit().path())(error))?;
        let Some(Record {
            seq,
            body: RecordBody::Event(event),
        }) = found
        else {
            return Err(Error::NoEvent {
                id: id.to_owned(),
                looked: looked(&back),
            });
        };
        let running = self.running();
        let service = running.candidate.service(event.service.as_deref());
        let mut recorded = Recorded {
            seq,
            id: event.id.clone(),
            time: event.time.clone(),
            generation: event.generation,
            source: event.peer.ip().to_canonical(),
            service: event.service.clone(),
            decision: event.decision.clone(),
            rule: event.rule.clone(),
            reason: event.reason.clone(),
            status: event.status,
            differs: None,
        };
        let Some(index) = service else {
            return Ok(Explain {
                generation: running.number,
                recorded: Some(recorded),
                kernel: None,
                proxy: None,
                note: Some("its service is not in the configuration any more".to_owned()),
            });
        };
        let kernel = match self
            .kernel_part(&running, index, recorded.source, None)
            .await
        {
            Err(Error::NoAddress { .. }) => None,
            other => Some(other?),
        };
        let proxy = event.facts.as_deref().map(|facts| {
            let candidate = &running.candidate;
            let policy = &candidate.policies[index];
            let known = Known::new(candidate, self.directory().as_ref(), policy);
            let name = &candidate.config().services[index].name;
            of_facts(policy, facts, &known.now(), &candidate.claim_types(name))
        });
        let note = proxy.is_none().then(|| {
            "its facts were not recorded: it was decided before any rule, or by an older proxy"
                .to_owned()
        });
        recorded.differs = (proxy.as_ref()).and_then(|now| differs(&event, now, running.number));
        Ok(Explain {
            generation: running.number,
            recorded: Some(recorded),
            kernel,
            proxy,
            note,
        })
    }

    async fn described(&self, source: IpAddr, request: &ExplainRequest) -> Result<Explain, Error> {
        let running = self.running();
        let target = match request.url.as_deref() {
            None => None,
            Some(url) => Some(Target::parse(url).ok_or_else(|| {
                Error::Request(format!(
                    "`{url}` is no URL: write a path that begins with `/`, or https://host/path"
                ))
            })?),
        };
        let host = request.host.as_ref();
        let host = host.or_else(|| target.as_ref()?.host.as_ref());
        let host = host.map(|host| without_port(host));
        let index = service_index(&running, request, host.as_deref())?;
        let candidate = &running.candidate;
        let service = &candidate.config().services[index];
        let kernel = self
            .kernel_part(&running, index, source, request.port)
            .await?;
        let policy = &candidate.policies[index];
        let is_proxys = service.verdicts()[kernel.class as usize] == Verdict::Proxy;
        let supposed = Supposed::of(request)?;
        let (proxy, note) = match (kernel.verdict, target) {
            (Verdict::Proxy, Some(target)) => {
                let head = Asked {
                    host: host.or_else(|| service.hosts.first().cloned()),
                    source,
                    target,
                    request,
                };
                let types = candidate.claim_types(&service.name);
                let known = Known::new(candidate, self.directory().as_ref(), policy);
                let lists = candidate.by_list();
                let part = head.judge(service, policy, (&lists, &known), &supposed, &types);
                let unseen = supposed.token.is_some() && !policy.decides_at_token();
                let note = unseen.then(|| NO_TOKENS.to_owned());
                (Some(part), note)
            }
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
            recorded: None,
            kernel: Some(kernel),
            proxy,
            note,
        })
    }

    /// What the loaded kernel program does with a packet for a service.
    async fn kernel_part(
        &self,
        running: &Generation,
        index: usize,
        source: IpAddr,
        port: Option<u16>,
    ) -> Result<KernelPart, Error> {
        let service = &running.candidate.config().services[index];
        let port = port
            .or_else(|| service.ports.first().copied())
            .unwrap_or(443);
        let mut addresses = service.addresses.iter().copied();
        let destination = addresses
            .find(|address| address.is_ipv4() == source.is_ipv4())
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
        Ok(KernelPart {
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
const NO_TOKENS: &str = "this service does not decide by what stands in tokens, so no rule sees what is supposed of one";

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
        known: running.service_names(),
    })
}

/// What is supposed of the moment, and of the token of the answer.
struct Supposed {
    moment: Option<UtcDateTime>,
    token: Option<TokenFacts>,
}

impl Supposed {
    fn of(request: &ExplainRequest) -> Result<Self, Error> {
        let moment = |key: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => match UtcDateTime::parse(text, &Rfc3339) {
                Ok(moment) => Ok(Some(moment)),
                Err(_) => Err(Error::Request(format!(
                    "`{text}` for `{key}` is no time: write it as RFC 3339 says, 2026-01-01T08:00:00Z"
                ))),
            },
        };
        let token = TokenFacts {
            values: request.claims.clone(),
            methods: request
                .methods
                .iter()
                .map(|word| Method::of(word))
                .collect(),
            authenticated: moment("authenticated", &request.authenticated)?,
            ..TokenFacts::default()
        };
        Ok(Self {
            moment: moment("time", &request.time)?,
            token: Some(token).filter(|token| *token != TokenFacts::default()),
        })
    }
}

/// A described request that reaches the proxy.
struct Asked<'a> {
    host: Option<String>,
    source: IpAddr,
    target: Target,
    request: &'a ExplainRequest,
}

impl Asked<'_> {
    fn judge(
        &self,
        service: &Service,
        policy: &Policy,
        (lists, known): (&dyn Classify, &Known),
        supposed: &Supposed,
        types: &ClaimTypes<'_>,
    ) -> ProxyPart {
        let host = self.host.as_deref().unwrap_or_default();
        if service.tunnel.iter().any(|known| known == host) {
            let (source, decision) = policy.tunnel(self.source, lists);
            return judged::of_tunnel(&source, &decision);
        }
        let (request, target) = (self.request, &self.target);
        let headers = request.headers.iter();
        let headers: Vec<(&str, &[u8])> = headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let described = Described {
            head: Head {
                method: request.method.as_deref().unwrap_or("GET"),
                host,
                path: &target.path,
                query: target.query.as_deref(),
                headers: &headers,
            },
            body: request.body.as_deref().unwrap_or_default().as_bytes(),
            source: self.source,
            moment: supposed.moment.unwrap_or_else(UtcDateTime::now),
            token: supposed.token.clone(),
        };
        let facts = match policy.suppose(&described, lists) {
            Ok(facts) => facts,
            Err(refusal) => return judged::of_refusal(&refusal),
        };
        let mut part = of_facts(policy, &facts, &known.now(), types);
        for origin in &mut part.origins {
            let of_token = origin.fact.starts_with("claim ")
                || matches!(origin.fact.as_str(), "token" | "methods" | "authenticated");
            let is_supposed = of_token && supposed.token.is_some()
                || origin.fact == "time" && supposed.moment.is_some();
            if is_supposed {
                origin.from = format!("supposed; {}", origin.from);
            }
        }
        part
    }
}

/// How the rules in force differ from what was recorded.
fn differs(event: &Event, now: &ProxyPart, generation: u64) -> Option<String> {
    if event.decision == now.decision && event.rule == now.rule {
        return None;
    }
    let why = if event.generation == generation {
        "the generation is the same, so it was no rule's doing: a rate, the users of the directory, or what \
         became of the connection"
            .to_owned()
    } else {
        format!(
            "generation {} made it, and generation {generation} is in force",
            event.generation
        )
    };
    Some(format!(
        "now it would be {} by {}; {why}",
        now.decision, now.rule
    ))
}
