//! Builds the CPU shim when the feature asks for it. A missing g++ is an error, never a skip.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "shim")]
    shim::build();
}

#[cfg(feature = "shim")]
mod shim {
    /// The two layouts of tables: that of large GPUs, and that of small ones.
    const VARIANTS: [(&str, &str); 2] = [("sc_shim", "4"), ("sc_shim_one_table", "1")];

    pub fn build() {
        println!("cargo::rerun-if-changed=cu");
        println!("cargo::rerun-if-changed=shim");
        for (prefix, tables) in VARIANTS {
            cc::Build::new()
                .cpp(true)
                .std("c++17")
                .opt_level(2)
                .file("shim/kernels.cpp")
                .define("SC_SHIM_PREFIX", prefix)
                .define("SC_TABLES", tables)
                .warnings(true)
                .extra_warnings(true)
                .warnings_into_errors(true)
                .flag("-Wno-unknown-pragmas")
                .compile(prefix);
        }
    }
}
