//! Grants the whole way: sign-ins that a proxy tells of, the brain, the programs in the kernel, and real
//! connections.

#[path = "../../dataplane/tests/bed/mod.rs"]
mod bed;
#[path = "../../dataplane/tests/crowd/mod.rs"]
mod crowd;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bed::{Bed, within};
use crowd::{GO_ON, Talker, answer_all, serve};
use tokio::task::JoinHandle;
use uuid::Uuid;
use weir_api::Actor;
use weir_control::audit::{Audit, Limits};
use weir_control::brain::{Brain, Parts};
use weir_control::descriptor_store::{self, Inherited};
use weir_control::first::First;
use weir_control::plane::Plane;
use weir_control::proxy_link::ProxyLink;
use weir_control::sockets;
use weir_control::testing::{
    CONFIG, FakeProxy, Received, earn, grants, principal, watched, write_certificate,
};
use weir_dataplane::{Dataplane, HookChoice};
use weir_lab_entra::Entra;
use weir_lab_entra::world::Quirks;
use weir_link::notify::Notify;
use weir_link::{PrincipalId, SignIn};

/// Unmanaged addresses of the client, each of one person; and one of everybody.
const POOL: [&str; 2] = ["203.0.113.20", "2001:db8:c::14"];
const NAT: &str = "203.0.113.50";
const LOOK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_opens_the_way_for_what_begins_and_a_revocation_cuts_it() {
    let name = "a_sign_in_opens_the_way_for_what_begins_and_a_revocation_cuts_it";
    let Some(object) = bed::object_or_skip(name) else {
        return;
    };
    let bed = Bed::new(object, HookChoice::Tcx);
    for six in [false, true] {
        serve(&bed.server, service(six), b's', false);
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut brain, mut tasks) = start(&bed, directory.path(), Inherited::default(), "").await;
    let (mut proxy, kept) = answer_as_proxy(directory.path()).await;

    let everywhere = POOL.into_iter().chain([NAT]);
    let mut earned: Vec<Talker> = everywhere.clone().map(|from| begin(&bed, from)).collect();
    talk(&mut earned, b'p');
    // Of a connection that there is not, the proxy may tell what it likes.
    tell(&mut proxy, 1, earn('a', POOL[0], 600)).await;
    let mut proxied = [begin(&bed, POOL[0])];
    talk(&mut proxied, b'p');
    for (number, (source, talker)) in (2..).zip(everywhere.zip(&earned)) {
        let sign_in = SignIn {
            peer: talker.address(),
            ..earn('a', source, 600)
        };
        tell(&mut proxy, number, sign_in).await;
    }
    let mut forwarded: Vec<Talker> = POOL.into_iter().map(|from| begin(&bed, from)).collect();
    talk(&mut forwarded, b's');
    talk(&mut earned, b'p');
    // Behind NAT the next person is a stranger: the kernel goes by the lists.
    let mut behind_nat = [begin(&bed, NAT)];
    talk(&mut behind_nat, b'p');

    // Whoever is started anew, everything goes on; and nobody is let in while nobody keeps the books.
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    let gone = Arc::downgrade(&brain);
    drop(brain);
    while gone.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    talk(&mut forwarded, b's');
    (brain, tasks) = start(&bed, directory.path(), kept, "").await;
    talk(&mut forwarded, b's');
    let mut again: Vec<Talker> = POOL.into_iter().map(|from| begin(&bed, from)).collect();
    talk(&mut again, b's');

    let who = Actor::Signal("a test".to_owned());
    let reason = "left".to_owned();
    let alice = principal('a').parse().expect("two ids");
    let taken = brain.revoke(who, alice, reason).await.expect("it is done");
    assert_eq!(taken.ended.len(), 3);
    for talker in forwarded.iter_mut().chain(&mut again) {
        let error = talker.talk(GO_ON).expect_err("it was cut");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    let (pool, nat) = earned.split_at_mut(2);
    for talker in pool {
        talker.talk(GO_ON).expect_err("it was cut");
    }
    talk(nat, b'p');
    drop(tasks);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_group_is_cut_and_the_next_packet_goes_by_the_lists() {
    let name = "who_leaves_a_group_is_cut_and_the_next_packet_goes_by_the_lists";
    let Some(object) = bed::object_or_skip(name) else {
        return;
    };
    let bed = Bed::new(object, HookChoice::Tcx);
    for six in [false, true] {
        serve(&bed.server, service(six), b's', false);
    }
    let lab = Entra::start().await;
    {
        let mut world = lab.world();
        world.quirks = Quirks::none();
        world.throttle.on = false;
    }
    let [alice, bob, staff] = lab.edit(|edit| {
        let [alice, bob] =
            ["alice.way", "bob.way"].map(|name| edit.user(&format!("{name}@fabrik.example"), name));
        let staff = edit.group("gate staff");
        for member in [alice, bob] {
            edit.join(staff, member).expect("both are there");
        }
        [alice, bob, staff]
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let limited = "[[entra.group]]\ngroup = \"interns\"\nclass = \"unmanaged\"\n";
    lab.edit(|edit| edit.group("interns"));
    let entra = lab.configuration(limited);
    let (brain, tasks) = start(&bed, directory.path(), Inherited::default(), &entra).await;
    let (mut proxy, _kept) = answer_as_proxy(directory.path()).await;
    sync(&brain, |user| user == alice).await;

    let mut earned: Vec<Talker> = POOL.into_iter().map(|from| begin(&bed, from)).collect();
    talk(&mut earned, b'p');
    for ((number, user), (source, talker)) in (1..).zip([alice, bob]).zip(POOL.iter().zip(&earned))
    {
        let principal = PrincipalId::new(lab.tenant().as_u128(), user.as_u128());
        let sign_in = SignIn {
            peer: talker.address(),
            principal,
            ..earn('a', source, 600)
        };
        tell(&mut proxy, number, sign_in).await;
    }
    let mut forwarded: Vec<Talker> = POOL.into_iter().map(|from| begin(&bed, from)).collect();
    talk(&mut forwarded, b's');

    lab.edit(|edit| edit.leave(staff, alice))
        .expect("she is in it");
    sync(&brain, |_| true).await;
    while brain.grants().grants.len() > 1 {
        tokio::time::sleep(LOOK).await;
    }
    let error = forwarded[0].talk(GO_ON).expect_err("it was cut");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    earned[0].talk(GO_ON).expect_err("it was cut");
    talk(&mut [begin(&bed, POOL[0])], b'p');
    // Somebody else's go on.
    talk(&mut forwarded[1..], b's');
    talk(&mut earned[1..], b'p');
    talk(&mut [begin(&bed, POOL[1])], b's');
    drop(tasks);
}

/// Reads all of the tenant, until the picture in force has such a user.
async fn sync(brain: &Brain, has: impl Fn(Uuid) -> bool) {
    let is_there = || {
        let directory = brain.directory();
        directory.is_some_and(|one| one.snapshot.users().any(|user| has(user.id())))
    };
    loop {
        if let Some(tenant) = brain.tenant() {
            tenant.handle.sync(None, false).await.expect("it runs");
            if is_there() {
                return;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A proxy that answers connections, and its listeners.
async fn answer_as_proxy(directory: &Path) -> (FakeProxy, Inherited) {
    let mut proxy = FakeProxy::connect(&directory.join("run/proxy.sock")).await;
    let Some(Received::Generation { listeners, .. }) = proxy.next().await else {
        panic!("a proxy gets the generation in force");
    };
    let mut kept = Inherited::default();
    for (address, listener) in listeners {
        let copy = listener.try_clone().expect("a descriptor");
        kept.0.push((descriptor_store::name(address), copy));
        let listener = TcpListener::from(listener);
        listener.set_nonblocking(false).expect("a listener");
        answer_all(listener, b'p');
    }
    (proxy, kept)
}

/// A weir-control on the programs in the kernel of the bed's router.
async fn start(
    bed: &Bed,
    directory: &Path,
    inherited: Inherited,
    more: &str,
) -> (Arc<Brain>, Vec<JoinHandle<()>>) {
    let uid = nix::unistd::Uid::effective().as_raw();
    let (run, state) = (directory.join("run"), directory.join("state"));
    if !state.exists() {
        write_certificate(directory);
        watched(directory);
        let mut config = CONFIG.replace("PROXY_USER", &uid.to_string());
        for (from, to) in grants() {
            config = config.replace(from, &to.replace("\"staff\"", "\"gate staff\""));
        }
        let pool = "203.0.113.16/28\", \"2001:db8:c::/64";
        let config = config.replace("10.20.0.0/16", pool);
        let lists = "[[list]]\nname = \"hq-egress\"";
        let config = config.replace(lists, &format!("{more}{lists}"));
        std::fs::write(directory.join("weir.toml"), config).expect("a temporary file");
        std::fs::write(directory.join("hq.list"), "203.0.113.10\n").expect("a temporary file");
    }
    sockets::directory(&run, 0o755).expect("a temporary directory");
    sockets::directory(&state, 0o750).expect("a temporary directory");
    let log = Audit::open(&state.join("audit.jsonl"), Limits::default());
    let audit = Arc::new(log.expect("a temporary file"));
    let link = ProxyLink::new(uid, Arc::clone(&audit), &run);
    let proxies = sockets::listen(&run.join("proxy.sock"), 0o600, None, None).expect("a socket");
    let accepting = tokio::spawn(link.clone().serve(proxies));
    let (router, options) = (bed.router.clone(), bed.options.clone());
    let open = move || {
        bed::enter(&router);
        Ok(Box::new(Dataplane::open(&options)?) as _)
    };
    let parts = Parts {
        config: directory.join("weir.toml"),
        plane: Plane::start(open).await.expect("the programs are loaded"),
        link,
        audit,
        notify: Notify::default(),
        inherited,
    };
    let first = First::read(&parts.config).expect("a good file");
    let brain = Brain::start(parts, first).await.expect("it starts");
    let guard = tokio::spawn(Arc::clone(&brain).guard());
    (brain, vec![accepting, guard])
}

/// Tells of a sign-in, and waits until it is in the books.
async fn tell(proxy: &mut FakeProxy, number: u64, sign_in: SignIn) {
    proxy.sign_in(SignIn { number, ..sign_in });
    while !matches!(proxy.next().await, Some(Received::Taken(up_to)) if up_to == number) {}
}

fn begin(bed: &Bed, from: &str) -> Talker {
    let from: IpAddr = from.parse().expect("an address");
    let begin = || Talker::new(from, 0, service(from.is_ipv6()));
    within(&bed.client, begin).expect("somebody answers")
}

fn talk(talkers: &mut [Talker], who: u8) {
    for talker in talkers {
        talker.talk(GO_ON).expect("an answer");
        assert_eq!(talker.who(), Some(who));
    }
}

fn service(six: bool) -> SocketAddr {
    let address = if six {
        "[2001:db8:10::10]:443"
    } else {
        "192.0.2.10:443"
    };
    address.parse().expect("an address")
}
