//! `custody revoke`: an order to every custodian, and the count of those that signed for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use split_custody_keys::{ByteSuite, hash_label};
use split_custody_protocol::ids::{CustodianId, Serial};
use split_custody_protocol::revocation::{AckSet, NotEffective, effective, required};
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::suite::{Digest, Label};
use split_custody_protocol::transcript::weights_subject;
use split_custody_protocol::wire::Signed;
use split_custody_protocol::wire::order::{Approvals, Order, Subject, SubjectKind, Verb};
use tokio::task::JoinSet;

use crate::args::RevokeArgs;
use crate::failure::Failure;
use crate::files::hex;
use crate::layout::{Beside, Household};
use crate::operator::{Line, Operators, connect, known_manifest};
use crate::screen;

pub fn run(args: &RevokeArgs) -> Result<(), Failure> {
    let household = Household(args.keys.clone());
    let operators = Operators::load(&household)?;
    let (manifest, _) = known_manifest(&Beside(&args.model).manifest(), &household)?;
    let order = Order {
        deployment: operators.deployment(),
        verb: Verb::Revoke,
        subject: subject(args, &operators, &manifest),
        serial: Serial::new(args.serial),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let quiet = args.json;
    let patience = Duration::from_secs(args.patience);
    let revocation = Revocation { operators: &operators, manifest: &manifest, order, patience };
    let done = runtime.block_on(revocation.carry_out(&args.custodians, args.wait, &mut |news| {
        if !quiet {
            say!("{news}");
        }
    }));
    let done = done?;
    if args.json {
        say!("{}", done.to_json());
    } else if args.wait {
        say!("dead: every lease under the order has lapsed at {} custodians", done.dead);
    }
    Ok(())
}

fn subject(args: &RevokeArgs, operators: &Operators, manifest: &KnownManifest) -> Subject {
    let (kind, value) = match &args.whom.device {
        Some(device) => (SubjectKind::Device, Digest::new(*device.as_bytes())),
        None if args.whom.weights => {
            let value = weights_subject(&mut ByteSuite::new(), manifest.weights, manifest.version);
            (SubjectKind::Weights, value)
        }
        None => {
            let deployment = operators.deployment();
            (SubjectKind::Everything, hash_label(Label::Everything, &[deployment.as_bytes()]))
        }
    };
    Subject { kind, value }
}

/// One order on its way.
pub struct Revocation<'a> {
    pub operators: &'a Operators,
    pub manifest: &'a KnownManifest,
    pub order: Order,
    /// How long custodians that do not sign are asked again.
    pub patience: Duration,
}

/// One submission to each custodian that is asked: the open channel, and what it signed there.
type Submissions = JoinSet<(CustodianId, SocketAddr, Result<(Line, Signed), Failure>)>;

/// What came of it.
pub struct Done {
    pub order: Digest,
    pub acknowledged: usize,
    pub needed: usize,
    pub dead: usize,
    /// When the last acknowledgement that was needed arrived.
    pub effective_at: Instant,
}

impl Done {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "order": hex(self.order.as_bytes()), "effective": true, "have": self.acknowledged,
            "need": self.needed, "dead": self.dead,
        })
    }
}

impl Revocation<'_> {
    /// Submits to all at once, and again to who did not sign while patience lasts; an error says
    /// how many of the needed custodians signed.
    pub async fn carry_out(
        &self,
        custodians: &[(CustodianId, SocketAddr)],
        wait: bool,
        tell: &mut dyn FnMut(String),
    ) -> Result<Done, Failure> {
        let (approvals, digest) = self.operators.order(&self.order)?;
        let (mut suite, mut acks) = (ByteSuite::new(), AckSet::new(digest));
        let need = required(self.manifest);
        let (mut lines, mut effective_at, mut pause) = (Vec::new(), None, FIRST_PAUSE);
        let until = Instant::now() + self.patience;
        let mut silent = BTreeMap::new();
        let mut unasked = custodians.to_vec();
        loop {
            let mut submitting = self.submit(&approvals, std::mem::take(&mut unasked));
            while let Some(submitted) = submitting.join_next().await {
                let (id, address, submitted) = submitted?;
                let counted = submitted.and_then(|(line, statement)| {
                    acks.add(self.manifest, &statement, &mut suite)?;
                    Ok(line)
                });
                match counted {
                    Ok(line) => {
                        silent.remove(&id);
                        lines.push(line);
                    }
                    Err(failure) => {
                        silent.insert(id, failure.text().to_owned());
                        unasked.push((id, address));
                    }
                }
                let have = acks.count();
                tell(format!("have {have} of {need}"));
                if have >= need && effective_at.is_none() {
                    effective_at = Some(Instant::now());
                }
            }
            // Effective, or nobody is left to ask, or no time to: once more would change nothing.
            if effective_at.is_some() || unasked.is_empty() || Instant::now() + pause > until {
                break;
            }
            let others = screen::list(unasked.iter().map(|(id, _)| id));
            let soon = screen::duration(pause);
            tell(format!("not effective yet: asking custodian {others} again in {soon}"));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let silent: Vec<String> = silent.into_values().collect();
        let (Ok(proof), Some(effective_at)) = (effective(self.manifest, &acks), effective_at)
        else {
            return Err(not_effective(NotEffective { have: acks.count(), need }, &silent));
        };
        let ttl = Duration::from_millis(self.manifest.ttl_max.as_millis());
        let ttl = screen::duration(ttl);
        tell(format!("effective: no new grant, and no honest use after {ttl} from now"));
        let dead = if wait { self.await_dead(lines, digest, need, tell).await? } else { 0 };
        let acknowledged = proof.acknowledged();
        Ok(Done { order: digest, acknowledged, needed: need, dead, effective_at })
    }

    fn submit(&self, approvals: &Approvals, to: Vec<(CustodianId, SocketAddr)>) -> Submissions {
        let mut submitting = JoinSet::new();
        for (id, address) in to {
            let (tls, approvals) = (self.operators.tls(), approvals.clone());
            submitting.spawn(async move {
                let asking = async {
                    let mut line = connect(&tls, id, address).await?;
                    let statement = line.submit(&approvals).await?;
                    Ok((line, statement))
                };
                (id, address, asking.await)
            });
        }
        submitting
    }

    /// n-k+1+f custodians sign that every lease under the order is dead. [REV-10]
    async fn await_dead(
        &self,
        lines: Vec<Line>,
        order: Digest,
        need: usize,
        tell: &mut dyn FnMut(String),
    ) -> Result<usize, Failure> {
        let (mut suite, mut dead) = (ByteSuite::new(), AckSet::new(order));
        let within = Duration::from_millis(self.manifest.ttl_max.as_millis()) * 2 + SLACK;
        let mut waiting = JoinSet::new();
        for mut line in lines {
            waiting.spawn(async move { line.await_dead(order, within).await });
        }
        let mut silent = Vec::new();
        while let Some(said) = waiting.join_next().await {
            let counted = said?.and_then(|statement| {
                dead.add_dead(self.manifest, &statement, &mut suite).map_err(Failure::from)
            });
            match counted {
                Ok(id) => tell(format!("dead at custodian {id}: {} of {need}", dead.count())),
                Err(failure) => silent.push(failure.text().to_owned()),
            }
        }
        if dead.count() < need {
            let (have, why) = (dead.count(), silent.join("; "));
            return Err(Failure::Refused(format!(
                "effective, but dead at {have} of {need} only: {why}"
            )));
        }
        Ok(dead.count())
    }
}

fn not_effective(count: NotEffective, silent: &[String]) -> Failure {
    let why = if silent.is_empty() { "ask more custodians".into() } else { silent.join("; ") };
    Failure::Refused(format!("{count}: no bound is claimed: {why}"))
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(10);
