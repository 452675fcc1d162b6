//! Whether what a file holds can be weights at all: a damaged or untrained file that fits by its shapes
//! would give masks without a word.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{DType, TensorData};
use burn_store::{TensorSnapshot, TensorSnapshotError};

/// Weights beyond this are damaged. Published ones stay below 30 and the variances of their batch
/// normalisations below 3000.
const LARGEST: f32 = 1e6;

/// What is wrong with tensors that were read so far.
#[derive(Clone, Default)]
pub struct Faults(Rc<RefCell<Vec<String>>>);

impl Faults {
    /// The same tensor, in single precision, which is checked as it is read.
    pub fn watch(&self, name: &str, snapshot: TensorSnapshot) -> TensorSnapshot {
        let (data, faults, name) = (snapshot.clone_data_fn(), self.clone(), name.to_owned());
        let read = move || {
            // Errors of the file itself, too, are reported by `first`: as they are, with the name.
            let data = data().map_err(|error| match error {
                TensorSnapshotError::IoError(reason)
                | TensorSnapshotError::DataError(reason)
                | TensorSnapshotError::PanicError(reason) => reason,
            });
            data.and_then(|data| weights(&name, data)).map_err(|reason| {
                faults.0.borrow_mut().push(format!("tensor {name}: {reason}"));
                TensorSnapshotError::DataError(reason)
            })
        };
        TensorSnapshot::from_closure(
            Rc::new(read),
            DType::F32,
            snapshot.shape.clone(),
            snapshot.path_stack.clone().unwrap_or_default(),
            snapshot.container_stack.clone().unwrap_or_default(),
            snapshot.tensor_id.unwrap_or_default(),
        )
    }

    /// The first of them, and how many there are.
    pub fn first(&self) -> Option<String> {
        let faults = self.0.borrow();
        let first = faults.first()?;
        Some(match faults.len() {
            1 => first.clone(),
            count => format!("{first}; and {} more tensors are faulty", count - 1),
        })
    }
}

/// A tensor's values in single precision, if they can be weights.
///
/// # Errors
/// In words, for whole numbers (of a quantised model, say), values that are no numbers or far too large,
/// negative variances, and matrices of nothing but zeros, which a cut-off download may leave.
pub fn weights(name: &str, data: TensorData) -> Result<TensorData, String> {
    if !matches!(data.dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
        return Err(format!("it holds {:?} and not floating-point weights", data.dtype));
    }
    let data = if data.dtype == DType::F32 { data } else { data.convert::<f32>() };
    let values = data.as_slice::<f32>().map_err(|e| format!("{e:?}"))?;
    if let Some(value) = values.iter().find(|value| value.is_nan() || value.abs() > LARGEST) {
        return Err(match value.is_finite() {
            true => format!("it holds {value:e}, which is no weight"),
            false => format!("it holds {value}, which is no number"),
        });
    }
    if name.ends_with("running_var") && values.iter().any(|value| *value < 0.0) {
        return Err("a variance is negative".to_owned());
    }
    // What is added to a model is zero until it was trained.
    let learnt = name.ends_with(".weight") && !name.contains("obj_score");
    if learnt && data.shape.len() >= 2 && !values.is_empty() && values.iter().all(|v| *v == 0.0) {
        return Err("it holds nothing but zeros".to_owned());
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_can_be_weights_pass() {
        let check = |name: &str, values: Vec<f32>| {
            let count = values.len();
            weights(name, TensorData::new(values, [1, count])).map(|_| ())
        };
        assert_eq!(check("a.weight", vec![0.0, -1.5, 65504.0]), Ok(()));
        for value in [f32::NAN, f32::INFINITY, -f32::INFINITY, 1e7, -2e6] {
            assert!(check("a.weight", vec![1.0, value]).is_err(), "{value}");
        }
        assert!(check("a.weight", vec![0.0; 3]).is_err());
        assert_eq!(check("a.bias", vec![0.0; 3]), Ok(()));
        assert!(check("a.running_var", vec![1.0, -1e-9]).is_err());
        assert_eq!(check("a.running_mean", vec![1.0, -1e-9]), Ok(()));
        assert!(weights("a", TensorData::new(vec![1i8, 2], [2])).is_err());
        let half = TensorData::new(vec![burn::tensor::f16::from_f32(0.5)], [1]);
        assert_eq!(weights("a", half), Ok(TensorData::new(vec![0.5f32], [1])));
    }
}
