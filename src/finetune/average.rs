//! The average of the weights over steps.

use std::collections::HashMap;

use burn::Dispatch;
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use burn::tensor::TensorPrimitive;

use super::learner::Learner;
use crate::sam::Training;

/// An exponential moving average of what learns (Polyak averaging): after each step it keeps a share
/// of itself and takes the rest of the weights. In the first steps it keeps less.
#[derive(Clone, Debug)]
pub struct Average {
    pub learner: Learner<Dispatch>,
    /// The share that is kept.
    pub kept: f64,
}

impl Average {
    /// Begins with the weights as they are.
    pub fn new(learner: &Learner<Training>, kept: f64) -> Self {
        Self { learner: learner.valid(), kept }
    }

    /// Takes the weights after a step, counted from 1.
    pub fn take(&mut self, learner: &Learner<Training>, step: u64) {
        let step = step as f64;
        let kept = self.kept.min((1.0 + step) / (10.0 + step));
        let mut now = Values::default();
        learner.valid().visit(&mut now);
        self.learner = self.learner.clone().map(&mut Mix { now: now.0, kept });
    }
}

type Primitive = TensorPrimitive<Dispatch>;

#[derive(Default)]
struct Values(HashMap<ParamId, Primitive>);

impl ModuleVisitor<Dispatch> for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Dispatch, D>>) {
        self.0.insert(param.id, param.val().into_primitive());
    }
}

struct Mix {
    now: HashMap<ParamId, Primitive>,
    pub kept: f64,
}

impl ModuleMapper<Dispatch> for Mix {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Dispatch, D>>,
    ) -> Param<Tensor<Dispatch, D>> {
        let Some(now) = self.now.remove(&param.id) else { return param };
        let now = Tensor::<Dispatch, D>::from_primitive(now);
        let old = param.val();
        Param::initialized(param.id, old * self.kept + now * (1.0 - self.kept))
    }
}
