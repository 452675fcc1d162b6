//! The architectures this crate knows, as numbers.

use std::fmt;
use std::str::FromStr;

use super::SamError;

/// Side of the image embedding at the model's own input size, in patches.
pub const EMBEDDING_SIDE: usize = 64;
/// Channels of the image embedding and of every prompt token.
pub const EMBEDDING_DIM: usize = 256;
/// Side of the low-resolution mask logits at that size.
pub const LOGITS_SIDE: usize = 4 * EMBEDDING_SIDE;

/// A promptable model's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// SAM with the ViT-B image encoder (Kirillov et al. 2023).
    VitB,
    /// SAM with the ViT-L image encoder.
    VitL,
    /// SAM with the ViT-H image encoder.
    VitH,
    /// MobileSAM: TinyViT image encoder (Zhang et al. 2023).
    MobileSam,
    /// LiteMedSAM: TinyViT without strides in its stem, for pictures of 256 pixels a side.
    LiteMedSam,
}

/// How pixel values enter the image encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// Minus ImageNet's mean, over its standard deviation, per channel.
    MeanStd,
    /// The picture's smallest value to 0, its largest to 1 (the MedSAM family).
    MinMax,
}

/// Sizes of a plain ViT image encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VitConfig {
    /// Channels of a patch token.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Blocks that attend over the whole picture; the others attend within windows of 14 x 14.
    pub global: Vec<usize>,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 5] =
        [Self::VitB, Self::VitL, Self::VitH, Self::MobileSam, Self::LiteMedSam];

    /// The name used on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::VitB => "vit-b",
            Self::VitL => "vit-l",
            Self::VitH => "vit-h",
            Self::MobileSam => "mobile-sam",
            Self::LiteMedSam => "lite-medsam",
        }
    }

    /// Side of the square picture that enters the image encoder, in pixels.
    pub fn input_side(self) -> u32 {
        match self {
            Self::LiteMedSam => 256,
            _ => 1024,
        }
    }

    /// Pixels of the input a side of a patch.
    pub fn stride(self) -> u32 {
        self.input_side() / EMBEDDING_SIDE as u32
    }

    /// Whether pictures of other sizes than [`Architecture::input_side`] can enter: a plain ViT has
    /// learnt a position for each of its patches, and LiteMedSAM's input is small already.
    pub fn takes_any_size(self) -> bool {
        self == Self::MobileSam
    }

    /// How pixel values enter the image encoder, unless the user says otherwise.
    pub fn normalisation(self) -> Normalisation {
        match self {
            Self::LiteMedSam => Normalisation::MinMax,
            _ => Normalisation::MeanStd,
        }
    }

    /// The encoder's sizes if it is a plain ViT.
    pub fn vit(self) -> Option<VitConfig> {
        let (dim, depth, heads, global) = match self {
            Self::VitB => (768, 12, 12, vec![2, 5, 8, 11]),
            Self::VitL => (1024, 24, 16, vec![5, 11, 17, 23]),
            Self::VitH => (1280, 32, 16, vec![7, 15, 23, 31]),
            Self::MobileSam | Self::LiteMedSam => return None,
        };
        Some(VitConfig { dim, depth, heads, global })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = SamError;

    fn from_str(name: &str) -> Result<Self, SamError> {
        Self::ALL
            .into_iter()
            .find(|a| a.name() == name)
            .ok_or_else(|| SamError::UnknownArchitecture(name.to_owned()))
    }
}
