use super::*;

fn report(times: &[f64]) -> BenchReport {
    let case = Case {
        weights: "mobile-sam".to_owned(),
        sha256: String::new(),
        architecture: "mobile-sam".to_owned(),
        device: "cpu".to_owned(),
        profile: "paper".to_owned(),
        input_side: 1024,
        n: [1, 5],
        m: [1, 1],
    };
    let half: Vec<f64> = times.iter().map(|time| time / 2.0).collect();
    let measured = Measured {
        whole: times.to_vec(),
        stages: vec![
            ("encode", half.clone()),
            ("upload", vec![0.0; times.len()]),
            ("decode", half),
        ],
        seconds: 1.0,
        ..Measured::default()
    };
    BenchReport {
        program: "p2sam".to_owned(),
        commit: None,
        machine: Machine::default(),
        input: "phantom".to_owned(),
        size: [640, 360],
        mode: "offline".to_owned(),
        rate: None,
        warmup: 0,
        cases: vec![CaseReport::new(case, measured, vec![], None)],
    }
}

/// Times about `centre` that go up and down without a pattern.
fn noise(centre: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| centre * (1.0 + 0.1 * ((i * 7919 % 1009) as f64 / 100.0).sin())).collect()
}

#[test]
fn a_distribution_is_that_of_its_values() {
    let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
    let of = Distribution::of(&values);
    assert_eq!(
        [of.p50, of.p90, of.p95, of.p99, of.max, of.mean],
        [50.0, 90.0, 95.0, 99.0, 100.0, 50.0]
    );
    assert_eq!([of.tail, of.flatness], [5.0, 80.0]);
    assert_eq!(Distribution::of(&[]), Distribution::default());
}

#[test]
fn what_took_no_time_is_left_out_and_stages_add_up() {
    let report = report(&noise(40.0, 20));
    let names: Vec<_> = report.cases[0].stages.iter().map(|stage| &stage.name[..]).collect();
    assert_eq!(names, ["encode", "decode"]);
    assert!(report.cases[0].unaccounted().abs() < 1e-3);
}

#[test]
fn a_report_is_read_back_as_it_was() {
    let report = report(&noise(40.0, 20));
    let text = serde_json::to_string(&report).expect("it can be written");
    assert_eq!(serde_json::from_str::<BenchReport>(&text).expect("it can be read"), report);
}

#[test]
fn only_what_is_slower_is_called_slower() {
    let verdicts = |before: f64, after: f64| -> Vec<Verdict> {
        let all = compare(&report(&noise(before, 60)), &report(&noise(after, 80)));
        all.iter().map(|one| one.verdict).collect()
    };
    assert_eq!(verdicts(40.0, 44.0), [Verdict::Slower; 3]);
    assert_eq!(verdicts(40.0, 36.0), [Verdict::Faster; 3]);
    assert_eq!(verdicts(40.0, 40.0), [Verdict::Alike; 3]);
    let one = &compare(&report(&noise(40.0, 60)), &report(&noise(44.0, 60)))[0];
    assert!((one.ratio - 1.1).abs() < 0.02, "{one:?}");
    assert!(one.interval[0] < one.ratio && one.ratio < one.interval[1], "{one:?}");
}

#[test]
fn cases_of_other_settings_are_not_compared() {
    let (before, mut after) = (report(&noise(40.0, 20)), report(&noise(40.0, 20)));
    after.cases[0].case.input_side = 512;
    assert!(compare(&before, &after).is_empty());
}
