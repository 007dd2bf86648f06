//! Reported measurements against reference values: every active index, no exception.

use std::collections::BTreeSet;

use super::reason::{Finding, Place, Reason};
use super::report::Report;
use super::rim::Rim;

/// Compares every index that either RIM gives; all faults are told. [HS-26]
pub(super) fn compare(report: &Report<'_>, driver: &Rim, vbios: &Rim) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rim in [driver, vbios] {
        if rim.golden().is_empty() {
            findings.push(Finding::whole(Reason::MeasurementNone));
        }
    }
    let indices: BTreeSet<u8> =
        driver.golden().keys().chain(vbios.golden().keys()).copied().collect();
    for index in indices {
        let at = Place::Measurement(index);
        let golden = match (driver.golden().get(&index), vbios.golden().get(&index)) {
            (Some(_), Some(_)) => {
                findings.push(Finding::at(Reason::MeasurementTwice, at));
                continue;
            }
            (Some(values), None) | (None, Some(values)) => values,
            (None, None) => continue,
        };
        let matches = report
            .measurement(index)
            .is_some_and(|measured| golden.iter().any(|value| value == measured));
        if !matches {
            findings.push(Finding::at(Reason::MeasurementDiffers, at));
        }
    }
    findings
}
