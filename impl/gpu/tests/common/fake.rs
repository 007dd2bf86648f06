//! The CUDA driver in a test: the fake one, built, loaded into this process and made to fail; or, with
//! [`ON_GPU`], the one of this machine.

use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use split_custody_gpu::cuda::{CudaConfig, CudaDevice};

use super::{MIB, Owner};

/// Names the folder of the test programs on a machine with an NVIDIA GPU, where `kernels/on-gpu run`
/// takes those tests that need no fault and do not look into the GPU.
pub const ON_GPU: &str = "SPLIT_CUSTODY_ON_GPU";

/// Whether tests run on an NVIDIA GPU.
pub fn on_gpu() -> bool {
    std::env::var_os(ON_GPU).is_some()
}

/// The driver, for one test at a time: a process has one GPU.
pub struct Fake {
    _alone: MutexGuard<'static, ()>,
    library: *mut c_void,
}

impl Fake {
    /// A driver that has seen nothing yet, with a GPU of its own.
    pub fn begin() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match on_gpu() {
            true => PathBuf::from("libcuda.so.1"),
            false => folder().join("libcuda.so.1"),
        };
        let path = CString::new(name.to_str().unwrap()).unwrap();
        // The loader knows it by its name from now on, and so whoever asks for a driver gets it.
        // SAFETY: a library of ours, whose loading does nothing.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{} does not load", name.display());
        let fake = Self { _alone: alone, library };
        if on_gpu() {
            return fake;
        }
        let start_over: extern "C" fn() = fake.function("fake_cuda_start_over");
        start_over();
        fake
    }

    /// A device on it.
    pub fn device(&self, owner: &Owner) -> CudaDevice {
        CudaDevice::open(CudaConfig::new(owner.key(), 512 * MIB)).unwrap()
    }

    /// Makes calls fail, as `kernels/fake-cuda/src/fault.rs` writes it.
    pub fn fail(&self, faults: &str) {
        let fail: extern "C" fn(*const c_char) -> u32 = self.function("fake_cuda_fail");
        assert_eq!(fail(CString::new(faults).unwrap().as_ptr()), 0, "not faults: {faults}");
    }

    /// No faults from now on.
    pub fn heal(&self) {
        let heal: extern "C" fn() = self.function("fake_cuda_heal");
        heal();
    }

    /// How often a call was made. A driver of a GPU does not count, and says 0.
    pub fn count(&self, name: &str) -> u64 {
        if on_gpu() {
            return 0;
        }
        let count: extern "C" fn(*const c_char) -> u64 = self.function("fake_cuda_count");
        count(CString::new(name).unwrap().as_ptr())
    }

    /// A function of the driver, of whatever type the caller knows it to have.
    pub fn function<F: Copy>(&self, name: &str) -> F {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
        let text = CString::new(name).unwrap();
        // SAFETY: asks a loaded library for a symbol.
        let found = unsafe { libc::dlsym(self.library, text.as_ptr()) };
        assert!(!found.is_null(), "the fake driver has no `{name}`");
        // SAFETY: a function pointer of the type that `kernels/fake-cuda` or `cuda.h` gives it.
        unsafe { std::mem::transmute_copy(&found) }
    }
}

/// The GPU's process: whose standard input is a socket of ours.
pub fn gpu_process() -> u32 {
    let children =
        |task: PathBuf| std::fs::read_to_string(task.join("children")).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let pids: Vec<u32> = tasks
        .flat_map(|task| {
            let text = children(task.unwrap().path());
            text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
        })
        .collect();
    let is_gpu = |pid: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "fake-gpu"
    };
    let mut gpus = pids.into_iter().filter(is_gpu);
    let gpu = gpus.next().expect("the fake driver has started a GPU");
    assert_eq!(gpus.next(), None, "one GPU at a time");
    gpu
}

/// The folder with `libcuda.so.1`, built by the script that a person uses.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels/fake-driver");
        let built = Command::new(script).output().expect("the script runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
    })
}
