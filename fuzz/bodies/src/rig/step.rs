//! What a fuzzer can do to the target, and to time.

use arbitrary::Arbitrary;
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::ids::{ChannelId, CustodianId};
use split_custody_protocol::role::{CustodianInput, DeviceInput};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::grant::{Grant, GrantStatement};
use split_custody_protocol::wire::order::{AwaitDead, Notice, Verb};
use split_custody_protocol::wire::{Message, ObjectKind, Signed};

use super::{CustodianLie, DeviceLie, End, Rig, Target};

/// One thing that happens. A `u8` that picks counts round what there is.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    /// Everything goes its honest way until it is quiet.
    Settle,
    Acquire,
    GiveUp,
    PowerOn,
    HostRead,
    Tamper,
    Resume,
    Admit,
    /// A dial that is awaited is connected.
    Connect,
    RefuseDial {
        custodian: u8,
    },
    Deliver {
        wire: u8,
        harm: FrameHarm,
    },
    /// A frame that nobody sent.
    Inject {
        wire: u8,
        frame: Vec<u8>,
    },
    /// A frame that somebody sent somewhere.
    Replay {
        wire: u8,
        frame: u8,
    },
    Answer {
        question: u8,
        reply: Reply,
    },
    LieAboutTicket {
        ticket: u8,
        custodian: CustodianLie,
        device: DeviceLie,
    },
    Cut {
        wire: u8,
    },
    /// The same channel is opened once more.
    Reopen {
        wire: u8,
    },
    /// A channel that does not exist closes.
    CloseUnknown {
        channel: u8,
    },
    Hail,
    Say {
        wire: u8,
        said: OperatorSays,
    },
    Wait {
        millis: u8,
    },
    Wake,
    /// The custodian's process dies and starts again over its store.
    Restart,
    BootTwice,
}

/// What becomes of a frame on its way to the target.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum FrameHarm {
    None,
    Drop,
    Twice,
    Flip {
        at: u16,
        bit: u8,
    },
    Cut {
        length: u16,
    },
    Grow {
        byte: u8,
    },
    /// A custodian that lies changes its own grant and signs it.
    Resign {
        at: u16,
        bit: u8,
    },
}

/// How a question is answered.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Reply {
    Done,
    Failed,
    UnknownWritten,
    UnknownLost,
    Lie { custodian: CustodianLie, device: DeviceLie },
}

/// What an operator, or somebody who would like to be one, says.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum OperatorSays {
    Provision,
    Query,
    Activate,
    Revoke { serial: u8, signer: Signer },
    Admit { serial: u8, signer: Signer },
    AwaitDead { serial: u8 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Signer {
    Operator,
    Stranger,
}

impl Signer {
    const fn principal(self) -> Principal {
        match self {
            Self::Operator => Principal::Operator,
            Self::Stranger => Principal::Stranger,
        }
    }
}

impl Rig {
    /// Makes one thing happen; then the machines that are not the target go on.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Settle => self.settle(),
            Step::Acquire => self.device_input(DeviceInput::Acquire {
                manifest: self.setup.manifest(),
                deployment: self.setup.deployment(),
            }),
            Step::GiveUp => self.device_input(DeviceInput::Release),
            Step::PowerOn => self.device_input(DeviceInput::PoweredOn),
            Step::HostRead => self.device_input(DeviceInput::HostRead),
            Step::Tamper => self.device_input(DeviceInput::Tampered),
            Step::Resume => self.device_input(DeviceInput::Resumed),
            Step::Admit => self.admit(),
            Step::Wait { millis } => {
                self.now = self.now.after(Span::from_millis(u64::from(millis % 8)));
            }
            Step::Wake => self.wake(),
            Step::Restart => {
                if let Target::Custodian(id) = self.target {
                    self.restart(id);
                }
            }
            Step::BootTwice => {
                if let Target::Custodian(id) = self.target {
                    self.boot(id);
                }
            }
            Step::Hail => {
                let Target::Custodian(id) = self.target else { return };
                self.hail(id);
            }
            step => self.step_on_wire(step),
        }
        self.run_others();
    }

    fn step_on_wire(&mut self, step: Step) {
        match step {
            Step::Connect => {
                if let Some(custodian) = self.device.first_dial() {
                    self.dial(custodian);
                }
            }
            Step::RefuseDial { custodian } => {
                let custodian = custodian % (super::CUSTODIANS + 1);
                self.device.forget_dial(custodian);
                let custodian = CustodianId::new(custodian);
                self.device_input(DeviceInput::ChannelFailed { custodian });
            }
            Step::Deliver { wire, harm } => {
                if let Some(wire) = self.pick_wire(wire) {
                    self.deliver(wire, self.target_end(), harm);
                }
            }
            Step::Inject { wire, frame } => self.inject(wire, frame),
            Step::Replay { wire, frame } => {
                let at = usize::from(frame).checked_rem(self.seen.len());
                if let Some(frame) = at.map(|at| self.seen[at].clone()) {
                    self.inject(wire, frame);
                }
            }
            Step::Answer { question, reply } => self.answer(question, reply),
            Step::LieAboutTicket { ticket, custodian, device } => match self.target {
                Target::Custodian(id) => self.lie_to_custodian(id, ticket, custodian),
                Target::Device => self.lie_to_device(ticket, device),
            },
            Step::Cut { wire } => {
                if let Some(wire) = self.pick_wire(wire) {
                    self.cut(wire, self.target_end());
                }
            }
            Step::Reopen { wire } => {
                let wire = self.pick_wire(wire);
                match (wire, self.target) {
                    (Some(wire), Target::Custodian(_)) => self.custodian_opens(wire),
                    (Some(wire), Target::Device) => self.device_opens(wire),
                    (None, _) => {}
                }
            }
            Step::CloseUnknown { channel } => {
                let channel = ChannelId::new(1000 + u64::from(channel));
                match self.target {
                    Target::Custodian(id) => self.custodian_closes(id, channel),
                    Target::Device => self.device_closes(channel),
                }
            }
            Step::Say { wire, said } => self.say_to_target(wire, said),
            _ => unreachable!("`step` takes the others"),
        }
    }

    fn wake(&mut self) {
        match self.target {
            Target::Custodian(id) => self.custodian_input(id, CustodianInput::Timeout),
            Target::Device => self.device_input(DeviceInput::Timeout),
        }
    }

    fn answer(&mut self, question: u8, reply: Reply) {
        match self.target {
            Target::Custodian(id) => {
                let ticket = self.custodians.get(&id).and_then(|end| end.question(question));
                if let Some(ticket) = ticket {
                    self.answer_custodian(id, ticket, reply);
                }
            }
            Target::Device => {
                if let Some(ticket) = self.device.question(question) {
                    self.answer_device(ticket, reply);
                }
            }
        }
    }

    const fn target_end(&self) -> End {
        match self.target {
            Target::Custodian(_) => End::Custodian,
            Target::Device => End::Device,
        }
    }

    /// A wire with the target at one end.
    fn pick_wire(&self, pick: u8) -> Option<u64> {
        let meets = |custodian| match self.target {
            Target::Custodian(id) => id == custodian,
            Target::Device => true,
        };
        let wires: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, wire)| meets(wire.custodian))
            .map(|(id, _)| *id)
            .collect();
        // From the newest back: old ones are closed.
        let at = usize::from(pick).checked_rem(wires.len())?;
        wires.iter().rev().nth(at).copied()
    }

    fn inject(&mut self, wire: u8, frame: Vec<u8>) {
        if let Some(wire) = self.pick_wire(wire) {
            self.receive(wire, self.target_end(), frame);
        }
    }

    /// The first frame on a wire arrives at one end, or what is left of it.
    pub(super) fn deliver(&mut self, wire: u64, end: End, harm: FrameHarm) {
        let Some(held) = self.wires.get_mut(&wire) else { return };
        let queue = match end {
            End::Custodian => &mut held.to_custodian,
            End::Device => &mut held.to_device,
        };
        let (custodian, Some(mut frame)) = (held.custodian, queue.pop_front()) else { return };
        match harm {
            FrameHarm::None => {}
            FrameHarm::Drop => return,
            FrameHarm::Twice => self.receive(wire, end, frame.clone()),
            FrameHarm::Flip { at, bit } => flip(&mut frame, at, bit),
            FrameHarm::Cut { length } => frame.truncate(length.into()),
            FrameHarm::Grow { byte } => frame.push(byte),
            FrameHarm::Resign { at, bit } => {
                if let Some((resigned, said)) = resign(custodian, &frame, at, bit) {
                    self.device.watch.granted(custodian, said.lease);
                    frame = resigned;
                }
            }
        }
        self.receive(wire, end, frame);
    }

    fn receive(&mut self, wire: u64, end: End, frame: Vec<u8>) {
        let Some(held) = self.wires.get_mut(&wire) else { return };
        let channel = ChannelId::new(wire);
        match end {
            End::Custodian => {
                let id = held.custodian;
                self.custodian_input(id, CustodianInput::Received { channel, frame });
            }
            End::Device => {
                let challenge = matches!(Message::from_frame(&frame), Ok(Message::Challenge(_)));
                if challenge && held.hello.is_some() && held.challenge.is_none() {
                    held.challenge = Some(frame.clone());
                }
                self.device_input(DeviceInput::Received { channel, frame });
            }
        }
    }

    /// An operator speaks on a wire to its custodian.
    pub(super) fn say(&mut self, wire: u64, said: OperatorSays) {
        let Some(custodian) = self.wires.get(&wire).map(|held| held.custodian) else { return };
        if let Some(frame) = self.said(custodian, said) {
            self.put(wire, End::Custodian, frame);
        }
    }

    /// What operators sign reaches a custodian as such, and a device as a notice.
    fn say_to_target(&mut self, wire: u8, said: OperatorSays) {
        let Some(wire) = self.pick_wire(wire) else { return };
        match self.target {
            Target::Custodian(_) => {
                let custodian = self.wires[&wire].custodian;
                if let Some(frame) = self.said(custodian, said) {
                    self.receive(wire, End::Custodian, frame);
                }
            }
            Target::Device => {
                let frame = self.said(1, said).map(|frame| Message::from_frame(&frame));
                if let Some(Ok(Message::Submit(submit))) = frame {
                    let notice = Message::Notice(Notice { approvals: submit.approvals });
                    self.receive(wire, End::Device, notice.to_frame());
                }
            }
        }
    }

    fn said(&self, custodian: u8, said: OperatorSays) -> Option<Vec<u8>> {
        Some(match said {
            OperatorSays::Provision => self.setup.provision(custodian),
            OperatorSays::Query => self.setup.query(),
            OperatorSays::Activate => self.setup.activate(self.statuses.get(&custodian)?),
            OperatorSays::Revoke { serial, signer } => {
                self.setup.order(Verb::Revoke, u64::from(serial % 4), signer.principal())
            }
            OperatorSays::Admit { serial, signer } => {
                self.setup.order(Verb::Admit, u64::from(serial % 4), signer.principal())
            }
            OperatorSays::AwaitDead { serial } => {
                let order = u64::from(serial % 4);
                let submit = self.setup.order(Verb::Revoke, order, Principal::Operator);
                let order: Digest = self.setup.order_digest(&submit);
                Message::AwaitDead(AwaitDead { order }).to_frame()
            }
        })
    }
}

fn flip(bytes: &mut [u8], at: u16, bit: u8) {
    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
        bytes[at] ^= 1 << (bit % 8);
    }
}

/// The grant with one bit of its statement changed, signed by the custodian that sent it.
fn resign(custodian: u8, frame: &[u8], at: u16, bit: u8) -> Option<(Vec<u8>, GrantStatement)> {
    let Ok(Message::Grant(grant)) = Message::from_frame(frame) else { return None };
    let mut payload = grant.statement.payload_bytes().to_vec();
    flip(&mut payload, at, bit);
    let message = Signed::message_over(ObjectKind::Grant, &payload);
    let statement = Signed::new(payload, Principal::Custodian(custodian).sign(&message));
    let said = statement.payload().ok()?;
    Some((Message::Grant(Grant { statement, sealed: grant.sealed }).to_frame(), said))
}
