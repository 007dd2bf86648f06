//! `custody inspect`: what a sealed file says of itself, and whether a manifest agrees.

use std::path::Path;

use serde_json::json;
use split_custody_keys::{ByteSuite, read_verify_key};
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::{Signed, decode};
use split_custody_weights::{SealedTable, inspect};

use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::files::{hex, read_signed};
use crate::layout::Beside;
use crate::screen;

pub fn run(args: &InspectArgs) -> Result<(), Failure> {
    let table = inspect(&args.file)?;
    let beside = Beside(&args.file).manifest();
    let path = args.manifest.clone().or_else(|| beside.is_file().then_some(beside));
    let manifest = match &path {
        Some(path) => Some(agree(path, &args.file, &table, args.owner.as_deref())?),
        None => None,
    };
    if args.json {
        say!("{}", as_json(&table, manifest.as_ref(), args.owner.is_some()));
        return Ok(());
    }
    say!("sealed file  {} ({})", args.file.display(), screen::bytes(table.file_len()));
    say!("container    {}", hex(&table.container));
    say!("weights      {} version {}", hex(&table.weights), table.version);
    say!("root         {}", hex(&table.root));
    match (&manifest, args.owner.is_some()) {
        (None, _) => say!("manifest     none: this is only what the file says of itself"),
        (Some(manifest), signed) => {
            let verified =
                if signed { "signed by the owner" } else { "signature not verified: no --owner" };
            say!("manifest     agrees; {verified}");
            say!(
                "custody      {} of {} custodians, {} may lie",
                manifest.k,
                manifest.n,
                manifest.f
            );
        }
    }
    say!("{:>8}  {:>14}  {:>14}  salt", "tensor", "offset", "bytes");
    for tensor in &table.tensors {
        let name = format!("t{:05}", tensor.index);
        let salt = crate::layout::short(&tensor.salt);
        say!("{name:>8}  {:>14}  {:>14}  {salt}", tensor.offset, tensor.length);
    }
    Ok(())
}

/// The manifest, if the file is the one that it describes. [SEAL-8]
fn agree(
    path: &Path,
    file: &Path,
    table: &SealedTable,
    owner: Option<&Path>,
) -> Result<Manifest, Failure> {
    let signed: Signed = read_signed(path, "a signed manifest")?;
    if let Some(owner) = owner {
        let key = read_verify_key(owner)?;
        KnownManifest::verify(&mut ByteSuite::new(), &key, &signed)
            .map_err(|error| Failure::refused(format!("`{}`: {error}", path.display())))?;
    }
    let manifest: Manifest = decode(signed.payload_bytes(), Message::CAP).map_err(|error| {
        Failure::refused(format!("`{}`: not a manifest: {error}", path.display()))
    })?;
    let differs = |what: &str| {
        let (file, path) = (file.display(), path.display());
        Err(Failure::refused(format!(
            "`{file}`: {what} differs from the manifest `{path}` [SEAL-8]"
        )))
    };
    if *manifest.weights.as_bytes() != table.weights {
        return differs("the weights id");
    }
    if manifest.version.value() != table.version {
        return differs(&format!("version {} of the weights", table.version));
    }
    if *manifest.container.as_bytes() != table.container {
        return differs("the container id");
    }
    if *manifest.root.as_bytes() != table.root {
        return differs("the merkle root over commitments and tags");
    }
    Ok(manifest)
}

fn as_json(table: &SealedTable, manifest: Option<&Manifest>, verified: bool) -> serde_json::Value {
    let tensors: Vec<_> = table
        .tensors
        .iter()
        .map(|t| {
            json!({
                "index": t.index, "offset": t.offset, "length": t.length,
                "salt": hex(&t.salt), "commitment": hex(&t.commitment),
            })
        })
        .collect();
    let manifest = manifest.map(|m| {
        json!({ "n": m.n, "k": m.k, "f": m.f, "ttl_max_ms": m.ttl_max.as_millis(), "verified": verified })
    });
    json!({
        "container": hex(&table.container), "weights": hex(&table.weights),
        "version": table.version, "bytes": table.file_len(), "root": hex(&table.root),
        "manifest": manifest, "tensors": tensors,
    })
}
