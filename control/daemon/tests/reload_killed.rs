//! weir-control is killed at any point of a reload, a confirmation and an undo: what is in force afterwards is one
//! generation wholly, and what was acknowledged holds.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_control::testing::{CONFIG, run_in, watched, write_certificate};

/// The variable that tells this test's process that it is weir-control, in this directory.
const RUNS: &str = "WEIR_TEST_RUNS_CONTROL";
const NAME: &str = "a_kill_at_any_point_leaves_one_generation";
/// Kills.
const ROUNDS: u32 = 12;

#[tokio::test]
async fn a_kill_at_any_point_leaves_one_generation() {
    if let Some(directory) = std::env::var_os(RUNS) {
        return run_in(Path::new(&directory)).await;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    write_certificate(directory);
    watched(directory);
    write(directory, 0);
    let mut in_force = 0;
    let mut control = Control::start(directory);
    // How long one takes that nobody kills, so that kills come at all points of it.
    let begun = Instant::now();
    let quiet = tries(directory, 1, true);
    let whole = begun.elapsed();
    assert!(quiet.reloaded && quiet.settled);
    in_force += 1;

    for round in 0..ROUNDS {
        let (next, keeps) = (u64::from(round) + 2, round % 2 == 0);
        let delay = whole.mul_f64((f64::from(round) * 0.618).fract() * 1.1);
        let told = std::thread::scope(|scope| {
            let asks = scope.spawn(|| tries(directory, next, keeps));
            std::thread::sleep(delay);
            control.kill();
            asks.join().expect("it does not panic")
        });
        control = Control::start(directory);

        let status = get(directory, "/v1/status").expect("it runs");
        let is = whole_generation(directory);
        let here = format!("round {round}, {delay:?}, {told:?}, {}", status["reloads"]);
        assert!(is == in_force || is == next, "{is}: {here}");
        match told {
            Told { settled: true, .. } if keeps => assert_eq!(is, next, "confirmed: {here}"),
            Told { settled: true, .. } => assert_eq!(is, in_force, "taken back: {here}"),
            Told { reloaded: true, .. } => {
                let waits = !status["reloads"]["pending"].is_null();
                // The confirmation, or the undo, may be done without having been answered.
                assert!(waits || is == if keeps { next } else { in_force }, "{here}");
            }
            Told { .. } => {}
        }
        if !status["reloads"]["pending"].is_null() {
            assert_eq!(is, next, "{here}");
            let before = in_force;
            post(directory, "/v1/undo", Value::Null).expect("it runs");
            assert_eq!(whole_generation(directory), before, "{here}");
            control.kill();
            control = Control::start(directory);
        }
        in_force = whole_generation(directory);
    }
    control.kill();
}

/// What was answered before weir-control was killed.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    reloaded: bool,
    /// It was confirmed, or taken back.
    settled: bool,
}

/// Writes a generation, has it reloaded, and keeps it or takes it back, as far as there is somebody to ask.
fn tries(directory: &Path, number: u64, keeps: bool) -> Told {
    write(directory, number);
    let mut told = Told::default();
    let within = json!({ "confirm_within": 3600 });
    told.reloaded = post(directory, "/v1/reload", within).is_some();
    if told.reloaded {
        let path = if keeps { "/v1/confirm" } else { "/v1/undo" };
        told.settled = post(directory, path, Value::Null).is_some();
    }
    told
}

/// Writes generation `number`: its number is in the configuration itself, and in a list that it names.
fn write(directory: &Path, number: u64) {
    let uid = nix::unistd::Uid::effective().as_raw().to_string();
    let text = CONFIG
        .replace("PROXY_USER", &uid)
        .replace("198.51.100.66", &format!("198.51.100.{number}"))
        .replace("hq.list", &format!("hq-{number}.list"));
    let list = format!("203.0.113.{number}\n");
    fs::write(directory.join(format!("hq-{number}.list")), list).expect("written");
    let beside = directory.join("weir.toml.new");
    fs::write(&beside, text).expect("written");
    fs::rename(beside, directory.join("weir.toml")).expect("renamed");
}

/// The number of what is in force, which all parts of it must say.
fn whole_generation(directory: &Path) -> u64 {
    let number = |list: &str| -> u64 {
        let list = get(directory, &format!("/v1/lists/{list}")).expect("it runs");
        let entry = list["prefixes"][0].as_str().expect("an entry").to_owned();
        let (address, _) = entry.split_once('/').unwrap_or((&entry, ""));
        let (_, number) = address.rsplit_once('.').expect("an address");
        number.parse().expect("a number")
    };
    let (configured, listed) = (number("bad-people"), number("hq-egress"));
    assert_eq!(configured, listed, "a mix of two generations is in force");
    configured
}

/// weir-control, as a process of its own: this test's program.
struct Control(Child);

impl Control {
    /// Starts it, and waits until it answers.
    fn start(directory: &Path) -> Self {
        let program = std::env::current_exe().expect("a running program has a path");
        let child = Command::new(program)
            .args(["--exact", NAME])
            .env(RUNS, directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let mut control = Self(child.expect("the program can be started again"));
        while get(directory, "/v1/status").is_none() {
            let ended = control.0.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it does not start: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        control
    }

    fn kill(&mut self) {
        self.0.kill().expect("it is not waited for yet");
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(directory: &Path, path: &str) -> Option<Value> {
    ask(directory, "GET", path, "")
}

fn post(directory: &Path, path: &str, body: Value) -> Option<Value> {
    let body = Some(body).filter(|body| !body.is_null());
    ask(
        directory,
        "POST",
        path,
        &body.map(|body| body.to_string()).unwrap_or_default(),
    )
}

/// The answer, when there was one and it says that it was done.
fn ask(directory: &Path, method: &str, path: &str, body: &str) -> Option<Value> {
    let mut stream = UnixStream::connect(directory.join("run/control.sock")).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let done = head.starts_with("HTTP/1.1 200");
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked {
        joined(body)?
    } else {
        body.to_owned()
    };
    done.then(|| serde_json::from_str(&body).ok()).flatten()
}

/// What the chunks of a body hold together.
fn joined(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        body = rest.get(length + 2..)?;
    }
}
