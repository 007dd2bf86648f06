//! What only a database on a disk can suffer.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Folder, Machine, Place, index, lease};
use split_custody_store::{CustodyStore, SqliteStore, StoreError};

fn refusal(folder: &Folder) -> StoreError {
    let booted = folder.open().and_then(|mut store| store.boot());
    booted.map(|boot| boot.generation).unwrap_err()
}

#[test]
fn aud_3_file_that_is_no_store_is_refused_by_name_and_left_alone() {
    for bytes in [b"no database at all, and longer than a header".repeat(40), vec![0x53; 5000]] {
        let folder = Folder::new();
        fs::write(folder.database(), &bytes).unwrap();
        let refused = refusal(&folder);
        assert!(matches!(refused, StoreError::Foreign { .. }), "{refused}");
        assert!(refused.to_string().contains("custodian.db"));
        assert_eq!(fs::read(folder.database()).unwrap(), bytes);
    }
}

#[test]
fn aud_3_database_of_another_program_is_refused() {
    let folder = Folder::new();
    let other = rusqlite::Connection::open(folder.database()).unwrap();
    other.execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    drop(other);
    assert!(matches!(refusal(&folder), StoreError::Foreign { .. }));
}

#[test]
fn aud_3_folder_that_is_not_there_is_named() {
    let folder = Folder::new();
    let missing = folder.0.path().join("missing/custodian.db");
    let refused = SqliteStore::open(&missing, &folder.anchor(), common::ORIGIN).err().unwrap();
    assert!(refused.to_string().contains("missing/custodian.db"), "{refused}");
}

#[test]
fn aud_4_anchor_that_does_not_decode_is_refused() {
    let folder = Folder::new();
    drop(folder.open().unwrap().boot().unwrap());
    let good = fs::read(folder.anchor()).unwrap();
    for bad in [&good[..good.len() - 1], &[&good[..], &[0]].concat(), b""] {
        fs::write(folder.anchor(), bad).unwrap();
        let refused = folder.open().unwrap().boot().unwrap_err();
        assert!(matches!(refused, StoreError::AnchorMalformed { .. }), "{refused}");
    }
}

#[test]
fn aud_3_copy_of_the_database_cannot_use_the_anchor_of_the_original() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    store.boot().unwrap();
    let copy = folder.0.path().join("copy.db");
    fs::copy(folder.database(), &copy).unwrap();
    let refused = SqliteStore::open(&copy, &folder.anchor(), common::ORIGIN).err().unwrap();
    assert!(matches!(&refused, StoreError::Held { path } if *path == folder.anchor()));
}

#[test]
fn aud_3_files_are_for_their_owner_alone() {
    let folder = Folder::new();
    let mut store = folder.open().unwrap();
    store.boot().unwrap();
    for file in [folder.database(), folder.anchor()] {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[test]
fn aud_1_altered_leaf_is_found_at_boot() {
    let folder = Folder::new();
    {
        let mut store = folder.open().unwrap();
        let machine = Machine::of(&store.boot().unwrap());
        index(store.commit(1, &machine.grant(lease(1, 1, 1))));
        store.move_anchor(&machine.anchor(&[])).unwrap();
    }
    let database = rusqlite::Connection::open(folder.database()).unwrap();
    database.execute("UPDATE leaves SET leaf = x'a0' WHERE place = 1", []).unwrap();
    drop(database);
    assert!(matches!(refusal(&folder), StoreError::Corrupt { .. }));
}

#[test]
fn aud_1_missing_leaf_is_found_at_boot() {
    let folder = Folder::new();
    {
        let mut store = folder.open().unwrap();
        let machine = Machine::of(&store.boot().unwrap());
        index(store.commit(1, &machine.grant(lease(1, 1, 1))));
        index(store.commit(2, &machine.renew(1, 1)));
    }
    let database = rusqlite::Connection::open(folder.database()).unwrap();
    database.execute("DELETE FROM leaves WHERE place = 1", []).unwrap();
    drop(database);
    assert!(matches!(refusal(&folder), StoreError::Corrupt { .. }));
}
