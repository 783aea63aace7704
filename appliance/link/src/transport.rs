//! Frames and descriptors over a unix stream socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use crate::MAX_FRAME;

/// Most descriptors that one message can carry: the kernel's own limit, `SCM_MAX_FD` of unix(7).
pub const MAX_DESCRIPTORS: usize = 253;

/// Length of the big-endian length in front of each frame, in bytes.
const HEADER: usize = 4;

/// Why a message could not be sent or received. After any of these the socket is of no more use:
/// close it and connect anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("the socket between weir-control and weir-proxy failed: {0}")]
    Io(#[from] io::Error),
    /// The peer closed the socket in the middle of a frame.
    #[error("the peer closed the socket in the middle of a message")]
    Truncated,
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a message of {length} bytes is over the limit of {MAX_FRAME}")]
    TooLarge {
        /// Announced or serialised length, in bytes.
        length: usize,
    },
    /// More than [`MAX_DESCRIPTORS`].
    #[error(
        "{count} descriptors are over the limit of {MAX_DESCRIPTORS} for one message; use fewer listening addresses"
    )]
    TooManyDescriptors {
        /// How many.
        count: usize,
    },
    /// Control data did not fit: descriptors were lost on the way.
    #[error("descriptors were lost on the way; raise the limit of open files (LimitNOFILE)")]
    DescriptorsLost,
    /// The message names another number of descriptors than came with it.
    #[error("a message names {named} descriptors, and {attached} came with it")]
    DescriptorCount {
        /// Named in the message.
        named: usize,
        /// Attached to it.
        attached: usize,
    },
    /// The frame is not the JSON that this version knows.
    #[error(
        "a message cannot be understood: {0}; weir-control and weir-proxy must be of one version"
    )]
    Message(#[source] serde_json::Error),
}

/// One end of the socket between weir-control and weir-proxy.
///
/// [`Channel::split`] gives two halves that may live on different tasks.
#[derive(Debug)]
pub struct Channel {
    sender: Sender,
    receiver: Receiver,
}

impl Channel {
    /// Connects to the socket at `path`.
    pub async fn connect(path: &Path) -> Result<Self, Error> {
        Ok(Self::new(UnixStream::connect(path).await?))
    }

    /// Takes over a connected socket, such as one that a listener accepted.
    pub fn new(stream: UnixStream) -> Self {
        let stream = Arc::new(stream);
        Self {
            sender: Sender {
                stream: Arc::clone(&stream),
            },
            receiver: Receiver::new(stream),
        }
    }

    /// Two connected ends.
    pub fn pair() -> Result<(Self, Self), Error> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::new(one), Self::new(other)))
    }

    /// See [`Sender::send`].
    pub async fn send<M: Serialize>(
        &mut self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        self.sender.send(message, descriptors).await
    }

    /// See [`Receiver::receive`].
    pub async fn receive<M: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(M, Vec<OwnedFd>)>, Error> {
        self.receiver.receive().await
    }

    /// Two halves; the socket closes when both are dropped.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender {
    stream: Arc<UnixStream>,
}

impl Sender {
    /// Sends one message with `descriptors` attached; the caller keeps its own copies of them.
    ///
    /// Waits while the socket is full. Not cancel safe: a call that is dropped half-way leaves a
    /// broken frame on the socket.
    pub async fn send<M: Serialize>(
        &mut self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Error> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(Error::TooManyDescriptors {
                count: descriptors.len(),
            });
        }
        // A generation holds private keys: the bytes are wiped when the frame is dropped.
        let mut frame = Zeroizing::new(Vec::new());
        add_frame(&mut frame, message)?;
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        self.write(&frame, &raw).await
    }

    /// Sends messages together that were written before, each a frame of its own, as [`Sender::send`] sends one.
    pub async fn send_all(&mut self, messages: &Frames) -> Result<(), Error> {
        self.write(&messages.bytes, &[]).await
    }

    async fn write(&self, bytes: &[u8], descriptors: &[RawFd]) -> Result<(), Error> {
        let mut sent = 0;
        while sent < bytes.len() {
            let attached = if sent == 0 { descriptors } else { &[] };
            sent += self
                .stream
                .async_io(Interest::WRITABLE, || {
                    send_part(&self.stream, &bytes[sent..], attached)
                })
                .await?;
        }
        Ok(())
    }
}

/// Messages that are written already, to be sent together. For messages without secrets: their bytes are not
/// wiped.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    count: usize,
}

impl Frames {
    /// Writes one more message. When that fails, what was written before is as it was.
    pub fn add<M: Serialize>(&mut self, message: &M) -> Result<(), Error> {
        let before = self.bytes.len();
        let added = add_frame(&mut self.bytes, message);
        match added {
            Ok(()) => self.count += 1,
            Err(_) => self.bytes.truncate(before),
        }
        added
    }

    /// Takes these messages in as well, behind its own.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets them, and keeps their memory for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }
}

/// Appends a message with its length in front.
fn add_frame<M: Serialize>(frames: &mut Vec<u8>, message: &M) -> Result<(), Error> {
    let start = frames.len();
    frames.extend([0; HEADER]);
    serde_json::to_writer(&mut *frames, message).map_err(Error::Message)?;
    let length = frames.len() - start - HEADER;
    if length > MAX_FRAME {
        return Err(Error::TooLarge { length });
    }
    let header = u32::try_from(length)
        .expect("MAX_FRAME is below 4 GiB")
        .to_be_bytes();
    frames[start..start + HEADER].copy_from_slice(&header);
    Ok(())
}

/// The half that receives.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<UnixStream>,
    /// The frame that is being read: its header first, then its body.
    frame: Zeroizing<Vec<u8>>,
    filled: usize,
    /// Whether `frame` is the body.
    in_body: bool,
    descriptors: Vec<OwnedFd>,
}

impl Receiver {
    fn new(stream: Arc<UnixStream>) -> Self {
        Self {
            stream,
            frame: Zeroizing::new(vec![0; HEADER]),
            filled: 0,
            in_body: false,
            descriptors: Vec::new(),
        }
    }

    /// Receives the next message and its descriptors, which are close-on-exec; `None` when the
    /// peer has closed the socket between two messages. On an error every descriptor that came
    /// with the message is closed. Cancel safe.
    pub async fn receive<M: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(M, Vec<OwnedFd>)>, Error> {
        loop {
            while self.filled < self.frame.len() {
                // Never past the end of this header or body, so that descriptors cannot be taken
                // for those of the frame before theirs.
                let Self {
                    stream,
                    frame,
                    filled,
                    descriptors,
                    ..
                } = self;
                let read = stream
                    .async_io(Interest::READABLE, || {
                        receive_part(stream, &mut frame[*filled..], descriptors)
                    })
                    .await?;
                if descriptors.len() > MAX_DESCRIPTORS {
                    let count = descriptors.len();
                    descriptors.clear();
                    return Err(Error::TooManyDescriptors { count });
                }
                match read {
                    Part::Bytes(count) => self.filled += count,
                    Part::Closed if self.filled == 0 && !self.in_body => return Ok(None),
                    Part::Closed => {
                        self.descriptors.clear();
                        return Err(Error::Truncated);
                    }
                    Part::DescriptorsLost => {
                        self.descriptors.clear();
                        return Err(Error::DescriptorsLost);
                    }
                }
            }
            if !self.in_body {
                let header = self.frame[..HEADER]
                    .try_into()
                    .expect("the header is four bytes");
                let length = u32::from_be_bytes(header) as usize;
                if length > MAX_FRAME {
                    self.descriptors.clear();
                    return Err(Error::TooLarge { length });
                }
                self.start(length, true);
                continue;
            }
            let descriptors = std::mem::take(&mut self.descriptors);
            let message = serde_json::from_slice(&self.frame).map_err(Error::Message);
            self.start(HEADER, false);
            return Ok(Some((message?, descriptors)));
        }
    }

    fn start(&mut self, length: usize, in_body: bool) {
        self.frame = Zeroizing::new(vec![0; length]);
        self.filled = 0;
        self.in_body = in_body;
    }
}

fn send_part(stream: &UnixStream, bytes: &[u8], descriptors: &[RawFd]) -> io::Result<usize> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() {
        &[][..]
    } else {
        &rights[..]
    };
    let parts = [IoSlice::new(bytes)];
    Ok(sendmsg::<()>(
        stream.as_raw_fd(),
        &parts,
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?)
}

/// What one `recvmsg` gave.
enum Part {
    Bytes(usize),
    Closed,
    DescriptorsLost,
}

fn receive_part(
    stream: &UnixStream,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Part> {
    // nix gives no access to the descriptors of a truncated message, and they would stay open.
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: msghdr is plain data, for which zero is a valid value of each field.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control.capacity();
    // SAFETY: `header` points at `buffer` and `control`, which outlive the call, with their lengths.
    let count =
        unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let Ok(count) = usize::try_from(count) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has filled `header` and `control`.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header inside `control`.
    while let Some(head) = unsafe { message.as_ref() } {
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: the data of a header inside `control`; only its address is taken.
            let data = unsafe { libc::CMSG_DATA(message) };
            let length = head.cmsg_len - (data as usize - message as usize);
            // SAFETY: the kernel wrote `length` bytes there.
            let raw = unsafe { std::slice::from_raw_parts(data, length) };
            let (raw, _) = raw.as_chunks::<{ size_of::<RawFd>() }>();
            descriptors.extend(raw.iter().map(|bytes| {
                // SAFETY: the kernel has just installed this descriptor, for us alone.
                unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(*bytes)) }
            }));
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok(match count {
        _ if header.msg_flags & libc::MSG_CTRUNC != 0 => Part::DescriptorsLost,
        0 => Part::Closed,
        count => Part::Bytes(count),
    })
}
