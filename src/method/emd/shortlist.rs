//! The arcs that are most likely to carry flow.

use super::cost::CostRows;

/// For every row some of its cheapest columns.
pub(super) struct Shortlist {
    start: Vec<u32>,
    columns: Vec<u32>,
}

impl Shortlist {
    /// About `length` columns a row, the cheapest under `prices` (which are added to the costs).
    pub fn new(costs: CostRows<'_>, prices: &[i32], length: usize) -> Self {
        let mut start = vec![0];
        let mut columns = Vec::with_capacity(costs.rows() * length * 2);
        let step = (costs.columns() / 256).max(1);
        let mut sample = Vec::new();
        for i in 0..costs.rows() {
            let row = costs.row(i);
            sample.clear();
            sample.extend(row.iter().zip(prices).step_by(step).map(|(&c, &p)| c + p));
            let rank = (length * sample.len() / costs.columns().max(1)).min(sample.len() - 1);
            let (_, &mut limit, _) = sample.select_nth_unstable(rank);
            let from = columns.len();
            columns.resize(from + row.len(), 0);
            let mut end = from;
            for (j, (&c, &p)) in row.iter().zip(prices).enumerate() {
                columns[end] = j as u32;
                end += usize::from(c + p <= limit);
            }
            columns.truncate(end);
            start.push(end as u32);
        }
        Self { start, columns }
    }

    /// The columns listed for a row.
    #[inline]
    pub fn row(&self, i: usize) -> &[u32] {
        &self.columns[self.start[i] as usize..self.start[i + 1] as usize]
    }
}
