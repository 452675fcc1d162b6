//! k-means clustering that agrees with scikit-learn's, draw for draw.
//!
//! The published method takes its parts from `KMeans(n_clusters=k, init="k-means++",
//! random_state=0)`. This follows the same behaviour: the random numbers of NumPy's legacy
//! generator, greedy k-means++ with `2 + ln k` trials a centre, Lloyd's iterations on centred data
//! with the same stopping rules, and the relocation of empty clusters. Sums are taken in `f64`
//! where scikit-learn has `f32`; that can only tell apart points that are equally far from two
//! centres to within `f32` rounding.
//!
//! This holds for scikit-learn from 1.4 on, and for 1.3 with `n_init=1`: before 1.4 the best of ten runs
//! was the default, and before 1.3 the first centre was drawn otherwise
//! (`findings/scikit_learn_kmeans_seed.sh`).

use rand_mt::Mt;
use thiserror::Error;

use crate::simd::vectorised;

#[cfg(test)]
mod tests;

/// Lloyd iterations at most.
const MAX_ITERATIONS: usize = 300;
/// Centres that move by less than this, squared and relative to the mean variance of the
/// coordinates, have converged.
const TOLERANCE: f64 = 1e-4;

/// Clusters of a set of points.
#[derive(Clone, Debug, PartialEq)]
pub struct KMeans {
    /// Means of the clusters: k vectors of `dim` numbers, one after the other.
    pub centres: Vec<f32>,
    /// The cluster of every point.
    pub labels: Vec<u32>,
    /// Sum of the squared distances of all points to the centres of their clusters.
    pub inertia: f64,
}

/// Why points could not be clustered.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KMeansError {
    /// `k` or `dim` is 0, or the numbers do not make whole vectors.
    #[error("{len} numbers cannot be put into {k} clusters as vectors of {dim}")]
    Shape {
        /// Numbers given.
        len: usize,
        /// Numbers a vector.
        dim: usize,
        /// Clusters asked for.
        k: usize,
    },
    /// There are fewer points than clusters.
    #[error("{points} points cannot be put into {k} clusters")]
    TooFewPoints {
        /// Points given.
        points: usize,
        /// Clusters asked for.
        k: usize,
    },
}

/// Puts `points` (vectors of `dim` numbers one after the other) into `k` clusters. Agrees with
/// scikit-learn's `KMeans(n_clusters=k, random_state=seed)`, of which one run is the default from 1.4 on.
pub fn kmeans(points: &[f32], dim: usize, k: usize, seed: u64) -> Result<KMeans, KMeansError> {
    kmeans_best_of(points, dim, k, seed, 1)
}

/// The best (in inertia) of several runs of [`kmeans`], one after the other on the same random
/// sequence: scikit-learn's `n_init=runs`.
pub fn kmeans_best_of(
    points: &[f32],
    dim: usize,
    k: usize,
    seed: u64,
    runs: usize,
) -> Result<KMeans, KMeansError> {
    if dim == 0 || k == 0 || !points.len().is_multiple_of(dim) {
        return Err(KMeansError::Shape { len: points.len(), dim, k });
    }
    if points.len() / dim < k {
        return Err(KMeansError::TooFewPoints { points: points.len() / dim, k });
    }
    let mut random = Random::new(seed);
    let data = Data::new(points, dim);
    let mut best = data.lloyd(data.first_centres(k, &mut random), k);
    for _ in 1..runs {
        let other = data.lloyd(data.first_centres(k, &mut random), k);
        // Between runs that found the same clusters inertia differs by rounding at most.
        if other.inertia < best.inertia && !same_clusters(&other.labels, &best.labels, k) {
            best = other;
        }
    }
    for centre in best.centres.chunks_exact_mut(dim) {
        for (value, &mean) in centre.iter_mut().zip(&data.mean) {
            *value += mean;
        }
    }
    Ok(best)
}

/// The draws of NumPy's `RandomState`.
struct Random(Mt);

impl Random {
    fn new(seed: u64) -> Self {
        Self(match u32::try_from(seed) {
            Ok(seed) => Mt::new(seed),
            // NumPy takes no larger seeds as a number, but it does as a list of words.
            Err(_) => Mt::new_with_key([seed as u32, (seed >> 32) as u32]),
        })
    }

    /// `random_sample`: uniform in [0, 1), 53 bits of two words.
    fn uniform(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `choice(n, p)` with equal probabilities.
    fn choose(&mut self, n: usize) -> usize {
        let mut cumulative = Vec::with_capacity(n);
        let mut sum = 0.0f64;
        // The probabilities are `f32` numbers, summed up in `f64`.
        let each = f64::from(1.0 / n as f32);
        for _ in 0..n {
            sum += each;
            cumulative.push(sum);
        }
        let draw = self.uniform();
        cumulative.partition_point(|&c| c / sum <= draw).min(n - 1)
    }
}

/// Points with their mean taken off.
struct Data {
    points: Vec<f32>,
    dim: usize,
    mean: Vec<f32>,
    /// Squared shift of all centres together at which iterations end.
    tolerance: f64,
}

impl Data {
    fn new(points: &[f32], dim: usize) -> Self {
        let count = (points.len() / dim) as f64;
        let column_means = |value: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let mut sums = vec![0.0f64; dim];
            for point in points.chunks_exact(dim) {
                for (j, (sum, &x)) in sums.iter_mut().zip(point).enumerate() {
                    *sum += value(j, f64::from(x));
                }
            }
            sums.iter().map(|sum| sum / count).collect()
        };
        let mean = column_means(&|_, x| x);
        let variance = column_means(&|j, x| (x - mean[j]).powi(2));
        let tolerance = TOLERANCE * variance.iter().sum::<f64>() / dim as f64;
        let mean: Vec<f32> = mean.iter().map(|&m| m as f32).collect();
        let points = points
            .chunks_exact(dim)
            .flat_map(|point| point.iter().zip(&mean).map(|(x, m)| x - m))
            .collect();
        Self { points, dim, mean, tolerance }
    }

    fn count(&self) -> usize {
        self.points.len() / self.dim
    }

    fn point(&self, i: usize) -> &[f32] {
        &self.points[i * self.dim..][..self.dim]
    }

    /// Squared distances of all points to one of them.
    fn distances_to(&self, i: usize) -> Vec<f32> {
        let centre = self.point(i);
        vectorised(
            #[inline(always)]
            || {
                let points = self.points.chunks_exact(self.dim);
                points.map(|point| squared_distance(point, centre) as f32).collect()
            },
        )
    }

    /// Greedy k-means++: each further centre is the best of a few points drawn with a probability
    /// proportional to the squared distance from the nearest centre so far.
    fn first_centres(&self, k: usize, random: &mut Random) -> Vec<f32> {
        let trials = 2 + (k as f64).ln() as usize;
        let total = |distances: &[f32]| distances.iter().map(|&d| f64::from(d)).sum::<f64>() as f32;
        let first = random.choose(self.count());
        let mut centres = self.point(first).to_vec();
        let mut closest = self.distances_to(first);
        let mut potential = total(&closest);
        for _ in 1..k {
            let mut sum = 0.0f32;
            let cumulative: Vec<f32> = closest
                .iter()
                .map(|&d| {
                    sum += d;
                    sum
                })
                .collect();
            let draws: Vec<f64> =
                (0..trials).map(|_| random.uniform() * f64::from(potential)).collect();
            let mut best: Option<(f32, usize, Vec<f32>)> = None;
            for draw in draws {
                let candidate = cumulative.partition_point(|&c| f64::from(c) < draw);
                let candidate = candidate.min(self.count() - 1);
                let mut distances = self.distances_to(candidate);
                for (distance, &old) in distances.iter_mut().zip(&closest) {
                    *distance = distance.min(old);
                }
                let potential = total(&distances);
                if best.as_ref().is_none_or(|(least, ..)| potential < *least) {
                    best = Some((potential, candidate, distances));
                }
            }
            if let Some((least, candidate, distances)) = best {
                centres.extend_from_slice(self.point(candidate));
                (potential, closest) = (least, distances);
            }
        }
        centres
    }

    /// Lloyd's iterations from the given centres.
    fn lloyd(&self, mut centres: Vec<f32>, k: usize) -> KMeans {
        let mut labels = vec![u32::MAX; self.count()];
        let mut settled = false;
        for _ in 0..MAX_ITERATIONS {
            let new_labels = self.assign(&centres);
            let new_centres = self.means(&new_labels, &centres, k);
            settled = new_labels == labels;
            let shift = squared_distance(&centres, &new_centres);
            (labels, centres) = (new_labels, new_centres);
            if settled || shift <= self.tolerance {
                break;
            }
        }
        if !settled {
            labels = self.assign(&centres);
        }
        let inertia = self.distances(&labels, &centres).iter().sum();
        KMeans { centres, labels, inertia }
    }

    /// The nearest centre of every point, the first of them if there are several.
    fn assign(&self, centres: &[f32]) -> Vec<u32> {
        vectorised(
            #[inline(always)]
            || {
                let norms: Vec<f32> =
                    centres.chunks_exact(self.dim).map(|c| product(c, c)).collect();
                let nearest = |point: &[f32]| {
                    let (mut label, mut least) = (0, f32::INFINITY);
                    for (j, centre) in centres.chunks_exact(self.dim).enumerate() {
                        let distance = norms[j] - 2.0 * product(point, centre);
                        if distance < least {
                            (label, least) = (j as u32, distance);
                        }
                    }
                    label
                };
                self.points.chunks_exact(self.dim).map(nearest).collect()
            },
        )
    }

    /// Squared distances of all points to the centres of their clusters.
    fn distances(&self, labels: &[u32], centres: &[f32]) -> Vec<f64> {
        let points = self.points.chunks_exact(self.dim).zip(labels);
        points
            .map(|(point, &label)| {
                squared_distance(point, &centres[label as usize * self.dim..][..self.dim])
            })
            .collect()
    }

    /// Means of the clusters. A cluster that has lost all its points is given the one that is
    /// farthest from its (old) centre, several of them the farthest ones in turn.
    fn means(&self, labels: &[u32], old: &[f32], k: usize) -> Vec<f32> {
        let dim = self.dim;
        let mut sums = vec![0.0f64; k * dim];
        let mut counts = vec![0.0f64; k];
        for (point, &label) in self.points.chunks_exact(dim).zip(labels) {
            counts[label as usize] += 1.0;
            for (sum, &x) in sums[label as usize * dim..][..dim].iter_mut().zip(point) {
                *sum += f64::from(x);
            }
        }
        let empty: Vec<usize> = (0..k).filter(|&j| counts[j] == 0.0).collect();
        if !empty.is_empty() {
            let distances = self.distances(labels, old);
            let mut far: Vec<usize> = (0..self.count()).collect();
            far.sort_by(|&i, &j| distances[j].total_cmp(&distances[i]));
            // With fewer distinct points than clusters there is nothing to be gained.
            let useful = far.first().is_some_and(|&i| distances[i] > 0.0);
            for (&cluster, &i) in empty.iter().zip(&far).filter(|_| useful) {
                let owner = labels[i] as usize;
                for (j, &x) in self.point(i).iter().enumerate() {
                    sums[owner * dim + j] -= f64::from(x);
                    sums[cluster * dim + j] = f64::from(x);
                }
                counts[owner] -= 1.0;
                counts[cluster] = 1.0;
            }
        }
        // A cluster that is still empty is put where the largest is.
        let largest = (0..k).fold(0, |best, j| if counts[j] > counts[best] { j } else { best });
        (0..k)
            .flat_map(|j| {
                let from = if counts[j] > 0.0 { j } else { largest };
                let count = counts[from];
                sums[from * dim..][..dim].iter().map(move |sum| (sum / count) as f32)
            })
            .collect()
    }
}

/// Whether two labellings differ only in how clusters are numbered.
fn same_clusters(a: &[u32], b: &[u32], k: usize) -> bool {
    let mut names = vec![None; k];
    a.iter().zip(b).all(|(&a, &b)| *names[a as usize].get_or_insert(b) == b)
}

/// Scalar product.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 32];
    let (xs, ys) = (a.chunks_exact(32), b.chunks_exact(32));
    let rest: f32 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for i in 0..32 {
            lanes[i] += x[i] * y[i];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Squared Euclidean distance, in `f64`.
#[inline(always)]
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (xs, ys) = (a.chunks_exact(16), b.chunks_exact(16));
    let square = |x: f32, y: f32| {
        let difference = f64::from(x) - f64::from(y);
        difference * difference
    };
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(&x, &y)| square(x, y)).sum();
    for (x, y) in xs.zip(ys) {
        for i in 0..16 {
            lanes[i] += square(x[i], y[i]);
        }
    }
    lanes.iter().sum::<f64>() + rest
}
