//! `custody attest collect`: reports and chains of this machine's GPUs, as files.

use crate::failure::Failure;

use super::args::CollectArgs;

#[cfg(not(feature = "nvml"))]
pub fn run(_: &CollectArgs) -> Result<(), Failure> {
    let text = "this build does not ask drivers: build it with `--features nvml`";
    Err(Failure::Missing(text.into()))
}

#[cfg(feature = "nvml")]
pub fn run(args: &CollectArgs) -> Result<(), Failure> {
    use split_custody_attest::nvidia::collect::{Collector as _, CollectorError, Nvml};
    use split_custody_protocol::suite::Digest;

    use crate::failure::io_at;
    use crate::files::write_new;

    let half = Nvml::load().and_then(|nvml| nvml.collect(&Digest::new(args.nonce)));
    let half = half.map_err(|error| match error {
        CollectorError::Malformed { .. } => Failure::refused(error.to_string()),
        missing => Failure::Missing(missing.to_string()),
    })?;
    std::fs::create_dir(&args.out).map_err(|e| io_at(&args.out, "create the folder", &e))?;
    let mut files = Vec::new();
    for (number, gpu) in (1..).zip(half.gpus.iter()) {
        let report = args.out.join(format!("gpu-{number}.report"));
        let chain = args.out.join(format!("gpu-{number}.pem"));
        write_new(&report, gpu.report.as_bytes(), 0o644)?;
        write_new(&chain, gpu.chain.as_bytes(), 0o644)?;
        files.push(serde_json::json!({ "report": report, "chain": chain }));
    }
    if args.json {
        println!("{}", serde_json::json!({ "gpus": files }));
    } else {
        println!("{} GPUs in `{}`", files.len(), args.out.display());
    }
    Ok(())
}
