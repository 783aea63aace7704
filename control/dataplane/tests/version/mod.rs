//! Pins that another version might have left.

#![allow(dead_code, reason = "each test binary uses a part")]

use aya::maps::{Array, Map, MapData};
use weir_abi::Config;
use weir_dataplane::Options;

/// Takes a map away that no test needs, so that the pins are those of another build of this version.
pub fn take_a_map(options: &Options) {
    let pin = options.pin_dir.join("maps/WHEELS");
    std::fs::remove_file(pin).expect("it is pinned");
}

/// Has the pins say that they are of this version. Their programs do not ask for it, and go on.
pub fn pretend(options: &Options, version: u32) {
    let pin = options.pin_dir.join("maps/CONFIG");
    let map = Map::Array(MapData::from_pin(pin).expect("it is pinned"));
    let mut map: Array<_, [u8; size_of::<Config>()]> = map.try_into().expect("an array");
    let mut config = map.get(&0, 0).expect("it has one entry");
    config[..4].copy_from_slice(&version.to_ne_bytes());
    map.set(0, config, 0).expect("it can be written");
}
