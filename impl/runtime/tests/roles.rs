//! Real machines, stores, keys and sockets: release, use, revocation and reset through a relay.

mod support;
mod world;

use std::fs;
use std::path::Path;
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
use world::{Log, UNLOGGED, World};

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
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rst_2_host_read_ends_the_incarnation_and_the_next_one_acquires() {
    let mut world = World::start(OnHostRead::Reset).await;
    world.acquire().await;
    world.device.input(DeviceInput::HostRead).await.expect("taken");
    world.wait_for(|r| matches!(r, Report::Stopped { cause: StopCause::Tainted })).await;
    world.wait_for(|r| matches!(r, Report::Clean { .. })).await;
    world.acquire().await;
    world.finish().await;
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
    world.finish().await;
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
    world.finish().await;
}

fn admits(device: &Handle<Device>) -> bool {
    device.gate().admit(|| BootClock.now()).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_the_gate_of_a_driver_opens_with_the_model_and_shuts_with_an_order() {
    let log = Log::Off("lea_16_the_gate_of_a_driver_opens_with_the_model_and_shuts_with_an_order");
    let mut world = World::start_with(OnHostRead::Block, log).await;
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
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_after_the_word_of_a_host_read_was_sent_nothing_is_admitted() {
    let log = Log::Off("lea_16_after_the_word_of_a_host_read_was_sent_nothing_is_admitted");
    let mut world = World::start_with(OnHostRead::Reset, log).await;
    // The world has leaves for eight lives.
    for _ in 0..6 {
        world.acquire().await;
        assert!(admits(&world.device));
        world.device.input(DeviceInput::HostRead).await.expect("taken");
        // Sent, and perhaps not handled yet.
        assert!(!admits(&world.device));
        world.wait_for(|r| matches!(r, Report::Clean { .. })).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lea_16_uses_over_the_gate_are_charged_before_the_next_turn() {
    let log = Log::Off("lea_16_uses_over_the_gate_are_charged_before_the_next_turn");
    let mut world = World::start_with(OnHostRead::Block, log).await;
    world.acquire().await;
    let mut charged = Vec::new();
    // A renewal between the two sets the count back; a few tries are enough on any machine.
    for _ in 0..5 {
        let admitted = (0..7).filter(|_| admits(&world.device)).count() as u64;
        let used = |device: &mut Device, _| device.leases().map(|(_, held)| held.used()).collect();
        charged = world.device.call("status", used).await.expect("called");
        if admitted == 7 && charged.iter().all(|used: &u64| *used >= 7) {
            return world.finish().await;
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
    world.finish().await;
}

/// Where no machine runs, nothing is logged.
const WITHOUT_MACHINES: [(&str, &str); 2] = [
    ("handshake.rs", "opens channels by hand: what a machine would hear of them is not reached"),
    ("relay.rs", "sends bytes through a relay by hand, some of them harmed"),
];

#[test]
fn aud_1_every_test_has_its_logs_replayed_or_a_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = fs::read_dir(&folder).expect("the folder is there");
    let paths = files.map(|file| file.expect("readable").path());
    for path in paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs")) {
        let text = fs::read_to_string(&path).expect("readable");
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let has_reason = WITHOUT_MACHINES.iter().any(|(file, _)| *file == name);
        let runs_machines = ["runtime::driver", "mod world"].iter().any(|word| text.contains(word));
        assert_ne!(has_reason, runs_machines, "`{name}`");
        assert!(!runs_machines || text.contains("mod world;"), "`{name}` makes its own drivers");
    }
    let text = include_str!("roles.rs");
    for (test, _) in UNLOGGED {
        let body = text.split_once(&format!("fn {test}()")).expect("an unlogged test is there").1;
        let body = body.split("\n}\n").next().unwrap_or_default();
        assert!(body.contains(&format!("Log::Off(\"{test}\")")), "`{test}` keeps a log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "`World::finish` was not called")]
async fn aud_1_a_world_that_is_not_replayed_fails_its_test() {
    drop(World::start(OnHostRead::Block).await);
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
