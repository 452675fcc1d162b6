//! Network simplex on the dense bipartite transport problem.
//!
//! Rows supply, columns demand, and a basis is a spanning tree over rows, columns and one extra
//! root. Costs are whole numbers (see [`super::cost`]), so a reduced cost is negative or it is
//! not: no tolerance is needed, and optimality can be certified exactly.
//!
//! The tree is kept *strongly feasible* (every arc without flow points towards the root), which
//! makes cycling impossible however degenerate the problem is (Cunningham 1976).

mod tree;

use super::cost::{CostRows, column_min};
use super::shortlist::Shortlist;

/// Potentials are kept below twice this in size between pivots; what is added up in a pivot then
/// fits an `i32`.
const POTENTIAL_LIMIT: i64 = 1 << 27;

/// Rows of the shortlist that are priced before the best arc among them enters.
const SHORTLIST_ROWS: usize = 8;

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

    /// Reduced cost of an arc.
    #[inline]
    fn reduced(&self, row: usize, column: usize) -> i32 {
        self.costs.at(row, column) + self.potential[self.rows + column] - self.potential[row]
    }

    /// Column prices: the duals of the columns, negated.
    pub fn prices(&self) -> &[i32] {
        &self.potential[self.rows..self.rows + self.columns]
    }

    /// Pivots until no arc has a negative reduced cost, or until the dual objective shows that the
    /// optimum, in units of cost a unit of flow, is above `limit`.
    ///
    /// Arcs on the shortlist are priced first. That pays when the start is good, and most arcs
    /// that will ever enter are on it: pricing then costs a fraction of looking at whole rows.
    pub fn solve(&mut self, shortlist: Option<&Shortlist>, limit: Option<f64>) -> Outcome {
        let mut row = 0;
        loop {
            if shortlist.is_some_and(|shortlist| !self.solve_shortlist(shortlist)) {
                return Outcome::Overflow;
            }
            if limit.is_some_and(|limit| dual_bound(self.costs, self.prices()) > limit) {
                return Outcome::NotBelow;
            }
            // Whole rows, round robin: the most negative arc of each enters.
            let mut clean = 0;
            let mut visited = 0;
            let mut entered = 0;
            while clean < self.rows {
                if visited == self.rows && entered > self.rows / 8 {
                    // Many prices have changed: back to the shortlist.
                    break;
                }
                visited += 1;
                let (_, column) = column_min(self.costs.row(row), self.prices());
                let reduced = self.reduced(row, column);
                if reduced < 0 {
                    if !self.pivot(row, self.rows + column, reduced) {
                        return Outcome::Overflow;
                    }
                    clean = 0;
                    entered += 1;
                } else {
                    clean += 1;
                }
                row = if row + 1 == self.rows { 0 } else { row + 1 };
            }
            if clean >= self.rows {
                return if self.settle() { Outcome::Optimal } else { Outcome::Overflow };
            }
        }
    }

    /// Pivots until no arc on the shortlist has a negative reduced cost; false on overflow.
    fn solve_shortlist(&mut self, shortlist: &Shortlist) -> bool {
        let mut row = 0;
        let mut clean = 0;
        while clean < self.rows {
            let mut best = (0, 0, 0);
            for _ in 0..SHORTLIST_ROWS {
                let own = self.potential[row];
                let costs = self.costs.row(row);
                let prices = self.prices();
                for &column in shortlist.row(row) {
                    let column = column as usize;
                    let reduced = costs[column] + prices[column] - own;
                    if reduced < best.0 {
                        best = (reduced, row, column);
                    }
                }
                row = if row + 1 == self.rows { 0 } else { row + 1 };
            }
            if best.0 < 0 {
                if !self.pivot(best.1, self.rows + best.2, best.0) {
                    return false;
                }
                clean = 0;
            } else {
                clean += SHORTLIST_ROWS;
            }
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
            self.shift(inner, moved, by);
        } else {
            self.shift(self.next[self.last[inner] as usize] as usize, nodes - moved, -by);
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

/// The dual objective of column prices, each row taking the largest dual that leaves no arc
/// negative: a lower bound of the optimum, in units of cost a unit of flow.
pub(super) fn dual_bound(costs: CostRows<'_>, prices: &[i32]) -> f64 {
    let rows: i64 = (0..costs.rows()).map(|i| i64::from(column_min(costs.row(i), prices).0)).sum();
    let columns: i64 = prices.iter().map(|&p| i64::from(p)).sum();
    rows as f64 / costs.rows() as f64 - columns as f64 / costs.columns() as f64
}
