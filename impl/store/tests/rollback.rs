//! A store behind its anchor, over every implementation.

mod common;

use common::{Folder, Machine, Place, index, lease, order, over_both};
use split_custody_protocol::ids::{Epoch, Generation};
use split_custody_protocol::suite::Digest;
use split_custody_store::{Behind, CustodyStore, MemoryDisk, StoreError};

over_both! {
    aud_4_rolled_back_store_is_behind_and_loses_its_activation;
    aud_4_rollback_within_one_generation_is_noticed;
    aud_4_store_behind_stays_inactive_over_the_next_boot;
    aud_4_other_log_of_the_same_length_is_noticed;
    aud_4_store_that_was_replaced_by_a_new_one_is_behind;
    aud_4_lost_anchor_is_not_made_anew;
    rev_4_anchor_never_loses_an_order_or_an_epoch;
}

/// A serving custodian: provisioned, activated, one order applied and anchored.
fn serving<P: Place>(place: &P) -> Machine {
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.provision(8)));
    index(store.commit(2, &machine.activate(9)));
    store.move_anchor(&machine.anchor(&[])).unwrap();
    machine
}

fn aud_4_rolled_back_store_is_behind_and_loses_its_activation<P: Place>() {
    let place = P::new();
    serving(&place);
    let restore = place.backup();
    place.open().unwrap().boot().unwrap();

    restore();
    let boot = place.open().unwrap().boot().unwrap();

    let (held, anchored) = (Generation::new(1), Generation::new(2));
    assert_eq!(boot.behind, Some(Behind::Generation { held, anchored }));
    assert_eq!(boot.active, None);
    // No generation is used twice.
    assert_eq!(boot.generation, Generation::new(3));
}

fn aud_4_rollback_within_one_generation_is_noticed<P: Place>() {
    let place = P::new();
    serving(&place);
    let restore = place.backup();
    {
        let mut store = place.open().unwrap();
        let machine = Machine::of(&store.boot().unwrap());
        index(store.commit(1, &machine.order(0xa1)));
        store.move_anchor(&machine.at_epoch(1).anchor(&[0xa1])).unwrap();
    }
    restore();

    let boot = place.open().unwrap().boot().unwrap();

    assert!(boot.behind.is_some());
    assert_eq!(boot.active, None);
    // What the anchor knows is known: an activation must list it. [AUD-6]
    let anchor = boot.anchor.unwrap();
    assert_eq!((anchor.epoch, anchor.orders), (Epoch::new(1), vec![order(0xa1)]));
    assert!(boot.orders.is_empty());
}

fn aud_4_store_behind_stays_inactive_over_the_next_boot<P: Place>() {
    let place = P::new();
    serving(&place);
    let restore = place.backup();
    place.open().unwrap().boot().unwrap();
    restore();
    assert!(place.open().unwrap().boot().unwrap().behind.is_some());

    let mut store = place.open().unwrap();
    let boot = store.boot().unwrap();
    assert_eq!((boot.behind, boot.active), (None, None));

    let machine = Machine::of(&boot);
    index(store.commit(1, &machine.activate(9)));
    assert_eq!(store.boot().unwrap().active, Some(Digest::new([9; 32])));
}

fn aud_4_other_log_of_the_same_length_is_noticed<P: Place>() {
    // Two custodians with one past; then each goes its own way, equally far.
    let (place, fork) = (P::new(), P::new());
    for (place, number) in [(&place, 1), (&fork, 2)] {
        serving(place);
        let mut store = place.open().unwrap();
        let machine = Machine::of(&store.boot().unwrap());
        let leaf = if number == 1 { machine.activate(9) } else { machine.grant(lease(1, 1, 1)) };
        index(store.commit(1, &leaf));
        store.move_anchor(&machine.anchor(&[])).unwrap();
    }

    place.replace_with(&fork);
    let boot = place.open().unwrap().boot().unwrap();

    assert_eq!(boot.behind, Some(Behind::LogDiffers { size: 5 }));
    assert_eq!(boot.active, None);
}

fn aud_4_store_that_was_replaced_by_a_new_one_is_behind<P: Place>() {
    let place = P::new();
    let empty = {
        drop(place.open().unwrap());
        place.backup()
    };
    serving(&place);
    empty();
    let boot = place.open().unwrap().boot().unwrap();
    assert!(boot.behind.is_some());
    assert_eq!(boot.generation, Generation::new(2));
    assert_eq!(boot.provision, None);
}

fn aud_4_lost_anchor_is_not_made_anew<P: Place>() {
    let place = P::new();
    serving(&place);
    place.lose_anchor();
    let refused = place.open().unwrap().boot().unwrap_err();
    assert!(matches!(refused, StoreError::AnchorLost { .. }), "{refused}");
}

fn rev_4_anchor_never_loses_an_order_or_an_epoch<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.order(0xa1)));
    store.move_anchor(&machine.at_epoch(1).anchor(&[0xa1])).unwrap();

    store.move_anchor(&machine.anchor(&[])).unwrap();

    let anchor = store.boot().unwrap().anchor.unwrap();
    assert_eq!((anchor.epoch, anchor.orders), (Epoch::new(1), vec![order(0xa1)]));
}
