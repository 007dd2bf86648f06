//! What the adversary knows, and what it can derive.
//!
//! A basis: the values of every frame that was sent, what the owner published, and the adversary's
//! own keys. [`Knowledge::derives`] is a structural recursion over the parts of a term; it has no
//! search in it, since every constructor either needs a secret or all its parts.

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::ids::LeaseId;
use split_custody_protocol::suite::{AgreementKey, Incarnation, Nonce, Suite, secret_label};
use split_custody_protocol::wire::challenge::Challenge;
use split_custody_protocol::wire::evidence::Request;
use split_custody_protocol::wire::grant::GrantStatement;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::standing::Status;

use crate::frame::FrameId;
use crate::symbolic::{
    ADVERSARY_SECRET, Hardware, Principal, device_id, measurement, public_key, read_report,
};
use crate::term::parts_of;
use crate::world::{Config, World};

/// A basis of knowledge in one world.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    values: BTreeSet<Vec<u8>>,
    /// Channels of which the adversary is an end, and so has the exporter.
    ends: BTreeSet<u64>,
    pub frames: Vec<FrameId>,
    pub requests: Vec<Request>,
    pub challenges: Vec<Challenge>,
    pub statements: Vec<GrantStatement>,
    pub statuses: Vec<Status>,
    pub keys: BTreeSet<Vec<u8>>,
    pub incarnations: BTreeSet<Incarnation>,
    pub leases: BTreeSet<LeaseId>,
    pub gpu: BTreeSet<Vec<u8>>,
    pub cpu: BTreeSet<Vec<u8>>,
    /// Parts whose CPU signs what the adversary likes.
    pub cpus: BTreeSet<Hardware>,
}

impl Knowledge {
    /// What is known in a world: a function of its frames, its channels and the configuration.
    pub fn of(world: &World, config: &Config) -> Self {
        let mut known = Self::default();
        known.published(config);
        for frame in &world.knows {
            known.frames.push(*frame);
            known.learn(&frame.bytes());
        }
        let own = |channel: u64| world.ends_with_adversary(config, channel);
        known.ends = world.channels.keys().copied().filter(|channel| own(*channel)).collect();
        known
    }

    /// What anybody can read, and what the adversary made for itself.
    fn published(&mut self, config: &Config) {
        // A second honest device's CPU vouches for its own code alone.
        self.cpus.extend((!config.setup.has_two()).then_some(Hardware::Adversary));
        let manifest = config.setup.known_manifest();
        for value in [*manifest.digest(), measurement()] {
            self.value(value.as_bytes());
        }
        for gpu in [Hardware::Enrolled, Hardware::Adversary] {
            for cpu in [Hardware::Enrolled, Hardware::Adversary] {
                self.value(device_id(gpu, cpu).as_bytes());
            }
        }
        self.key(&public_key(ADVERSARY_SECRET));
    }

    fn value(&mut self, value: &[u8]) {
        self.values.insert(value.to_vec());
    }

    fn key(&mut self, key: &AgreementKey) {
        self.value(key.as_bytes());
        self.keys.insert(key.as_bytes().to_vec());
    }

    /// Takes a frame apart. Exhaustive, so that a new message cannot be forgotten here.
    fn learn(&mut self, frame: &[u8]) {
        self.value(frame);
        let Ok(message) = Message::from_frame(frame) else { return };
        match message {
            Message::Hello(hello) => self.value(hello.device.as_bytes()),
            Message::Challenge(challenge) => {
                self.value(challenge.nonce.as_bytes());
                self.challenges.push(challenge);
            }
            Message::Request(request) => self.learn_request(request),
            Message::Grant(grant) => {
                self.value(grant.sealed.as_bytes());
                if let Ok(said) = grant.statement.payload::<GrantStatement>() {
                    for value in [said.session, said.th2, said.device_key, said.sealed] {
                        self.value(value.as_bytes());
                    }
                    self.leases.insert(said.lease);
                    self.statements.push(said);
                }
            }
            Message::Renew(renew) => drop(self.leases.insert(renew.lease)),
            Message::Renewal(renewal) => drop(self.leases.insert(renewal.lease)),
            Message::Status(status) => {
                self.value(status.nonce.as_bytes());
                self.statuses.push(status);
            }
            // Signed by somebody and public, or without a value of its own: kept as frames.
            Message::Submit(_)
            | Message::Notice(_)
            | Message::Activate(_)
            | Message::Provision(_)
            | Message::Acknowledged(_)
            | Message::Dead(_)
            | Message::AwaitDead(_)
            | Message::Superseded(_)
            | Message::Query(_)
            | Message::Provisioned(_)
            | Message::Activated(_)
            | Message::Refused(_) => {}
        }
    }

    fn learn_request(&mut self, request: Request) {
        self.value(request.incarnation.as_bytes());
        self.incarnations.insert(request.incarnation);
        self.key(&request.device_key);
        for entry in request.entries.iter() {
            self.value(entry.digest.as_bytes());
        }
        let (gpu, cpu) = (request.evidence.gpu.as_bytes(), request.evidence.cpu.as_bytes());
        self.value(gpu);
        self.value(cpu);
        self.gpu.insert(gpu.to_vec());
        self.cpu.insert(cpu.to_vec());
        for (half, bytes) in [("gpu", gpu), ("cpu", cpu)] {
            if let Some((_, said)) = read_report(half, bytes) {
                self.value(said.as_bytes());
            }
        }
        self.requests.push(request);
    }

    /// Whether the adversary can compute these bytes.
    pub fn derives(&self, bytes: &[u8]) -> bool {
        // Numbers and names of sixteen bytes stand in messages that everybody reads.
        if bytes.len() <= 16 || self.values.contains(bytes) {
            return true;
        }
        if let Some(term) = parts_of(bytes) {
            let parts = || term.parts.iter().all(|part| self.derives(part));
            return match term.constructor {
                // Chosen by the adversary, or public by its nature.
                "hole"
                | "verify-key"
                | "leaf"
                | "issuer"
                | "measurement"
                | "table"
                | "root"
                | "kek"
                | secret_label::DEVICE => true,
                "exporter" => self.ends_channel(&term.parts) && parts(),
                // Needs a secret of somebody else's.
                "fresh"
                | "secret"
                | "public"
                | "signature"
                | "report"
                | secret_label::INCARNATION
                | secret_label::SHARE
                | secret_label::DEK => false,
                _ => parts(),
            };
        }
        self.derives_report(bytes) || Message::from_frame(bytes).is_ok()
    }

    fn ends_channel(&self, parts: &[Vec<u8>]) -> bool {
        let channel = parts.first().and_then(|part| part.as_slice().try_into().ok());
        channel.is_some_and(|channel| self.ends.contains(&u64::from_be_bytes(channel)))
    }

    /// Any GPU signs any nonce for its host; of the CPUs only the adversary's own does.
    fn derives_report(&self, bytes: &[u8]) -> bool {
        let gpu = read_report("gpu", bytes).map(|(_, nonce)| nonce);
        let cpu = read_report("cpu", bytes)
            .filter(|(hardware, _)| self.cpus.contains(hardware))
            .map(|(_, data)| data);
        gpu.or(cpu).is_some_and(|value| self.derives(value.as_bytes()))
    }

    /// Values that a machine keeps without comparing them: what was seen, and one of its own.
    pub fn incarnations(&self) -> Vec<Incarnation> {
        let mut all: Vec<_> = self.incarnations.iter().copied().collect();
        all.push(Incarnation::new(super::oracle::hole(200)));
        all
    }

    /// The nonces that a false challenge can carry.
    pub fn nonces(&self) -> Vec<Nonce> {
        let mut all: BTreeMap<[u8; 32], Nonce> = BTreeMap::new();
        let seen = self.challenges.iter().map(|challenge| challenge.nonce);
        for nonce in seen.chain([Nonce::new(super::oracle::hole(201))]) {
            all.insert(*nonce.as_bytes(), nonce);
        }
        all.into_values().collect()
    }
}

/// The adversary's suite: it hashes as anybody does, and holds no honest key.
pub fn adversary_suite(config: &Config) -> impl Suite {
    config.setup.suite(Principal::Stranger, 0)
}
