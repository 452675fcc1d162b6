#!/usr/bin/env bash
# burn-store 0.21.0: a tensor of a PyTorch checkpoint that is not row-major is read in the wrong order, without
# an error.
#
# torch.save keeps strides, so that a transposed weight, or one of a model trained with channels last, lies in
# its own order in the file. PytorchStore takes sizes and offset and ignores the strides: shape and number of
# values are right, the values are at other places. (p2sam reads such files by its own code:
# src/sam/checkpoint/pytorch.rs.)
#
# The checkpoint is tests/fixtures/checkpoints/orders.pt, written by PyTorch 2.15.0 of
# `values(5, 4).t()`, where values counts up by 0.25 (tests/fixtures/make_checkpoints.py). Seen 2026-11-28:
#   plain      [0, 0.25, 0.5, 0.75]
#   transposed [0, 0.25, 0.5, 0.75], and its first row is 0, 1, 2, 3
set -euo pipefail
checkpoint=$(cd "$(dirname "$0")/.." && pwd)/tests/fixtures/checkpoints/orders.pt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "reader"
version = "0.0.0"
edition = "2024"

[dependencies]
burn-store = { version = "=0.21.0", default-features = false, features = ["std", "pytorch"] }
TOML
cat > "$folder/src/main.rs" <<'RUST'
use burn_store::pytorch::PytorchReader;

fn main() {
    let path = std::env::args().nth(1).expect("a checkpoint");
    let reader = PytorchReader::new(path).expect("readable");
    for name in ["plain", "transposed"] {
        let data = reader.get(name).expect("there").to_data().expect("values");
        println!("{name} {:?} {:?}", data.shape.to_vec(), &data.to_vec::<f32>().expect("f32")[..4]);
    }
}
RUST
cargo run -q --manifest-path "$folder/Cargo.toml" -- "$checkpoint" | tee "$folder/seen"
# The first row of the transposed 4 x 5 tensor is 0, 1, 2, 3, 4.
grep -qxF 'transposed [4, 5] [0.0, 0.25, 0.5, 0.75]' "$folder/seen" || { echo "no longer so" >&2; exit 1; }
