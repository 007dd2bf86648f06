//! Replays every corpus file and every regression on stable, one test per target.

use std::fs;
use std::path::Path;

use split_custody_fuzz_bodies as bodies;

macro_rules! targets {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target), bodies::$target::run);
        }
    )*};
}

targets! {
    wire_decode
    wire_mutate
    sealed_open
    safetensors_header
    software_evidence
    nvidia_report
    nvidia_chain
    nvidia_rim
    custodian_machine
    device_machine
}

fn replay(target: &str, run: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let corpus = files(&root.join("corpus").join(target));
    assert!(!corpus.is_empty(), "no corpus for `{target}`");
    let regressions = files(&root.join("regressions").join(target));
    for file in corpus.into_iter().chain(regressions) {
        // A failing test prints its output, and so the file.
        println!("{}", file.display());
        run(&fs::read(&file).expect("it was listed"));
    }
}

/// The files of a folder in a fixed order; none where there is no folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.is_file() && path.file_name().is_some_and(|n| n != ".gitkeep"))
        .collect();
    files.sort();
    files
}
