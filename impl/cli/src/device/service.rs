//! What a device does when its host asks over the control socket.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use split_custody_gpu::sim::Window;
use split_custody_gpu::{GpuError, SignedNonce, TensorSlice};
use split_custody_protocol::effect::{Report, StopCause};
use split_custody_protocol::role::{Device, DeviceInput};
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::manifest::{Manifest, Table};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::signed::Signed;
use split_custody_protocol::{Rule, Violation};
use split_custody_runtime::clock::{BootClock, Clock};
use split_custody_runtime::driver::{Handle, Observed};
use split_custody_weights::{SealedTable, SealedTensor};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

use super::accelerator::Accelerator;
use super::attempt;
use super::backend::{Desk, Wanted};
use super::receipts::Receipts;
use crate::control::{Answer, DeviceAsk};
use crate::failure::{Failure, chain};
use crate::files::{hex, read, read_signed, unhex};
use crate::layout::Beside;
use crate::seal::table_digest;

/// One device's service.
pub struct Service {
    pub handle: Handle<Device>,
    pub device: Accelerator,
    pub desk: Desk,
    pub news: News,
    pub receipts: Receipts,
    /// Open while the service lives.
    pub window: Window,
    pub backing: String,
    pub loading: tokio::sync::Mutex<()>,
}

impl Service {
    pub async fn answer(&self, ask: DeviceAsk, answer: Answer) -> Result<Value, Failure> {
        match ask {
            DeviceAsk::Load { model } => self.load(&model, answer).await,
            DeviceAsk::Release => self.release().await,
            DeviceAsk::Status => self.status().await,
            DeviceAsk::Prove { nonce, signature } => {
                let nonce = SignedNonce {
                    nonce: unhex(&nonce).map_err(Failure::Refused)?,
                    signature: unhex(&signature).map_err(Failure::Refused)?,
                };
                self.prove(nonce).await
            }
            DeviceAsk::Use { tensor, start, end, key } => {
                let key = unhex(&key).map_err(Failure::Refused)?;
                self.serve(TensorSlice { tensor, range: start..end }, key).await
            }
            DeviceAsk::Attempt { call } => attempt::run(self.device.clone(), call).await,
            DeviceAsk::Receipts => {
                let receipts: Vec<String> = self.receipts.all().iter().map(|r| hex(r)).collect();
                Ok(json!(receipts))
            }
        }
    }

    /// Acquires the model: returns when it is served, or says why it is not.
    async fn load(&self, model: &Path, answer: Answer) -> Result<Value, Failure> {
        let Ok(_alone) = self.loading.try_lock() else {
            return Err(Failure::refused("another load is under way"));
        };
        let beside = Beside(model);
        let manifest = read_signed(&beside.manifest(), "a signed manifest")?;
        let deployment = read_signed(&beside.deployment(), "a signed deployment record")?;
        let (n, table) = read_table(&beside.table(), &beside.manifest(), &manifest)?;
        self.desk.want(Wanted { sealed: model.to_owned(), table, answer });
        let mut news = self.news.subscribe();
        let started = Instant::now();
        self.handle.input(DeviceInput::Acquire { manifest, deployment }).await?;
        let outcome =
            timeout(LONGEST_LOAD, outcome(&mut news, n, &self.desk, &beside.manifest())).await;
        match outcome.unwrap_or_else(|_| Err(Failure::refused("the load took too long"))) {
            Ok(left_out) => Ok(self.loaded(started, &left_out)),
            Err(failure) => Err(match self.desk.failed() {
                Some(why) => Failure::refused(format!("model was not loaded: {why}")),
                None => failure,
            }),
        }
    }

    fn loaded(&self, started: Instant, left_out: &[Closed]) -> Value {
        let marks = self.desk.marks();
        let micros = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => u64::try_from((to - from).as_micros()).unwrap_or(u64::MAX),
            _ => 0,
        };
        let left_out: Vec<u8> = left_out.iter().map(|closed| closed.custodian).collect();
        json!({
            "gather_micros": micros(Some(started), marks.gathered),
            "attest_micros": micros(marks.gathered, marks.attested),
            "release_micros": micros(marks.attested, marks.released),
            "load_micros": micros(marks.released, marks.loaded),
            "left_out": left_out, "backing": self.backing,
        })
    }

    async fn release(&self) -> Result<Value, Failure> {
        let mut news = self.news.subscribe();
        let custody = self.handle.call("status", |device, _| device.state_names().1).await?;
        if custody == "Idle" {
            return Ok(Value::Null); // nothing to give up, so nothing to wait for
        }
        self.handle.input(DeviceInput::Release).await?;
        let stopped = async {
            loop {
                match &*news.recv().await? {
                    Observed::Report(Report::Stopped { .. }) => return Ok(Value::Null),
                    Observed::Rejected(why) => return Err(Failure::refused(explain(why))),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, stopped).await?
    }

    async fn status(&self) -> Result<Value, Failure> {
        let (states, counting, leases) = self
            .handle
            .call("status", |device, now| {
                let lease = |(id, held): (
                    split_custody_protocol::ids::CustodianId,
                    &split_custody_protocol::lease::Held,
                )| {
                    (id.value(), held.lease, held.counter.value(), held.state_name(now))
                };
                let leases: Vec<_> = device.leases().map(lease).collect();
                (device.state_names(), device.counting(now), leases)
            })
            .await?;
        let leases: Vec<Value> = leases
            .iter()
            .map(|(custodian, lease, counter, state)| {
                let lease = hex(lease.as_bytes());
                json!({ "custodian": custodian, "lease": lease, "renewals": counter, "state": state })
            })
            .collect();
        let incarnation = self.device.incarnation().map(|i| hex(&i.0));
        Ok(json!({
            "guard": states.0, "custody": states.1, "incarnation": incarnation,
            "counting": counting, "leases": leases, "backing": self.backing,
            "reads_refused": self.window.refused(), "stopped": self.news.stopped(),
        }))
    }

    async fn prove(&self, nonce: SignedNonce) -> Result<Value, Failure> {
        let device = self.device.clone();
        let proofs = tokio::task::spawn_blocking(move || device.gpu().prove(&nonce)).await?;
        let proofs = self.checked(proofs).await?;
        let proofs: Vec<Value> =
            proofs.iter().map(|p| json!({ "name": p.name, "mac": hex(&p.mac) })).collect();
        Ok(json!(proofs))
    }

    /// Admitted, computed, and let out only while leases still count. [LEA-2] [LEA-3]
    async fn serve(&self, slice: TensorSlice, key: [u8; 32]) -> Result<Value, Failure> {
        let admission = match self.handle.gate().admit(|| BootClock.now()) {
            Some(admission) => admission,
            None => self.handle.call("admit", |device, now| device.admit(now)).await??,
        };
        let device = self.device.clone();
        let computed =
            tokio::task::spawn_blocking(move || device.gpu().compute(&slice, &key)).await?;
        let checksum = self.checked(computed).await?;
        if !self.handle.gate().may_leave(|| BootClock.now(), &admission) {
            let leave = move |device: &mut Device, now| device.release_output(now, &admission);
            self.handle.call("release_output", leave).await??;
        }
        Ok(json!({ "checksum": hex(&checksum) }))
    }

    /// A mark that differs is a tamper signal. [RST-2]
    async fn checked<T>(&self, result: Result<T, GpuError>) -> Result<T, Failure> {
        if matches!(result, Err(GpuError::Tamper)) {
            self.handle.input(DeviceInput::Tampered).await?;
        }
        Ok(result?)
    }
}

/// A table that is the manifest's; who signed the manifest is for the machine to check.
fn read_table(
    path: &Path,
    manifest_path: &Path,
    signed: &Signed,
) -> Result<(u8, SealedTable), Failure> {
    let malformed =
        |e| Failure::refused(format!("`{}`: not a manifest: {e}", manifest_path.display()));
    let manifest: Manifest = decode(signed.payload_bytes(), Message::CAP).map_err(malformed)?;
    let bytes = read(path, Table::CAP)?;
    if table_digest(&bytes) != manifest.table {
        return Err(Failure::refused(format!(
            "`{}`: not the table of the manifest beside it [SEAL-8]",
            path.display()
        )));
    }
    let table: Table = decode(&bytes, Table::CAP)
        .map_err(|e| Failure::refused(format!("`{}`: not a tensor table: {e}", path.display())))?;
    let tensor = |row: &split_custody_protocol::wire::manifest::TableRow| SealedTensor {
        index: row.index,
        offset: row.offset,
        length: row.length,
        salt: row.salt,
        commitment: *row.commitment.as_bytes(),
    };
    let table = SealedTable {
        container: *manifest.container.as_bytes(),
        weights: *manifest.weights.as_bytes(),
        version: manifest.version.value(),
        data_offset: table.data_offset,
        tensors: table.tensors.iter().map(tensor).collect(),
        root: *manifest.root.as_bytes(),
    };
    Ok((manifest.n, table))
}

/// A custodian whose exchange came to nothing.
struct Closed {
    custodian: u8,
    why: String,
}

/// Follows one acquisition to its end; gives who was left out.
async fn outcome(
    news: &mut broadcast::Receiver<Arc<Observed>>,
    n: u8,
    desk: &Desk,
    manifest: &Path,
) -> Result<Vec<Closed>, Failure> {
    let (mut closed, mut dialled) = (Vec::<Closed>::new(), Vec::new());
    let mut just_closed = false;
    loop {
        let observed = news.recv().await?;
        match &*observed {
            Observed::DialFailed { custodian, error } => {
                dialled.push((custodian.value(), chain(error)));
            }
            Observed::Report(Report::ExchangeClosed { custodian, violation }) => {
                let failed = dialled.iter().find(|(id, _)| *id == custodian.value());
                let why = match (violation, failed) {
                    (Some(violation), _) => violation.to_string(),
                    (None, Some((_, error))) => error.clone(),
                    (None, None) => "refused".to_owned(),
                };
                closed.push(Closed { custodian: custodian.value(), why });
            }
            Observed::Report(Report::NotAcquired { valid, needed }) => {
                // Before Evidence those count that are ready, afterwards those that granted.
                let requested = desk.marks().attested.is_some();
                let ready = usize::from(n).saturating_sub(closed.len());
                let have = if requested { usize::from(*valid) } else { ready };
                return Err(not_acquired(have, *needed, &closed));
            }
            Observed::Report(Report::Serving { .. }) => return Ok(closed),
            Observed::Report(Report::Stopped { cause }) => {
                return Err(Failure::refused(format!(
                    "stopped while loading: {}",
                    cause_of(*cause)
                )));
            }
            // An exchange that fails says so before; anything else is the acquisition itself.
            Observed::Rejected(why) if !just_closed => {
                let failure = Failure::Refused(explain(why));
                let is_of_device = ["SubjectRevoked", "NoCleanIncarnation"];
                let is_of_manifest = why.starts_with("Violation")
                    && !is_of_device.iter().any(|violation| why.contains(violation));
                let path = format!("`{}`", manifest.display());
                return Err(if is_of_manifest { failure.within(&path) } else { failure });
            }
            _ => {}
        }
        just_closed = matches!(
            &*observed,
            Observed::Report(Report::ExchangeClosed { .. } | Report::LeaseCounts { .. })
        );
    }
}

fn not_acquired(have: usize, needed: u8, closed: &[Closed]) -> Failure {
    let told: Vec<String> =
        closed.iter().map(|c| format!("custodian {}: {}", c.custodian, c.why)).collect();
    Failure::Refused(format!("not released: have {have} of {needed}: {}", told.join("; ")))
}

/// Rejections come as the name of the broken rule's violation; people read the rule.
fn explain(rejected: &str) -> String {
    let is = |violation: Violation| rejected == format!("Violation({violation:?})");
    let rule = Rule::ALL.iter().find(|rule| is(rule.violation()));
    match rule {
        Some(rule) => rule.violation().to_string(),
        None if rejected.contains("WrongState") => {
            "not in this state: the device is tainted or holds a model already".into()
        }
        None if is(Violation::Unexpected) => Violation::Unexpected.to_string(),
        None => rejected.to_owned(),
    }
}

pub const fn cause_of(cause: StopCause) -> &'static str {
    match cause {
        StopCause::LeaseLost => "fewer than k leases counted",
        StopCause::Revoked => "revoked",
        StopCause::Tainted => "tainted",
        StopCause::LoadFailed => "a tensor did not open",
        StopCause::Released => "released",
    }
}

/// News of the driver, for whoever waits and for the log.
#[derive(Clone)]
pub struct News {
    sender: broadcast::Sender<Arc<Observed>>,
    stopped: Arc<Mutex<Option<&'static str>>>,
}

impl Default for News {
    fn default() -> Self {
        Self { sender: broadcast::channel(1024).0, stopped: Arc::default() }
    }
}

impl News {
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Observed>> {
        self.sender.subscribe()
    }

    /// Why the model left last.
    fn stopped(&self) -> Option<&'static str> {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn wait_clean(
        &self,
        news: &mut broadcast::Receiver<Arc<Observed>>,
    ) -> Result<(), Failure> {
        let clean = async {
            let mut tainted = 0;
            loop {
                match &*news.recv().await? {
                    Observed::Report(Report::Clean { .. }) => return Ok(()),
                    Observed::Report(Report::Tainted) => {
                        tainted += 1;
                        // Once when it starts; again when scrub or plant failed.
                        if tainted > 1 {
                            return Err(Failure::refused(
                                "device: no clean incarnation: scrub or certification failed",
                            ));
                        }
                    }
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, clean).await?
    }

    pub async fn follow(self, mut observed: mpsc::UnboundedReceiver<Observed>) {
        while let Some(observed) = observed.recv().await {
            match &observed {
                Observed::Report(Report::LeaseCounts { .. }) => {}
                Observed::Report(Report::Stopped { cause }) => {
                    eprintln!("device: model gone: {}", cause_of(*cause));
                    *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(cause_of(*cause));
                }
                Observed::Report(Report::Serving { .. }) => {
                    eprintln!("device: serving");
                    *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                other => eprintln!("device: {other:?}"),
            }
            // Nobody may be waiting.
            let _ = self.sender.send(Arc::new(observed));
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_LOAD: Duration = Duration::from_secs(600);
