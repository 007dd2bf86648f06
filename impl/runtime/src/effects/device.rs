//! A device's effects: one at a time, in order, with a way to end a load early.
//!
//! Chapters 20, 40 and 70. Loading may take minutes and erasure may not wait for it: when a load's
//! key is to be erased, or everything is, the load is told to give up first. [LEA-5] [RST-3]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect};
use split_custody_protocol::ids::Ticket;

use crate::effects::lane::{Lane, Queue};
use crate::effects::{Answers, Effects, Promise};
use crate::machine::Machine;
use crate::transport::{ClientTls, LeafSlot, TransportError};

/// The device itself: memory, evidence, loader. One call at a time.
pub trait DeviceBackend: Send + 'static {
    /// Does it and says how it went. A `Load` looks at `cancel` between pieces and fails soon
    /// after it is set; what it opened until then is erased by the effect that follows.
    fn execute(&mut self, effect: DeviceEffect, cancel: &Cancel) -> DeviceAnswer;
}

/// Tells one effect to give up.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// For loaders that take a plain flag.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Executes a device's effects.
pub struct DeviceEffects<M: Machine> {
    lane: Lane<Job<M>>,
    load: Cancel,
}

struct Job<M: Machine> {
    effect: DeviceEffect,
    cancel: Cancel,
    promise: Promise<M>,
}

impl<M> DeviceEffects<M>
where
    M: Machine<Answer = DeviceAnswer, Effect = DeviceEffect>,
{
    /// Starts its thread; it ends when this is dropped.
    pub fn new(backend: impl DeviceBackend) -> io::Result<Self> {
        let backend = Arc::new(Mutex::new(backend));
        let lane = Lane::start("device", 1, move |queue: &Queue<Job<M>>| {
            let Job { effect, cancel, promise } = queue.next()?;
            let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
            promise.keep(backend.execute(effect, &cancel));
            Some(())
        })?;
        Ok(Self { lane, load: Cancel::default() })
    }
}

impl<M> Effects<M> for DeviceEffects<M>
where
    M: Machine<Answer = DeviceAnswer, Effect = DeviceEffect>,
{
    fn start(&mut self, ticket: Ticket, effect: DeviceEffect, answers: &Answers<M>) {
        let cancel = Cancel::default();
        match &effect {
            DeviceEffect::Load { .. } => self.load = cancel.clone(),
            DeviceEffect::Zeroise => self.load.set(),
            DeviceEffect::Erase { secrets } if secrets.dek.is_some() => self.load.set(),
            _ => {}
        }
        let promise = answers.promise(ticket, on_failure(&effect));
        self.lane.put(Job { effect, cancel, promise });
    }
}

/// The answer of an effect whose execution panicked.
const fn on_failure(effect: &DeviceEffect) -> Option<DeviceAnswer> {
    use DeviceEffect as E;
    Some(match effect {
        E::Export { .. } => DeviceAnswer::ExportFailed,
        E::CollectEvidence { .. } => DeviceAnswer::EvidenceFailed,
        E::Load { .. } => DeviceAnswer::LoadFailed,
        E::Scrub => DeviceAnswer::ScrubFailed,
        E::Plant => DeviceAnswer::PlantFailed,
        E::Erase { .. } | E::Zeroise => return None,
    })
}

/// A backend whose incarnations have leaves: the leaf dies first and is planted last. [RST-10]
pub struct PlantLeaf<B> {
    pub inner: B,
    pub slot: LeafSlot,
    /// Makes a leaf key and has it certified.
    pub make: Box<dyn FnMut() -> Result<ClientTls, TransportError> + Send>,
}

impl<B: DeviceBackend> DeviceBackend for PlantLeaf<B> {
    fn execute(&mut self, effect: DeviceEffect, cancel: &Cancel) -> DeviceAnswer {
        if effect == DeviceEffect::Zeroise {
            self.slot.zeroise();
        }
        match self.inner.execute(effect, cancel) {
            DeviceAnswer::Planted(incarnation) => match (self.make)() {
                Ok(tls) => {
                    self.slot.plant(tls);
                    DeviceAnswer::Planted(incarnation)
                }
                Err(_) => DeviceAnswer::PlantFailed,
            },
            answer => answer,
        }
    }
}
