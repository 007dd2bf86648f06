//! Reset: a device that was read, or was tampered with, begins a new life with nothing in it.
//!
//! Chapter 70. While [`Guard`] is `Clean`, keys and plaintext of this incarnation exist in device
//! memory only, and no host read trapped since its scrub. It starts `Tainted`: what a reboot or a
//! restored snapshot left behind is scrubbed before anything else. [RST-1]
//! It does not prove anything to custodians: fresh Evidence does.
//!
//! ```text
//!  Tainted --PoweredOn--> Zeroising --> Scrubbing --> Planting --> Clean
//!     ^------------- ScrubFailed, PlantFailed --/         |
//!                        Zeroising <-- HostRead (Reset), Tampered, Resumed --/
//! ```

mod guard;

pub use guard::{Guard, GuardInput, GuardStep, OnHostRead};
