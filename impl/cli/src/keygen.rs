//! `custody keygen`: every key of a deployment, each in its holder's folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};
use split_custody_attest::device_id;
use split_custody_keys::{OperatorKey, OwnerKey, SigningKey, SoftCustody, write_verify_key};
use split_custody_protocol::ids::{CustodianId, DeploymentId};
use split_custody_protocol::suite::{DeviceId, LeafKey, VerifyKey};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::manifest::Deployment;
use split_custody_runtime::pki::{
    CustodianRoot, DeploymentCa, NodeIssuer, save_identity, write_private,
};

use crate::args::KeygenArgs;
use crate::failure::{Failure, io_at};
use crate::files::{hex, write_new};
use crate::layout::{ABOUT, About, DEPLOYMENT, Folder, Household, OWNER_PUBLIC};
use crate::screen;

pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let keys = if args.hsm { CustodyKeys::Hsm } else { CustodyKeys::Software };
    let made = generate(&args.dir, args.custodians, args.devices, args.operators, keys)?;
    if args.json {
        let devices: Vec<String> = made.devices.iter().map(|id| hex(id.as_bytes())).collect();
        let made = serde_json::json!({
            "dir": args.dir, "deployment": hex(made.deployment.as_bytes()),
            "custodians": args.custodians, "operators": args.operators, "devices": devices,
        });
        say!("{made}");
        return Ok(());
    }
    say!("deployment {}", made.deployment);
    say!("  owner      {}", args.dir.join("owner").display());
    say!("  operators  {} in {}", args.operators, args.dir.join("operators").display());
    say!("  custodians {}", screen::list((1..=args.custodians).map(|n| format!("custodian-{n}"))));
    for (number, device) in (1..).zip(&made.devices) {
        say!("  device-{number}   {}", hex(device.as_bytes()));
    }
    match keys {
        CustodyKeys::Software => {
            say!("Keys lie in files of mode 600: software keys, for development only.");
        }
        CustodyKeys::Hsm => {
            say!("Custodians have no keys yet: `custody hsm init` makes them in their tokens.");
        }
    }
    Ok(())
}

/// Where custodians' keys are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CustodyKeys {
    Software,
    /// Later, in their tokens.
    Hsm,
}

/// What was generated, by public name.
pub struct Generated {
    pub deployment: DeploymentId,
    pub devices: Vec<DeviceId>,
}

/// Makes the folder `dir` and everything in it, or nothing.
pub fn generate(
    dir: &Path,
    custodians: u8,
    devices: u8,
    operators: u8,
    keys: CustodyKeys,
) -> Result<Generated, Failure> {
    if dir.symlink_metadata().is_ok() {
        let dir = dir.display();
        return Err(Failure::refused(format!(
            "`{dir}`: exists already, and keys are never overwritten"
        )));
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staged = tempfile::Builder::new()
        .prefix(".keygen-")
        .tempdir_in(parent)
        .map_err(|e| io_at(parent, "create a folder in it", &e))?;
    let household = Household(staged.path().to_owned());
    let (deployment, devices) = fill(&household, custodians, devices, operators, keys)?;
    fs::rename(staged.path(), dir).map_err(|e| io_at(dir, "name the folder", &e))?;
    // Renamed: there is nothing left to remove under the old name.
    let _ = staged.keep();
    Ok(Generated { deployment, devices })
}

fn fill(
    house: &Household,
    custodians: u8,
    devices: u8,
    operators: u8,
    keys: CustodyKeys,
) -> Result<(DeploymentId, Vec<DeviceId>), Failure> {
    let mut id = [0; DeploymentId::SIZE];
    SystemRandom::new().fill(&mut id).map_err(|_| Failure::refused("no randomness"))?;
    let deployment = DeploymentId::new(id);
    let about = About { deployment: hex(&id), custodian: None };
    let owner = owner_folder(house, &about)?;
    let (ca, root) =
        (DeploymentCa::generate("development")?, CustodianRoot::generate("development")?);
    save_identity(&house.owner().0, "ca", &[ca.certificate().clone()], &ca.key_pem())?;
    save_identity(&house.owner().0, "root", &[root.certificate().clone()], &root.key_pem())?;
    let public = owner.public();

    let operators =
        operators_folder(house, &about, &public, &ca.issue_node("operators")?, operators)?;
    for custodian in 1..=custodians {
        custodian_folder(house, &about, &public, &root, CustodianId::new(custodian), keys)?;
    }
    let issuer = ca.issue_node("node-1")?;
    save_issuer(&open(house.node(), &about, &public)?, &issuer)?;
    let devices = (1..=devices)
        .map(|number| device_folder(house, &about, &public, number))
        .collect::<Result<Vec<_>, Failure>>()?;

    let record = record(deployment, operators, &devices, issuer.spki()?)?;
    let signed = owner.sign_deployment(&record)?;
    write_new(&house.owner().path(DEPLOYMENT), &encode(&signed), 0o644)?;
    Ok((deployment, devices))
}

/// Who may do what: a sole operator counts 1 and 1, several 1 and all of them.
fn record(
    deployment: DeploymentId,
    operators: Vec<VerifyKey>,
    devices: &[DeviceId],
    issuer: LeafKey,
) -> Result<Deployment, Failure> {
    let m_change = u8::try_from(operators.len()).unwrap_or(u8::MAX);
    let too_many = |what: &str| Failure::refused(format!("too many {what} for one record"));
    Ok(Deployment {
        deployment,
        version: 1,
        operators: List::new(operators).ok_or_else(|| too_many("operators"))?,
        m_revoke: 1,
        m_change,
        devices: List::new(devices.to_vec()).ok_or_else(|| too_many("devices"))?,
        issuers: List::new(vec![issuer]).ok_or_else(|| too_many("issuers"))?,
    })
}

fn owner_folder(house: &Household, about: &About) -> Result<OwnerKey, Failure> {
    let folder = house.owner();
    make(&folder.0)?;
    let key = OwnerKey::create(&folder.path("owner.pem"))?;
    describe(&folder, about, &key.public())?;
    Ok(key)
}

fn operators_folder(
    house: &Household,
    about: &About,
    owner: &VerifyKey,
    issuer: &NodeIssuer,
    count: u8,
) -> Result<Vec<VerifyKey>, Failure> {
    let folder = open(house.operators(), about, owner)?;
    save_issuer(&folder, issuer)?;
    copy(house, "root.pem", &folder)?;
    let key = |number| {
        let key = OperatorKey::create(&folder.path(&format!("operator-{number}.pem")))?;
        write_verify_key(&folder.path(&format!("operator-{number}.pub.pem")), &key.public())?;
        Ok(key.public())
    };
    (1..=count).map(key).collect()
}

fn custodian_folder(
    house: &Household,
    about: &About,
    owner: &VerifyKey,
    root: &CustodianRoot,
    id: CustodianId,
    keys: CustodyKeys,
) -> Result<(), Failure> {
    let about = About { custodian: Some(id.value()), ..about.clone() };
    let folder = open(house.custodian(id.value()), &about, owner)?;
    if keys == CustodyKeys::Software {
        SoftCustody::create(&folder.0)?;
    }
    let (identity, key) = root.issue(id)?;
    save_identity(&folder.0, "leaf", &identity.chain, &key)?;
    copy(house, "ca.pem", &folder)
}

fn device_folder(
    house: &Household,
    about: &About,
    owner: &VerifyKey,
    number: u8,
) -> Result<DeviceId, Failure> {
    let folder = open(house.device(number), about, owner)?;
    let gpu = SigningKey::create(&folder.path("gpu.pem"))?;
    let platform = SigningKey::create(&folder.path("platform.pem"))?;
    copy(house, "root.pem", &folder)?;
    Ok(device_id(&gpu.public(), &platform.public()))
}

fn open(folder: Folder, about: &About, owner: &VerifyKey) -> Result<Folder, Failure> {
    make(&folder.0)?;
    describe(&folder, about, owner)?;
    Ok(folder)
}

fn describe(folder: &Folder, about: &About, owner: &VerifyKey) -> Result<(), Failure> {
    write_verify_key(&folder.path(OWNER_PUBLIC), owner)?;
    write_new(&folder.path(ABOUT), about.to_json().as_bytes(), 0o644)
}

fn save_issuer(folder: &Folder, issuer: &NodeIssuer) -> Result<(), Failure> {
    save_identity(&folder.0, "issuer", &[issuer.certificate().clone()], &issuer.key_pem())?;
    Ok(())
}

/// A certificate of the owner's, which anyone may read.
fn copy(house: &Household, name: &str, to: &Folder) -> Result<(), Failure> {
    let text = crate::files::read(&house.owner().path(name), 1 << 16)?;
    write_private(&to.path(name), &String::from_utf8_lossy(&text))?;
    Ok(())
}

fn make(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(path).map_err(|e| io_at(path, "create the folder", &e))
}
