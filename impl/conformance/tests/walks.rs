//! Random walks through every slice.
use split_custody_conformance::Lockstep;
use split_custody_model_check::slice::{Scope, slices};
use split_custody_model_check::world::Facts;

#[test]
fn walks() {
    let mut seed: u64 = 1;
    for slice in slices().into_iter().filter(|s| s.scope == Scope::Smoke) {
        for _ in 0..20 {
            let config = slice.config(Facts::default());
            let mut lockstep = Lockstep::begin(&config, slice.recorded(&config))
                .unwrap_or_else(|d| panic!("{}: {d}", slice.name));
            for _ in 0..60 {
                let actions = lockstep.actions();
                if actions.is_empty() {
                    break;
                }
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let action = actions[(seed >> 33) as usize % actions.len()];
                lockstep.step(action).unwrap_or_else(|d| panic!("{}: {d}", slice.name));
            }
        }
    }
}
