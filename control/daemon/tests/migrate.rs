//! The daemon over pins of another version: it refuses to start, and `--migrate` mends that.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use aya::maps::{Array, Map, MapData};
use aya::programs::ProgramInfo;
use aya::programs::tc::{SchedClassifier, TcAttachType};
use nix::sched::{CloneFlags, setns};
use weir_abi::{ABI_VERSION, Config};
use weir_control::testing::{CONFIG, write_certificate};

#[test]
fn pins_of_another_version_are_refused_and_then_migrated() {
    let Some(bed) = Bed::new("pins_of_another_version_are_refused_and_then_migrated") else {
        return;
    };
    let nothing = bed.run(&["--migrate"]);
    assert!(nothing.status.success());
    let words = "nothing is pinned that another version has made";
    assert!(said(&nothing).contains(words), "{}", said(&nothing));

    bed.start_and_kill();
    let programs = bed.programs();
    bed.pretend(4);
    let numbers = bed.path().join("state/service-ids");
    std::fs::remove_file(&numbers).expect("it was written");

    let refused = bed.run(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("run `weir-control --migrate`"),
        "{}",
        said(&refused)
    );
    assert_eq!(bed.programs(), programs, "they go on");

    let migrated = bed.run(&["--migrate"]);
    let words = format!("layout 4 was replaced by layout {ABI_VERSION}");
    assert!(said(&migrated).contains(&words), "{}", said(&migrated));
    // What the kernel knows services by is known to whoever starts next.
    let numbers = std::fs::read_to_string(&numbers).expect("written");
    assert!(numbers.contains("sts"), "{numbers}");
    let now = bed.programs();
    assert_eq!(now.len(), programs.len());
    assert!(now.iter().all(|id| !programs.contains(id)), "swapped");

    assert!(said(&bed.run(&["--migrate"])).contains("nothing is pinned"));
    bed.start_and_kill();
}

/// A namespace with the two interfaces of the configuration.
struct Bed {
    namespace: String,
    directory: tempfile::TempDir,
    object: PathBuf,
}

impl Bed {
    fn new(test: &str) -> Option<Self> {
        let skip = |why: &str| {
            // Past the test harness, which keeps what passing tests print to itself.
            let _ = writeln!(io::stderr(), "skipped: {test}: {why}");
            None
        };
        if !nix::unistd::Uid::effective().is_root() {
            return skip("needs root");
        }
        let object = std::env::var_os("WEIR_EBPF_OBJECT")
            .unwrap_or_else(|| OsString::from("../../target/ebpf/weir-ebpf.o"));
        let Ok(object) = std::fs::canonicalize(object) else {
            return skip(
                "no object file with the kernel programs; build it with `cargo xtask ebpf`",
            );
        };
        let bed = Self {
            namespace: format!("weir-migrate-{}", std::process::id()),
            directory: tempfile::tempdir().expect("a directory"),
            object,
        };
        if !ip(&["netns", "add", &bed.namespace]).status.success() {
            return skip("cannot make network namespaces");
        }
        let inside = |arguments: &[&str]| {
            let made = ip(&[&["-n", &bed.namespace], arguments].concat());
            assert!(made.status.success(), "{arguments:?}: {}", said(&made));
        };
        inside(&["link", "set", "lo", "up"]);
        for name in ["outside0", "inside0"] {
            inside(&["link", "add", name, "type", "veth"]);
            inside(&["link", "set", name, "up"]);
        }
        write_certificate(bed.path());
        let user = nix::unistd::Uid::effective().to_string();
        for (name, text) in [
            ("weir.toml", CONFIG.replace("PROXY_USER", &user)),
            ("hq.list", "203.0.113.0/24\n".to_owned()),
        ] {
            std::fs::write(bed.path().join(name), text).expect("a temporary directory");
        }
        Some(bed)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(env!("CARGO_BIN_EXE_weir-control"))
            .arg("--config")
            .arg(self.path().join("weir.toml"))
            .arg("--object")
            .arg(&self.object)
            .args(more)
            .stderr(Stdio::piped());
        command
    }

    /// What a daemon says that ends by itself.
    fn run(&self, more: &[&str]) -> Output {
        self.command(more).output().expect("it runs")
    }

    /// A daemon that comes up, and ends without a word.
    fn start_and_kill(&self) {
        let mut daemon = self.command(&[]).spawn().expect("it runs");
        let heard = heard(&mut daemon, "weir-control: ready");
        daemon.kill().expect("it lives");
        daemon.wait().expect("it has ended");
        assert!(heard.is_ok(), "{heard:?}");
    }

    /// The programs on the interfaces.
    fn programs(&self) -> Vec<u32> {
        let query = || {
            let file = File::open(format!("/run/netns/{}", self.namespace)).expect("it is there");
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            let mut programs = Vec::new();
            for interface in ["outside0", "inside0"] {
                let on = SchedClassifier::query_tcx(interface, TcAttachType::Ingress);
                let (_, on) = on.expect("the kernel tells");
                programs.extend(on.iter().map(ProgramInfo::id));
            }
            programs
        };
        // On a thread of its own: a namespace is a thread's.
        let programs = thread::scope(|scope| scope.spawn(query).join());
        programs.expect("it tells")
    }

    /// Has the pins say that they are of this version.
    fn pretend(&self, version: u32) {
        let pin = self.path().join("pin/maps/CONFIG");
        let map = Map::Array(MapData::from_pin(pin).expect("it is pinned"));
        let mut map: Array<_, [u8; size_of::<Config>()]> = map.try_into().expect("an array");
        let mut config = map.get(&0, 0).expect("it has one entry");
        config[..4].copy_from_slice(&version.to_ne_bytes());
        map.set(0, config, 0).expect("it can be written");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.namespace]);
        let pins = self.path().join("pin");
        let _ = nix::mount::umount2(&pins, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Reads what a daemon says until it says this, or else all of it.
fn heard(daemon: &mut Child, words: &str) -> Result<(), String> {
    let stderr = daemon.stderr.take().expect("it is a pipe");
    let mut all = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.expect("words");
        if line.contains(words) {
            return Ok(());
        }
        all += &line;
    }
    Err(all)
}

fn ip(arguments: &[&str]) -> Output {
    Command::new("ip").args(arguments).output().expect("ip")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
