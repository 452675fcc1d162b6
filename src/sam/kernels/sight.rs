//! One head's attention on one core.

use super::exponentials;
use super::panels::{Finish, Panels, Target, product_with_rows};
use super::product::Matrix;

/// What queries look at.
pub struct Sight<'a> {
    /// `[width, tokens]`.
    pub keys: &'a Panels,
    pub values: SightValues<'a>,
}

/// The values of the tokens, `[tokens, width]`.
pub enum SightValues<'a> {
    Panels(&'a Panels),
    /// As they lie, rows a step after one another.
    Rows(&'a [f32], usize),
}

impl Sight<'_> {
    /// What so many queries, `[count, width]`, see. Their scores, rows of which begin `step` apart,
    /// begin as their biases; `seen` is `[count, width]`, rows `line` apart.
    pub fn see(
        &self,
        (queries, count): (Matrix, usize),
        (scores, step): (&mut [f32], usize),
        (seen, line): (&mut [f32], usize),
    ) {
        let (width, tokens) = (self.keys.inputs(), self.keys.out());
        let to = Target { values: &mut *scores, step, finish: Finish::Add };
        self.keys.product(queries, count, to);
        let sums = exponentials(scores, step, tokens);
        let left = Matrix::new(scores, step, 1);
        let to = Target { values: &mut *seen, step: line, finish: Finish::Store };
        match self.values {
            SightValues::Panels(values) => values.product(left, count, to),
            SightValues::Rows(values, step) => {
                product_with_rows(left, [count, tokens, width], values, step, to);
            }
        }
        for (row, sum) in seen.chunks_mut(line).zip(sums) {
            row[..width].iter_mut().for_each(|value| *value /= sum);
        }
    }
}
