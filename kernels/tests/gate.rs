//! The gate under every interleaving of its atomics: no use begins after a trip, none is under way once
//! it is quiet, and what a use wrote is seen then. [RST-3]

// The file itself, with the model's atomics.
#[path = "../src/resident/gate.rs"]
mod gate;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

use gate::Gate;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Device memory, as far as the gate is concerned: whoever touches it unordered fails the model.
struct Memory {
    gate: Gate,
    bytes: UnsafeCell<u64>,
    uses: AtomicUsize,
}

fn opened() -> Arc<Memory> {
    let gate = Gate::tripped();
    assert!(gate.reopen());
    Arc::new(Memory { gate, bytes: UnsafeCell::new(0), uses: AtomicUsize::new(0) })
}

#[test]
fn rst_3_a_wipe_behind_a_quiet_gate_meets_no_use() {
    loom::model(|| {
        let memory = opened();
        let launch = {
            let memory = memory.clone();
            thread::spawn(move || {
                if let Some(permit) = memory.gate.enter() {
                    memory.bytes.with_mut(|bytes| unsafe { *bytes = 7 });
                    memory.uses.fetch_add(1, Ordering::Relaxed);
                    drop(permit);
                }
            })
        };
        memory.gate.trip();
        while !memory.gate.is_quiet() {
            thread::yield_now();
        }
        // The wipe: loom fails if a use can still touch the memory, or is not ordered before.
        memory.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
        launch.join().unwrap();
        memory.bytes.with(|bytes| assert_eq!(unsafe { *bytes }, 0, "written after the wipe"));
        assert!(memory.gate.enter().is_none());
    });
}

#[test]
fn rst_3_two_trips_have_one_winner() {
    loom::model(|| {
        let memory = opened();
        let other = {
            let memory = memory.clone();
            thread::spawn(move || memory.gate.trip())
        };
        let mine = memory.gate.trip();
        assert!(mine ^ other.join().unwrap());
        assert!(memory.gate.is_quiet() && memory.gate.is_tripped());
    });
}

#[test]
fn rst_4_a_gate_reopens_only_when_quiet() {
    loom::model(|| {
        let memory = opened();
        let launch = {
            let memory = memory.clone();
            thread::spawn(move || {
                if let Some(permit) = memory.gate.enter() {
                    memory.bytes.with_mut(|bytes| unsafe { *bytes = 7 });
                    drop(permit);
                }
            })
        };
        memory.gate.trip();
        if memory.gate.reopen() {
            // Quiet, so no use of the old life is left; what this life writes is its own.
            memory.gate.trip();
            while !memory.gate.is_quiet() {
                thread::yield_now();
            }
            memory.bytes.with_mut(|bytes| unsafe { *bytes = 1 });
        }
        launch.join().unwrap();
    });
}

#[test]
fn rst_3_a_detached_use_holds_the_gate_until_it_ends() {
    loom::model(|| {
        let memory = opened();
        Gate::detach(memory.gate.enter().unwrap());
        let consumer = {
            let memory = memory.clone();
            thread::spawn(move || {
                memory.bytes.with_mut(|bytes| unsafe { *bytes = 7 });
                memory.gate.end();
            })
        };
        memory.gate.trip();
        while !memory.gate.is_quiet() {
            thread::yield_now();
        }
        memory.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
        consumer.join().unwrap();
    });
}
