//! `custody device`: a device's process. TLS ends here, keys and plaintext stay here.

mod accelerator;
mod attempt;
mod backend;
mod receipts;
#[cfg(feature = "cuda")]
mod resident;
mod service;
mod suite;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use split_custody_attest::{Measurements, SoftwareAttester};
use split_custody_gpu::sim::{self, Window};
use split_custody_gpu::{OwnerKey, harden};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{Device, DeviceConfig, DeviceInput};
use split_custody_runtime::clock::BootClock;
use split_custody_runtime::driver::{Config, Handle, spawn};
use split_custody_runtime::effects::{DeviceEffects, PlantLeaf};
use split_custody_runtime::pki::{DeviceLeaf, read_certificates};
use split_custody_runtime::relay::{RelayDialer, request_certificate};
use split_custody_runtime::transport::{ClientTls, Connector, LeafSlot, Limits, TransportError};
use tokio::sync::mpsc;

use crate::args::{DeviceArgs, HostReadArg};
use crate::failure::{Failure, chain, io_at};
use crate::files::hex;
use crate::layout::Folder;
use crate::{control, role, seal};

use accelerator::Accelerator;
use backend::{Backend, Desk};
use receipts::{Noting, Receipts};
use service::{News, Service};
use suite::SharedSuite;

pub fn run(args: &DeviceArgs) -> Result<(), Failure> {
    let runtime = role::begin(&args.role)?;
    let hardening = harden();
    eprintln!("device: {hardening}");
    let folder = Folder(args.dir.clone());
    let owner = folder.owner()?;
    let (gpu, platform) = folder.device_keys()?;
    let measured = Measurements::of_running_image()?;
    let attester = SoftwareAttester::new(gpu, platform, measured, seal::MODE);
    let device_id = attester.device_id();
    let device = Accelerator::open(args, OwnerKey(*owner.as_bytes()))?;
    let suite = SharedSuite::new(&device);
    let desk = Desk::default();
    let slot = LeafSlot::default();
    let _guard = runtime.enter();
    let backend = PlantLeaf {
        inner: Backend {
            device: device.clone(),
            suite: suite.clone(),
            attester,
            desk: desk.clone(),
            slots: BTreeMap::new(),
        },
        slot: slot.clone(),
        make: leaf_maker(args.node.clone(), folder.path("root.pem"))?,
    };
    let (limits, receipts) = (Limits::default(), Receipts::default());
    let dialer = RelayDialer { socket: args.node.clone() };
    let connector = Arc::new(Connector { dialer, leaf: slot, limits });
    let (observer, observed) = mpsc::unbounded_channel();
    let config = Config {
        clock: BootClock,
        effects: DeviceEffects::new(backend)?,
        connect: Some(Arc::new(Noting { inner: connector, receipts: receipts.clone() }) as _),
        limits,
        recorder: role::recorder(&args.role, "device")?,
        observer,
    };
    let machine = Device::new(DeviceConfig {
        deployment: folder.about()?.deployment()?,
        device: device_id,
        owner,
        on_host_read: match args.on_host_read {
            HostReadArg::Block => OnHostRead::Block,
            HostReadArg::Reset => OnHostRead::Reset,
        },
    });
    let (handle, driver) = spawn(machine, suite, config);
    tell_of_trips(&device, &handle);
    let news = News::default();
    tokio::spawn(news.clone().follow(observed));
    let window = open_window(args, &device, &handle)?;
    let backing = device.backing();
    let control = args.control.clone().unwrap_or_else(|| folder.path("control.sock"));
    let listener = control::bind(&control)?;
    let service = Arc::new(Service {
        handle: handle.clone(),
        device,
        desk,
        news: news.clone(),
        receipts,
        window,
        backing: backing.clone(),
        loading: tokio::sync::Mutex::new(()),
    });
    runtime.block_on(async {
        let mut clean = news.subscribe();
        handle.input(DeviceInput::PoweredOn).await?;
        news.wait_clean(&mut clean).await?;
        tokio::spawn(control::serve(listener, move |question, answer| {
            let service = Arc::clone(&service);
            async move { service.answer(question, answer).await }
        }));
        let id = hex(device_id.as_bytes());
        let json =
            json!({ "role": "device", "device": id, "backing": backing, "control": control });
        let text = format!("device {id} is clean; its memory is {backing}");
        role::ready(&args.role, json, &text)?;
        // The service keeps a handle, so the driver ends only when it fails.
        let _ = driver.await;
        Err(Failure::refused("device: the driver ended"))
    })
}

/// A trip is told to the machine, which begins a new life and tells the custodians by attesting it:
/// they end every lease of the old one. [RST-2] [RST-6]
#[cfg(feature = "cuda")]
fn tell_of_trips(device: &Accelerator, handle: &Handle<Device>) {
    let Accelerator::Cuda(device) = device else { return };
    let (handle, runtime) = (handle.clone(), tokio::runtime::Handle::current());
    device.on_trip(move |trip| {
        eprintln!("device: tripped: {}; {} in {:?}", trip.reason, steps(trip), trip.took);
        let handle = handle.clone();
        // Not waited for: whoever tripped may be the thread that the machine waits for.
        runtime.spawn(async move {
            if let Err(error) = handle.input(DeviceInput::Tampered).await {
                eprintln!("device: {}", chain(&error));
            }
        });
    });
}

#[cfg(not(feature = "cuda"))]
fn tell_of_trips(_: &Accelerator, _: &Handle<Device>) {}

/// The steps of a trip, in words.
#[cfg(feature = "cuda")]
fn steps(trip: &split_custody_gpu::cuda::TripReport) -> String {
    let step = |step: &split_custody_gpu::cuda::StepReport| match &step.failed {
        None => format!("{:?}", step.step),
        Some(why) => format!("{:?} failed ({why})", step.step),
    };
    trip.steps.iter().map(step).collect::<Vec<_>>().join(", ")
}

/// Makes a leaf of each new incarnation: its key here, its certificate from the node's issuer.
#[allow(clippy::type_complexity)]
fn leaf_maker(
    node: PathBuf,
    root: PathBuf,
) -> Result<Box<dyn FnMut() -> Result<ClientTls, TransportError> + Send>, Failure> {
    let roots = read_certificates(&root)?;
    // Called from the device's own thread, which may wait for the runtime.
    let runtime = tokio::runtime::Handle::current();
    Ok(Box::new(move || {
        let leaf = DeviceLeaf::generate()?;
        let chain = runtime.block_on(request_certificate(&node, &leaf.request()?));
        let chain = chain.inspect_err(|error| eprintln!("device: no certificate: {error}"))?;
        ClientTls::new(leaf.with_chain(chain)?, &roots)
    }))
}

/// Opens the bus on which a host may try to read device memory.
fn open_window(
    args: &DeviceArgs,
    device: &Accelerator,
    handle: &Handle<Device>,
) -> Result<Window, Failure> {
    let path = args.window.clone().unwrap_or_else(|| args.dir.join("bus.sock"));
    if std::os::unix::net::UnixStream::connect(&path).is_err() {
        let _ = std::fs::remove_file(&path);
    }
    let reaction = match args.on_host_read {
        HostReadArg::Block => sim::OnHostRead::Block,
        HostReadArg::Reset => sim::OnHostRead::Reset,
    };
    let (handle, runtime) = (handle.clone(), tokio::runtime::Handle::current());
    let read_device = device.clone();
    let on_read = move |read: sim::HostRead| {
        eprintln!("device: host read of {} bytes at {}", read.length, read.offset);
        if read_device.host_read() {
            return;
        }
        if let Err(error) = runtime.block_on(handle.input(DeviceInput::HostRead)) {
            eprintln!("device: {}", chain(&error));
        }
    };
    Window::open(&path, device.bus(), reaction, on_read)
        .map_err(|e| io_at(&path, "open the bus window", &e))
}
