//! What the socket between weir-control and weir-proxy carries, and what it refuses.

use std::io::{IoSlice, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use weir_link::{
    Channel, Counts, Descriptor, Error, Frames, FromProxy, Generation, MAX_FRAME, ToProxy, VERSION,
    sealed,
};

#[tokio::test]
async fn messages_arrive_in_order_in_both_directions() {
    let (mut control, mut proxy) = Channel::pair().unwrap();
    proxy
        .send(
            &FromProxy::Hello {
                version: VERSION,
                pid: 7,
            },
            &[],
        )
        .await
        .unwrap();
    for open in 0..100 {
        let counts = Counts {
            open,
            ..Counts::default()
        };
        proxy
            .send(&FromProxy::Heartbeat(counts), &[])
            .await
            .unwrap();
    }
    let (hello, _) = control.receive::<FromProxy>().await.unwrap().unwrap();
    assert!(matches!(
        hello,
        FromProxy::Hello {
            version: VERSION,
            pid: 7
        }
    ));
    for open in 0..100 {
        let (message, _) = control.receive::<FromProxy>().await.unwrap().unwrap();
        let FromProxy::Heartbeat(counts) = message else {
            panic!("{message:?}")
        };
        assert_eq!(counts.open, open);
    }
    control
        .send(
            &ToProxy::Drain {
                grace: Duration::from_secs(9),
            },
            &[],
        )
        .await
        .unwrap();
    let (drain, _) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert!(matches!(drain, ToProxy::Drain { grace } if grace.as_secs() == 9));
    drop(control);
    assert!(proxy.receive::<ToProxy>().await.unwrap().is_none());
}

#[tokio::test]
async fn descriptors_arrive_with_the_message_that_names_them() {
    let (mut control, mut proxy) = Channel::pair().unwrap();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
    let lists = sealed::create("lists", b"two lists").unwrap();
    let users = sealed::create("users", b"two users").unwrap();
    // A frame without descriptors in front of it and behind it: none of its bytes may draw the
    // descriptors over.
    let drain = ToProxy::Drain {
        grace: Duration::ZERO,
    };
    control.send(&drain, &[]).await.unwrap();
    let generation = ToProxy::Generation(Box::new(generation(vec![
        Descriptor::Listener {
            service: "sts".into(),
            address: addresses[0],
        },
        Descriptor::Listener {
            service: "sts".into(),
            address: addresses[1],
        },
        Descriptor::Lists { length: 9 },
        Descriptor::Users { length: 9 },
    ])));
    let attached = [one.as_fd(), other.as_fd(), lists.as_fd(), users.as_fd()];
    control.send(&generation, &attached).await.unwrap();
    control.send(&drain, &[]).await.unwrap();
    drop((one, other, lists, users));

    let (_, none) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert!(none.is_empty());
    let (message, descriptors) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    let ToProxy::Generation(generation) = message else {
        panic!("{message:?}")
    };
    for descriptor in &descriptors {
        let flags = FdFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }
    for (descriptor, fd) in generation.attach(descriptors).unwrap() {
        match descriptor {
            Descriptor::Listener { address, .. } => {
                let listener = TcpListener::from(fd);
                assert_eq!(listener.local_addr().unwrap(), address);
                let mut client = std::net::TcpStream::connect(address).unwrap();
                let (mut server, _) = listener.accept().unwrap();
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0]).unwrap();
            }
            Descriptor::Lists { length } => {
                assert_eq!(sealed::read(fd, length).unwrap(), b"two lists");
            }
            Descriptor::Countries { .. } => panic!("none was sent"),
            Descriptor::Users { length } => {
                assert_eq!(sealed::read(fd, length).unwrap(), b"two users");
            }
        }
    }
    let (_, none) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert!(none.is_empty());
}

#[tokio::test]
async fn a_directory_travels_beside_generations_and_is_answered_by_its_number() {
    let (mut control, mut proxy) = Channel::pair().unwrap();
    let directory = ToProxy::Directory {
        epoch: 7,
        length: 11,
        max_age: Duration::from_hours(24),
    };
    let memory = sealed::create("directory", b"a directory").unwrap();
    control.send(&directory, &[memory.as_fd()]).await.unwrap();
    control.send(&ToProxy::NoDirectory, &[]).await.unwrap();
    drop(memory);

    let (message, mut descriptors) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    let ToProxy::Directory {
        epoch: 7,
        length,
        max_age,
    } = message
    else {
        panic!("{message:?}")
    };
    assert_eq!(max_age, Duration::from_hours(24));
    let mapped = sealed::map(&descriptors.remove(0), length).unwrap();
    assert_eq!(mapped.as_ref(), b"a directory");
    assert!(descriptors.is_empty());
    let (message, none) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert!(matches!(message, ToProxy::NoDirectory) && none.is_empty());

    let why = "it is damaged".to_owned();
    let refused = FromProxy::DirectoryRefused { epoch: 7, why };
    let taken = FromProxy::DirectoryTaken { epoch: 8 };
    proxy.send(&refused, &[]).await.unwrap();
    proxy.send(&taken, &[]).await.unwrap();
    let (refused, _) = control.receive::<FromProxy>().await.unwrap().unwrap();
    assert!(
        matches!(refused, FromProxy::DirectoryRefused { epoch: 7, why } if why == "it is damaged")
    );
    let (taken, _) = control.receive::<FromProxy>().await.unwrap().unwrap();
    assert!(matches!(taken, FromProxy::DirectoryTaken { epoch: 8 }));
}

#[tokio::test]
async fn a_message_larger_than_the_sockets_buffer_arrives_whole() {
    let (mut control, mut proxy) = Channel::pair().unwrap();
    let mut large = generation(Vec::new());
    large.appliance = "w".repeat(3 << 20);
    let sending = async {
        control
            .send(&ToProxy::Generation(Box::new(large)), &[])
            .await
            .unwrap();
    };
    let (received, ()) = tokio::join!(proxy.receive::<ToProxy>(), sending);
    let (ToProxy::Generation(generation), _) = received.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(generation.appliance.len(), 3 << 20);
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_the_sender_and_by_the_receiver() {
    let (mut control, _proxy) = Channel::pair().unwrap();
    let mut huge = generation(Vec::new());
    huge.appliance = "w".repeat(MAX_FRAME);
    let refused = control
        .send(&ToProxy::Generation(Box::new(huge)), &[])
        .await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));

    let (mut raw, mut proxy) = raw_pair();
    raw.write_all(&u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes())
        .unwrap();
    let refused = proxy.receive::<ToProxy>().await;
    assert!(matches!(refused, Err(Error::TooLarge { length }) if length == MAX_FRAME + 1));
}

#[tokio::test]
async fn a_truncated_message_is_an_error_and_not_an_end() {
    for cut in [&b"\0\0"[..], b"\0\0\0\x05", b"\0\0\0\x05{\"ty"] {
        let (mut raw, mut proxy) = raw_pair();
        raw.write_all(cut).unwrap();
        drop(raw);
        let refused = proxy.receive::<ToProxy>().await;
        assert!(
            matches!(refused, Err(Error::Truncated)),
            "{cut:?}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn hostile_json_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        "",
        "null",
        "{}",
        r#"{"type":"generation"}"#,
        r#"{"type":"drain","grace":{"secs":-1,"nanos":0}}"#,
        r#"{"type":"unknown"}"#,
        "\u{feff}{}",
        deep.as_str(),
    ];
    for body in bodies {
        let (mut raw, mut proxy) = raw_pair();
        raw.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
            .unwrap();
        raw.write_all(body.as_bytes()).unwrap();
        let refused = proxy.receive::<ToProxy>().await;
        let start = &body[..body.len().min(30)];
        assert!(
            matches!(refused, Err(Error::Message(_))),
            "{start}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn descriptors_are_closed_on_every_error() {
    // The write end of a pipe travels; when every copy is closed, the read end sees the end.
    let wrong_count = {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let refused = generation(vec![Descriptor::Lists { length: 1 }])
            .attach(vec![writer.try_clone().unwrap().into(), writer.into()]);
        assert!(matches!(
            refused,
            Err(Error::DescriptorCount {
                named: 1,
                attached: 2
            })
        ));
        reader.read(&mut [0]).unwrap()
    };
    assert_eq!(wrong_count, 0);

    for body in [&b"\0\0\0\x02{}"[..], b"\xff\xff\xff\xff", b"\0\0\0\x09{"] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (raw, mut proxy) = raw_pair();
        let rights = [writer.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&rights)];
        let parts = [IoSlice::new(body)];
        sendmsg::<()>(raw.as_raw_fd(), &parts, &control, MsgFlags::empty(), None).unwrap();
        drop((raw, writer));
        let refused = proxy.receive::<ToProxy>().await;
        assert!(refused.is_err(), "{body:?}");
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "{body:?}");
    }
}

#[tokio::test]
async fn more_descriptors_than_the_kernel_takes_are_refused_before_sending() {
    let (mut control, _proxy) = Channel::pair().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let many = vec![reader.as_fd(); weir_link::MAX_DESCRIPTORS + 1];
    let refused = control
        .send(
            &ToProxy::Drain {
                grace: Duration::default(),
            },
            &many,
        )
        .await;
    assert!(matches!(
        refused,
        Err(Error::TooManyDescriptors { count: 254 })
    ));
    // As many as it does take go through.
    let (mut control, mut proxy) = Channel::pair().unwrap();
    control
        .send(
            &ToProxy::Drain {
                grace: Duration::default(),
            },
            &many[1..],
        )
        .await
        .unwrap();
    let (_, received) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert_eq!(received.len(), weir_link::MAX_DESCRIPTORS);
}

#[tokio::test]
async fn messages_that_are_sent_together_arrive_one_by_one() {
    // More than the socket takes at once.
    const MANY: u64 = 5_000;
    let (mut control, proxy) = Channel::pair().unwrap();
    let (mut sender, _receiver) = proxy.split();
    let sending = tokio::spawn(async move {
        let heartbeat = |open| {
            FromProxy::Heartbeat(Counts {
                open,
                ..Counts::default()
            })
        };
        let (mut all, mut last) = (Frames::default(), Frames::default());
        for open in 0..MANY - 1 {
            all.add(&heartbeat(open))?;
        }
        last.add(&heartbeat(MANY - 1))?;
        // What cannot be sent leaves nothing behind.
        let too_large = FromProxy::KeysWanted {
            service: " ".repeat(MAX_FRAME),
        };
        assert!(matches!(all.add(&too_large), Err(Error::TooLarge { .. })));
        all.append(&last);
        assert_eq!(all.len() as u64, MANY);
        sender.send_all(&all).await
    });
    for expected in 0..MANY {
        let (message, _) = control.receive::<FromProxy>().await.unwrap().unwrap();
        assert!(matches!(message, FromProxy::Heartbeat(Counts { open, .. }) if open == expected));
    }
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_receive_that_is_given_up_loses_nothing() {
    let (mut raw, mut proxy) = raw_pair();
    let body = br#"{"type":"drain","grace":{"secs":3,"nanos":0}}"#;
    raw.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
        .unwrap();
    raw.write_all(&body[..10]).unwrap();
    tokio::select! {
        biased;
        _ = proxy.receive::<ToProxy>() => panic!("the message is not whole"),
        () = tokio::task::yield_now() => {}
    }
    raw.write_all(&body[10..]).unwrap();
    let (drain, _) = proxy.receive::<ToProxy>().await.unwrap().unwrap();
    assert!(matches!(drain, ToProxy::Drain { grace } if grace.as_secs() == 3));
}

#[test]
fn memory_without_seals_or_of_another_length_is_refused() {
    let sealed = sealed::create("lists", b"abc").unwrap();
    let copy = || sealed.try_clone().unwrap();
    assert_eq!(sealed::read(copy(), 3).unwrap(), b"abc");
    assert_eq!(sealed::map(&copy(), 3).unwrap().as_ref(), b"abc");
    assert!(std::fs::File::from(copy()).write(b"x").is_err());
    let empty = sealed::create("lists", b"").unwrap();
    assert_eq!(sealed::map(&empty, 0).unwrap().as_ref(), b"");
    for length in [0, 2, 4, u64::MAX] {
        let refused = [
            sealed::read(copy(), length).map(drop),
            sealed::map(&copy(), length).map(drop),
        ];
        for refused in refused {
            assert!(matches!(
                refused,
                Err(sealed::Error::Length { expected, actual: 3 }) if expected == length
            ));
        }
    }

    let flags = nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING;
    let open = nix::sys::memfd::memfd_create("open", flags).unwrap();
    let file = tempfile::tempfile().unwrap();
    for open in [open, OwnedFd::from(file)] {
        let refused = [
            sealed::read(open.try_clone().unwrap(), 0).map(drop),
            sealed::map(&open, 0).map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(sealed::Error::NotSealed)));
        }
    }
}

fn generation(descriptors: Vec<Descriptor>) -> Generation {
    Generation {
        number: 1,
        descriptors,
        services: Vec::new(),
        proxy_protocol_from: Vec::new(),
        appliance: "weir-1".into(),
    }
}

/// A plain socket on one side, so that a test can write what no [`Channel`] would.
fn raw_pair() -> (StdUnixStream, Channel) {
    let (raw, other) = StdUnixStream::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    (
        raw,
        Channel::new(tokio::net::UnixStream::from_std(other).unwrap()),
    )
}
