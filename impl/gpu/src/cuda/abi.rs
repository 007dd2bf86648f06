//! The C side of `consumer`: `include/split_custody.h` is its documentation.
//!
//! Chapters 50 and 70. A loan is a use that the gate counts, until it is taken back. DLPack is version
//! 0.8: a `DLManagedTensor` on device type `kDLCUDA`.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use crate::cuda::consumer::{Loan, NotLent};
use crate::cuda::device::CudaDevice;
use crate::error::GpuError;

/// What C code holds: a device of this process.
#[allow(non_camel_case_types)]
pub struct sc_device(CudaDevice);

/// A tensor, lent to C code.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Debug)]
pub struct sc_tensor {
    /// Its place in device memory.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What counts it; null once it was taken back.
    pub loan: *mut c_void,
}

/// `DLTensor`.
#[repr(C)]
#[derive(Debug)]
pub struct DlTensor {
    /// Device memory.
    pub data: *mut c_void,
    /// `kDLCUDA`.
    pub device_type: i32,
    /// The first GPU.
    pub device_id: i32,
    /// Dimensions.
    pub ndim: i32,
    /// Code of the type: 0 signed, 1 unsigned, 2 float, 4 bfloat, 6 bool.
    pub code: u8,
    /// Bits of the type.
    pub bits: u8,
    /// Always 1.
    pub lanes: u16,
    /// `ndim` of them.
    pub shape: *mut i64,
    /// Null: row by row, without gaps.
    pub strides: *mut i64,
    /// Always 0.
    pub byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
#[derive(Debug)]
pub struct DlManagedTensor {
    /// The tensor.
    pub tensor: DlTensor,
    /// What counts it.
    pub manager: *mut c_void,
    /// Takes it back.
    pub deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}

/// What a managed tensor keeps alive.
struct Manager {
    shape: Vec<i64>,
    _loan: Loan,
}

impl CudaDevice {
    /// A handle for C code in this process. Whoever makes it frees it by [`free_abi`], after every loan.
    pub fn into_abi(self) -> *const sc_device {
        Box::into_raw(Box::new(sc_device(self)))
    }
}

/// Frees a handle.
///
/// # Safety
/// It came from [`CudaDevice::into_abi`], and nobody uses it from now on.
pub unsafe fn free_abi(device: *const sc_device) {
    // SAFETY: the caller says so.
    drop(unsafe { Box::from_raw(device.cast_mut()) });
}

/// Lends a tensor. [LEA-2]
///
/// # Safety
/// As `split_custody.h` says: the pointers are null or valid, the name ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sc_borrow(
    device: *const sc_device,
    name: *const c_char,
    tensor: *mut sc_tensor,
) -> i32 {
    // SAFETY: the caller's pointers.
    let (Some((device, name)), false) = (unsafe { arguments(device, name) }, tensor.is_null())
    else {
        return BAD_ARGUMENT;
    };
    match device.0.borrow_tensor(name) {
        Ok(loan) => {
            let (address, bytes) = (loan.address(), loan.bytes());
            let loan = Box::into_raw(Box::new(loan)).cast();
            // SAFETY: not null, so it is the caller's to write.
            unsafe { tensor.write(sc_tensor { address, bytes, loan }) };
            OK
        }
        Err(error) => code(&error),
    }
}

/// Takes a tensor back.
///
/// # Safety
/// As above; the tensor came from [`sc_borrow`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sc_return(tensor: *mut sc_tensor) {
    // SAFETY: null, or the caller's.
    let Some(tensor) = (unsafe { tensor.as_mut() }) else { return };
    let loan = std::mem::replace(&mut tensor.loan, ptr::null_mut());
    (tensor.address, tensor.bytes) = (0, 0);
    if !loan.is_null() {
        // SAFETY: a box that `sc_borrow` made, taken back once.
        drop(unsafe { Box::from_raw(loan.cast::<Loan>()) });
    }
}

/// Lends a tensor as DLPack has it. [LEA-2]
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sc_borrow_dlpack(
    device: *const sc_device,
    name: *const c_char,
    managed: *mut *mut DlManagedTensor,
) -> i32 {
    // SAFETY: the caller's pointers.
    let (Some((device, name)), false) = (unsafe { arguments(device, name) }, managed.is_null())
    else {
        return BAD_ARGUMENT;
    };
    let loan = match device.0.borrow_tensor(name) {
        Ok(loan) => loan,
        Err(error) => return code(&error),
    };
    let shape: Result<Vec<i64>, _> = loan.shape().iter().map(|d| i64::try_from(*d)).collect();
    let (Some((code, bits)), Ok(shape)) = (dtype(loan.dtype()), shape) else {
        return NOT_EXPRESSIBLE;
    };
    let (data, ndim) = (loan.address() as *mut c_void, shape.len() as i32);
    let manager = Box::into_raw(Box::new(Manager { shape, _loan: loan }));
    let tensor = DlTensor {
        data,
        device_type: DL_CUDA,
        device_id: 0,
        ndim,
        code,
        bits,
        lanes: 1,
        // SAFETY: just made; the vector stays where it is as long as the manager does.
        shape: unsafe { (*manager).shape.as_mut_ptr() },
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let made = DlManagedTensor { tensor, manager: manager.cast(), deleter: Some(delete) };
    // SAFETY: not null, so it is the caller's to write.
    unsafe { managed.write(Box::into_raw(Box::new(made))) };
    OK
}

/// There is no reading. [RST-13]
///
/// # Safety
/// As above; `out` is not touched.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sc_read(
    device: *const sc_device,
    name: *const c_char,
    _out: *mut c_void,
    _bytes: usize,
) -> i32 {
    // SAFETY: the caller's pointers.
    let Some((device, name)) = (unsafe { arguments(device, name) }) else { return BAD_ARGUMENT };
    device.0.read_to_host(name, &mut []);
    DENIED
}

/// # Safety
/// It is a tensor that [`sc_borrow_dlpack`] made, and this is called once.
unsafe extern "C" fn delete(managed: *mut DlManagedTensor) {
    if managed.is_null() {
        return;
    }
    // SAFETY: the caller says so; both boxes were made together.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager.cast::<Manager>()));
    }
}

/// # Safety
/// Null, or a device and a name that ends with a zero byte.
unsafe fn arguments<'a>(
    device: *const sc_device,
    name: *const c_char,
) -> Option<(&'a sc_device, &'a str)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, so the caller's.
    unsafe { Some((device.as_ref()?, CStr::from_ptr(name).to_str().ok()?)) }
}

fn code(error: &NotLent) -> i32 {
    match error {
        NotLent::NoLease => NO_LEASE,
        NotLent::Device(GpuError::NoModel | GpuError::NoSuchTensor { .. }) => NO_TENSOR,
        NotLent::Device(_) => TAINTED,
    }
}

/// Code and bits of a safetensors dtype; `None` where DLPack 0.8 has none.
fn dtype(name: &str) -> Option<(u8, u8)> {
    Some(match name {
        "F64" => (2, 64),
        "F32" => (2, 32),
        "F16" => (2, 16),
        "BF16" => (4, 16),
        "I64" => (0, 64),
        "I32" => (0, 32),
        "I16" => (0, 16),
        "I8" => (0, 8),
        "U64" => (1, 64),
        "U32" => (1, 32),
        "U16" => (1, 16),
        "U8" => (1, 8),
        "BOOL" => (6, 8),
        _ => return None,
    })
}

const DL_CUDA: i32 = 2;
const OK: i32 = 0;
const NO_LEASE: i32 = 1;
const TAINTED: i32 = 2;
const NO_TENSOR: i32 = 3;
const BAD_ARGUMENT: i32 = 4;
const NOT_EXPRESSIBLE: i32 = 5;
const DENIED: i32 = 6;
