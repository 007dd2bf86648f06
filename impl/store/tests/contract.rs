//! The contract of a custodian's store: one body over every implementation.

mod common;

use common::{Folder, Machine, Place, index, lease, order, over_both};
use split_custody_protocol::ids::{Epoch, Generation, LogIndex};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::audit::LeafKind;
use split_custody_store::{CustodyStore, MemoryDisk, Outcome, Reread, StoreError};

over_both! {
    aud_3_first_boot_is_generation_one_with_its_own_leaf;
    aud_3_every_boot_begins_another_generation;
    aud_1_commit_appends_its_leaf_and_says_where;
    rel_3_other_generation_or_epoch_is_fenced_and_writes_nothing;
    rel_3_store_that_was_not_booted_commits_nothing;
    aud_2_ticket_is_written_once_and_can_be_reread;
    aud_2_tickets_of_an_older_generation_are_forgotten;
    rev_14_order_raises_the_epoch_and_fences_what_was_decided_before;
    rev_4_orders_come_back_in_the_order_of_their_epochs;
    rst_6_grant_ends_the_leases_of_other_incarnations;
    rst_7_superseded_incarnation_gets_no_lease;
    lea_11_unknown_lease_is_not_renewed_and_counters_do_not_go_back;
    rel_3_lease_id_is_used_once;
    aud_3_everything_committed_is_read_back;
    aud_5_new_provision_is_not_active;
    rel_3_batch_gives_each_transaction_its_own_outcome;
    aud_8_every_leaf_is_proved_and_the_checkpoint_agrees;
    aud_3_store_is_held_by_one_at_a_time;
    aud_3_origin_must_be_one_word;
}

fn aud_3_first_boot_is_generation_one_with_its_own_leaf<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();

    let boot = store.boot().unwrap();

    assert_eq!(boot.generation, Generation::new(1));
    assert_eq!(boot.epoch, Epoch::new(0));
    assert_eq!(boot.behind, None);
    assert_eq!((boot.provision, boot.active), (None, None));
    assert!(boot.orders.is_empty() && boot.leases.is_empty());
    let anchor = boot.anchor.unwrap();
    assert_eq!((anchor.generation, anchor.orders), (Generation::new(1), vec![]));
    assert_eq!(boot.checkpoint.size, 1);
    let leaves = store.leaves(0..9).unwrap();
    assert_eq!(leaves.len(), 1);
    assert_eq!((leaves[0].kind, leaves[0].generation), (LeafKind::Generation, Generation::new(1)));
}

fn aud_3_every_boot_begins_another_generation<P: Place>() {
    let place = P::new();
    for generation in 1..=3 {
        let boot = place.open().unwrap().boot().unwrap();
        assert_eq!(boot.generation, Generation::new(generation));
        assert_eq!(boot.checkpoint.size, generation);
        assert_eq!(boot.behind, None);
    }
    // A second boot of one process fences the first.
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    assert_eq!(store.boot().unwrap().generation, Generation::new(5));
    assert_eq!(store.commit(1, &machine.grant(lease(1, 1, 1))), Outcome::Fenced);
}

fn aud_1_commit_appends_its_leaf_and_says_where<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());

    assert_eq!(index(store.commit(1, &machine.grant(lease(1, 1, 1)))), 1);
    assert_eq!(index(store.commit(2, &machine.renew(1, 1))), 2);

    let kinds: Vec<_> = store.leaves(0..9).unwrap().iter().map(|leaf| leaf.kind).collect();
    assert_eq!(kinds, [LeafKind::Generation, LeafKind::Release, LeafKind::Renewal]);
    assert_eq!(store.checkpoint().unwrap().size, 3);
}

fn rel_3_other_generation_or_epoch_is_fenced_and_writes_nothing<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    let before = store.checkpoint().unwrap();

    let older = Machine { generation: Generation::new(0), ..machine };
    assert_eq!(store.commit(1, &older.grant(lease(1, 1, 1))), Outcome::Fenced);
    let newer = Machine { generation: Generation::new(2), ..machine };
    assert_eq!(store.commit(2, &newer.grant(lease(1, 1, 1))), Outcome::Fenced);
    assert_eq!(store.commit(3, &machine.at_epoch(1).grant(lease(1, 1, 1))), Outcome::Fenced);

    assert_eq!(store.checkpoint().unwrap(), before);
    assert_eq!(store.reread(1).unwrap(), Reread::NotWritten);
    drop(store);
    assert!(place.open().unwrap().boot().unwrap().leases.is_empty());
}

fn rel_3_store_that_was_not_booted_commits_nothing<P: Place>() {
    let place = P::new();
    let machine = Machine::of(&place.open().unwrap().boot().unwrap());
    let mut store = place.open().unwrap();
    assert_eq!(store.commit(1, &machine.grant(lease(1, 1, 1))), Outcome::Fenced);
    assert!(matches!(store.move_anchor(&machine.anchor(&[])), Err(StoreError::NotBooted)));
}

fn aud_2_ticket_is_written_once_and_can_be_reread<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    let grant = machine.grant(lease(1, 1, 1));

    assert_eq!(store.reread(7).unwrap(), Reread::NotWritten);
    let first = index(store.commit(7, &grant));
    assert_eq!(index(store.commit(7, &grant)), first);

    assert_eq!(store.reread(7).unwrap(), Reread::Committed(LogIndex::new(first)));
    assert_eq!(store.checkpoint().unwrap().size, 2);
    assert_eq!(index(store.commit(u64::MAX, &machine.renew(1, 1))), 2);
    assert_eq!(store.reread(u64::MAX).unwrap(), Reread::Committed(LogIndex::new(2)));
}

fn aud_2_tickets_of_an_older_generation_are_forgotten<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.grant(lease(1, 1, 1))));
    let machine = Machine::of(&store.boot().unwrap());
    assert_eq!(store.reread(1).unwrap(), Reread::NotWritten);
    assert_eq!(index(store.commit(1, &machine.grant(lease(2, 2, 2)))), 3);
}

fn rev_14_order_raises_the_epoch_and_fences_what_was_decided_before<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());

    index(store.commit(1, &machine.order(0xa1)));

    assert_eq!(store.commit(2, &machine.grant(lease(1, 1, 1))), Outcome::Fenced);
    let next = machine.at_epoch(1);
    index(store.commit(3, &next.grant(lease(1, 1, 1))));
    // The same order again is not another epoch.
    assert_eq!(store.commit(4, &next.order(0xa1)), Outcome::Fenced);
    drop(store);
    assert_eq!(place.open().unwrap().boot().unwrap().epoch, Epoch::new(1));
}

fn rev_4_orders_come_back_in_the_order_of_their_epochs<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.order(9)));
    index(store.commit(2, &machine.at_epoch(1).order(3)));
    index(store.commit(3, &machine.at_epoch(2).order(5)));
    drop(store);
    assert_eq!(place.open().unwrap().boot().unwrap().orders, [vec![9], vec![3], vec![5]]);
}

fn rst_6_grant_ends_the_leases_of_other_incarnations<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.grant(lease(1, 1, 1))));
    index(store.commit(2, &machine.grant(lease(2, 2, 1)))); // another device
    index(store.commit(3, &machine.grant(lease(3, 1, 1)))); // the same incarnation

    index(store.commit(4, &machine.grant(lease(4, 1, 2))));

    assert_eq!(store.commit(5, &machine.renew(1, 1)), Outcome::Fenced);
    index(store.commit(6, &machine.renew(2, 1)));
    assert_eq!(store.commit(7, &machine.renew(3, 1)), Outcome::Fenced);
    index(store.commit(8, &machine.renew(4, 1)));
}

fn rst_7_superseded_incarnation_gets_no_lease<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.grant(lease(1, 1, 1))));
    index(store.commit(2, &machine.grant(lease(2, 1, 2))));
    assert_eq!(store.commit(3, &machine.grant(lease(3, 1, 1))), Outcome::Fenced);
    drop(store);
    // Over a restart too.
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    assert_eq!(store.commit(1, &machine.grant(lease(3, 1, 1))), Outcome::Fenced);
    index(store.commit(2, &machine.grant(lease(3, 1, 2))));
}

fn lea_11_unknown_lease_is_not_renewed_and_counters_do_not_go_back<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    assert_eq!(store.commit(1, &machine.renew(1, 1)), Outcome::Fenced);
    index(store.commit(2, &machine.grant(lease(1, 1, 1))));
    index(store.commit(3, &machine.renew(1, 2)));
    assert_eq!(store.commit(4, &machine.renew(1, 1)), Outcome::Fenced);
    assert_eq!(store.checkpoint().unwrap().size, 3);
}

fn rel_3_lease_id_is_used_once<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.grant(lease(1, 1, 1))));
    assert_eq!(store.commit(2, &machine.grant(lease(1, 2, 2))), Outcome::Fenced);
}

fn aud_3_everything_committed_is_read_back<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.provision(8)));
    index(store.commit(2, &machine.activate(9)));
    index(store.commit(3, &machine.grant(lease(1, 1, 1))));
    index(store.commit(4, &machine.grant(lease(2, 1, 2))));
    index(store.commit(5, &machine.order(0xa1)));
    store.move_anchor(&machine.at_epoch(1).anchor(&[0xa1])).unwrap();
    drop(store);

    let boot = place.open().unwrap().boot().unwrap();

    assert_eq!(boot.generation, Generation::new(2));
    assert_eq!(boot.epoch, Epoch::new(1));
    assert_eq!(boot.behind, None);
    assert_eq!(boot.provision, Some(vec![8; 40]));
    assert_eq!(boot.active, Some(Digest::new([9; 32])));
    assert_eq!(boot.leases, [lease(1, 1, 1), lease(2, 1, 2)]);
    assert_eq!(boot.orders, [vec![0xa1]]);
    let anchor = boot.anchor.unwrap();
    assert_eq!((anchor.generation, anchor.epoch), (Generation::new(2), Epoch::new(1)));
    assert_eq!(anchor.orders, [order(0xa1)]);
    assert_eq!(boot.checkpoint.size, 7);
}

fn aud_5_new_provision_is_not_active<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    index(store.commit(1, &machine.provision(8)));
    index(store.commit(2, &machine.activate(9)));
    index(store.commit(3, &machine.provision(10)));
    assert_eq!(store.boot().unwrap().active, None);
}

fn rel_3_batch_gives_each_transaction_its_own_outcome<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    let batch = [
        (1, machine.grant(lease(1, 1, 1))),
        (2, machine.grant(lease(1, 2, 2))), // a lease id again
        (3, machine.order(0xa1)),
        (4, machine.grant(lease(4, 4, 4))), // decided before the order
        (5, machine.at_epoch(1).grant(lease(5, 5, 5))),
        (5, machine.at_epoch(1).grant(lease(5, 5, 5))), // a ticket again
        (6, machine.at_epoch(1).renew(5, 1)),
    ];

    let outcomes = store.commit_batch(&batch);

    let at = |index| Outcome::Committed(LogIndex::new(index));
    assert_eq!(outcomes, [at(1), Outcome::Fenced, at(2), Outcome::Fenced, at(3), at(3), at(4)]);
    assert_eq!(store.commit_batch(&[]), []);
    assert_eq!(store.checkpoint().unwrap().size, 5);
}

fn aud_8_every_leaf_is_proved_and_the_checkpoint_agrees<P: Place>() {
    let place = P::new();
    let mut store = place.open().unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    for number in 1..=9 {
        index(store.commit(number.into(), &machine.grant(lease(number, number, 1))));
    }
    let checkpoint = store.checkpoint().unwrap();
    let leaves = store.leaves(0..10).unwrap();
    for (place, leaf) in leaves.iter().enumerate() {
        let proof = store.prove_inclusion(LogIndex::new(place as u64)).unwrap().unwrap();
        assert_eq!((proof.root, proof.size), (checkpoint.root, 10));
        proof.verify(leaf).unwrap();
    }
    assert_eq!(store.prove_inclusion(LogIndex::new(10)).unwrap(), None);
    assert_eq!(store.leaves(8..99).unwrap(), leaves[8..]);
    assert!(checkpoint.to_string().starts_with("split-custody.example/custodian-1\n10\n"));
}

fn aud_3_store_is_held_by_one_at_a_time<P: Place>() {
    let place = P::new();
    let store = place.open().unwrap();
    let refused = place.open().err().unwrap();
    assert!(matches!(refused, StoreError::Held { .. }));
    assert_eq!(refused.to_string().lines().count(), 1);
    drop(store);
    place.open().unwrap();
}

fn aud_3_origin_must_be_one_word<P: Place>() {
    for origin in ["", "two words", "two\nlines", "name+key"] {
        let disk = MemoryDisk::default();
        let refused = split_custody_store::MemoryStore::open(&disk, origin).err().unwrap();
        assert!(matches!(refused, StoreError::OriginInvalid(_)), "{origin:?}");
        let folder = Folder::new();
        let (database, anchor) = (folder.database(), folder.anchor());
        let opened = split_custody_store::SqliteStore::open(&database, &anchor, origin);
        assert!(matches!(opened.err().unwrap(), StoreError::OriginInvalid(_)));
    }
}
