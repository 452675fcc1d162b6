//! Masks whose values or colours number several objects.

use std::collections::HashMap;

/// One of the values of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The grey level, the number, or the colour as 0xRRGGBB.
    pub value: u32,
    /// How many pixels have it.
    pub pixels: usize,
}

/// How different values lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// Numbers: from background to object their levels rise.
    Levels,
    /// Colours as 0xRRGGBB.
    Colors,
}

/// Most different values that are counted; a mask of more is none of labels.
const MOST_VALUES: usize = 1 << 16;
/// Up to so many values each counts by itself; more may be noise or soft edges, too.
const FEW: usize = 16;
/// Of the pixels of a value, how many must lie in squares of that value alone.
const FLAT: f64 = 0.3;
/// Of all pixels, and of those between the two main values, how many must be flat in labels.
const MOSTLY: f64 = 0.6;
/// Of the steps between neighbours, how many go far in a map of many labels; in soft masks none do.
const FAR: f64 = 0.3;
/// Noise of a value reaches so far, of 256 steps over the whole range.
const NOISE: u32 = 16;
/// More flat colours than these are a photograph.
const MOST_NOISY: usize = 512;
/// Fewest pixels of a line that is a value by itself.
const LEAST_LINE: usize = 16;
/// Smallest area of a value with noise.
const LEAST_AREA: usize = 64;

/// The values of a mask if there are more than two flat ones: regions in which all pixels are equal.
/// Those number objects (or parts, or "ignore"), and a threshold would join some of them and lose
/// others. Soft edges, compression noise and smooth maps are no labels, whatever number of values they
/// have. `value` tells the value of each of `count` pixels, row by row of `width`. The values come in
/// their order, all of them, the background among them.
pub fn find_labels(
    count: usize,
    width: usize,
    kind: LabelKind,
    value: impl Fn(usize) -> u32,
) -> Option<Vec<Label>> {
    let survey = Survey::of(count, width, &value)?;
    survey.are_labels(kind).then(|| {
        let labels = survey.values.iter().zip(&survey.counts);
        labels.map(|(value, count)| Label { value: *value, pixels: count.all }).collect()
    })
}

/// The values and their pixels in words, the largest first, but in their own order if they are few.
pub fn describe_labels(labels: &[Label], name: impl Fn(u32) -> String) -> String {
    const SHOWN: usize = 12;
    let mut shown = labels.to_vec();
    if shown.len() > SHOWN {
        shown.sort_by_key(|label| std::cmp::Reverse(label.pixels));
    }
    let words: Vec<String> = shown
        .iter()
        .take(SHOWN)
        .map(|label| format!("{} ({} pixels)", name(label.value), label.pixels))
        .collect();
    match labels.len().saturating_sub(SHOWN) {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    all: usize,
    /// Those in squares of 2 x 2 pixels of one value.
    flat: usize,
}

impl Count {
    fn is_flat(self) -> bool {
        self.flat as f64 >= FLAT * self.all as f64 && self.flat > 0
    }
}

/// What the pixels of a mask are.
struct Survey {
    /// In ascending order.
    values: Vec<u32>,
    counts: Vec<Count>,
    /// Steps to the right-hand neighbour that lead to another value, and those of them that lead far
    /// in the order of values.
    steps: usize,
    far: usize,
}

impl Survey {
    /// `None` if there are too many values.
    fn of(count: usize, width: usize, value: &impl Fn(usize) -> u32) -> Option<Self> {
        let mut places: HashMap<u32, u32> = HashMap::new();
        let mut last = None;
        for at in 0..count {
            let here = value(at);
            if last != Some(here) {
                let next = places.len() as u32;
                places.entry(here).or_insert(next);
                if places.len() > MOST_VALUES {
                    return None;
                }
                last = Some(here);
            }
        }
        let mut values: Vec<u32> = places.keys().copied().collect();
        values.sort_unstable();
        for (rank, value) in (0..).zip(&values) {
            places.insert(*value, rank);
        }
        let rank = |value: u32| places.get(&value).copied().unwrap_or(0) as usize;

        let mut flat = vec![false; count];
        let width = width.max(1);
        for at in 0..count.saturating_sub(width + 1) {
            let here = value(at);
            let square = [at, at + 1, at + width, at + width + 1];
            if (at + 1) % width != 0 && square[1..].iter().all(|other| value(*other) == here) {
                square.into_iter().for_each(|place| flat[place] = true);
            }
        }
        let mut counts = vec![Count::default(); values.len()];
        let distance = values.len() / 8;
        let (mut steps, mut far) = (0, 0);
        let (mut last, mut last_rank) = (None, 0);
        for (at, is_flat) in flat.into_iter().enumerate() {
            let here = value(at);
            let here_rank = if last == Some(here) { last_rank } else { rank(here) };
            if at % width != 0 && last != Some(here) {
                steps += 1;
                far += usize::from(here_rank.abs_diff(last_rank) > distance);
            }
            counts[here_rank].all += 1;
            counts[here_rank].flat += usize::from(is_flat);
            (last, last_rank) = (Some(here), here_rank);
        }
        Some(Self { values, counts, steps, far })
    }

    fn are_labels(&self, kind: LabelKind) -> bool {
        let flat: Vec<usize> =
            (0..self.values.len()).filter(|rank| self.counts[*rank].is_flat()).collect();
        let all: usize = self.counts.iter().map(|count| count.all).sum();
        let in_flat: usize = flat.iter().map(|rank| self.counts[*rank].flat).sum();
        if (in_flat as f64) < MOSTLY * all as f64 {
            return false;
        }
        let single = || flat.iter().map(|rank| vec![self.values[*rank]]).collect();
        let groups = match self.values.len() <= FEW {
            true => single(),
            false => {
                let groups = self.groups(&flat, kind, all);
                let is_noise = kind == LabelKind::Levels && self.are_two_noisy(&groups);
                if self.is_map_of_many() && !is_noise { single() } else { groups }
            }
        };
        match groups.len() {
            0 | 1 => false,
            2 => !self.is_cut_between(&groups, kind) || self.is_more_beside(&flat, kind),
            _ => true,
        }
    }

    /// Whether a few values hold one that lies neither between the flat ones nor near them: the border
    /// of an object, drawn as a line that has no flat part.
    fn is_more_beside(&self, flat: &[usize], kind: LabelKind) -> bool {
        let parts = |value: u32| match kind {
            LabelKind::Levels => [u64::from(value); 3],
            LabelKind::Colors => channels(value).map(u64::from),
        };
        let extremes = |values: &mut dyn Iterator<Item = u64>| {
            values.fold([u64::MAX, 0], |[low, high], v| [low.min(v), high.max(v)])
        };
        let [low, high] = extremes(&mut self.values.iter().flat_map(|value| parts(*value)));
        let noise = high.saturating_sub(low) * u64::from(NOISE) / 256;
        let between = [0, 1, 2]
            .map(|part| extremes(&mut flat.iter().map(|rank| parts(self.values[*rank])[part])));
        let is_beside = |value: u32| {
            let parts = parts(value).into_iter().zip(between);
            parts.into_iter().any(|(v, [low, high])| v + noise < low || v > high + noise)
        };
        let others = (0..self.values.len()).filter(|rank| !flat.contains(rank));
        let beside = others.filter(|rank| is_beside(self.values[*rank]));
        let pixels: usize = beside.map(|rank| self.counts[rank].all).sum();
        self.values.len() <= FEW && pixels >= LEAST_LINE
    }

    /// Whether many values are those of many objects: what lies between the two main values is flat,
    /// and neighbours are far from each other in the order of values.
    fn is_map_of_many(&self) -> bool {
        let mut counts = self.counts.clone();
        counts.sort_by_key(|count| std::cmp::Reverse(count.all));
        let between = counts.get(2..).unwrap_or_default();
        let (all, flat) = between.iter().fold((0, 0), |(a, f), c| (a + c.all, f + c.flat));
        flat as f64 >= MOSTLY * all as f64 && self.far as f64 >= FAR * self.steps as f64
    }

    /// Whether groups of levels are background and object with noise in flat blocks, as strong compression
    /// leaves it. Numbers of objects do not gather at two ends; 255 for "ignore" is alone at its own.
    fn are_two_noisy(&self, groups: &[Vec<u32>]) -> bool {
        let (Some(low), Some(high)) = (self.values.first(), self.values.last()) else {
            return false;
        };
        let noise = (u64::from(high - low) * u64::from(NOISE) / 256) as u32;
        let is_noisy = |group: &Vec<u32>| {
            let width = group.iter().max().zip(group.iter().min()).map(|(max, min)| max - min);
            group.len() > 2 && width.is_some_and(|width| width <= noise)
        };
        groups.len() == 2 && groups.iter().all(is_noisy)
    }

    /// Flat values that differ by no more than noise are one.
    fn groups(&self, flat: &[usize], kind: LabelKind, all: usize) -> Vec<Vec<u32>> {
        let range = match (kind, self.values.first(), self.values.last()) {
            (LabelKind::Levels, Some(low), Some(high)) => high - low,
            _ => 256,
        };
        let noise = (u64::from(range) * u64::from(NOISE) / 256) as u32;
        let near = |a: &u32, b: &u32| match kind {
            LabelKind::Levels => a.abs_diff(*b) <= noise,
            LabelKind::Colors => {
                channels(*a).iter().zip(channels(*b)).all(|(a, b)| a.abs_diff(b) <= noise)
            }
        };
        if kind == LabelKind::Colors && flat.len() > MOST_NOISY {
            return Vec::new();
        }
        let mut groups: Vec<(Vec<u32>, usize)> = Vec::new();
        for rank in flat {
            let (value, area) = (self.values[*rank], self.counts[*rank].flat);
            let touches = |group: &(Vec<u32>, usize)| match kind {
                // They come in their order.
                LabelKind::Levels => group.0.last().is_some_and(|last| near(last, &value)),
                LabelKind::Colors => group.0.iter().any(|other| near(other, &value)),
            };
            let mut joined = (vec![value], area);
            let mut place = groups.len();
            while let Some(before) = groups[..place].iter().rposition(touches) {
                let (mut values, area) = groups.remove(before);
                values.append(&mut joined.0);
                joined = (values, area + joined.1);
                place = before;
            }
            groups.push(joined);
        }
        let least = LEAST_AREA.max(all / 2000);
        groups.into_iter().filter(|(_, area)| *area >= least).map(|(values, _)| values).collect()
    }

    /// Whether a cut at the middle of all levels parts the two groups.
    fn is_cut_between(&self, groups: &[Vec<u32>], kind: LabelKind) -> bool {
        let level = |value: &u32| match kind {
            LabelKind::Levels => *value,
            LabelKind::Colors => channels(*value).into_iter().max().unwrap_or(0),
        };
        let low = self.values.iter().map(level).min().unwrap_or(0);
        let high = self.values.iter().map(level).max().unwrap_or(0);
        let above = |group: &Vec<u32>| group.iter().all(|v| level(v) - low > (high - low) / 2);
        let below = |group: &Vec<u32>| group.iter().all(|v| level(v) - low <= (high - low) / 2);
        match groups {
            [a, b] => above(a) && below(b) || below(a) && above(b),
            _ => false,
        }
    }
}

/// Red, green and blue of a colour.
fn channels(color: u32) -> [u32; 3] {
    [color >> 16 & 255, color >> 8 & 255, color & 255]
}
