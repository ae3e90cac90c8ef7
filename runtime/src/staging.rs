//! Copies of host memory for launches on devices with a memory of their own: every block that the arguments reach is copied in, addresses among the arguments are
//! translated, and afterwards what the kernel may have written is copied back.

use kiln_ir::Elem;

use crate::args::Arg;
use crate::error::{Error, TensorError};
use crate::plan::Plan;
use crate::storage;

/// A device's memory.
pub(crate) trait Memory {
    /// Some bytes, aligned to 16 at least.
    fn alloc(&mut self, bytes: u64) -> Result<u64, Error>;
    /// Copies in.
    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), Error>;
    /// Copies out, after what the device was given before.
    fn read(&mut self, from: u64, to: &mut [u8]) -> Result<(), Error>;
    /// Gives back what `alloc` gave.
    fn free(&mut self, at: u64);
}

/// What to do with raw pointers that lead into no memory that is known here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Refuse them.
    All,
    /// Pass them on: they may be the device's own.
    Known,
}

/// A block of host memory and its place on the device.
struct Region {
    host: u64,
    bytes: usize,
    device: u64,
    /// What was allocated for it.
    base: Option<u64>,
    written: bool,
    /// The block holds pointers, which are translated.
    pointers: bool,
}

/// The blocks that a launch reaches.
#[derive(Default)]
pub(crate) struct Regions(Vec<Region>);

impl Regions {
    /// Adds a block, once.
    fn add(&mut self, host: u64, bytes: usize, written: bool, pointers: bool) {
        if bytes == 0 {
            return;
        }
        match self.0.iter_mut().find(|r| r.host == host) {
            Some(region) => {
                region.written |= written;
                region.pointers |= pointers;
            }
            None => self.0.push(Region { host, bytes, device: 0, base: None, written, pointers }),
        }
    }

    /// Adds the block that a raw pointer leads into. Whether there is one.
    fn add_pointer(&mut self, address: u64, written: bool) -> bool {
        let found = storage::containing(address);
        if let Some((host, bytes)) = found {
            self.add(host, bytes, written, false);
        }
        found.is_some()
    }

    /// Everything in host memory that the arguments of a launch reach.
    ///
    /// # Safety
    /// Tensors' memory is held, raw pointers are valid.
    pub unsafe fn of(args: &[Arg<'_>], plan: &Plan, follow: Follow) -> Result<Regions, Error> {
        let mut regions = Regions::default();
        for (i, arg) in args.iter().enumerate() {
            match arg {
                Arg::Tensor(tensor, _) => {
                    let storage = tensor.storage();
                    if let Some(memory) = storage.device() {
                        if follow == Follow::All {
                            let there = memory.gpu.name();
                            let message = format!(
                                "argument {} is on {there}, and the launch is not: copy it to the host (`Tensor::to_host`)",
                                i + 1
                            );
                            return Err(TensorError::Place(message).into());
                        }
                        continue;
                    }
                    let host = storage.base().as_ptr() as u64;
                    let pointers = matches!(tensor.elem(), Elem::Ptr { .. });
                    regions.add(host, storage.len(), plan.written[i], pointers);
                    if let Elem::Ptr { mutable, .. } = tensor.elem() {
                        for word in 0..storage.len() / 8 {
                            // SAFETY: inside the storage, which is held; tensors of pointers are aligned to them.
                            let address = unsafe { storage.base().cast::<u64>().add(word).read() };
                            // One that leads nowhere (an empty tensor's) is a fault once the kernel follows it.
                            regions.add_pointer(address, mutable);
                        }
                    }
                }
                Arg::Pointer { address, .. } => {
                    let known = *address == 0 || regions.add_pointer(*address, plan.pointer_is_mut[i]);
                    if !known && follow == Follow::All {
                        return Err(Error::Device(format!(
                            "argument {} is {address:#x}, which is in no memory that kiln knows of: the emulator copies memory, and cannot follow \
                             such a pointer; make the memory a tensor's (`Storage::adopt`)",
                            i + 1
                        )));
                    }
                }
                Arg::Infer | Arg::Number(..) | Arg::Absent => {}
            }
        }
        Ok(regions)
    }

    /// The device's address for a host address. What is in no block (an empty tensor, memory of the device) keeps its own.
    pub fn to_device(&self, host: u64) -> u64 {
        let region = containing(&self.0, host, |r| r.host);
        region.map_or(host, |r| r.device + (host - r.host))
    }

    fn to_host(&self, device: u64) -> u64 {
        let region = containing(&self.0, device, |r| r.device);
        region.map_or(device, |r| r.host + (device - r.device))
    }

    /// Allocates and copies in.
    ///
    /// # Safety
    /// As [`Regions::of`].
    pub unsafe fn copy_in(&mut self, memory: &mut impl Memory) -> Result<(), Error> {
        for region in &mut self.0 {
            // Facts of alignment hold on the device too: its blocks start at multiples of 256.
            let skip = region.host % 16;
            // Atomics of single bytes read the byte beside theirs.
            let bytes = (region.bytes as u64 + skip).next_multiple_of(2);
            let base = memory.alloc(bytes)?;
            region.base = Some(base);
            region.device = base + skip;
            if bytes > region.bytes as u64 + skip {
                memory.write(base + bytes - 1, &[0u8])?;
            }
        }
        for region in &self.0 {
            // SAFETY: the caller's promise: the block is there, and nothing writes it meanwhile.
            let bytes = unsafe { std::slice::from_raw_parts(region.host as *const u8, region.bytes) };
            if region.pointers {
                let words: Vec<u8> = words_of(bytes).flat_map(|w| self.to_device(w).to_ne_bytes()).collect();
                memory.write(region.device, &words)?;
            } else {
                memory.write(region.device, bytes)?;
            }
        }
        Ok(())
    }

    /// Copies back what may have been written.
    ///
    /// # Safety
    /// As [`Regions::of`], and nothing else uses the blocks that are written.
    pub unsafe fn copy_out(&self, memory: &mut impl Memory) -> Result<(), Error> {
        for region in self.0.iter().filter(|r| r.written) {
            // SAFETY: the caller's promise.
            let to = unsafe { std::slice::from_raw_parts_mut(region.host as *mut u8, region.bytes) };
            if region.pointers {
                let mut bytes = vec![0; region.bytes];
                memory.read(region.device, &mut bytes)?;
                let words = words_of(&bytes).flat_map(|w| self.to_host(w).to_ne_bytes());
                to.iter_mut().zip(words).for_each(|(to, byte)| *to = byte);
            } else {
                memory.read(region.device, to)?;
            }
        }
        Ok(())
    }

    /// Gives the device's memory back.
    pub fn free(self, memory: &mut impl Memory) {
        self.0.into_iter().filter_map(|region| region.base).for_each(|base| memory.free(base));
    }
}

/// The block that an address lies in or at the end of: where one block begins at another's end, the one that begins there.
fn containing(regions: &[Region], address: u64, begin: impl Fn(&Region) -> u64) -> Option<&Region> {
    let last = regions.iter().filter(|r| begin(r) <= address).max_by_key(|r| begin(r))?;
    (address - begin(last) <= last.bytes as u64).then_some(last)
}

fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_block_that_begins_there() {
        let region = |host, bytes, device| Region { host, bytes, device, base: None, written: false, pointers: false };
        // Neighbours in host memory, in either order, are not neighbours on the device.
        for regions in
            [vec![region(1000, 40, 5000), region(1040, 40, 9000)], vec![region(1040, 40, 9000), region(1000, 40, 5000)]]
        {
            let regions = Regions(regions);
            let there = [999, 1000, 1039, 1040, 1080, 1081].map(|host| regions.to_device(host));
            assert_eq!(there, [999, 5000, 5039, 9000, 9040, 1081]);
            assert_eq!([5000, 5040, 9000, 9041].map(|device| regions.to_host(device)), [1000, 1040, 1040, 9041]);
        }
    }
}
