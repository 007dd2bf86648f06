//! `custody node`: the host's part. It carries bytes, certifies leaf keys, and keeps no secret.

use std::net::SocketAddr;

use split_custody_protocol::ids::CustodianId;
use split_custody_runtime::pki::{NodeIssuer, read_certificates};
use split_custody_runtime::relay::{self, Relay};

use crate::args::NodeArgs;
use crate::failure::{Failure, io_at};
use crate::layout::Folder;
use crate::{role, screen};

pub fn run(args: &NodeArgs) -> Result<(), Failure> {
    let runtime = role::begin(&args.role)?;
    let issuer = load_issuer(&Folder(args.dir.clone()))?;
    let _guard = runtime.enter();
    let listener =
        relay::bind(&args.socket).map_err(|e| io_at(&args.socket, "open the socket", &e))?;
    let ids = screen::list(args.custodians.iter().map(|(id, _)| id));
    let json = serde_json::json!({ "role": "node", "socket": args.socket });
    let text = format!("node relays to custodians {ids} at {}", args.socket.display());
    role::ready(&args.role, json, &text)?;
    runtime.block_on(
        Relay::new(args.custodians.iter().copied().collect(), Some(issuer)).serve(listener),
    );
    Ok(())
}

/// An issuer as `keygen` saved it.
pub fn load_issuer(folder: &Folder) -> Result<NodeIssuer, Failure> {
    let path = folder.path("issuer.pem");
    let certificate = read_certificates(&path)?
        .into_iter()
        .next()
        .ok_or_else(|| Failure::refused(format!("`{}`: holds no certificate", path.display())))?;
    let path = folder.path("issuer.key");
    let key = crate::files::read(&path, 1 << 16)?;
    NodeIssuer::from_pem(certificate, &String::from_utf8_lossy(&key))
        .map_err(|e| io_at(&path, "use the key", &e))
}

/// `2=127.0.0.1:7002`, as commands take it.
pub fn parse_custodian(text: &str) -> Result<(CustodianId, SocketAddr), String> {
    let expected = || format!("`{text}` is not ID=ADDRESS, such as 1=127.0.0.1:7001");
    let (id, address) = text.split_once('=').ok_or_else(expected)?;
    let id = id.parse().ok().filter(|id| *id != 0).ok_or_else(expected)?;
    Ok((CustodianId::new(id), address.parse().map_err(|_| expected())?))
}
