//! Just enough of the safetensors format for tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::tensor::DType;
use burn_store::{ModuleStore, PytorchStore, SafetensorsStore, TensorSnapshot};

use super::{Tensors, fixture};

/// Names and shapes.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Writes f32 tensors of those shapes, with the values that `data` gives.
pub fn write(path: &Path, shapes: &Shapes, data: impl Fn(&str, &[usize]) -> Vec<f32>) {
    let mut end = 0;
    let entries: serde_json::Map<String, serde_json::Value> = shapes
        .iter()
        .map(|(name, shape)| {
            let start = end;
            end += shape.iter().product::<usize>() * 4;
            let entry = serde_json::json!(
                { "dtype": "F32", "shape": shape, "data_offsets": [start, end] }
            );
            (name.clone(), entry)
        })
        .collect();
    let mut header = serde_json::to_vec(&entries).expect("plain values");
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create(path).expect("a writable folder"));
    let mut put = |bytes: &[u8]| file.write_all(bytes).expect("room on the disk");
    put(&(header.len() as u64).to_le_bytes());
    put(&header);
    for (name, shape) in shapes {
        let values = data(name, shape);
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        put(&bytes);
    }
    file.flush().expect("room on the disk");
}

/// The f32 tensors of a fixture.
pub fn read(name: &str) -> Tensors {
    let path = fixture::file(name);
    let mut store = SafetensorsStore::from_file(path).map_indices_contiguous(false);
    values(store.get_all_snapshots().expect("the fixture is there"))
}

/// The f32 tensors of a PyTorch checkpoint, and their shapes.
pub fn read_pytorch(path: &Path) -> (Shapes, Tensors) {
    let mut store = PytorchStore::from_file(path).map_indices_contiguous(false);
    let snapshots = store.get_all_snapshots().expect("the checkpoint is whole");
    let f32s = snapshots.iter().filter(|(_, s)| s.dtype == DType::F32);
    let shapes = f32s.map(|(name, s)| (name.clone(), s.shape.to_vec())).collect();
    (shapes, values(snapshots))
}

fn values(snapshots: &BTreeMap<String, TensorSnapshot>) -> Tensors {
    snapshots
        .iter()
        .filter(|(_, snapshot)| snapshot.dtype == DType::F32)
        .map(|(name, snapshot)| {
            let data = snapshot.to_data().expect("the tensor is whole");
            (name.clone(), data.into_vec().expect("f32"))
        })
        .collect()
}
