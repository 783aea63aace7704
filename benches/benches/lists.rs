//! What it costs to compile lists, and to look a source up in user space.

#[path = "../timing.rs"]
mod timing;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ipnet::Ipv4Net;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

/// As many sources as keep the processor's caches from flattering the result.
const SOURCES: usize = 65_536;

criterion_group!(name = benches; config = timing::short(); targets = find, compile);
criterion_main!(benches);

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find a source");
    for prefixes in [1_000, 100_000, 1_000_000] {
        let list = list(prefixes);
        let sources = sources_inside(&list);
        let lists = Lists::compile(&[list]);
        let mut next = sources.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(prefixes), |bencher| {
            bencher.iter(|| {
                let source = next.next().expect("a cycle does not end");
                black_box(lists.find(*source).class)
            });
        });
    }
}

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile lists");
    group.sample_size(10);
    for prefixes in [1_000, 100_000, 1_000_000] {
        group.bench_function(BenchmarkId::from_parameter(prefixes), |bencher| {
            bencher.iter_batched(
                || [list(prefixes)],
                |lists| {
                    black_box(KernelTables::compile(
                        &Lists::compile(&lists),
                        &History::default(),
                    ))
                },
                BatchSize::LargeInput,
            );
        });
    }
}

/// Prefixes in the proportions of the Internet's routing table: three of five are /24.
fn list(prefixes: usize) -> List {
    let mut random = StdRng::seed_from_u64(5745);
    let prefixes = (0..prefixes)
        .map(|_| {
            let length = match random.random_range(0..100) {
                0..60 => 24,
                60..70 => 23,
                70..81 => 22,
                81..90 => 20,
                90..95 => 16,
                _ => 32,
            };
            let address = Ipv4Addr::from_bits(random.random_range(0x0100_0000..0xe000_0000));
            Ipv4Net::new(address, length)
                .expect("the length fits")
                .trunc()
                .into()
        })
        .collect();
    List {
        name: "egress".into(),
        class: Class::Managed,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes,
    }
}

fn sources_inside(list: &List) -> Vec<IpAddr> {
    let mut random = StdRng::seed_from_u64(7);
    (0..SOURCES)
        .map(|_| list.prefixes[random.random_range(0..list.prefixes.len())].addr())
        .collect()
}
