//! The eager twin: every well-typed ground message over what is known, one level deep.
//!
//! It asks no machine anything. Requests and grants are put together here a second time, from the
//! specification's formulas and every combination of values, which is affordable in the smallest
//! worlds only; there the twin and the oracle must bring about the same worlds. What both share is
//! the list of message variants and [`Knowledge`]: a variant that is missing in both is not noticed
//! here, but by [`Knowledge::of`], whose match over the messages is exhaustive.

use std::cell::Cell;

use split_custody_protocol::ids::{
    CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
};
use split_custody_protocol::suite::{
    AgreementKey, Bytes, DeviceId, Digest, Incarnation, ShareHandle, SuiteId,
};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::{Entry, Evidence, EvidenceKind, Request};
use split_custody_protocol::wire::grant::{Grant, GrantStatement, Terms};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::signed::{ObjectKind, Signed};

use super::knowledge::{Knowledge, adversary_suite};
use super::narrow::{Composed, distinct, signers, tried};
use super::oracle::hole;
use super::template::plain;
use crate::frame::FrameId;
use crate::symbolic::{
    Hardware, Principal, device_id, exporter, false_share, report, seal_share, sealed_parts,
    true_share,
};
use crate::world::{Config, End, Peer, SET, World};

thread_local! {
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Runs with the twin in the place of the oracle, on this thread.
pub fn instead<T>(run: impl FnOnce() -> T) -> T {
    IN_PLACE.set(true);
    let result = run();
    IN_PLACE.set(false);
    result
}

pub(super) fn is_in_place() -> bool {
    IN_PLACE.get()
}

/// One message for each different world, found by trying all of them.
pub(super) fn compositions(world: &World, config: &Config, channel: u64, to: End) -> Vec<FrameId> {
    let Some(link) = world.channels.get(&channel) else { return Vec::new() };
    let known = Knowledge::of(world, config);
    let mut frames = plain(config, link.custodian, to, &known);
    match to {
        End::Custodian if link.peer == Peer::Adversary || config.tls_ends_in_host() => {
            frames.extend(requests(world, config, channel, &known));
        }
        End::Custodian => {}
        End::Device => frames.extend(grants(config, link.custodian, &known)),
    }
    let tried = frames.into_iter().map(|frame| {
        let frame = FrameId::of(&frame);
        Composed { frame, after: tried(world, config, (channel, to), frame) }
    });
    distinct(tried.collect())
}

fn junk(number: u8) -> Digest {
    Digest::new(hole(number))
}

fn requests(world: &World, config: &Config, channel: u64, known: &Knowledge) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let both = [Hardware::Enrolled, Hardware::Adversary];
    let devices = both.iter().flat_map(|gpu| both.iter().map(|cpu| device_id(*gpu, *cpu)));
    let devices: Vec<DeviceId> = devices.chain([DeviceId::new(hole(2))]).collect();
    for key in &known.keys {
        let key = AgreementKey::new(key.clone()).expect("a key");
        for entries in lists(world, config, channel, known, &key) {
            for device in &devices {
                for incarnation in known.incarnations() {
                    for evidence in evidence(config, known, device, &incarnation, &entries) {
                        let request = Request {
                            manifest: *config.setup.known_manifest().digest(),
                            device: *device,
                            incarnation,
                            entries: List::new(entries.clone()).expect("one at least"),
                            device_key: key.clone(),
                            evidence,
                        };
                        all.push(Message::Request(request).to_frame());
                    }
                }
            }
        }
    }
    all
}

/// Its own entry, one that it saw, or one of no meaning, alone or in the place of a seen one.
fn lists(
    world: &World,
    config: &Config,
    channel: u64,
    known: &Knowledge,
    key: &AgreementKey,
) -> Vec<Vec<Entry>> {
    let Some(link) = world.channels.get(&channel) else { return Vec::new() };
    let custodian = CustodianId::new(link.custodian);
    let seen = known.requests.iter().flat_map(|request| request.entries.iter());
    let mut digests: Vec<Digest> = seen.map(|entry| entry.digest).collect();
    digests.extend(true_entry(config, channel, link, key, known));
    digests.push(junk(1));
    let mut all = Vec::new();
    for digest in digests {
        let own = Entry { custodian, digest };
        all.push(vec![own]);
        for request in &known.requests {
            let others = request.entries.iter().filter(|entry| entry.custodian != custodian);
            let mut list: Vec<Entry> = others.copied().chain([own]).collect();
            list.sort_by_key(|entry| entry.custodian);
            all.push(list);
        }
    }
    all.extend(known.requests.iter().map(|request| request.entries.iter().copied().collect()));
    all.sort_by_key(|list: &Vec<Entry>| encode(&List::<Entry, 1, 255>::new(list.clone())));
    all.dedup();
    all
}

/// `e_i` of chapter 20, for the channel that the adversary opened itself.
fn true_entry(
    config: &Config,
    channel: u64,
    link: &crate::world::Channel,
    key: &AgreementKey,
    known: &Knowledge,
) -> Vec<Digest> {
    let mut suite = adversary_suite(config);
    let hello = crate::world::hello(config);
    let context = transcript::exporter_context(&mut suite, &hello);
    let mine = known.challenges.iter().filter(|c| c.custodian.value() == link.custodian);
    mine.map(|challenge| {
        let challenge = Message::Challenge(challenge.clone()).to_frame();
        let th1 = transcript::th1(&mut suite, &hello, &challenge);
        transcript::entry(
            &mut suite,
            &EntryInput {
                exporter: &exporter(channel, &context),
                device_leaf: &link.device_leaf,
                custodian_leaf: &Principal::Custodian(link.custodian).leaf(0),
                th1: &th1,
                suite: SuiteId::HPKE_X25519,
                device_key: key,
            },
        )
    })
    .collect()
}

fn evidence(
    config: &Config,
    known: &Knowledge,
    device: &DeviceId,
    incarnation: &Incarnation,
    entries: &[Entry],
) -> Vec<Evidence> {
    let mut suite = adversary_suite(config);
    let manifest = *config.setup.known_manifest().digest();
    let session = transcript::session(&mut suite, &manifest, device, incarnation, entries);
    let nonce = transcript::gpu_nonce(&mut suite, &session);
    let mut gpus: Vec<Vec<u8>> = known.gpu.iter().cloned().collect();
    for over in [nonce, junk(101)] {
        gpus.extend(signers("gpu", known).into_iter().map(|by| report("gpu", by, &over)));
    }
    let mut all = Vec::new();
    for gpu in gpus {
        let data = transcript::cpu_data(&mut suite, &session, &gpu);
        let mut cpus: Vec<Vec<u8>> = known.cpu.iter().cloned().collect();
        for over in [data, junk(102)] {
            cpus.extend(signers("cpu", known).into_iter().map(|by| report("cpu", by, &over)));
        }
        all.extend(cpus.into_iter().map(|cpu| Evidence {
            kind: EvidenceKind::SOFTWARE,
            gpu: Bytes::new(gpu.clone()).expect("a report"),
            cpu: Bytes::new(cpu).expect("a report"),
        }));
    }
    all
}

fn grants(config: &Config, custodian: u8, known: &Knowledge) -> Vec<Vec<u8>> {
    let mut suite = adversary_suite(config);
    let manifest = *config.setup.known_manifest().digest();
    let mut sessions = vec![junk(10)];
    let mut th2s = vec![junk(11)];
    let mut keys = vec![junk(12)];
    let mut lives = vec![Incarnation::new(hole(13))];
    for request in &known.requests {
        let entries: Vec<Entry> = request.entries.iter().copied().collect();
        let (device, life) = (&request.device, &request.incarnation);
        sessions.push(transcript::session(&mut suite, &manifest, device, life, &entries));
        keys.push(transcript::device_key(&mut suite, &request.device_key));
        lives.push(*life);
        let frame = Message::Request(request.clone()).to_frame();
        th2s.extend(
            prefixes(config, known).iter().map(|th1| transcript::th2(&mut suite, th1, &frame)),
        );
    }
    for values in [&mut sessions, &mut th2s, &mut keys] {
        values.sort_by_key(|value| *value.as_bytes());
        values.dedup();
    }
    lives.sort_unstable();
    lives.dedup();
    let mut all = Vec::new();
    for (session, th2, key, life) in product(&sessions, &th2s, &keys, &lives) {
        let said = |lease, terms| GrantStatement {
            session,
            th2,
            suite: SuiteId::HPKE_X25519,
            custodian: CustodianId::new(custodian),
            generation: Generation::new(1),
            lease,
            set: SET,
            index: ShareIndex::new(custodian),
            manifest,
            device_key: key,
            incarnation: life,
            terms,
            epoch: Epoch::new(0),
            policy: PolicyVersion::new(1),
            index_in_log: LogIndex::new(0),
            sealed: Digest::new([0; 32]),
        };
        signed_grants(config, custodian, known, &said, &mut all);
    }
    all.extend(resealed(known));
    all
}

type Combination = (Digest, Digest, Digest, Incarnation);

fn product(
    sessions: &[Digest],
    th2s: &[Digest],
    keys: &[Digest],
    lives: &[Incarnation],
) -> Vec<Combination> {
    let mut all = Vec::new();
    for session in sessions {
        for th2 in th2s {
            for key in keys {
                all.extend(lives.iter().map(|life| (*session, *th2, *key, *life)));
            }
        }
    }
    all
}

/// `th1` of every hello and challenge that were said, and of challenges of the adversary's own.
fn prefixes(config: &Config, known: &Knowledge) -> Vec<Digest> {
    let mut suite = adversary_suite(config);
    let hello = crate::world::hello(config);
    let seen = known.frames.iter().map(|frame| frame.bytes().to_vec());
    let seen = seen.filter(|bytes| matches!(Message::from_frame(bytes), Ok(Message::Challenge(_))));
    let own = (1..=config.setup.n).flat_map(|id| {
        let nonces = known.nonces().into_iter();
        nonces
            .map(move |nonce| super::template::challenge(id, nonce, SuiteId::HPKE_X25519))
            .collect::<Vec<_>>()
    });
    seen.chain(own).map(|challenge| transcript::th1(&mut suite, &hello, &challenge)).collect()
}

fn signed_grants(
    config: &Config,
    custodian: u8,
    known: &Knowledge,
    said: &dyn Fn(LeaseId, Terms) -> GrantStatement,
    all: &mut Vec<Vec<u8>>,
) {
    let corrupt = config.corrupt(custodian);
    let signer = if corrupt { Principal::Custodian(custodian) } else { Principal::Stranger };
    let own = corrupt.then(|| true_share(custodian));
    let shares: Vec<ShareHandle> = [false_share(custodian)].into_iter().chain(own).collect();
    let manifest = config.setup.known_manifest();
    let (first, term) = (manifest.policy.first, manifest.policy.term);
    let long = Span::from_millis(1_000);
    let leases = known.leases.iter().copied().chain([LeaseId::new([0xbb; 16])]);
    for lease in leases {
        for (first, term) in [(first, term), (long, long)] {
            let (budget, max_age) = (manifest.policy.budget, manifest.policy.max_age);
            for share in &shares {
                for key in known.requests.iter().map(|request| &request.device_key) {
                    let mut said = said(lease, Terms { first, term, budget, max_age });
                    all.push(with_share(config, signer, &mut said, *share, key));
                }
            }
        }
    }
}

fn with_share(
    config: &Config,
    signer: Principal,
    said: &mut GrantStatement,
    share: ShareHandle,
    key: &AgreementKey,
) -> Vec<u8> {
    let mut suite = adversary_suite(config);
    let auth = transcript::auth(&mut suite, said);
    let context = transcript::grant_context(&mut suite, &auth, said.index_in_log);
    let sealed = seal_share(share, key, &context);
    said.sealed = transcript::sealed(&mut suite, &sealed);
    let payload = encode(said);
    let signature = signer.sign(&Signed::message_over(ObjectKind::Grant, &payload));
    Message::Grant(Grant { statement: Signed::new(payload, signature), sealed }).to_frame()
}

fn resealed(known: &Knowledge) -> Vec<Vec<u8>> {
    let grants =
        known.frames.iter().filter_map(|frame| match Message::from_frame(&frame.bytes()) {
            Ok(Message::Grant(grant)) => Some(grant),
            _ => None,
        });
    grants
        .filter_map(|grant| {
            let (to, context, _) = sealed_parts(&grant.sealed)?;
            let context = Digest::new(context.try_into().ok()?);
            let sealed = seal_share(false_share(9), &AgreementKey::new(to.to_vec())?, &context);
            Some(Message::Grant(Grant { statement: grant.statement, sealed }).to_frame())
        })
        .collect()
}
