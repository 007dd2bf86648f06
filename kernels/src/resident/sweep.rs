//! Overwrites all device memory that nobody holds: what a life left that ended before its scrub.
//!
//! Chapter 70. Drivers do not promise that freed memory is zero, nor that they zero it for the next.
//! When [`sweep`] returns, every block that could be had was zeroed and seen to be zero. It does not
//! reach what other processes hold.

use std::sync::Arc;

use crate::device::DeviceError;
use crate::operations::OperationError;
use crate::resident::context::Context;
use crate::resident::desk::Desk;
use crate::resident::memory::Guarded;

/// Takes all free memory, zeroes it, verifies it, and gives it back; says how many bytes it was.
pub fn sweep(context: &Arc<Context>, desk: &mut Desk) -> Result<u64, OperationError> {
    // Everything is held until the end, so that nothing is taken twice and nothing left out.
    let (mut held, mut piece) = (Vec::new(), LARGEST);
    while piece >= SMALLEST {
        match Guarded::create(context, piece) {
            Ok(memory) => {
                desk.stream().zero(memory.whole())?;
                held.push(memory);
            }
            Err(DeviceError::OutOfMemory) => piece /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    for memory in &held {
        desk.verify_zero(memory.whole())?; // [RST-3]
    }
    Ok(held.iter().map(|memory| memory.bytes() as u64).sum())
}

const LARGEST: usize = 1 << 30;
/// What drivers make memory of.
const SMALLEST: usize = 2 << 20;
