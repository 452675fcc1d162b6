//! Products of panels against sums that are taken one by one.

use std::ops::Range;

use proptest::prelude::*;

use super::panels::{Finish, Panels, Target};
use super::product::Matrix;
use crate::properties::cases;

/// Columns of a panel.
const WIDTH: usize = 32;

#[derive(Debug)]
struct Case {
    sizes: [usize; 3],
    left: Vec<f32>,
    right: Vec<f32>,
    added: Vec<f32>,
    there: Vec<f32>,
    /// Whether the left side lies column by column.
    across: bool,
    /// Some of the inputs and of the columns, the latter from a panel's first on.
    inputs: Range<usize>,
    columns: Range<usize>,
}

fn products() -> impl Strategy<Value = Case> {
    let sizes = (1usize..=30, 1usize..=70, 1usize..=130);
    sizes.prop_flat_map(|(rows, inner, out)| {
        let values = |count| prop::collection::vec(-2.0f32..2.0, count);
        let matrices = (values(rows * inner), values(inner * out), values(out), values(rows * out));
        let inputs = (0..inner).prop_flat_map(move |from| (Just(from), from + 1..=inner));
        let columns = (0..out.div_ceil(WIDTH))
            .prop_flat_map(move |panel| (Just(panel * WIDTH), panel * WIDTH + 1..=out));
        (matrices, any::<bool>(), inputs, columns).prop_map(
            move |((left, right, added, there), across, inputs, columns)| Case {
                sizes: [rows, inner, out],
                left,
                right,
                added,
                there,
                across,
                inputs: inputs.0..inputs.1,
                columns: columns.0..columns.1,
            },
        )
    })
}

impl Case {
    /// The added row and the product, one value at a time.
    fn naive(&self, inputs: Range<usize>, row: usize, column: usize) -> f64 {
        let [rows, inner, out] = self.sizes;
        let product = |input: usize| {
            let left = if self.across { input * rows + row } else { row * inner + input };
            f64::from(self.left[left]) * f64::from(self.right[input * out + column])
        };
        let added = if inputs.start == 0 { f64::from(self.added[column]) } else { 0.0 };
        added + inputs.map(product).sum::<f64>()
    }

    fn left(&self) -> Matrix<'_> {
        let [rows, inner, _] = self.sizes;
        match self.across {
            true => Matrix::of_rows(&self.left, rows).transposed(),
            false => Matrix::of_rows(&self.left, inner),
        }
    }
}

/// GELU as it is defined, by the error function's integral.
fn gelu(x: f64) -> f64 {
    let (steps, end) = (400, x / std::f64::consts::SQRT_2);
    let step = end / f64::from(steps);
    // Simpson's rule.
    let at = |k: i32| (-(f64::from(k) * step).powi(2)).exp();
    let inner: f64 = (1..steps).map(|k| at(k) * if k % 2 == 1 { 4.0 } else { 2.0 }).sum();
    let erf = 2.0 / std::f64::consts::PI.sqrt() * step / 3.0 * (at(0) + inner + at(steps));
    0.5 * x * (1.0 + erf)
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn panels_give_the_naive_products(case in products()) {
        let [rows, inner, out] = case.sizes;
        let panels = Panels::new(Matrix::of_rows(&case.right, out), [inner, out], &case.added);
        prop_assert_eq!((panels.inputs(), panels.out()), (inner, out));
        for finish in [Finish::Store, Finish::Gelu, Finish::Add, Finish::AddGelu] {
            let mut values = case.there.clone();
            panels.product(case.left(), rows, Target { values: &mut values, step: out, finish });
            for (at, (found, there)) in values.iter().zip(&case.there).enumerate() {
                let sum = case.naive(0..inner, at / out, at % out);
                let expected = match finish {
                    Finish::Store => sum,
                    Finish::Gelu => gelu(sum),
                    Finish::Add => sum + f64::from(*there),
                    Finish::AddGelu => gelu(sum + f64::from(*there)),
                };
                let apart = (f64::from(*found) - expected).abs();
                prop_assert!(apart < 1e-4, "{finish:?} at {at}: {found}, not {expected}");
            }
        }
        for (at, found) in panels.product_by_columns(case.left(), rows).iter().enumerate() {
            let expected = case.naive(0..inner, at / out, at % out);
            prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "by columns, at {at}");
        }
        // A part of it, which leaves alone what lies beside it.
        let (inputs, columns) = (case.inputs.clone(), case.columns.clone());
        let left = case.left();
        let skipped = Matrix { values: &left.values[inputs.start * left.column_step..], ..left };
        let step = columns.len() + 3;
        let mut values = vec![7.0; rows * step];
        let to = Target { values: &mut values, step, finish: Finish::Store };
        panels.part(inputs.clone(), columns.clone(), skipped, rows, to);
        for (at, found) in values.iter().enumerate() {
            let (row, column) = (at / step, at % step);
            let expected = match column < columns.len() {
                true => case.naive(inputs.clone(), row, columns.start + column),
                false => 7.0,
            };
            prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "a part, at {row} {column}");
        }
    }
}
