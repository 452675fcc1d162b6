//! Which of a file's tensors are the model: training programs wrap it ("model.", "module.") and store it
//! beside the optimizer's state and beside running averages of it.

use std::collections::BTreeMap;

/// Tensors that every model has: the first of its image encoder.
const FIRST: [&str; 3] = [
    "image_encoder.patch_embed.seq.0.c.weight",
    "image_encoder.patch_embed.proj.weight",
    // As this program's own format names the first.
    "image_encoder.patch_embed.conv1.c.weight",
];

/// How training programs name a running average of the weights.
const AVERAGES: [&str; 6] = ["ema", "swa", "avg", "average", "averaged", "teacher"];

/// How they name what an optimizer keeps for each tensor.
const OPTIMIZERS: [&str; 4] = ["exp_avg", "exp_avg_sq", "momentum_buffer", "max_exp_avg_sq"];

/// The copies of a model in a file, by the keys that lead to them; the file's top level is an empty key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The one that was taken.
    pub taken: String,
    /// The others.
    pub others: Vec<String>,
}

impl Copies {
    /// What is worth knowing of a choice that nobody made.
    pub fn note(&self) -> Option<String> {
        if self.others.is_empty() {
            return None;
        }
        let others: Vec<String> = self.others.iter().map(|key| described(key)).collect();
        Some(format!(
            "the file holds several copies of the model: {} is taken, and not {}; choose with \
             --checkpoint-key",
            described(&self.taken),
            others.join(", ")
        ))
    }
}

fn described(key: &str) -> String {
    match key {
        "" => "the one at its top level".to_owned(),
        key if is_average(key) => format!("'{key}' (a running average)"),
        key => format!("'{key}'"),
    }
}

/// Keeps the tensors of one copy of the model, under their names within it. Without a `key` that is the
/// only one, or the only one that is no running average.
///
/// # Errors
/// In words, if the key leads to no copy, or it takes a key to tell them apart.
pub fn choose<T>(
    tensors: BTreeMap<String, T>,
    key: Option<&str>,
) -> Result<(BTreeMap<String, T>, Copies), String> {
    let mut copies: Vec<String> = tensors
        .keys()
        .filter_map(|name| FIRST.iter().find_map(|first| name.strip_suffix(first)))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .map(|prefix| prefix.trim_end_matches('.').to_owned())
        .filter(|key| !is_optimizer(key))
        .collect();
    copies.sort_unstable();
    copies.dedup();
    let listed =
        |keys: &[String]| keys.iter().map(|key| described(key)).collect::<Vec<_>>().join(", ");
    let taken = match key {
        Some(key) => {
            let within = |copy: &&String| {
                copy.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let mut fitting = copies.iter().filter(within);
            match (copies.iter().find(|copy| *copy == key), fitting.next(), fitting.next()) {
                (Some(copy), ..) | (None, Some(copy), None) => copy.clone(),
                (None, None, _) if copies.is_empty() => {
                    return Err(format!("it holds no model under '{key}', nor any other"));
                }
                (None, None, _) => {
                    return Err(format!(
                        "it holds no model under '{key}'; it holds {}",
                        listed(&copies)
                    ));
                }
                _ => return Err(format!("'{key}' leads to several copies: {}", listed(&copies))),
            }
        }
        None => {
            let mut plain = copies.iter().filter(|key| !is_average(key));
            match (plain.next(), plain.next(), copies.as_slice()) {
                (Some(copy), None, _) | (None, _, [copy]) => copy.clone(),
                // An adapter, or another model: what its image encoder is wrapped in.
                (None, _, []) => wrapping(&tensors),
                _ => {
                    return Err(format!(
                        "it holds several copies of the model: {}; choose one with \
                         --checkpoint-key KEY",
                        listed(&copies)
                    ));
                }
            }
        }
    };
    let others: Vec<String> = copies.into_iter().filter(|copy| *copy != taken).collect();
    let under =
        |key: &str, name: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    let within = |(name, tensor): (String, T)| match taken.as_str() {
        // The top level has the other copies and the optimizer's state in it.
        "" if is_optimizer(&name) || others.iter().any(|other| under(other, &name)) => None,
        "" => Some((name, tensor)),
        key if under(key, &name) => Some((name.get(key.len() + 1..)?.to_owned(), tensor)),
        _ => None,
    };
    let tensors: BTreeMap<String, T> = tensors.into_iter().filter_map(within).collect();
    Ok((tensors, Copies { taken, others }))
}

fn wrapping<T>(tensors: &BTreeMap<String, T>) -> String {
    let parts = ["image_encoder.", "mask_decoder.", "prompt_encoder."];
    let at = |name: &String| {
        let at = parts.iter().filter_map(|part| name.find(part)).min()?;
        Some(name.get(..at)?.trim_end_matches('.').to_owned())
    };
    tensors.keys().find_map(at).unwrap_or_default()
}

fn is_average(key: &str) -> bool {
    let words = key.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().any(|word| AVERAGES.contains(&word.to_ascii_lowercase().as_str()))
}

fn is_optimizer(key: &str) -> bool {
    key.split('.').any(|part| part.starts_with("optim") || OPTIMIZERS.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken of copies under such keys, and its note.
    fn taken(keys: &[&str], key: Option<&str>) -> Result<(String, Option<String>), String> {
        let names = keys.iter().flat_map(|key| {
            let dot = if key.is_empty() { "" } else { "." };
            ["image_encoder.patch_embed.proj.weight", "mask_decoder.iou_token.weight"]
                .map(|name| (format!("{key}{dot}{name}"), key.to_string()))
        });
        let (tensors, copies) = choose(names.collect(), key)?;
        assert_eq!(tensors.len(), 2);
        assert!(tensors.values().all(|key| *key == copies.taken), "{tensors:?}");
        let note = copies.note();
        Ok((copies.taken, note))
    }

    #[test]
    fn the_only_copy_is_taken_wherever_it_is() {
        for key in ["", "model", "state_dict.module", "ema", "net.sam"] {
            assert_eq!(taken(&[key], None), Ok((key.to_owned(), None)));
        }
        let beside = ["model", "optimizer.state", "state.exp_avg", "optim"];
        assert_eq!(taken(&beside, None), Ok(("model".to_owned(), None)));
    }

    #[test]
    fn a_running_average_gives_way_and_is_named() {
        for average in ["ema", "model_ema", "state_dict_ema.module", "teacher", "EMA-model"] {
            let (key, note) = taken(&["model", average], None).expect("one is no average");
            assert_eq!(key, "model");
            let note = note.expect("there was a choice");
            assert!(note.contains(&format!("'{average}' (a running average)")), "{note}");
            assert!(note.contains("--checkpoint-key"), "{note}");
            assert_eq!(taken(&["model", average], Some(average)).expect("named").0, average);
        }
        // A name that only contains the letters is none.
        assert_eq!(taken(&["model", "ema"], None).expect("one is left").0, "model");
        assert!(taken(&["model", "schema"], None).is_err());
    }

    #[test]
    fn what_cannot_be_told_apart_is_asked_for() {
        let error = taken(&["best", "last"], None).expect_err("either may be meant");
        assert!(error.contains("'best', 'last'") && error.contains("--checkpoint-key"), "{error}");
        assert_eq!(taken(&["best.module", "last"], Some("best")).expect("named").0, "best.module");
        let error = taken(&["best", "last"], Some("bes")).expect_err("no such key");
        assert!(error.contains("'best', 'last'"), "{error}");
        let error = taken(&["a.b", "a.c"], Some("a")).expect_err("two of them");
        assert!(error.contains("several"), "{error}");
        for key in ["ema", "optimizer.state"] {
            assert_eq!(taken(&["", key], None).expect("the top level").0, "");
        }
    }

    #[test]
    fn an_adapter_is_unwrapped_too() {
        let names = ["w.image_encoder.blocks.0.lora_a", "w.mask_decoder.x", "other"];
        let tensors = names.map(|name| (name.to_owned(), ())).into();
        let (tensors, copies) = choose::<()>(tensors, None).expect("one wrapping");
        assert_eq!(copies.taken, "w");
        assert_eq!(tensors.len(), 2);
    }
}
