//! The contract over the database.

use std::ops::Range;

use rusqlite::{Connection, Transaction as Write, TransactionBehavior};
use split_custody_protocol::effect::{Anchor, Transaction};
use split_custody_protocol::ids::{Generation, LogIndex};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::audit::Leaf;
use split_custody_protocol::wire::encode;

use crate::anchor::Anchored;
use crate::audit::{Checkpoint, Hash, Inclusion, entry, leaf_hash};
use crate::boot::{Begin, Boot, Held};
use crate::record::decode_lease;
use crate::sqlite::apply::{append, apply, fence, written};
use crate::sqlite::open::{SqliteStore, signed};
use crate::store::{CustodyStore, Outcome, Reread, StoreError};

impl CustodyStore for SqliteStore {
    fn boot(&mut self) -> Result<Boot, StoreError> {
        self.generation = None;
        let (generation, epoch) = self.read(fence)?;
        let anchored = match self.anchor.read()? {
            Some(anchored) => anchored,
            // Anchored before the first generation is written: a crash between the two must not
            // look like a lost anchor.
            None if generation == Generation::new(0) => {
                let anchored = Anchored::of_nothing();
                self.anchor.write(&anchored)?;
                anchored
            }
            None => return Err(StoreError::AnchorLost { path: self.anchor.path().into() }),
        };
        let root_at_anchor = self.read_log(Some(anchored.size))?;
        let orders = self.read(order_digests)?;
        let (digests, log) = (orders.iter().copied().collect(), &self.log);
        let held = Held { generation, epoch, orders: digests, log, root_at_anchor };
        let begin = Begin::after(&held, &anchored);
        self.begin(&begin)?;
        // [AUD-3] Anchored before anything of this generation is granted.
        let to = Anchor { generation: begin.generation, epoch, orders };
        let anchored = self.move_from(&anchored, &to)?;
        self.generation = Some(begin.generation);
        let mut boot = self.read_boot(&begin)?;
        boot.anchor = Some(anchored.to_anchor());
        Ok(boot)
    }

    fn commit_batch(&mut self, pending: &[(u64, Transaction)]) -> Vec<Outcome> {
        let Some(generation) = self.generation else {
            return vec![Outcome::Fenced; pending.len()];
        };
        match self.write_batch(generation, pending) {
            Ok(outcomes) => outcomes,
            // Whether a failed commit was written is not known before it is read. [AUD-2]
            Err(_) => vec![Outcome::Unknown; pending.len()],
        }
    }

    fn reread(&mut self, ticket: u64) -> Result<Reread, StoreError> {
        let index = self.read(|database| written(database, ticket))?;
        Ok(index.map_or(Reread::NotWritten, Reread::Committed))
    }

    fn move_anchor(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        if self.generation.is_none() {
            return Err(StoreError::NotBooted);
        }
        self.read_log(None)?;
        let lost = || StoreError::AnchorLost { path: self.anchor.path().into() };
        let found = self.anchor.read()?.ok_or_else(lost)?;
        self.move_from(&found, anchor).map(|_| ())
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        self.read_log(None)?;
        Ok(self.checkpoint_now())
    }

    fn leaves(&mut self, range: Range<u64>) -> Result<Vec<Leaf>, StoreError> {
        self.read_leaves(range)
    }

    fn prove_inclusion(&mut self, index: LogIndex) -> Result<Option<Inclusion>, StoreError> {
        let leaves = self.read_leaves(0..u64::MAX)?;
        let hashes: Vec<Hash> =
            leaves.iter().map(|leaf| leaf_hash(entry(leaf).as_bytes())).collect();
        Ok(usize::try_from(index.value()).ok().and_then(|i| Inclusion::prove(&hashes, i)))
    }
}

impl SqliteStore {
    /// Writes the new generation with its leaf; a store behind its anchor loses its activation.
    fn begin(&mut self, begin: &Begin) -> Result<(), StoreError> {
        let place = self.log.size();
        let write = |connection: &mut Connection| {
            let write = begin_write(connection)?;
            write.execute(
                "UPDATE custodian SET generation = ?1",
                [signed(begin.generation.value())],
            )?;
            write.execute("DELETE FROM tickets", [])?;
            if begin.behind.is_some() {
                write.execute("UPDATE custodian SET active = NULL", [])?; // [AUD-4]
            }
            append(&write, place, &encode(&begin.leaf))?;
            write.commit()
        };
        write(&mut self.connection).map_err(|source| self.failed(source))?;
        self.read_log(None).map(|_| ())
    }

    fn write_batch(
        &mut self,
        generation: Generation,
        pending: &[(u64, Transaction)],
    ) -> Result<Vec<Outcome>, StoreError> {
        // After an unknown outcome the log may be longer than was last known.
        self.read_log(None)?;
        let mut place = self.log.size();
        let mut pushed = Vec::new();
        let mut write = || {
            let write = begin_write(&mut self.connection)?;
            let mut outcomes = Vec::with_capacity(pending.len());
            for (ticket, transaction) in pending {
                let outcome = apply(&write, generation, *ticket, transaction, place)?;
                if outcome == Outcome::Committed(LogIndex::new(place)) {
                    place += 1;
                    pushed.push(leaf_hash(entry(&transaction.leaf).as_bytes()));
                }
                outcomes.push(outcome);
            }
            write.commit()?;
            Ok(outcomes)
        };
        let outcomes = write().map_err(|source| self.failed(source))?;
        pushed.into_iter().for_each(|hash| self.log.push(hash));
        Ok(outcomes)
    }

    fn move_from(&self, from: &Anchored, to: &Anchor) -> Result<Anchored, StoreError> {
        let what = "a set of more orders than an anchor holds";
        let moved = from.moved_to(to, &self.log).ok_or_else(|| self.corrupt(what))?;
        self.anchor.write(&moved)?;
        Ok(moved)
    }

    fn read_boot(&self, begin: &Begin) -> Result<Boot, StoreError> {
        let (generation, epoch) = self.read(fence)?;
        let (provision, active): (Option<Vec<u8>>, Option<Vec<u8>>) = self.read(|database| {
            let sql = "SELECT provision, active FROM custodian";
            database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })?;
        let active = active
            .map(|bytes| digest(&bytes))
            .map(|digest| digest.ok_or_else(|| self.corrupt("the digest of the active manifest")));
        let orders =
            self.read(|database| blobs(database, "SELECT approvals FROM orders ORDER BY epoch"))?;
        let leases =
            self.read(|database| blobs(database, "SELECT record FROM leases ORDER BY place"))?;
        let leases =
            leases.iter().map(|bytes| decode_lease(bytes).ok_or_else(|| self.corrupt("a lease")));
        Ok(Boot {
            generation,
            epoch,
            orders,
            provision,
            active: active.transpose()?,
            leases: leases.collect::<Result<_, _>>()?,
            anchor: None,
            behind: begin.behind,
            checkpoint: self.checkpoint_now(),
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        read(&self.connection).map_err(|source| self.failed(source))
    }
}

fn begin_write(connection: &mut Connection) -> rusqlite::Result<Write<'_>> {
    // Writing from its first statement: what it reads cannot change under it.
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn order_digests(database: &Connection) -> rusqlite::Result<Vec<Digest>> {
    let found = blobs(database, "SELECT digest FROM orders ORDER BY epoch")?;
    Ok(found.iter().filter_map(|bytes| digest(bytes)).collect())
}

fn blobs(database: &Connection, sql: &str) -> rusqlite::Result<Vec<Vec<u8>>> {
    database.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::new)
}

#[cfg(test)]
mod tests {
    use split_custody_protocol::effect::Change;
    use split_custody_protocol::wire::audit::LeafKind;

    use super::*;

    #[test]
    fn aud_2_full_disk_is_unknown_and_rereads_as_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (database, anchor) = (folder.path().join("custodian.db"), folder.path().join("anchor"));
        let mut store = SqliteStore::open(&database, &anchor, "example").unwrap();
        let boot = store.boot().unwrap();
        // SQLite reports a full disk where a database reaches this many pages.
        store.connection.execute_batch("PRAGMA max_page_count = 20").unwrap();
        let (generation, epoch) = (boot.generation, boot.epoch);
        let subject = Digest::new([0x77; 32]);
        let leaf = Leaf { kind: LeafKind::Provision, generation, epoch, subject };
        let change = Change::Provision { provision: vec![0x5a; 200] };
        let transaction = Transaction { generation, epoch, change, leaf };

        let mut outcomes = (1..).map(|ticket| (ticket, store.commit(ticket, &transaction)));
        let refused = outcomes.find(|(_, outcome)| !matches!(outcome, Outcome::Committed(_)));

        let Some((unknown, Outcome::Unknown)) = refused else { panic!("{refused:?}") };
        assert_eq!(store.reread(unknown).unwrap(), Reread::NotWritten);
        assert_eq!(store.checkpoint().unwrap().size, unknown);
        // Once there is room again the same ticket is written, once.
        store.connection.execute_batch("PRAGMA max_page_count = 100000").unwrap();
        let index = LogIndex::new(unknown);
        assert_eq!(store.commit(unknown, &transaction), Outcome::Committed(index));
        assert_eq!(store.reread(unknown).unwrap(), Reread::Committed(index));
    }
}
