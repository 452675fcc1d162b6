//! An image encoder that does not learn, and its features of pictures kept on disk.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::Dispatch;
use burn::prelude::*;
use burn::tensor::f16;
use sha2::{Digest, Sha256};

use super::FinetuneError;
use super::batch::{Batch, InputKind};
use super::trainer::StepError;
use crate::sam::{ImageEncoder, SamError, to_patches};

/// Part of every key; another number where files of an older program would not do.
const VERSION: u32 = 1;
/// Length of a file's checksum in bytes.
const SUM: usize = 32;

/// An image encoder in its quick form.
pub struct FrozenEncoder {
    pub encoder: ImageEncoder<Dispatch>,
    pub cache: Option<FeatureCache>,
}

impl FrozenEncoder {
    /// The features of a batch's pictures, `[picture, row * column, channel]`. With a cache each
    /// picture is encoded by itself and rounded to 16 bits, whether it was there or not, so that
    /// no result depends on what the cache holds.
    pub fn features(
        &self,
        batch: &Batch,
        device: &burn::DispatchDevice,
    ) -> Result<Tensor<Dispatch, 3>, StepError> {
        let [width, height] = batch.canvas;
        let encode = |pixels: Vec<f32>, pictures: usize| {
            let pixels = TensorData::new(pixels, [pictures, 3, height, width]);
            to_patches(self.encoder.forward(Tensor::<Dispatch, 4>::from_data(pixels, device)))
        };
        let Some(cache) = &self.cache else {
            return Ok(encode(batch.pixels.clone(), batch.names.len()));
        };
        let mut all: Vec<f32> = Vec::new();
        let size = (3 * width * height).max(1);
        for (pixels, picture) in batch.pixels.chunks_exact(size).zip(&batch.checksums) {
            let key = cache.key(picture);
            let features = match cache.read(&key) {
                Some(features) => features,
                None => {
                    let data = encode(pixels.to_vec(), 1).into_data().convert::<f16>();
                    let features: Vec<f16> =
                        data.into_vec().map_err(|e| SamError::Compute(format!("{e:?}")))?;
                    cache.write(&key, &features).map_err(StepError::Run)?;
                    features
                }
            };
            all.extend(features.iter().map(|value| value.to_f32()));
        }
        let places = batch.map.iter().product::<usize>() / 16;
        let pictures = batch.names.len();
        let channels = all.len() / (places * pictures).max(1);
        let data = TensorData::new(all, [pictures, places, channels]);
        Ok(Tensor::from_data(data, device))
    }
}

/// Features of pictures, a file for each picture, model and input. Files are written whole or not at
/// all; one that is damaged counts as none.
pub struct FeatureCache {
    folder: PathBuf,
    /// What the features depend on beside the picture.
    model: String,
}

impl FeatureCache {
    /// In a folder, which is made if it is not there, for the weights of a checksum.
    pub fn new(folder: &Path, weights: &str, kind: InputKind) -> Result<Self, FinetuneError> {
        std::fs::create_dir_all(folder).map_err(|e| FinetuneError::file(folder, e))?;
        let InputKind { architecture, normalisation, side, .. } = kind;
        let model = format!("{VERSION} {weights} {architecture} {normalisation:?} {side}");
        Ok(Self { folder: folder.to_path_buf(), model })
    }

    /// Names a picture's file, given the checksum of its contents.
    fn key(&self, picture: &str) -> String {
        let sum = Sha256::digest(format!("{} {picture}", self.model));
        sum.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.f16"))
    }

    /// Features, if they are there and whole.
    fn read(&self, key: &str) -> Option<Vec<f16>> {
        let bytes = std::fs::read(self.path(key)).ok()?;
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
        if checksum(key, body) != sum || body.is_empty() {
            return None;
        }
        let (values, rest) = body.as_chunks::<2>();
        rest.is_empty().then(|| values.iter().map(|value| f16::from_le_bytes(*value)).collect())
    }

    fn write(&self, key: &str, features: &[f16]) -> Result<(), FinetuneError> {
        let path = self.path(key);
        let body: Vec<u8> = features.iter().flat_map(|value| value.to_le_bytes()).collect();
        crate::atomic::write(&path, |file| {
            file.write_all(&body)?;
            file.write_all(&checksum(key, &body))
        })
        .map_err(|e| FinetuneError::file(&path, e))
    }
}

/// Of a file's name, too: one that was renamed is not taken for another.
fn checksum(key: &str, body: &[u8]) -> [u8; SUM] {
    Sha256::new().chain_update(key).chain_update(body).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Place, losses, quick};
    use super::super::{FinetuneError, FinetuneOptions, TrainedPart};
    use crate::augment::Augmentation;

    fn options() -> FinetuneOptions {
        FinetuneOptions { augment: Augmentation::None, passes: 1, max_steps: Some(3), ..quick() }
    }

    fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|f| f.expect("a file").path())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn kept_features_train_as_the_encoder_does() {
        let mut place = Place::of_size(4, 128);
        let (data, options) = (place.data(0.0), options());
        let mut run = |name: &str, cache: Option<&str>| {
            place.start.folder = place.folder.path().join(name);
            place.start.cache = cache.map(|cache| place.folder.path().join(cache));
            losses(&place.run(&data, &options, 100).expect("trained").1)
        };
        let without = run("a", None);
        let first = run("b", Some("cache"));
        for ((_, without), (_, with)) in without.iter().zip(&first) {
            assert!((without.loss - with.loss).abs() < 2e-3, "{without:?} {with:?}");
        }
        let folder = place.folder.path().join("cache");
        let whole: Vec<_> =
            files(&folder).iter().map(|f| std::fs::read(f).expect("readable")).collect();
        assert_eq!(whole.len(), 4);

        let kept = files(&folder);
        std::fs::write(&kept[0], &whole[0][..whole[0].len() - 2]).expect("written");
        std::fs::write(&kept[1], b"").expect("written");
        std::fs::rename(&kept[2], &kept[3]).expect("renamed");
        place.start.folder = place.folder.path().join("c");
        place.start.cache = Some(folder.clone());
        let again = losses(&place.run(&data, &options, 100).expect("trained").1);
        assert_eq!(first, again);
        let mended: Vec<_> =
            files(&folder).iter().map(|f| std::fs::read(f).expect("readable")).collect();
        assert!(mended == whole, "damaged files are written anew");

        std::fs::write(&place.start.weights, b"other weights").expect("written");
        place.start.folder = place.folder.path().join("d");
        place.run(&data, &options, 100).expect("trained");
        assert_eq!(files(&folder).len(), 8);
    }

    #[test]
    fn features_are_kept_only_where_they_hold() {
        let mut place = Place::new(2);
        let data = place.data(0.0);
        let fails = |place: &Place, options: &FinetuneOptions| {
            place.run(&data, options, 100).expect_err("refused")
        };
        let cache = Some(place.folder.path().join("cache"));
        place.start.cache.clone_from(&cache);
        for options in [
            FinetuneOptions { part: TrainedPart::Full, ..options() },
            FinetuneOptions { augment: Augmentation::Plain, ..options() },
        ] {
            let error = fails(&place, &options);
            assert!(matches!(error, FinetuneError::Settings(_)), "{error}");
            assert!(error.to_string().contains("decoder"), "{error}");
        }
        place.start.cache = None;
        place.run(&data, &options(), 100).expect("trained");
        place.start.cache = cache;
        let error = fails(&place, &options()).to_string();
        assert!(error.contains("cached features: false then, true now"), "{error}");
        let blocked = place.folder.path().join("images/0.png");
        place.start.cache = Some(blocked);
        place.start.folder = place.folder.path().join("other");
        let error = fails(&place, &options());
        assert!(matches!(error, FinetuneError::File { .. }), "{error}");
    }
}
