//! The loop, turned by a machine small enough to be read at once.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::time::{Instant, Span};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock::ManualClock;
use crate::driver::double::{Happened, NoSuite, Toy, ToyEffects, plain};
use crate::driver::{Config, Ended, Handle, Observed, spawn};
use crate::record::{Recorder, read_log};
use crate::trace_types as trace;
use crate::transport::{Channel, Connect, Limits, TransportError, read_frame, write_frame};

#[tokio::test]
async fn outputs_leave_in_their_order_and_close_comes_after() {
    let bench = Bench::start(Recorder::off());
    let mut peer = bench.open().await;
    send(&mut peer, b"two-and-close").await;
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"exported"[..]));
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"first"[..]));
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"second"[..]));
    assert_eq!(receive(&mut peer).await, None);
}

#[tokio::test]
async fn hs_2_export_is_answered_before_anything_else_is_heard() {
    let bench = Bench::start(Recorder::off());
    let mut peer = bench.open().await;
    send(&mut peer, b"echo").await;
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"exported"[..]));
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"echo"[..]));
}

#[tokio::test]
async fn effect_is_answered_under_its_ticket() {
    let bench = Bench::start(Recorder::off());
    let mut peer = bench.open().await;
    receive(&mut peer).await;
    send(&mut peer, b"effect").await;
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"done 2"[..]));
}

#[tokio::test]
async fn channel_that_was_closed_is_not_heard_again() {
    let bench = Bench::start(Recorder::off());
    let mut peer = bench.open().await;
    send(&mut peer, b"two-and-close").await;
    send(&mut peer, b"echo").await;
    while receive(&mut peer).await.is_some() {}
    drop(peer);
    let heard = bench.heard().await;
    assert_eq!(heard.last(), Some(&Happened::Closed), "{heard:?}");
    assert_eq!(heard.iter().filter(|h| **h == Happened::Closed).count(), 1, "{heard:?}");
    assert!(!heard.contains(&Happened::Received(b"echo".to_vec())), "{heard:?}");
}

#[tokio::test]
async fn peer_that_leaves_is_reported_once() {
    let bench = Bench::start(Recorder::off());
    let mut peer = bench.open().await;
    receive(&mut peer).await;
    drop(peer);
    bench.wait_for(Happened::Closed).await;
    let closed = bench.heard().await.into_iter().filter(|h| *h == Happened::Closed).count();
    assert_eq!(closed, 1);
}

#[tokio::test]
async fn channel_that_the_machine_does_not_take_is_closed() {
    let mut bench = Bench::start(Recorder::off());
    bench
        .handle
        .call("refuse", |toy: &mut Toy, _| toy.refuses_channels = true)
        .await
        .expect("called");
    let mut peer = bench.open().await;
    assert_eq!(receive(&mut peer).await, None);
    assert!(matches!(bench.news().await, Observed::Rejected(text) if text.contains("unwanted")));
}

#[tokio::test]
async fn lea_5_deadline_fires_when_the_clock_reaches_it() {
    let bench = Bench::start(Recorder::off());
    bench.arm(50).await;
    bench.clock.advance(Span::from_millis(49));
    assert!(!bench.heard().await.contains(&Happened::Timeout));
    bench.clock.advance(Span::from_millis(1));
    bench.wait_for(Happened::Timeout).await;
}

#[tokio::test]
async fn lea_5_deadline_that_passed_is_seen_before_what_came_later() {
    let bench = Bench::start(Recorder::off());
    let clock = bench.clock.clone();
    // Armed and passed within one turn: the command that follows finds the deadline due.
    let armed = bench.handle.call("arm", move |toy: &mut Toy, now| {
        toy.deadline = Some(now.after(Span::from_millis(5)));
        clock.advance(Span::from_millis(9));
    });
    armed.await.expect("called");
    let seen = bench.handle.call("look", |toy: &mut Toy, _| toy.heard.clone()).await;
    assert!(seen.expect("called").contains(&Happened::Timeout));
}

#[tokio::test]
async fn deadline_that_does_not_move_starves_nobody() {
    let bench = Bench::start(Recorder::off());
    bench.handle.call("stick", |toy: &mut Toy, now| toy.stuck = Some(now)).await.expect("called");
    let mut peer = bench.open().await;
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"exported"[..]));
    let timeouts = bench.heard().await.into_iter().filter(|h| *h == Happened::Timeout).count();
    assert!(timeouts <= 2, "{timeouts} timeouts on a clock that stands still");
}

#[tokio::test]
async fn qrm_5_dial_that_fails_is_told_to_the_machine() {
    let bench = Bench::start(Recorder::off());
    bench.handle.input(Happened::Dial(CustodianId::new(9))).await.expect("taken");
    bench.wait_for(Happened::Failed(CustodianId::new(9))).await;
}

#[tokio::test]
async fn dial_that_succeeds_opens_a_channel() {
    let bench = Bench::start(Recorder::off());
    bench.handle.input(Happened::Dial(CustodianId::new(1))).await.expect("taken");
    bench.wait_for(Happened::Opened(Some(CustodianId::new(1)))).await;
}

#[tokio::test]
async fn peer_that_does_not_read_is_closed_and_delays_nobody() {
    let mut bench = Bench::start(Recorder::off());
    let mut deaf = bench.open().await;
    let mut peer = bench.open().await;
    for _ in 0..64 {
        send(&mut deaf, b"echo a lot").await;
    }
    assert_eq!(receive(&mut peer).await.as_deref(), Some(&b"exported"[..]));
    bench.wait_for(Happened::Closed).await;
    assert!(matches!(bench.news().await, Observed::Overflowed(_)));
}

#[tokio::test]
async fn channel_without_a_first_frame_is_ended() {
    let bench = Bench::start(Recorder::off());
    let _silent = bench.open().await;
    bench.wait_for(Happened::Closed).await;
}

#[tokio::test]
async fn driver_ends_with_its_last_handle() {
    let Bench { handle, driver, .. } = Bench::start(Recorder::off());
    drop(handle);
    timeout(BOUND, driver).await.expect("in time").expect("ran");
}

#[tokio::test]
async fn every_turn_is_in_the_log_with_its_outputs() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("events.jsonl");
    let bench = Bench::start(recorder(&path));
    let mut peer = bench.open().await;
    receive(&mut peer).await;
    send(&mut peer, b"effect").await;
    receive(&mut peer).await;
    bench.handle.call("admit", |_: &mut Toy, _| 7).await.expect("called");

    let entries = read_log(&path).expect("a log");
    let sequence: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequence, [0, 1, 2, 3, 4]);
    assert!(entries.iter().all(|entry| entry.role == "custodian-2" && entry.now == 1000));
    assert!(matches!(
        entries[0].input,
        trace::Input::ChannelOpened { channel: 1, connection: Some(_), .. }
    ));
    assert!(matches!(entries[0].outputs[0], trace::Output::Effect { ticket: 1, .. }));
    assert!(matches!(entries[1].input, trace::Input::Done { ticket: 1, .. }));
    assert!(matches!(entries[1].outputs[0], trace::Output::Transmit { channel: 1, .. }));
    assert!(matches!(entries[2].input, trace::Input::Received { channel: 1, .. }));
    assert!(matches!(entries[3].input, trace::Input::Done { ticket: 2, .. }));
    let admit = trace::Input::Command { name: "admit".into(), outcome: "7".into() };
    assert_eq!(entries[4].input, admit);
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_recorded() {
    let mut bench = Bench::start(recorder(Path::new("/dev/full")));
    let mut peer = bench.open().await;
    assert_eq!(receive(&mut peer).await, None);
    assert!(matches!(bench.news().await, Observed::LogFailed(_)));
    assert_eq!(bench.handle.call("gone", |_: &mut Toy, _| ()).await, Err(Ended));
}

struct Bench {
    handle: Handle<Toy>,
    clock: ManualClock,
    observed: mpsc::UnboundedReceiver<Observed>,
    driver: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(recorder: Recorder) -> Self {
        let clock = ManualClock::starting_at(Instant::from_millis(1000));
        let (observer, observed) = mpsc::unbounded_channel();
        let first_frame = Duration::from_millis(400);
        let config = Config {
            clock: clock.clone(),
            effects: ToyEffects,
            connect: Some(Arc::new(OneCustodian)),
            limits: Limits { first_frame, queue: 8, ..Limits::default() },
            recorder,
            observer,
        };
        let (handle, driver) = spawn(Toy::default(), NoSuite, config);
        Self { handle, clock, observed, driver }
    }

    /// A channel to the driver; what is returned is its far end.
    async fn open(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(4096);
        // A driver that is ending takes no channel; the far end shows it.
        let _ = self.handle.opened(plain(near, None)).await;
        far
    }

    async fn arm(&self, millis: u64) {
        let arm = move |toy: &mut Toy, now: Instant| {
            toy.deadline = Some(now.after(Span::from_millis(millis)));
        };
        self.handle.call("arm", arm).await.expect("called");
    }

    async fn heard(&self) -> Vec<Happened> {
        self.handle.call("heard", |toy: &mut Toy, _| toy.heard.clone()).await.expect("called")
    }

    async fn wait_for(&self, awaited: Happened) {
        let wait = async {
            while !self.heard().await.contains(&awaited) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(BOUND, wait).await.unwrap_or_else(|_| panic!("{awaited:?} in time"));
    }

    async fn news(&mut self) -> Observed {
        timeout(BOUND, self.observed.recv()).await.expect("in time").expect("news")
    }
}

fn recorder(path: &Path) -> Recorder {
    Recorder::to_file(path, "custodian-2").expect("a log")
}

async fn send(peer: &mut DuplexStream, frame: &[u8]) {
    // A peer that was closed meanwhile is the test's to notice by what it reads.
    let _ = timeout(BOUND, write_frame(peer, frame)).await.expect("in time");
}

async fn receive(peer: &mut DuplexStream) -> Option<Vec<u8>> {
    timeout(BOUND, read_frame(peer, BOUND)).await.expect("in time").expect("a frame or the end")
}

/// Knows custodian 1, who says nothing.
struct OneCustodian;

impl Connect for OneCustodian {
    fn connect(
        self: Arc<Self>,
        custodian: CustodianId,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + Send>> {
        Box::pin(async move {
            if custodian != CustodianId::new(1) {
                return Err(TransportError::HandshakeTimeout);
            }
            let (near, far) = tokio::io::duplex(64);
            tokio::spawn(async move {
                tokio::time::sleep(BOUND).await;
                drop(far);
            });
            Ok(plain(near, Some(custodian)))
        })
    }
}

const BOUND: Duration = Duration::from_secs(10);
