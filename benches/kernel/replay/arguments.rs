//! What may be said on the command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use weir_benches::replay::generate::Options;
use weir_benches::replay::mapping::Shares;
use weir_benches::replay::{PORT, Services};

use crate::Common;

/// Replays the traffic of an edge: judges each frame, then sends all of it at full speed.
///
/// Without captures it makes some: sign-ins over TLS, and what else an edge meets, from a seed.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    /// Captures to replay (pcap or pcapng; Ethernet, Linux cooked, or raw IP).
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub pcap: Vec<PathBuf>,
    /// Rewrite the addresses of the captures, by this seed.
    ///
    /// Servers become the services, clients get addresses of the classes in the shares of --classes. Which ones,
    /// follows from the seed, the capture and the lists alone. Clients of one /24 (IPv6: /48) stay in one, have
    /// one class, and share as many leading bits as before; no two clients become one. Checksums are made to fit.
    /// Without this option addresses stay as they are.
    #[arg(long, value_name = "SEED", requires = "pcap")]
    pub map: Option<u64>,
    /// Make the traffic from this seed; the same seed makes the same bytes.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 5745,
        conflicts_with = "pcap"
    )]
    pub generate: u64,
    /// Connections to make [default: 2000; 200 with --quick].
    #[arg(long, value_name = "COUNT", conflicts_with = "pcap")]
    pub flows: Option<usize>,
    /// Shares of the classes of sources that are made or mapped, in any unit.
    #[arg(
        long,
        value_name = "CLASS=SHARE,...",
        default_value = "managed=45,bypass=5,relay=10,unmanaged=35,blocked=5"
    )]
    pub classes: Shares,
    /// Per cent of the sources that are made with IPv6 addresses.
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub ipv6: u8,
    /// Also write what is replayed to this file (pcap), for other tools.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// A list of sources with its class, such as managed=FILE; one prefix per line. May be repeated.
    ///
    /// Without a list or a configuration, lists of 2000 prefixes of each family are made.
    #[arg(long, value_name = "CLASS=FILE")]
    pub list: Vec<String>,
    /// Take services, rules and lists from this configuration (weir.toml).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the service is in the captures; port 443 if none is said. May be repeated.
    ///
    /// Without this, --config or --map, it is every address that clients open connections to on port 443.
    #[arg(long, value_name = "ADDRESS[:PORT]", conflicts_with = "config", value_parser = service)]
    pub service: Vec<SocketAddr>,
    /// Read at most so many frames of all captures together.
    #[arg(long, value_name = "FRAMES", default_value_t = 1_000_000)]
    pub limit: usize,
    /// Only judge the frames; do not send them.
    #[arg(long)]
    pub judge_only: bool,
    /// Also write the report as a page, in one file; with --json, one is written beside that anyway.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Arguments {
    /// The service that was said.
    pub fn services(&self) -> Option<Services> {
        let mut addresses: Vec<IpAddr> = self.service.iter().map(SocketAddr::ip).collect();
        let mut ports: Vec<u16> = self.service.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        addresses.sort_unstable();
        addresses.dedup();
        (!addresses.is_empty()).then(|| Services::one(addresses, ports))
    }

    /// Where the page goes, if there is to be one.
    pub fn page(&self) -> Option<PathBuf> {
        let beside = self.common.json.as_ref();
        let beside = beside.map(|file| file.with_extension("html"));
        self.html.clone().or(beside)
    }

    /// What is to be made.
    pub fn options(&self, quick: bool) -> Options {
        Options {
            seed: self.generate,
            flows: self.flows.unwrap_or(if quick { 200 } else { 2000 }),
            classes: self.classes,
            ipv6: self.ipv6,
        }
    }
}

fn service(text: &str) -> Result<SocketAddr, String> {
    let alone = text.trim_start_matches('[').trim_end_matches(']');
    alone
        .parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, PORT))
        .or_else(|_| text.parse())
        .map_err(|_| "write an address, or address:port ([address]:port for IPv6)".to_owned())
}
