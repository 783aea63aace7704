//! What clients of TLS say first, as rustls writes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngCore as _;
use rand::rngs::StdRng;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, aws_lc_rs,
};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Error, NamedGroup, RootCertStore};

/// Where the random bytes stand in a record with a `ClientHello`, and the session id, behind its length.
const RANDOM: std::ops::Range<usize> = 11..43;
const SESSION: std::ops::Range<usize> = 44..76;
/// What stands for a public key until there are random bytes.
const KEY: u8 = 0xa5;

/// What clients of a host say first, for each kind of client.
pub(super) struct Hellos(BTreeMap<String, Vec<Vec<u8>>>);

impl Hellos {
    /// Of clients of these hosts: the browsers of today, which offer a key of X25519 with ML-KEM; those of
    /// yesterday; and applications that know TLS 1.2 alone.
    pub(super) fn new(hosts: &[&str]) -> Self {
        let of_host = |host: &str| {
            [
                (&[&TLS13, &TLS12][..], &[&HYBRID, &PLAIN][..]),
                (&[&TLS13, &TLS12], &[&PLAIN]),
                (&[&TLS12], &[&PLAIN]),
            ]
            .map(|(versions, groups)| write(host, versions, groups))
            .to_vec()
        };
        Self(
            hosts
                .iter()
                .map(|host| ((*host).to_owned(), of_host(host)))
                .collect(),
        )
    }

    /// The record that a client of this host and kind begins with, its keys and random bytes drawn.
    pub(super) fn record(&self, host: &str, kind: usize, random: &mut StdRng) -> Vec<u8> {
        let mut record = self.0[host][kind].clone();
        random.fill_bytes(&mut record[RANDOM]);
        if record[SESSION.start - 1] == 32 {
            random.fill_bytes(&mut record[SESSION]);
        }
        // A key is the only place with so many equal bytes.
        let mut at = 0;
        while let Some(start) = record[at..]
            .windows(32)
            .position(|bytes| bytes == [KEY; 32])
        {
            let start = at + start;
            let length = record[start..]
                .iter()
                .take_while(|byte| **byte == KEY)
                .count();
            random.fill_bytes(&mut record[start..start + length]);
            at = start + length;
        }
        record
    }
}

fn write(
    host: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    groups: &[&'static Group],
) -> Vec<u8> {
    let provider = CryptoProvider {
        kx_groups: groups.iter().map(|group| *group as _).collect(),
        secure_random: &Nothing,
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("the provider has suites of both versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What has no name that TLS could say is spoken to without one.
    let name = host.to_owned().try_into();
    let name = name.unwrap_or_else(|_| "sts.example.com".try_into().expect("a name"));
    let mut client = ClientConnection::new(Arc::new(config), name).expect("nothing can fail");
    let mut record = Vec::new();
    client.write_tls(&mut record).expect("memory takes it");
    record
}

/// Gives zeros, so that the same record is written each time.
#[derive(Debug)]
struct Nothing;

impl SecureRandom for Nothing {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(0);
        Ok(())
    }
}

/// A group whose public keys have no secret: nobody answers them.
#[derive(Debug)]
struct Group {
    name: NamedGroup,
    length: usize,
}

static PLAIN: Group = Group {
    name: NamedGroup::X25519,
    length: 32,
};
static HYBRID: Group = Group {
    name: NamedGroup::X25519MLKEM768,
    length: 1216,
};

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Key {
            group: self.name,
            public: vec![KEY; self.length],
        }))
    }

    fn name(&self) -> NamedGroup {
        self.name
    }
}

struct Key {
    group: NamedGroup,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Key {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        Err(Error::General("this key has no secret".into()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}
