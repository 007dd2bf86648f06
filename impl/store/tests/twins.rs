//! Both implementations do the same with every sequence of transactions.

mod common;

use common::{Folder, Machine, Place, lease};
use proptest::prelude::*;
use split_custody_protocol::effect::Transaction;
use split_custody_store::{CustodyStore, MemoryDisk};

/// One step of a custodian's life, over few values so that steps collide.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u64, Wish)>),
    Anchor(Vec<u8>),
    Boot,
    Reopen,
    Reread(u64),
}

#[derive(Clone, Debug)]
enum Wish {
    Grant(u8, u8, u8),
    Renew(u8, u64),
    Order(u8),
    Provision(u8),
    Activate(u8),
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => (1u8..9, 1u8..4, 1u8..4).prop_map(|(l, d, i)| Wish::Grant(l, d, i)),
        3 => (1u8..9, 0u64..4).prop_map(|(l, c)| Wish::Renew(l, c)),
        2 => (1u8..6).prop_map(Wish::Order),
        1 => (1u8..4).prop_map(Wish::Provision),
        1 => (1u8..4).prop_map(Wish::Activate),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((0u64..12, wish()), 1..5).prop_map(Step::Commit),
        1 => prop::collection::vec(1u8..6, 0..3).prop_map(Step::Anchor),
        1 => Just(Step::Boot),
        1 => Just(Step::Reopen),
        1 => (0u64..12).prop_map(Step::Reread),
    ]
}

fn transaction(machine: Machine, wish: &Wish) -> Transaction {
    match wish {
        Wish::Grant(l, d, i) => machine.grant(lease(*l, *d, *i)),
        Wish::Renew(l, c) => machine.renew(*l, *c),
        Wish::Order(number) => machine.order(*number),
        Wish::Provision(number) => machine.provision(*number),
        Wish::Activate(number) => machine.activate(*number),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rel_3_sqlite_and_memory_agree_on_every_sequence(
        steps in prop::collection::vec(step(), 1..16),
    ) {
        let (folder, disk) = (Folder::new(), MemoryDisk::default());
        let mut sqlite = folder.open().unwrap();
        let mut memory = Place::open(&disk).unwrap();
        let mut machine = Machine::of(&sqlite.boot().unwrap());
        memory.boot().unwrap();
        for step in &steps {
            match step {
                Step::Commit(wishes) => {
                    let batch: Vec<_> = wishes
                        .iter()
                        .map(|(ticket, wish)| (*ticket, transaction(machine, wish)))
                        .collect();
                    let outcomes = sqlite.commit_batch(&batch);
                    prop_assert_eq!(&outcomes, &memory.commit_batch(&batch));
                }
                Step::Anchor(orders) => {
                    sqlite.move_anchor(&machine.anchor(orders)).unwrap();
                    memory.move_anchor(&machine.anchor(orders)).unwrap();
                }
                Step::Boot => {
                    let boot = sqlite.boot().unwrap();
                    prop_assert_eq!(&boot, &memory.boot().unwrap());
                    machine = Machine::of(&boot);
                }
                Step::Reopen => {
                    drop((sqlite, memory));
                    sqlite = folder.open().unwrap();
                    memory = Place::open(&disk).unwrap();
                    let boot = sqlite.boot().unwrap();
                    prop_assert_eq!(&boot, &memory.boot().unwrap());
                    machine = Machine::of(&boot);
                }
                Step::Reread(ticket) => {
                    let found = sqlite.reread(*ticket).unwrap();
                    prop_assert_eq!(found, memory.reread(*ticket).unwrap());
                }
            }
            prop_assert_eq!(sqlite.checkpoint().unwrap(), memory.checkpoint().unwrap());
        }
    }
}
