//! `custody provision`: shares to custodians, then leave to serve.

use serde_json::json;
use split_custody_protocol::wire::message::Message;

use crate::args::ProvisionArgs;
use crate::failure::Failure;
use crate::files::read_object;
use crate::layout::{Beside, Household};
use crate::operator::{Operators, known_manifest};

pub fn run(args: &ProvisionArgs) -> Result<(), Failure> {
    let household = Household(args.keys.clone());
    let operators = Operators::load(&household)?;
    let beside = Beside(&args.model);
    let (manifest, _) = known_manifest(&beside.manifest(), &household)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut serving = Vec::new();
    for (id, address) in &args.custodians {
        if manifest.custodian(*id).is_none() {
            return Err(Failure::refused(format!("custodian {id} is not in the manifest")));
        }
        let provision = read_object(&beside.provision(*id), "a provision", Message::CAP)?;
        let status = runtime.block_on(async {
            let mut line = operators.connect(*id, *address).await?;
            operators.provision(&mut line, provision).await?;
            operators.activate(&mut line, &manifest).await
        })?;
        serving.push(json!({
            "custodian": id.value(), "generation": status.generation.value(),
            "epoch": status.epoch.value(),
        }));
        if !args.json {
            say!("custodian {id} serves: generation {}, epoch {}", status.generation, status.epoch);
        }
    }
    if args.json {
        say!("{}", json!({ "serving": serving }));
    }
    Ok(())
}
