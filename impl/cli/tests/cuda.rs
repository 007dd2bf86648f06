//! `--gpu cuda`: the whole path on the fake driver, and one line where there is nothing to run it on.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{json, stderr};

/// The folder with the fake driver, built by the script that a person uses.
fn driver() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kernels/fake-driver");
    let built = Command::new(script).output().expect("the script runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    PathBuf::from(String::from_utf8(built.stdout).expect("a path").trim())
}

fn demo(driver: &Path, more: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["demo", "--gpu", "cuda"]).args(more).stdin(Stdio::null());
    command.env("LD_LIBRARY_PATH", driver).envs(variables.iter().copied());
    command.output().expect("the command runs")
}

/// One line on stderr, with this exit code.
#[track_caller]
fn one_line(output: &Output, code: i32, said: &str) {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(line.contains(said) && line.lines().count() == 1, "{line}");
}

#[test]
fn rst_13_the_demo_on_the_fake_driver_passes_every_check() {
    let output = demo(&driver(), &["--json"], &[]);
    let report = json(&output);
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["failed"], 0);
    let checks = report["checks"].as_array().expect("checks");
    for id in [
        "tensors-equal",
        "scan-device",
        "scan-gpu",
        "gpu-wiped",
        "host-read-resets",
        "re-attested",
        "read-calls-refused",
        "read-calls-zero",
        "tensors-equal-after",
        "revoked-refused",
        "replay",
    ] {
        let check = checks.iter().find(|check| check["id"] == id);
        assert!(check.is_some_and(|check| check["pass"] == true), "{id}: {report:#}");
    }
}

#[test]
fn without_a_driver_there_is_one_line_and_exit_code_3() {
    if std::path::Path::new("/proc/driver/nvidia").exists() {
        println!("NOT RUN: this machine has an NVIDIA driver");
        return;
    }
    let nowhere = Path::new("/nonexistent");
    one_line(&demo(nowhere, &[], &[]), 3, "--gpu cuda: no NVIDIA driver on this machine");
}

#[test]
fn without_a_gpu_that_fits_there_is_one_line_and_exit_code_3() {
    let driver = driver();
    let none = demo(&driver, &[], &[("FAKE_CUDA_DEVICES", "0")]);
    one_line(&none, 3, "--gpu cuda: no GPU on this machine");
    let old = demo(&driver, &[], &[("FAKE_CUDA_CAPABILITY", "7.5")]);
    one_line(&old, 3, "--gpu cuda: no kernels for compute capability 7.5");
    let small = demo(&driver, &[], &[("FAKE_CUDA_MEMORY_MB", "4")]);
    one_line(&small, 3, "--gpu cuda: not enough device memory");
}

#[test]
fn rst_12_an_environment_that_opens_device_memory_is_refused() {
    let driver = driver();
    let dumps = demo(&driver, &[], &[("CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "1")]);
    one_line(&dumps, 1, "`CUDA_ENABLE_COREDUMP_ON_EXCEPTION` lets others read device memory");
    let injected = demo(&driver, &[], &[("CUDA_INJECTION64_PATH", "/tmp/x.so")]);
    one_line(&injected, 1, "`CUDA_INJECTION64_PATH` lets others read device memory");
}
