//! `custody seal`: a safetensors file becomes a sealed file, a manifest, and one provision for each
//! custodian.

use std::fs;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use split_custody_attest::Measurements;
use split_custody_keys::{
    ByteSuite, Dealing, Dek, OwnerKey, Recipient, hash, read_kek_public, read_verify_key,
};
use split_custody_protocol::ids::{
    ContainerId, CustodianId, PolicyVersion, ShareIndex, ShareSetId, WeightsId, WeightsVersion,
};
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::{Digest, SuiteId};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::manifest::{
    CustodianEntry, Deployment, Manifest, Policy, Table, TableRow,
};
use split_custody_protocol::wire::standing::Provision;
use split_custody_weights as weights;
use split_custody_weights::{Ids, SealedTable, Threads};
use zeroize::Zeroizing;

use crate::args::SealArgs;
use crate::failure::Failure;
use crate::files::{hex, read_signed, write_new};
use crate::layout::{Beside, DEPLOYMENT, Household};
use crate::screen;
use crate::terms::TermArgs;

pub fn run(args: &SealArgs) -> Result<(), Failure> {
    let total = fs::metadata(&args.source).map_or(0, |metadata| metadata.len());
    let bar = screen::bar(total, "sealing");
    let order = Sealing {
        source: &args.source,
        target: &args.target,
        household: &Household(args.keys.clone()),
        threshold: args.threshold,
        faulty: args.faulty,
        version: args.version,
        weights: args.weights,
        terms: &args.terms,
        image: args.measure.as_deref(),
        development: args.development,
    };
    let sealed = order.seal(&|bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let sealed = sealed?;
    let manifest = &sealed.manifest;
    if args.json {
        let said = serde_json::json!({
            "sealed": args.target, "weights": hex(manifest.weights.as_bytes()),
            "version": manifest.version.value(), "tensors": sealed.table.tensors.len() - 1,
            "bytes": sealed.table.file_len(), "custodians": manifest.n, "threshold": manifest.k,
            "faulty": manifest.f, "manifest": hex(manifest.digest().as_bytes()),
        });
        say!("{said}");
        return Ok(());
    }
    let (n, k, f) = (manifest.n, manifest.k, manifest.f);
    say!("sealed   {} ({})", args.target.display(), screen::bytes(sealed.table.file_len()));
    say!("weights  {} version {}", manifest.weights, manifest.version);
    say!("custody  {k} of {n} custodians release; {f} may lie");
    say!("beside   .manifest .table .deployment .provision-1..{n}");
    Ok(())
}

/// What to seal, for whom, under which terms.
pub struct Sealing<'a> {
    pub source: &'a Path,
    pub target: &'a Path,
    pub household: &'a Household,
    pub threshold: u8,
    pub faulty: u8,
    pub version: u64,
    pub weights: Option<[u8; 16]>,
    pub terms: &'a TermArgs,
    /// The image whose measurement policy admits; this very program where none is named.
    pub image: Option<&'a Path>,
    /// Whether KEKs of the development suite are taken. [HSM-14]
    pub development: bool,
}

/// A sealed model at its owner.
pub struct SealedModel {
    pub manifest: KnownManifest,
    pub table: SealedTable,
    pub dek: weights::Dek,
    pub provisions: Vec<(CustodianId, Provision)>,
    /// In clear, for an owner who looks for them where they must not be; erased when dropped.
    pub shares: Vec<(CustodianId, Zeroizing<[u8; 32]>)>,
}

impl Sealing<'_> {
    /// Seals, deals, signs and writes everything, or leaves nothing behind.
    pub fn seal(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<SealedModel, Failure> {
        let custodians = self.household.custodians();
        let n = u8::try_from(custodians.len()).unwrap_or(u8::MAX);
        check_parameters(n, self.threshold, self.faulty)?;
        check_terms(self.terms)?;
        let owner = OwnerKey::load(&self.household.owner().path("owner.pem"))?;
        let deployment =
            read_signed(&self.household.owner().path(DEPLOYMENT), "a deployment record")?;
        let mut suite = ByteSuite::new();
        let known = KnownDeployment::verify(&mut suite, &owner.public(), &deployment)?;

        let ids = Ids::fresh(self.weights.map_or_else(random, Ok)?, self.version)?;
        let dek = weights::Dek::generate()?;
        let beside = Beside(self.target);
        let sidecars = self.sidecars(&custodians);
        refuse_existing(&sidecars)?;
        let table = weights::seal(self.source, self.target, &dek, &ids, Threads::all(), progress)?;
        // From here on the sealed file is there: an error takes it away again.
        let mut made = Unfinished(vec![self.target.to_owned()]);
        let set = ShareSetId::new(random()?);
        let dealing = self.deal(&dek, set, &custodians)?;
        let manifest = self.manifest(&known, &table, &dek, set, &dealing)?;
        let signed = owner.sign_manifest(&manifest)?;
        let manifest = KnownManifest::verify(&mut suite, &owner.public(), &signed)?;
        let shares = dealing.expose();
        let mut provisions = Vec::new();
        for sealed in dealing.seal(manifest.digest())? {
            let floor = WeightsVersion::new(self.version);
            let provision = owner.provision(&signed, &deployment, &sealed, floor)?;
            provisions.push((sealed.custodian, provision));
        }
        made.write(beside.manifest(), &encode(&signed))?;
        made.write(beside.table(), &encode(&wire_table(&table)?))?;
        made.write(beside.deployment(), &encode(&deployment))?;
        for (custodian, provision) in &provisions {
            made.write(beside.provision(*custodian), &encode(provision))?;
        }
        made.0.clear();
        Ok(SealedModel { manifest, table, dek, provisions, shares })
    }

    fn sidecars(&self, custodians: &[u8]) -> Vec<PathBuf> {
        let beside = Beside(self.target);
        let mut paths = vec![beside.manifest(), beside.table(), beside.deployment()];
        paths.extend(custodians.iter().map(|id| beside.provision(CustodianId::new(*id))));
        paths
    }

    fn deal(
        &self,
        dek: &weights::Dek,
        set: ShareSetId,
        custodians: &[u8],
    ) -> Result<Dealing, Failure> {
        let recipients = custodians
            .iter()
            .map(|id| {
                let path = self.household.custodian(*id).path("kek.pub.pem");
                let kek = read_kek_public(&path)?;
                if kek.suite() == SuiteId::P256_CBCD_KW && !self.development {
                    // [HSM-14]
                    return Err(Failure::refused(format!(
                        "`{}`: suite P256-CBCD-KW is for development; say --development [HSM-14]",
                        path.display()
                    )));
                }
                Ok(Recipient { custodian: CustodianId::new(*id), index: ShareIndex::new(*id), kek })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Dealing::deal(&Dek::from_bytes(dek.expose()), set, self.threshold, &recipients)?)
    }

    fn manifest(
        &self,
        deployment: &Deployment,
        table: &SealedTable,
        dek: &weights::Dek,
        set: ShareSetId,
        dealing: &Dealing,
    ) -> Result<Manifest, Failure> {
        let (weights, version) =
            (WeightsId::new(table.weights), WeightsVersion::new(table.version));
        let commitments = dealing.commitments();
        let entries = commitments
            .iter()
            .map(|commitment| {
                let folder = self.household.custodian(commitment.custodian.value());
                Ok(CustodianEntry {
                    id: commitment.custodian,
                    grant_key: read_verify_key(&folder.path("grant.pub.pem"))?,
                    suites: list(vec![read_kek_public(&folder.path("kek.pub.pem"))?.suite()])?,
                    index: commitment.index,
                    commitment: commitment.share,
                    kek: commitment.kek,
                })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        Ok(Manifest {
            deployment: deployment.deployment,
            weights,
            version,
            container: ContainerId::new(table.container),
            dek: Dek::from_bytes(dek.expose()).commitment(weights, version),
            set,
            k: self.threshold,
            n: u8::try_from(commitments.len()).unwrap_or(u8::MAX),
            f: self.faulty,
            custodians: list(entries)?,
            table: table_digest(&encode(&wire_table(table)?)),
            root: Digest::new(table.root),
            ttl_max: self.terms.ttl_max(),
            policy: self.policy()?,
            earlier: list(Vec::new())?,
        })
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let measured = match self.image {
            Some(image) => Measurements::of_image(image)
                .map_err(|e| crate::failure::io_at(image, "measure the image", &e))?,
            None => Measurements::of_running_image()?,
        };
        let terms = self.terms;
        Ok(Policy {
            version: PolicyVersion::new(1),
            kinds: list(vec![EvidenceKind::SOFTWARE])?,
            measurements: list(measured.as_list().to_vec())?,
            modes: list(vec![MODE])?,
            first: terms.first(),
            term: terms.term(),
            budget: terms.budget(),
            max_age: terms.max_age(),
            gather: terms.gather(),
            margin: terms.margin(),
            challenge_max: terms.challenge_max(),
        })
    }
}

/// The only mode that a device of kind `software` runs in.
pub const MODE: u8 = 0;

/// PROTOCOL section 0, in words. [QRM-7]
pub fn check_parameters(n: u8, k: u8, f: u8) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::Refused(why));
    match (n, k, f) {
        (0, ..) => refuse("there are no custodians: 1 <= k <= n <= 255 is needed [QRM-7]".into()),
        (_, 0, _) => refuse("threshold k is 0: at least one share must be needed [QRM-7]".into()),
        (n, k, _) if k > n => refuse(format!(
            "threshold k is {k} and there are n = {n} custodians: k <= n is needed [QRM-7]"
        )),
        (_, k, f) if f >= k => refuse(format!(
            "f is {f} and k is {k}: f liars could release the key among themselves; f < k is needed [QRM-7]"
        )),
        _ => Ok(()),
    }
}

/// Every term at least four margins plus the gather window, and none above ttl-max. [LEA-12]
fn check_terms(terms: &TermArgs) -> Result<(), Failure> {
    let least = terms.margin().times(4).plus(terms.gather());
    for (name, term) in [("first-ms", terms.first()), ("term-ms", terms.term())] {
        if term < least || term > terms.ttl_max() {
            return Err(Failure::Refused(format!(
                "--{name} is {}: it must be from {} (4 margins plus the gather window) to {} (--ttl-max-ms) [LEA-12]",
                term.as_millis(),
                least.as_millis(),
                terms.ttl_max().as_millis(),
            )));
        }
    }
    Ok(())
}

/// `H("table", bytes)`.
pub fn table_digest(encoded: &[u8]) -> Digest {
    hash("split-custody/v1/table", &[encoded])
}

fn wire_table(table: &SealedTable) -> Result<Table, Failure> {
    let row = |t: &weights::SealedTensor| TableRow {
        index: t.index,
        offset: t.offset,
        length: t.length,
        salt: t.salt,
        commitment: Digest::new(t.commitment),
    };
    Ok(Table {
        container: ContainerId::new(table.container),
        data_offset: table.data_offset,
        tensors: list(table.tensors.iter().map(row).collect())?,
    })
}

fn list<T, const MIN: usize, const MAX: usize>(
    items: Vec<T>,
) -> Result<List<T, MIN, MAX>, Failure> {
    let count = items.len();
    List::new(items).ok_or_else(|| {
        Failure::refused(format!("a list of {count} where {MIN} to {MAX} are allowed [WIRE-1]"))
    })
}

fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::refused("no randomness"))?;
    Ok(bytes)
}

fn refuse_existing(paths: &[PathBuf]) -> Result<(), Failure> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(Failure::refused(format!("`{}`: target exists already", path.display()))),
        None => Ok(()),
    }
}

/// Files that are removed again unless everything succeeds.
struct Unfinished(Vec<PathBuf>);

impl Unfinished {
    fn write(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), Failure> {
        write_new(&path, bytes, 0o644)?;
        self.0.push(path);
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
