//! Files of training programs, and weights that are none. The fixtures are PyTorch's:
//! tests/fixtures/make_checkpoints.py.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use burn_store::{ModuleStore, SafetensorsStore};

use super::fixture::cpu;
use super::safetensors::{Shapes, write};
use crate::sam::checkpoint::read;
use crate::sam::{Architecture, LoadOptions, Sam, SamError, inspect};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

/// The weights `polyp` of the repository: MobileSAM's architecture.
fn shipped_weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/polyp.safetensors")
}

/// Why a file cannot be read.
fn refused(path: &Path, key: Option<&str>) -> String {
    match read(path, key).map(|contents| contents.tensors.len()) {
        Err(SamError::Read { reason, .. }) => reason,
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn tensors_of_any_order_and_type_are_read_as_pytorch_has_them() {
    let mut store =
        SafetensorsStore::from_file(fixture("expected.safetensors")).map_indices_contiguous(false);
    let expected = store.get_all_snapshots().expect("another reader's");
    assert_eq!(expected.len(), 17);
    for name in ["orders.pt", "orders_protocol4.pt", "orders_plain.pt", "expected.safetensors"] {
        let found = read(&fixture(name), None).expect(name).tensors;
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}");
        for (tensor, expected) in expected {
            let (found, expected) = (found[tensor].to_data(), expected.to_data());
            let (found, expected) = (found.expect(tensor), expected.expect(tensor));
            assert_eq!(found.dtype, expected.dtype, "{name}: {tensor}");
            assert_eq!(found, expected, "{name}: {tensor}");
        }
    }
    let found = read(&fixture("orders.pt"), None).expect("readable").tensors;
    let transposed = found["transposed"].to_data().expect("values").into_vec::<f32>();
    assert_eq!(transposed.expect("f32")[..6], [0.0, 1.0, 2.0, 3.0, 4.0, 0.25]);
    assert_eq!(found["bfloat"].dtype, DType::BF16);
}

#[test]
fn a_training_programs_file_gives_its_model_or_the_copy_asked_for() {
    let path = fixture("training.pt");
    let first = |key| {
        let contents = read(&path, key).expect("a model");
        assert_eq!(
            contents.tensors.keys().collect::<Vec<_>>(),
            [
                "image_encoder.patch_embed.proj.bias",
                "image_encoder.patch_embed.proj.weight",
                "mask_decoder.bias",
                "mask_decoder.weight",
            ]
        );
        let values = contents.tensors["mask_decoder.weight"].to_data().expect("values");
        (values.into_vec::<f32>().expect("f32")[0], contents.copies)
    };
    // The fixture's model is ones, its average twos.
    let (value, copies) = first(None);
    assert_eq!((value, copies.taken.as_str()), (1.0, "model"));
    assert_eq!(copies.others, ["ema.module"]);
    let note = copies.note().expect("there was a choice");
    assert!(note.contains("'model' is taken, and not 'ema.module' (a running average)"), "{note}");
    assert_eq!(first(Some("model")).0, 1.0);
    assert_eq!(first(Some("ema")).0, 2.0);
    let reason = refused(&path, Some("best"));
    assert!(reason.contains("'best'") && reason.contains("'model'"), "{reason}");
    assert_eq!(
        inspect(&path, Some("ema")).map(|_| ()).map_err(|e| e.to_string().is_empty()),
        Err(false)
    );
}

/// `torch.save(model)` in place of its `state_dict`: the same tensors, and no code of it is needed.
#[test]
fn a_model_that_was_saved_as_an_object_is_its_tensors() {
    let object = read(&fixture("object.pt"), None).expect("an object").tensors;
    let state = read(&fixture("training.pt"), Some("model")).expect("a state_dict").tensors;
    assert_eq!(object.keys().collect::<Vec<_>>(), state.keys().collect::<Vec<_>>());
    for (name, tensor) in &object {
        assert_eq!(tensor.to_data().expect("values"), state[name].to_data().expect("values"));
    }
    // It brings the mean of pixels along, which is to be this program's.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("mean.safetensors");
    let shapes =
        Shapes::from([("pixel_mean".to_owned(), vec![3, 1, 1]), ("other".to_owned(), vec![1])]);
    write(&path, &shapes, |_, shape| vec![0.5; shape[0]]);
    let reason = refused(&path, None);
    assert!(reason.contains("pixel_mean") && reason.contains("0.5"), "{reason}");
}

fn zip_of(path: &Path, members: &[(&str, &[u8])], method: zip::CompressionMethod) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("writable"));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, content) in members {
        zip.start_file(*name, options).expect("writable");
        zip.write_all(content).expect("writable");
    }
    zip.finish().expect("writable");
}

#[test]
fn what_are_no_tensors_is_refused_with_the_way_out() {
    let reason = refused(&fixture("expanded.pt"), None);
    assert!(reason.contains("tensor expanded") && reason.contains("contiguous"), "{reason}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("made.pt");
    let stored = zip::CompressionMethod::Stored;
    let empty: &[u8] = b"\x80\x02}q\0.";
    for (members, words) in [
        (&[("a/data.pkl", empty), ("a/constants.pkl", empty)][..], "state_dict()"),
        (&[("a/data.pkl", empty), ("b/data.pkl", empty)], "several lists"),
        (&[("a/other", empty)], "without a list"),
        (&[("a/data.pkl", empty), ("a/byteorder", b"big")], "big-endian"),
        (&[("a/data.pkl", empty), ("a/byteorder", b"little")], "no tensors"),
        (&[("a/data.pkl", &empty[..4])], "damaged or cut off at byte 3"),
    ] {
        zip_of(&path, members, stored);
        let reason = refused(&path, None);
        assert!(reason.contains(words), "{members:?}: {reason}");
    }
    std::fs::write(&path, b"\x80\x02}q\0.\x80\x02}q\0.\x80\x02}q\0.").expect("writable");
    assert!(refused(&path, None).contains("none that torch.save wrote"));
}

/// A member that unpacks to more than it says, or is none of the size that its tensor needs.
#[test]
fn storages_of_another_size_are_refused() {
    let whole = std::fs::File::open(fixture("orders.pt")).expect("a fixture");
    let mut whole = zip::ZipArchive::new(whole).expect("an archive");
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for index in 0..whole.len() {
        let mut member = whole.by_index(index).expect("a member");
        let mut bytes = Vec::new();
        std::io::copy(&mut member, &mut bytes).expect("readable");
        members.push((member.name().to_owned(), bytes));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("made.pt");
    let write = |members: &[(String, Vec<u8>)]| {
        let members: Vec<(&str, &[u8])> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        zip_of(&path, &members, zip::CompressionMethod::Deflated);
    };
    write(&members);
    let packed = read(&path, None).expect("packed by another program").tensors;
    assert_eq!(packed["plain"].to_data().expect("values").shape.to_vec(), [2, 3]);
    let storage = members.iter().position(|(name, _)| name.ends_with("/data/0")).expect("one");
    for length in [0, 8, 1 << 20] {
        let mut changed = members.clone();
        changed[storage].1.resize(length, 0);
        write(&changed);
        let reason = refused(&path, None);
        assert!(reason.contains("tensor plain needs 24 bytes"), "{reason}");
    }
    members.remove(storage);
    write(&members);
    assert!(refused(&path, None).contains("the file has 0"));
}

/// More tensors than any model has are refused by the length of their list, in no time.
#[test]
fn many_tiny_tensors_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("many.safetensors");
    let shapes: Shapes = (0..100_000).map(|i| (format!("tensor.{i}"), vec![1])).collect();
    write(&path, &shapes, |_, _| vec![0.0]);
    let reason = refused(&path, None);
    assert!(reason.contains("longer than any model's"), "{reason}");
    let mut native = b"NRUB\x01\0".to_vec();
    native.extend((100u32 << 20).to_le_bytes());
    let path = folder.path().join("many.bpk");
    std::fs::write(&path, native).expect("writable");
    assert!(refused(&path, None).contains("longer than any model's"));
}

/// The shipped weights with one tensor's values changed.
fn changed(path: &Path, name: &str, change: impl Fn(&mut Vec<f32>)) {
    let tensors = read(&shipped_weights(), None).expect("whole").tensors;
    let values: BTreeMap<String, Vec<f32>> = tensors
        .iter()
        .map(|(name, tensor)| {
            let data = tensor.to_data().expect("values").convert::<f32>();
            (name.clone(), data.into_vec().expect("f32"))
        })
        .collect();
    let shapes: Shapes =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.to_vec())).collect();
    assert!(shapes.contains_key(name), "{name}");
    write(path, &shapes, |tensor, _| {
        let mut values = values[tensor].clone();
        if tensor == name {
            change(&mut values);
        }
        values
    });
}

#[test]
fn weights_that_can_be_none_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("changed.safetensors");
    let load = || Sam::load(&path, None, &cpu()).map(|sam| sam.architecture());
    let iou = "mask_decoder.iou_prediction_head.layers.2.bias";
    let fc = "image_encoder.layers.1.blocks.0.mlp.fc1.weight";
    let variance = "image_encoder.patch_embed.seq.0.bn.running_var";
    changed(&path, iou, |_| ());
    assert_eq!(load().expect("as shipped"), Architecture::MobileSam);
    type Change = fn(&mut Vec<f32>);
    let cases: [(&str, Change, &str); 5] = [
        (iou, |values| values[3] = f32::NAN, "no number"),
        (fc, |values| values[77] = f32::NEG_INFINITY, "no number"),
        (fc, |values| values[77] = 3e30, "no weight"),
        (fc, |values| values.fill(0.0), "nothing but zeros"),
        (variance, |values| values[0] = -1.0, "negative"),
    ];
    for (name, change, words) in cases {
        changed(&path, name, change);
        let error = load().expect_err(words).to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn a_model_in_a_training_programs_file_is_the_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("both.safetensors");
    let tensors = read(&shipped_weights(), None).expect("whole").tensors;
    let both = |name: &str| [format!("model.{name}"), format!("model_ema.{name}")];
    let shapes: Shapes = tensors
        .iter()
        .flat_map(|(name, tensor)| both(name).map(|name| (name, tensor.shape.to_vec())))
        .collect();
    write(&path, &shapes, |name, _| {
        let (copy, name) = name.split_once('.').expect("two parts");
        let data = tensors[name].to_data().expect("values").convert::<f32>();
        let mut values: Vec<f32> = data.into_vec().expect("f32");
        if copy == "model_ema" && name == "mask_decoder.iou_prediction_head.layers.2.bias" {
            values.fill(0.25);
        }
        values
    });
    let load = |key: Option<&str>| {
        let options = LoadOptions { architecture: None, checkpoint_key: key.map(str::to_owned) };
        let sam = Sam::load_with(&path, &options, &cpu()).expect("a whole model");
        let bias = sam.model.mask_decoder.iou_prediction_head.layers[2].bias.clone();
        let bias: Vec<f32> = bias.expect("a bias").val().into_data().into_vec().expect("f32");
        (sam.note().map(str::to_owned), bias)
    };
    let (note, plain) = load(None);
    let note = note.expect("there was a choice");
    assert!(note.contains("both.safetensors") && note.contains("'model_ema'"), "{note}");
    assert_ne!(plain, [0.25; 4]);
    assert_eq!(load(Some("model")), (None, plain));
    assert_eq!(load(Some("model_ema")), (None, vec![0.25; 4]));
    let info = inspect(&path, None).expect("a model");
    assert_eq!(info.tensors.len(), tensors.len());
}
