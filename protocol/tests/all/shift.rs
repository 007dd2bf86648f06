//! Moving a clock: a run that began later, moved back, is the run that began earlier. [LEA-1]
//!
//! The model compares worlds after it moved every stored instant back, so an instant that is not moved
//! is two states where there is one, and one that is moved too far is one where there are two.

use crate::pair::owner::{Owner, certificate, operator, revoke, submit, the_device};
use crate::pair::{From, Kind, Pair, Reply};
use proptest::prelude::*;
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::role::DeviceInput;
use split_custody_protocol::time::{Instant, Rebase, Span};
use split_custody_protocol::wire::message::MessageType;

/// What is under way when the clocks are compared: an effect that waits, of the device or a custodian.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Device(Kind),
    Custodian(Kind),
    /// The requests of the device are on their way.
    Requests,
    Nothing,
}

const WAITS: [Waits; 13] = [
    Waits::Nothing,
    Waits::Requests,
    Waits::Device(Kind::Export),
    Waits::Device(Kind::CollectEvidence),
    Waits::Device(Kind::Load),
    Waits::Custodian(Kind::Export),
    Waits::Custodian(Kind::Appraise),
    Waits::Custodian(Kind::CommitGrant),
    Waits::Custodian(Kind::Release),
    Waits::Custodian(Kind::CommitRenewal),
    Waits::Custodian(Kind::CommitOrder),
    Waits::Custodian(Kind::Anchor),
    Waits::Custodian(Kind::Sign),
];

/// A life that starts at an instant: an attempt, a renewal, an order that covers nothing.
fn life(start: u64, waits: Waits, between: u64) -> Vec<Pair> {
    let mut pair = Pair::unprovisioned_at(Instant::from_millis(start), Owner::new(3, 2, 0));
    for id in 1..=3 {
        pair.provision(id);
        pair.activate(id);
    }
    pair.device_input(DeviceInput::PoweredOn);
    pair.stall(between);
    for id in 1..=3 {
        match waits {
            Waits::Device(kind) => pair.script.push((kind, Reply::Hold)),
            Waits::Custodian(kind) => pair.node(id).script.push((kind, Reply::Hold)),
            Waits::Requests => {
                let request = (From::Device, MessageType::Request, crate::pair::Fate::Park);
                pair.network.push(request);
            }
            Waits::Nothing => {}
        }
    }
    let mut moments = vec![pair.clone()];
    pair.acquire();
    moments.push(pair.clone());
    pair.wait(2_000 + between);
    moments.push(pair.clone());
    let other = revoke(certificate(&Principal::Stranger.leaf(1)), 0);
    let channel = pair.outsider(1);
    pair.say(channel, submit(&other, &[operator(1)]));
    moments.push(pair.clone());
    pair.restart(2);
    pair.wait(between);
    moments.push(pair.clone());
    pair.order(1, &revoke(the_device(), 0));
    moments.push(pair);
    moments
}

/// Every machine, moved back.
fn moved(mut pair: Pair, by: u64) -> Pair {
    let (by, floor) = (Span::from_millis(by), Instant::from_millis(0));
    pair.device.rebase(by, floor);
    pair.nodes.values_mut().for_each(|node| node.machine.rebase(by, floor));
    pair
}

fn differs(waits: Waits, between: u64, by: u64) -> Option<String> {
    let (earlier, later) = (life(50_000, waits, between), life(50_000 + by, waits, between));
    for (at, (earlier, later)) in std::iter::zip(earlier, later).enumerate() {
        let (earlier, later) = (moved(earlier, 0), moved(later, by));
        if earlier.device != later.device {
            return Some(format!("the device at moment {at} with {waits:?}"));
        }
        for (id, node) in &earlier.nodes {
            if node.machine != later.nodes[id].machine {
                return Some(format!("custodian {id} at moment {at} with {waits:?}"));
            }
        }
    }
    None
}

/// Which machine, in which state, another clock makes another.
#[test]
fn lea_1_a_run_that_began_later_and_is_moved_back_is_the_earlier_run() {
    let found: Vec<String> = WAITS.iter().filter_map(|waits| differs(*waits, 7, 40_000)).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn lea_1_a_clock_that_is_not_moved_back_is_noticed() {
    let (earlier, later) = (life(50_000, WAITS[0], 7), life(50_001, WAITS[0], 7));
    let last = |lives: Vec<Pair>| moved(lives.into_iter().next_back().expect("a moment"), 0);
    let (earlier, later) = (last(earlier), last(later));
    assert_ne!(earlier.nodes[&1].machine, later.nodes[&1].machine);
    assert_ne!(life(50_000, WAITS[0], 7)[2].device, life(50_001, WAITS[0], 7)[2].device);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn lea_1_any_run_moved_back_by_anything_is_the_earlier_run(
        waits in 0..WAITS.len(), between in 0_u64..900, by in 0_u64..1_000_000_000,
    ) {
        prop_assert_eq!(differs(WAITS[waits], between, by), None);
    }
}
