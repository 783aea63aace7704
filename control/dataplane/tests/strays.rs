//! Segments of connections that nobody knows, and of Weir's own.

mod bed;
mod plane;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use bed::{answer, ask, connect, within};
use plane::{LONG, SHORT, find, story_at_both_hooks, sts};
use socket2::{Domain, Socket, Type};
use weir_abi::{Class, Reason, Verdict};
use weir_fixtures::{ADFS, ADFS_V4, ADFS_V6, source};

/// What tcp(7) has for whoever moves connections between machines: `TCP_REPAIR`. Its end sends a probe of the
/// window.
const REPAIR: libc::c_int = 19;

#[test]
fn whoever_goes_on_with_a_connection_that_nobody_knows_is_answered_by_class() {
    story_at_both_hooks(
        "whoever_goes_on_with_a_connection_that_nobody_knows_is_answered_by_class",
        |bed, plane| {
            for six in [false, true] {
                // Both listen, and know of no such connection.
                answer(&bed.server, sts(six, 443), "server", false);
                answer(&bed.router, sts(six, 443), "proxy", true);
                let counted = |class, verdict, reason| {
                    find(&plane.counters().expect("readable"), class, verdict, reason).packets
                };
                let answers = || counted(Class::Managed, Verdict::Forward, Reason::Answer);
                for (class, verdict, resets) in [
                    (Class::Unmanaged, Verdict::Proxy, true),
                    (Class::Managed, Verdict::Forward, true),
                    (Class::Blocked, Verdict::Drop, false),
                ] {
                    let before = (counted(class, verdict, Reason::Class), answers());
                    let (expected, patience) = if resets {
                        (ErrorKind::ConnectionReset, LONG)
                    } else {
                        (ErrorKind::WouldBlock, SHORT)
                    };
                    let error = go_on(&bed.client, source(class, six), sts(six, 443), patience);
                    assert_eq!(error.kind(), expected, "{class:?} six={six}");
                    assert!(counted(class, verdict, Reason::Class) > before.0);
                    // The reset of a forwarded one is the server's, that of a proxied one is not.
                    let forwarded = verdict == Verdict::Forward;
                    assert_eq!(answers() > before.1, forwarded, "{class:?} six={six}");
                }
                // A service that refuses: Weir resets it itself.
                let adfs: IpAddr = if six { ADFS_V6.into() } else { ADFS_V4.into() };
                let adfs = SocketAddr::new(adfs, 443);
                let error = go_on(&bed.client, source(Class::Relay, six), adfs, LONG);
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "six={six}");
            }
            let counters = plane.counters().expect("readable");
            let refused: Vec<_> = (counters.iter())
                .filter(|c| (c.service, c.verdict) == (ADFS, Verdict::Reject))
                .collect();
            assert!(
                refused.iter().all(|c| c.reason == Reason::Class),
                "{refused:?}"
            );
            assert!(
                refused.iter().map(|c| c.packets).sum::<u64>() >= 2,
                "{refused:?}"
            );
        },
    );
}

#[test]
fn a_server_that_forgot_a_connection_resets_it() {
    story_at_both_hooks("a_server_that_forgot_a_connection_resets_it", |bed, _| {
        for six in [false, true] {
            for (namespace, class, transparent) in [
                (&bed.server, Class::Managed, false),
                (&bed.router, Class::Unmanaged, true),
            ] {
                let listener = within(namespace, || bed::listen(sts(six, 443), transparent));
                let from = source(class, six);
                let mut client =
                    within(&bed.client, || connect(from, sts(six, 443), LONG)).expect("it listens");
                client.write_all(b"?").expect("buffered");
                let (mut stream, _) = listener.accept().expect("a connection");
                stream.read_exact(&mut [0]).expect("what was said");
                // As after a power failure: it is gone, and told nobody.
                repair(&stream, 1);
                drop(stream);
                client.set_read_timeout(Some(LONG)).expect("a timeout");
                client.write_all(b"?").expect("buffered");
                let error = client.read(&mut [0]).expect_err("a reset");
                assert_eq!(
                    error.kind(),
                    ErrorKind::ConnectionReset,
                    "{class:?} six={six}"
                );
            }
        }
    });
}

#[test]
fn without_a_listener_the_proxys_clients_are_never_forwarded() {
    story_at_both_hooks(
        "without_a_listener_the_proxys_clients_are_never_forwarded",
        |bed, plane| {
            for six in [false, true] {
                answer(&bed.server, sts(six, 443), "server", false);
                for class in [Class::Unmanaged, Class::Bypass] {
                    let from = source(class, six);
                    let asked = ask(&bed.client, from, sts(six, 443), 1, SHORT);
                    asked.expect_err("nobody serves it");
                    go_on(&bed.client, from, sts(six, 443), SHORT);
                }
            }
            let counters = plane.counters().expect("readable");
            let other: Vec<_> = (counters.iter())
                .filter(|c| c.verdict != Verdict::Proxy)
                .collect();
            assert!(other.is_empty(), "{other:?}");
        },
    );
}

#[test]
fn what_weir_itself_asks_the_servers_is_nobodys_business() {
    story_at_both_hooks(
        "what_weir_itself_asks_the_servers_is_nobodys_business",
        |bed, plane| {
            for six in [false, true] {
                answer(&bed.server, sts(six, 443), "server", false);
                answer(&bed.router, sts(six, 443), "proxy", true);
                let own: [IpAddr; 2] = if six {
                    [
                        [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 1],
                        [0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 1],
                    ]
                    .map(IpAddr::from)
                } else {
                    [[192, 0, 2, 1], [203, 0, 113, 1]].map(IpAddr::from)
                };
                // As the proxy asks its upstream: from either side's address, whatever the classes say of it.
                for from in own {
                    let got = ask(&bed.router, from, sts(six, 443), 200_000, LONG);
                    assert_eq!(got.expect("an answer"), format!("server {from} 200000"));
                }
                // Clients are served as before.
                let from = source(Class::Unmanaged, six);
                let got = ask(&bed.client, from, sts(six, 443), 1, LONG);
                assert_eq!(got.expect("an answer"), format!("proxy {from} 1"));
            }
            let counters = plane.counters().expect("readable");
            let wrong: Vec<_> = (counters.iter())
                .filter(|c| c.verdict != Verdict::Proxy && c.verdict != Verdict::Pass)
                .collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        },
    );
}

/// Sends on a connection that was never begun, and says how that ends: what a client meets whose
/// connection was forgotten.
fn go_on(namespace: &str, from: IpAddr, to: SocketAddr, patience: Duration) -> io::Error {
    let mut stream = within(namespace, || -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        repair(&socket, 1);
        socket.bind(&SocketAddr::new(from, 0).into())?;
        // Established at once: nothing is sent.
        socket.connect(&to.into())?;
        repair(&socket, 0);
        Ok(socket.into())
    })
    .expect("root may make one");
    // Unlike the probe it is sent again when it is lost, for want of a neighbour. A reset may be first.
    if let Err(error) = stream.write_all(b"?") {
        return error;
    }
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    let error = stream.read(&mut [0]);
    error.expect_err("nobody knows of it")
}

fn repair(socket: &impl AsRawFd, value: libc::c_int) {
    let length = libc::socklen_t::try_from(size_of_val(&value)).expect("four");
    // SAFETY: the value outlives the call, which reads as many bytes as it has.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            REPAIR,
            (&raw const value).cast(),
            length,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
