//! The driver of an NVIDIA GPU: the prebuilt kernels, loaded through the driver's own library.
//!
//! The library is looked for when [`gpu`] is called; a machine without it gets one clear error. No
//! toolkit is needed, to build or to run. Plaintext and secrets come back to the host where a test
//! asks for them, as with every driver (see [`crate::device`]).

#![allow(unsafe_code)]

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUfunction_attribute_enum};
use cudarc::driver::{CudaContext, DriverError, result};

use crate::device::{DeviceBackend, DeviceError, Driver, Launch, Mapping, Tables};
use crate::prebuilt;

/// The first GPU as a backend.
pub fn gpu() -> Result<DeviceBackend<Gpu>, DeviceError> {
    Gpu::open().map(DeviceBackend::new)
}

/// The first GPU with another mapping of chunks to warps; only some have the kernels for it.
pub fn gpu_with(mapping: Mapping) -> Result<DeviceBackend<Gpu>, DeviceError> {
    Gpu::open().map(|gpu| DeviceBackend::with_mapping(gpu, mapping))
}

/// A GPU with the kernels loaded.
pub struct Gpu {
    context: Arc<CudaContext>,
    module: Module,
    tables: Tables,
    code: &'static str,
    blocks: u32,
}

/// A module of a context; unloaded on drop.
struct Module(sys::CUmodule, Arc<CudaContext>);

// SAFETY: a module is a handle of the driver, whose calls may come from any thread that has bound
// the context; every use here binds it first.
unsafe impl Send for Module {}
// SAFETY: as above; the driver locks its own tables.
unsafe impl Sync for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        if self.1.bind_to_thread().is_ok() {
            // SAFETY: the handle is valid, and no kernel of it runs: every launch was waited for.
            let _ = unsafe { result::module::unload(self.0) };
        }
    }
}

impl Gpu {
    /// Opens the first GPU and loads the kernels that were built for it.
    pub fn open() -> Result<Self, DeviceError> {
        // SAFETY: it tries to open the driver's library and runs nothing of it.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::NoDriver); // the first call would panic
        }
        result::init().map_err(|e| refused("cuInit", e))?;
        let count = CudaContext::device_count().map_err(|e| refused("cuDeviceGetCount", e))?;
        if count == 0 {
            return Err(DeviceError::NoGpu);
        }
        let context = CudaContext::new(0).map_err(|e| refused("cuDevicePrimaryCtxRetain", e))?;
        let (major, minor) =
            context.compute_capability().map_err(|e| refused("cuDeviceGetAttribute", e))?;
        let image = prebuilt::image(major, minor).ok_or(DeviceError::NoKernels { major, minor })?;
        let attribute =
            |what| context.attribute(what).map_err(|e| refused("cuDeviceGetAttribute", e));
        let blocks = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        // Text has to end with a zero byte; a cubin knows its own length.
        let bytes = [image.bytes, &[0]].concat();
        // SAFETY: the bytes are a whole cubin or a text that ends; the driver copies what it keeps.
        let module = unsafe { result::module::load_data(bytes.as_ptr().cast()) }
            .map_err(|e| refused("cuModuleLoadData", e))?;
        Ok(Self {
            module: Module(module, context.clone()),
            context,
            tables: image.tables,
            code: image.gpu,
            blocks: u32::try_from(blocks).unwrap_or(1).max(1),
        })
    }

    /// The GPU's name.
    pub fn describe(&self) -> Result<String, DeviceError> {
        self.context.name().map_err(|e| refused("cuDeviceGetName", e))
    }

    /// Which of the prebuilt kernels run on it; [`prebuilt::measurement`] has their digest.
    pub fn code(&self) -> &'static str {
        self.code
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.context.bind_to_thread().map_err(|e| refused("cuCtxSetCurrent", e))
    }

    fn try_launch(&self, launch: &Launch, args: &[u8]) -> Result<(), DriverError> {
        self.context.bind_to_thread()?;
        let name = CString::new(launch.kernel).unwrap_or_default();
        // Aligned as the kernel's struct is.
        let mut aligned = vec![0u64; args.len().div_ceil(8)];
        for (word, bytes) in aligned.iter_mut().zip(args.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
        let mut params = [aligned.as_mut_ptr().cast::<c_void>()];
        let dynamic = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the module is loaded. The kernel takes one struct, of which `args` has every byte
        // (the shim's tests compare sizes), and what it points to is memory of this context with the
        // lengths that stand beside it. The stream is the default one, waited for before anything is
        // freed.
        unsafe {
            let function = result::module::get_function(self.module.0, name)?;
            result::function::set_function_attribute(function, dynamic, launch.shared as i32)?;
            let (blocks, threads) = ((launch.blocks, 1, 1), (launch.threads, 1, 1));
            let stream = result::stream::null();
            result::launch_kernel(function, blocks, threads, launch.shared, stream, &mut params)?;
            result::stream::synchronize(stream)
        }
    }
}

/// Memory of a context, zeroed before it is given back.
pub struct GpuMemory {
    at: sys::CUdeviceptr,
    bytes: usize,
    context: Arc<CudaContext>,
}

impl Drop for GpuMemory {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: the memory is ours, has this many bytes, and no kernel that uses it runs. After
            // a trap both calls fail, and the context's end takes the memory.
            unsafe {
                let _ = result::memset_d8_sync(self.at, 0, self.bytes);
                let _ = result::free_sync(self.at);
            }
        }
    }
}

impl Driver for Gpu {
    type Memory = GpuMemory;

    fn name(&self) -> &'static str {
        "cuda"
    }

    fn tables(&self) -> Tables {
        self.tables
    }

    fn blocks(&self) -> u32 {
        self.blocks
    }

    fn allocate(&self, bytes: usize) -> Result<GpuMemory, DeviceError> {
        self.bind()?;
        let bytes = bytes.max(1);
        // SAFETY: a context is bound; the result is owned by the value made from it.
        let at = unsafe { result::malloc_sync(bytes) }.map_err(|e| refused("cuMemAlloc", e))?;
        let memory = GpuMemory { at, bytes, context: self.context.clone() };
        // What lies there may be anybody's; and a status that no kernel wrote must not be a pass.
        // SAFETY: the memory has this many bytes.
        unsafe { result::memset_d8_sync(at, 0, bytes) }.map_err(|e| refused("cuMemsetD8", e))?;
        Ok(memory)
    }

    fn address(&self, memory: &GpuMemory) -> u64 {
        memory.at
    }

    fn write(&self, memory: &mut GpuMemory, bytes: &[u8]) -> Result<(), DeviceError> {
        check_fits(bytes.len(), memory.bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: both sides have at least this many bytes, and the call ends when the copy has.
        unsafe { result::memcpy_htod_sync(memory.at, bytes) }
            .map_err(|e| refused("cuMemcpyHtoD", e))
    }

    fn read(&self, memory: &GpuMemory, out: &mut [u8]) -> Result<(), DeviceError> {
        check_fits(out.len(), memory.bytes)?;
        if out.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: as for `write`.
        unsafe { result::memcpy_dtoh_sync(out, memory.at) }.map_err(|e| refused("cuMemcpyDtoH", e))
    }

    fn launch(&self, launch: &Launch, args: &[u8]) -> Result<(), DeviceError> {
        let kernel = launch.kernel;
        self.try_launch(launch, args)
            .map_err(|error| DeviceError::Kernel { kernel, reason: reason(&error) })
    }
}

fn check_fits(bytes: usize, room: usize) -> Result<(), DeviceError> {
    if bytes <= room { Ok(()) } else { Err(DeviceError::OutOfBounds { bytes, room }) }
}

fn refused(call: &'static str, error: DriverError) -> DeviceError {
    DeviceError::Driver { call, reason: reason(&error) }
}

fn reason(error: &DriverError) -> String {
    error.error_string().map_or_else(|_| format!("{error:?}"), |text| text.to_string_lossy().into())
}
