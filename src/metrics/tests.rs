use super::*;

fn mask(on: &[u8]) -> Mask {
    Mask::new(on.len() as u32, 1, on.iter().map(|&v| v > 0).collect()).expect("sizes agree")
}

#[test]
fn known_overlaps() {
    let (a, b) = (mask(&[1, 1, 1, 0, 0]), mask(&[0, 1, 1, 1, 1]));
    assert_eq!(dice(&a, &b), Some(4.0 / 7.0));
    assert_eq!(iou(&a, &b), Some(2.0 / 5.0));
}

#[test]
fn empty_masks_agree_and_sizes_must() {
    let (none, some) = (mask(&[0, 0]), mask(&[0, 1]));
    assert_eq!(dice(&none, &none), Some(1.0));
    assert_eq!(iou(&none, &some), Some(0.0));
    assert_eq!(dice(&none, &mask(&[0])), None);
}

/// Values that NumPy, SciPy and scikit-learn gave: see tests/fixtures/make_scores.py.
fn fixture() -> serde_json::Value {
    serde_json::from_str(include_str!("../../tests/fixtures/scores.json")).expect("JSON")
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn masks_score_as_in_numpy_and_scikit_learn() {
    for case in fixture()["masks"].as_array().expect("cases") {
        let side = |name: &str| case[name].as_u64().expect("a number") as u32;
        let runs = |name: &str| {
            let mut on = false;
            let mut data = Vec::new();
            for run in numbers(&case[name]) {
                data.extend(std::iter::repeat_n(on, run as usize));
                on = !on;
            }
            Mask::new(side("width"), side("height"), data).expect("sizes agree")
        };
        let (found, truth) = (runs("prediction"), runs("truth"));
        for (name, score) in [
            ("dice", dice(&found, &truth)),
            ("iou", iou(&found, &truth)),
            ("boundary_f", boundary_f(&found, &truth)),
        ] {
            let expected = case[name].as_f64().expect("a number");
            let score = score.expect("sizes agree");
            assert!((score - expected).abs() < 1e-12, "{} {name}: {score}", case["name"]);
        }
    }
}

#[test]
fn rank_statistics_as_in_scipy_and_scikit_learn() {
    for case in fixture()["ranks"].as_array().expect("cases") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let expected = case["spearman"].as_f64().expect("a number");
        assert!((spearman(&a, &b).expect("values differ") - expected).abs() < 1e-12);
        let expected = case["roc_auc"].as_f64().expect("a number");
        assert!((separation(&a, &b).expect("values") - expected).abs() < 1e-12);
    }
    assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    assert_eq!(separation(&[], &[1.0]), None);
}

#[test]
fn an_interval_is_as_wide_as_theory_says_and_the_same_again() {
    let values: Vec<f64> = (0..400).map(|i| f64::from(i * 37 % 400) / 400.0).collect();
    let units: Vec<_> = values.iter().map(|&sum| Share { sum, weight: 1.0 }).collect();
    let [low, high] = bootstrap(&units, 0).expect("units");
    let middle = mean(&units).expect("weights");
    let error = 1.96 * (1.0f64 / 12.0 / 400.0).sqrt();
    assert!((middle - low - error).abs() < 0.1 * error, "{low}");
    assert!((high - middle - error).abs() < 0.1 * error, "{high}");
    assert_eq!(bootstrap(&units, 0), Some([low, high]));
    assert_eq!(bootstrap(&units[..1], 0), None);
    assert_eq!(quantile(&[0.0, 1.0, 4.0], 0.75), Some(2.5));
}

#[test]
fn a_long_unit_counts_more_in_a_mean_over_its_values() {
    let units = [Share { sum: 1.0, weight: 1.0 }, Share { sum: 0.0, weight: 3.0 }];
    assert_eq!(mean(&units), Some(0.25));
    assert_eq!(mean(&[]), None);
}
