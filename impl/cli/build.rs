//! Masks the demo's model before it is linked.
//!
//! Every process of the demo runs this binary, and the owner scans their memory for plaintext: the
//! model must not lie there in clear because it was linked. The mask hides nothing from anybody.

use std::env;
use std::fs;
use std::path::Path;

const MODEL: &str = "models/silero_vad_16k.safetensors";

fn main() {
    println!("cargo:rerun-if-changed={MODEL}");
    println!("cargo:rerun-if-changed=src/demo/mask.rs");
    if env::var_os("CARGO_FEATURE_DEMO").is_none() {
        return;
    }
    let mut model = fs::read(MODEL).expect("the demo's model is in the repository");
    mask::apply(&mut model);
    let folder = env::var("OUT_DIR").expect("cargo names an output folder");
    fs::write(Path::new(&folder).join("model.masked"), model).expect("the output folder is ours");
}

#[path = "src/demo/mask.rs"]
mod mask;
