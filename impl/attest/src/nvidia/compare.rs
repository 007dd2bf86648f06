//! Reported measurements against reference values: every active index, no exception.

use std::collections::{BTreeMap, BTreeSet};

use super::reason::{Finding, Place, Reason};
use super::report::Report;
use super::rim::Rim;

/// Compares every index that either RIM gives; all faults are told. [HS-26]
pub(super) fn compare(
    report: &Report<'_>,
    driver: Option<&Rim>,
    vbios: Option<&Rim>,
) -> Vec<Finding> {
    let goldens = [driver, vbios].into_iter().flatten().map(Rim::golden);
    against(|index| report.measurement(index).copied(), &goldens.collect::<Vec<_>>())
}

type Golden = BTreeMap<u8, Vec<[u8; 48]>>;

fn against(measured: impl Fn(u8) -> Option<[u8; 48]>, goldens: &[&Golden]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if goldens.iter().any(|golden| golden.is_empty()) {
        findings.push(Finding::whole(Reason::MeasurementNone));
    }
    let indices: BTreeSet<u8> = goldens.iter().flat_map(|golden| golden.keys()).copied().collect();
    for index in indices {
        let at = Place::Measurement(index);
        let values: Vec<_> = goldens.iter().filter_map(|golden| golden.get(&index)).collect();
        let [values] = values.as_slice() else {
            findings.push(Finding::at(Reason::MeasurementTwice, at));
            continue;
        };
        if !measured(index).is_some_and(|measured| values.contains(&measured)) {
            findings.push(Finding::at(Reason::MeasurementDiffers, at));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(measured: &[u8], goldens: &[&[(u8, &[u8])]]) -> Vec<(Reason, Place)> {
        let golden = |pairs: &&[(u8, &[u8])]| -> Golden {
            let values = |values: &[u8]| values.iter().map(|value| [*value; 48]).collect();
            pairs.iter().map(|(index, of)| (*index, values(of))).collect()
        };
        let goldens: Vec<Golden> = goldens.iter().map(golden).collect();
        let measured = |index: u8| measured.get(usize::from(index)).map(|value| [*value; 48]);
        let findings = against(measured, &goldens.iter().collect::<Vec<_>>());
        findings.into_iter().map(|finding| (finding.reason, finding.place)).collect()
    }

    #[test]
    fn hs_26_any_alternative_of_each_index_will_do() {
        assert_eq!(told(&[1, 2, 3], &[&[(0, &[1]), (2, &[9, 8, 3])], &[(1, &[2])]]), []);
    }

    #[test]
    fn hs_26_one_index_that_differs_or_is_missing_is_told() {
        let differs = |index| (Reason::MeasurementDiffers, Place::Measurement(index));
        assert_eq!(told(&[1, 2], &[&[(0, &[1]), (1, &[1])]]), [differs(1)]);
        assert_eq!(told(&[1, 2], &[&[(0, &[1]), (63, &[1])]]), [differs(63)]);
        // What would be skipped where a decoder is absent is compared here.
        assert_eq!(told(&[0; 36], &[&[(35, &[1])]]), [differs(35)]);
        assert_eq!(told(&[1], &[&[(0, &[])]]), [differs(0)]);
    }

    #[test]
    fn hs_26_index_of_two_rims_is_told_even_if_both_match() {
        let twice = (Reason::MeasurementTwice, Place::Measurement(0));
        assert_eq!(told(&[1], &[&[(0, &[1])], &[(0, &[1])]]), [twice]);
    }

    #[test]
    fn hs_26_rim_without_any_index_is_told() {
        let none = (Reason::MeasurementNone, Place::Whole);
        assert_eq!(told(&[1], &[&[(0, &[1])], &[]]), [none]);
    }
}
