//! The protocol's two roles as machines.
//!
//! All chapters. Names the same thing on both sides of the seam and nothing more.

use split_custody_protocol::Suite;
use split_custody_protocol::effect::{
    CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, Output,
};
use split_custody_protocol::ids::ChannelId;
use split_custody_protocol::lease::Standing;
use split_custody_protocol::role::{Custodian, CustodianInput, Device, DeviceInput, Rejection};
use split_custody_protocol::suite::{Digest, Exporter};
use split_custody_protocol::time::Instant;

use crate::describe;
use crate::machine::{Happening, Machine};
use crate::trace_types as trace;

impl Machine for Device {
    type Input = DeviceInput;
    type Effect = DeviceEffect;
    type Answer = DeviceAnswer;
    type Rejection = Rejection;

    fn handle<S: Suite>(
        &mut self,
        now: Instant,
        input: DeviceInput,
        suite: &mut S,
    ) -> Result<(), Rejection> {
        Device::handle(self, now, input, suite)
    }

    fn poll_output(&mut self) -> Option<Output<DeviceEffect>> {
        Device::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Device::poll_timeout(self)
    }

    fn standing(&self) -> Option<Standing> {
        Device::standing(self)
    }

    fn charge(&mut self, now: Instant, uses: u64) {
        Device::charge(self, now, uses);
    }

    fn input(happening: Happening<DeviceAnswer>) -> Option<DeviceInput> {
        use DeviceInput as I;
        use Happening as H;
        Some(match happening {
            // A device listens nowhere: a channel that it did not dial is not its own.
            H::ChannelOpened { channel, custodian, own_leaf, peer_leaf, .. } => {
                I::ChannelOpened { channel, custodian: custodian?, own_leaf, peer_leaf }
            }
            H::ChannelFailed { custodian } => I::ChannelFailed { custodian },
            H::ChannelClosed { channel } => I::ChannelClosed { channel },
            H::Received { channel, frame } => I::Received { channel, frame },
            H::Done { ticket, answer } => I::Done { ticket, answer },
            H::Timeout => I::Timeout,
        })
    }

    fn export(effect: &DeviceEffect) -> Option<(ChannelId, Digest)> {
        match effect {
            DeviceEffect::Export { channel, context } => Some((*channel, *context)),
            _ => None,
        }
    }

    fn exported(exporter: Option<Exporter>) -> DeviceAnswer {
        exporter.map_or(DeviceAnswer::ExportFailed, DeviceAnswer::Exported)
    }

    fn describe_input(input: &DeviceInput) -> trace::Input {
        use DeviceInput as I;
        match input {
            I::PoweredOn => trace::Input::PoweredOn,
            I::Acquire { manifest, deployment } => describe::acquire(manifest, deployment),
            I::ChannelOpened { channel, custodian, own_leaf, peer_leaf } => {
                describe::opened(*channel, Some(custodian.value()), own_leaf, peer_leaf, &[])
            }
            I::ChannelFailed { custodian } => {
                trace::Input::ChannelFailed { custodian: custodian.value() }
            }
            I::ChannelClosed { channel } => {
                trace::Input::ChannelClosed { channel: channel.value() }
            }
            I::Received { channel, frame } => describe::received(*channel, frame),
            I::Done { ticket, answer } => describe::done(*ticket, describe::device_answer(answer)),
            I::Timeout => trace::Input::Timeout,
            I::HostRead => trace::Input::HostRead,
            I::Tampered => trace::Input::Tampered,
            I::Resumed => trace::Input::Resumed,
            I::Release => trace::Input::Release,
        }
    }

    fn describe_effect(effect: &DeviceEffect) -> trace::Effect {
        describe::device_effect(effect)
    }
}

impl Machine for Custodian {
    type Input = CustodianInput;
    type Effect = CustodianEffect;
    type Answer = CustodianAnswer;
    type Rejection = Rejection;

    fn handle<S: Suite>(
        &mut self,
        now: Instant,
        input: CustodianInput,
        suite: &mut S,
    ) -> Result<(), Rejection> {
        Custodian::handle(self, now, input, suite)
    }

    fn poll_output(&mut self) -> Option<Output<CustodianEffect>> {
        Custodian::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Custodian::poll_timeout(self)
    }

    fn input(happening: Happening<CustodianAnswer>) -> Option<CustodianInput> {
        use CustodianInput as I;
        use Happening as H;
        Some(match happening {
            H::ChannelOpened { channel, own_leaf, peer_leaf, chain, .. } => {
                I::ChannelOpened { channel, own_leaf, peer_leaf, chain }
            }
            // A custodian dials nobody.
            H::ChannelFailed { .. } => return None,
            H::ChannelClosed { channel } => I::ChannelClosed { channel },
            H::Received { channel, frame } => I::Received { channel, frame },
            H::Done { ticket, answer } => I::Done { ticket, answer },
            H::Timeout => I::Timeout,
        })
    }

    fn export(effect: &CustodianEffect) -> Option<(ChannelId, Digest)> {
        match effect {
            CustodianEffect::Export { channel, context } => Some((*channel, *context)),
            _ => None,
        }
    }

    fn exported(exporter: Option<Exporter>) -> CustodianAnswer {
        exporter.map_or(CustodianAnswer::ExportFailed, CustodianAnswer::Exported)
    }

    fn describe_input(input: &CustodianInput) -> trace::Input {
        use CustodianInput as I;
        match input {
            I::Booted => trace::Input::Booted,
            I::ChannelOpened { channel, own_leaf, peer_leaf, chain } => {
                describe::opened(*channel, None, own_leaf, peer_leaf, chain)
            }
            I::ChannelClosed { channel } => {
                trace::Input::ChannelClosed { channel: channel.value() }
            }
            I::Received { channel, frame } => describe::received(*channel, frame),
            I::Done { ticket, answer } => {
                describe::done(*ticket, describe::custodian_answer(answer))
            }
            I::Timeout => trace::Input::Timeout,
        }
    }

    fn describe_effect(effect: &CustodianEffect) -> trace::Effect {
        describe::custodian_effect(effect)
    }
}
