//! Weights files: what fits is loaded whole, what does not is named, conversion changes nothing.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::fixture::{cpu, mobile_sam, mobile_weights, picture};
use super::relative_error;
use super::safetensors::{Shapes, read_pytorch, write};
use crate::sam::{
    Architecture, LoadOptions, Metadata, Sam, SamError, WeightsFormat, convert, inspect,
};

fn embedding(sam: &Sam) -> Vec<f32> {
    let embedding = sam.encode(&picture("picture1")).expect("the CPU works");
    embedding.patches().expect("the CPU works")
}

fn load(path: &Path) -> Result<Sam, SamError> {
    Sam::load(path, None, &cpu())
}

/// Every file of a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("a file").file_name();
    entries.map(|e| name(e).to_string_lossy().into_owned()).collect()
}

#[test]
fn safetensors_hold_the_same_model_even_wrapped() {
    let (Some(weights), Some(sam)) = (mobile_weights(), mobile_sam()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (shapes, tensors) = read_pytorch(&weights);
    let expected = embedding(&sam);
    for prefix in ["", "module.sam."] {
        let path = folder.path().join("wrapped.safetensors");
        let wrapped: Shapes =
            shapes.iter().map(|(name, s)| (format!("{prefix}{name}"), s.clone())).collect();
        write(&path, &wrapped, |name, _| tensors[&name[prefix.len()..]].clone());
        let info = inspect(&path, None).expect("a whole file");
        assert_eq!(info.format, WeightsFormat::Safetensors);
        assert_eq!(info.architecture, Architecture::MobileSam);
        assert!(embedding(&load(&path).expect("it fits")) == expected, "prefix '{prefix}'");
    }
}

#[test]
fn what_does_not_fit_is_listed_by_published_names() {
    let Some(weights) = mobile_weights() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("misfit.safetensors");
    let (mut shapes, tensors) = read_pytorch(&weights);
    let gone = [
        "image_encoder.layers.1.blocks.0.mlp.fc1.weight",
        "image_encoder.neck.1.weight",
        "mask_decoder.iou_token.weight",
        "prompt_encoder.mask_downscaling.4.bias",
    ];
    let extra = ["image_encoder.neck.4.weight", "mask_decoder.spare.bias"];
    // Another shape, and the same number of values in another shape.
    let other: [(&str, Vec<usize>, &str); 4] = [
        ("image_encoder.patch_embed.seq.0.c.weight", vec![32, 3, 3, 5], "[32, 3, 3, 3]"),
        ("mask_decoder.output_hypernetworks_mlps.2.layers.2.weight", vec![16, 256], "[32, 256]"),
        ("mask_decoder.transformer.layers.0.norm1.bias", vec![128], "[256]"),
        ("prompt_encoder.no_mask_embed.weight", vec![256, 1], "[1, 256]"),
    ];
    for name in gone {
        assert!(shapes.remove(name).is_some(), "{name} is a published name");
    }
    for name in extra {
        assert!(shapes.insert(name.to_owned(), vec![7]).is_none(), "{name} is none");
    }
    for (name, shape, _) in &other {
        assert!(shapes.insert((*name).to_owned(), shape.clone()).is_some(), "{name}");
    }
    write(&path, &shapes, |name, shape| {
        let count = shape.iter().product();
        tensors.get(name).filter(|v| v.len() == count).cloned().unwrap_or(vec![0.5; count])
    });
    let error = load(&path).expect_err("it does not fit");
    let text = error.to_string();
    println!("{text}");
    let SamError::Mismatch { path: named, architecture, mut missing, mut unexpected, misshapen } =
        error
    else {
        panic!("{text}")
    };
    assert_eq!((named, architecture), (path.clone(), Architecture::MobileSam));
    missing.sort();
    unexpected.sort();
    assert_eq!(missing, gone);
    assert_eq!(unexpected, extra);
    assert_eq!(misshapen.len(), other.len(), "{misshapen:?}");
    for (name, found, expected) in other {
        let line = format!("{name}: {found:?}, expected {expected}");
        assert!(misshapen.contains(&line), "{line} is not among {misshapen:?}");
    }
    for name in gone.iter().chain(&extra) {
        assert!(text.contains(name), "{name} is not in the message");
    }
}

#[test]
fn another_architecture_is_refused() {
    let Some(weights) = mobile_weights() else { return };
    let told = [
        (Architecture::LiteMedSam, "image_encoder.patch_embed.seq.0.c.weight"),
        (Architecture::VitB, "image_encoder.blocks.11.attn.qkv.weight"),
    ];
    for (forced, name) in told {
        let error = Sam::load(&weights, Some(forced), &cpu()).expect_err("it does not fit");
        let text = error.to_string();
        assert!(text.contains(forced.name()) && text.contains(name), "{text}");
        assert!(matches!(error, SamError::Mismatch { architecture, .. } if architecture == forced));
    }
}

#[test]
fn a_converted_model_is_the_same() {
    let (Some(weights), Some(sam)) = (mobile_weights(), mobile_sam()) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = embedding(&sam);
    let convert_to = |name: &str, half| -> (PathBuf, Vec<f32>) {
        let path = folder.path().join(name);
        assert_eq!(
            convert(&weights, None, &LoadOptions::default(), &path, half, &Metadata::new()).ok(),
            Some(Architecture::MobileSam)
        );
        let info = inspect(&path, None).expect("a whole file");
        assert_eq!(info.format, WeightsFormat::Native);
        assert_eq!(info.architecture, Architecture::MobileSam);
        let found = embedding(&load(&path).expect("it fits"));
        (path, found)
    };
    let (full_file, full) = convert_to("full.bpk", false);
    // A name that says nothing: the content tells the format.
    let (half_file, half) = convert_to("half", true);
    assert!(full == expected, "off by {:.2e}", relative_error(&full, &expected));
    let error = relative_error(&half, &expected);
    println!("half precision: embedding off by {error:.2e}");
    assert!(error > 0.0 && error <= 5e-3, "off by {error:.2e}");
    let size = |path| std::fs::metadata(path).expect("a file").len() as f64;
    let share = size(half_file) / size(full_file);
    assert!((0.45..0.6).contains(&share), "half precision takes {share:.2} of the room");
    let mut left = names(folder.path());
    left.sort();
    assert_eq!(left, ["full.bpk", "half"]);
}

#[test]
fn a_failed_conversion_leaves_nothing_and_an_old_file_alone() {
    let Some(weights) = mobile_weights() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let old = folder.path().join("old.bpk");
    std::fs::write(&old, "an older file").expect("a writable folder");
    let bytes = std::fs::read(&weights).expect("a readable file");
    let damaged = folder.path().join("damaged.pt");
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).expect("a writable folder");
    let before = { names(folder.path()) };
    let none = Metadata::new();

    let error = convert(&damaged, None, &LoadOptions::default(), &old, false, &none)
        .expect_err("a damaged file");
    assert!(matches!(error, SamError::Read { .. }), "{error}");
    let vit = LoadOptions { architecture: Some(Architecture::VitB), checkpoint_key: None };
    let error = convert(&weights, None, &vit, &old, false, &none).expect_err("a misfit");
    assert!(matches!(error, SamError::Mismatch { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&old).expect("still there"), "an older file");
    // Everything can be written but the last step, the rename, fails.
    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join("by a folder")).expect("a writable folder");
    let error = convert(&weights, None, &LoadOptions::default(), &taken, true, &none)
        .expect_err("no place for a file");
    assert!(matches!(error, SamError::Write { .. }), "{error}");
    assert!(error.to_string().contains("taken"), "{error}");
    let error = convert(
        &weights,
        None,
        &LoadOptions::default(),
        &folder.path().join("no/such/folder"),
        true,
        &none,
    );
    assert!(matches!(error, Err(SamError::Write { .. })), "{error:?}");
    std::fs::remove_dir_all(taken).expect("a folder");
    assert_eq!(names(folder.path()), before);
}

/// A copy of a PyTorch archive, its tensors' data changed.
fn copy_archive(from: &Path, to: &Path, change: impl Fn(&mut Vec<u8>)) {
    let open = |path| std::fs::File::open(path).expect("a readable file");
    let mut source = zip::ZipArchive::new(open(from)).expect("a zip archive");
    let mut copy = zip::ZipWriter::new(std::fs::File::create(to).expect("a writable folder"));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for index in 0..source.len() {
        let mut entry = source.by_index(index).expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("readable");
        if entry.name().contains("/data/") {
            change(&mut content);
        }
        copy.start_file(entry.name(), stored).expect("room on the disk");
        copy.write_all(&content).expect("room on the disk");
    }
    copy.finish().expect("room on the disk");
}

/// A download that lost something must not become a model with a few zeros in it.
#[test]
fn damaged_tensors_are_refused() {
    let Some(weights) = mobile_weights() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("damaged.pt");
    copy_archive(&weights, &path, |_| ());
    load(&path).expect("an unchanged copy is good");

    let mut accepted = Vec::new();
    let mut check = |name| match load(&path) {
        Ok(_) => accepted.push(name),
        Err(error) => println!("{name}: {error}"),
    };
    copy_archive(&weights, &path, |data| data.truncate(data.len() / 2));
    check("every tensor cut in half");
    copy_archive(&weights, &path, Vec::clear);
    check("every tensor empty");
    let mut bytes = std::fs::read(&weights).expect("a readable file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).expect("a writable folder");
    check("one bit turned");
    assert!(accepted.is_empty(), "loaded without an error: {accepted:?}");
}
