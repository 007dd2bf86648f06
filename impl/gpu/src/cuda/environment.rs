//! What in the environment would let others read the GPU through the driver, before it is opened.
//!
//! Chapter 70. Core dumps of the GPU, code that the driver loads into this process, debuggers: each is
//! refused by name. It does not stop root. [RST-12]

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// A variable of the environment.
    Variable(String),
    /// A process that traces this one.
    Traced(u32),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => {
                write!(f, "environment variable `{name}` lets others read device memory: unset it")
            }
            Self::Traced(pid) => write!(f, "process {pid} traces this one: detach it"),
        }
    }
}

/// Looks at this process.
pub(super) fn check() -> Result<(), Refused> {
    for (name, value) in std::env::vars_os() {
        if is_refused(&name, &value) {
            return Err(Refused::Variable(name.to_string_lossy().into_owned()));
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match tracer(&status) {
        0 => Ok(()),
        pid => Err(Refused::Traced(pid)),
    }
}

fn is_refused(name: &OsStr, value: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    match name {
        // Our own interposer is what a process with foreign code should have.
        "LD_PRELOAD" => std::env::split_paths(value).any(|path| !is_interposer(&path)),
        _ => REFUSED.iter().any(|prefix| name.starts_with(prefix)),
    }
}

fn is_interposer(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.file_name() == Some(OsStr::new(INTERPOSER))
}

fn tracer(status: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

/// The file name of the interposer.
const INTERPOSER: &str = "libsplit_custody_interposer.so";

/// Beginnings of names.
const REFUSED: [&str; 9] = [
    "CUDA_ENABLE_COREDUMP",
    "CUDA_ENABLE_CPU_COREDUMP",
    "CUDA_ENABLE_LIGHTWEIGHT_COREDUMP",
    "CUDA_ENABLE_USER_TRIGGERED_COREDUMP",
    "CUDA_COREDUMP",
    "CUDA_INJECTION",
    "NVTX_INJECTION",
    "CUDBG_",
    "LD_AUDIT",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> bool {
        is_refused(OsStr::new(name), OsStr::new(value))
    }

    #[test]
    fn rst_12_variables_that_open_device_memory_are_refused() {
        for name in [
            "CUDA_ENABLE_COREDUMP_ON_EXCEPTION",
            "CUDA_ENABLE_USER_TRIGGERED_COREDUMP",
            "CUDA_COREDUMP_FILE",
            "CUDA_INJECTION64_PATH",
            "NVTX_INJECTION64_PATH",
            "CUDBG_APICLIENT_PID",
            "LD_AUDIT",
        ] {
            assert!(refused(name, "x"), "{name}");
        }
        for name in ["CUDA_VISIBLE_DEVICES", "PATH", "LD_LIBRARY_PATH"] {
            assert!(!refused(name, "x"), "{name}");
        }
    }

    #[test]
    fn rst_12_only_our_interposer_may_be_preloaded() {
        assert!(!refused("LD_PRELOAD", "/usr/lib/libsplit_custody_interposer.so"));
        assert!(!refused("LD_PRELOAD", ""));
        assert!(refused("LD_PRELOAD", "/tmp/hook.so"));
        assert!(refused("LD_PRELOAD", "/usr/lib/libsplit_custody_interposer.so:/tmp/hook.so"));
    }

    #[test]
    fn rst_12_a_tracer_is_seen() {
        assert_eq!(tracer("Name:\tx\nTracerPid:\t4711\n"), 4711);
        assert_eq!(tracer("Name:\tx\nTracerPid:\t0\n"), 0);
    }
}
