//! Network simplex on the dense bipartite transport problem.
//!
//! Rows supply, columns demand, and a basis is a spanning tree over rows, columns and one extra
//! root. Costs are whole numbers (see [`super::cost`]), so a reduced cost is negative or it is
//! not: no tolerance is needed, and optimality can be certified exactly.
//!
//! The tree is kept *strongly feasible* (every arc without flow points towards the root), which
//! makes cycling impossible however degenerate the problem is (Cunningham 1976).

mod tree;

use rayon::prelude::*;

use super::cost::{CostRows, column_min};
use super::shortlist::{Arc, ROWS_A_TASK, list_cheapest};

/// Potentials are kept below twice this in size between pivots; what is added up in a pivot then
/// fits an `i32`.
const POTENTIAL_LIMIT: i64 = 1 << 27;

/// Arcs of the shortlist that are priced before the best among them enters.
const BLOCK: usize = 128;
/// Arcs of a row that come on the shortlist at once.
const MOST_ADDED: usize = 32;

/// A positive flow from a row to a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shipment {
    pub row: u32,
    pub column: u32,
    pub units: u32,
}

/// How [`Simplex::solve`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No arc has a negative reduced cost.
    Optimal,
    /// The dual objective reached the limit, so the optimum is not below it.
    NotBelow,
    /// Potentials outgrew their type. It takes a path of hundreds of arcs that go by turns the
    /// largest distance and none; coarser costs then give a way out.
    Overflow,
}

/// A basis of the transport problem, and the working state of the simplex.
///
/// Nodes are numbered rows first, then columns, then the root. `next` chains all nodes in
/// depth-first order, so that a subtree is the stretch from its top node to its `last` one.
pub(super) struct Simplex<'a> {
    costs: CostRows<'a>,
    rows: usize,
    columns: usize,
    /// Dual values, those of columns negated: `cost(i, j) = potential(i) - potential(j)` on the
    /// arcs of the tree, and shifting a whole subtree adds the same to each of its nodes.
    potential: Vec<i32>,
    parent: Vec<u32>,
    next: Vec<u32>,
    previous: Vec<u32>,
    last: Vec<u32>,
    /// Nodes in the subtree of a node, itself included.
    size: Vec<u32>,
    /// Units on the arc between a node and its parent.
    flow: Vec<u32>,
    /// By how much potentials can have moved since they were last looked at.
    drift: i64,
    /// Basis changes made so far.
    pub pivots: usize,
}

impl<'a> Simplex<'a> {
    /// A basis from feasible shipments whose arcs form a forest. `row_duals` (one a row) place the
    /// pieces of the forest relative to each other: where the forest has several pieces, each is
    /// tied to the root at one of its rows, whose potential is its dual. Nothing on overflow.
    pub fn new(costs: CostRows<'a>, shipments: &[Shipment], row_duals: &[i32]) -> Option<Self> {
        let (rows, columns) = (costs.rows(), costs.columns());
        let nodes = rows + columns + 1;
        let mut simplex = Self {
            costs,
            rows,
            columns,
            potential: vec![0; nodes],
            parent: vec![nodes as u32; nodes],
            next: vec![0; nodes],
            previous: vec![0; nodes],
            last: (0..nodes as u32).collect(),
            size: vec![1; nodes],
            flow: vec![0; nodes],
            drift: 0,
            pivots: 0,
        };
        (simplex.grow(shipments, row_duals) && simplex.settle()).then_some(simplex)
    }

    /// Column prices: the duals of the columns, negated.
    pub fn prices(&self) -> &[i32] {
        &self.potential[self.rows..self.rows + self.columns]
    }

    /// Pivots until no arc has a negative reduced cost, or until the dual objective shows that the
    /// optimum, in units of cost a unit of flow, is above `limit`.
    ///
    /// Only arcs on the shortlist are priced until none of them is negative. Then all arcs are, at
    /// once, and those of rows that still have a negative one come on the list: a single one where
    /// that is so for many rows, for few rows a lot of the cheapest, as all those would be missed one
    /// after the other.
    pub fn solve(&mut self, shortlist: &mut Vec<Arc>, limit: impl Fn() -> f64) -> Outcome {
        loop {
            if !self.solve_shortlist(shortlist) {
                return Outcome::Overflow;
            }
            let least = row_minima(self.costs, self.prices());
            if dual_bound(&least, self.prices()) > limit() {
                return Outcome::NotBelow;
            }
            let negative: Vec<usize> =
                (0..self.rows).filter(|&row| least[row].0 < self.potential[row]).collect();
            if negative.is_empty() {
                return if self.settle() { Outcome::Optimal } else { Outcome::Overflow };
            }
            let each = (self.rows / negative.len()).min(MOST_ADDED);
            for row in negative {
                if each > 1 {
                    list_cheapest(self.costs, self.prices(), row, each, shortlist);
                } else {
                    shortlist.push(Arc::new(self.costs, row, least[row].1 as usize));
                }
            }
        }
    }

    /// Pivots until no arc on the shortlist has a negative reduced cost; false on overflow.
    fn solve_shortlist(&mut self, shortlist: &[Arc]) -> bool {
        let (mut from, mut clean) = (0, 0);
        while clean < shortlist.len() {
            let block = &shortlist[from..(from + BLOCK).min(shortlist.len())];
            let (prices, duals) = (self.prices(), self.row_duals());
            let (mut least, mut entering) = (0, None);
            for arc in block {
                let reduced = arc.cost + prices[arc.column as usize] - duals[arc.row as usize];
                if reduced < least {
                    (least, entering) = (reduced, Some(*arc));
                }
            }
            from += block.len();
            if from == shortlist.len() {
                from = 0;
            }
            let Some(arc) = entering else {
                clean += block.len();
                continue;
            };
            if !self.pivot(arc.row as usize, self.rows + arc.column as usize, least) {
                return false;
            }
            clean = 0;
        }
        true
    }

    /// Brings the arc between the nodes `row` and `column` into the basis; false on overflow.
    fn pivot(&mut self, row: usize, column: usize, reduced: i32) -> bool {
        self.pivots += 1;
        // Climb from both ends to where the cycle closes, the smaller subtree first. Flow goes
        // down on the row side and up on the column side; the arcs it runs against shrink. Of the
        // arcs that reach zero first, the last along the cycle leaves: this keeps strong
        // feasibility. (From the row upwards that is the first found, from the column the last.)
        let (mut x, mut y) = (row, column);
        let (mut delta_x, mut leave_x) = (u32::MAX, row);
        let (mut delta_y, mut leave_y) = (u32::MAX, column);
        while x != y {
            if self.size[x] < self.size[y] {
                if x < self.rows && self.flow[x] < delta_x {
                    (delta_x, leave_x) = (self.flow[x], x);
                }
                x = self.parent[x] as usize;
            } else {
                if y >= self.rows && self.flow[y] <= delta_y {
                    (delta_y, leave_y) = (self.flow[y], y);
                }
                y = self.parent[y] as usize;
            }
        }
        let join = x;
        let delta = delta_x.min(delta_y);
        if delta > 0 {
            let mut x = row;
            while x != join {
                let flow = self.flow[x];
                self.flow[x] = if x < self.rows { flow - delta } else { flow + delta };
                x = self.parent[x] as usize;
            }
            let mut y = column;
            while y != join {
                let flow = self.flow[y];
                self.flow[y] = if y >= self.rows { flow - delta } else { flow + delta };
                y = self.parent[y] as usize;
            }
        }
        // The subtree below the leaving arc moves over to the other end of the entering one.
        let (top, inner, outer, by) = if delta_y <= delta_x {
            (leave_y, column, row, -reduced)
        } else {
            (leave_x, row, column, reduced)
        };
        self.rehang(top, inner, outer, join, delta);
        // Only potentials relative to each other matter, so the smaller side is shifted.
        let moved = self.size[inner] as usize;
        let nodes = self.next.len();
        if 2 * moved <= nodes {
            self.shift(inner, self.last[inner] as usize, moved, by);
        } else {
            let after = self.next[self.last[inner] as usize] as usize;
            self.shift(after, self.previous[inner] as usize, nodes - moved, -by);
        }
        self.drift += i64::from(by.abs());
        self.drift < 2 * POTENTIAL_LIMIT || self.settle()
    }

    /// Row duals, in units of cost: at the end no cost is below the dual of its row less the price
    /// of its column, and it is equal wherever something is shipped.
    pub fn row_duals(&self) -> &[i32] {
        &self.potential[..self.rows]
    }

    /// The positive flows of the basis.
    pub fn shipments(&self) -> Vec<Shipment> {
        (0..self.rows + self.columns)
            .filter(|&node| self.flow[node] > 0)
            .map(|node| {
                let parent = self.parent[node];
                let (row, column) =
                    if node < self.rows { (node as u32, parent) } else { (parent, node as u32) };
                Shipment { row, column: column - self.rows as u32, units: self.flow[node] }
            })
            .collect()
    }
}

/// For every row its least cost under the given column prices, and the first column that has it.
pub(super) fn row_minima(costs: CostRows<'_>, prices: &[i32]) -> Vec<(i32, u32)> {
    let rows = (0..costs.rows()).into_par_iter().with_min_len(ROWS_A_TASK);
    rows.map(|row| column_min(costs.row(row), prices)).map(|(c, at)| (c, at as u32)).collect()
}

/// The dual objective of column prices, each row taking the largest dual that leaves no arc
/// negative: a lower bound of the optimum, in units of cost a unit of flow.
pub(super) fn dual_bound(least: &[(i32, u32)], prices: &[i32]) -> f64 {
    let rows: i64 = least.iter().map(|&(dual, _)| i64::from(dual)).sum();
    let columns: i64 = prices.iter().map(|&p| i64::from(p)).sum();
    rows as f64 / least.len() as f64 - columns as f64 / prices.len() as f64
}
