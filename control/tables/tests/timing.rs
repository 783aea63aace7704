//! How long compiling takes. Prints, asserts no time: `cargo test --release -p weir-tables --test
//! timing -- --ignored --nocapture`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::IpNet;
use weir_abi::Class;
use weir_tables::{List, Lists, Origin, Scope};

#[test]
#[ignore = "prints timings of a million prefixes; meant for release builds"]
fn a_million_prefixes() {
    for (what, prefixes) in [("IPv4", v4(1_000_000)), ("IPv6", v6(1_000_000))] {
        let lists: Vec<List> = prefixes
            .chunks(prefixes.len() / 4)
            .zip([Class::Managed, Class::Bypass, Class::Blocked, Class::Relay])
            .map(|(prefixes, class)| List {
                name: class.name().to_owned(),
                class,
                scope: Scope::All,
                origin: Origin::Local,
                prefixes: prefixes.to_vec(),
            })
            .collect();
        let start = Instant::now();
        let compiled = Lists::compile(&lists);
        let compile = start.elapsed();
        let start = Instant::now();
        let kernel = compiled.kernel_tables();
        let kernel_time = start.elapsed();
        let start = Instant::now();
        let bytes = compiled.to_bytes();
        let to_bytes = start.elapsed();
        let start = Instant::now();
        let read = Lists::from_bytes(&bytes).expect("its own bytes");
        let from_bytes = start.elapsed();
        let start = Instant::now();
        let found = prefixes
            .iter()
            .filter(|net| read.find(net.addr()).list.is_some())
            .count();
        let find = start.elapsed();
        assert_eq!(found, prefixes.len());
        println!(
            "{what}: {} prefixes, {} decide, {} MiB; compile {compile:?}, kernel {kernel_time:?} \
             ({} exact, {} v6), to_bytes {to_bytes:?} ({} MiB), from_bytes {from_bytes:?}, find {:?} each",
            prefixes.len(),
            compiled.len(),
            compiled.memory() >> 20,
            kernel.v4_exact.len(),
            kernel.v6.len(),
            bytes.len() >> 20,
            find / u32::try_from(prefixes.len()).expect("a million"),
        );
    }
}

/// Lengths as in a table of routes: mostly /24, some shorter, a few addresses.
fn v4(count: u32) -> Vec<IpNet> {
    let mut state = 1u32;
    (0..count)
        .map(|number| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = [24, 24, 24, 22, 24, 20, 32, 24, 16, 29][number as usize % 10];
            let address = IpAddr::V4(Ipv4Addr::from_bits(state));
            IpNet::new(address, length).expect("a length").trunc()
        })
        .collect()
}

fn v6(count: u32) -> Vec<IpNet> {
    let mut state = 1u64;
    (0..count)
        .map(|number| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let length = [48, 48, 32, 56, 64, 48, 40, 128, 36, 48][number as usize % 10];
            let bits = (0x2000 << 112) | (u128::from(state) << 45);
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            IpNet::new(address, length).expect("a length").trunc()
        })
        .collect()
}
