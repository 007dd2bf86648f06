//! `cargo run --release -p split-custody-attest --example bench_nvidia [--features aws-lc-rs]`
//!
//! One report of a GPU, verified beside the bare signature verifications that it needs, in the same
//! run: for each round first the floor, then the whole. Ratios are medians of rounds.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use split_custody_attest::UnixTime;
use split_custody_attest::nvidia::{Case, Depth, Form, Gpu, Provider, Report, Verifier};
use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(ROUNDS), |text| text.parse())?;
    let evidence = Recorded::read()?;
    println!("{:<10} {:<34} {:>10} {:>10} {:>7}", "provider", "", "floor", "whole", "ratio");
    for provider in Provider::ALL {
        let verifier = Verifier::new(*provider);
        evidence.verify(&verifier, &evidence.chain);
        let one = measure(
            rounds,
            |_| evidence.floor(*provider, 1),
            |_| {
                evidence.verify(&verifier, &evidence.chain);
            },
        );
        tell(*provider, "a GPU seen before: 1 signature", one);
        // Line ends after the chain: other bytes of the same content, so only links are known.
        let two = measure(
            rounds,
            |_| evidence.floor(*provider, 3),
            |round| {
                let ends = vec![b'\n'; 1 + round % 290];
                let fresh = [evidence.chain.as_slice(), &ends].concat();
                // The cache keeps fewer chains than there are rounds until one comes back.
                evidence.verify(&verifier, &fresh);
            },
        );
        tell(*provider, "a GPU not seen before: 3 signatures", two);
    }
    println!("{rounds} rounds; medians; every verification accepted");
    Ok(())
}

struct Recorded {
    report: Vec<u8>,
    chain: Vec<u8>,
    rims: Vec<Vec<u8>>,
    certificates: Vec<Certificate>,
}

impl Recorded {
    fn read() -> Result<Self, Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/nvidia/full-match-545.00");
        let text = fs::read_to_string(folder.join("attestationReport.txt"))?;
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16);
        let report = (0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>()?;
        let chain = fs::read(folder.join("gpuAkCertChain.txt"))?;
        let rims = ["Driver_RIM_test_no_gpu", "1010_0200_882_96005E0001_test_no_gpu"]
            .map(|name| fs::read(folder.join(format!("{name}.swidtag"))));
        let rims = rims.into_iter().collect::<Result<_, _>>()?;
        let end = "-----END CERTIFICATE-----";
        let pem = std::str::from_utf8(&chain)?.split_inclusive(end).map(str::trim);
        let certificates = pem
            .map(|pem| Certificate::from_pem(pem).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        Ok(Self { report, chain, rims, certificates })
    }

    fn verify(&self, verifier: &Verifier, chain: &[u8]) {
        let gpus = [Gpu { report: &self.report, chain }];
        let at = UnixTime::new(1_717_200_000);
        let case = Case { gpus: &gpus, rims: &self.rims, nonce: None, at, rules: None };
        let examination = verifier.examine(&case, Depth::FirstFailure);
        assert!(examination.outcome.is_ok(), "{:?}", examination.outcome);
    }

    /// The report's signature, and those of the first certificates: nothing else is timed.
    fn floor(&self, provider: Provider, signatures: usize) -> Duration {
        let report = Report::parse(&self.report).expect("the vector is a report");
        let point = |at: usize| {
            let key = &self.certificates[at].tbs_certificate.subject_public_key_info;
            key.subject_public_key.raw_bytes()
        };
        let certificates: Vec<_> = (0..signatures - 1)
            .map(|at| {
                let tbs = self.certificates[at].tbs_certificate.to_der().expect("it was DER");
                (point(at + 1), tbs, self.certificates[at].signature.raw_bytes())
            })
            .collect();
        let began = Instant::now();
        let verified = provider.verify(Form::Fixed, point(0), report.signed(), report.signature());
        verified.expect("the report is signed");
        for (key, tbs, signature) in &certificates {
            let verified = provider.verify(Form::Asn1, key, tbs, signature);
            verified.expect("the certificate is signed");
        }
        began.elapsed()
    }
}

/// Medians of floor, whole, and their ratio.
fn measure(
    rounds: usize,
    floor: impl Fn(usize) -> Duration,
    whole: impl Fn(usize),
) -> (Duration, Duration, f64) {
    let mut all: Vec<(Duration, Duration)> = Vec::new();
    for round in 0..rounds {
        let floor = floor(round);
        let began = Instant::now();
        whole(round);
        all.push((floor, began.elapsed()));
    }
    let middle = all.len() / 2;
    let mut floors: Vec<_> = all.iter().map(|(floor, _)| *floor).collect();
    let mut wholes: Vec<_> = all.iter().map(|(_, whole)| *whole).collect();
    let mut ratios: Vec<_> = all.iter().map(|(f, w)| w.as_secs_f64() / f.as_secs_f64()).collect();
    floors.sort();
    wholes.sort();
    ratios.sort_by(f64::total_cmp);
    (floors[middle], wholes[middle], ratios[middle])
}

fn tell(provider: Provider, what: &str, (floor, whole, ratio): (Duration, Duration, f64)) {
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    let name = provider.name();
    println!("{name:<10} {what:<34} {:>10} {:>10} {ratio:>6.3}x", micros(floor), micros(whole));
}

const ROUNDS: usize = 200;
