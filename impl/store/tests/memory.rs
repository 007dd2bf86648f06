//! Faults on demand in the memory twin.

mod common;

use common::{Machine, Place, index, lease};
use split_custody_store::{CustodyStore, Fault, MemoryDisk, Outcome, Reread};

#[test]
fn aud_2_lost_answer_is_unknown_and_rereads_as_committed() {
    let disk = MemoryDisk::default();
    let mut store = Place::open(&disk).unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    disk.fail_next(Fault::AnswerLost);

    let grant = machine.grant(lease(1, 1, 1));
    assert_eq!(store.commit(1, &grant), Outcome::Unknown);

    let Reread::Committed(place) = store.reread(1).unwrap() else { panic!("it was written") };
    assert_eq!(index(store.commit(1, &grant)), place.value());
    assert_eq!(store.checkpoint().unwrap().size, 2);
}

#[test]
fn aud_2_lost_write_is_unknown_and_rereads_as_not_written() {
    let disk = MemoryDisk::default();
    let mut store = Place::open(&disk).unwrap();
    let machine = Machine::of(&store.boot().unwrap());
    disk.fail_next(Fault::WriteLost);
    assert_eq!(store.commit(1, &machine.grant(lease(1, 1, 1))), Outcome::Unknown);
    assert_eq!(store.reread(1).unwrap(), Reread::NotWritten);
    assert_eq!(store.checkpoint().unwrap().size, 1);
}
