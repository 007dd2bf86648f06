//! Before the release: keys, sealing, custodians, node and device.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::wire::standing::StandingCode;

use super::process::Process;
use super::report::Report;
use super::source::Source;
use super::stage::{Custodian, Stage, device, hsm_module, log};
use crate::args::{DemoArgs, GpuArg};
use crate::arguments;
use crate::failure::{Failure, io_at};
use crate::files::hex;
use crate::hsm;
use crate::keygen::{self, CustodyKeys};
use crate::layout::Household;
use crate::operator::Operators;
use crate::screen;
use crate::seal::{SealedModel, Sealing};
use crate::terms::TermArgs;

/// Short terms, so that a run is short: it waits for several of them.
pub const TERMS: TermArgs = TermArgs {
    first_ms: 1_500,
    term_ms: 2_000,
    ttl_max_ms: 2_000,
    margin_ms: 50,
    gather_ms: 500,
    challenge_max_ms: 10_000,
    max_age_ms: 600_000,
    budget: None,
};

pub fn prepare<'a>(
    args: &'a DemoArgs,
    folder: &Path,
    report: &mut Report,
) -> Result<Stage<'a>, Failure> {
    let source = Source::open(args, folder)?;
    introduce(args, &source, report);
    let logs = folder.join("logs");
    fs::create_dir(&logs).map_err(|e| io_at(&logs, "create the folder", &e))?;
    let n = args.custodians;
    let module = hsm_module(args)?;
    let household = Household(folder.join("keys"));
    let made = report.stage("keys", || {
        let (keys, what) = match &module {
            None => (CustodyKeys::Software, "software keys"),
            Some(_) => (CustodyKeys::Hsm, "custodians' keys in tokens of their own"),
        };
        let made = keygen::generate(&folder.join("keys"), n, args.devices, 1, keys)?;
        if let Some(module) = &module {
            (1..=n).try_for_each(|id| hsm::throw_away(&household.custodian(id), module))?;
        }
        Ok((made, format!("owner, 1 operator, {n} custodians, 1 device, 1 node: {what}")))
    })?;
    let device_id = *made.devices.first().ok_or_else(|| Failure::refused("no device was made"))?;
    let sealed_path = folder.join("model.sealed.safetensors");
    let sealed = seal(args, &source, &household, &sealed_path, report)?;

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let operators = Operators::load(&household)?;
    let mut custodians = report.stage("custodians", || {
        let started: Result<Vec<_>, _> =
            (1..=n).map(|id| custodian(args, &household, id, &logs)).collect();
        Ok((started?, format!("{n} processes, each with its store and its keys")))
    })?;
    activate(&runtime, &operators, &sealed, &custodians, report)?;
    kill(args.kill, &mut custodians, report);

    let socket = folder.join("node.sock");
    let node = report.stage("node", || {
        let node = node(&household, &custodians, &socket, &logs)?;
        Ok((node, "the host: carries bytes, certifies leaf keys, holds no secret".into()))
    })?;
    let device = report.stage("device", || {
        let device = device(args, source.len(), &household, &socket, &logs, 1)?;
        let backing = device.ready["backing"].as_str().unwrap_or("?").to_owned();
        let kind = if args.gpu == GpuArg::Sim { "simulated" } else { "on a GPU" };
        Ok((device, format!("{kind}; scrubbed, planted; its memory is {backing}")))
    })?;
    Ok(Stage {
        args,
        runtime,
        household,
        source,
        sealed,
        sealed_path,
        operators,
        device_id,
        custodians,
        node,
        device,
        socket,
        logs,
        starts: 1,
    })
}

/// What a reader must know before believing anything below.
fn introduce(args: &DemoArgs, source: &Source, report: &mut Report) {
    let (n, k, f) = (args.custodians, args.threshold, args.faulty);
    report.model = json!({
        "name": source.name, "bytes": source.len(), "tensors": source.tensors().len(),
        "n": n, "k": k, "f": f,
    });
    let (size, tensors) = (screen::bytes(source.len()), source.tensors().len());
    report.say(&format!("custody demo: {} ({size}, {tensors} tensors)\n", source.name));
    report.say(&format!("  {k} of {n} custodians release, {f} may lie (n/k/f = {n}/{k}/{f})."));
    report.say(&format!("  A revocation needs {}.", needed(n, k, f)));
    report.say("  A sole operator signs orders and changes (1 and 1).");
    let keys = match args.hsm.as_str() {
        "soft" => "Keys are software keys",
        _ => "Custodians' keys lie in throw-away tokens of suite P256-CBCD-KW, for development",
    };
    let device = match args.gpu {
        GpuArg::Sim => "the device is simulated, and isolated by software only",
        GpuArg::Cuda => "the device is on a GPU, and isolated by software only",
    };
    report.say(&format!("  {keys}; {device}.\n"));
}

/// How many acknowledgements a revocation needs, and why.
pub fn needed(n: u8, k: u8, f: u8) -> String {
    let need = u32::from(n) + 1 + u32::from(f) - u32::from(k);
    let least = need - u32::from(f);
    let sum = format!("{need} acknowledgements (n-k+1+f = {n}-{k}+1+{f})");
    match f {
        0 => format!("{sum}: then at most k-1 = {} custodians can renew", k - 1),
        f => format!(
            "{sum}: {f} that acknowledge may lie and go on, so {least} honest ones are sure, \
             and at most k-1 = {} can renew",
            k - 1
        ),
    }
}

fn seal(
    args: &DemoArgs,
    source: &Source,
    household: &Household,
    target: &Path,
    report: &mut Report,
) -> Result<SealedModel, Failure> {
    report.stage("seal", || {
        let sealing = Sealing {
            source: &source.path,
            target,
            household,
            threshold: args.threshold,
            faulty: args.faulty,
            version: 1,
            weights: None,
            terms: &TERMS,
            image: None,
            development: true,
        };
        let bar = screen::bar(source.len(), "sealing");
        let sealed = sealing.seal(&|bytes| bar.inc(bytes));
        bar.finish_and_clear();
        let sealed = sealed?;
        let what = format!(
            "AES-256-GCM, 16 KiB chunks; {} shares dealt, {} needed",
            args.custodians, args.threshold
        );
        Ok((sealed, what))
    })
}

fn custodian(
    args: &DemoArgs,
    household: &Household,
    id: u8,
    logs: &Path,
) -> Result<Custodian, Failure> {
    let name = format!("custodian-{id}");
    let mut arguments = arguments![
        "custodian",
        "--dir",
        household.custodian(id).0,
        "--listen",
        "127.0.0.1:0",
        "--scannable",
    ]
    .to_vec();
    arguments.extend(log(args, logs, &name));
    let process = Process::start(&name, logs, &arguments)?;
    let address = process.ready["address"].as_str().and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| Failure::refused(format!("{name} named no address")))?;
    Ok(Custodian { id: CustodianId::new(id), address, process, killed: false })
}

fn activate(
    runtime: &tokio::runtime::Runtime,
    operators: &Operators,
    sealed: &SealedModel,
    custodians: &[Custodian],
    report: &mut Report,
) -> Result<(), Failure> {
    let serving = report.stage("activate", || {
        let mut serving = 0;
        for (custodian, (id, provision)) in custodians.iter().zip(&sealed.provisions) {
            let status = runtime.block_on(async {
                let mut line = operators.connect(*id, custodian.address).await?;
                operators.provision(&mut line, provision.clone()).await?;
                operators.activate(&mut line, &sealed.manifest).await
            })?;
            serving += usize::from(status.standing == StandingCode::Serving);
        }
        Ok((serving, "each holds its sealed share durably; the operator let it serve".into()))
    })?;
    let n = custodians.len();
    let detail = format!("{serving} of {n} serve");
    report.check("custodians-serve", "every custodian serves its share set", serving == n, detail);
    Ok(())
}

/// Takes custodians away before anything was released.
fn kill(count: u8, custodians: &mut [Custodian], report: &mut Report) {
    for custodian in custodians.iter_mut().rev().take(usize::from(count)) {
        custodian.process.end();
        custodian.killed = true;
        let what = format!("custodian {} was killed before the release", custodian.id);
        report.timed("kill", Duration::ZERO, &what);
    }
}

fn node(
    household: &Household,
    custodians: &[Custodian],
    socket: &Path,
    logs: &Path,
) -> Result<Process, Failure> {
    let mut arguments: Vec<OsString> =
        arguments!["node", "--dir", household.node().0, "--socket", socket].to_vec();
    for custodian in custodians {
        let place = format!("{}={}", custodian.id, custodian.address);
        arguments.extend(arguments!["--custodian", place]);
    }
    Process::start("node", logs, &arguments)
}

/// A device id as the report shows it.
pub fn shown(device: &split_custody_protocol::suite::DeviceId) -> String {
    hex(device.as_bytes().get(..8).unwrap_or_default()) + ".."
}
