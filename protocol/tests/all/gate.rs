//! Stories of the gate: uses that are admitted without asking the machine. [LEA-16]
//!
//! First term 6 s, term 10 s, margin 0.5 s; two of three.

use std::sync::Arc;
use std::thread;

use crate::pair::owner::{Owner, revoke, the_device};
use crate::pair::{From, Kind, Pair, Reply};
use split_custody_protocol::ids::Budget;
use split_custody_protocol::lease::{Admission, Gate};
use split_custody_protocol::role::DeviceInput;
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::message::{Message, MessageType};

fn serving_with_budget(budget: Budget) -> Pair {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.budget = budget;
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    pair
}

fn serving() -> Pair {
    serving_with_budget(Budget::UNLIMITED)
}

/// A gate that shows what the pair's device lets pass.
fn gate_of(pair: &Pair) -> Arc<Gate> {
    let gate = Arc::new(Gate::new());
    gate.publish(pair.device.standing().as_ref());
    gate
}

fn at(gate: &Gate, now: Instant) -> Option<Admission> {
    gate.admit(|| now)
}

#[test]
fn lea_16_the_gate_admits_exactly_when_the_machine_does() {
    let pair = serving();
    let gate = gate_of(&pair);
    let (mut admitted, mut left) = (0, 0);
    for millis in 0..8_000 {
        let now = pair.now.after(Span::from_millis(millis));
        let asked = pair.device.clone().admit(now);
        assert_eq!(at(&gate, now), asked.ok(), "{millis} ms later");
        let Ok(admission) = pair.device.clone().admit(pair.now) else { panic!("it serves") };
        let may = pair.device.release_output(now, &admission).is_ok();
        assert_eq!(gate.may_leave(|| now, &admission), may, "{millis} ms later");
        admitted += u64::from(asked.is_ok());
        left += u64::from(may);
    }
    assert!((4_000..6_000).contains(&admitted) && left == admitted, "{admitted} {left}");
    assert_eq!(gate.take_uses(), admitted);
    assert_eq!(gate.take_uses(), 0, "each use is charged once");
}

#[test]
fn lea_16_under_a_limit_of_uses_the_machine_is_asked() {
    let pair = serving_with_budget(Budget::new(3));
    let gate = gate_of(&pair);
    assert_eq!(at(&gate, pair.now), None);
    // What the machine admitted may leave: that costs no budget. [LEA-3]
    let admission = pair.device.clone().admit(pair.now).expect("there is budget");
    assert!(gate.may_leave(|| pair.now, &admission));
}

#[test]
fn lea_16_uses_over_the_gate_are_reported_with_the_next_renewal() {
    let mut pair = serving();
    let gate = gate_of(&pair);
    for _ in 0..7 {
        assert!(at(&gate, pair.now).is_some());
    }
    pair.device.charge(pair.now, gate.take_uses());
    pair.wait(2_100);
    let used: Vec<u64> = pair
        .sent
        .iter()
        .filter(|carried| carried.from == From::Device)
        .filter_map(|carried| match carried.message() {
            Message::Renew(renew) => Some(renew.used),
            _ => None,
        })
        .collect();
    assert_eq!(used, [7, 7, 7]);
}

#[test]
fn lea_16_an_order_leaves_no_standing() {
    let mut pair = serving();
    let gate = gate_of(&pair);
    let admission = at(&gate, pair.now).expect("it serves");
    pair.order(1, &revoke(the_device(), 0));
    assert_ne!(pair.custody(), "Serving");
    gate.publish(pair.device.standing().as_ref());
    assert_eq!(at(&gate, pair.now), None);
    assert!(!gate.may_leave(|| pair.now, &admission));
}

#[test]
fn lea_16_a_tainted_device_has_no_standing() {
    let mut pair = serving();
    let gate = gate_of(&pair);
    let admission = at(&gate, pair.now).expect("it serves");
    pair.device_input(DeviceInput::HostRead);
    gate.publish(pair.device.standing().as_ref());
    assert_eq!(at(&gate, pair.now), None);
    assert!(!gate.may_leave(|| pair.now, &admission));
    // Nor does the next life let out what this one admitted. [RST-5]
    pair.acquire();
    gate.publish(pair.device.standing().as_ref());
    assert!(at(&gate, pair.now).is_some());
    assert!(!gate.may_leave(|| pair.now, &admission));
}

#[test]
fn lea_16_an_attempt_under_way_has_no_standing() {
    let mut pair = Pair::new();
    assert_eq!(pair.device.standing(), None);
    pair.network.push((From::Custodian(1), MessageType::Grant, crate::pair::Fate::Drop));
    pair.network.push((From::Custodian(2), MessageType::Grant, crate::pair::Fate::Drop));
    pair.acquire();
    assert_eq!(pair.device.standing(), None);
}

#[test]
fn lea_16_a_model_that_is_being_loaded_has_no_standing() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Load, Reply::Hold));
    pair.acquire();
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Loading", 3));
    assert_eq!(pair.device.standing(), None);
    pair.device_resume();
    assert_eq!(pair.custody(), "Serving");
    assert!(pair.device.standing().is_some());
}

#[test]
fn lea_16_what_is_on_its_way_to_the_machine_shuts_the_gate() {
    let pair = serving();
    let gate = gate_of(&pair);
    let (first, second) = (gate.hold(), gate.hold());
    assert_eq!(at(&gate, pair.now), None);
    drop(first);
    assert_eq!(at(&gate, pair.now), None, "the other still holds");
    drop(second);
    assert!(at(&gate, pair.now).is_some());
}

#[test]
fn lea_16_a_standing_that_ends_while_the_clock_is_read_admits_nothing() {
    let pair = serving();
    let gate = gate_of(&pair);
    let ended = gate.admit(|| {
        gate.publish(None);
        pair.now
    });
    assert_eq!(ended, None);
    // Withdrawn and published again, it is another one: the machine is asked.
    gate.publish(pair.device.standing().as_ref());
    let renewed = gate.admit(|| {
        gate.publish(pair.device.standing().as_ref());
        pair.now
    });
    assert_eq!(renewed, None);
}

/// Two lives of one device, published in turn by one thread: readers see one or the other, whole.
#[test]
fn lea_16_no_reader_sees_half_of_two_standings() {
    let mut pair = serving();
    let first = pair.device.standing().expect("it serves");
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    let second = pair.device.standing().expect("it serves again");
    let (gate, now) = (Gate::new(), pair.now);
    let whole = [first, second].map(|standing| {
        gate.publish(Some(&standing));
        gate.admit(|| now).expect("it counts")
    });
    assert_ne!(whole[0], whole[1]);
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen: Vec<Admission> = Vec::new();
            while seen.len() < 5_000 {
                seen.extend(gate.admit(|| now));
            }
            seen
        });
        while !reader.is_finished() {
            gate.publish(Some(&first));
            gate.publish(Some(&second));
            thread::yield_now();
        }
        reader.join().expect("it does not panic")
    });
    assert!(seen.iter().all(|admission| whole.contains(admission)));
}
