//! One transaction of a machine inside one transaction of the database.

use rusqlite::{Connection, OptionalExtension, Result, params};
use split_custody_protocol::effect::{Change, LeaseRecord, Transaction};
use split_custody_protocol::ids::{Counter, Epoch, Generation, LeaseId, LogIndex};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::encode;

use crate::record::encode_lease;
use crate::sqlite::open::signed;
use crate::store::Outcome;

/// Whether a change was made; where not, nothing was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Effect {
    Made,
    Refused,
}

/// Writes one transaction with its leaf at `place`, or nothing. [REL-3]
///
/// Every condition is looked at before the first write, so a refusal leaves nothing behind.
pub(super) fn apply(
    database: &Connection,
    generation: Generation,
    ticket: u64,
    transaction: &Transaction,
    place: u64,
) -> Result<Outcome> {
    // [AUD-2] Written once: the same ticket again is the same transaction.
    if let Some(index) = written(database, ticket)? {
        return Ok(Outcome::Committed(index));
    }
    let (held, epoch) = fence(database)?;
    let fenced = held != generation || transaction.generation != held;
    if fenced || transaction.epoch != epoch {
        return Ok(Outcome::Fenced);
    }
    if change(database, &transaction.change, epoch, place)? == Effect::Refused {
        return Ok(Outcome::Fenced);
    }
    append(database, place, &encode(&transaction.leaf))?;
    database
        .prepare_cached("INSERT INTO tickets (ticket, place) VALUES (?1, ?2)")?
        .execute((ticket_key(ticket), signed(place)))?;
    Ok(Outcome::Committed(LogIndex::new(place)))
}

/// Where a ticket of this generation was written.
pub(super) fn written(database: &Connection, ticket: u64) -> Result<Option<LogIndex>> {
    let place: Option<i64> = database
        .prepare_cached("SELECT place FROM tickets WHERE ticket = ?1")?
        .query_row([ticket_key(ticket)], |row| row.get(0))
        .optional()?;
    Ok(place.map(|place| LogIndex::new(place.unsigned_abs())))
}

/// The generation and epoch that hold the store.
pub(super) fn fence(database: &Connection) -> Result<(Generation, Epoch)> {
    database.prepare_cached("SELECT generation, epoch FROM custodian")?.query_row([], |row| {
        let (generation, epoch): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((Generation::new(generation.unsigned_abs()), Epoch::new(epoch.unsigned_abs())))
    })
}

pub(super) fn append(database: &Connection, place: u64, leaf: &[u8]) -> Result<()> {
    let mut insert = database.prepare_cached("INSERT INTO leaves (place, leaf) VALUES (?1, ?2)")?;
    insert.execute(params![signed(place), leaf]).map(|_| ())
}

fn change(database: &Connection, change: &Change, epoch: Epoch, place: u64) -> Result<Effect> {
    match change {
        Change::Grant(record) => grant(database, record, place),
        Change::Renew { lease, counter } => renew(database, lease, *counter),
        Change::Order { approvals, digest, epoch: next } => {
            order(database, approvals, digest, (epoch, *next))
        }
        Change::Provision { provision } => {
            let mut update =
                database.prepare_cached("UPDATE custodian SET provision = ?1, active = NULL")?;
            update.execute([provision]).map(|_| Effect::Made)
        }
        Change::Activate { manifest } => {
            let mut update = database.prepare_cached("UPDATE custodian SET active = ?1")?;
            update.execute([manifest.as_bytes()]).map(|_| Effect::Made)
        }
    }
}

fn grant(database: &Connection, record: &LeaseRecord, place: u64) -> Result<Effect> {
    let Some(bytes) = encode_lease(record) else { return Ok(Effect::Refused) };
    let (lease, device) = (record.lease.as_bytes(), record.device.as_bytes());
    let incarnation = record.incarnation.as_bytes();
    // [RST-7] What ended once takes no new lease; a lease id is used once.
    let barred = database
        .prepare_cached(
            "SELECT 1 FROM leases WHERE lease = ?1
             UNION ALL
             SELECT 1 FROM leases WHERE device = ?2 AND incarnation = ?3 AND ended = 1 LIMIT 1",
        )?
        .exists(params![lease, device, incarnation])?;
    if barred {
        return Ok(Effect::Refused);
    }
    // [RST-6] In the same transaction as the grant.
    database
        .prepare_cached(
            "UPDATE leases SET ended = 1 WHERE device = ?1 AND incarnation <> ?2 AND ended = 0",
        )?
        .execute(params![device, incarnation])?;
    database
        .prepare_cached(
            "INSERT INTO leases (place, lease, device, incarnation, counter, ended, record)
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5)",
        )?
        .execute(params![signed(place), lease, device, incarnation, bytes])?;
    Ok(Effect::Made)
}

fn renew(database: &Connection, lease: &LeaseId, counter: Counter) -> Result<Effect> {
    // [LEA-11] An ended lease is never resurrected, and no counter goes back.
    let changed = database
        .prepare_cached(
            "UPDATE leases SET counter = ?2 WHERE lease = ?1 AND ended = 0 AND counter <= ?2",
        )?
        .execute(params![lease.as_bytes(), signed(counter.value())])?;
    Ok(if changed == 1 { Effect::Made } else { Effect::Refused })
}

fn order(
    database: &Connection,
    approvals: &[u8],
    digest: &Digest,
    (epoch, next): (Epoch, Epoch),
) -> Result<Effect> {
    let known = database
        .prepare_cached("SELECT 1 FROM orders WHERE digest = ?1")?
        .exists([digest.as_bytes()])?;
    if known || next != epoch.next() {
        return Ok(Effect::Refused);
    }
    let epoch = signed(next.value());
    database
        .prepare_cached("INSERT INTO orders (epoch, digest, approvals) VALUES (?1, ?2, ?3)")?
        .execute(params![epoch, digest.as_bytes(), approvals])?;
    // [REV-14] The custodian's own count.
    database.prepare_cached("UPDATE custodian SET epoch = ?1")?.execute([epoch])?;
    Ok(Effect::Made)
}

/// A ticket as a row key: every `u64` has its own.
fn ticket_key(ticket: u64) -> i64 {
    i64::from_ne_bytes(ticket.to_ne_bytes())
}
