use std::collections::BTreeMap;
use std::ops::Range;

use super::{Pairing, SeriesError, Volume, pair};
use crate::image::{Annotation, Mask};
use crate::method::{MethodConfig, MethodError, Reference};
use crate::sam::Sam;

/// The annotated slices of a volume as references, each encoded once and only if it serves.
#[derive(Debug)]
pub struct References<'a> {
    volume: &'a Volume,
    masks: &'a [Option<Mask>],
    ready: BTreeMap<usize, Reference>,
    /// Annotated slices whose mask is too small to be a reference.
    too_small: Vec<usize>,
}

impl<'a> References<'a> {
    /// The slices of a volume with what is marked on them.
    pub fn new(volume: &'a Volume, masks: &'a [Option<Mask>]) -> Self {
        Self { volume, masks, ready: BTreeMap::new(), too_small: Vec::new() }
    }

    /// Which slice serves each slice in `range` of `target`, and makes all of these ready. A slice
    /// whose mask is too small gives way to others. Stops early, without all, once `go_on` says no.
    ///
    /// # Errors
    /// [`SeriesError::Mask`] if no slice can serve; what reading and encoding them return.
    pub fn serve(
        &mut self,
        target: &Volume,
        range: Range<usize>,
        pairing: Pairing,
        sam: &Sam,
        config: &MethodConfig,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<usize>, SeriesError> {
        loop {
            let marked = self.masks.iter().enumerate().filter(|(_, mask)| mask.is_some());
            let usable: Vec<usize> =
                marked.map(|(slice, _)| slice).filter(|s| !self.too_small.contains(s)).collect();
            let place = |slice| target.place_in(slice, self.volume);
            let pairs = pair(&usable, range.clone(), pairing, place);
            if pairs.is_empty() {
                let reason = "no mask is large enough to be a reference";
                return Err(SeriesError::mask(self.volume.path(), reason));
            }
            let next = pairs.iter().find(|slice| !self.ready.contains_key(slice));
            let Some(&slice) = next.filter(|_| go_on()) else { return Ok(pairs) };
            match self.encode(slice, sam, config) {
                Ok(reference) => {
                    self.ready.insert(slice, reference);
                }
                Err(SeriesError::Method(
                    MethodError::MaskVanishes { .. }
                    | MethodError::MaskFills { .. }
                    | MethodError::TooFewPatches { .. }
                    | MethodError::FullMask,
                )) => self.too_small.push(slice),
                Err(error) => return Err(error),
            }
        }
    }

    fn encode(
        &self,
        slice: usize,
        sam: &Sam,
        config: &MethodConfig,
    ) -> Result<Reference, SeriesError> {
        let mask = self.masks[slice].as_ref().ok_or(MethodError::EmptyMask)?;
        let frame = self.volume.frame(slice)?;
        Ok(Reference::new(sam, &frame, &Annotation::from(mask), config)?)
    }

    /// A slice that was made ready.
    pub fn get(&self, slice: usize) -> Option<&Reference> {
        self.ready.get(&slice)
    }

    /// Slices that are marked too small to serve.
    pub fn too_small(&self) -> &[usize] {
        &self.too_small
    }

    /// Among the slices that serve, the one with the largest mask.
    pub fn largest(&self) -> Option<usize> {
        let area = |slice: &usize| self.masks[*slice].as_ref().map_or(0, Mask::area);
        self.ready.keys().copied().max_by_key(area)
    }
}
