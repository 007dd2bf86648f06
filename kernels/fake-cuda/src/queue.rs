//! Streams: work waits in a queue until something needs it done.
//!
//! As late as the API allows: a copy from pinned memory reads it when the stream is waited for, so a
//! program that uses the buffer again too early gets wrong bytes, here and in every run.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::driver::Driver;
use crate::fault::carry_out;
use crate::wire::{Call, result as R};

/// A stream: its context and number; number 0 is the one without a name.
pub type Stream = (u64, u64);

/// One piece of work.
pub enum Work {
    Write { to: u64, from: usize, bytes: usize },
    Read { to: usize, from: u64, bytes: usize },
    Copy { to: u64, from: u64, bytes: u64 },
    Fill { at: u64, value: u8, bytes: u64 },
    Launch { name: String, shape: [u64; 3], args: Vec<u8> },
    Record { event: u64, number: u64 },
    Wait { event: u64, number: u64 },
}

/// What waits, and how far events are.
#[derive(Default)]
pub struct Queues {
    pub streams: BTreeMap<Stream, VecDeque<Work>>,
    pub events: BTreeMap<u64, Event>,
}

/// The last record of an event, and the last that happened.
#[derive(Default)]
pub struct Event {
    pub stream: Option<Stream>,
    pub recorded: u64,
    pub reached: u64,
    pub when: Option<Instant>,
}

impl Driver {
    /// Puts work at the end of a stream.
    pub fn put(&mut self, context: u64, stream: u64, work: Work) -> Result<(), u32> {
        let queue = self.queues.streams.get_mut(&(context, stream)).ok_or(R::INVALID_HANDLE)?;
        queue.push_back(work);
        Ok(())
    }

    /// Does all that waits in a context.
    pub fn finish(&mut self, context: u64) -> Result<(), u32> {
        let mine: Vec<Stream> =
            self.queues.streams.keys().filter(|(c, _)| *c == context).copied().collect();
        mine.into_iter().try_for_each(|stream| self.finish_stream(stream))
    }

    /// Does all that waits in a stream.
    pub fn finish_stream(&mut self, stream: Stream) -> Result<(), u32> {
        while self.step(stream)? {}
        self.contexts.get(&stream.0).and_then(|context| context.ended).map_or(Ok(()), Err)
    }

    /// Does what an event waits for.
    pub fn finish_event(&mut self, event: u64, number: u64) -> Result<(), u32> {
        loop {
            let state = self.queues.events.get(&event).ok_or(R::INVALID_HANDLE)?;
            let (true, Some(stream)) = (state.reached < number, state.stream) else {
                return Ok(());
            };
            if !self.step(stream)? {
                return Ok(()); // its stream is gone
            }
        }
    }

    /// Does one piece of work; false if there is none. An error ends the context.
    fn step(&mut self, stream: Stream) -> Result<bool, u32> {
        let next = self.queues.streams.get_mut(&stream).and_then(VecDeque::pop_front);
        let Some(work) = next else { return Ok(false) };
        if let Some(result) = self.contexts.get(&stream.0).and_then(|context| context.ended) {
            return Err(result);
        }
        if let Err(result) = self.work(work) {
            if let Some(context) = self.contexts.get_mut(&stream.0) {
                context.ended = Some(result);
            }
            return Err(result);
        }
        Ok(true)
    }

    fn work(&mut self, work: Work) -> Result<(), u32> {
        match work {
            Work::Write { to, from, bytes } => {
                // SAFETY: the caller of the API promises that the memory lives until the stream is
                // waited for, which is now at the latest.
                let from = unsafe { std::slice::from_raw_parts(from as *const u8, bytes) };
                self.ask(Call::Write, &[to], from, &mut [])?;
            }
            Work::Read { to, from, bytes } => {
                // SAFETY: as above, and nobody else uses it meanwhile.
                let to = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes) };
                self.read(to, from)?;
            }
            Work::Copy { to, from, bytes } => {
                self.ask(Call::Copy, &[to, from, bytes], &[], &mut [])?;
            }
            Work::Fill { at, value, bytes } => {
                self.ask(Call::Fill, &[at, value.into(), bytes], &[], &mut [])?;
            }
            Work::Launch { name, shape, args } => self.run(&name, shape, &args)?,
            Work::Record { event, number } => {
                if let Some(event) = self.queues.events.get_mut(&event) {
                    event.reached = event.reached.max(number);
                    event.when = Some(Instant::now());
                }
            }
            Work::Wait { event, number } => self.finish_event(event, number)?,
        }
        Ok(())
    }

    /// Copies out, and counts what left.
    pub fn read(&mut self, to: &mut [u8], from: u64) -> Result<(), u32> {
        self.faults.count("bytes-out", to.len() as u64);
        self.ask(Call::Read, &[from, to.len() as u64], &[], to)?;
        Ok(())
    }

    fn run(
        &mut self,
        name: &str,
        [grid, threads, shared]: [u64; 3],
        args: &[u8],
    ) -> Result<(), u32> {
        let met = self.faults.meet(&format!("kernel/{name}"));
        let mut dies = false;
        match carry_out(met, || dies = true) {
            Err(R::SUCCESS) => return Ok(()),
            Err(result) => return Err(result),
            Ok(()) => {}
        }
        if dies {
            self.die();
        }
        let payload = [name.as_bytes(), &[0], args].concat();
        self.ask(Call::Launch, &[grid, threads, shared], &payload, &mut []).map(drop)
    }
}
