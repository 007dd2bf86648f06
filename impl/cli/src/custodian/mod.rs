//! `custody custodian`: one custodian's process.

mod appraiser;
mod hold;
mod keys;
mod store;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use split_custody_keys::ByteSuite;
use split_custody_protocol::effect::Report;
use split_custody_protocol::role::{Custodian, CustodianConfig, CustodianInput, Recovered};
use split_custody_runtime::clock::BootClock;
use split_custody_runtime::driver::{Config, Observed, spawn};
use split_custody_runtime::effects::CustodianEffects;
use split_custody_runtime::pki::read_certificates;
use split_custody_runtime::transport::{Limits, ServerTls, TcpAcceptor, TransportError, serve};
use tokio::sync::mpsc;

use crate::args::CustodianArgs;
use crate::control::{self, CustodianAsk};
use crate::failure::{Failure, chain};
use crate::files::hex;
use crate::layout::Folder;
use crate::role;

use appraiser::Appraiser;
use hold::Held;
use keys::Keys;
pub use store::Store;

pub fn run(args: &CustodianArgs) -> Result<(), Failure> {
    let runtime = role::begin(&args.role)?;
    if !args.scannable {
        split_custody_gpu::harden();
    }
    let folder = Folder(args.dir.clone());
    let (id, about, owner) = (folder.custodian()?, folder.about()?, folder.owner()?);
    let held = Held::open(&folder, args.scannable)?;
    let custody = Arc::clone(&held.custody);
    let config = CustodianConfig {
        id,
        deployment: about.deployment()?,
        owner,
        grant_key: custody.grant_public(),
        kek: custody.kek_public().digest(),
    };
    let tls = ServerTls::new(held.identity(&folder)?, &read_certificates(&folder.path("ca.pem"))?)?;
    let (store, boot) = Store::open(&folder.0, id)?;
    if let Some(behind) = &boot.behind {
        eprintln!("custodian {id}: recovering: {behind}: operators must activate it [AUD-4]");
    }
    let appraiser = Arc::new(Appraiser::load(&folder, owner)?);
    let keys = Arc::new(Keys::new(custody, boot.provision.as_deref()));
    let store = Arc::new(store.noting_provisions(Arc::clone(&keys)));
    let recovered = Recovered {
        generation: boot.generation,
        epoch: boot.epoch,
        orders: boot.orders,
        provision: boot.provision,
        active: boot.active,
        leases: boot.leases,
        anchor: boot.anchor,
    };
    let recorder = role::recorder(&args.role, &format!("custodian-{id}"))?;
    let _guard = runtime.enter();
    let acceptor = TcpAcceptor::bind(args.listen)
        .map_err(|e| Failure::refused(format!("{}: cannot listen: {}", args.listen, chain(&e))))?;
    let address = acceptor.local_addr()?;
    let (observer, news) = mpsc::unbounded_channel();
    let limits = Limits::default();
    let config_of_driver = Config {
        clock: BootClock,
        effects: CustodianEffects::new(Arc::clone(&store) as _, keys, appraiser)?,
        connect: None,
        limits,
        recorder,
        observer,
    };
    let machine = Custodian::new(config, recovered);
    let (handle, driver) = spawn(machine, ByteSuite::new(), config_of_driver);
    let control = args.control.clone().unwrap_or_else(|| folder.path("control.sock"));
    let listener = control::bind(&control)?;
    tokio::spawn(control::serve(listener, move |question, _| {
        answer(question, held.clone(), Arc::clone(&store))
    }));
    tokio::spawn(tell(id.value(), news));
    runtime.block_on(async {
        handle.input(CustodianInput::Booted).await?;
        let said = json!({ "role": "custodian", "custodian": id.value(), "address": address });
        role::ready(&args.role, said, &format!("custodian {id} listens on {address}"))?;
        let failed = move |error: TransportError| {
            eprintln!("custodian {id}: connection refused: {}", chain(&error));
        };
        let opened = move |channel| {
            let handle = handle.clone();
            // A driver that ended takes no channels; the process ends with it.
            async move {
                let _ = handle.opened(channel).await;
            }
        };
        tokio::select! {
            () = serve(acceptor, tls, limits, opened, failed) => {}
            _ = driver => eprintln!("custodian {id}: the driver ended"),
        }
        Err(Failure::refused(format!("custodian {id} ended")))
    })
}

async fn answer(ask: CustodianAsk, held: Held, store: Arc<Store>) -> Result<Value, Failure> {
    match ask {
        CustodianAsk::Outage { down: true } => held.outage.begin(),
        CustodianAsk::Outage { down: false } => held.outage.end(),
        CustodianAsk::Worker => return Ok(json!({ "worker": held.worker_pid() })),
        CustodianAsk::Audit => {
            let log = tokio::task::spawn_blocking(move || store.log()).await??;
            return Ok(log);
        }
    }
    Ok(Value::Null)
}

/// News for the operator's log, one line each.
async fn tell(id: u8, mut news: mpsc::UnboundedReceiver<Observed>) {
    while let Some(observed) = news.recv().await {
        match observed {
            Observed::Report(Report::Refused { channel, violation, correlation }) => {
                let correlation =
                    correlation.map_or_else(String::new, |c| hex(&c.as_bytes()[..16]));
                eprintln!(
                    "custodian {id}: channel {channel}: refused: {violation} ({correlation})"
                );
            }
            Observed::Report(Report::Granted { lease, index }) => {
                eprintln!("custodian {id}: granted lease {lease}, log index {index}");
            }
            Observed::Report(Report::Applied { order, epoch }) => {
                eprintln!("custodian {id}: order {order} in force, epoch {epoch}");
            }
            Observed::Report(Report::Renewed { .. }) => {}
            Observed::Report(report) => eprintln!("custodian {id}: {report:?}"),
            Observed::LogFailed(error) => eprintln!("custodian {id}: event log: {error}"),
            other => eprintln!("custodian {id}: {other:?}"),
        }
    }
}

/// Where a custodian's store and its anchor lie in its folder.
pub fn store_paths(folder: &std::path::Path) -> (PathBuf, PathBuf) {
    (folder.join("store.sqlite"), folder.join("anchor"))
}

/// The log of a custodian that is not running.
pub fn log_in(
    folder: &std::path::Path,
    id: split_custody_protocol::ids::CustodianId,
) -> Result<Value, Failure> {
    store::log_of(&mut store::open(folder, id)?)
}
