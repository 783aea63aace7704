//! How long the control socket takes with a long list: `cargo run --release --package weir-control
//! --example lists_at_size -- 100000`. The brain, the socket and the link to the proxy are the real
//! ones; the kernel plane is one in memory, so its maps are not in the times.

use std::fmt::{self, Write as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use http::Method;
use ipnet::IpNet;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};
use weir_abi::Class;
use weir_control::testing::Appliance;
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope, edit};

#[tokio::main]
async fn main() {
    let count: u32 = std::env::args()
        .nth(1)
        .map_or(100_000, |text| text.parse().expect("a number of prefixes"));
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    let mut list = String::new();
    for number in 0..count {
        // All over the space, of several lengths, each once: the multiplier is odd.
        let address = Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
        let length = [32, 24, 32, 22][number as usize % 4];
        let net = ipnet::Ipv4Net::new(address, length)
            .expect("a length")
            .trunc();
        writeln!(list, "{net}  # entry {number}").expect("a String takes everything");
    }
    parts(&list);
    appliance.write("hq.list", &list);
    println!("{count} lines, {} bytes", list.len());
    timed(&appliance, Method::POST, "/v1/reload", None).await;
    let entries = "/v1/lists/hq-egress/entries";
    for round in 0..3 {
        let prefix = format!("192.0.2.{round}");
        let entry = json!({ "prefix": prefix, "comment": "one more" });
        timed(&appliance, Method::POST, entries, Some(entry)).await;
        let path = format!("{entries}?prefix={prefix}");
        timed(&appliance, Method::DELETE, &path, None).await;
    }
    for path in [
        "/v1/status",
        "/v1/lists",
        "/v1/lists/test?source=192.0.2.1",
        "/v1/lists/hq-egress?limit=20",
        "/v1/lists/hq-egress?prefix=203.0.113.0/24",
        "/v1/lists/hq-egress",
    ] {
        timed(&appliance, Method::GET, path, None).await;
    }
}

/// What a change of the list is made of, apart from the disk and the two planes.
fn parts(text: &str) {
    let part = |name: &str, started: Clock| println!("{started}  {name}");
    let started = Clock::start();
    let prefix = "192.0.2.1/32".parse::<IpNet>().expect("a prefix");
    let edited = edit::add(text, prefix, None);
    part("edit the text", started);
    assert!(matches!(edited, edit::Edit::Changed(_)));
    let started = Clock::start();
    let parsed = weir_tables::parse(text, "hq.list");
    part("read the text", started);
    let list = List {
        name: "hq-egress".to_owned(),
        class: Class::Managed,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes: parsed.prefixes,
    };
    let started = Clock::start();
    let lists = Lists::compile(&[list]);
    part("compile", started);
    let started = Clock::start();
    let tables = KernelTables::compile(&lists, &History::default());
    part("make the kernel's tables", started);
    drop(tables);
    let started = Clock::start();
    let bytes = lists.to_bytes();
    part("make the proxy's bytes", started);
    let started = Clock::start();
    Lists::from_bytes(&bytes).expect("just made");
    part("read them in the proxy", started);
}

async fn timed(appliance: &Appliance, method: Method, path: &str, body: Option<Value>) {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let socket = appliance.control_socket();
    let started = Clock::start();
    let reply = appliance
        .reply(&socket, method.clone(), path, body.as_bytes())
        .await;
    let took = started.to_string();
    assert!(reply.status.is_success(), "{}", reply.body);
    let bytes = reply.body.len();
    println!("{took}  {bytes:>9} bytes  {method} {path}");
}

/// Time since it was started: by the wall clock, and of the processor, which other processes do not
/// lengthen.
struct Clock {
    wall: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            processor: processor(),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let processor = processor().saturating_sub(self.processor);
        write!(
            f,
            "{:>8.1} ms, {:>8.1} ms of processor",
            millis(self.wall.elapsed()),
            millis(processor)
        )
    }
}

fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("it can always be asked");
    let (user, system) = (usage.user_time(), usage.system_time());
    Duration::from_micros((user.num_microseconds() + system.num_microseconds()).unsigned_abs())
}
