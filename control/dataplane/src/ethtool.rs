//! What a driver says of itself: the questions of ethtool(8) that matter to XDP, as ioctls.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const SIOCETHTOOL: libc::Ioctl = 0x8946;

const GET_DRIVER: u32 = 0x3;
const GET_STRINGS: u32 = 0x1b;
const GET_FEATURES: u32 = 0x3a;
const GET_CHANNELS: u32 = 0x3c;

/// `ETH_SS_FEATURES`, and the length of each name.
const FEATURES: u32 = 4;
const NAME: usize = 32;
/// Words of 32 features that are asked for; the kernel has two.
const BLOCKS: usize = 4;

/// What coalesces frames in the device, by the names of `ethtool -K`: XDP would see what cannot be sent on.
const COALESCING: [&str; 2] = ["rx-lro", "rx-gro-hw"];

/// What takes VLAN tags off, 802.1Q and 802.1ad.
const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// What a driver says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Its name; empty when it does not tell.
    pub(crate) name: String,
    /// Features that coalesce frames in the device and are switched on.
    pub(crate) coalescing: Vec<&'static str>,
    /// Whether it takes VLAN tags off frames, before XDP sees them.
    pub(crate) strips_tags: bool,
    /// Queues that are in use, and that there can be; absent when it does not tell.
    pub(crate) channels: Option<(u32, u32)>,
}

/// Asks the driver of an interface. What it does not tell is left open.
pub(crate) fn driver(interface: &str) -> io::Result<Driver> {
    let socket = socket()?;
    let ask = |words: &mut [u32]| ioctl(&socket, interface, words);
    let mut driver = Driver::default();
    // struct ethtool_drvinfo: the name of the driver is the first of its texts.
    let mut info = [0_u32; 49];
    info[0] = GET_DRIVER;
    if ask(&mut info).is_ok() {
        driver.name = text(&bytes(&info[1..9]));
    }
    // struct ethtool_gstrings: the set, how many, and the names.
    let mut strings = vec![0_u32; 3 + BLOCKS * 32 * NAME / 4];
    (strings[0], strings[1]) = (GET_STRINGS, FEATURES);
    // struct ethtool_gfeatures: words of available, requested, active and fixed bits.
    let mut features = [0_u32; 2 + BLOCKS * 4];
    (features[0], features[1]) = (
        GET_FEATURES,
        u32::try_from(BLOCKS).expect("a small constant"),
    );
    if ask(&mut strings).is_ok() && ask(&mut features).is_ok() {
        let names = bytes(&strings[3..]);
        for (bit, name) in names.chunks(NAME).enumerate() {
            let active = features[2 + bit / 32 * 4 + 2] >> (bit % 32) & 1 == 1;
            let name = text(name);
            driver.strips_tags |= active && STRIPPING.contains(&name.as_str());
            driver
                .coalescing
                .extend(COALESCING.iter().filter(|one| active && **one == name));
        }
    }
    // struct ethtool_channels: maxima of rx, tx, other and combined, then the same that are in use.
    let mut channels = [0_u32; 9];
    channels[0] = GET_CHANNELS;
    if ask(&mut channels).is_ok() {
        driver.channels = Some((channels[8], channels[4]));
    }
    Ok(driver)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the socket was just made, and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

fn ioctl(socket: &OwnedFd, interface: &str, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: all-zero is a valid value of this structure.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: `words` begins with a command and has room for all that the kernel writes for it: fixed
    // sizes, or as many words as the request itself says; for names, more than there are features.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What stands before the first zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
