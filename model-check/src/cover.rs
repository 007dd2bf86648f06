//! Cover: which rows of the chapters' state tables a run of the world takes.
//!
//! All chapters. A row is a table, a state and an input. It is read off a turn: how the machine
//! stood, what it heard, how it stood then. It follows the machines and does not drive them, so a
//! row is counted only where the shipped machine took it. Refused inputs are in no table: they
//! are counted by the rule that refused them.

mod custodian;
mod device;
mod unreached;

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::ids::{ChannelId, CustodianId, LeaseId, Ticket};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::Rejection;

use crate::world::{DeviceView, Turn};

pub use unreached::UNREACHED;

/// A row, in words: `guard | Tainted | PoweredOn`.
pub type Row = String;

/// Reads rows off turns; what it remembers is who is who.
#[derive(Clone, Debug)]
pub struct Reader {
    on_host_read: OnHostRead,
    /// Whose the device's channels are.
    channels: BTreeMap<ChannelId, CustodianId>,
    /// How the device stood after its last turn.
    device: Option<DeviceView>,
    /// What each custodian's open and unknown commits change.
    commits: BTreeMap<(u8, Ticket), Change>,
    /// How each lease stood when its custodian was last heard.
    leases: BTreeMap<(u8, LeaseId), &'static str>,
}

/// What a commit is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change {
    Grant,
    Renewal,
    Other,
}

impl Reader {
    pub const fn new(on_host_read: OnHostRead) -> Self {
        Self {
            on_host_read,
            channels: BTreeMap::new(),
            device: None,
            commits: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    /// The rows that a turn took.
    pub fn read(&mut self, turn: &Turn) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        match turn {
            Turn::Device(heard) => self.device_rows(heard, &mut rows),
            Turn::Custodian(id, drawn, heard) => {
                self.custodian_rows(*id, drawn, heard, &mut rows);
            }
            Turn::Killed(id) => {
                self.commits.retain(|(of, _), _| of != id);
                self.leases.retain(|(of, _), _| of != id);
            }
            Turn::Began(_) | Turn::BackedUp(_) | Turn::RolledBack(_) | Turn::Passed { .. } => {}
        }
        rows
    }
}

/// A row of this table.
fn row(table: &str, state: &str, input: &str) -> Row {
    format!("{table} | {state} | {input}")
}

/// Who refused, by which rule.
fn refusal(role: &str, rejection: &Rejection) -> Row {
    format!("refused | {role} | {rejection:?}")
}
