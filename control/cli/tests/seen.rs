//! Flows that are watched, captures into files, and services that are only observed.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{command, text, told, weir};
use tokio::io::{AsyncBufReadExt, BufReader};
use weir_abi::{Class, Verdict};
use weir_control::testing::{Appliance, observed, packet};
use weir_dataplane::SeenPacket;

#[tokio::test]
async fn flows_are_followed_as_text_and_as_json() {
    let appliance = Appliance::start().await;
    for (arguments, expected) in [
        (
            ["flows", "--follow"].as_slice(),
            "drop    blocked   class      xdp 198.51.100.66:50123 -> 192.0.2.10:443 sts",
        ),
        (
            &["flows", "--follow", "--json", "--verdict", "drop"],
            "\"class\":\"blocked\",\"verdict\":\"drop\",\"reason\":\"class\",\"hook\":\"xdp\"",
        ),
    ] {
        let mut following = command(&appliance.control_socket(), arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let stdout = following.stdout.take().expect("a pipe");
        appliance
            .kernel
            .change(|kernel| kernel.flows = vec![dropped()]);
        let line = BufReader::new(stdout).lines().next_line().await;
        let line = line.expect("text").expect("a line");
        assert!(line.contains(expected), "{line}");
    }
    let passed = weir(&appliance, &["flows", "--verdict", "forward"]).await;
    assert_eq!(
        (passed.status.code(), text(&passed).as_str()),
        (Some(0), "")
    );
    let wrong = weir(&appliance, &["flows", "--verdict", "dropped"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(told(&wrong).contains("reject"), "{}", told(&wrong));
}

#[tokio::test]
async fn flows_that_were_missed_are_told() {
    for (arguments, expected) in [
        (
            ["flows", "--follow"].as_slice(),
            "904 events were not shown: reader too slow",
        ),
        (
            &["flows", "--follow", "--json", "--verdict", "drop"],
            "{\"missed\":904}",
        ),
    ] {
        let appliance = Appliance::start().await;
        let tell = |count| {
            let flows = vec![dropped(); count];
            appliance.kernel.change(|kernel| kernel.flows = flows);
        };
        let mut following = command(&appliance.control_socket(), arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
        tell(1);
        lines.next_line().await.expect("text").expect("a line");
        tell(5000);
        let line = lines.next_line().await.expect("text");
        assert_eq!(line.expect("a line"), expected);
    }
}

#[tokio::test]
async fn a_capture_is_written_to_a_file_of_ones_own() {
    let appliance = Appliance::start().await;
    let file = appliance.path("blocked.pcapng");
    let name = file.to_str().expect("text");
    // One that is there already, and open to all.
    std::fs::write(&file, "an old file").expect("a temporary file");
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is ours");
    let arguments = [
        "capture",
        "--out",
        name,
        "--verdict",
        "drop",
        "--packets",
        "1",
    ];
    let capture = weir(&appliance, &arguments);
    let frames = async {
        let filter = appliance.kernel.until_capture(true).await.expect("running");
        assert_eq!(filter.verdicts, [Verdict::Drop]);
        assert!(!filter.payload, "headers, unless more is asked for");
        appliance
            .kernel
            .change(|kernel| kernel.frames = vec![dropped()]);
    };
    let (done, ()) = tokio::join!(capture, frames);
    assert_eq!(done.status.code(), Some(0), "{}", told(&done));
    assert!(text(&done).contains("tcpdump -n -r"), "{}", text(&done));
    let written = std::fs::read(&file).expect("the file is there");
    assert_eq!(written[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    let mode = std::fs::metadata(&file).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    appliance.kernel.until_capture(false).await;

    let refused = weir(&appliance, &["capture", "--out", name, "--service", "stss"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("`sts`"), "{}", told(&refused));
    let kept = std::fs::read(&file).expect("the file is there");
    assert_eq!(kept, written, "what is refused overwrites nothing");
    let nowhere = weir(&appliance, &["capture", "--out", "/nowhere/x"]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(told(&nowhere).contains("/nowhere/x"), "{}", told(&nowhere));

    let changes = weir(&appliance, &["events", "--kind", "change"]).await;
    let changes = text(&changes);
    assert!(changes.contains("capture by"), "{changes}");
    assert!(changes.contains("ended after 1 packets"), "{changes}");
}

#[tokio::test]
async fn tcpdump_reads_a_capture() {
    let appliance = Appliance::start().await;
    let capture = weir(&appliance, &["capture", "--out", "-", "--packets", "1"]);
    let frames = async {
        appliance.kernel.until_capture(true).await;
        appliance
            .kernel
            .change(|kernel| kernel.frames = vec![dropped()]);
    };
    let (done, ()) = tokio::join!(capture, frames);
    let file = appliance.path("one.pcapng");
    std::fs::write(&file, &done.stdout).expect("a temporary file");
    let read = tokio::process::Command::new("tcpdump")
        .args(["-n", "-r"])
        .arg(&file)
        .output()
        .await;
    let Ok(read) = read else {
        eprintln!("skipped: tcpdump_reads_a_capture: needs tcpdump");
        return;
    };
    let read = text(&read);
    assert!(
        read.contains("198.51.100.66.50123 > 192.0.2.10.443: Flags [S]"),
        "{read}"
    );
    assert_eq!(read.lines().count(), 1, "{read}");
}

#[tokio::test]
async fn status_and_explain_say_that_a_service_is_only_observed() {
    let (appliance, _proxy) = observed().await;
    appliance.kernel.change(|kernel| kernel.lost.flows = 12);
    let status = weir(&appliance, &["status", "--all"]).await;
    assert_eq!(status.status.code(), Some(1), "it needs attention");
    let status = text(&status);
    assert!(status.starts_with("! OBSERVE ONLY:"), "{status}");
    assert!(status.contains("sts OBSERVED"), "{status}");
    assert!(status.contains("packets: would drop 3"), "{status}");
    assert!(status.contains("12 flows could not be told of"), "{status}");
    let explained = text(&weir(&appliance, &["explain", "198.51.100.66"]).await);
    assert!(explained.contains("OBSERVE ONLY"), "{explained}");
}

/// A SYN that was dropped.
fn dropped() -> SeenPacket {
    let mut frame = vec![0x02; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([198, 51, 100, 66, 192, 0, 2, 10]);
    frame.extend(50123_u16.to_be_bytes());
    frame.extend(443_u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    SeenPacket {
        class: Class::Blocked,
        length: 54,
        frame,
        ..packet("198.51.100.66", Verdict::Drop)
    }
}
