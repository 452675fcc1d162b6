use super::super::emd::test_points::points;
use super::*;

#[derive(serde::Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    kind: String,
    parts: u64,
    count: usize,
    dim: usize,
    seed: u64,
    k: usize,
    random_state: u64,
    runs: usize,
    labels: Vec<u32>,
    inertia: f64,
    centres: Vec<Vec<f32>>,
}

/// Cluster numbers in the order of first appearance.
fn canonical(labels: &[u32]) -> Vec<usize> {
    let mut names: Vec<u32> = Vec::new();
    let mut name = |label: u32| {
        names.iter().position(|&n| n == label).unwrap_or_else(|| {
            names.push(label);
            names.len() - 1
        })
    };
    labels.iter().map(|&label| name(label)).collect()
}

#[test]
fn agrees_with_scikit_learn() {
    let text = include_str!("../../../tests/fixtures/method/kmeans.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    assert!(fixture.cases.len() > 20);
    for case in fixture.cases {
        let Case { kind, parts, count, dim, seed, k, .. } = case;
        let name = format!("{kind} {count}x{dim} in {k}, state {}", case.random_state);
        let points = points(&kind, parts, count, dim, seed);
        let found = kmeans_best_of(&points, dim, k, case.random_state, case.runs).unwrap();
        assert_eq!(canonical(&found.labels), canonical(&case.labels), "{name}");
        // Not only the same clusters: the same numbers for them.
        assert_eq!(found.labels, case.labels, "{name}");
        assert!((found.inertia - case.inertia).abs() <= 1e-4 * case.inertia + 1e-6, "{name}");
        for (centre, expected) in found.centres.chunks_exact(dim).zip(&case.centres) {
            for (value, expected) in centre.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-5, "{name}: {value} {expected}");
            }
        }
    }
}

#[test]
fn draws_numpys_numbers() {
    // numpy.random.RandomState(0).random_sample(3), and of RandomState([1, 2]).
    let mut random = Random::new(0);
    let draws = [random.uniform(), random.uniform(), random.uniform()];
    assert_eq!(draws, [0.5488135039273248, 0.7151893663724195, 0.6027633760716439]);
    let mut random = Random::new(1 + (2 << 32));
    assert_eq!(random.uniform(), 0.5845141492495678);
}

#[test]
fn refuses_what_cannot_be_clustered() {
    let few = KMeansError::TooFewPoints { points: 2, k: 3 };
    assert_eq!(kmeans(&[0.0; 8], 4, 3, 0), Err(few));
    assert_eq!(kmeans(&[], 4, 1, 0), Err(KMeansError::TooFewPoints { points: 0, k: 1 }));
    for (len, dim, k) in [(8, 3, 1), (8, 0, 1), (8, 4, 0)] {
        let shape = KMeansError::Shape { len, dim, k };
        assert_eq!(kmeans(&[0.0; 8][..len], dim, k, 0), Err(shape));
    }
}

#[test]
fn ends_on_equal_and_on_useless_points() {
    let equal = kmeans(&[0.5; 12], 2, 3, 0).unwrap();
    assert_eq!((equal.inertia, equal.centres), (0.0, vec![0.5; 6]));
    let useless = kmeans(&[f32::NAN; 12], 2, 3, 0).unwrap();
    assert_eq!(useless.labels.len(), 6);
}

#[test]
fn gives_an_empty_cluster_the_farthest_point() {
    let data = Data::new(&[0.0, 1.0, 2.0, 30.0], 1);
    let far = 100.0;
    let means = data.means(&[0, 0, 0, 0], &[data.points[0], far], 2);
    assert_eq!(means, vec![1.0 - data.mean[0], 30.0 - data.mean[0]]);
    let found = data.lloyd(vec![data.points[0], far], 2);
    assert_eq!(found.labels, [0, 0, 0, 1]);
}
