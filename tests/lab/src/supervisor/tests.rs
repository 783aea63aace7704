use super::*;

/// A supervisor whose logs and sockets lie in a directory of their own.
fn supervisor() -> (tempfile::TempDir, Supervisor) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let supervisor = Supervisor::new(&place.path().join("logs"), &place.path().join("notify"));
    (place, supervisor.expect("it is writable"))
}

fn shell(script: &str) -> Service {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    Service {
        name: "server".to_owned(),
        command,
        ready: Ready::Words("ready".to_owned()),
        manager: None,
    }
}

/// A process that speaks the protocol: a shell cannot send descriptors.
fn python(script: &str, argument: &Path, watchdog: Duration) -> Service {
    const TELL: &str = "
import os, signal, socket, sys, time
def tell(text, *descriptors):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ['NOTIFY_SOCKET'])
        socket.send_fds(manager, [text.encode()], descriptors)
def note(text):
    with open(sys.argv[1], 'a') as file:
        file.write(text + '\\n')
";
    let mut command = managed("python3");
    command
        .arg("-c")
        .arg(format!("{TELL}{script}"))
        .arg(argument);
    Service {
        name: "server".to_owned(),
        command,
        ready: Ready::Told,
        manager: Some(Manager { watchdog }),
    }
}

const PATIENT: Duration = Duration::from_mins(1);

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_process_that_says_ready_runs_until_it_is_stopped() {
    let (place, mut supervisor) = supervisor();
    let service = shell("echo server: ready; exec sleep 1000");
    let unit = supervisor.start(service).await.expect("it says so");
    let pid = unit.state().pid.expect("it runs");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    supervisor.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(
        read(&place.path().join("logs/server.log")),
        "server: ready\n"
    );
}

#[tokio::test]
async fn a_process_that_ends_early_is_named_with_its_last_words() {
    let (_place, mut supervisor) = supervisor();
    let service = shell("echo no such file >&2; exit 3");
    let error = supervisor
        .start(service)
        .await
        .expect_err("it never says so");
    let text = error.to_string();
    assert!(
        text.starts_with("server: ended before it was ready (exit status: 3)"),
        "{text}"
    );
    assert!(text.contains("no such file"), "{text}");
}

#[tokio::test]
async fn a_process_that_ends_later_is_reported() {
    let (place, mut supervisor) = supervisor();
    let script = "
signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
print('ready', flush=True)
signal.pause()
";
    let service = Service {
        ready: Ready::Words("ready".to_owned()),
        manager: None,
        ..python(script, place.path(), PATIENT)
    };
    let unit = supervisor.start(service).await.expect("it says so");
    unit.signal(Signal::SIGUSR1);
    let text = supervisor.failure().await.to_string();
    assert!(text.contains("exit status: 7"), "{text}");
}

#[tokio::test]
async fn a_process_without_a_manager_is_told_of_none() {
    let (place, mut supervisor) = supervisor();
    let service = shell("env; echo ready; exec sleep 1000");
    supervisor.start(service).await.expect("it says so");
    supervisor.stop().await;
    assert!(!read(&place.path().join("logs/server.log")).contains("NOTIFY_SOCKET"));
}

#[tokio::test]
async fn what_was_stored_is_handed_to_the_next_process() {
    let (place, mut supervisor) = supervisor();
    let notes = place.path().join("notes");
    // The first run makes two listeners and gives them away; the others find out what they got.
    let script = "
if 'LISTEN_FDS' in os.environ:
    assert os.environ['LISTEN_PID'] == str(os.getpid())
    names = os.environ['LISTEN_FDNAMES'].split(':')
    ports = [socket.socket(fileno=3 + at).getsockname()[1] for at in range(int(os.environ['LISTEN_FDS']))]
    note('got ' + ' '.join(f'{name}={port}' for name, port in zip(names, ports)))
    tell('FDSTOREREMOVE=1\\nFDNAME=two')
else:
    for name in ['one', 'two']:
        listener = socket.create_server(('127.0.0.1', 0))
        note(f'made {name}={listener.getsockname()[1]}')
        tell(f'FDSTORE=1\\nFDNAME={name}\\nFDPOLL=0', listener.fileno())
        # Not kept twice.
        tell(f'FDSTORE=1\\nFDNAME={name}\\nFDPOLL=0', listener.fileno())
tell('READY=1')
signal.pause()
";
    let service = python(script, &notes, PATIENT);
    let unit = supervisor.start(service).await.expect("it says so");
    let stored = unit.when(|state| state.stored.len() == 2).await.stored;
    assert_eq!(stored, ["one", "two"]);
    unit.signal(Signal::SIGKILL);
    let second = unit.when(|state| state.starts == 2 && state.ready).await;
    assert_eq!(second.stored, ["one"]);
    unit.signal(Signal::SIGKILL);
    unit.when(|state| state.starts == 3 && state.ready).await;
    let notes = read(&notes);
    let lines: Vec<&str> = notes.lines().collect();
    let made = |at: usize| lines[at].trim_start_matches("made ");
    assert_eq!(lines[2], format!("got {} {}", made(0), made(1)));
    assert_eq!(lines[3], format!("got {}", made(0)));
    supervisor.stop().await;
}

#[tokio::test]
async fn a_silent_process_is_aborted_and_started_again() {
    let (place, mut supervisor) = supervisor();
    let notes = place.path().join("notes");
    let script = "
def aborted(*_):
    note('aborted')
    os._exit(1)
signal.signal(signal.SIGABRT, aborted)
assert os.environ['WATCHDOG_PID'] == str(os.getpid())
note('watched ' + os.environ['WATCHDOG_USEC'])
tell('READY=1')
signal.pause()
";
    let service = python(script, &notes, Duration::from_millis(300));
    let unit = supervisor.start(service).await.expect("it says so");
    unit.when(|state| state.starts == 2 && state.ready).await;
    supervisor.stop().await;
    assert!(
        read(&notes).starts_with("watched 300000\naborted\nwatched 300000\n"),
        "{}",
        read(&notes)
    );
}

#[tokio::test]
async fn a_process_that_says_that_it_is_alive_is_left_alone_until_it_is_stopped() {
    let (place, mut supervisor) = supervisor();
    let notes = place.path().join("notes");
    let script = "
tell('READY=1')
for beat in range(1000):
    tell('WATCHDOG=1')
    if beat == 100:
        note('went on')
    time.sleep(0.02)
";
    let service = python(script, &notes, Duration::from_secs(3));
    let unit = supervisor.start(service).await.expect("it says so");
    while read(&notes) != "went on\n" {
        assert_eq!(unit.state().starts, 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One that is stopped does not even hear that it is to abort.
    unit.signal(Signal::SIGSTOP);
    unit.when(|state| state.starts == 2 && state.ready).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_is_held_stays_ended_until_it_is_released() {
    let (place, mut supervisor) = supervisor();
    let service = python("tell('READY=1'); signal.pause()", place.path(), PATIENT);
    let unit = supervisor.start(service).await.expect("it says so");
    unit.hold(true);
    unit.signal(Signal::SIGKILL);
    unit.when(|state| state.pid.is_none()).await;
    tokio::select! {
        _ = unit.when(|state| state.starts == 2) => panic!("it was started"),
        () = tokio::time::sleep(Duration::from_millis(500)) => {}
    }
    unit.hold(false);
    unit.when(|state| state.starts == 2 && state.ready).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_only_fails_is_given_up_in_the_end() {
    let (place, mut supervisor) = supervisor();
    let notes = place.path().join("notes");
    let script = "
note('started')
if sum(1 for _ in open(sys.argv[1])) > 1:
    sys.exit(9)
tell('READY=1')
signal.pause()
";
    let service = python(script, &notes, PATIENT);
    let unit = supervisor.start(service).await.expect("it says so once");
    unit.signal(Signal::SIGKILL);
    let text = supervisor.failure().await.to_string();
    assert!(text.contains("exit status: 9"), "{text}");
    assert_eq!(read(&notes).lines().count(), 6);
}

#[tokio::test]
async fn only_the_process_itself_is_believed() {
    let (place, mut supervisor) = supervisor();
    let notes = place.path().join("notes");
    let script = "
listener = socket.create_server(('127.0.0.1', 0))
child = os.fork()
if child == 0:
    tell('FDSTORE=1\\nFDNAME=not-ours', listener.fileno())
    os._exit(0)
os.waitpid(child, 0)
tell('FDSTORE=1\\nFDNAME=ours', listener.fileno())
tell('READY=1')
signal.pause()
";
    let service = python(script, &notes, PATIENT);
    let unit = supervisor.start(service).await.expect("it says so");
    assert_eq!(unit.state().stored, ["ours"]);
    supervisor.stop().await;
}
