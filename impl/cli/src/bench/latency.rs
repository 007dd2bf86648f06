//! `custody bench latency`: what each request pays, under a lease and without one.
//!
//! A request under a lease asks the [`Gate`]; the floor is one reading of the clock. A request that is
//! authorised online crosses a warm channel; the floor is the bare echo of as many bytes. Then both
//! before a service of known length, over links of several lengths, with the time that may pass from a
//! revocation to the last use.

use std::hint::black_box;
use std::time::{Duration, Instant as Clocked};

use serde_json::{Value, json};
use split_custody_model_check::slice::slice;
use split_custody_model_check::world::Facts;
use split_custody_protocol::ids::{Budget, Counter, LeaseId};
use split_custody_protocol::lease::{Gate, Standing};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::Message;
use split_custody_protocol::wire::lease::{Renew, Renewal, RenewalAnswer};
use split_custody_runtime::clock::{BootClock, Clock};

use super::line::Line;
use super::link::Ends;
use super::measure::{Series, load, time};
use crate::args::BenchLatencyArgs;
use crate::failure::Failure;

pub fn latency(args: &BenchLatencyArgs) -> Result<(), Failure> {
    let leased = Leased::new()?;
    let check = leased.measure(args.rounds)?;
    let ends = Ends::new()?;
    let (mut echo, mut online) = (Line::open(&ends, |frame| frame)?, Line::open(&ends, authorise)?);
    let asked = ask_both(&mut echo, &mut online, args.rounds)?;
    let rows = links(args, &leased, &mut online)?;
    let report = Report { check, asked, rows, ttl_max: args.ttl_max_ms, load: load() };
    if args.json {
        say!("{}", report.json());
    } else {
        report.print();
    }
    Ok(())
}

/// A gate before a serving device, and a clock that its leases are counted on.
struct Leased {
    gate: Gate,
    /// The device's reading of the clock when this began, and ours.
    then: Instant,
    began: Instant,
}

impl Leased {
    /// The device is the one of a model's slice: the machine that ships, serving under its leases.
    fn new() -> Result<Self, Failure> {
        let slice = slice(SLICE).ok_or_else(|| Failure::refused("the model has no such slice"))?;
        let world = slice.initial(&slice.config(Facts::default()));
        let standing: Standing = world
            .device
            .machine
            .standing()
            .ok_or_else(|| Failure::refused("the device of the slice does not serve"))?;
        let gate = Gate::new();
        gate.publish(Some(&standing));
        Ok(Self { gate, then: world.now(), began: BootClock.now() })
    }

    /// The clock, slowed so that the leases of the model outlast the run.
    fn now(&self) -> Instant {
        let passed = BootClock.now().since(self.began).as_millis() >> 20;
        self.then.after(Span::from_millis(passed))
    }

    fn admit(&self) -> Result<(), Failure> {
        let admitted = self.gate.admit(|| self.now());
        black_box(admitted).map(drop).ok_or_else(|| Failure::refused("a use was not admitted"))
    }

    /// Batches of each in turn, so that what disturbs one disturbs the others.
    fn measure(&self, rounds: usize) -> Result<[Series; 3], Failure> {
        let [mut clock, mut admit, mut both] = [const { Vec::new() }; 3];
        let admission = self
            .gate
            .admit(|| self.now())
            .ok_or_else(|| Failure::refused("a use was not admitted"))?;
        for _ in 0..rounds {
            clock.push(batch(|| {
                black_box(self.now());
                Ok(())
            })?);
            admit.push(batch(|| self.admit())?);
            both.push(batch(|| {
                self.admit()?;
                let may = self.gate.may_leave(|| self.now(), &admission);
                black_box(may).then_some(()).ok_or_else(|| Failure::refused("output was held"))
            })?);
        }
        Ok([clock, admit, both].map(|times| {
            let mut series = Series::default();
            times.into_iter().for_each(|time| series.push(time));
            series
        }))
    }
}

/// The time of one of many calls.
fn batch(mut call: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let start = Clocked::now();
    for _ in 0..BATCH {
        call()?;
    }
    Ok(start.elapsed() / BATCH)
}

/// The custodian's end of an online authorisation: decodes, decides over what it holds, answers.
fn authorise(frame: Vec<u8>) -> Vec<u8> {
    let Ok(Message::Renew(renew)) = Message::from_frame(&frame) else { return Vec::new() };
    let (lease, counter) = (renew.lease, renew.counter);
    let (answer, term) = (RenewalAnswer::Renewed, Span::from_millis(1));
    Message::Renewal(Renewal { lease, counter, answer, term, budget: Budget::new(1) }).to_frame()
}

fn question(counter: u64) -> Renew {
    Renew { lease: LeaseId::new([7; LeaseId::SIZE]), counter: Counter::new(counter), used: 1 }
}

/// The device's end: asks and believes only an answer to this question.
fn ask_online(line: &mut Line, counter: u64) -> Result<(), Failure> {
    let renew = question(counter);
    let answer = Message::from_frame(&line.ask(&Message::Renew(renew).to_frame())?);
    match answer {
        Ok(Message::Renewal(renewal))
            if renewal.lease == renew.lease && renewal.counter == renew.counter =>
        {
            Ok(())
        }
        _ => Err(Failure::refused("not an answer to what was asked")),
    }
}

fn ask_both(echo: &mut Line, online: &mut Line, rounds: usize) -> Result<[Series; 2], Failure> {
    let (mut bare, mut asked) = (Series::default(), Series::default());
    let frame = Message::Renew(question(0)).to_frame();
    for round in 0..rounds.saturating_mul(10) as u64 {
        bare.time(|| echo.ask(&frame))?;
        asked.time(|| ask_online(online, round))?;
    }
    Ok([bare, asked])
}

/// One link's figures.
struct Row {
    round_trip: Duration,
    direct: Series,
    online: Series,
    leased: Series,
}

/// The same service, alone, behind a question over the link, and behind the gate.
fn links(args: &BenchLatencyArgs, leased: &Leased, line: &mut Line) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for micros in [0, 200, 880, 30_000] {
        let round_trip = Duration::from_micros(micros);
        let mut row = Row {
            round_trip,
            direct: Series::default(),
            online: Series::default(),
            leased: Series::default(),
        };
        for round in 0..args.requests {
            row.direct.time(serve)?;
            row.online.time(|| {
                wait(round_trip / 2);
                ask_online(line, round)?;
                wait(round_trip / 2);
                serve()
            })?;
            row.leased.time(|| {
                leased.admit()?;
                serve()
            })?;
        }
        rows.push(row);
    }
    Ok(rows)
}

/// What a request is for.
fn serve() -> Result<(), Failure> {
    wait(SERVICE);
    Ok(())
}

/// Waits this long: asleep at first, and awake at the end, since a sleeper wakes late.
fn wait(length: Duration) {
    let start = Clocked::now();
    if let Some(asleep) = length.checked_sub(Duration::from_millis(2)) {
        std::thread::sleep(asleep);
    }
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}

impl Row {
    fn say(&self, how: &str, series: &Series, last: &str) {
        let more = (series.least() / self.direct.least() - 1.0) * 100.0;
        let [least, median, p99] = [series.least(), series.median(), series.p99()].map(time);
        say!("  {how:<8} {least:>10} {more:>+9.1} % {median:>10} {p99:>10}   {last}");
    }
}

struct Report {
    check: [Series; 3],
    asked: [Series; 2],
    rows: Vec<Row>,
    ttl_max: u64,
    load: String,
}

impl Report {
    fn print(&self) {
        let [clock, admit, both] = &self.check;
        let [echo, online] = &self.asked;
        say!("load average {}; times are min, median, 99th percentile\n", self.load);
        row("one reading of the clock", clock, clock);
        row("a use admitted under a lease", admit, clock);
        row("admitted, and its output let out", both, clock);
        row("bare echo over a warm channel", echo, echo);
        row("authorised online over it", online, echo);
        say!(
            "\na service of {}, direct, authorised online, and leased",
            time(SERVICE.as_secs_f64())
        );
        say!(
            "min, and beside direct, and median, and 99th percentile; at most so long from a revocation"
        );
        say!(
            "to the last use: half a round trip and the service online; the longest lease, leased\n"
        );
        for of in &self.rows {
            let trip = of.round_trip.as_secs_f64();
            let last = time(trip / 2.0 + SERVICE.as_secs_f64());
            say!("round trip {}", time(trip));
            of.say("direct", &of.direct, "");
            of.say("online", &of.online, &last);
            of.say("leased", &of.leased, &time(self.ttl_max as f64 / 1e3));
        }
    }

    fn json(&self) -> Value {
        let [clock, admit, both] = &self.check;
        let [echo, online] = &self.asked;
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|of| {
                json!({
                    "round_trip": of.round_trip.as_secs_f64(), "direct": of.direct.json(),
                    "online": of.online.json(), "leased": of.leased.json(),
                })
            })
            .collect();
        json!({
            "load": self.load, "clock": clock.json(), "admit": admit.json(),
            "admit_and_leave": both.json(), "echo": echo.json(), "online": online.json(),
            "links": rows, "ttl_max": self.ttl_max as f64 / 1e3,
        })
    }
}

fn row(what: &str, of: &Series, floor: &Series) {
    let ratio = of.median() / floor.median();
    let [least, median, p99] = [of.least(), of.median(), of.p99()].map(time);
    say!("{what:<34} {least:>10} {median:>10} {p99:>10}   {ratio:>5.2} of the floor");
}

/// A slice whose device serves from the start, under leases without a limit of uses.
const SLICE: &str = "lease-one";
/// What the article that this answers to measured as the service alone.
const SERVICE: Duration = Duration::from_micros(1_200);
/// Calls in one timed batch.
const BATCH: u32 = 10_000;
