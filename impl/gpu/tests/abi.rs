//! The C ABI and DLPack, on the fake driver, as a consumer in the process calls them.

mod common;

use std::ffi::{CString, c_void};
use std::path::Path;
use std::process::Command;
use std::ptr;

use common::fake::{Fake, gpu_process};
use common::{Model, Owner, clean};
use split_custody_gpu::GpuDevice;
use split_custody_gpu::cuda::CudaDevice;
use split_custody_gpu::cuda::abi::{
    DlManagedTensor, free_abi, sc_borrow, sc_borrow_dlpack, sc_device, sc_read, sc_return,
    sc_tensor,
};
use split_custody_gpu::scan::{Needle, scan_process};

const NO_LEASE: i32 = 1;
const TAINTED: i32 = 2;
const NO_TENSOR: i32 = 3;
const BAD_ARGUMENT: i32 = 4;
const DENIED: i32 = 6;

fn empty() -> sc_tensor {
    sc_tensor { address: 0, bytes: 0, loan: ptr::null_mut() }
}

fn borrow(device: *const sc_device, name: &str, tensor: &mut sc_tensor) -> i32 {
    let name = CString::new(name).unwrap();
    // SAFETY: a live device, a name with its zero byte, a tensor of ours.
    unsafe { sc_borrow(device, name.as_ptr(), tensor) }
}

fn served(fake: &Fake, model: &Model) -> CudaDevice {
    let device = fake.device(&Owner::new());
    clean(&device);
    model.load(&device).unwrap();
    device
}

#[test]
fn lea_2_the_c_abi_lends_only_under_a_lease() {
    let (fake, model) = (Fake::begin(), Model::of_sizes(&[4096]));
    let device = served(&fake, &model);
    let handle = device.clone().into_abi();
    let mut tensor = empty();
    assert_eq!(borrow(handle, "size-4096-0", &mut tensor), NO_LEASE);
    device.lease(|| true);
    assert_eq!(borrow(handle, "no such tensor", &mut tensor), NO_TENSOR);
    assert_eq!(borrow(ptr::null(), "size-4096-0", &mut tensor), BAD_ARGUMENT);
    assert_eq!(borrow(handle, "size-4096-0", &mut tensor), 0);
    assert!(tensor.address.is_multiple_of(256) && tensor.address != 0 && tensor.bytes == 4096);
    // SAFETY: lent above; the second is of one that was taken back.
    unsafe {
        sc_return(&mut tensor);
        sc_return(&mut tensor);
        sc_return(ptr::null_mut());
    }
    assert!(tensor.loan.is_null() && tensor.address == 0);
    // Taken back, it does not hold up a trip.
    let name = CString::new("size-4096-0").unwrap();
    let mut out = [7u8; 16];
    // SAFETY: as above; nothing is written.
    let read = unsafe { sc_read(handle, name.as_ptr(), out.as_mut_ptr().cast(), 16) };
    assert_eq!((read, out), (DENIED, [7; 16]));
    let trip = device.last_trip().unwrap();
    assert!(trip.scrubbed && !trip.failed(), "{trip:?}");
    assert_eq!(borrow(handle, "size-4096-0", &mut tensor), TAINTED);
    // SAFETY: every loan was taken back.
    unsafe { free_abi(handle) };
}

#[test]
fn lea_2_dlpack_describes_the_tensor_and_its_deleter_takes_it_back() {
    let (fake, model) = (Fake::begin(), Model::real());
    let device = served(&fake, &model);
    device.lease(|| true);
    let handle = device.clone().into_abi();
    for expected in model.tensors() {
        let name = CString::new(expected.name.clone()).unwrap();
        let mut managed: *mut DlManagedTensor = ptr::null_mut();
        // SAFETY: live pointers; what comes back is ours until its deleter is called.
        unsafe {
            assert_eq!(sc_borrow_dlpack(handle, name.as_ptr(), &mut managed), 0, "{expected:?}");
            let tensor = &(*managed).tensor;
            assert_eq!((tensor.device_type, tensor.device_id, tensor.lanes), (2, 0, 1));
            let shape = std::slice::from_raw_parts(tensor.shape, tensor.ndim as usize);
            assert!(shape.iter().zip(&expected.shape).all(|(a, b)| *a as u64 == *b));
            assert_eq!(shape.len(), expected.shape.len());
            let bits = shape.iter().product::<i64>() as u64 * u64::from(tensor.bits);
            assert_eq!(bits, 8 * expected.length);
            assert!(tensor.strides.is_null() && tensor.byte_offset == 0);
            ((*managed).deleter.unwrap())(managed);
        }
    }
    // Nothing is lent any more, so a trip finds a quiet gate.
    device.trip(split_custody_gpu::cuda::Reason::Read);
    assert!(!device.last_trip().unwrap().failed());
    // SAFETY: every loan was taken back.
    unsafe { free_abi(handle) };
}

#[test]
fn lea_5_when_leases_end_what_is_lent_is_zero() {
    let (fake, model) = (Fake::begin(), Model::of_sizes(&[300_000]));
    let device = served(&fake, &model);
    device.lease(|| true);
    let handle = device.clone().into_abi();
    let needle = || [Needle::new("plaintext", model.bytes("size-300000-0"))];
    let lies_there = || !scan_process(gpu_process(), &needle()).unwrap().findings.is_empty();
    let mut tensor = empty();
    assert_eq!(borrow(handle, "size-300000-0", &mut tensor), 0);
    assert!(lies_there());
    // What the device machine has done when fewer than k leases count, while the consumer still holds on.
    device.erase_model().unwrap();
    assert!(!lies_there());
    assert_eq!(borrow(handle, "size-300000-0", &mut empty()), NO_TENSOR);
    // SAFETY: lent above; afterwards every loan was taken back.
    unsafe {
        sc_return(&mut tensor);
        free_abi(handle);
    }
}

/// The header is C, and its struct is ours.
#[test]
fn the_header_compiles_as_c_and_as_cpp_and_has_our_layout() {
    let folder = tempfile::TempDir::new().unwrap();
    let source = folder.path().join("consumer.c");
    let layout = format!(
        "#include \"split_custody.h\"\n#include <assert.h>\n\
         static_assert(sizeof(sc_tensor) == {}, \"size\");\n\
         static_assert(offsetof(sc_tensor, loan) == {}, \"place\");\n\
         int32_t use(const sc_device *d) {{ sc_tensor t; int32_t r = sc_borrow(d, \"w\", &t); \
         if (r == SC_OK) sc_return(&t); return r; }}\n",
        size_of::<sc_tensor>(),
        std::mem::offset_of!(sc_tensor, loan),
    );
    std::fs::write(&source, layout).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    for compiler in [&["gcc", "-std=c11"], &["g++", "-xc++"]] {
        let output = Command::new(compiler[0])
            .args([compiler[1], "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(&include)
            .arg(&source)
            .output()
            .expect("the tests need gcc and g++");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let _: *const c_void = ptr::null();
}
