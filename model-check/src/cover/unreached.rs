//! Rows that no path takes, each with its reason.

/// Row, and why the world does not take it. The test of its table takes every one of them.
pub const UNREACHED: &[(&str, &str)] = &[
    ("attester | AwaitChannel | ChannelClosed", "what was not opened is not closed: a dial fails"),
    ("attester | AwaitExporter | ChannelClosed", "a driver exports in the turn that asks"),
    ("attester | AwaitExporter | ExportFailed", "a channel of the world always exports"),
    ("attester | Closed | ChannelClosed", "the role tells a closed exchange nothing more"),
    ("custody | Erasing | Tainted", "the world erases in the turn that asks"),
    ("custody | Idle | Tainted", "without a model the role has no custody"),
    ("guard | Planting | PlantFailed", "the world always plants"),
    ("lease-device | Over | Retry", "this custodian never answers `retry`; another may"),
    ("lease-device | Renewing | Retry", "this custodian never answers `retry`; another may"),
    ("standing | Recovering | Fenced", "operators of the world submit to custodians that serve"),
    ("verifier | AwaitExporter | ExportFailed", "a channel of the world always exports"),
];
