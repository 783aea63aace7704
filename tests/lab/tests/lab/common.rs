//! What the tests of the lab share: whether they can run here, and what must not be left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

use weir_lab::netns::{Netns, Part};
use weir_lab::weir::Control;

/// What a lab is made from, taken from the environment that `cargo xtask test` sets.
pub struct Ground {
    pub bin_dir: PathBuf,
    pub object: PathBuf,
    out: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: each of them keeps several processes busy.
static ALONE: Mutex<()> = Mutex::new(());

impl Ground {
    /// For the test of that name; `None`, with a line that says why, where it cannot run.
    pub fn find(test: &str) -> Option<Self> {
        let skip = |reason: &str| {
            println!("skipped: {test}: {reason}");
            None
        };
        if let Err(error) = weir_lab::require::machine() {
            return skip(&error.to_string());
        }
        let path = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
        let Some(bin_dir) = path("WEIR_BIN_DIR") else {
            return skip("WEIR_BIN_DIR is not set; cargo xtask test sets it");
        };
        let Some(object) = path("WEIR_EBPF_OBJECT") else {
            return skip("WEIR_EBPF_OBJECT is not set; cargo xtask test sets it");
        };
        let out = tempfile::tempdir().expect("a temporary directory can be made");
        // A test that failed has not spoilt anything for the next: each has a lab of its own.
        let alone = ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Some(Self {
            bin_dir,
            object,
            out,
            _alone: alone,
        })
    }

    /// `weir-lab VERB --instance INSTANCE` with what a lab is made from.
    pub fn raise(&self, verb: &str, instance: &str) -> Command {
        let mut command = lab(&[verb, "--instance", instance]);
        command
            .arg("--bin-dir")
            .arg(&self.bin_dir)
            .arg("--object")
            .arg(&self.object);
        command.arg("--out").arg(self.out(instance));
        command
    }

    /// Directory of the files of a lab.
    pub fn out(&self, instance: &str) -> PathBuf {
        self.out.path().join(instance)
    }

    /// Raises a lab that is taken down when the answer is dropped.
    pub fn up(&self, instance: &'static str) -> Standing {
        let output = self
            .raise("up", instance)
            .output()
            .expect("weir-lab can be run");
        assert!(output.status.success(), "{}", text(&output));
        Standing { instance }
    }
}

/// A lab that stands.
pub struct Standing {
    instance: &'static str,
}

impl Standing {
    /// Its control socket.
    pub fn control(&self) -> Control {
        Control::of(&weir_lab::cleanup::run_directory(self.instance))
    }

    /// What curl prints of a request from a class's address: the status alone.
    pub fn status_of(&self, class: &str, url: &str) -> String {
        let output = lab(&[
            "exec",
            "inet",
            "--instance",
            self.instance,
            "--source",
            class,
            "--family",
            "4",
            "--",
        ])
        .args([
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "--max-time",
            "10",
            "-w",
            "%{http_code}",
            url,
        ])
        .output()
        .expect("weir-lab can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let output = lab(&["down", "--instance", self.instance]).output();
        let output = output.expect("weir-lab can be run");
        if !std::thread::panicking() {
            assert!(output.status.success(), "{}", text(&output));
        }
    }
}

/// `weir-lab` with arguments.
pub fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-lab"));
    command.args(arguments);
    command
}

/// What is left of a lab: namespaces, mounts, files. Empty when it is gone.
pub fn left_behind(instance: &str) -> Vec<String> {
    let mut left = Vec::new();
    for part in Part::ALL {
        let namespace = Netns::of(instance, part);
        if namespace.exists() {
            left.push(format!("namespace {}", namespace.name));
        }
    }
    let run = weir_lab::cleanup::run_directory(instance);
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    let ours = |line: &&str| {
        let at = line.split(' ').nth(1).unwrap_or_default();
        Path::new(at).starts_with(&run)
    };
    left.extend(
        mounts
            .lines()
            .filter(ours)
            .map(|line| format!("mount {line}")),
    );
    for path in [run.clone(), run.with_extension("json")] {
        if path.exists() {
            left.push(path.display().to_string());
        }
    }
    // Processes of a lab hold its directory open, or run a program that lies there.
    for entry in std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .flatten()
    {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.contains(&format!("{}/", run.display())) {
            left.push(format!("process {}", line.replace('\0', " ")));
        }
    }
    left
}

/// What a program said.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
