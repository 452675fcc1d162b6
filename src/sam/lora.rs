//! Low-rank adaptation (Hu et al. 2022, "LoRA"): a linear layer's weight W stays as it is, and
//! alpha / rank * (a product of two thin matrices) that is learnt is added to it.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use rand_mt::Mt;

use super::checkpoint::{to_theirs, without_variant};

/// Which layers of the image encoder are adapted, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LoraConfig {
    /// Columns of the thin matrices.
    pub rank: usize,
    /// The product is scaled by alpha / rank.
    pub alpha: f32,
    /// Also the two layers of each block's MLP, not only qkv and proj of its attention.
    pub mlp: bool,
}

impl Default for LoraConfig {
    /// As published for P2SAM: rank 1 on qkv and proj of every block.
    fn default() -> Self {
        Self { rank: 1, alpha: 1.0, mlp: false }
    }
}

impl LoraConfig {
    /// Whether a parameter of this name is adapted.
    fn covers(&self, name: &str) -> bool {
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        name.starts_with("image_encoder.")
            && (ends(&[".attn.qkv.weight", ".attn.proj.weight"])
                || self.mlp
                    && ends(&[
                        ".mlp.fc1.weight",
                        ".mlp.fc2.weight",
                        ".mlp.lin1.weight",
                        ".mlp.lin2.weight",
                    ]))
    }
}

/// What is learnt for one layer. The change of its weight `[in, out]` is `a b`.
#[derive(Module, Debug)]
struct Pair<B: Backend> {
    /// `[in, rank]`.
    a: Param<Tensor<B, 2>>,
    /// `[rank, out]`, zeros at first.
    b: Param<Tensor<B, 2>>,
    name: String,
}

/// The learnt matrices of a model's image encoder.
#[derive(Module, Debug)]
pub struct Lora<B: Backend> {
    pairs: Vec<Pair<B>>,
    factor: f64,
}

impl<B: Backend> Lora<B> {
    /// Matrices that change nothing yet, drawn by a seed.
    pub fn new<M: Module<B>>(model: &M, config: LoraConfig, seed: u64, device: &B::Device) -> Self {
        let mut finder = Finder { config, path: Path::default(), found: Vec::new() };
        model.visit(&mut finder);
        let mut random = Mt::new(seed as u32 ^ (seed >> 32) as u32);
        let rank = config.rank.max(1);
        let pairs = finder.found.into_iter().map(|(name, [into, out])| {
            let bound = (into as f32).powf(-0.5);
            let mut draw = || (random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * bound;
            let values: Vec<f32> = (0..into * rank).map(|_| draw()).collect();
            let a = Tensor::from_data(TensorData::new(values, [into, rank]), device);
            let b = Tensor::zeros([rank, out], device);
            Pair { a: Param::from_tensor(a), b: Param::from_tensor(b), name }
        });
        Self { pairs: pairs.collect(), factor: f64::from(config.alpha) / rank as f64 }
    }

    /// The model whose weights are changed by the matrices; gradients reach these. The model's own
    /// encoder should not be learnt ([`Module::no_grad`]).
    pub fn applied<M: Module<B>>(&self, model: &M) -> M {
        let changes = self.changes().collect();
        model.clone().map(&mut Changer { changes, path: Path::default() })
    }

    /// Every adapted layer's published name and the change of its weight, `[in, out]`.
    fn changes(&self) -> impl Iterator<Item = (String, Tensor<B, 2>)> {
        self.pairs
            .iter()
            .map(|pair| (pair.name.clone(), pair.a.val().matmul(pair.b.val()) * self.factor))
    }

    /// The matrices as they are stored: every layer's published name, b `[out, rank]` (the factor
    /// within) and a `[rank, in]`.
    pub fn matrices(&self) -> Vec<(String, TensorData, TensorData)> {
        let stored = |tensor: Tensor<B, 2>| tensor.transpose().into_data().convert::<f32>();
        self.pairs
            .iter()
            .map(|pair| {
                let b = stored(pair.b.val() * self.factor);
                (pair.name.clone(), b, stored(pair.a.val()))
            })
            .collect()
    }
}

/// The place of a parameter in a module.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    /// The published name.
    fn name(&self) -> String {
        to_theirs(&without_variant(self.0.join(".")))
    }
}

struct Finder {
    config: LoraConfig,
    path: Path,
    found: Vec<(String, [usize; 2])>,
}

impl<B: Backend> ModuleVisitor<B> for Finder {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let name = self.path.name();
        if let (true, &[into, out]) = (self.config.covers(&name), param.val().dims().as_slice()) {
            self.found.push((name, [into, out]));
        }
    }
}

struct Changer<B: Backend> {
    changes: BTreeMap<String, Tensor<B, 2>>,
    path: Path,
}

impl<B: Backend> ModuleMapper<B> for Changer<B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.changes.remove(&self.path.name()) {
            Some(change) => {
                let weight = param.val();
                let change = change.reshape(weight.dims());
                Param::initialized(param.id, weight + change)
            }
            None => param,
        }
    }
}
