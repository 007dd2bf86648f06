//! Requests under leases, alone and without pause in the background.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use split_custody_weights::container::Tensor;

use super::report::Report;
use super::source::Source;
use super::stage::{Stage, wait_until};
use crate::control::{DeviceAsk, ask};
use crate::failure::Failure;
use crate::files::hex;
use crate::screen;

/// One request and the answer that the owner computed for it.
struct Request {
    ask: DeviceAsk,
    expected: String,
}

/// Requests over every tensor, compared one by one.
pub fn requests(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("use");
    let requests: Vec<Request> =
        (0..REQUESTS).map(|i| request(&stage.source, i)).collect::<Result<_, _>>()?;
    let (start, mut good) = (Instant::now(), 0);
    for request in &requests {
        let answer = stage.ask(&request.ask)?;
        good += usize::from(answer["checksum"] == request.expected.as_str());
    }
    let time = start.elapsed();
    let each = screen::duration(time / u32::try_from(REQUESTS).unwrap_or(1));
    report.timed(
        "use",
        time,
        &format!("{REQUESTS} requests under leases, {each} each over a socket"),
    );
    let detail = format!("{good} of {REQUESTS} keyed checksums are the owner's own");
    report.check(
        "requests",
        "requests under leases compute on the owner's tensors",
        good == REQUESTS,
        detail,
    );
    Ok(())
}

/// One request now.
pub fn once(stage: &Stage<'_>) -> Result<bool, Failure> {
    let request = request(&stage.source, 0)?;
    Ok(stage.ask(&request.ask)?["checksum"] == request.expected.as_str())
}

fn request(source: &Source, number: usize) -> Result<Request, Failure> {
    let mut random = [0; 40];
    SystemRandom::new().fill(&mut random).map_err(|_| Failure::refused("no randomness"))?;
    let (key, place) = random.split_at(32);
    let key: [u8; 32] = key.try_into().unwrap_or_default();
    let place = place.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    let tensors: Vec<&Tensor> = source.tensors().iter().filter(|t| t.length > 0).collect();
    let count = tensors.len().max(1);
    let tensor =
        tensors.get(number % count).ok_or_else(|| Failure::refused("no tensor has bytes"))?;
    let length = source.bytes_of(tensor).len();
    let start = place % length;
    let end = length.min(start + SLICE);
    let ask = DeviceAsk::Use {
        tensor: tensor.name.clone(),
        start: start as u64,
        end: end as u64,
        key: hex(&key),
    };
    Ok(Request { ask, expected: hex(&source.checksum(tensor, start, end, &key)) })
}

/// Requests without pause, from a thread of their own.
pub struct Background {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Observed>>,
}

/// What the requests in the background saw.
#[derive(Default)]
pub struct Observed {
    pub good: usize,
    pub refused: usize,
    /// Answers that were not the owner's own.
    pub wrong: usize,
    /// When the last good answer had arrived.
    pub last_good: Option<Instant>,
    pub first_refusal: Option<String>,
}

impl Background {
    /// Returns when the first few were answered: what follows then happens amid requests.
    pub fn begin(stage: &Stage<'_>) -> Result<Self, Failure> {
        let requests: Vec<Request> =
            (0..16).map(|i| request(&stage.source, i)).collect::<Result<_, _>>()?;
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (told, count, control) = (Arc::clone(&stop), Arc::clone(&answered), stage.control());
        let thread = std::thread::spawn(move || run(&control, &requests, &told, &count));
        let background = Self { stop, answered, thread: Some(thread) };
        wait_until("requests are answered", Duration::from_secs(10), || {
            Ok(background.answered.load(Ordering::SeqCst) >= 3)
        })?;
        Ok(background)
    }

    pub fn end(mut self) -> Observed {
        self.stop.store(true, Ordering::SeqCst);
        // INVARIANT: the thread does not panic; if it did, nothing was seen.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn run(
    control: &Path,
    requests: &[Request],
    stop: &AtomicBool,
    answered: &AtomicUsize,
) -> Observed {
    let mut seen = Observed::default();
    for request in requests.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        match ask(control, &request.ask) {
            Ok(answer) if answer["checksum"] == request.expected.as_str() => {
                seen.good += 1;
                seen.last_good = Some(Instant::now());
            }
            Ok(_) => seen.wrong += 1,
            Err(failure) => {
                seen.refused += 1;
                seen.first_refusal.get_or_insert_with(|| failure.text().to_owned());
            }
        }
        answered.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(PAUSE);
    }
    seen
}

const REQUESTS: usize = 64;
const SLICE: usize = 4096;
const PAUSE: Duration = Duration::from_millis(20);
