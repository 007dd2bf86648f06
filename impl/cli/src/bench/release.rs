//! `custody bench release`: cold attach and release, beside the sum of what it must compute.
//!
//! Custodians, node and devices are processes, as in operation; a device that gave the model up dials
//! anew, so every release has its own handshakes, Evidence, transaction and grants. What follows from
//! a release (opening the weights) is not counted.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use split_custody_attest::{Measurements, SoftwareAttester, appraise};
use split_custody_keys::{
    ByteSuite, Dealing, Dek, Recipient, SigningKey, SoftCustody, hash_label, provision_context,
    verify,
};
use split_custody_protocol::Suite;
use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId};
use split_custody_protocol::suite::{Digest, Label, SuiteId};

use super::link::Ends;
use super::measure::{Series, cpu_of, load, time};
use crate::args::{BenchReleaseArgs, DemoArgs};
use crate::arguments;
use crate::control::{DeviceAsk, ask};
use crate::demo::{Process, Stage, staged};
use crate::failure::{Failure, io_at};

pub fn release(args: &BenchReleaseArgs) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("custody-bench-").tempdir()?;
    let parts = Parts::measure(args.rounds, folder.path())?;
    let one = Released::measure(&folder.path().join("one"), (1, 1), args.rounds)?;
    let two = Released::measure(&folder.path().join("two"), (3, 2), args.rounds)?;
    let crowd = Crowd::measure(&folder.path().join("crowd"), args.clients, args.seconds)?;
    if args.json {
        let (one, two) = (one.json(), two.json());
        say!(
            "{}",
            json!({
                "load": load(), "parts": parts.json(), "one_of_one": one, "two_of_three": two,
                "crowd": crowd.json(),
            })
        );
    } else {
        print(&parts, &one, &two, &crowd);
    }
    Ok(())
}

/// What a release computes, each alone on one thread, both ends.
struct Parts {
    handshake: Series,
    evidence: Series,
    share: Series,
    grant: Series,
    durable: Series,
}

impl Parts {
    fn measure(rounds: usize, folder: &Path) -> Result<Self, Failure> {
        Ok(Self {
            handshake: handshake(rounds)?,
            evidence: evidence(rounds)?,
            share: share(rounds)?,
            grant: grant(rounds)?,
            durable: durable(rounds, folder)?,
        })
    }

    fn each(&self) -> [(&'static str, &Series); 5] {
        [
            ("mutual TLS handshake, both ends", &self.handshake),
            ("Evidence made and appraised", &self.evidence),
            ("device key, share re-wrapped, opened", &self.share),
            ("grant signed and verified", &self.grant),
            ("256 bytes made durable", &self.durable),
        ]
    }

    fn sum(&self) -> f64 {
        self.each().iter().map(|(_, series)| series.median()).sum()
    }

    fn json(&self) -> Value {
        let each = self.each();
        json!({ "sum": self.sum(), "each": each.map(|(name, s)| json!({ "name": name, "time": s.json() })) })
    }
}

fn handshake(rounds: usize) -> Result<Series, Failure> {
    let ends = Ends::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Series::of(rounds, || runtime.block_on(ends.shake_hands()))
}

fn evidence(rounds: usize) -> Result<Series, Failure> {
    let measured = Measurements { gpu: Digest::new([7; 32]), cpu: Digest::new([8; 32]) };
    let attester =
        SoftwareAttester::new(SigningKey::generate()?, SigningKey::generate()?, measured, 1);
    let session = Digest::new([3; 32]);
    let gpu = hash_label(Label::Gpu, &[session.as_bytes()]);
    Series::of(rounds, || {
        let evidence = attester.collect(&session, &gpu)?;
        appraise(&evidence).map(drop).map_err(|e| Failure::refused(format!("{e:?}")))
    })
}

/// One custodian's share on its way to one device.
fn share(rounds: usize) -> Result<Series, Failure> {
    let custody = SoftCustody::generate()?;
    let recipient = Recipient {
        custodian: CustodianId::new(1),
        index: ShareIndex::new(1),
        kek: custody.kek_public(),
    };
    let (set, manifest) = (ShareSetId::new([1; ShareSetId::SIZE]), Digest::new([2; 32]));
    let dealt = Dealing::deal(&Dek::generate(), set, 1, &[recipient])?.seal(&manifest)?;
    let dealt = dealt.first().ok_or_else(|| Failure::refused("no share was dealt"))?;
    let kek = custody.kek_public();
    let place = (CustodianId::new(1), ShareIndex::new(1));
    let provisioned = provision_context(&manifest, &set, place.0, place.1, &kek.digest());
    let context = Digest::new([4; 32]);
    let mut suite = ByteSuite::new();
    Series::of(rounds, || {
        let hpke = SuiteId::HPKE_X25519;
        let (secret, key) = suite.generate(hpke, 0);
        let sealed = custody.rewrap(&dealt.sealed, &provisioned, hpke, &key, &context)?;
        let opened = suite.open_share(hpke, secret, &context, &sealed);
        suite.erase_all();
        opened.map(drop).map_err(|_| Failure::refused("a share did not open"))
    })
}

fn grant(rounds: usize) -> Result<Series, Failure> {
    let (key, message) = (SigningKey::generate()?, [9; 400]);
    Series::of(rounds, || {
        let signature = key.sign(&message)?;
        verify(&key.public(), &message, &signature)
            .map_err(|_| Failure::refused("a signature does not verify"))
    })
}

/// The least that any store pays: as many bytes appended, and synced.
fn durable(rounds: usize, folder: &Path) -> Result<Series, Failure> {
    let path = folder.join("durable");
    let failed = |e: std::io::Error| io_at(&path, "write the file", &e);
    let mut file = File::create(&path).map_err(failed)?;
    Series::of(rounds, || {
        file.write_all(&[5; 256]).map_err(failed)?;
        file.sync_data().map_err(failed)
    })
}

/// Releases to one device, one after the other.
struct Released {
    gather: Series,
    attest: Series,
    release: Series,
    whole: Series,
    /// Seconds of each custodian's processor for one release.
    server: f64,
}

impl Released {
    fn measure(folder: &Path, (n, k): (u8, u8), rounds: usize) -> Result<Self, Failure> {
        let args = demo_args(n, k, 1);
        let stage = stage_in(&args, folder)?;
        let control = stage.control();
        // The first one pays for what is done once: pages, files, connections to the store.
        one_release(&control, &stage.sealed_path)?;
        let mut measured = Self {
            gather: Series::default(),
            attest: Series::default(),
            release: Series::default(),
            whole: Series::default(),
            server: 0.0,
        };
        let before = cpu_of_custodians(&stage)?;
        for _ in 0..rounds {
            let [gather, attest, release] = one_release(&control, &stage.sealed_path)?;
            measured.gather.push(gather);
            measured.attest.push(attest);
            measured.release.push(release);
            measured.whole.push(gather + attest + release);
        }
        let custodians = stage.custodians.len() as f64;
        measured.server = (cpu_of_custodians(&stage)? - before) / custodians / rounds as f64;
        Ok(measured)
    }

    fn json(&self) -> Value {
        json!({
            "gather": self.gather.json(), "attest": self.attest.json(),
            "release": self.release.json(), "whole": self.whole.json(),
            "server_cpu": self.server,
        })
    }
}

/// Many devices at one custodian at the same time.
struct Crowd {
    clients: u8,
    whole: Series,
    /// Releases in a second, loading and giving up included.
    rate: f64,
    server: f64,
}

impl Crowd {
    fn measure(folder: &Path, clients: u8, seconds: u64) -> Result<Self, Failure> {
        let args = demo_args(1, 1, clients);
        let stage = stage_in(&args, folder)?;
        let others: Result<Vec<Process>, Failure> =
            (2..=clients).map(|place| another_device(&stage, place)).collect();
        let others = others?;
        let controls: Vec<_> =
            (1..=clients).map(|place| stage.household.device(place).path("control.sock")).collect();
        for control in &controls {
            one_release(control, &stage.sealed_path)?;
        }
        let before = cpu_of_custodians(&stage)?;
        let (started, length) = (Instant::now(), Duration::from_secs(seconds));
        let sealed = &stage.sealed_path;
        let all: Result<Vec<Vec<Duration>>, Failure> = std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for control in &controls {
                clients.push(scope.spawn(move || {
                    let mut times = Vec::new();
                    while started.elapsed() < length {
                        times.push(one_release(control, sealed)?.iter().sum());
                    }
                    Ok(times)
                }));
            }
            let ended = clients.into_iter().map(|client| client.join());
            ended.map(|end| end.expect("a client does not panic")).collect()
        });
        let elapsed = started.elapsed().as_secs_f64();
        let used = cpu_of_custodians(&stage)? - before;
        drop(others);
        let (mut whole, mut releases) = (Series::default(), 0.0);
        for time in all?.into_iter().flatten() {
            whole.push(time);
            releases += 1.0;
        }
        Ok(Self { clients, whole, rate: releases / elapsed, server: used / releases })
    }

    fn json(&self) -> Value {
        json!({
            "clients": self.clients, "whole": self.whole.json(), "per_second": self.rate,
            "server_cpu": self.server,
        })
    }
}

fn demo_args(custodians: u8, threshold: u8, devices: u8) -> DemoArgs {
    DemoArgs { custodians, threshold, devices, quiet: true, ..DemoArgs::standard() }
}

fn stage_in<'a>(args: &'a DemoArgs, folder: &Path) -> Result<Stage<'a>, Failure> {
    std::fs::create_dir(folder).map_err(|e| io_at(folder, "create the folder", &e))?;
    staged(args, folder)
}

fn another_device(stage: &Stage<'_>, place: u8) -> Result<Process, Failure> {
    let folder = stage.household.device(place);
    let arguments = arguments!["device", "--dir", folder.0, "--node", &stage.socket];
    Process::start(&format!("device-of-{place}"), &stage.logs, &arguments)
}

/// One release and its end: how long gathering, attesting and releasing took.
fn one_release(control: &Path, sealed: &Path) -> Result<[Duration; 3], Failure> {
    let loaded = ask(control, &DeviceAsk::Load { model: sealed.to_owned() })?;
    ask(control, &DeviceAsk::Release)?;
    let part = |name: &str| {
        let micros = loaded[name].as_u64().filter(|micros| *micros > 0);
        micros.map(Duration::from_micros).ok_or_else(|| {
            Failure::refused(format!("the device did not say how long `{name}` took"))
        })
    };
    Ok([part("gather_micros")?, part("attest_micros")?, part("release_micros")?])
}

fn cpu_of_custodians(stage: &Stage<'_>) -> Result<f64, Failure> {
    let cpu = |pid: u32| cpu_of(&pid.to_string()).map(|cpu| cpu.own);
    stage.custodians.iter().map(|custodian| cpu(custodian.process.pid())).sum()
}

fn print(parts: &Parts, one: &Released, two: &Released, crowd: &Crowd) {
    say!("load average {}; times are min, median, 99th percentile\n", load());
    for (name, series) in parts.each() {
        row(name, series);
    }
    let sum = parts.sum();
    let computed = sum - parts.durable.median();
    say!(
        "{:<40} {:>10} {:>10}   without durability {}\n",
        "sum of medians",
        "",
        time(sum),
        time(computed)
    );
    for (name, of) in [("1 of 1", one), ("2 of 3", two)] {
        row(&format!("{name}: gathering"), &of.gather);
        row(&format!("{name}: attesting"), &of.attest);
        row(&format!("{name}: releasing"), &of.release);
        row(&format!("{name}: all of it"), &of.whole);
        let ratio = of.whole.median() / sum;
        say!(
            "{:<40} {:>10} {:>10}   {ratio:.2} of the sum; a custodian's CPU {}",
            "",
            "",
            "",
            time(of.server)
        );
    }
    let ratio = two.whole.median() / one.whole.median();
    say!("2 of 3 beside 1 of 1: {ratio:.2}\n");
    row(&format!("{} devices at once", crowd.clients), &crowd.whole);
    say!(
        "{:<40} {:.1} releases a second, loading included; the custodian's CPU {} each",
        "",
        crowd.rate,
        time(crowd.server)
    );
}

fn row(name: &str, series: &Series) {
    let [least, median, p99] = [series.least(), series.median(), series.p99()].map(time);
    say!("{name:<40} {least:>10} {median:>10} {p99:>10}");
}
