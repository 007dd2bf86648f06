//! Custody itself: who may hold which share, and when. A page without cryptography or wires.
//!
//! Chapters 30 to 70. [`Custody`] is the ledger that an owner would keep by hand, and
//! [`Custody::may_become`] is every rule of it. The world refines it: each step of the machines, seen
//! through [`Custody::of`], is one of its steps or changes nothing (`rel_3_every_step_is_one_of_custody`).
//! It knows no time: until when a lease counts is chapter 50's, and properties of its own watch that.

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::suite::Incarnation;

use crate::symbolic::incarnation;
use crate::world::{Config, World};

/// What an owner wants to know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Custody {
    /// Shares needed for the key.
    pub needed: usize,
    /// For each honest custodian, the lives of the device that it granted to, in its books' order.
    pub granted: BTreeMap<u8, Vec<Incarnation>>,
    /// Custodians that said that the device is revoked.
    pub revoked: BTreeSet<u8>,
    /// Custodians whose share is with the adversary, the corrupt ones from the start.
    pub outside: BTreeSet<u8>,
    /// The life that the device is in.
    pub life: u8,
    /// The name of that life.
    pub name: Option<Incarnation>,
    pub key: Key,
}

/// Whether the device has the key, or what the key opens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Key {
    #[default]
    Nowhere,
    OnTheDevice,
}

/// Which rule of custody a step breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// A share went to somebody who is not the device.
    ShareLeft,
    /// What was granted is not in the books any more.
    BooksChanged,
    /// A custodian granted after it had said that the device is revoked.
    GrantedAfterRevocation,
    /// A custodian granted to a life after it had granted to a later one.
    GrantedToAnEndedLife,
    /// The device has the key, and fewer than needed granted to its life.
    KeyWithoutGrants,
    /// A life began with what an earlier one had.
    KeyOutlivesItsLife,
    /// A life came back, or a revocation was taken back.
    WentBack,
}

impl Custody {
    /// The ledger of a world.
    pub fn of(world: &World, config: &Config) -> Self {
        let honest = world.custodians.iter().filter(|(id, _)| !config.liars.contains(id));
        let of_device = |node: &crate::world::CustodianNode| {
            let leases = node.store.leases.iter();
            let of_this = leases.filter(|lease| world.is_of_this_device(config, &lease.device));
            of_this.map(|lease| lease.incarnation).collect()
        };
        let device = &world.device;
        let holds = device.holds_dek || device.holds_plaintext;
        Self {
            needed: usize::from(config.setup.k),
            granted: honest.clone().map(|(id, node)| (*id, of_device(node))).collect(),
            revoked: honest
                .filter(|(_, node)| node.acknowledged && world.is_the_revoked())
                .map(|(id, _)| *id)
                .collect(),
            outside: world.leaked.union(&config.liars).copied().collect(),
            life: device.life,
            name: Some(incarnation(device.life_name())),
            key: if holds { Key::OnTheDevice } else { Key::Nowhere },
        }
    }

    /// Every rule of custody, as what one step may do.
    pub fn may_become(&self, next: &Self) -> Result<(), Breach> {
        if next.outside != self.outside {
            return Err(Breach::ShareLeft);
        }
        if next.life < self.life || !self.revoked.is_subset(&next.revoked) {
            return Err(Breach::WentBack);
        }
        for (custodian, books) in &next.granted {
            let before = self.granted.get(custodian).map(Vec::as_slice).unwrap_or_default();
            let new = books.strip_prefix(before).ok_or(Breach::BooksChanged)?;
            if !new.is_empty() && self.revoked.contains(custodian) {
                return Err(Breach::GrantedAfterRevocation);
            }
            if new.iter().any(|life| ended(books, life)) {
                return Err(Breach::GrantedToAnEndedLife);
            }
        }
        if next.key == Key::OnTheDevice {
            if next.life != self.life {
                return Err(Breach::KeyOutlivesItsLife);
            }
            if self.key == Key::Nowhere && next.grants_to_its_life() < next.needed {
                return Err(Breach::KeyWithoutGrants);
            }
        }
        Ok(())
    }

    /// How many granted to the life that the device is in. Corrupt custodians grant to anybody.
    fn grants_to_its_life(&self) -> usize {
        self.granted
            .values()
            .filter(|books| self.name.is_some_and(|life| books.contains(&life)))
            .count()
            + self.outside.len()
    }
}

/// Whether a life is in the books, and a later one after it, and then itself again.
fn ended(books: &[Incarnation], life: &Incarnation) -> bool {
    let first = books.iter().position(|of| of == life);
    let last = books.iter().rposition(|of| of == life);
    let (Some(first), Some(last)) = (first, last) else { return false };
    books[first..last].iter().any(|of| of != life)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of two granted to life 1, which has the key.
    fn served() -> Custody {
        let books = vec![incarnation(1)];
        Custody {
            needed: 2,
            granted: BTreeMap::from([(1, books.clone()), (2, books)]),
            life: 1,
            name: Some(incarnation(1)),
            key: Key::OnTheDevice,
            ..Custody::default()
        }
    }

    fn after(change: impl FnOnce(&mut Custody)) -> Result<(), Breach> {
        let mut next = served();
        change(&mut next);
        served().may_become(&next)
    }

    #[test]
    fn rel_3_a_second_grant_to_the_same_life_and_a_new_life_are_custody() {
        assert_eq!(after(|next| next.granted.entry(1).or_default().push(incarnation(1))), Ok(()));
        assert_eq!(after(|next| (next.life, next.key) = (2, Key::Nowhere)), Ok(()));
    }

    #[test]
    fn rel_3_every_breach_of_custody_is_named() {
        assert_eq!(after(|next| next.outside.extend([1])), Err(Breach::ShareLeft));
        assert_eq!(
            after(|next| next.granted.entry(1).or_default().clear()),
            Err(Breach::BooksChanged)
        );
        assert_eq!(after(|next| next.life = 0), Err(Breach::WentBack));
        assert_eq!(after(|next| next.life = 2), Err(Breach::KeyOutlivesItsLife));
        let back = |next: &mut Custody| {
            next.granted.entry(1).or_default().extend([incarnation(2), incarnation(1)]);
        };
        assert_eq!(after(back), Err(Breach::GrantedToAnEndedLife));
        let mut revoked = served();
        revoked.revoked.insert(1);
        let mut granted = revoked.clone();
        granted.granted.entry(1).or_default().push(incarnation(1));
        assert_eq!(revoked.may_become(&granted), Err(Breach::GrantedAfterRevocation));
        let mut one = served();
        (one.key, one.granted) = (Key::Nowhere, BTreeMap::from([(1, vec![incarnation(1)])]));
        let with_key = Custody { key: Key::OnTheDevice, ..one.clone() };
        assert_eq!(one.may_become(&with_key), Err(Breach::KeyWithoutGrants));
    }
}
