//! Stories of chapter 70.

use crate::pair::owner::Owner;
use crate::pair::{From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::{Principal, incarnation};
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Report, StopCause};
use split_custody_protocol::ids::Counter;
use split_custody_protocol::lease::LeaseStanding;
use split_custody_protocol::role::{DeviceInput, Rejection};
use split_custody_protocol::wire::lease::{Renew, RenewalAnswer};
use split_custody_protocol::wire::message::{Message, MessageType};

/// A device that was never powered on.
fn off() -> Pair {
    Pair::unprovisioned(Owner::new(3, 2, 0))
}

/// A device of either kind that serves.
fn blocking_and_serving() -> Pair {
    let mut pair = Pair::new().blocking();
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    pair
}

/// Where a host read leaves the device, and what it was asked to do.
fn read_during(pair: &mut Pair) -> (&'static str, usize) {
    let asked = pair.asked.len();
    pair.device_input(DeviceInput::HostRead);
    (pair.guard(), pair.asked.len() - asked)
}

#[test]
fn rst_1_a_device_starts_tainted_and_acquires_nothing() {
    let mut pair = off();
    assert_eq!(pair.guard(), "Tainted");
    pair.acquire();
    let refused = Rejection::Violation(Violation::NoCleanIncarnation);
    assert_eq!(pair.device_rejections, [refused]);
}

#[test]
fn rst_2_a_host_read_under_reset_ends_the_incarnation() {
    let mut pair = Pair::serving();
    let before = pair.device.incarnation().copied();
    pair.device_input(DeviceInput::HostRead);
    assert_eq!((pair.guard(), pair.custody()), ("Clean", "Idle"));
    assert_ne!(pair.device.incarnation().copied(), before);
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Tainted }));
}

#[test]
fn rst_2_tampering_taints_whatever_the_reaction_to_reads() {
    let mut pair = blocking_and_serving();
    pair.script.push((Kind::Zeroise, Reply::Hold));
    pair.device_input(DeviceInput::Tampered);
    assert_eq!((pair.guard(), pair.custody()), ("Zeroising", "Idle"));
}

#[test]
fn rst_3_keys_die_before_memory_is_scrubbed_and_the_mark_comes_last() {
    let mut pair = Pair::serving();
    let asked = pair.asked.len();
    pair.device_input(DeviceInput::Tampered);
    let then = &pair.asked[asked..];
    assert_eq!(then, [DeviceEffect::Zeroise, DeviceEffect::Scrub, DeviceEffect::Plant]);
}

#[test]
fn rst_3_a_scrub_that_fails_leaves_the_device_tainted() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Scrub, Reply::Answer(DeviceAnswer::ScrubFailed)));
    pair.device_input(DeviceInput::Tampered);
    assert_eq!(pair.guard(), "Tainted");
    pair.device_input(DeviceInput::PoweredOn);
    assert_eq!(pair.guard(), "Clean", "powering on tries again");
}

#[test]
fn rst_3_a_mark_that_is_not_planted_leaves_the_device_tainted() {
    let mut pair = off();
    pair.script.push((Kind::Plant, Reply::Answer(DeviceAnswer::PlantFailed)));
    pair.device_input(DeviceInput::PoweredOn);
    assert_eq!((pair.guard(), pair.device.incarnation()), ("Tainted", None));
}

#[test]
fn rst_3_the_answer_to_an_interrupted_step_is_discarded() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Scrub, Reply::Hold));
    pair.device_input(DeviceInput::Tampered);
    pair.script.push((Kind::Scrub, Reply::Hold));
    pair.device_input(DeviceInput::Tampered);
    pair.device_resume();
    assert_eq!(pair.guard(), "Scrubbing", "the first scrub's answer is of an older life");
    pair.device_resume();
    assert_eq!(pair.guard(), "Clean");
    assert_eq!(pair.device_rejections, []);
}

#[test]
fn rst_4_each_scrub_is_followed_by_another_incarnation() {
    let mut pair = Pair::new();
    pair.device_input(DeviceInput::Tampered);
    pair.device_input(DeviceInput::Tampered);
    let lives: Vec<_> = pair
        .device_reports
        .iter()
        .filter_map(|report| match report {
            Report::Clean { incarnation } => Some(*incarnation),
            _ => None,
        })
        .collect();
    assert_eq!(lives, [incarnation(1), incarnation(2), incarnation(3)]);
}

#[test]
fn rst_5_nothing_is_used_without_a_clean_incarnation() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Zeroise, Reply::Hold));
    pair.device_input(DeviceInput::HostRead);
    assert_eq!(pair.device.admit(pair.now), Err(Violation::NoCleanIncarnation));
}

#[test]
fn rst_5_output_of_an_earlier_life_is_kept() {
    let mut pair = Pair::serving();
    let admission = pair.device.admit(pair.now).expect("a use");
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving", "again, in another life");
    let late = pair.device.release_output(pair.now, &admission);
    assert_eq!(late, Err(Violation::NoCleanIncarnation));
}

#[test]
fn rst_6_a_grant_to_a_new_life_ends_the_leases_of_the_old() {
    let mut pair = Pair::serving();
    let (_, held) = pair.device.leases().next().expect("a lease");
    let older = Renew { lease: held.lease, counter: Counter::new(1), used: 0 };
    let channel = pair.beside(1);
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    let lease = pair.node(1).machine.ledger().get(&older.lease).expect("still noted").clone();
    assert_eq!(lease.standing(), LeaseStanding::Superseded);
    let answers = pair.say(channel, Message::Renew(older));
    let [Message::Renewal(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.answer, RenewalAnswer::Ended);
}

#[test]
fn rst_6_a_grant_that_nobody_received_ends_the_old_life_too() {
    let mut pair = Pair::serving();
    pair.device_input(DeviceInput::HostRead);
    pair.node(1).script.push((Kind::CommitGrant, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(1);
    pair.break_channel(channel);
    pair.resume(1);
    let standings: Vec<_> =
        pair.node(1).machine.ledger().iter().map(|(_, lease)| lease.standing()).collect();
    assert_eq!(standings.len(), 2);
    assert!(standings.contains(&LeaseStanding::Superseded));
    assert!(standings.contains(&LeaseStanding::Live));
}

#[test]
fn rst_6_a_renewal_written_while_a_new_life_is_granted_is_not_answered() {
    let mut pair = Pair::serving();
    let (_, held) = pair.device.leases().next().expect("a lease");
    let older = Renew { lease: held.lease, counter: Counter::new(1), used: 0 };
    let channel = pair.beside(1);
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    pair.say(channel, Message::Renew(older));
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    pair.resume(1);
    assert_eq!(pair.mail.get(&channel), None);
}

#[test]
fn rst_7_a_superseded_incarnation_is_not_accepted() {
    // A fork: two devices of one snapshot, each with a life of its own.
    let mut pair = Pair::serving();
    let fork = pair.device.clone();
    let life = pair.life;
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    (pair.device, pair.life) = (fork, life);
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::IncarnationSuperseded]);
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn rst_7_a_new_generation_remembers_superseded_incarnations() {
    let mut pair = Pair::serving();
    let fork = pair.device.clone();
    let life = pair.life;
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    pair.restart(1);
    (pair.device, pair.life) = (fork, life);
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::IncarnationSuperseded]);
}

#[test]
fn rst_8_under_block_a_read_of_a_serving_device_changes_nothing() {
    let mut pair = blocking_and_serving();
    let before = pair.device.incarnation().copied();
    assert_eq!(read_during(&mut pair), ("Clean", 0));
    assert_eq!((pair.custody(), pair.device.incarnation().copied()), ("Serving", before));
    assert!(pair.device_reports.contains(&Report::ReadBlocked));
    assert!(pair.device.admit(pair.now).is_ok());
}

#[test]
fn rst_8_under_block_a_read_while_gathering_changes_nothing() {
    let mut pair = Pair::new().blocking();
    pair.network.push((From::Custodian(1), MessageType::Challenge, crate::pair::Fate::Drop));
    pair.acquire();
    assert_eq!(pair.custody(), "Gathering");
    assert_eq!(read_during(&mut pair), ("Clean", 0));
    assert_eq!(pair.custody(), "Gathering");
}

#[test]
fn rst_8_under_block_a_read_while_attesting_changes_nothing() {
    let mut pair = Pair::new().blocking();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    assert_eq!(read_during(&mut pair), ("Clean", 0));
    pair.device_resume();
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn rst_8_under_block_a_read_while_loading_changes_nothing() {
    let mut pair = Pair::new().blocking();
    pair.script.push((Kind::Load, Reply::Hold));
    pair.acquire();
    assert_eq!(read_during(&mut pair), ("Clean", 0));
    pair.device_resume();
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn rst_8_under_block_a_read_while_scrubbing_changes_nothing() {
    let mut pair = blocking_and_serving();
    pair.script.push((Kind::Scrub, Reply::Hold));
    pair.device_input(DeviceInput::Tampered);
    assert_eq!(read_during(&mut pair), ("Scrubbing", 0));
}

#[test]
fn rst_8_under_block_a_read_of_a_tainted_device_changes_nothing() {
    let mut pair = off();
    pair.device = split_custody_protocol::role::Device::new(crate::pair::device_config(
        split_custody_protocol::reset::OnHostRead::Block,
    ));
    assert_eq!(read_during(&mut pair), ("Tainted", 0));
}

#[test]
fn rst_2_under_reset_a_read_while_gathering_ends_the_attempt() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(1), MessageType::Challenge, crate::pair::Fate::Drop));
    pair.acquire();
    assert_eq!(read_during(&mut pair), ("Clean", 3));
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn rst_2_under_reset_a_read_while_attesting_discards_the_evidence() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    pair.device_input(DeviceInput::HostRead);
    pair.device_resume();
    assert_eq!((pair.guard(), pair.custody()), ("Clean", "Idle"));
    assert_eq!(pair.sent_by(From::Device, MessageType::Request), []);
    assert_eq!(pair.device_rejections, []);
}

#[test]
fn rst_2_under_reset_a_read_while_loading_discards_the_load() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Load, Reply::Hold));
    pair.acquire();
    pair.device_input(DeviceInput::HostRead);
    pair.device_resume();
    assert_eq!((pair.guard(), pair.custody()), ("Clean", "Idle"));
}

#[test]
fn rst_2_under_reset_a_read_while_erasing_is_a_taint() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.device_input(DeviceInput::Release);
    assert_eq!(pair.custody(), "Erasing");
    pair.device_input(DeviceInput::HostRead);
    pair.device_resume();
    assert_eq!((pair.guard(), pair.custody()), ("Clean", "Idle"));
    assert_eq!(pair.device_rejections, []);
}

#[test]
fn rst_2_under_reset_a_read_while_zeroising_begins_again() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Zeroise, Reply::Hold));
    pair.device_input(DeviceInput::HostRead);
    pair.script.push((Kind::Zeroise, Reply::Hold));
    assert_eq!(read_during(&mut pair), ("Zeroising", 1));
}

#[test]
fn rst_2_under_reset_a_read_of_a_tainted_device_changes_nothing() {
    assert_eq!(read_during(&mut off()), ("Tainted", 0));
}

#[test]
fn rst_9_resuming_draws_a_new_incarnation() {
    let mut pair = blocking_and_serving();
    let before = pair.device.incarnation().copied();
    pair.device_input(DeviceInput::Resumed);
    assert_eq!((pair.guard(), pair.custody()), ("Clean", "Idle"));
    assert_ne!(pair.device.incarnation().copied(), before);
}

#[test]
fn rst_10_the_channels_of_the_old_life_are_closed() {
    let mut pair = Pair::serving();
    let older = pair.channel(1);
    pair.device_input(DeviceInput::HostRead);
    let frame = pair.sent_by(From::Custodian(1), MessageType::Grant).remove(0).to_frame();
    let channel = split_custody_protocol::ids::ChannelId::new(older);
    pair.device_input(DeviceInput::Received { channel, frame });
    let unknown = Rejection::Misuse(split_custody_protocol::Misuse::UnknownChannel);
    assert_eq!(pair.device_rejections, [unknown]);
}

#[test]
fn rst_10_the_new_life_comes_under_another_leaf() {
    let mut pair = Pair::serving();
    pair.device_input(DeviceInput::HostRead);
    pair.acquire();
    let leaves: Vec<_> = pair.node(1).leases().iter().map(|record| record.device_leaf).collect();
    assert_eq!(leaves, [Principal::Device.leaf(1), Principal::Device.leaf(2)]);
}
