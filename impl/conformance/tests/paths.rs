//! The implementation, led along the model's paths: every row of the state tables, in real bytes.

use std::path::PathBuf;

use split_custody_conformance::{Lockstep, Tally};
use split_custody_model_check::paths::{Path, read};

fn paths() -> Vec<(String, Path)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../model-check/paths");
    read(&folder).expect("the folder of the paths")
}

/// Every path, in the model and in the implementation at once.
#[test]
fn every_path_is_taken_by_the_implementation_as_by_the_model() {
    let mut all = Tally::default();
    for (name, path) in paths() {
        let (config, world) = path.begin().expect("a path names a slice");
        let mut lockstep =
            Lockstep::begin(&config, world).unwrap_or_else(|parted| panic!("{name}: {parted}"));
        for action in &path.actions {
            assert!(lockstep.actions().contains(action), "{name}: {action:?} is not enabled");
            lockstep.step(*action).unwrap_or_else(|parted| panic!("{name}: {parted}"));
        }
        all = all.with(lockstep.tally);
    }
    assert!(all.frames > 300 && all.refusals > 30, "{all:?} compares too little");
    println!("{all:?}");
}
