//! A context of our own on the first GPU, with the kernels in it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum};

use crate::device::{DeviceError, Launch, Tables};
use crate::prebuilt;
use crate::resident::stream::Stream;

/// What a GPU says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Which of the prebuilt kernels run on it; [`prebuilt::measurement`] has their digest.
    pub code: &'static str,
}

/// A context: what is done in it does not touch another of this process, and its end ends all of it.
pub struct Context {
    raw: sys::CUcontext,
    module: sys::CUmodule,
    functions: BTreeMap<&'static str, sys::CUfunction>,
    tables: Tables,
    facts: Facts,
}

// SAFETY: handles of the driver, whose calls may come from any thread that has made the context
// current; every call here does that first.
unsafe impl Send for Context {}
// SAFETY: as above; the driver locks its own tables.
unsafe impl Sync for Context {}

impl Context {
    /// Opens the first GPU. Asks for the driver first: without one, the first call would panic.
    pub fn open() -> Result<Arc<Self>, DeviceError> {
        // SAFETY: it tries to open the driver's library and runs nothing of it.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver);
        }
        // SAFETY: the calls before a context, each with a pointer to a local of the type it fills.
        let (raw, facts, image) = unsafe {
            match sys::cuInit(0) {
                sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(DeviceError::NoGpu),
                result => check("cuInit", result)?,
            }
            let (mut count, mut device, mut raw) = (0, 0, std::ptr::null_mut());
            check("cuDeviceGetCount", sys::cuDeviceGetCount(&mut count))?;
            if count == 0 {
                return Err(DeviceError::NoGpu);
            }
            check("cuDeviceGet", sys::cuDeviceGet(&mut device, 0))?;
            let (facts, image) = facts_of(device)?;
            let created = sys::cuCtxCreate_v4(&mut raw, std::ptr::null_mut(), 0, device);
            check("cuCtxCreate", created)?;
            (raw, facts, image)
        };
        let tables = image.tables;
        // From here on its end destroys the context.
        let (module, functions) = (std::ptr::null_mut(), BTreeMap::new());
        let mut context = Self { raw, module, functions, tables, facts };
        context.load(image.bytes)?;
        Ok(Arc::new(context))
    }

    /// What the GPU says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many blocks a launch that loops should have: one for each multiprocessor.
    pub(super) fn blocks(&self) -> u32 {
        self.facts.multiprocessors
    }

    pub(super) fn tables(&self) -> Tables {
        self.tables
    }

    /// Free bytes of device memory.
    pub fn free_memory(&self) -> Result<u64, DeviceError> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: both pointers are to locals that the call fills.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok(free as u64)
    }

    /// Makes the context current on this thread.
    pub(super) fn bind(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as this value.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.raw) })
    }

    /// Puts a kernel at the end of a stream. Its arguments are copied now.
    pub(super) fn launch(
        &self,
        stream: &Stream,
        launch: &Launch,
        args: &[u8],
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let kernel = launch.kernel;
        let function = self.functions.get(kernel).copied();
        let failed = |reason: &str| DeviceError::Kernel { kernel, reason: reason.into() };
        let function = function.ok_or_else(|| failed("no such kernel"))?;
        // Aligned as the kernel's struct is.
        let mut aligned = vec![0u64; args.len().div_ceil(8)];
        for (word, bytes) in aligned.iter_mut().zip(args.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
        let mut params = [aligned.as_mut_ptr().cast::<c_void>()];
        let (blocks, threads, none) = (launch.blocks, launch.threads, std::ptr::null_mut());
        // SAFETY: the kernel takes one struct, of which `args` has every byte (the shim's tests
        // compare sizes); what it points to is memory of this context, with the lengths beside it,
        // and lives until the stream was waited for: every caller does so before it lets go.
        let launched = unsafe {
            let (at, raw, shared) = (params.as_mut_ptr(), stream.raw(), launch.shared);
            sys::cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, raw, at, none)
        };
        check("cuLaunchKernel", launched).map_err(|error| failed(&error.to_string()))
    }

    /// Ends the context: every later call in it fails. The last resort. [RST-3]
    pub fn trap(self: &Arc<Self>) -> Result<(), DeviceError> {
        let stream = Stream::new(self)?;
        let launch = Launch { kernel: "sc_trap", blocks: 1, threads: 32, shared: 0 };
        self.launch(&stream, &launch, &[0; 8])?;
        match stream.finish() {
            Err(_) => Ok(()), // which is what a trap does
            Ok(()) => Err(DeviceError::Kernel { kernel: "sc_trap", reason: "it returned".into() }),
        }
    }

    fn load(&mut self, image: &[u8]) -> Result<(), DeviceError> {
        self.bind()?;
        // Text has to end with a zero byte; a cubin knows its own length.
        let image = [image, &[0]].concat();
        let dynamic = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        for (kernel, shared) in super::operations::KERNELS {
            let shared = if shared == u32::MAX { self.tables.shared() } else { shared };
            let name = CString::new(kernel).unwrap_or_default();
            let mut function = std::ptr::null_mut();
            // SAFETY: the image is whole and ends as the driver wants it; names end with a zero byte;
            // pointers are to locals or fields that the calls fill.
            unsafe {
                if self.module.is_null() {
                    let loaded = sys::cuModuleLoadData(&mut self.module, image.as_ptr().cast());
                    check("cuModuleLoadData", loaded)?;
                }
                let found = sys::cuModuleGetFunction(&mut function, self.module, name.as_ptr());
                check("cuModuleGetFunction", found)?;
                let set = sys::cuFuncSetAttribute(function, dynamic, shared as i32);
                check("cuFuncSetAttribute", set)?;
            }
            self.functions.insert(kernel, function);
        }
        Ok(())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: both were made by `open`, and nothing that belongs to the context outlives it: each
        // holds the context. After a trap the first call fails and the second takes everything.
        unsafe {
            if !self.module.is_null() && self.bind().is_ok() {
                let _ = sys::cuModuleUnload(self.module);
            }
            let _ = sys::cuCtxDestroy_v2(self.raw);
        }
    }
}

/// # Safety
/// After `cuInit`; the device is one that the driver named.
unsafe fn facts_of(device: i32) -> Result<(Facts, prebuilt::Image), DeviceError> {
    let attribute = |what| {
        let mut value = 0;
        // SAFETY: the pointer is to a local that the call fills.
        let found = unsafe { sys::cuDeviceGetAttribute(&mut value, what, device) };
        check("cuDeviceGetAttribute", found).map(|()| value)
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let image = prebuilt::image(major, minor).ok_or(DeviceError::NoKernels { major, minor })?;
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let (mut name, mut memory) = ([0 as std::ffi::c_char; 128], 0usize);
    // SAFETY: both pointers are to locals, with the length that the call is told.
    let name = unsafe {
        check("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr(), 128, device))?;
        check("cuDeviceTotalMem", sys::cuDeviceTotalMem_v2(&mut memory, device))?;
        name[127] = 0;
        CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
    };
    let facts = Facts {
        name,
        capability: (major, minor),
        multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
        memory: memory as u64,
        code: image.gpu,
    };
    Ok((facts, image))
}

/// Turns a result of the driver into an error that names the call.
pub(super) fn check(call: &'static str, result: sys::CUresult) -> Result<(), DeviceError> {
    match result {
        sys::CUresult::CUDA_SUCCESS => Ok(()),
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Err(DeviceError::OutOfMemory),
        result => {
            let error = cudarc::driver::DriverError(result);
            let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
            let reason = text.unwrap_or_else(|_| format!("{error:?}"));
            Err(DeviceError::Driver { call, reason })
        }
    }
}
