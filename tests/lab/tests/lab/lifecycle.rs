//! A lab leaves nothing behind, however it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::common::{Ground, lab, left_behind, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_lab::netns::{Netns, Part};

#[test]
fn a_lab_that_went_up_and_down_leaves_nothing_behind() {
    let Some(ground) = Ground::find("a_lab_that_went_up_and_down_leaves_nothing_behind") else {
        return;
    };
    let standing = ground.up("updown");
    let described = std::fs::read_to_string(ground.out("updown").join("lab.json"));
    assert!(
        described
            .expect("lab.json is written")
            .contains("control_socket")
    );
    let status = lab(&["status", "--instance", "updown"])
        .output()
        .expect("weir-lab can be run");
    assert!(text(&status).contains("weir-proxy"), "{}", text(&status));
    drop(standing);
    assert_eq!(left_behind("updown"), Vec::<String>::new());
}

#[test]
fn two_labs_stand_side_by_side() {
    let Some(ground) = Ground::find("two_labs_stand_side_by_side") else {
        return;
    };
    let one = ground.up("one");
    let two = ground.up("two");
    for standing in [&one, &two] {
        let url = "https://sts.corp.example/FederationMetadata/2007-06/FederationMetadata.xml";
        assert_eq!(standing.status_of("managed", url), "200");
    }
    drop(one);
    assert_eq!(left_behind("one"), Vec::<String>::new());
    assert_eq!(
        two.status_of("unmanaged", "https://sts.corp.example/adfs/Proxy/"),
        "404"
    );
    drop(two);
    assert_eq!(left_behind("two"), Vec::<String>::new());
}

#[test]
fn a_second_lab_of_the_same_name_is_refused_and_the_first_stays() {
    let Some(ground) = Ground::find("a_second_lab_of_the_same_name_is_refused_and_the_first_stays")
    else {
        return;
    };
    let standing = ground.up("same");
    let second = ground
        .raise("up", "same")
        .output()
        .expect("weir-lab can be run");
    assert!(!second.status.success());
    assert!(
        text(&second).contains("stands already"),
        "{}",
        text(&second)
    );
    assert_eq!(
        standing.status_of("unmanaged", "https://sts.corp.example/adfs/Proxy/"),
        "404"
    );
}

#[test]
fn an_interrupt_while_the_lab_is_raised_cleans_up() {
    let Some(ground) = Ground::find("an_interrupt_while_the_lab_is_raised_cleans_up") else {
        return;
    };
    let mut demo = demo(&ground, "raising");
    // Said when namespaces and servers are there and weir-control is not yet.
    wait_for(
        demo.stderr.take().expect("stderr was asked for"),
        "weir-control:",
    );
    interrupt(&demo);
    assert_eq!(demo.wait().expect("it was started").code(), Some(130));
    assert_eq!(left_behind("raising"), Vec::<String>::new());
}

#[test]
fn an_interrupt_in_the_middle_of_the_rows_cleans_up() {
    let Some(ground) = Ground::find("an_interrupt_in_the_middle_of_the_rows_cleans_up") else {
        return;
    };
    let mut demo = demo(&ground, "middle");
    wait_for(
        demo.stdout.take().expect("stdout was asked for"),
        "metadata",
    );
    interrupt(&demo);
    assert_eq!(demo.wait().expect("it was started").code(), Some(130));
    assert_eq!(left_behind("middle"), Vec::<String>::new());
}

#[test]
fn a_lab_after_a_killed_one_works() {
    let Some(ground) = Ground::find("a_lab_after_a_killed_one_works") else {
        return;
    };
    let mut killed = demo(&ground, "killed");
    wait_for(
        killed.stdout.take().expect("stdout was asked for"),
        "metadata",
    );
    killed.kill().expect("it runs");
    killed.wait().expect("it was started");
    assert!(
        Netns::of("killed", Part::Weir).exists(),
        "a killed lab cannot clean up"
    );
    let standing = ground.up("killed");
    assert_eq!(
        standing.status_of("unmanaged", "https://sts.corp.example/adfs/Proxy/"),
        "404"
    );
    drop(standing);
    assert_eq!(left_behind("killed"), Vec::<String>::new());
}

fn demo(ground: &Ground, instance: &str) -> Child {
    let mut command = ground.raise("demo", instance);
    command
        .args(["--only", "strict/curl/*"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("weir-lab can be run")
}

/// Reads until a line holds `words`, and the rest in the background, so that the writer never waits.
fn wait_for(stream: impl std::io::Read + Send + 'static, words: &str) {
    let mut lines = BufReader::new(stream).lines();
    let mut said = Vec::new();
    loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("it ended before it said {words}: {said:#?}")
        };
        if line.contains(words) {
            break;
        }
        said.push(line);
    }
    std::thread::spawn(move || lines.for_each(drop));
}

fn interrupt(process: &Child) {
    let pid = Pid::from_raw(i32::try_from(process.id()).expect("process ids are small"));
    kill(pid, Signal::SIGINT).expect("it runs");
}
