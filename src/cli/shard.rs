use std::str::FromStr;

/// A part of the sequences, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shard {
    /// From 1.
    pub index: usize,
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        parts
            .filter(|shard| (1..=shard.count).contains(&shard.index))
            .ok_or_else(|| format!("'{text}' is no part such as 1/4"))
    }
}

impl Shard {
    /// Which of so many things are this part's, by their places: every `count`-th from `index` on.
    pub fn places(self, all: usize) -> impl Iterator<Item = usize> {
        (self.index - 1..all).step_by(self.count)
    }
}
