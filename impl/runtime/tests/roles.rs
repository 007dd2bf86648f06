//! Real machines, stores, keys and sockets: release, use, revocation and reset through a relay.

mod support;
mod world;

use std::time::Duration;

use split_custody_keys::Outage;
use split_custody_protocol::effect::{Report, StopCause};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{Device, DeviceInput};
use split_custody_protocol::wire::Message;
use split_custody_protocol::wire::message::frame_of;
use split_custody_runtime::clock::{BootClock, Clock};
use split_custody_runtime::driver::Handle;
use split_custody_runtime::record::read_log;
use split_custody_runtime::trace_types as trace;
use world::{Log, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rel_5_two_of_three_release_and_rev_12_an_order_stops_the_device() {
    let mut world = World::start(OnHostRead::Block).await;
    world.acquire().await;
    let admission = world.device.call("admit", |device: &mut Device, now| device.admit(now)).await;
    let admission = admission.expect("called").expect("admitted");
    let leaves = move |device: &mut Device, now| device.release_output(now, &admission);
    world.device.call("release-output", leaves).await.expect("called").expect("may leave");

    for id in 1..=3 {
        let answer = world.ask(id, frame_of(world.revocation())).await;
        assert!(matches!(answer, Message::Acknowledged(_)), "{answer:?}");
    }
    world.wait_for(|r| matches!(r, Report::Stopped { cause: StopCause::Revoked })).await;
    let refused = world.device.call("admit", |device: &mut Device, now| device.admit(now)).await;
    assert!(refused.expect("called").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rst_2_host_read_ends_the_incarnation_and_the_next_one_acquires() {
    let mut world = World::start(OnHostRead::Reset).await;
    world.acquire().await;
    world.device.input(DeviceInput::HostRead).await.expect("taken");
    world.wait_for(|r| matches!(r, Report::Stopped { cause: StopCause::Tainted })).await;
    world.wait_for(|r| matches!(r, Report::Clean { .. })).await;
    world.acquire().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rel_13_hsm_outage_leaves_the_quorum_and_renewals_go_on() {
    let mut world = World::start(OnHostRead::Block).await;
    world.outages[0].begin();
    world.acquire().await;
    world.outages.iter().for_each(Outage::begin);
    // Past the first term: renewals need stores, not keys.
    tokio::time::sleep(Duration::from_millis(2600)).await;
    let admitted = world.device.call("admit", |device: &mut Device, now| device.admit(now)).await;
    admitted.expect("called").expect("admitted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hs_2_logs_of_both_ends_agree_on_frames_and_exporters() {
    let mut world = World::start(OnHostRead::Block).await;
    world.acquire().await;
    let device = read_log(&world.folder.path().join("device.jsonl")).expect("a log");
    for id in 1..=3 {
        let log = world.folder.path().join(format!("custodian-{id}.jsonl"));
        let custodian = read_log(&log).expect("a log");
        let shared = exporters(&device).into_iter().filter(|e| exporters(&custodian).contains(e));
        assert_eq!(shared.count(), 1, "one channel joins the device and custodian {id}");
        // The other way a frame may still be under way.
        for frame in received(&custodian).into_iter().filter(|f| f.message == "Request") {
            assert!(transmitted(&device).contains(&frame), "{frame:?}");
        }
    }
}

fn admits(device: &Handle<Device>) -> bool {
    device.gate().admit(|| BootClock.now()).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_the_gate_of_a_driver_opens_with_the_model_and_shuts_with_an_order() {
    let mut world = World::start_with(OnHostRead::Block, Log::Off).await;
    assert!(!admits(&world.device));
    world.acquire().await;
    assert!(admits(&world.device));
    // Past the first term: renewals keep it open.
    tokio::time::sleep(Duration::from_millis(2600)).await;
    assert!(admits(&world.device));
    for id in 1..=3 {
        world.ask(id, frame_of(world.revocation())).await;
    }
    world.wait_for(|r| matches!(r, Report::Stopped { cause: StopCause::Revoked })).await;
    assert!(!admits(&world.device));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_after_the_word_of_a_host_read_was_sent_nothing_is_admitted() {
    let mut world = World::start_with(OnHostRead::Reset, Log::Off).await;
    // The world has leaves for eight lives.
    for _ in 0..6 {
        world.acquire().await;
        assert!(admits(&world.device));
        world.device.input(DeviceInput::HostRead).await.expect("taken");
        // Sent, and perhaps not handled yet.
        assert!(!admits(&world.device));
        world.wait_for(|r| matches!(r, Report::Clean { .. })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_uses_over_the_gate_are_charged_before_the_next_turn() {
    let mut world = World::start_with(OnHostRead::Block, Log::Off).await;
    world.acquire().await;
    let mut charged = Vec::new();
    // A renewal between the two sets the count back; a few tries are enough on any machine.
    for _ in 0..5 {
        let admitted = (0..7).filter(|_| admits(&world.device)).count() as u64;
        let used = |device: &mut Device, _| device.leases().map(|(_, held)| held.used()).collect();
        charged = world.device.call("status", used).await.expect("called");
        if admitted == 7 && charged.iter().all(|used: &u64| *used >= 7) {
            return;
        }
    }
    panic!("charged {charged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_where_a_log_is_kept_the_machine_is_asked() {
    let mut world = World::start(OnHostRead::Block).await;
    world.acquire().await;
    assert!(!admits(&world.device));
    let admitted = world.device.call("admit", |device: &mut Device, now| device.admit(now)).await;
    admitted.expect("called").expect("admitted");
}

fn exporters(log: &[trace::Entry]) -> Vec<trace::Hex> {
    let exporter = |entry: &trace::Entry| match &entry.input {
        trace::Input::Done { answer: trace::Answer::Exported { exporter }, .. } => {
            Some(exporter.clone())
        }
        _ => None,
    };
    log.iter().filter_map(exporter).collect()
}

fn received(log: &[trace::Entry]) -> Vec<trace::Frame> {
    let frame = |entry: &trace::Entry| match &entry.input {
        trace::Input::Received { frame, .. } => Some(frame.clone()),
        _ => None,
    };
    log.iter().filter_map(frame).collect()
}

fn transmitted(log: &[trace::Entry]) -> Vec<trace::Frame> {
    let frame = |output: &trace::Output| match output {
        trace::Output::Transmit { frame, .. } => Some(frame.clone()),
        _ => None,
    };
    log.iter().flat_map(|entry| &entry.outputs).filter_map(frame).collect()
}
