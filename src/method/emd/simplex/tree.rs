//! The spanning tree of the simplex: how it is built, and how a part of it moves.

use super::super::cost::LARGEST;
use super::{POTENTIAL_LIMIT, Shipment, Simplex};

impl Simplex<'_> {
    /// Builds the tree depth first, a piece of the forest at a time; false on overflow.
    pub(super) fn grow(&mut self, shipments: &[Shipment], row_duals: &[i32]) -> bool {
        let root = self.rows + self.columns;
        let unseen = self.parent[root];
        // Neighbours of every node, as one flat list with offsets.
        let mut start = vec![0u32; root + 1];
        for s in shipments {
            start[s.row as usize + 1] += 1;
            start[self.rows + s.column as usize + 1] += 1;
        }
        for i in 1..start.len() {
            start[i] += start[i - 1];
        }
        let mut fill = start.clone();
        let mut arcs = vec![(0u32, 0u32); 2 * shipments.len()];
        for s in shipments {
            let column = self.rows as u32 + s.column;
            for (from, to) in [(s.row, column), (column, s.row)] {
                arcs[fill[from as usize] as usize] = (to, s.units);
                fill[from as usize] += 1;
            }
        }
        let mut order: Vec<u32> = vec![root as u32];
        let mut stack: Vec<u32> = Vec::new();
        for (piece, &dual) in row_duals.iter().enumerate() {
            if self.parent[piece] != unseen {
                continue;
            }
            // The arc to the root carries nothing and points to it, as strong feasibility asks;
            // nothing can ever flow over it, so what it costs does not matter.
            self.parent[piece] = root as u32;
            self.potential[piece] = dual;
            stack.push(piece as u32);
            while let Some(from) = stack.pop() {
                order.push(from);
                let from = from as usize;
                for &(to, units) in &arcs[start[from] as usize..start[from + 1] as usize] {
                    let node = to as usize;
                    if self.parent[node] != unseen {
                        continue;
                    }
                    self.parent[node] = from as u32;
                    self.flow[node] = units;
                    self.potential[node] = if node < self.rows {
                        self.potential[from] + self.costs.at(node, from - self.rows)
                    } else {
                        self.potential[from] - self.costs.at(from, node - self.rows)
                    };
                    if i64::from(self.potential[node].abs()) > POTENTIAL_LIMIT * 4 {
                        return false;
                    }
                    stack.push(to);
                }
            }
        }
        for pair in order.windows(2) {
            self.next[pair[0] as usize] = pair[1];
            self.previous[pair[1] as usize] = pair[0];
        }
        if let (Some(&first), Some(&end)) = (order.first(), order.last()) {
            self.next[end as usize] = first;
            self.previous[first as usize] = end;
        }
        // Children come after their parents: going backwards, a node's subtree is complete when
        // the node is reached, and the first child met is the one that holds the last node.
        for &node in order[1..].iter().rev() {
            let (node, parent) = (node as usize, self.parent[node as usize] as usize);
            self.size[parent] += self.size[node];
            if self.last[parent] as usize == parent {
                self.last[parent] = self.last[node];
            }
        }
        true
    }

    /// Adds `by` to the potentials of the `count` nodes that lie in depth-first order between `from`
    /// and `end`.
    pub(super) fn shift(&mut self, from: usize, end: usize, count: usize, by: i32) {
        // From both ends at once: each step waits for the one before it.
        let (mut first, mut last) = (from, end);
        for _ in 0..count / 2 {
            self.potential[first] += by;
            self.potential[last] += by;
            first = self.next[first] as usize;
            last = self.previous[last] as usize;
        }
        if count % 2 == 1 {
            self.potential[first] += by;
        }
    }

    /// Takes the common part off all potentials; false if they differ by too much even so.
    pub(super) fn settle(&mut self) -> bool {
        let middle = self.potential[0];
        let mut largest = 0;
        for potential in &mut self.potential {
            *potential -= middle;
            largest = largest.max(i64::from(potential.abs()));
        }
        self.drift = largest;
        largest + i64::from(LARGEST) < POTENTIAL_LIMIT
    }

    /// Takes the subtree at `top` off the tree, turns it so that `inner` is its root, and hangs it
    /// under `outer` by an arc with `flow`. `join` is where the paths from both ends meet.
    pub(super) fn rehang(
        &mut self,
        top: usize,
        inner: usize,
        outer: usize,
        join: usize,
        flow: u32,
    ) {
        let moved = self.size[top];
        let mut node = self.parent[top] as usize;
        while node != join {
            self.size[node] -= moved;
            node = self.parent[node] as usize;
        }
        let mut node = outer;
        while node != join {
            self.size[node] += moved;
            node = self.parent[node] as usize;
        }

        // Off the chain; subtrees that ended where this one did now end before it.
        let (before, end) = (self.previous[top], self.last[top]);
        self.chain(before, self.next[end as usize]);
        let mut node = self.parent[top] as usize;
        while self.last[node] == end {
            self.last[node] = before;
            if node == self.parent.len() - 1 {
                break;
            }
            node = self.parent[node] as usize;
        }

        // From `inner` to `top` every parent becomes a child. In the new order `inner` and what
        // was below it come first, then its old parent with what else was below that, and so on.
        let (mut node, mut above, mut arc, mut below) = (inner, outer, flow, 0);
        let mut tail = self.last[inner];
        let mut head_end = self.previous[inner];
        let mut rest = self.next[tail as usize];
        while node != top {
            let up = self.parent[node] as usize;
            let (old_flow, old_size) = (self.flow[node], self.size[node]);
            self.parent[node] = above as u32;
            self.flow[node] = arc;
            self.size[node] = moved - below;
            (above, arc, below) = (node, old_flow, old_size);
            // The parent's stretch is what comes before `node` and what comes after its subtree.
            let before_up = self.previous[up];
            let up_last = self.last[up];
            self.chain(tail, up as u32);
            tail = head_end;
            if up_last != self.last[node] {
                let after = self.next[up_last as usize];
                self.chain(tail, rest);
                (tail, rest) = (up_last, after);
            }
            head_end = before_up;
            node = up;
        }
        self.parent[top] = above as u32;
        self.flow[top] = arc;
        self.size[top] = moved - below;
        // Every node on that path now reaches to the end of the stretch.
        let mut node = top;
        loop {
            self.last[node] = tail;
            if node == inner {
                break;
            }
            node = self.parent[node] as usize;
        }

        // Back on the chain, right after `outer`.
        let after = self.next[outer];
        self.chain(outer as u32, inner as u32);
        self.chain(tail, after);
        let mut node = outer;
        while self.last[node] == outer as u32 {
            self.last[node] = tail;
            if node == self.parent.len() - 1 {
                break;
            }
            node = self.parent[node] as usize;
        }
    }

    fn chain(&mut self, node: u32, next: u32) {
        self.next[node as usize] = next;
        self.previous[next as usize] = node;
    }
}
