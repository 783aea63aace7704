//! The few bpf(2) calls that aya has no words for: batches, memory-mapped arrays, maps made at run
//! time, pins, and what the kernel says of its objects.
//!
//! All unsafe code of this crate is here, and where it speaks to sockets: in `netlink` and `ethtool`.

mod batches;

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use weir_abi::{
    Address, Config, Count, First, Flow, GENERATIONS, Grant, Principal, Root, Server, Translation,
    V4Node, V6Node, Wheel,
};

/// Types of maps, as the kernel numbers them (`enum bpf_map_type`).
pub(crate) const HASH: u32 = 1;
pub(crate) const ARRAY: u32 = 2;
pub(crate) const PERCPU_ARRAY: u32 = 6;
pub(crate) const LRU_HASH: u32 = 9;
pub(crate) const ARRAY_OF_MAPS: u32 = 12;
/// The array can be mapped into memory (`BPF_F_MMAPABLE`, Linux 5.5).
pub(crate) const MMAPABLE: u32 = 1 << 10;
/// Maps of other sizes may take this one's place in an array of maps (`BPF_F_INNER_MAP`, Linux 5.10).
const INNER_MAP: u32 = 1 << 12;

/// Whether there is such a key or not (`BPF_ANY`).
const ANY: u64 = 0;
/// Only where there is no such key yet (`BPF_NOEXIST`).
const NOEXIST: u64 = 1;

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
pub(crate) const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
pub(crate) const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const MAP_GET_FD_BY_ID: libc::c_long = 14;

/// Values without padding for which every bit pattern is valid.
///
/// # Safety
///
/// The type must be plain old data: no padding, no pointers, no invalid bit patterns.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers and arrays of integers, and structures of those without padding, as the size
// assertions of weir-abi show.
unsafe impl Plain for u8 {}
// SAFETY: see above.
unsafe impl Plain for u32 {}
// SAFETY: see above.
unsafe impl Plain for [u8; 16] {}
// SAFETY: see above.
unsafe impl Plain for [u8; 256] {}
// SAFETY: see above.
unsafe impl Plain for Address {}
// SAFETY: see above.
unsafe impl Plain for Config {}
// SAFETY: see above.
unsafe impl Plain for Count {}
// SAFETY: see above.
unsafe impl Plain for First {}
// SAFETY: see above.
unsafe impl Plain for Flow {}
// SAFETY: see above.
unsafe impl Plain for Grant {}
// SAFETY: see above.
unsafe impl Plain for Principal {}
// SAFETY: see above.
unsafe impl Plain for Translation {}
// SAFETY: see above.
unsafe impl Plain for Wheel {}
// SAFETY: see above.
unsafe impl Plain for Server {}
// SAFETY: see above.
unsafe impl Plain for Root {}
// SAFETY: see above.
unsafe impl Plain for [Root; 256] {}
// SAFETY: see above.
unsafe impl Plain for V4Node {}
// SAFETY: see above.
unsafe impl Plain for V6Node {}

/// What the kernel says of a map (`struct bpf_map_info`, its first members).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

/// A map with keys `K` and values `V`.
#[derive(Debug)]
pub(crate) struct Map<K, V> {
    fd: OwnedFd,
    types: PhantomData<fn(K, V)>,
}

impl<K: Plain, V: Plain> Map<K, V> {
    /// Opens a pinned map, and checks that keys and values have the sizes of `K` and `V`.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Info)> {
        let map = Self {
            fd: pinned(path)?,
            types: PhantomData,
        };
        let info = map.info()?;
        if info.key_size as usize != size_of::<K>() || info.value_size as usize != size_of::<V>() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "keys of {} and values of {} bytes",
                    info.key_size, info.value_size
                ),
            ));
        }
        Ok((map, info))
    }

    /// Makes an array for an array of maps, that nobody else knows yet.
    pub(crate) fn nodes(max_entries: u32) -> io::Result<Self> {
        Self::make(ARRAY, max_entries, MMAPABLE | INNER_MAP)
    }

    /// Makes a hash that nobody else knows yet.
    pub(crate) fn hash(max_entries: u32) -> io::Result<Self> {
        Self::make(HASH, max_entries, 0)
    }

    fn make(kind: u32, max_entries: u32, flags: u32) -> io::Result<Self> {
        Self::create(&mut Create {
            kind,
            key_size: size_u32::<K>(),
            value_size: size_u32::<V>(),
            max_entries,
            flags,
            inner: 0,
        })
    }

    fn create(attr: &mut Create) -> io::Result<Self> {
        Ok(Self {
            fd: owned(bpf(MAP_CREATE, attr)?),
            types: PhantomData,
        })
    }

    /// Keeps the map at a path in a bpffs.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        bpf(OBJ_PIN, &mut Object::new(&c_path(path)?, self.raw())).map(drop)
    }

    /// What the kernel says of the map.
    pub(crate) fn info(&self) -> io::Result<Info> {
        map_info(self.fd.as_raw_fd())
    }

    /// Bytes that the kernel accounts for the map; zero when it does not tell.
    pub(crate) fn memory(&self) -> u64 {
        map_memory(self.fd.as_raw_fd())
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> io::Result<Option<V>> {
        // SAFETY: every bit pattern of V is valid, zero too.
        let mut value: V = unsafe { zeroed() };
        let mut attr = self.element(key, ptr::from_mut(&mut value).cast_const().cast());
        match bpf(MAP_LOOKUP_ELEM, &mut attr) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a key, new or not.
    pub(crate) fn set(&self, key: &K, value: &V) -> io::Result<()> {
        let mut attr = self.element(key, ptr::from_ref(value).cast());
        bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
    }

    /// Removes a key; one that is not there is no error.
    pub(crate) fn remove(&self, key: &K) -> io::Result<()> {
        match bpf(MAP_DELETE_ELEM, &mut self.element(key, ptr::null())) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Every key. Complete only while nobody else writes.
    pub(crate) fn keys(&self) -> io::Result<Vec<K>> {
        let mut keys: Vec<K> = Vec::new();
        loop {
            // SAFETY: every bit pattern of K is valid, zero too.
            let mut next: K = unsafe { zeroed() };
            let mut attr = Element {
                fd: self.raw(),
                key: keys.last().map_or(0, |key| ptr::from_ref(key) as u64),
                value: ptr::from_mut(&mut next) as u64,
                ..Element::default()
            };
            match bpf(MAP_GET_NEXT_KEY, &mut attr) {
                Ok(_) => keys.push(next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(error),
            }
        }
    }

    fn element(&self, key: &K, value: *const u8) -> Element {
        Element {
            fd: self.raw(),
            key: ptr::from_ref(key) as u64,
            value: value as u64,
            flags: 0,
            ..Element::default()
        }
    }

    fn raw(&self) -> u32 {
        raw(self.fd.as_fd())
    }
}

impl Map<u32, u32> {
    /// Makes an array of maps like this one, with one place, that no program knows.
    pub(crate) fn place_for<K: Plain, V: Plain>(inner: &Map<K, V>) -> io::Result<Self> {
        Self::create(&mut Create {
            kind: ARRAY_OF_MAPS,
            key_size: size_u32::<u32>(),
            value_size: size_u32::<u32>(),
            max_entries: 1,
            flags: 0,
            inner: inner.raw(),
        })
    }

    /// Puts a map into a slot of an array of maps, and waits until no program reads the map that was
    /// there (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c).
    pub(crate) fn set_inner<K: Plain, V: Plain>(
        &self,
        slot: u32,
        inner: &Map<K, V>,
    ) -> io::Result<()> {
        self.set(&slot, &inner.raw())
    }

    /// The map in a slot of an array of maps, if there is one.
    pub(crate) fn inner<K: Plain, V: Plain>(&self, slot: u32) -> io::Result<Option<Map<K, V>>> {
        // What is read is the number of the map.
        let Some(number) = self.get(&slot)? else {
            return Ok(None);
        };
        let mut attr = Numbered {
            number,
            ..Numbered::default()
        };
        Ok(Some(Map {
            fd: owned(bpf(MAP_GET_FD_BY_ID, &mut attr)?),
            types: PhantomData,
        }))
    }

    /// Bytes that the kernel accounts for the array and the maps in it.
    pub(crate) fn memory_inside(&self) -> u64 {
        let inside =
            (0..GENERATIONS).filter_map(|slot| Some(self.inner::<u32, u8>(slot).ok()??.memory()));
        self.memory() + inside.sum::<u64>()
    }
}

/// The memory of an array, shared with the kernel.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapped {}

impl Mapped {
    /// Maps `length` bytes of an array.
    pub(crate) fn new<K, V>(map: &Map<K, V>, length: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap gives no null mapping");
        Ok(Self { start, length })
    }

    /// Writes values that no program reads at this moment.
    pub(crate) fn write<T: Plain>(&self, offset: usize, values: &[T]) {
        let length = size_of_val(values);
        assert!(offset + length <= self.length, "inside the mapping");
        // SAFETY: inside the mapping, not overlapping with memory of Rust, and without padding.
        unsafe {
            let bytes = values.as_ptr().cast::<u8>();
            ptr::copy_nonoverlapping(bytes, self.start.as_ptr().add(offset), length);
        }
    }

    /// Reads so many values that nobody writes at this moment.
    pub(crate) fn read<T: Plain>(&self, offset: usize, count: usize) -> Vec<T> {
        let length = count * size_of::<T>();
        assert!(offset + length <= self.length, "inside the mapping");
        let mut values = Vec::<T>::with_capacity(count);
        // SAFETY: inside the mapping, into memory that was just made for it; every bit pattern is valid.
        unsafe {
            let bytes = values.as_mut_ptr().cast::<u8>();
            ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), bytes, length);
            values.set_len(count);
        }
        values
    }

    /// One word that programs may read at any moment.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.length,
            "an aligned word inside"
        );
        // SAFETY: inside the mapping, aligned, and accessed as an atomic only.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Stores the word after everything that was written before.
    pub(crate) fn publish_word(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::SeqCst);
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Time since boot, also that in which the machine slept (`CLOCK_BOOTTIME`), as the programs see it.
pub(crate) fn since_boot() -> Duration {
    // SAFETY: all-zero is a valid value, which the kernel fills.
    let mut now: libc::timespec = unsafe { zeroed() };
    // SAFETY: a structure of the right type.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    assert_eq!(failed, 0, "every Linux has this clock");
    Duration::from_secs(now.tv_sec.unsigned_abs())
        + Duration::from_nanos(now.tv_nsec.unsigned_abs())
}

/// What the kernel says of a map.
pub(crate) fn map_info(fd: RawFd) -> io::Result<Info> {
    let mut info = Info::default();
    bpf(OBJ_GET_INFO_BY_FD, &mut ObjectInfo::new(fd, &mut info))?;
    Ok(info)
}

/// Bytes that the kernel accounts for a map; zero when it does not tell.
pub(crate) fn map_memory(fd: RawFd) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/fdinfo/{fd}"));
    text.ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("memlock:"))?;
            line.trim().parse().ok()
        })
        .unwrap_or(0)
}

/// The words of the first value of a pinned array, whatever their number.
pub(crate) fn first_words(path: &Path) -> Option<Vec<u32>> {
    let map: Map<u32, u32> = Map {
        fd: pinned(path).ok()?,
        types: PhantomData,
    };
    let info = map.info().ok()?;
    if info.key_size != 4 || info.value_size < 4 {
        return None;
    }
    let mut value = vec![0_u32; (info.value_size as usize).div_ceil(4)];
    let mut attr = map.element(&0, value.as_mut_ptr().cast_const().cast());
    bpf(MAP_LOOKUP_ELEM, &mut attr).ok()?;
    Some(value)
}

/// Copies the entries of a pinned hash into another one, but for those that are there already; what finds no
/// room is left out. Or those of an array, all of which are there already, over the others. False where keys
/// or values have other sizes or the map is of another kind, and nothing is copied.
pub(crate) fn copy_entries(from: &Path, to: &Path) -> io::Result<bool> {
    let [Ok(from), Ok(to)] = [from, to].map(pinned) else {
        return Ok(false);
    };
    let mut before = 0;
    let info = map_info(from.as_raw_fd())?;
    let other = map_info(to.as_raw_fd())?;
    let layout = |info: &Info| (info.kind, info.key_size, info.value_size);
    if layout(&info) != layout(&other) {
        return Ok(false);
    }
    let flags = if info.kind == ARRAY { ANY } else { NOEXIST };
    let mut key = vec![0_u8; info.key_size as usize];
    let mut next = key.clone();
    let mut value = vec![0_u8; info.value_size as usize];
    let element = |map: &OwnedFd, key: u64, value: u64, flags: u64| Element {
        fd: raw(map.as_fd()),
        key,
        value,
        flags,
        ..Element::default()
    };
    // While programs insert and remove, the walk may begin anew.
    for _ in 0..2 * u64::from(info.max_entries) {
        let mut attr = element(&from, before, next.as_mut_ptr() as u64, 0);
        match bpf(MAP_GET_NEXT_KEY, &mut attr) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(error) => return Err(error),
        }
        key.copy_from_slice(&next);
        before = key.as_ptr() as u64;
        let mut attr = element(&from, before, value.as_mut_ptr() as u64, 0);
        if bpf(MAP_LOOKUP_ELEM, &mut attr).is_err() {
            // Removed meanwhile.
            continue;
        }
        let mut attr = element(&to, before, value.as_ptr() as u64, flags);
        match bpf(MAP_UPDATE_ELEM, &mut attr) {
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EEXIST | libc::E2BIG)) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(true)
}

/// Has two directories of a bpffs change their names, in one step (Linux 5.16 there).
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (c_path(one)?, c_path(other)?);
    // SAFETY: terminated strings.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether the path lies in a bpffs.
pub(crate) fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = c_path(path)?;
    // SAFETY: all-zero is a valid value; the kernel fills it.
    let mut stat: libc::statfs = unsafe { zeroed() };
    // SAFETY: a terminated string and a structure of the right type.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.f_type == libc::BPF_FS_MAGIC)
}

/// Mounts a bpffs on the directory, as iproute2 and libbpf's tools do.
pub(crate) fn mount_bpffs(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: terminated strings.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            path.as_ptr(),
            c"bpf".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            c"mode=0700".as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The index of an interface in this network namespace.
pub(crate) fn interface(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: a terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// The name of an interface in this network namespace.
pub(crate) fn interface_name(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: there is room for the longest name.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) }.is_null() {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&name).ok()?;
    Some(name.to_string_lossy().into_owned())
}

/// Random words from the kernel.
pub(crate) fn random() -> io::Result<[u32; 2]> {
    let mut words = [0_u32; 2];
    // SAFETY: pointer and length describe `words`.
    let read = unsafe { libc::getrandom(words.as_mut_ptr().cast(), size_of::<[u32; 2]>(), 0) };
    if read == 8 {
        Ok(words)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[repr(C)]
#[derive(Default)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    /// A map like those that an array of maps holds.
    inner: u32,
}

/// An object by the kernel's number.
#[repr(C)]
#[derive(Default)]
struct Numbered {
    number: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A path, for pins.
#[repr(C)]
pub(crate) struct Object {
    name: u64,
    fd: u32,
    flags: u32,
}

impl Object {
    /// The path, and the object to pin there. The path has to outlive the call.
    pub(crate) fn new(name: &CString, fd: u32) -> Self {
        Self {
            name: name.as_ptr() as u64,
            fd,
            flags: 0,
        }
    }
}

/// Asks what the kernel says of an object.
#[repr(C)]
pub(crate) struct ObjectInfo {
    fd: u32,
    length: u32,
    info: u64,
}

impl ObjectInfo {
    /// An object, and where the answer goes. The latter has to outlive the call.
    pub(crate) fn new<I>(fd: RawFd, info: &mut I) -> Self {
        Self {
            fd: fd.cast_unsigned(),
            length: size_u32::<I>(),
            info: ptr::from_mut(info) as u64,
        }
    }
}

/// Opens what is pinned at a path.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let name = c_path(path)?;
    Ok(owned(bpf(OBJ_GET, &mut Object::new(&name, 0))?))
}

/// A descriptor as the kernel's structures have it.
pub(crate) fn raw(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative")
}

pub(crate) fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: every structure here is a prefix of the kernel's `union bpf_attr` for its command, all
    // pointers in it are valid for the call, and the kernel takes the members that follow as zero.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

pub(crate) fn owned(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).expect("descriptors are small");
    // SAFETY: the kernel has just given this descriptor to us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("keys and values are small")
}

pub(crate) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}
