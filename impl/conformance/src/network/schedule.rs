//! What a seed does to the network and its hosts.

use std::time::Duration;

use turmoil::Sim;

use super::host::name;

/// Deeds at drawn times, each ended by another.
pub(super) struct Schedule {
    drawn: u64,
    next: Duration,
    pending: Vec<(Duration, Deed)>,
    done: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Partition(u8),
    Repair(u8),
    Hold(u8),
    Release(u8),
    Crash(u8),
    CrashDevice,
    Restart(u8),
    RestartDevice,
}

impl Schedule {
    pub(super) fn of(seed: u64) -> Self {
        let drawn = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { drawn, next: QUIET, pending: Vec::new(), done: Vec::new() }
    }

    pub(super) fn done(self) -> Vec<String> {
        self.done
    }

    /// Whether, and when, the operators revoke.
    pub(super) fn revokes(&mut self) -> Option<Duration> {
        let at = Duration::from_millis(6000 + self.draw(8000));
        (self.draw(2) == 0).then_some(at)
    }

    pub(super) fn latency(&mut self) -> Duration {
        Duration::from_millis([2, 20, 60, 120][usize::try_from(self.draw(4)).unwrap_or(0)])
    }

    pub(super) fn act(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        if now >= self.next {
            self.next = now + Duration::from_millis(300 + self.draw(1500));
            let id = 1 + u8::try_from(self.draw(3)).unwrap_or(0);
            let later = now + Duration::from_millis(100 + self.draw(1500));
            let (deed, end) = match self.draw(8) {
                0 | 1 => (Deed::Partition(id), Deed::Repair(id)),
                2 | 3 => (Deed::Hold(id), Deed::Release(id)),
                4 | 5 => (Deed::Crash(id), Deed::Restart(id)),
                6 => (Deed::CrashDevice, Deed::RestartDevice),
                _ => return,
            };
            self.perform(sim, now, deed);
            self.pending.push((later, end));
        }
        let (due, later) = self.pending.iter().partition(|(at, _)| *at <= now);
        self.pending = later;
        let due: Vec<(Duration, Deed)> = due;
        for (_, deed) in due {
            self.perform(sim, now, deed);
        }
    }

    fn perform(&mut self, sim: &mut Sim<'_>, now: Duration, deed: Deed) {
        self.done.push(format!("{} ms: {deed:?}", now.as_millis()));
        match deed {
            Deed::Partition(id) => sim.partition("device", name(id)),
            Deed::Repair(id) => sim.repair("device", name(id)),
            Deed::Hold(id) => sim.hold("device", name(id)),
            Deed::Release(id) => sim.release("device", name(id)),
            Deed::Crash(id) => sim.crash(name(id)),
            Deed::CrashDevice => sim.crash("device"),
            Deed::Restart(id) => sim.bounce(name(id)),
            Deed::RestartDevice => sim.bounce("device"),
        }
    }

    /// A number below `bound`; xorshift, so that a seed is a schedule for ever.
    fn draw(&mut self, bound: u64) -> u64 {
        self.drawn ^= self.drawn << 13;
        self.drawn ^= self.drawn >> 7;
        self.drawn ^= self.drawn << 17;
        (self.drawn >> 11) % bound
    }
}

/// The custodians are provisioned and activated first.
const QUIET: Duration = Duration::from_secs(2);
