//! The operator revokes the device while it serves.

use std::time::{Duration, Instant};

use split_custody_protocol::ids::Serial;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::order::{Order, Subject, SubjectKind, Verb};

use super::prepare::{needed, shown};
use super::report::Report;
use super::stage::Stage;
use super::uses::Background;
use crate::failure::Failure;
use crate::revoke::{Done, Revocation};
use crate::screen;

pub fn revoke(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("revoke");
    let background = Background::begin(stage)?;
    let start = Instant::now();
    let done = carry_out(stage);
    let seen = background.end();
    let done = match done {
        Ok(done) => done,
        Err(failure) => {
            return Err(Failure::Refused(format!("{}; {}", failure.text(), needed_for(stage))));
        }
    };
    let effective = done.effective_at.saturating_duration_since(start);
    report.timed(
        "revoke",
        effective,
        &format!(
            "device {} revoked; {} acknowledgements",
            shown(&stage.device_id),
            done.acknowledged
        ),
    );
    let detail = format!("{} acknowledged; {}", done.acknowledged, needed_for(stage));
    report.check(
        "revocation-effective",
        "the revocation is effective",
        done.acknowledged >= done.needed,
        detail,
    );

    let bound = done.effective_at + stage.ttl_max();
    let last = seen.last_good;
    let within = last.is_some_and(|last| last < bound) && seen.wrong == 0 && seen.refused > 0;
    let detail = match last {
        None => "no use was seen before it".into(),
        Some(last) => {
            let after = last.saturating_duration_since(done.effective_at);
            let said = if last <= done.effective_at {
                format!("last use {} before t_eff", screen::duration(done.effective_at - last))
            } else {
                format!("last use {} after t_eff", screen::duration(after))
            };
            format!(
                "{said}; bound: ttl_max = {} after; then {} refused",
                screen::duration(stage.ttl_max()),
                seen.refused
            )
        }
    };
    report.check("last-use-in-bound", "no use at or after t_eff + ttl_max", within, detail);
    report.timed(
        "lapse",
        start.elapsed().saturating_sub(effective),
        "custodians wait until every lease under the order is dead",
    );
    let detail =
        format!("{} custodians signed that all their leases under the order are dead", done.dead);
    report.check(
        "leases-dead",
        "every lease under the order is dead",
        done.dead >= done.needed,
        detail,
    );
    refused_for_good(stage, report)
}

fn needed_for(stage: &Stage<'_>) -> String {
    let args = stage.args;
    format!("a revocation needs {}", needed(args.custodians, args.threshold, args.faulty))
}

fn carry_out(stage: &Stage<'_>) -> Result<Done, Failure> {
    let value = Digest::new(*stage.device_id.as_bytes());
    let order = Order {
        deployment: stage.operators.deployment(),
        verb: Verb::Revoke,
        subject: Subject { kind: SubjectKind::Device, value },
        serial: Serial::new(0),
    };
    let revocation = Revocation {
        operators: &stage.operators,
        manifest: &stage.sealed.manifest,
        order,
        patience: Duration::from_secs(5),
    };
    stage.runtime.block_on(revocation.carry_out(&stage.addresses(), true, &mut |_| ()))
}

/// The device knows the order; one that forgot it meets custodians that did not.
fn refused_for_good(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("revoked");
    let tried = stage.load();
    report.refused(
        "revoked-refused",
        "the revoked device refuses to acquire again",
        tried,
        "REL-6",
    );
    super::audit::keep_receipts(stage)?;
    report.stage("restart", || {
        stage.restart_device()?;
        Ok(((), "the device starts anew and has forgotten the order".into()))
    })?;
    let tried = stage.load();
    let have = format!("have 0 of {}", stage.args.threshold);
    report.refused(
        "revoked-not-released",
        "custodians release nothing to it, whatever it forgot",
        tried,
        &have,
    );
    Ok(())
}
