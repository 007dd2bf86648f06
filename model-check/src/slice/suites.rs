//! Slices in which a manifest allows two suites.

use split_custody_protocol::suite::SuiteId;

use super::Slice;
use super::build::{ON, UNTIMED, begin, one};
use crate::world::{Bounds, Lie, Setup};

pub(super) fn slices() -> Vec<Slice> {
    vec![
        // BOUND: two messages on the device's channel: an offer and a Request, or a Challenge.
        begin(
            "intruder-host-suites",
            Setup { second_suite: Some(SuiteId::P256_X963_KW), ..one() },
            Bounds { intruder: ON, sends: 2, ..Bounds::QUIET },
        )
        .lies(Lie::TlsEndsInHost)
        .says("as intruder-host, and the manifest allows two suites: the host changes what is said of them")
        .drops(UNTIMED),
    ]
}
