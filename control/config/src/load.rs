//! From files to a checked configuration, and from a configuration to what the planes are given.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use toml::de::DeTable;
use weir_policy::ProfileChoice;
use weir_tables::{List, MAX_PREFIXES, Origin, Severity};

use crate::certificate::{self, Named, io_words};
use crate::check;
use crate::config::{
    CertificateFiles, Config, Contents, Directory, ListSource, Loaded, Outbound, Places, Remote,
    Service, ServicePlaces, Upstream,
};
use crate::diagnostic::{Diagnostic, Report};
use crate::file;
use crate::read::{self, Draft, DraftList, DraftService, DraftUpstream};
use crate::reader::Context;
use crate::source::{Place, Source};
use crate::syntax;
use crate::tokens::Tokens;

/// Reads and checks a configuration file and the certificates, keys and authorities that it names
/// (list files are read by [`load_lists`]), with the system's clock.
pub fn load(path: impl AsRef<Path>) -> Result<Loaded, Report> {
    load_at(path, SystemTime::now())
}

/// [`load`], with the time at which certificates must be valid.
pub fn load_at(path: impl AsRef<Path>, now: SystemTime) -> Result<Loaded, Report> {
    let path = path.as_ref();
    load_text(path, &read_configuration(path)?, now)
}

/// The text of a configuration file, for [`load_text`].
pub fn read_configuration(path: &Path) -> Result<String, Report> {
    let place = Place::file(&path.display().to_string());
    read_text(path, &place, "configuration")
}

/// [`load_at`], with `text` in place of what the file at `path` holds; paths in it are relative to that
/// file still.
pub fn load_text(path: &Path, text: &str, now: SystemTime) -> Result<Loaded, Report> {
    load_named(&path.display().to_string(), path, text, now)
}

/// [`load_text`], whose messages call the text by another name.
pub(crate) fn load_named(
    name: &str,
    path: &Path,
    text: &str,
    now: SystemTime,
) -> Result<Loaded, Report> {
    let source = Source::new(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let (document, errors) = DeTable::parse_recoverable(source.text);
    if !errors.is_empty() {
        return Err(Report::in_order(syntax::explain(&source, &errors)));
    }
    let context = Context::new(&source);
    let base = path.parent().unwrap_or(Path::new(""));
    let draft = read::read(&context, document.get_ref(), base);
    check::check(&context, &draft, now);
    let config = finish(&context, path, draft);
    let report = Report::in_order(context.into_diagnostics());
    match config {
        Some(config) if !report.has_errors() => Ok(Loaded {
            config,
            warnings: report,
            digest: sha256(text.as_bytes()),
            text: text.to_owned(),
        }),
        _ => Err(report),
    }
}

/// The state directory that the `text` of the configuration file at `path` names, as far as it can be
/// understood; the usual one when it cannot. For whoever looks there for the copy of a better file.
pub fn state_directory(path: &Path, text: &str) -> PathBuf {
    let name = path.display().to_string();
    let source = Source::new(&name, text);
    let (document, _) = DeTable::parse_recoverable(source.text);
    let context = Context::new(&source);
    let base = path.parent().unwrap_or(Path::new(""));
    read::state_directory(&context, document.get_ref(), base)
}

/// Reads every list, also from the files that the configuration names; the report holds warnings and
/// notes. On an error nothing is returned: the lists before stay in force.
pub fn load_lists(config: &Config) -> Result<(Vec<List>, Report), Report> {
    load_lists_with(config, &BTreeMap::new())
}

/// [`load_lists`], with texts in place of what the files at these paths hold.
pub fn load_lists_with(
    config: &Config,
    in_place: &BTreeMap<PathBuf, String>,
) -> Result<(Vec<List>, Report), Report> {
    let mut lists = Vec::with_capacity(config.lists.len());
    let mut diagnostics = Vec::new();
    for (source, place) in config.lists.iter().zip(&config.places.lists) {
        let prefixes = match &source.contents {
            Contents::Inline { prefixes, .. } => prefixes.clone(),
            contents => match text_of(contents, place, in_place) {
                Ok(None) => {
                    let message = format!("list `{}` was not fetched yet", source.name);
                    let help = "weir-control fetches it when it starts, and then at its time";
                    diagnostics.push(Diagnostic::at(Severity::Note, place, message, help));
                    Vec::new()
                }
                Ok(Some((path, text))) => {
                    let parsed = weir_tables::parse(&text, &path.display().to_string());
                    diagnostics.extend(parsed.problems.into_iter().map(Diagnostic::from));
                    parsed.prefixes
                }
                Err(report) => {
                    diagnostics.extend(report.diagnostics);
                    continue;
                }
            },
        };
        if prefixes.is_empty() && source.contents.remote().is_none() {
            let message = format!("list `{}` holds no prefix", source.name);
            diagnostics.push(Diagnostic::at(Severity::Note, place, message, ""));
        }
        lists.push(List {
            name: source.name.clone(),
            class: source.class,
            scope: source.scope,
            origin: match source.contents {
                Contents::Remote(_) => Origin::Remote,
                Contents::Inline { .. } | Contents::File(_) => Origin::Local,
            },
            prefixes,
        });
    }
    if let Some(message) = too_large(&lists) {
        let place = Place::file(&config.file.display().to_string());
        let help = "merge neighbouring prefixes into wider ones; a /24 or shorter costs least";
        diagnostics.push(Diagnostic::at(Severity::Error, &place, message, help));
    }
    let report = Report { diagnostics };
    if report.has_errors() {
        Err(report)
    } else {
        Ok((lists, report))
    }
}

/// The text of a list's file; none of one that was never fetched.
fn text_of<'c>(
    contents: &'c Contents,
    place: &Place,
    in_place: &BTreeMap<PathBuf, String>,
) -> Result<Option<(&'c Path, String)>, Report> {
    let Some(path) = contents.file() else {
        return Ok(None);
    };
    if let Some(text) = in_place.get(path) {
        return Ok(Some((path, text.clone())));
    }
    // One that cannot be looked at is not taken for one that is not there.
    if contents.remote().is_some() && matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    Ok(Some((path, read_text(path, place, "list")?)))
}

impl Config {
    /// The services as the proxy needs them, with certificates, keys and authorities read from their
    /// files. Blocks.
    pub fn link_services(&self) -> Result<Vec<weir_link::Service>, Report> {
        let mut found = Vec::new();
        let services: Vec<_> = self
            .services
            .iter()
            .zip(&self.places.services)
            .filter_map(|(service, places)| self.link_service(service, places, &mut found))
            .collect();
        let report = Report::in_order(found);
        if report.has_errors() || services.len() < self.services.len() {
            return Err(report);
        }
        Ok(services)
    }

    fn link_service(
        &self,
        service: &Service,
        places: &ServicePlaces,
        found: &mut Vec<Diagnostic>,
    ) -> Option<weir_link::Service> {
        let mut certificates = Vec::with_capacity(service.certificates.len());
        for (files, places) in service.certificates.iter().zip(&places.certificates) {
            let certificate = Named {
                path: &files.certificate,
                place: &places.0,
            };
            let key = Named {
                path: &files.key,
                place: &places.1,
            };
            let pair = certificate::read_pair(certificate, key, found);
            certificates.extend(pair.map(|pair| pair.certificate));
        }
        let ca = match (&service.upstream.ca, &places.ca) {
            (Some(path), Some(place)) => {
                Some(certificate::read_authorities(Named { path, place }, found)?)
            }
            _ => None,
        };
        (certificates.len() == service.certificates.len()).then(|| weir_link::Service {
            name: service.name.clone(),
            hosts: service.hosts.clone(),
            tunnel: service.tunnel.clone(),
            upstream: weir_link::Upstream {
                kind: service.upstream.kind,
                servers: service.upstream.servers.clone(),
                server_name: service.upstream.server_name.clone(),
                ca,
            },
            certificates,
            http1_only: service.http1_only,
            policy: self.policy(service),
            tokens: (service.tokens.as_ref()).map(Tokens::link),
        })
    }
}

pub(crate) fn read_text(path: &Path, place: &Place, what: &str) -> Result<String, Report> {
    let report = |place: &Place, message: String, help: &str| Report {
        diagnostics: vec![Diagnostic::at(Severity::Error, place, message, help)],
    };
    let shown = path.display();
    let bytes = file::read(path).map_err(|error| {
        report(
            place,
            format!("cannot read the {what} `{shown}`: {}", io_words(&error)),
            "",
        )
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        let message = format!("the {what} `{shown}` is not UTF-8 text (line {line})");
        report(
            &Place::file(&shown.to_string()),
            message,
            "save it as UTF-8, without a byte order mark",
        )
    })
}

/// Whether the lists fit into the memory that is set aside for them.
fn too_large(lists: &[List]) -> Option<String> {
    let total: usize = lists.iter().map(|list| list.prefixes.len()).sum();
    (total > MAX_PREFIXES)
        .then(|| format!("the lists hold {total} prefixes, at most {MAX_PREFIXES} are possible"))
}

/// The configuration, when nothing is missing from the draft.
fn finish(context: &Context<'_>, path: &Path, draft: Draft) -> Option<Config> {
    let places = Places {
        services: draft
            .services
            .iter()
            .map(|service| service_places(context, service))
            .collect(),
        lists: draft
            .lists
            .iter()
            .map(|list| match (list.file(), list.remote()) {
                (Some(file), _) => context.place(&file.span),
                (None, Some(remote)) => context.place(&remote.span),
                (None, None) => context.place(&list.span),
            })
            .collect(),
        users: draft
            .users
            .as_ref()
            .map_or_else(Place::default, |users| context.place(&users.span)),
        countries: draft
            .countries
            .as_ref()
            .map_or_else(Place::default, |file| context.place(&file.span)),
    };
    let profiles: Vec<_> = draft
        .services
        .iter()
        .map(|service| draft.profile(&service.profile.as_ref()?.value))
        .collect();
    let tokens = draft.services.iter().map(|service| draft.tokens(service));
    let tokens: Vec<_> = tokens.collect();
    let services = draft.services.into_iter().zip(profiles).zip(tokens);
    let services: Option<Vec<_>> = services
        .map(|((service, profile), tokens)| finish_service(service, profile?, tokens))
        .collect();
    let appliance = draft.appliance?;
    let lists: Option<Vec<_>> = draft
        .lists
        .into_iter()
        .map(|list| finish_list(context, list, &appliance.state))
        .collect();
    Some(Config {
        file: path.to_owned(),
        appliance,
        kernel: draft.kernel?,
        services: services?,
        lists: lists?,
        rules: draft
            .rules
            .into_iter()
            .map(|rule| rule.spec)
            .collect::<Option<_>>()?,
        applications: draft.applications,
        locations: draft.locations,
        grants: draft.grants,
        directory: Directory {
            users: draft.users.map(|users| users.value),
            countries: draft.countries.map(|countries| countries.value),
        },
        outbound: Outbound {
            proxy: draft.outbound.proxy,
            ca: draft.outbound.ca.map(|ca| ca.value),
        },
        metrics: draft
            .metrics
            .into_iter()
            .map(|listen| listen.value)
            .collect(),
        entra: match draft.entra {
            Some(entra) => Some(entra.finish(context)?),
            None => None,
        },
        places,
    })
}

fn service_places(context: &Context<'_>, service: &DraftService) -> ServicePlaces {
    let ca = service
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.ca.as_ref());
    ServicePlaces {
        certificates: service
            .certificates
            .iter()
            .map(|(certificate, key)| (context.place(&certificate.span), context.place(&key.span)))
            .collect(),
        ca: ca.map(|ca| context.place(&ca.span)),
    }
}

fn finish_service(
    draft: DraftService,
    profile: ProfileChoice,
    tokens: Option<Tokens>,
) -> Option<Service> {
    let upstream = draft.upstream.filter(DraftUpstream::is_complete)?;
    let hosts: Vec<String> = draft.hosts.into_iter().map(|host| host.value).collect();
    let server_name = match upstream.server_name {
        Some(name) => name.value,
        None => hosts.first()?.clone(),
    };
    Some(Service {
        name: draft.name?.value,
        hosts,
        addresses: draft
            .addresses
            .into_iter()
            .map(|address| address.value)
            .collect(),
        ports: draft.ports.into_iter().map(|port| port.value).collect(),
        topology: draft.topology.value,
        servers: draft
            .servers
            .into_iter()
            .map(|server| server.value)
            .collect(),
        rules: draft.rules.value,
        managed: draft.managed?.value,
        proxy_down: draft
            .proxy_down
            .map(|proxy_down| proxy_down.value)
            .unwrap_or_default(),
        accept_intranet: draft.accept_intranet.is_some_and(|accept| accept.value),
        certificates: draft
            .certificates
            .into_iter()
            .map(|(certificate, key)| CertificateFiles {
                certificate: certificate.value,
                key: key.value,
            })
            .collect(),
        reverse_proxy: draft.reverse_proxy.map(|target| target.value),
        tunnel: draft.tunnel.into_iter().map(|host| host.value).collect(),
        outlook: draft.outlook.map(|outlook| outlook.value),
        windows_logon: draft
            .windows_logon
            .map(|logon| logon.value)
            .unwrap_or_default(),
        windows_logon_rate: draft.windows_logon_rate,
        http1_only: draft.http1_only,
        observe: draft.observe,
        switched_off: draft
            .switched_off
            .into_iter()
            .map(|name| name.value)
            .collect(),
        upstream: Upstream {
            kind: upstream.kind?.value,
            servers: upstream.servers,
            server_name,
            ca: upstream.ca.map(|ca| ca.value),
        },
        tokens,
        profile,
    })
}

fn finish_list(context: &Context<'_>, draft: DraftList, state: &Path) -> Option<ListSource> {
    let name = draft.name?.value;
    let kept = state.join("lists").join(format!("{name}.list"));
    Some(ListSource {
        name,
        class: draft.class?.value,
        scope: draft.scope,
        cut: draft.cut,
        contents: match draft.contents? {
            read::DraftContents::Inline { prefixes, span } => Contents::Inline {
                prefixes,
                line: context.place(&span).line,
            },
            read::DraftContents::File(file) => Contents::File(file.value),
            read::DraftContents::Remote(remote) => Contents::Remote(Box::new(Remote {
                source: remote.source,
                limits: remote.limits,
                every: remote.every,
                ca: remote.ca.map(|ca| ca.value),
                kept,
            })),
        },
    })
}

/// SHA-256, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
