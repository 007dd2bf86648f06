//! What people who sign do with custodians: one question at a time over mutual TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use split_custody_keys::{ByteSuite, OperatorKey, order_digest};
use split_custody_protocol::ids::{CustodianId, DeploymentId};
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Approvals, AwaitDead, Order, Submit};
use split_custody_protocol::wire::standing::{
    Activate, Activation, Provision, Query, StandingCode, Status,
};
use split_custody_protocol::wire::{Signed, decode, encode};
use split_custody_runtime::pki::{DeviceLeaf, Validity, read_certificates};
use split_custody_runtime::transport::{Channel, ClientTls, Limits, read_frame, write_frame};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, chain, io_at};
use crate::layout::{Folder, Household};
use crate::node::load_issuer;

/// A way to custodians, under a certificate of the operators' issuer.
pub struct Operators {
    tls: ClientTls,
    keys: Vec<OperatorKey>,
    deployment: DeploymentId,
    /// Every order that these keys signed: none of them signs an activation that lacks one.
    signed: PathBuf,
}

impl Operators {
    /// Reads the operators' folder; a fresh leaf is certified for this process alone.
    pub fn load(household: &Household) -> Result<Self, Failure> {
        let folder = household.operators();
        let keys = household.operator_keys();
        let keys =
            keys.iter().map(|path| Ok(OperatorKey::load(path)?)).collect::<Result<_, Failure>>()?;
        let deployment = folder.about()?.deployment()?;
        let signed = folder.path("orders");
        Ok(Self { tls: client_tls(&folder)?, keys, deployment, signed })
    }

    /// The identity to connect under, for tasks of their own.
    pub fn tls(&self) -> ClientTls {
        self.tls.clone()
    }

    pub async fn connect(&self, id: CustodianId, address: SocketAddr) -> Result<Line, Failure> {
        connect(&self.tls, id, address).await
    }

    /// Delivers a provision; a custodian that has it already says so again.
    pub async fn provision(&self, line: &mut Line, provision: Provision) -> Result<(), Failure> {
        match line.ask(provision.into()).await? {
            Message::Provisioned(_) => Ok(()),
            other => Err(line.unexpected(&other)),
        }
    }

    pub async fn query(&self, line: &mut Line) -> Result<Status, Failure> {
        match line.ask(Query { deployment: self.deployment }.into()).await? {
            Message::Status(status) => Ok(status),
            other => Err(line.unexpected(&other)),
        }
    }

    /// Lets a recovering custodian serve; one that serves is left alone. [AUD-5]
    pub async fn activate(
        &self,
        line: &mut Line,
        manifest: &KnownManifest,
    ) -> Result<Status, Failure> {
        let status = self.query(line).await?;
        if status.standing != StandingCode::Recovering {
            return Ok(status);
        }
        let status = self.bring_up_to_date(line, status).await?;
        let activation = Activation {
            deployment: self.deployment,
            custodian: status.custodian,
            set: manifest.set,
            manifest: *manifest.digest(),
            nonce: status.nonce,
            orders: status.orders.clone(),
        };
        let approvals = self.approve(|key| key.approve_activation(&activation))?;
        match line.ask(Activate { approvals }.into()).await? {
            Message::Activated(_) => self.query(line).await,
            other => Err(line.unexpected(&other)),
        }
    }

    /// A custodian that forgot orders is given them first: what an operator signs as the complete
    /// set never lacks an order that it signed. [AUD-6]
    async fn bring_up_to_date(&self, line: &mut Line, status: Status) -> Result<Status, Failure> {
        let mut superseded = BTreeSet::new();
        let signed = self.signed_orders()?;
        let lacks = |status: &Status, digest: &Digest| !status.orders.iter().any(|d| d == digest);
        for (digest, approvals) in signed.iter().filter(|(digest, _)| lacks(&status, digest)) {
            if let Submitted::Superseded = line.submit_known(approvals).await? {
                superseded.insert(*digest);
            }
        }
        let status = self.query(line).await?;
        let missing =
            signed.keys().find(|digest| lacks(&status, digest) && !superseded.contains(*digest));
        match missing {
            Some(digest) => Err(Failure::Refused(format!(
                "custodian {} does not hold order {digest}, which was signed here: not activated \
                 [AUD-6]",
                line.id
            ))),
            None => Ok(status),
        }
    }

    /// An order, signed by every operator whose key is here, and remembered before it is used.
    pub fn order(&self, order: &Order) -> Result<(Approvals, Digest), Failure> {
        let approvals = self.approve(|key| key.approve_order(order))?;
        let digest = order_digest(&encode(order));
        let at = |error: &std::io::Error| io_at(&self.signed, "remember the order in it", error);
        std::fs::create_dir_all(&self.signed).map_err(|e| at(&e))?;
        let path = self.signed.join(format!("{digest}.cbor"));
        std::fs::write(&path, encode(&approvals)).map_err(|e| at(&e))?;
        std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(|e| at(&e))?;
        Ok((approvals, digest))
    }

    fn signed_orders(&self) -> Result<BTreeMap<Digest, Approvals>, Failure> {
        let mut signed = BTreeMap::new();
        let Ok(files) = std::fs::read_dir(&self.signed) else { return Ok(signed) };
        for file in files {
            let path = file?.path();
            let approvals: Approvals = decode(&std::fs::read(&path)?, Message::CAP)
                .map_err(|error| Failure::refused(format!("`{}`: {error}", path.display())))?;
            if let Some(first) = approvals.as_slice().first() {
                signed.insert(order_digest(first.payload_bytes()), approvals);
            }
        }
        Ok(signed)
    }

    pub const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    fn approve<E: std::error::Error>(
        &self,
        sign: impl Fn(&OperatorKey) -> Result<Signed, E>,
    ) -> Result<Approvals, Failure> {
        let approvals =
            self.keys.iter().map(|key| Ok(sign(key)?)).collect::<Result<Vec<_>, Failure>>()?;
        List::new(approvals).ok_or_else(|| Failure::refused("there is no operator's key [REV-2]"))
    }
}

/// What a custodian says to an order.
enum Submitted {
    Acknowledged(Signed),
    Superseded,
}

/// An open channel to one custodian.
pub struct Line {
    id: CustodianId,
    channel: Channel,
}

impl Line {
    pub async fn ask(&mut self, message: Message) -> Result<Message, Failure> {
        self.ask_within(message, PATIENCE).await
    }

    async fn ask_within(&mut self, message: Message, within: Duration) -> Result<Message, Failure> {
        let id = self.id;
        let said = |why: String| Failure::Refused(format!("custodian {id}: {why}"));
        let asking = async {
            write_frame(&mut self.channel.writer, &message.to_frame()).await?;
            read_frame(&mut self.channel.reader, FRAME).await
        };
        let frame = timeout(within, asking)
            .await
            .map_err(|_| said("no answer in time".into()))?
            .map_err(|error| said(chain(&error)))?
            .ok_or_else(|| said("the channel was closed without an answer".into()))?;
        Message::from_frame(&frame).map_err(|error| said(error.to_string()))
    }

    /// Submits an order; gives the signed acknowledgement.
    pub async fn submit(&mut self, approvals: &Approvals) -> Result<Signed, Failure> {
        match self.submit_known(approvals).await? {
            Submitted::Acknowledged(statement) => Ok(statement),
            Submitted::Superseded => Err(Failure::Refused(format!(
                "custodian {}: a newer order of this subject is held [REV-13]",
                self.id
            ))),
        }
    }

    async fn submit_known(&mut self, approvals: &Approvals) -> Result<Submitted, Failure> {
        match self.ask(Submit { approvals: approvals.clone() }.into()).await? {
            Message::Acknowledged(acknowledged) => {
                Ok(Submitted::Acknowledged(acknowledged.statement))
            }
            Message::Superseded(_) => Ok(Submitted::Superseded),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Waits for the custodian's word that every lease under the order is dead. [REV-10]
    pub async fn await_dead(&mut self, order: Digest, within: Duration) -> Result<Signed, Failure> {
        match self.ask_within(AwaitDead { order }.into(), within).await? {
            Message::Dead(dead) => Ok(dead.statement),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, message: &Message) -> Failure {
        let id = self.id;
        match message {
            Message::Refused(refused) => Failure::Refused(format!(
                "custodian {id}: refused; its log says why under {}",
                refused.correlation
            )),
            other => {
                Failure::Refused(format!("custodian {id}: answered with {}", other.kind().name()))
            }
        }
    }
}

/// Opens a channel under any identity.
pub async fn connect(
    tls: &ClientTls,
    id: CustodianId,
    address: SocketAddr,
) -> Result<Line, Failure> {
    let said = |error: &dyn std::error::Error| {
        Failure::Refused(format!("custodian {id} at {address}: {}", chain(error)))
    };
    let connecting = timeout(PATIENCE, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|e| said(&e))?.map_err(|e| said(&e))?;
    stream.set_nodelay(true)?;
    let channel = tls.connect(id, stream, &Limits::default()).await.map_err(|e| said(&e))?;
    Ok(Line { id, channel })
}

fn client_tls(folder: &Folder) -> Result<ClientTls, Failure> {
    let issuer = load_issuer(folder)?;
    let leaf = DeviceLeaf::generate()?;
    let chain = issuer.certify(&leaf.request()?, Validity::starting_now(LEAF_LIFE))?;
    let roots = read_certificates(&folder.path("root.pem"))?;
    Ok(ClientTls::new(leaf.with_chain(chain)?, &roots)?)
}

/// A manifest that this owner signed.
pub fn known_manifest(
    path: &Path,
    household: &Household,
) -> Result<(KnownManifest, Signed), Failure> {
    let signed = crate::files::read_signed(path, "a signed manifest")?;
    let owner = household.operators().owner()?;
    let known = KnownManifest::verify(&mut ByteSuite::new(), &owner, &signed)
        .map_err(|error| Failure::refused(format!("`{}`: {error}", path.display())))?;
    Ok((known, signed))
}

const PATIENCE: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_secs(10);
const LEAF_LIFE: Duration = Duration::from_secs(3600);
