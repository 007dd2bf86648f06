//! Guarded and open device memory, and pinned memory of the host.
//!
//! Chapter 70. [`Guarded`] memory is made without any handle that could be exported, and is mapped
//! for this GPU alone. Nothing here copies it out.

use std::ptr;
use std::slice;
use std::sync::Arc;

use cudarc::driver::sys;

use crate::device::DeviceError;
use crate::resident::context::{Context, check};

/// Device memory for keys and weights. There is no way to read it here.
///
/// ```compile_fail
/// fn read(memory: &split_custody_kernels::resident::Guarded, out: &mut [u8]) {
///     memory.read(out); // no such method
/// }
/// ```
///
/// ```compile_fail
/// use split_custody_kernels::resident::{Desk, Secret};
/// fn read(desk: &mut Desk, secret: Secret, out: &mut [u8]) {
///     desk.fetch(secret, out).unwrap(); // takes a `Public`
/// }
/// ```
pub struct Guarded {
    at: u64,
    bytes: usize,
    handle: Option<u64>,
    context: Arc<Context>,
}

/// A part of guarded memory.
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    at: u64,
    bytes: usize,
}

/// A part of open memory.
#[derive(Clone, Copy, Debug)]
pub struct Public {
    at: u64,
    bytes: usize,
}

impl Guarded {
    /// At least so many bytes; what lies in them may be anybody's.
    pub fn create(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        context.bind()?;
        let properties = properties();
        let (mut granule, mut handle, mut at) = (0, 0, 0);
        let option = sys::CUmemAllocationGranularity_flags::CU_MEM_ALLOC_GRANULARITY_MINIMUM;
        // SAFETY: pointers are to locals that the calls fill or read.
        unsafe {
            let asked = sys::cuMemGetAllocationGranularity(&mut granule, &properties, option);
            check("cuMemGetAllocationGranularity", asked)?;
        }
        let bytes = bytes.max(1).next_multiple_of(granule.max(1));
        // SAFETY: as above.
        unsafe {
            check("cuMemCreate", sys::cuMemCreate(&mut handle, bytes, &properties, 0))?;
            // From here on its end gives back what there is.
            let mut memory = Self { at: 0, bytes, handle: Some(handle), context: context.clone() };
            check("cuMemAddressReserve", sys::cuMemAddressReserve(&mut at, bytes, 0, 0, 0))?;
            if let Err(error) = check("cuMemMap", sys::cuMemMap(at, bytes, 0, handle, 0)) {
                let _ = sys::cuMemAddressFree(at, bytes);
                return Err(error);
            }
            memory.at = at;
            memory.set_access(sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE)?;
            Ok(memory)
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it.
    pub fn whole(&self) -> Secret {
        Secret { at: self.at, bytes: self.bytes }
    }

    /// A part of it.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Secret, DeviceError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        end.ok_or(DeviceError::OutOfBounds { bytes, room: self.bytes.saturating_sub(offset) })?;
        Ok(Secret { at: self.at + offset as u64, bytes })
    }

    /// Refuses every access, unmaps, and gives the memory back. The first error is told and ends it;
    /// what is left then goes with the process. [RST-3]
    pub fn revoke(mut self) -> Result<(), DeviceError> {
        self.context.bind()?;
        self.set_access(sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE)?;
        self.give_back()
    }

    fn set_access(&self, flags: sys::CUmemAccess_flags) -> Result<(), DeviceError> {
        let access = sys::CUmemAccessDesc { location: location(), flags };
        // SAFETY: the range is mapped, and the description is read during the call.
        check("cuMemSetAccess", unsafe { sys::cuMemSetAccess(self.at, self.bytes, &access, 1) })
    }

    fn give_back(&mut self) -> Result<(), DeviceError> {
        // SAFETY: each was made in `create` and is given back once; no work uses it any more.
        unsafe {
            if self.at != 0 {
                let at = std::mem::take(&mut self.at);
                check("cuMemUnmap", sys::cuMemUnmap(at, self.bytes))?;
                check("cuMemAddressFree", sys::cuMemAddressFree(at, self.bytes))?;
            }
            match self.handle.take() {
                Some(handle) => check("cuMemRelease", sys::cuMemRelease(handle)),
                None => Ok(()),
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Whoever drops it has erased it, or ends the context.
        let _ = self.context.bind();
        let _ = self.give_back();
    }
}

impl Secret {
    /// Its bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of it.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self, DeviceError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        end.ok_or(DeviceError::OutOfBounds { bytes, room: self.bytes.saturating_sub(offset) })?;
        Ok(Self { at: self.at + offset as u64, bytes })
    }

    pub(super) fn address(&self) -> u64 {
        self.at
    }

    /// Its address, for an in-process consumer's kernels: only under a lease that counts, and only
    /// until the permit ends under which it was lent. No call of ours takes an address back.
    pub fn danger_address(&self) -> u64 {
        self.at
    }
}

/// Device memory for what is public.
pub struct Open {
    at: u64,
    bytes: usize,
    context: Arc<Context>,
}

impl Open {
    /// So many bytes; what lies in them may be anybody's.
    pub fn allocate(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        context.bind()?;
        let (mut at, bytes) = (0, bytes.max(1));
        // SAFETY: the pointer is to a local that the call fills.
        check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&mut at, bytes) })?;
        Ok(Self { at, bytes, context: context.clone() })
    }

    /// All of it.
    pub fn whole(&self) -> Public {
        Public { at: self.at, bytes: self.bytes }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the memory is ours; the call waits for work that uses it.
            let _ = unsafe { sys::cuMemFree_v2(self.at) };
        }
    }
}

impl Public {
    /// Its bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of it.
    pub fn part(&self, offset: usize, bytes: usize) -> Result<Self, DeviceError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        end.ok_or(DeviceError::OutOfBounds { bytes, room: self.bytes.saturating_sub(offset) })?;
        Ok(Self { at: self.at + offset as u64, bytes })
    }

    pub(super) fn address(&self) -> u64 {
        self.at
    }
}

/// Memory of the host that the GPU copies from by itself.
pub struct Pinned {
    at: *mut u8,
    bytes: usize,
    context: Arc<Context>,
}

// SAFETY: the memory belongs to this value; access follows the usual rules of borrowing.
unsafe impl Send for Pinned {}
// SAFETY: as above.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// So many bytes, zeroed.
    pub fn allocate(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        context.bind()?;
        let (mut at, bytes) = (ptr::null_mut(), bytes.max(1));
        // SAFETY: the pointer is to a local that the call fills.
        check("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&mut at, bytes, 0) })?;
        // SAFETY: the driver gave so many bytes.
        unsafe { ptr::write_bytes(at.cast::<u8>(), 0, bytes) };
        Ok(Self { at: at.cast(), bytes, context: context.clone() })
    }

    /// Its bytes. No copy from them may be under way.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: allocated with so many bytes, initialised, and borrowed uniquely.
        unsafe { slice::from_raw_parts_mut(self.at, self.bytes) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: as above, shared.
        unsafe { slice::from_raw_parts(self.at, self.bytes) }
    }

    pub(super) fn at(&self, offset: usize, bytes: usize) -> Result<*const u8, DeviceError> {
        let end = offset.checked_add(bytes).filter(|end| *end <= self.bytes);
        end.ok_or(DeviceError::OutOfBounds { bytes, room: self.bytes.saturating_sub(offset) })?;
        Ok(self.bytes()[offset..].as_ptr())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.context.bind();
        self.bytes_mut().fill(0);
        // SAFETY: the memory came from the driver; no copy from it is under way, because its stream
        // was waited for or its context ended.
        let _ = unsafe { sys::cuMemFreeHost(self.at.cast()) };
    }
}

/// Of this GPU, and with no handle that another process could be given.
fn properties() -> sys::CUmemAllocationProp {
    sys::CUmemAllocationProp {
        type_: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        requestedHandleTypes: sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
        location: location(),
        win32HandleMetaData: ptr::null_mut(),
        allocFlags: sys::CUmemAllocationProp_st__bindgen_ty_1 {
            compressionType: 0,
            gpuDirectRDMACapable: 0,
            usage: 0,
            reserved: [0; 4],
        },
    }
}

fn location() -> sys::CUmemLocation {
    sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: 0 }
}
