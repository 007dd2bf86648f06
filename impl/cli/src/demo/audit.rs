//! Every custodian's log, once it has ended: the root, and each receipt's leaf at its index.

use std::time::Instant;

use split_custody_keys::read_verify_key;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::{Signed, decode, encode};

use super::report::Report;
use super::stage::Stage;
use crate::audit::{Log, receipts_of};
use crate::failure::Failure;
use crate::files::{read, write_new};

pub fn verify(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("audit");
    let start = Instant::now();
    let receipts = read_receipts(stage)?;
    let (mut leaves, mut matched, mut failed) = (0, 0, None);
    for custodian in &mut stage.custodians {
        custodian.process.end();
        let folder = stage.household.custodian(custodian.id.value());
        let verified = Log::read(&folder, custodian.id).and_then(|log| {
            let key = read_verify_key(&folder.path("grant.pub.pem"))?;
            Ok((log.leaves.len(), log.match_receipts(custodian.id, &key, &receipts)?))
        });
        match verified {
            Ok((count, of_receipts)) => {
                leaves += count;
                matched += of_receipts;
            }
            Err(failure) => failed = Some(failure.text().to_owned()),
        }
    }
    let logs = stage.custodians.len();
    report.timed(
        "audit",
        start.elapsed(),
        &format!("{logs} logs, {leaves} leaves, {} signed grants", receipts.len()),
    );
    let detail =
        failed.clone().unwrap_or_else(|| format!("{logs} roots recomputed over {leaves} leaves"));
    report.check(
        "audit-roots",
        "every custodian's log has the root of its leaves",
        failed.is_none(),
        detail,
    );
    let pass = failed.is_none() && matched == receipts.len() && !receipts.is_empty();
    let detail = format!("{matched} of {} receipts proved included", receipts.len());
    report.check("audit-receipts", "every signed grant has its leaf at its index", pass, detail);
    Ok(())
}

/// Keeps the device's receipts before its process goes.
pub fn keep_receipts(stage: &Stage<'_>) -> Result<(), Failure> {
    let receipts = receipts_of(&stage.household.device(1).0)?;
    for (number, receipt) in receipts.iter().enumerate() {
        write_new(&stage.logs.join(format!("{RECEIPT}{number}")), &encode(receipt), 0o600)?;
    }
    Ok(())
}

fn read_receipts(stage: &Stage<'_>) -> Result<Vec<Signed>, Failure> {
    let mut receipts = Vec::new();
    loop {
        let path = stage.logs.join(format!("{RECEIPT}{}", receipts.len()));
        if !path.is_file() {
            return Ok(receipts);
        }
        receipts.push(decode(&read(&path, Message::CAP)?, Message::CAP)?);
    }
}

const RECEIPT: &str = "receipt-";
