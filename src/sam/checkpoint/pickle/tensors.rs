//! The tensors among what a pickle leaves, by name.

use std::collections::BTreeMap;

use super::{Machine, Place, Value};

/// The deepest nesting of dictionaries that is looked into: `{"state_dict": {"model": {...}}}` has 3, a model
/// that was saved as an object two for each part within a part.
const DEEPEST: usize = 48;

/// Where an object of PyTorch keeps its parts and tensors; no part of their names.
const OF_OBJECTS: [&str; 3] = ["_modules", "_parameters", "_buffers"];

/// Most bytes of names that are looked at: the same dictionary may be in several places, and every
/// tensor in it then has several names.
const MOST_NAMES: usize = 4 << 20;

impl<'a> Machine<'a> {
    /// Every tensor of the last pickle under the names of the dictionaries that it lies in, joined by
    /// dots: its name in the `state_dict` of a model, of one that was saved as an object, too.
    ///
    /// # Errors
    /// In words, for dictionaries in dictionaries that come to more than any model has.
    pub fn tensors(&self) -> Result<BTreeMap<String, Place<'a>>, String> {
        self.tensors_within(MOST_NAMES)
    }

    pub(super) fn tensors_within(
        &self,
        mut budget: usize,
    ) -> Result<BTreeMap<String, Place<'a>>, String> {
        let mut found = BTreeMap::new();
        let root = self.stack.last().copied();
        self.collect(root, DEEPEST, &mut Vec::new(), &mut budget, &mut found)?;
        Ok(found)
    }

    fn collect(
        &self,
        value: Option<Value<'a>>,
        levels: usize,
        path: &mut Vec<String>,
        budget: &mut usize,
        found: &mut BTreeMap<String, Place<'a>>,
    ) -> Result<(), String> {
        match value {
            Some(Value::Tensor(tensor)) => {
                if let Some(place) = self.tensors.get(tensor as usize) {
                    let name = path.join(".");
                    spend(budget, name.len())?;
                    found.insert(name, place.clone());
                }
            }
            Some(Value::Object(object)) if levels > 0 => {
                for (key, value) in self.objects.get(object as usize).into_iter().flatten() {
                    let key = match key {
                        Value::Text(text) => (*text).to_owned(),
                        Value::Int(number) => number.to_string(),
                        _ => continue,
                    };
                    spend(budget, key.len() + 1)?;
                    let named = !OF_OBJECTS.contains(&key.as_str());
                    if named {
                        path.push(key);
                    }
                    self.collect(Some(*value), levels - 1, path, budget, found)?;
                    if named {
                        path.pop();
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), String> {
    *budget = budget
        .checked_sub(bytes)
        .ok_or_else(|| "its tensors have more names than any model's".to_owned())?;
    Ok(())
}
