//! The image, booted, with sign-ins through it: the rows of house `strict` that show each verdict and each decision, done
//! by the same clients and held against the same witnesses as in the lab, and what the machine says of itself.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::life::Lived;
use super::row::Done;
use super::rows::{self, House};
use super::stage::Stage;
use super::table::Table;
use super::{Report, is_wanted};
use crate::args;
use crate::lab::{Lab, with_middle};
use crate::machine::{self, Firmware, Machine};
use crate::netns::Part;
use crate::settings::Hook;
use crate::supervisor::Supervisor;
use crate::topology::{INET_WAN, MANAGED, WEIR_OUTSIDE};

/// What is done unless somebody says otherwise: a sign-in for each verdict and each decision, by both families.
const ROWS: [&str; 9] = [
    "curl/ws-fed/sts/managed/*",
    "curl/ws-fed/adfs/managed/*",
    "curl/ws-fed/adfs/bypass/4",
    "curl/ws-fed/*/unmanaged/*",
    "curl/active-2005/adfs/managed/4",
    "curl/active-2005/*/unmanaged/*",
    "curl/ws-fed/*/blocked/*",
    "msal/direct/sts/managed/4",
    "msal/direct/adfs/unmanaged/4",
];
/// The house of the stories.
const HOUSE: &str = "machine";
/// How long a connection is waited for that must not come about.
const REFUSED: Duration = Duration::from_secs(3);

/// Boots the image by each firmware, does the rows, prints the tables, and says by the exit status whether all is as
/// expected.
pub async fn run(wanted: &args::Boot) -> Result<ExitCode> {
    crate::require::tools(&[
        "qemu-system-x86_64",
        "qemu-img",
        "ssh",
        "mkfs.vfat",
        "mcopy",
    ])?;
    let plan = weir_lab_servers::plan::Plan::new(&wanted.demo.raise.out);
    let mut house = rows::all(&plan)
        .into_iter()
        .find(|house| house.name == "strict")
        .context("there is a house with the recommended rules")?;
    let globs = if wanted.demo.only.is_empty() {
        ROWS.map(ToOwned::to_owned).to_vec()
    } else {
        wanted.demo.only.clone()
    };
    house.rows.retain(|row| is_wanted(&globs, &row.name));
    if house.rows.is_empty() {
        bail!("no row has such a name; `demo --list` prints those of house strict");
    }
    let progress = |text: &str| eprintln!("  {text}");
    let mut reports = Vec::new();
    for &firmware in &wanted.firmware {
        let raise = async |lab: &Lab, supervisor: &mut Supervisor| {
            lab.surround(supervisor, &progress).await?;
            let machine = machine::boot(lab, &wanted.image, firmware, &progress).await?;
            Ok(tokio::sync::Mutex::new(machine))
        };
        let work = async |lab: &Lab, machine: &tokio::sync::Mutex<Machine>| {
            let mut machine = machine.lock().await;
            show(lab, &mut machine, wanted, firmware, &mut house).await
        };
        let options = wanted.demo.raise.options()?;
        reports.push(with_middle(options, &progress, raise, work).await?);
    }
    let good = reports.iter().map(|report| report.good).sum::<usize>();
    let total = reports.iter().map(|report| report.total).sum::<usize>();
    if let Some(path) = &wanted.demo.json {
        let boots: Vec<Value> = reports.into_iter().map(|report| report.json).collect();
        let report =
            json!({ "image": wanted.image, "boots": boots, "as_expected": good, "total": total });
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if good == total {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn show(
    lab: &Lab,
    machine: &mut Machine,
    wanted: &args::Boot,
    firmware: Firmware,
    house: &mut House,
) -> Result<Report> {
    let begun = Instant::now();
    let hook = hook(&lab.control().status().await?);
    house.under(hook);
    eprintln!(
        "  the machine is up: configured after {:.0} s, both planes ready after {:.0} s, kernel plane by {}",
        machine.took[0].as_secs_f64(),
        machine.took[1].as_secs_f64(),
        hook.name(),
    );
    let mut table = Table::default();
    let houses = std::slice::from_ref(&*house);
    let mut stage = Stage::new(lab, &wanted.demo, houses, hook).await?;
    stage.enter(house).await?;
    table.house(house);
    let mut done: Vec<Done> = Vec::new();
    stage
        .perform_all(house, &mut |row| {
            table.row(&row);
            done.push(row);
        })
        .await?;
    drop(stage);
    let good = done.iter().filter(|row| row.ok).count();
    table.group(house.name, good, done.len());
    table.story(HOUSE, "what the machine says of itself");
    let mut told = Vec::new();
    let mut tell = |row: Lived| {
        let row = row.done();
        table.life(&row);
        told.push(row);
    };
    tell(start(machine, firmware, hook).await?);
    tell(units(machine, hook).await?);
    tell(proxy(machine, hook).await?);
    tell(firewall(lab, machine, hook).await?);
    tell(disk(machine, hook).await?);
    tell(upkeep(machine, hook).await?);
    tell(console(machine, hook));
    tell(again(lab, machine, hook).await?);
    table.stories(HOUSE, &told);
    let good = good + told.iter().filter(|row| row.ok).count();
    let total = done.len() + told.len();
    table.summary(good, total, begun.elapsed().as_secs());
    let json = json!({
        "firmware": firmware, "hook": hook, "configured_s": machine.took[0].as_secs(),
        "ready_s": machine.took[1].as_secs(), "rows": done, "machine": told,
    });
    Ok(Report { good, total, json })
}

/// Where the machine's kernel plane decides: it chooses by its cards.
fn hook(status: &Value) -> Hook {
    let hooks = status["kernel"]["hooks"].as_array().into_iter().flatten();
    let is_early = |hook: &Value| {
        let names = hook["hook"].as_str().unwrap_or_default();
        names.split('+').any(|name| name == Hook::Xdp.name())
    };
    if hooks.clone().any(is_early) {
        Hook::Xdp
    } else {
        Hook::Tcx
    }
}

/// What it was started by, and whether that vouches for what it starts.
async fn start(machine: &Machine, firmware: Firmware, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/start", "what it was started by", hook);
    // The variable's four bytes of attributes stand before its one of value.
    let said = machine
        .shell
        .said(
            "cd /sys/firmware/efi/efivars 2>/dev/null || { echo bios; exit; }; \
             od -An -tu1 -j4 SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null | grep -qw 1 \
             && echo secure-boot || echo uefi",
        )
        .await?;
    row.state(
        said == firmware.name(),
        format!("started by {said}"),
        format!("it was to be started by {}", firmware.name()),
    );
    Ok(row)
}

/// Nothing failed on the way up, and the daemons are kept in by what systemd can take from them.
async fn units(machine: &Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/units", "systemd and its units", hook);
    let state = machine
        .shell
        .said("systemctl is-system-running --wait || true")
        .await?;
    let failed = machine
        .shell
        .said("systemctl --failed --plain --no-legend")
        .await?;
    row.state(
        state == "running",
        format!("the system is {state}"),
        format!("the system is {state}: {failed}"),
    );
    for unit in ["weir-proxy", "weir-control"] {
        let exposure = machine
            .shell
            .said(&format!(
                "sudo systemd-analyze security --no-pager {unit} | tail -n 1"
            ))
            .await?;
        let level = exposure.split(':').nth(1).unwrap_or_default().trim();
        let number: f64 = level
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(10.0);
        row.state(
            number < 4.0,
            format!("{unit}: exposure {level}"),
            format!("{unit} may do too much: {exposure}"),
        );
    }
    Ok(row)
}

/// The proxy runs without privileges.
async fn proxy(machine: &Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/proxy", "the proxy's process", hook);
    let status = machine
        .shell
        .said("sudo cat /proc/$(systemctl show --property MainPID --value weir-proxy)/status")
        .await?;
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or("").trim_start_matches(':').trim().to_owned()
    };
    for (key, must) in [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let is = of(key);
        row.state(
            is == must,
            format!("{key} {is}"),
            format!("{key} must be {must}"),
        );
    }
    let user = of("Uid");
    row.state(
        !user.starts_with('0'),
        format!("user ids {user}"),
        "it runs as root".to_owned(),
    );
    Ok(row)
}

/// Who is not named reaches nothing, and who is named reaches what was opened only.
async fn firewall(lab: &Lab, machine: &Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/firewall", "who may come in", hook);
    let knocks = [
        (Part::Weir, "the manager", format!("{MANAGED}:22"), true),
        (Part::Weir, "the manager", format!("{MANAGED}:111"), false),
        (
            Part::Inet,
            INET_WAN[0],
            format!("{}:22", WEIR_OUTSIDE[0]),
            false,
        ),
        (
            Part::Inet,
            INET_WAN[1],
            format!("[{}]:22", WEIR_OUTSIDE[1]),
            false,
        ),
        (
            Part::Inet,
            INET_WAN[0],
            format!("{}:9464", WEIR_OUTSIDE[0]),
            false,
        ),
    ];
    for (part, who, to, open) in knocks {
        let place: SocketAddr = to.parse().context("an address and a port")?;
        let knock = lab
            .namespace(part)
            .run(move || TcpStream::connect_timeout(&place, REFUSED).map(drop))?;
        let (came, what) = match &knock {
            Ok(()) => (true, "let in".to_owned()),
            Err(error) if error.kind() == ErrorKind::TimedOut => (false, "no answer".to_owned()),
            // An answer of any kind says that somebody is there.
            Err(error) => (!open, error.to_string()),
        };
        row.state(
            came == open,
            format!("{who} to {to}: {what}"),
            format!("{to} must be {}", if open { "open" } else { "silent" }),
        );
    }
    let listening = machine
        .shell
        .said("sudo ss -Hltn | awk '{print $4}' | grep -v ^127 | sort -u")
        .await?;
    let listening = listening.replace('\n', " ");
    row.state(
        listening
            .split(' ')
            .all(|place| place.ends_with(":22") || place.ends_with(":443")),
        format!("listening: {listening}"),
        format!("somebody listens who need not: {listening}"),
    );
    Ok(row)
}

/// Two slots, and a data partition that took the disk's end.
async fn disk(machine: &Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/disk", "the disk", hook);
    let parts = machine
        .shell
        .said("lsblk --raw --noheadings --bytes --output PARTLABEL,SIZE,FSTYPE,MOUNTPOINT /dev/vda")
        .await?;
    for name in ["weir-bios", "weir-efi", "weir-a", "weir-b", "weir-data"] {
        let line = parts
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        row.state(
            line.is_some(),
            line.unwrap_or(name).to_owned(),
            format!("there is no partition {name}"),
        );
    }
    let data: u64 = machine
        .shell
        .said("df --block-size=1 --output=size /data | tail -n 1")
        .await?
        .trim()
        .parse()?;
    row.state(
        data > 1_500_000_000,
        format!("/data has {} MB", data / 1_000_000),
        "the data partition did not grow".to_owned(),
    );
    for place in ["/etc/weir", "/var/lib/weir", "/var/log"] {
        let source = machine
            .shell
            .said(&format!("findmnt --noheadings --output SOURCE {place}"))
            .await?;
        row.state(
            source.contains('['),
            format!("{place} is {source}"),
            format!("{place} is not on the data partition"),
        );
    }
    Ok(row)
}

/// Time, and the limits of logs.
async fn upkeep(machine: &Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/upkeep", "time and logs", hook);
    let time = machine
        .shell
        .said("systemctl is-active systemd-timesyncd || true")
        .await?;
    row.state(
        time == "active",
        format!("systemd-timesyncd is {time}"),
        "nobody keeps the time".to_owned(),
    );
    let journal = machine
        .shell
        .said("systemd-analyze cat-config systemd/journald.conf | grep ^SystemMaxUse || true")
        .await?;
    row.state(
        !journal.is_empty(),
        format!("journal: {journal}"),
        "the journal has no limit".to_owned(),
    );
    let kernel = machine.shell.said("uname -r").await?;
    row.said.push(format!("kernel {kernel}"));
    let memory = machine
        .shell
        .said("free --mega | awk '/^Mem:/ {print $3}'")
        .await?;
    row.said.push(format!("{memory} MB of memory used"));
    Ok(row)
}

/// What a person sees who stands in front of it.
fn console(machine: &mut Machine, hook: Hook) -> Lived {
    let mut row = Lived::of(HOUSE, "machine/console", "the console", hook);
    let said = machine.console.said();
    for words in ["Weir", MANAGED] {
        let line = said.lines().rev().find(|line| line.contains(words));
        row.state(
            line.is_some(),
            line.unwrap_or_default().trim().to_owned(),
            format!("the console does not say \"{words}\""),
        );
    }
    row
}

/// After another boot everything is as it was.
async fn again(lab: &Lab, machine: &mut Machine, hook: Hook) -> Result<Lived> {
    let mut row = Lived::of(HOUSE, "machine/reboot", "another boot", hook);
    let newest = "sudo weir events --json | tail -n 1 | sed 's/.*\"seq\":\\([0-9]*\\).*/\\1/'";
    let count = |text: String| text.trim().parse::<u64>().unwrap_or(0);
    let before = count(machine.shell.said(newest).await?);
    let key = machine
        .shell
        .said("cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id")
        .await?;
    let took = machine.reboot(lab).await?;
    row.said.push(format!(
        "both planes ready again after {} s",
        took.as_secs()
    ));
    let after = count(machine.shell.said(newest).await?);
    row.state(
        before > 0 && after >= before,
        format!("the audit log had {before} lines, and has {after}"),
        "the audit log was lost".to_owned(),
    );
    let same = machine
        .shell
        .said("cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id")
        .await?
        == key;
    row.state(
        same,
        "host key and machine id are the same".to_owned(),
        "it is another machine to others now".to_owned(),
    );
    Ok(row)
}
