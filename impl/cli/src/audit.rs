//! `custody audit verify`: the log's root from its leaves, and every receipt's leaf at its index.

use std::path::Path;

use serde_json::{Value, json};
use split_custody_keys::{ByteSuite, read_verify_key, verify};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::VerifyKey;
use split_custody_protocol::transcript::auth;
use split_custody_protocol::wire::audit::{Leaf, LeafKind};
use split_custody_protocol::wire::grant::GrantStatement;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::{ObjectKind, Signed, decode};
use split_custody_store::audit::{Inclusion, Tree, entry, leaf_hash};

use crate::args::AuditArgs;
use crate::control::{CustodianAsk, DeviceAsk, ask};
use crate::custodian;
use crate::failure::Failure;
use crate::files::{hex, unhex};
use crate::layout::Folder;

pub fn run(args: &AuditArgs) -> Result<(), Failure> {
    let folder = Folder(args.dir.clone());
    let id = folder.custodian()?;
    let log = Log::read(&folder, id)?;
    let receipts = match &args.device {
        Some(device) => receipts_of(device)?,
        None => Vec::new(),
    };
    let key = read_verify_key(&folder.path("grant.pub.pem"))?;
    let matched = log.match_receipts(id, &key, &receipts)?;
    if args.json {
        let leaves = log.leaves.len();
        say!(
            "{}",
            json!({ "custodian": id.value(), "leaves": leaves, "root": hex(&log.root), "receipts": matched })
        );
        return Ok(());
    }
    say!("custodian {id}: {} leaves, root {}", log.leaves.len(), hex(&log.root));
    for (index, leaf) in log.leaves.iter().enumerate() {
        say!(
            "{index:>6}  generation {} epoch {}  {:<10}  {}",
            leaf.generation,
            leaf.epoch,
            format!("{:?}", leaf.kind).to_lowercase(),
            crate::layout::short(leaf.subject.as_bytes())
        );
    }
    say!("{matched} receipts have their leaf at their index");
    Ok(())
}

/// A custodian's audit log, whose root was recomputed.
pub struct Log {
    pub leaves: Vec<Leaf>,
    pub root: [u8; 32],
}

impl Log {
    /// Reads the store in the folder, or asks the process that holds it.
    pub fn read(folder: &Folder, id: CustodianId) -> Result<Self, Failure> {
        let (database, _) = custodian::store_paths(&folder.0);
        if !database.is_file() {
            let path = database.display();
            return Err(Failure::refused(format!("`{path}`: no store is there yet")));
        }
        let socket = folder.path("control.sock");
        let said = match ask(&socket, &CustodianAsk::Audit) {
            Ok(said) => said,
            Err(_) => custodian::log_in(&folder.0, id)?,
        };
        Self::of(&said).map_err(|failure| failure.within(&database.display().to_string()))
    }

    fn of(said: &Value) -> Result<Self, Failure> {
        let malformed = || Failure::refused("the log does not decode");
        let leaves = said["leaves"].as_array().ok_or_else(malformed)?;
        let leaf = |text: &Value| {
            let bytes = bytes_of(text.as_str()?)?;
            decode::<Leaf>(&bytes, LEAF_CAP).ok()
        };
        let leaves: Option<Vec<Leaf>> = leaves.iter().map(leaf).collect();
        let leaves = leaves.ok_or_else(malformed)?;
        let root = unhex(said["root"].as_str().unwrap_or_default()).map_err(Failure::Refused)?;
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(leaf_hash(entry(leaf).as_bytes())));
        if tree.root() != root || said["size"].as_u64() != Some(tree.size()) {
            return Err(Failure::refused("the root is not that of the leaves [AUD-1]"));
        }
        Ok(Self { leaves, root })
    }

    /// How many of the receipts are this custodian's; each must have its leaf at its index. [AUD-8]
    pub fn match_receipts(
        &self,
        id: CustodianId,
        key: &VerifyKey,
        receipts: &[Signed],
    ) -> Result<usize, Failure> {
        let hashes: Vec<_> =
            self.leaves.iter().map(|leaf| leaf_hash(entry(leaf).as_bytes())).collect();
        let mut matched = 0;
        for receipt in receipts {
            let statement: GrantStatement = receipt.payload()?;
            if statement.custodian != id {
                continue;
            }
            let index = statement.index_in_log;
            let refuse = |why: &str| {
                Failure::Refused(format!(
                    "custodian {id}: receipt of log index {index}: {why} [AUD-8]"
                ))
            };
            verify(key, &receipt.message(ObjectKind::Grant), receipt.signature())
                .map_err(|_| refuse("not signed by this custodian"))?;
            let leaf = Leaf {
                kind: LeafKind::Release,
                generation: statement.generation,
                epoch: statement.epoch,
                subject: auth(&mut ByteSuite::new(), &statement),
            };
            let place = usize::try_from(index.value()).unwrap_or(usize::MAX);
            let proof = Inclusion::prove(&hashes, place).ok_or_else(|| refuse("beyond the log"))?;
            if proof.root != self.root {
                return Err(refuse("its proof leads to another root"));
            }
            proof.verify(&leaf).map_err(|_| refuse("another leaf is in its place"))?;
            matched += 1;
        }
        Ok(matched)
    }
}

/// The signed grants that a device received, from its process.
pub fn receipts_of(device: &Path) -> Result<Vec<Signed>, Failure> {
    let said = ask(&Folder(device.to_owned()).path("control.sock"), &DeviceAsk::Receipts)?;
    let receipt = |text: &Value| decode(&bytes_of(text.as_str()?)?, Message::CAP).ok();
    let receipts: Option<Vec<Signed>> =
        said.as_array().and_then(|receipts| receipts.iter().map(receipt).collect());
    receipts.ok_or_else(|| Failure::refused("the device's receipts do not decode"))
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then_some(())?;
    pairs.iter().map(byte).collect()
}

const LEAF_CAP: usize = 128;
