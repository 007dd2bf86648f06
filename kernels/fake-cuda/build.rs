//! Compiles the kernels' text for the CPU, and names the library as programs look for it.

fn main() {
    for path in ["build.rs", "gpu", "../cu", "../shim"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .file("gpu/kernels.cpp")
        .define("SC_SHIM_PREFIX", "sc_fake")
        .define("SC_TABLES", "4")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .flag("-Wno-unknown-pragmas")
        .cargo_metadata(false)
        .compile("sc_fake");
    // The program has the kernels; the library must not.
    let folder = std::env::var("OUT_DIR").expect("cargo names an output folder");
    println!("cargo::rustc-link-arg-bin=fake-gpu={folder}/libsc_fake.a");
    println!("cargo::rustc-link-arg-bin=fake-gpu=-lstdc++");
}
