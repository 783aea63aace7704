//! What the service manager hears, and what it is given.

use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use weir_link::notify::Notify;

#[test]
fn each_message_is_a_datagram() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let notify = Notify::to(Some(path.into()), None);

    notify.ready();
    notify.reloading();
    notify.status("two\nlines");
    notify.alive();
    notify.stopping();

    assert!(hear(&manager).0.starts_with("READY=1\n"));
    assert!(hear(&manager).0.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(hear(&manager).0, "STATUS=two lines");
    assert_eq!(hear(&manager).0, "WATCHDOG=1");
    assert_eq!(hear(&manager).0, "STOPPING=1");
}

#[test]
fn a_descriptor_is_left_under_its_name_and_taken_back() {
    let name = format!("weir-link-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    let notify = Notify::to(Some(format!("@{name}").into()), None);
    let (mut mine, theirs) = UnixStream::pair().unwrap();

    notify.keep("listener-1", theirs.as_fd()).unwrap();
    drop(theirs);
    notify.forget("listener-1").unwrap();

    let (message, mut descriptors) = hear(&manager);
    assert_eq!(message, "FDSTORE=1\nFDNAME=listener-1\nFDPOLL=0");
    assert_eq!(descriptors.len(), 1);
    mine.write_all(b"kept").unwrap();
    let mut said = [0; 4];
    let mut kept = UnixStream::from(descriptors.remove(0));
    kept.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"kept");
    let (message, descriptors) = hear(&manager);
    assert_eq!(message, "FDSTOREREMOVE=1\nFDNAME=listener-1");
    assert!(descriptors.is_empty());
}

#[tokio::test]
async fn signs_of_life_are_given_during_work_only_when_they_are_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
    let watched = Notify::to(Some(path.clone().into()), Some(Duration::from_millis(3)));
    let work = async {
        let mut buffer = [0; 64];
        for _ in 0..3 {
            let length = manager.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"WATCHDOG=1");
        }
        "done"
    };
    assert_eq!(watched.alive_during(work).await, "done");

    // Nobody to tell is no error.
    let nobody = Notify::to(None, Some(Duration::from_millis(3)));
    assert_eq!(nobody.watchdog(), None);
    nobody.ready();
    assert_eq!(nobody.alive_during(async { "done" }).await, "done");
}

fn hear(manager: &UnixDatagram) -> (String, Vec<OwnedFd>) {
    let mut bytes = [0; 256];
    let mut control = nix::cmsg_space!([i32; 4]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<UnixAddr>(
        manager.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .unwrap();
    let mut descriptors = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for us alone.
            let owned = numbers
                .iter()
                .map(|one| unsafe { OwnedFd::from_raw_fd(*one) });
            descriptors.extend(owned);
        }
    }
    let length = message.bytes;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    (text, descriptors)
}
