//! A proxy that is played over the real link.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use weir_link::{
    Channel, Counts, Descriptor, Event, FromProxy, Generation, ToProxy, VERSION, sealed,
};
use weir_tables::Lists;

/// A message that the proxy got.
#[derive(Debug)]
pub enum Received {
    /// A generation, with what was attached to it.
    Generation {
        /// The generation.
        generation: Box<Generation>,
        /// The listening sockets that came with it.
        listeners: Vec<(SocketAddr, OwnedFd)>,
        /// The lists that came with it.
        lists: Lists,
    },
    /// It is to finish what is open.
    Drain,
}

/// A proxy that sends heartbeats and accepts every generation, or refuses the next one.
#[derive(Debug)]
pub struct FakeProxy {
    received: mpsc::UnboundedReceiver<Received>,
    say: mpsc::UnboundedSender<FromProxy>,
    refuse: Arc<Mutex<Option<String>>>,
    tasks: [JoinHandle<()>; 2],
}

impl FakeProxy {
    /// Connects and says hello.
    pub async fn connect(socket: &Path) -> Self {
        Self::connect_as(socket, VERSION).await
    }

    /// Connects and says hello with another version.
    pub async fn connect_as(socket: &Path, version: u32) -> Self {
        let channel = Channel::connect(socket)
            .await
            .expect("the proxy's socket accepts");
        let (mut sender, mut receiver) = channel.split();
        let (say, mut to_say) = mpsc::unbounded_channel();
        let (inbox, arrivals) = mpsc::unbounded_channel();
        let refuse = Arc::new(Mutex::new(None::<String>));
        let hello = FromProxy::Hello {
            version,
            pid: std::process::id(),
        };
        say.send(hello).expect("the receiver is held here");
        let speaking = tokio::spawn(async move {
            let mut heart = tokio::time::interval(Duration::from_millis(100));
            heart.reset();
            loop {
                let message = tokio::select! {
                    message = to_say.recv() => match message {
                        Some(message) => message,
                        None => return,
                    },
                    _ = heart.tick() => FromProxy::Heartbeat(Counts { accepted: 7, ..Counts::default() }),
                };
                if sender.send(&message, &[]).await.is_err() {
                    return;
                }
            }
        });
        let (answer, refusing) = (say.clone(), Arc::clone(&refuse));
        let hearing = tokio::spawn(async move {
            while let Ok(Some((message, descriptors))) = receiver.receive::<ToProxy>().await {
                let message = match message {
                    ToProxy::Drain { .. } => Received::Drain,
                    ToProxy::Generation(generation) => {
                        let number = generation.number;
                        let why = refusing
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .take();
                        let _ = answer.send(match why {
                            Some(why) => FromProxy::Refused {
                                generation: number,
                                why,
                            },
                            None => FromProxy::Ready { generation: number },
                        });
                        unpack(generation, descriptors)
                    }
                };
                if inbox.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            received: arrivals,
            say,
            refuse,
            tasks: [speaking, hearing],
        }
    }

    /// The next message; `None` when weir-control has closed the connection.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }

    /// The next generation, by its number and lists.
    pub async fn next_generation(&mut self) -> (u64, Lists) {
        match self.next().await {
            Some(Received::Generation {
                generation, lists, ..
            }) => (generation.number, lists),
            other => panic!("a generation was expected, not {other:?}"),
        }
    }

    /// The next generation will be refused.
    pub fn refuse_next(&self, why: &str) {
        *self.refuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// Tells of a decision.
    pub fn event(&self, event: Event) {
        self.say
            .send(FromProxy::Event(Box::new(event)))
            .expect("the connection is open");
    }
}

impl Drop for FakeProxy {
    /// The connection closes.
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn unpack(generation: Box<Generation>, descriptors: Vec<OwnedFd>) -> Received {
    assert_eq!(
        generation.descriptors.len(),
        descriptors.len(),
        "each descriptor is named"
    );
    let mut listeners = Vec::new();
    let mut lists = None;
    for (what, descriptor) in generation.descriptors.iter().zip(descriptors) {
        match what {
            Descriptor::Listener { address, .. } => listeners.push((*address, descriptor)),
            Descriptor::Lists { length } => {
                let bytes = sealed::read(descriptor, *length).expect("the memory is sealed");
                lists = Some(Lists::from_bytes(&bytes).expect("the lists can be read"));
            }
        }
    }
    let lists = lists.expect("a generation brings the lists");
    Received::Generation {
        generation,
        listeners,
        lists,
    }
}
