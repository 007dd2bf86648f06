//! Messages with holes: one template for each variant and each concrete field that a machine reads.
//!
//! Numbers, names and verbs are few and stand here one by one; every cryptographic value is a hole,
//! a value of the adversary's own, or, where a machine keeps it without comparing, one that was seen.

use std::collections::BTreeMap;

use split_custody_protocol::ids::{
    Counter, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
};
use split_custody_protocol::suite::{
    AgreementKey, Bytes, DeviceId, Digest, Incarnation, Nonce, ShareHandle, SuiteId,
};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript;
use split_custody_protocol::wire::challenge::Challenge;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::{Entry, Evidence, EvidenceKind, Request};
use split_custody_protocol::wire::grant::{Grant, GrantStatement, Refused, Terms};
use split_custody_protocol::wire::hello::{Hello, VERSION};
use split_custody_protocol::wire::lease::{Renew, Renewal, RenewalAnswer};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{AwaitDead, Notice};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::Query;

use super::approvals;
use super::knowledge::{Knowledge, adversary_suite};
use super::oracle::{Hole, hole};
use crate::symbolic::{
    Hardware, Principal, device_id, false_share, report, seal_share, sealed_parts, true_share,
};
use crate::world::{Config, DEPLOYMENT, End, Peer, SET, World};

/// What a hole has become.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Value {
    Is([u8; 32]),
    /// A report as it was seen.
    Seen(Vec<u8>),
    /// A report that some hardware makes over a value, perhaps over another hole.
    Report(&'static str, Hardware, [u8; 32]),
}

/// What the holes of a template have become so far.
pub type Bindings = BTreeMap<Hole, Value>;

/// A message with holes.
#[derive(Clone, Debug)]
pub enum Template {
    Plain(Vec<u8>),
    Request(Box<Request>),
    /// A grant that the adversary signs, with a share sealed to a device key that it saw.
    Grant {
        signer: Principal,
        said: Box<GrantStatement>,
        share: ShareHandle,
        to: AgreementKey,
    },
}

impl Template {
    /// The frame under some bindings; holes that are left stand for values of no meaning.
    pub fn frame(&self, bindings: &Bindings, config: &Config) -> Vec<u8> {
        match self {
            Self::Plain(frame) => frame.clone(),
            Self::Request(request) => Message::Request(filled(request, bindings)).to_frame(),
            Self::Grant { signer, said, share, to } => {
                granted(*signer, said, *share, to, bindings, config)
            }
        }
    }
}

fn is(bindings: &Bindings, value: &[u8; 32]) -> [u8; 32] {
    match bindings.get(value) {
        Some(Value::Is(value)) => *value,
        _ => *value,
    }
}

fn bytes<const CAP: usize>(bindings: &Bindings, value: &Bytes<CAP>) -> Bytes<CAP> {
    let Ok(place) = <[u8; 32]>::try_from(value.as_bytes()) else { return value.clone() };
    let made = match bindings.get(&place) {
        Some(Value::Seen(bytes)) => bytes.clone(),
        Some(Value::Report(half, hardware, over)) => {
            report(half, *hardware, &Digest::new(is(bindings, over)))
        }
        Some(Value::Is(value)) => value.to_vec(),
        None => return value.clone(),
    };
    Bytes::new(made).expect("a report is neither empty nor long")
}

fn filled(request: &Request, bindings: &Bindings) -> Request {
    let entry = |entry: &Entry| Entry {
        custodian: entry.custodian,
        digest: Digest::new(is(bindings, entry.digest.as_bytes())),
    };
    Request {
        manifest: request.manifest,
        device: DeviceId::new(is(bindings, request.device.as_bytes())),
        incarnation: Incarnation::new(is(bindings, request.incarnation.as_bytes())),
        entries: List::new(request.entries.iter().map(entry).collect()).expect("as many"),
        device_key: request.device_key.clone(),
        evidence: Evidence {
            kind: request.evidence.kind,
            gpu: bytes(bindings, &request.evidence.gpu),
            cpu: bytes(bindings, &request.evidence.cpu),
        },
    }
}

/// The share goes under the context of the statement as it is now, as an honest HSM would seal it.
fn granted(
    signer: Principal,
    said: &GrantStatement,
    share: ShareHandle,
    to: &AgreementKey,
    bindings: &Bindings,
    config: &Config,
) -> Vec<u8> {
    let digest = |value: &Digest| Digest::new(is(bindings, value.as_bytes()));
    let mut suite = adversary_suite(config);
    let mut said = GrantStatement {
        session: digest(&said.session),
        th2: digest(&said.th2),
        device_key: digest(&said.device_key),
        incarnation: Incarnation::new(is(bindings, said.incarnation.as_bytes())),
        ..said.clone()
    };
    let auth = transcript::auth(&mut suite, &said);
    let context = transcript::grant_context(&mut suite, &auth, said.index_in_log);
    let sealed = seal_share(share, to, &context);
    said.sealed = transcript::sealed(&mut suite, &sealed);
    let statement = signed(signer, ObjectKind::Grant, encode(&said));
    Message::Grant(Grant { statement, sealed }).to_frame()
}

pub(super) fn signed(signer: Principal, kind: ObjectKind, payload: Vec<u8>) -> Signed {
    let signature = signer.sign(&Signed::message_over(kind, &payload));
    Signed::new(payload, signature)
}

/// Everything that the adversary can try on its end of a channel.
pub fn templates(
    world: &World,
    config: &Config,
    channel: u64,
    to: End,
    known: &Knowledge,
) -> Vec<Template> {
    let Some(link) = world.channels.get(&channel) else { return Vec::new() };
    let mut all: Vec<Template> =
        plain(config, link.custodian, to, known).into_iter().map(Template::Plain).collect();
    match to {
        End::Custodian if link.peer == Peer::Adversary || config.tls_ends_in_host() => {
            all.extend(requests(config, link.custodian, known));
        }
        End::Custodian => {}
        End::Device => all.extend(grants(config, link.custodian, known)),
    }
    all
}

/// Messages without holes: what was seen, and what the adversary signs or says for itself.
pub fn plain(config: &Config, custodian: u8, to: End, known: &Knowledge) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = known.frames.iter().map(|frame| frame.bytes().to_vec()).collect();
    match to {
        End::Custodian => {
            all.extend(approvals::orders(config, known));
            if config.tls_ends_in_host() {
                all.extend(other_offers(config));
            }
            all.extend(approvals::activations(config, known));
            all.push(Message::Query(Query { deployment: DEPLOYMENT }).to_frame());
            let order = config.setup.order_digest(&config.revocation());
            all.push(Message::AwaitDead(AwaitDead { order }).to_frame());
            for lease in &known.leases {
                for counter in [1, 2].map(Counter::new) {
                    all.push(Message::Renew(Renew { lease: *lease, counter, used: 0 }).to_frame());
                }
            }
        }
        End::Device => {
            all.extend(challenges(config, custodian, known));
            all.extend(renewals(config, known));
            all.extend(notices(config, known));
            let correlation = split_custody_protocol::ids::CorrelationId::new([0; 16]);
            all.push(Message::Refused(Refused { correlation }).to_frame());
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The device's hello with another offer: whatever was stripped, added or moved on the way.
fn other_offers(config: &Config) -> Vec<Vec<u8>> {
    let manifest = config.setup.known_manifest();
    let suites = config.setup.suites();
    let mut offers = vec![[suites.as_slice(), &[SuiteId::new(0x7777)]].concat()];
    if let Some(second) = config.setup.second_suite {
        offers.push(vec![second]);
        offers.push(vec![second, config.setup.suite]);
        offers.push(vec![config.setup.suite]);
    }
    let hello = |suites: Vec<SuiteId>| {
        Message::Hello(Hello {
            versions: List::new(vec![VERSION]).expect("one"),
            suites: List::new(suites).expect("few"),
            deployment: manifest.deployment,
            weights: manifest.weights,
            version: manifest.version,
            device: device_id(Hardware::Enrolled, Hardware::Enrolled),
        })
        .to_frame()
    };
    offers.into_iter().map(hello).collect()
}

fn challenges(config: &Config, custodian: u8, known: &Knowledge) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for nonce in known.nonces() {
        // Its own name, and one other: what is compared with the dialled one shows at once.
        let other = if custodian == config.setup.n { 1 } else { custodian + 1 };
        for named in [custodian, other] {
            all.extend(
                config.setup.suites().into_iter().map(|suite| challenge(named, nonce, suite)),
            );
        }
    }
    all
}

/// A challenge as the custodian of that name would send it.
pub(super) fn challenge(custodian: u8, nonce: Nonce, suite: SuiteId) -> Vec<u8> {
    Message::Challenge(Challenge {
        custodian: CustodianId::new(custodian),
        generation: Generation::new(1),
        nonce,
        version: VERSION,
        suite,
    })
    .to_frame()
}

/// Terms as the owner allows them, and far longer ones.
fn terms(config: &Config) -> [Terms; 2] {
    let manifest = config.setup.known_manifest();
    let policy = &manifest.policy;
    let honest = Terms {
        first: policy.first,
        term: policy.term,
        budget: policy.budget,
        max_age: policy.max_age,
    };
    [honest, Terms { first: LONG, term: LONG, ..honest }]
}

fn renewals(config: &Config, known: &Knowledge) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for lease in &known.leases {
        for terms in terms(config) {
            for (counter, answer) in [
                (1, RenewalAnswer::Renewed),
                (2, RenewalAnswer::Renewed),
                (1, RenewalAnswer::Ended),
            ] {
                let renewal = Renewal {
                    lease: *lease,
                    counter: Counter::new(counter),
                    answer,
                    term: terms.term,
                    budget: terms.budget,
                };
                all.push(Message::Renewal(renewal).to_frame());
            }
        }
    }
    all
}

/// The operators' orders as Notices, and a stranger's.
fn notices(config: &Config, known: &Knowledge) -> Vec<Vec<u8>> {
    let submits = known
        .frames
        .iter()
        .map(|frame| frame.bytes().to_vec())
        .chain(approvals::orders(config, known));
    let notice = |frame: Vec<u8>| match Message::from_frame(&frame) {
        Ok(Message::Submit(submit)) => {
            Some(Message::Notice(Notice { approvals: submit.approvals }).to_frame())
        }
        _ => None,
    };
    submits.filter_map(notice).collect()
}

/// A request for each key and life, with its own entry alone or in the place of a seen one.
fn requests(config: &Config, custodian: u8, known: &Knowledge) -> Vec<Template> {
    let own = Entry { custodian: CustodianId::new(custodian), digest: Digest::new(hole(1)) };
    let mut lists = vec![vec![own]];
    for request in &known.requests {
        let others = request.entries.iter().filter(|entry| entry.custodian != own.custodian);
        let mut list: Vec<Entry> = others.copied().chain([own]).collect();
        list.sort_by_key(|entry| entry.custodian);
        lists.push(list);
        // Without its own entry at all, as the honest device listed its custodians.
        lists.push(request.entries.iter().copied().collect());
    }
    lists.sort_by_key(|list| encode(&List::<Entry, 1, 255>::new(list.clone())));
    lists.dedup();
    let manifest = *config.setup.known_manifest().digest();
    let mut all = Vec::new();
    for list in &lists {
        for key in &known.keys {
            for incarnation in known.incarnations() {
                all.push(Template::Request(Box::new(Request {
                    manifest,
                    device: DeviceId::new(hole(2)),
                    incarnation,
                    entries: List::new(list.clone()).expect("one at least"),
                    device_key: Bytes::new(key.clone()).expect("a key"),
                    evidence: Evidence {
                        kind: EvidenceKind::SOFTWARE,
                        gpu: Bytes::new(hole(3).to_vec()).expect("32 bytes"),
                        cpu: Bytes::new(hole(4).to_vec()).expect("32 bytes"),
                    },
                })));
            }
        }
    }
    all
}

/// Grants of a corrupt custodian, or in the name of one whose TLS key was stolen.
fn grants(config: &Config, custodian: u8, known: &Knowledge) -> Vec<Template> {
    let corrupt = config.corrupt(custodian);
    let signer = if corrupt { Principal::Custodian(custodian) } else { Principal::Stranger };
    let mut shares = vec![false_share(custodian)];
    if corrupt {
        shares.push(true_share(custodian));
    }
    let mut leases: Vec<LeaseId> = known.leases.iter().copied().collect();
    leases.push(LeaseId::new([0xbb; 16]));
    let mut all = Vec::new();
    for to in known.requests.iter().map(|request| &request.device_key) {
        for share in &shares {
            for lease in &leases {
                for terms in terms(config) {
                    let said = statement(config, custodian, *lease, terms);
                    let (share, to) = (*share, to.clone());
                    all.push(Template::Grant { signer, said: Box::new(said), share, to });
                }
            }
        }
    }
    all.extend(resealed(known));
    all
}

/// A seen statement with another sealed share: the signature covers the share by its digest.
fn resealed(known: &Knowledge) -> Vec<Template> {
    let mut grants = Vec::new();
    for frame in &known.frames {
        let Ok(Message::Grant(grant)) = Message::from_frame(&frame.bytes()) else { continue };
        let Some((to, context, _)) = sealed_parts(&grant.sealed) else { continue };
        let Some(key) = AgreementKey::new(to.to_vec()) else { continue };
        let Ok(context) = <[u8; 32]>::try_from(context) else { continue };
        let sealed = seal_share(false_share(9), &key, &Digest::new(context));
        grants.push(Template::Plain(
            Message::Grant(Grant { statement: grant.statement, sealed }).to_frame(),
        ));
    }
    grants
}

fn statement(config: &Config, custodian: u8, lease: LeaseId, terms: Terms) -> GrantStatement {
    GrantStatement {
        session: Digest::new(hole(10)),
        th2: Digest::new(hole(11)),
        suite: SuiteId::HPKE_X25519,
        custodian: CustodianId::new(custodian),
        generation: Generation::new(1),
        lease,
        set: SET,
        index: ShareIndex::new(custodian),
        manifest: *config.setup.known_manifest().digest(),
        device_key: Digest::new(hole(12)),
        incarnation: Incarnation::new(hole(13)),
        terms,
        epoch: Epoch::new(0),
        policy: PolicyVersion::new(1),
        index_in_log: LogIndex::new(0),
        sealed: Digest::new([0; 32]),
    }
}

/// Far beyond every ttl-max, and short enough for a tick to count.
const LONG: Span = Span::from_millis(1_000);
