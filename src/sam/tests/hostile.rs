//! Files that are damaged or mean harm give an error: no panic, no crash, nothing run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fixture::{cpu, weights};
use super::safetensors::{read_pytorch, write};
use crate::sam::{Architecture, Base, LoadOptions, Metadata, Sam, SamError, convert, inspect};

/// Names the folder whose files the inner test reads.
const FOLDER: &str = "P2SAM_TEST_HOSTILE_FILES";

/// The sha256 that the made adapters are for.
const BASE: &str = "the base's sha256";

/// The inner test: runs in a process of its own, so that a crash or a panic's message is seen.
/// Without its folder it has nothing to do.
#[test]
fn reads_hostile_files() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        eprintln!("reading {name}");
        if let Err(error) = inspect(&path, None) {
            assert!(error.to_string().contains(&name), "{error}");
        }
        if name.starts_with("adapter-") {
            let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/mobile_sam.pt");
            let base = Base { path: base, sha256: BASE.to_owned() };
            let outcome = match Sam::load_adapted(&base, &path, &cpu()) {
                Ok(_) => "loaded".to_owned(),
                Err(SamError::Adapter { reason, .. }) => format!("adapter: {reason}"),
                Err(SamError::Read { reason, .. }) => format!("read: {reason}"),
                Err(other) => format!("other: {other}"),
            };
            println!("{name}\t{}", outcome.replace('\n', " "));
            continue;
        }
        // Forced, so that the tensors are looked at even where no architecture is recognised.
        let outcome = match Sam::load(&path, Some(Architecture::MobileSam), &cpu()) {
            Ok(_) => "loaded".to_owned(),
            Err(SamError::Read { reason, .. }) => format!("read: {reason}"),
            Err(SamError::Mismatch { .. }) => "mismatch".to_owned(),
            Err(other) => format!("other: {other}"),
        };
        println!("{name}\t{}", outcome.replace('\n', " "));
    }
}

fn zip_of(path: &Path, pickle: &[u8]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("a writable folder"));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in
        [("data.pkl", pickle), ("byteorder", b"little"), ("data/0", &[0; 64]), ("version", b"3\n")]
    {
        zip.start_file(format!("archive/{name}"), stored).expect("room on the disk");
        zip.write_all(content).expect("room on the disk");
    }
    zip.finish().expect("room on the disk");
}

/// Pickles that call `os.system` when Python loads them.
fn harmful_pickles(command: &str) -> Vec<(&'static str, Vec<u8>)> {
    let old = format!("cos\nsystem\n(S'{command}'\ntR").into_bytes();
    // The same with the opcodes that PyTorch writes.
    let length = (command.len() as u32).to_le_bytes();
    let call = [b"cos\nsystem\nX", length.as_slice(), command.as_bytes(), b"\x85R"].concat();
    // A state dict with one honest-looking name, whose value is the call.
    let entry = |value: &[u8]| [b"}q\0X\x14\0\0\0image_encoder.weight", value, b"s"].concat();
    let second = |body: &[u8]| [b"\x80\x02", body, b"."].concat();
    vec![
        ("first", [old.as_slice(), b"."].concat()),
        ("old", second(&old)),
        ("call", second(&call)),
        ("old-entry", second(&entry(&old))),
        ("call-entry", second(&entry(&call))),
    ]
}

/// Safetensors with a header of that length in its first bytes.
fn safetensors(length: u64, header: &str, data: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), header.as_bytes(), data].concat()
}

/// Every file and, of those that can be told in advance, nothing but an error of reading.
fn make_small(folder: &Path, command: &str) {
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("a writable folder");
    };
    put("empty.pt", b"");
    put("short.pt", b"PK\x03\x04");
    put("text.pt", b"these are no weights\n");
    put("text-9.safetensors", b"12345678{ and so on");
    put("zeros.pt", &[0; 4096]);
    put("page.pt", b"<!DOCTYPE html><html><body>Sign in to download</body></html>");
    for (name, pickle) in harmful_pickles(command) {
        put(&format!("{name}.pkl"), &pickle);
        zip_of(&folder.join(format!("{name}-zip.pt")), &pickle);
    }
    put("endless.pkl", &[[0x80, 2].as_slice(), &[b'('; 200_000], b"."].concat());
    put("nested.pkl", &[[0x80, 2].as_slice(), &[b']'; 10_000], &[b'a'; 9_999], b"."].concat());
    put("long-text.pkl", b"\x80\x02X\xff\xff\xff\x7fabc.");
    zip_of(&folder.join("memo-zip.pt"), b"\x80\x02}q\0r\xff\xff\xff\xffh\x09.");

    let name = "image_encoder.patch_embed.seq.0.c.weight";
    let tensor = |shape: &str, end: &str| {
        format!(r#"{{"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let make = |shape: &str, end: &str| {
        let header = tensor(shape, end);
        safetensors(header.len() as u64, &header, &[0; 16])
    };
    put("promises.safetensors", &make("[32,3,3,3]", "3456"));
    put("overflow.safetensors", &make("[9223372036854775807,4]", "16"));
    put("other-size.safetensors", &make("[32,3,3,3]", "16"));
    put("backwards.safetensors", &make("[4]", "-16"));
    let header = tensor("[4]", "16");
    for (name, length) in [("huge", u64::MAX), ("tera", 1 << 40), ("cut", 1 << 20), ("part", 20)] {
        put(&format!("{name}-header.safetensors"), &safetensors(length, &header, &[0; 16]));
    }
    put("no-tensors.safetensors", &safetensors(2, "{}", b""));
    for (name, sizes) in [("junk", [7u8; 64]), ("huge", [255; 64]), ("zero", [0; 64])] {
        put(&format!("{name}.bpk"), &[b"NRUB".as_slice(), &sizes].concat());
        put(&format!("{name}-turned.bpk"), &[b"BURN".as_slice(), &sizes].concat());
    }
}

/// Adapters none of which fits.
fn make_adapters(folder: &Path) {
    let put = |name: &str, metadata: serde_json::Value, tensors: &[(&str, &str, &[u64])], fill| {
        let mut end = 0;
        let mut header = serde_json::Map::from_iter([("__metadata__".to_owned(), metadata)]);
        for (name, dtype, shape) in tensors {
            let start = end;
            let size = if *dtype == "F16" { 2 } else { 4 };
            end += shape.iter().product::<u64>() * size;
            let tensor = serde_json::json!(
                { "dtype": dtype, "shape": shape, "data_offsets": [start, end] }
            );
            header.insert((*name).to_owned(), tensor);
        }
        let header = serde_json::Value::from(header).to_string();
        let bytes = safetensors(header.len() as u64, &header, &vec![fill; end as usize]);
        std::fs::write(folder.join(format!("adapter-{name}.safetensors")), bytes)
            .expect("a writable folder");
    };
    let says = |version: &str, base: &str, architecture: &str| {
        serde_json::json!({
            "p2sam.adapter": version, "base_sha256": base, "architecture": architecture,
            "base_file": "../../../etc/passwd"
        })
    };
    let good = || says("1", BASE, "mobile-sam");
    let token = ("mask_decoder.iou_token.weight", "F32", &[1u64, 256] as &[u64]);
    put("version", says("2", BASE, "mobile-sam"), &[token], 0);
    put("base", says("1", "another", "mobile-sam"), &[token], 0);
    put("architecture", says("1", BASE, "vit-h"), &[token], 0);
    put("no-architecture", says("1", BASE, "no such model"), &[token], 0);
    put("no-base", serde_json::json!({ "p2sam.adapter": "1" }), &[token], 0);
    put("numbers", serde_json::json!({ "p2sam.adapter": 1 }), &[token], 0);
    put("nested", serde_json::json!({ "p2sam.adapter": { "a": ["1"] } }), &[token], 0);
    put("none", good(), &[], 0);
    put("not-a-number", good(), &[token], 0xff);
    put("integers", good(), &[("mask_decoder.iou_token.weight", "I32", &[1, 256])], 0);
    put("shape", good(), &[("mask_decoder.iou_token.weight", "F32", &[256])], 0);
    put("nothing", good(), &[("mask_decoder.iou_token.weight", "F32", &[1 << 60, 0])], 0);
    put("unknown", good(), &[("mask_decoder.no_such", "F32", &[1])], 0);
    let proj = |end| format!("image_encoder.layers.1.blocks.0.attn.proj.weight.lora_{end}");
    let (a, b) = (proj("a"), proj("b"));
    let (a, b) = (a.as_str(), b.as_str());
    put("half-a", good(), &[(a, "F32", &[1, 128])], 0);
    put("half-b", good(), &[(b, "F32", &[128, 1])], 0);
    put("wide", good(), &[(a, "F16", &[1, 128]), (b, "F16", &[160, 1])], 0);
    put("ranks", good(), &[(a, "F16", &[2, 128]), (b, "F16", &[128, 1])], 0);
    put("huge-rank", good(), &[(a, "F32", &[1 << 60, 0]), (b, "F32", &[0, 1 << 60])], 0);
    let conv = |end| format!("image_encoder.patch_embed.seq.0.c.weight.lora_{end}");
    let (a, b) = (conv("a"), conv("b"));
    let (a, b) = (a.as_str(), b.as_str());
    put("convolution", good(), &[(a, "F32", &[1, 3]), (b, "F32", &[32, 1])], 0);
}

/// Published weights, cut off and with changed bytes.
fn make_from_weights(folder: &Path, weights: &Path) {
    let put = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).expect("a writable folder");
    };
    let cut = |name: &str, from: &Path| {
        let bytes = std::fs::read(from).expect("a readable file");
        for (part, length) in [("1k", 1000), ("half", bytes.len() / 2), ("end", bytes.len() - 100)]
        {
            put(&format!("cut-{part}-{name}"), &bytes[..length]);
        }
    };
    cut("weights.pt", weights);
    let whole = tempfile::tempdir().expect("a temporary folder");
    let path = whole.path().join("whole");
    let (shapes, tensors) = read_pytorch(weights);
    write(&path, &shapes, |name, _| tensors[name].clone());
    cut("weights.safetensors", &path);
    convert(weights, None, &LoadOptions::default(), &path, true, &Metadata::new())
        .expect("a good file");
    cut("weights.bpk", &path);

    let mut archive =
        zip::ZipArchive::new(std::fs::File::open(weights).expect("a file")).expect("a zip archive");
    let name = archive.file_names().find(|n| n.ends_with("data.pkl")).expect("a pickle").to_owned();
    let mut pickle = Vec::new();
    std::io::copy(&mut archive.by_name(&name).expect("a pickle"), &mut pickle).expect("readable");
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    for number in 0..40 {
        let mut changed = pickle.clone();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (state >> 33) as usize % changed.len();
            changed[place] = (state >> 25) as u8;
        }
        zip_of(&folder.join(format!("changed-{number:02}.pt")), &changed);
    }
}

#[test]
fn hostile_files_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = folder.path().join("files");
    std::fs::create_dir(&files).expect("a writable folder");
    let witness = folder.path().join("witness");
    make_small(&files, &format!("touch {}", witness.display()));
    make_adapters(&files);
    if let Some(weights) = weights("mobile_sam.pt") {
        make_from_weights(&files, &weights);
    }
    std::fs::create_dir(files.join("a-folder.pt")).expect("a writable folder");

    let module = module_path!().split_once("::").map_or("", |(_, path)| path);
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([&format!("{module}::reads_hostile_files"), "--exact", "--nocapture"])
        .env(FOLDER, &files)
        .output()
        .expect("this program runs");
    let (said, noise) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{}: {said}{noise}", output.status);
    assert!(!noise.contains("panicked"), "{noise}");
    assert!(!witness.exists(), "code of a file was run");
    let outcomes: Vec<(&str, &str)> = said.lines().filter_map(|l| l.split_once('\t')).collect();
    assert_eq!(outcomes.len(), std::fs::read_dir(&files).expect("a folder").count(), "{said}");
    for (name, outcome) in outcomes {
        let told = outcome.starts_with("read: ")
            || outcome == "mismatch"
            || name.starts_with("adapter-") && outcome.starts_with("adapter: ");
        assert!(told, "{name}: {outcome}");
    }
}
