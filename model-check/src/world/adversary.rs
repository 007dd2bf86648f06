//! The adversary: its own key, its own channel, its own genuine device, and everything it saw.

use split_custody_protocol::ids::ChannelId;
use split_custody_protocol::role::{CustodianInput, DeviceInput};
use split_custody_protocol::suite::{Digest, SuiteId};
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::evidence::{Entry, Evidence, Request};
use split_custody_protocol::wire::hello::{Hello, VERSION};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::Verb;

use super::device::evidence;
use super::{Channel, Config, End, Fact, Forgery, Peer, Switch, World};
use crate::frame::FrameId;
use crate::intruder::oracle;
use crate::symbolic::{
    self, ADVERSARY_SECRET, Hardware, Principal, device_id, incarnation, public_key,
};

impl World {
    /// Opens a channel with its own leaf, or the stolen one, and says hello as the device.
    pub(super) fn intrude(&mut self, config: &Config, id: u8) {
        self.spent.intrusions += 1;
        let leaf = if config.bounds.leaf_stolen.is_on() {
            self.device.leaf
        } else {
            Principal::Stranger.leaf(0)
        };
        let channel = self.open_channel(id, Peer::Adversary, leaf);
        self.custodian_channel_opened(config, channel);
        let hello = hello(config);
        self.custodian_receives(config, channel, &hello);
    }

    /// Repeats a frame that it saw, on its own channel or inside an honest one.
    pub(super) fn inject(&mut self, config: &Config, channel: u64, frame: FrameId) {
        let Some(link) = self.channels.get_mut(&channel) else { return };
        link.injected += 1;
        let custodian = link.custodian;
        let frame = frame.bytes().to_vec();
        let channel = ChannelId::new(channel);
        self.custodian_input(config, custodian, CustodianInput::Received { channel, frame });
    }

    /// A request for its own key, with the best Evidence it can get.
    pub(super) fn forge(&mut self, config: &Config, channel: u64, forgery: Forgery) {
        let Some(request) = self.compose(config, channel, forgery) else { return };
        if let Some(link) = self.channels.get_mut(&channel) {
            link.injected += 1;
        }
        let frame = Message::Request(request).to_frame();
        self.custodian_receives(config, channel, &frame);
    }

    /// Sends what the intruder composed. A corrupt custodian's end is the adversary's.
    pub(super) fn intruder_sends(
        &mut self,
        config: &Config,
        channel: u64,
        to: End,
        frame: FrameId,
    ) {
        let bytes = frame.bytes();
        if let Some(link) = self.channels.get_mut(&channel) {
            link.injected += 1;
            if to == End::Custodian && is_of_altered_code(config, &bytes) {
                link.altered = Switch::On;
            }
        }
        match to {
            End::Custodian => {
                let custodian = self.channels.get(&channel).map(|link| link.custodian);
                custodian.inspect(|id| self.note_activation(config, *id, &bytes));
                self.custodian_receives(config, channel, &bytes);
                if let Some(link) = self.channels.get_mut(&channel) {
                    link.altered = Switch::Off; // a grant, if any, has left in this step
                }
            }
            End::Device => {
                let (channel, frame) = (ChannelId::new(channel), bytes.to_vec());
                self.device_input(config, DeviceInput::Received { channel, frame });
            }
        }
    }

    /// Whether the adversary has this channel's exporter: it is an end, or both ends end in it.
    pub fn ends_with_adversary(&self, config: &Config, channel: u64) -> bool {
        let end = |link: &Channel| link.peer == Peer::Adversary || link.impostor.is_on();
        config.tls_ends_in_host() || self.channels.get(&channel).is_some_and(end)
    }

    /// A lease that the device holds of an honest custodian is in that custodian's books, for this
    /// life of the device.
    pub(super) fn note_agreement(&mut self, config: &Config) {
        if !config.watched.contains(Fact::LeaseThatNobodyGranted) {
            return;
        }
        let life = incarnation(self.device.life_name());
        let mut leases = self.device.machine.leases();
        let invented = leases.any(|(custodian, held)| {
            let node = self.custodians.get(&custodian.value());
            let honest = node.filter(|_| !config.liars.contains(&custodian.value()));
            honest.is_some_and(|node| {
                let mut granted = node.store.leases.iter();
                !granted.any(|record| record.lease == held.lease && record.incarnation == life)
            })
        });
        drop(leases);
        if invented {
            self.record(config, Fact::LeaseThatNobodyGranted);
        }
    }

    fn compose(&self, config: &Config, channel: u64, forgery: Forgery) -> Option<Request> {
        let (entry, manifest) = self.own_entry(config, channel)?;
        let life = incarnation(u64::from(self.device.life.max(1)));
        let honest = device_id(Hardware::Enrolled, Hardware::Enrolled);
        let request = |device, entries, evidence| Request {
            manifest,
            device,
            incarnation: life,
            entries,
            device_key: public_key(ADVERSARY_SECRET),
            evidence,
        };
        let own = || List::new(vec![entry]);
        let session = |device| {
            let mut suite = config.setup.suite(Principal::Stranger, 0);
            transcript::session(&mut suite, &manifest, &device, &life, &[entry])
        };
        Some(match forgery {
            Forgery::RelayedGpu => {
                let evidence = self.reports(config, &session(honest), Hardware::Enrolled);
                request(honest, own()?, evidence)
            }
            Forgery::OwnDevice => {
                let device = device_id(Hardware::Adversary, Hardware::Adversary);
                let evidence = self.reports(config, &session(device), Hardware::Adversary);
                request(device, own()?, evidence)
            }
            Forgery::ReplayedEvidence(frame) => {
                request(honest, own()?, seen_request(frame)?.evidence)
            }
            Forgery::SplicedEntries(frame) => {
                let seen = seen_request(frame)?;
                let mut spliced = request(seen.device, seen.entries, seen.evidence);
                spliced.incarnation = seen.incarnation;
                spliced
            }
        })
    }

    /// Any GPU signs any nonce; the CPU half is the adversary's own genuine part.
    fn reports(&self, config: &Config, session: &Digest, gpu: Hardware) -> Evidence {
        let mut suite = config.setup.suite(Principal::Stranger, 0);
        let nonce = transcript::gpu_nonce(&mut suite, session);
        let gpu = symbolic::report("gpu", gpu, &nonce);
        let data = transcript::cpu_data(&mut suite, session, &gpu);
        evidence(gpu, symbolic::report("cpu", Hardware::Adversary, &data))
    }

    /// The entry of its own channel: it ends the TLS session, so it has the exporter.
    fn own_entry(&self, config: &Config, channel: u64) -> Option<(Entry, Digest)> {
        let link = self.channels.get(&channel)?;
        let challenge = link.to_device.first()?.bytes();
        let mut suite = config.setup.suite(Principal::Stranger, 0);
        let hello = hello(config);
        let context = transcript::exporter_context(&mut suite, &hello);
        let th1 = transcript::th1(&mut suite, &hello, &challenge);
        let digest = transcript::entry(
            &mut suite,
            &EntryInput {
                exporter: &symbolic::exporter(channel, &context),
                device_leaf: &link.device_leaf,
                custodian_leaf: &Principal::Custodian(link.custodian).leaf(0),
                th1: &th1,
                suite: SuiteId::HPKE_X25519,
                device_key: &public_key(ADVERSARY_SECRET),
            },
        );
        let custodian = split_custody_protocol::ids::CustodianId::new(link.custodian);
        Some((Entry { custodian, digest }, *config.setup.known_manifest().digest()))
    }

    /// An order about the device that a stranger signed.
    pub(super) fn forge_order(&mut self, config: &Config, id: u8) {
        self.spent.forged_orders += 1;
        let leaf = Principal::Stranger.leaf(0);
        let channel = self.open_channel(id, Peer::Adversary, leaf);
        self.custodian_channel_opened(config, channel);
        // Another serial, so that it is another order than the operators'.
        let order = config.setup.order(Verb::Admit, 1, Principal::Stranger);
        self.custodian_receives(config, channel, &order);
        self.close_custodian_end(channel);
    }
}

/// Whether a frame is a request with a report of code that policy does not name.
fn is_of_altered_code(config: &Config, frame: &[u8]) -> bool {
    let Ok(Message::Request(request)) = Message::from_frame(frame) else { return false };
    let altered = |half, bytes: &[u8]| {
        let read = oracle::silently(|| symbolic::read_report(half, bytes));
        read.is_some_and(|(hardware, _)| config.setup.runs_other_code(hardware))
    };
    altered("gpu", request.evidence.gpu.as_bytes())
        || altered("cpu", request.evidence.cpu.as_bytes())
}

/// The device's hello: nothing in it is secret, so anyone can say it.
pub fn hello(config: &Config) -> Vec<u8> {
    let manifest = config.setup.known_manifest();
    Message::Hello(Hello {
        versions: List::new(vec![VERSION]).expect("one"),
        suites: List::new(config.setup.suites()).expect("one or two"),
        deployment: manifest.deployment,
        weights: manifest.weights,
        version: manifest.version,
        device: device_id(Hardware::Enrolled, Hardware::Enrolled),
    })
    .to_frame()
}

fn seen_request(frame: FrameId) -> Option<Request> {
    match Message::from_frame(&frame.bytes()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

/// Whether a frame is a request.
pub(super) fn is_request(frame: FrameId) -> bool {
    seen_request(frame).is_some()
}
