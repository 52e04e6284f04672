//! What does it cost to decide who is let in, and what does a long list take?
//!
//! `cargo bench --bench access`. Rules are asked once for each connection, and the table of sources twice where there are
//! limits by source; a connection as a whole costs tens of microseconds. It prints the bytes of a list of 100,000 networks.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use ipnet::IpNet;
use ringway::access::{Allowance, Bits, Rules, Sources};
use ringway::config::Standing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NETWORKS: usize = 100_000;

fn v4(dice: &mut Rng) -> IpAddr {
    Ipv4Addr::from(dice.u32(..)).into()
}

/// Of what is given out today.
fn v6(dice: &mut Rng) -> IpAddr {
    Ipv6Addr::from(1 << 125 | dice.u128(..1 << 125)).into()
}

fn networks(address: fn(&mut Rng) -> IpAddr, bits: std::ops::RangeInclusive<u8>) -> Vec<IpNet> {
    let mut dice = Rng::with_seed(1);
    let network =
        |dice: &mut Rng| IpNet::new(address(dice), dice.u8(bits.clone())).expect("the bits fit").trunc();
    (0..NETWORKS).map(|_| network(&mut dice)).collect()
}

/// A list as block lists are: some networks, and very many single addresses; addresses that are looked for at random.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    type Address = fn(&mut Rng) -> IpAddr;
    let kinds: [(&str, Address, _); 2] = [("v4", v4, 16..=32), ("v6", v6, 32..=64)];
    for (name, address, bits) in kinds {
        let list = networks(address, bits);
        let rules = Rules::new(Standing::Allow, &[], &list);
        println!("{NETWORKS} networks {name}: {} bytes", rules.bytes());
        let mut dice = Rng::with_seed(2);
        group.bench_function(format!("verdict, 100,000 networks, {name}"), |bencher| {
            bencher.iter_batched(
                || address(&mut dice),
                |address| black_box(&rules).verdict(address),
                BatchSize::SmallInput,
            );
        });
        group.sample_size(10);
        group.bench_function(format!("made of 100,000 networks, {name}"), |bencher| {
            bencher.iter(|| Rules::new(Standing::Allow, &[], black_box(&list)));
        });
        group.sample_size(100);
    }
    let none = Rules::new(Standing::Allow, &[], &[]);
    group.bench_function("verdict, no networks", |bencher| {
        bencher.iter(|| black_box(&none).verdict(black_box(IpAddr::V4(Ipv4Addr::LOCALHOST))));
    });
    group.finish();
}

/// A source enters and leaves, of very many.
fn sources(criterion: &mut Criterion) {
    let sources = Sources::new(65_536, Bits { v4: 32, v6: 64 }, 1);
    println!("65,536 sources: {} bytes", Sources::bytes(65_536));
    let allowance = Allowance { sessions: Some(10), rate: None };
    let (mut dice, mut now) = (Rng::with_seed(3), 0);
    criterion.bench_function("sources: enter and leave", |bencher| {
        bencher.iter(|| {
            now += 1;
            let address = Ipv4Addr::from(dice.u32(..50_000)).into();
            let held =
                sources.enter(address, allowance, now).expect("it has no session").expect("there is a place");
            sources.leave(&held);
        });
    });
}

criterion_group!(benches, rules, sources);
criterion_main!(benches);
