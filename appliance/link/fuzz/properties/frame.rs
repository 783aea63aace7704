//! What holds for every stream of bytes from the peer, whoever that is.
//!
//! The input is a digit, the number of descriptors that ride on the first byte; `w` to write the rest
//! as a whole or `b` to write it byte by byte; and the stream: frames of a length and JSON.

use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use weir_link::{Channel, FromProxy, ToProxy};

/// The stream is understood or refused, on either side and without waiting for more than was sent;
/// what was understood says the same when it is sent on; and no descriptor outlives its message.
pub fn check(input: &[u8]) {
    let [count, mode, stream @ ..] = input else {
        return;
    };
    // More would not fit into the socket at once, and nobody reads while this writes.
    let stream = &stream[..stream.len().min(MOST)];
    let count = usize::from(count.saturating_sub(b'0')).min(9);
    let step = if *mode == b'b' { 1 } else { MOST };
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            receive::<ToProxy>(stream, step, count).await;
            receive::<FromProxy>(stream, step, count).await;
        });
    });
}

async fn receive<M: DeserializeOwned + Serialize>(stream: &[u8], step: usize, count: usize) {
    let (mut peer, own) = UnixStream::pair().expect("a pair of sockets");
    // What is attached, and the other end of it, which sees when the last copy is closed.
    let (attachment, mut witness) = UnixStream::pair().expect("a pair of sockets");
    own.set_nonblocking(true).expect("a socket");
    witness.set_nonblocking(true).expect("a socket");
    let own = tokio::net::UnixStream::from_std(own).expect("a socket");
    let mut channel = Channel::new(own);
    // A byte costs far more than itself in the socket's buffer, so not all are written alone.
    let alone = if step == 1 {
        stream.len().min(ALONE)
    } else {
        0
    };
    let (first, rest) = stream.split_at(alone);
    let chunks = first.chunks(1).chain((!rest.is_empty()).then_some(rest));
    for (index, chunk) in chunks.enumerate() {
        if index == 0 && count > 0 {
            let sent = send_with(&peer, chunk, &vec![attachment.as_raw_fd(); count]);
            peer.write_all(&chunk[sent..]).expect("the socket takes it");
        } else {
            peer.write_all(chunk).expect("the socket takes it");
        }
    }
    drop((peer, attachment));

    let mut attached = 0;
    while let Ok(Some((message, descriptors))) = channel.receive::<M>().await {
        attached += descriptors.len();
        assert!(attached <= count, "{attached} descriptors of {count}");
        same_when_sent_on(&message).await;
    }
    drop(channel);
    let end = witness.read(&mut [0]);
    assert!(matches!(end, Ok(0)), "a descriptor is left open: {end:?}");
}

async fn same_when_sent_on<M: DeserializeOwned + Serialize>(message: &M) {
    let value = serde_json::to_value(message).expect("a message is JSON");
    if value.to_string().len() > MOST {
        return;
    }
    let (mut one, mut other) = Channel::pair().expect("a pair of sockets");
    one.send(message, &[])
        .await
        .expect("a message that came in goes out");
    let (again, _) = other
        .receive::<M>()
        .await
        .expect("what was sent is understood")
        .expect("a message");
    assert_eq!(serde_json::to_value(&again).expect("JSON"), value);
}

fn send_with(peer: &UnixStream, bytes: &[u8], descriptors: &[RawFd]) -> usize {
    sendmsg::<()>(
        peer.as_raw_fd(),
        &[IoSlice::new(bytes)],
        &[ControlMessage::ScmRights(descriptors)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .expect("the socket takes descriptors")
}

/// Bytes of a stream that are looked at.
const MOST: usize = 64 << 10;
/// Bytes that are written one by one.
const ALONE: usize = 60;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
}
