//! A custodian's driver: its store, its HSM and its appraiser answer at once, or as scripted.

use std::collections::BTreeMap;

use split_custody_model_check::symbolic::{
    self, Principal, device_id, measurement, read_report, release, true_share,
};
use split_custody_protocol::effect::{
    Anchor, Change, CustodianAnswer, CustodianEffect, LeaseRecord, Transaction, Verdict,
};
use split_custody_protocol::ids::{Epoch, Generation, LogIndex, Ticket};
use split_custody_protocol::role::{Custodian, CustodianConfig, CustodianInput, Recovered};
use split_custody_protocol::suite::{Digest, SealedShare, ShareHandle};
use split_custody_protocol::time::Instant;
use split_custody_protocol::wire::evidence::Evidence;

use super::owner::{DEPLOYMENT, kek};
use super::{Kind, Reply};

/// One custodian with everything around it.
#[derive(Clone)]
pub struct Node {
    pub id: u8,
    pub machine: Custodian,
    /// Each is used once, for the next effect of its kind.
    pub script: Vec<(Kind, Reply<CustodianAnswer>)>,
    /// Effects that wait for the story to answer them.
    pub held: Vec<(Ticket, CustodianEffect)>,
    /// Every effect that was asked, in order.
    pub asked: Vec<CustodianEffect>,
    /// What was written, in the order of the log.
    pub written: Vec<Transaction>,
    pub anchor: Option<Anchor>,
    /// A liar's share instead of its own.
    pub share: ShareHandle,
    /// What the appraiser is made to read.
    pub appraiser: fn(&mut Verdict),
    commits: BTreeMap<Ticket, usize>,
}

impl Node {
    pub fn new(id: u8) -> Self {
        Self {
            id,
            machine: Custodian::new(config(id), first_life()),
            script: Vec::new(),
            held: Vec::new(),
            asked: Vec::new(),
            written: Vec::new(),
            anchor: None,
            share: true_share(id),
            appraiser: |_| {},
            commits: BTreeMap::new(),
        }
    }

    /// The process starts again over what its store holds. [AUD-3]
    pub fn restart(&mut self, now: Instant, recovered: Recovered) {
        self.held.clear();
        self.commits.clear();
        self.machine = Custodian::new(config(self.id), recovered);
        let mut suite = super::suite_of(Principal::Custodian(self.id), 0);
        self.machine
            .handle(now, CustodianInput::Booted, &mut suite)
            .expect("the store holds what was verified before");
    }

    /// What the store and the anchor show to the next generation.
    pub fn recovered(&self) -> Recovered {
        let mut recovered = Recovered {
            generation: self.machine.generation().next(),
            anchor: self.anchor.clone(),
            ..Recovered::default()
        };
        for transaction in &self.written {
            match &transaction.change {
                Change::Grant(record) => recovered.leases.push(record.clone()),
                Change::Renew { .. } => {}
                Change::Order { approvals, epoch, .. } => {
                    recovered.orders.push(approvals.clone());
                    recovered.epoch = *epoch;
                }
                Change::Provision { provision } => recovered.provision = Some(provision.clone()),
                Change::Activate { manifest } => recovered.active = Some(*manifest),
            }
        }
        recovered
    }

    /// The scripted reply to an effect, or the honest one.
    pub fn reply(&mut self, ticket: Ticket, effect: CustodianEffect) -> Option<CustodianAnswer> {
        self.asked.push(effect.clone());
        let kind = kind_of(&effect);
        match self.script.iter().position(|(of, _)| *of == kind) {
            None => Some(self.honest(ticket, &effect)),
            Some(place) => match self.script.remove(place).1 {
                Reply::Answer(answer) => Some(answer),
                Reply::WrittenAnd(answer) => {
                    self.honest(ticket, &effect);
                    Some(answer)
                }
                Reply::Hold => {
                    self.held.push((ticket, effect));
                    None
                }
            },
        }
    }

    pub fn honest(&mut self, ticket: Ticket, effect: &CustodianEffect) -> CustodianAnswer {
        use CustodianEffect as E;
        match effect {
            E::Export { channel, context } => {
                CustodianAnswer::Exported(symbolic::exporter(channel.value(), context))
            }
            E::Appraise { evidence } => self.appraise(evidence),
            E::Commit(transaction) => {
                self.written.push(transaction.clone());
                self.commits.insert(ticket, self.written.len());
                CustodianAnswer::Committed(LogIndex::new(self.written.len() as u64))
            }
            E::Reread { commit } => match self.commits.get(commit).copied() {
                Some(index) => {
                    self.commits.insert(ticket, index);
                    CustodianAnswer::Committed(LogIndex::new(index as u64))
                }
                None => CustodianAnswer::Fenced,
            },
            E::Release { to, context, draft, .. } => {
                let (sealed, signature) = release(self.id, self.share, to, context, draft);
                CustodianAnswer::Released { sealed, signature }
            }
            E::Sign { message } => {
                CustodianAnswer::Signed(Principal::Custodian(self.id).sign(message))
            }
            E::Anchor(anchor) => {
                self.anchor = Some(anchor.clone());
                CustodianAnswer::Anchored
            }
            E::DestroyHandles => CustodianAnswer::HandlesDestroyed,
        }
    }

    fn appraise(&self, evidence: &Evidence) -> CustodianAnswer {
        let gpu = read_report("gpu", evidence.gpu.as_bytes());
        let cpu = read_report("cpu", evidence.cpu.as_bytes());
        let (Some((gpu, report_nonce)), Some((cpu, report_data))) = (gpu, cpu) else {
            return CustodianAnswer::Rejected;
        };
        let device = device_id(gpu, cpu);
        let measurements = vec![measurement()];
        let mut verdict = Verdict { report_nonce, report_data, device, measurements, mode: 1 };
        (self.appraiser)(&mut verdict);
        CustodianAnswer::Appraised(verdict)
    }

    /// Every lease that was written.
    pub fn leases(&self) -> Vec<&LeaseRecord> {
        let grants = self.written.iter().filter_map(|transaction| match &transaction.change {
            Change::Grant(record) => Some(record),
            _ => None,
        });
        grants.collect()
    }

    /// How many effects of a kind were asked.
    pub fn count(&self, kind: Kind) -> usize {
        self.asked.iter().filter(|effect| kind_of(effect) == kind).count()
    }
}

/// A share that does not match what the owner published.
pub fn swapped(share: &SealedShare) -> SealedShare {
    let mut bytes = share.as_bytes().to_vec();
    bytes[71] ^= 1;
    SealedShare::new(bytes).expect("as long as before")
}

fn config(id: u8) -> CustodianConfig {
    CustodianConfig {
        id: split_custody_protocol::ids::CustodianId::new(id),
        deployment: DEPLOYMENT,
        owner: Principal::Owner.verify_key(),
        grant_key: Principal::Custodian(id).verify_key(),
        kek: kek(id),
    }
}

fn first_life() -> Recovered {
    Recovered { generation: Generation::new(1), epoch: Epoch::new(0), ..Recovered::default() }
}

pub fn kind_of(effect: &CustodianEffect) -> Kind {
    use CustodianEffect as E;
    match effect {
        E::Export { .. } => Kind::Export,
        E::Appraise { .. } => Kind::Appraise,
        E::Commit(transaction) => match &transaction.change {
            Change::Grant(_) => Kind::CommitGrant,
            Change::Renew { .. } => Kind::CommitRenewal,
            Change::Order { .. } => Kind::CommitOrder,
            Change::Provision { .. } => Kind::CommitProvision,
            Change::Activate { .. } => Kind::CommitActivation,
        },
        E::Reread { .. } => Kind::Reread,
        E::Release { .. } => Kind::Release,
        E::Sign { .. } => Kind::Sign,
        E::Anchor(_) => Kind::Anchor,
        E::DestroyHandles => Kind::DestroyHandles,
    }
}

/// The digest of an anchor's orders, for comparing.
pub fn anchored(node: &Node) -> Vec<Digest> {
    node.anchor.iter().flat_map(|anchor| anchor.orders.clone()).collect()
}
