//! What the programs have counted: read as sums over the processors, and set to zero for a service whose
//! number another one gets.

use std::io;

use aya::maps::{MapError, PerCpuArray, PerCpuValues};
use weir_abi::{Count, counter_at, maps};

use crate::Dataplane;
use crate::error::Error;
use crate::pins;
use crate::programs::chain;
use crate::types::Counter;

impl Dataplane {
    /// Every counter that is not zero, summed over the CPUs.
    pub fn counters(&self) -> Result<Vec<Counter>, Error> {
        let mut counters = Vec::new();
        let visit = |index, slots: &[Count]| {
            let before = self.carried.get(&index);
            let Count { packets, bytes } = sum(slots.iter().chain(before));
            if packets == 0 {
                return;
            }
            if let Some((hook, observed, service, class, verdict, reason)) = counter_at(index) {
                counters.push(Counter {
                    service,
                    class,
                    verdict,
                    reason,
                    hook,
                    observed,
                    packets,
                    bytes,
                });
            }
        };
        self.each_counter(visit)?;
        Ok(counters)
    }

    /// Sets the counters of these services to zero: their numbers are given to others.
    pub fn forget_counters(&mut self, services: &[u16]) -> Result<(), Error> {
        let of_them =
            |index| counter_at(index).is_some_and(|counter| services.contains(&counter.2));
        let mut counted = Vec::new();
        self.each_counter(|index, slots| {
            if of_them(index) && slots.iter().any(|slot| *slot != Count::default()) {
                counted.push(index);
            }
        })?;
        let map = self.ebpf.map_mut(maps::COUNTERS);
        let map = map.expect("loaded with all maps");
        let mut counters = PerCpuArray::<_, [u64; 2]>::try_from(map).map_err(|e| failed(&e))?;
        for index in counted {
            let zero = PerCpuValues::try_from(vec![[0; 2]; self.cpus])
                .map_err(|e| Error::kernel("cannot set counters to zero", e))?;
            counters.set(index, zero, 0).map_err(|e| failed(&e))?;
        }
        let before = self.carried.len();
        self.carried.retain(|index, _| !of_them(*index));
        if self.carried.len() < before {
            pins::pin_carried(&self.pins.maps(), &self.carried)?;
        }
        Ok(())
    }

    fn each_counter(&self, visit: impl FnMut(u32, &[Count])) -> Result<(), Error> {
        let counters = &self.maps.counters;
        counters
            .each_per_cpu(self.cpus, visit)
            .map_err(|e| Error::kernel("cannot read the counters", e))
    }
}

/// What is counted in several places.
pub(crate) fn sum<'a>(counts: impl IntoIterator<Item = &'a Count>) -> Count {
    let mut sum = Count::default();
    for count in counts {
        sum.packets += count.packets;
        sum.bytes += count.bytes;
    }
    sum
}

fn failed(error: &MapError) -> Error {
    Error::kernel(
        "cannot set counters to zero",
        io::Error::other(chain(error)),
    )
}
