//! Runs of MobileSAM with made weights on made pictures, at the smallest input.

use std::path::Path;

use burn::Dispatch;
use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;

use super::run::{ADAPTER, BEST, LOG, Run, STATE};
use super::*;
use crate::augment::Augmentation;
use crate::augment::Random;
use crate::dataset::{Sample, pairs};
use crate::image::{Foreground, Frame, Mask};
use crate::sam::{
    Architecture, Base, Device, DeviceChoice, LoraConfig, MaskOutput, Metadata, Model, Prompt, Sam,
    SamError, adapter_info, load_adapted, load_unfused, mobile_weights, save_native, tensors_of,
};
use crate::weights::{find_base, sha256};

/// Weights that every run of the tests makes alike, and the name of the tensor at hand.
struct Made(Random, String);

impl ModuleMapper<Dispatch> for Made {
    fn enter_module(&mut self, name: &str, _: &str) {
        name.clone_into(&mut self.1);
    }

    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Dispatch, D>>,
    ) -> Param<Tensor<Dispatch, D>> {
        let dims = param.dims();
        if D == 1 {
            let shift = ["bias", "beta", "running_mean"].contains(&self.1.as_str());
            return param.map(|old| old.zeros_like().add_scalar(if shift { 0.0 } else { 1.0 }));
        }
        let fan_in = if D == 2 { dims[0] } else { dims[1..].iter().product() };
        let scale = (3.0 / fan_in as f32).sqrt().min(0.5);
        let count = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.0.between(-scale, scale)).collect();
        param.map(|old| Tensor::from_data(TensorData::new(values, dims), &old.device()))
    }
}

const ARCHITECTURE: Architecture = Architecture::MobileSam;

fn cpu() -> Device {
    Device::open(DeviceChoice::Cpu).expect("there is always one")
}

fn made_model() -> Model<Dispatch> {
    Model::new(ARCHITECTURE, None, cpu().inner()).map(&mut Made(Random::at(11, &[]), String::new()))
}

/// Pictures of 128 pixels by `height` with one bright disc each.
fn draw(dir: &Path, count: usize, height: u32) {
    for folder in ["images", "masks"] {
        std::fs::create_dir_all(dir.join(folder)).expect("made");
    }
    for index in 0..count {
        let mut random = Random::at(21, &[index as u64]);
        let radius = random.between(14.0, 24.0);
        let centre = [random.between(30.0, 98.0), random.between(30.0, 66.0)];
        let on = |place: usize| {
            let (x, y) = ((place % 128) as f32 - centre[0], (place / 128) as f32 - centre[1]);
            x * x + y * y < radius * radius
        };
        let mask: Vec<bool> = (0..128 * height as usize).map(on).collect();
        let rgb = mask.iter().flat_map(|&on| if on { [230, 120, 90] } else { [90, 30, 30] });
        let frame = Frame::new(128, height, rgb.collect()).expect("sizes agree");
        frame.save_png(&dir.join(format!("images/{index}.png"))).expect("written");
        let mask = Mask::new(128, height, mask).expect("sizes agree");
        mask.save_png(&dir.join(format!("masks/{index}.png"))).expect("written");
    }
}

/// One data set, every picture a patient of its own.
fn split(
    samples: Vec<Sample>,
    validation: Validation,
    seed: u64,
) -> Result<TrainingData, FinetuneError> {
    let set = DataSet { name: "made".to_owned(), samples, absent: Vec::new() };
    TrainingData::new(vec![set], &Split::new(validation), seed)
}

/// A folder with pictures, and where a run of them goes.
pub(super) struct Place {
    pub folder: tempfile::TempDir,
    pub start: Start,
}

impl Place {
    pub fn new(pictures: usize) -> Self {
        Self::of_size(pictures, 96)
    }

    pub fn of_size(pictures: usize, height: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        draw(folder.path(), pictures, height);
        let weights = folder.path().join("base");
        std::fs::write(&weights, b"what the made model stands for").expect("written");
        let start = Start {
            weights,
            architecture: None,
            normalisation: None,
            device: cpu(),
            folder: folder.path().join("run"),
            metadata: Metadata::new(),
            cache: None,
        };
        Self { folder, start }
    }

    fn samples(&self) -> Vec<Sample> {
        pairs(self.folder.path(), Foreground::AboveMiddle).expect("a data set")
    }

    pub fn data(&self, held_out: f64) -> TrainingData {
        split(self.samples(), Validation::Share(held_out), 1).expect("usable")
    }

    /// Runs until the end or until so many steps are done.
    pub fn run(
        &self,
        data: &TrainingData,
        options: &FinetuneOptions,
        until: u64,
    ) -> Result<(Finetuned, Vec<MetricsLine>), FinetuneError> {
        self.run_of(made_model(), data, options, until)
    }

    fn run_of(
        &self,
        model: Model<Dispatch>,
        data: &TrainingData,
        options: &FinetuneOptions,
        until: u64,
    ) -> Result<(Finetuned, Vec<MetricsLine>), FinetuneError> {
        let lines = std::cell::RefCell::new(Vec::new());
        let run = Run::begin(model, ARCHITECTURE, &self.start, data, options)?;
        let done = run.run(&mut |line| lines.borrow_mut().push(line.clone()), &|| {
            lines.borrow().last().is_some_and(|line| line.step() >= until)
        })?;
        Ok((done, lines.into_inner()))
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.start.folder.join(name)
    }
}

pub(super) fn quick() -> FinetuneOptions {
    FinetuneOptions {
        part: TrainedPart::Decoder,
        input_side: 128,
        batch: 2,
        passes: 2,
        attached: true,
        epochs: 1000.0,
        max_steps: Some(4),
        validate_every: 100,
        save_every: 2,
        ..FinetuneOptions::default()
    }
}

pub(super) fn losses(lines: &[MetricsLine]) -> Vec<(u64, StepLosses)> {
    let step = |line: &MetricsLine| match line {
        MetricsLine::Step { step, losses, .. } => Some((*step, *losses)),
        MetricsLine::Validation { .. } => None,
    };
    lines.iter().filter_map(step).collect()
}

fn values(path: &Path) -> Vec<f32> {
    struct All(Vec<f32>);
    impl burn::module::ModuleVisitor<Dispatch> for All {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Dispatch, D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let (model, architecture) = load_unfused(path, None, &cpu()).expect("whole weights");
    assert_eq!(architecture, ARCHITECTURE);
    let mut all = All(Vec::new());
    model.visit(&mut all);
    all.0
}

#[test]
fn a_run_that_was_stopped_goes_on_as_if_it_had_not_been() {
    let options =
        FinetuneOptions { part: TrainedPart::Full, max_steps: Some(4), clip: Some(1.0), ..quick() };
    let whole = Place::new(5);
    let data = whole.data(0.0);
    let (done, lines) = whole.run(&data, &options, 100).expect("trained");
    assert_eq!((done.steps, done.interrupted), ((4, 4), false));

    let parts = Place::new(5);
    let (done, first) = parts.run(&data, &options, 2).expect("trained");
    assert_eq!((done.steps, done.interrupted), ((2, 4), true));
    // A kill after the state was saved leaves lines of steps that will be taken again.
    let log = std::fs::read_to_string(parts.file(LOG)).expect("readable");
    let surplus = log.lines().last().expect("a line").replace("\"step\":2", "\"step\":3");
    std::fs::write(parts.file(LOG), format!("{log}{surplus}\n{{\"kind\":\"st")).expect("written");

    let (done, second) = parts.run(&data, &options, 100).expect("trained");
    assert_eq!((done.steps, done.resumed_at), ((4, 4), 2));
    assert_eq!(losses(&lines), losses(&[first, second].concat()));
    assert!(values(&whole.file(BEST)) == values(&parts.file(BEST)), "other weights");
    let log = std::fs::read_to_string(parts.file(LOG)).expect("readable");
    let steps: Vec<u64> = log
        .lines()
        .map(|line| serde_json::from_str::<MetricsLine>(line).expect("a line").step())
        .collect();
    assert_eq!(steps, [1, 2, 3, 4]);
}

#[test]
fn lora_learns_and_its_adapter_is_the_model() {
    let options = FinetuneOptions {
        part: TrainedPart::Lora,
        lora: LoraConfig { rank: 2, ..LoraConfig::default() },
        adapter: true,
        learning_rate: 1e-2,
        max_steps: Some(3),
        ..quick()
    };
    let place = |name: &str| {
        let mut place = Place::new(4);
        place.start.metadata = [("data".to_owned(), name.to_owned())].into();
        save_native(&made_model(), ARCHITECTURE, &place.start.weights, false).expect("written");
        place
    };
    let (whole, parts) = (place("discs"), place("discs"));
    // Written twice, a model has other parameter numbers: the base of an adapter is one file.
    std::fs::copy(&whole.start.weights, &parts.start.weights).expect("copied");
    let data = whole.data(0.0);
    let (done, lines) = whole.run(&data, &options, 100).expect("trained");
    assert_eq!(done.weights, Some(whole.file(ADAPTER)));
    let (_, first) = parts.run(&data, &options, 1).expect("trained");
    let (done, second) = parts.run(&data, &options, 100).expect("trained");
    assert_eq!((done.resumed_at, done.steps), (1, (3, 3)));
    assert_eq!(losses(&lines), losses(&[first, second].concat()));
    let read = |name: &str| std::fs::read(whole.file(name)).expect("readable");
    assert!(read(ADAPTER) == std::fs::read(parts.file(ADAPTER)).expect("readable"), "other bytes");

    let run = Run::begin(made_model(), ARCHITECTURE, &whole.start, &data, &options).expect("begun");
    let learnt = tensors_of(&run.for_inference()).expect("tensors");
    let info = adapter_info(&whole.file(ADAPTER)).expect("whole").expect("an adapter");
    assert_eq!((info.metadata["data"].as_str(), info.base_file()), ("discs", Some("base")));
    assert!(info.metadata["recipe"].contains("\"rank\":2"), "{:?}", info.metadata);
    // Its base lies elsewhere, unless it is put beside it.
    assert!(find_base(&whole.file(ADAPTER), &info).is_err());
    std::fs::copy(&whole.start.weights, whole.file("base")).expect("copied");
    let base = find_base(&whole.file(ADAPTER), &info).expect("beside it");
    let (merged, _) = load_adapted(&base, &whole.file(ADAPTER), &cpu()).expect("it fits");
    let (first, last) = (tensors_of(&made_model()), tensors_of(&merged));
    let (first, last) = (first.expect("tensors"), last.expect("tensors"));
    let floats = |data: &TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    let (mut encoder, mut decoder) = (0, 0);
    for (name, data) in &last {
        let (found, expected) = (floats(data), floats(&learnt[name]));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        if first[name] != *data {
            *(if name.starts_with("image_encoder.") { &mut encoder } else { &mut decoder }) += 1;
        }
    }
    // qkv and proj of 10 blocks, and nothing else.
    assert_eq!(encoder, 20);
    assert!(decoder > 50, "{decoder} tensors of the decoder");

    let other = Base { sha256: sha256(&whole.file(LOG)).expect("readable"), ..base };
    let error = load_adapted(&other, &whole.file(ADAPTER), &cpu()).expect_err("another base");
    assert!(matches!(error, SamError::Adapter { .. }), "{error}");
    let mut again = place("discs");
    again.start.weights = whole.file(ADAPTER);
    let error =
        finetune(&again.start, &data, &options, &mut |_| (), &|| true).expect_err("an adapter");
    assert!(error.to_string().contains("adapter itself"), "{error}");
    let options = FinetuneOptions { adapter: false, max_steps: Some(1), ..options };
    let done = finetune(&again.start, &data, &options, &mut |_| (), &|| false).expect("trained");
    assert!(values(&done.weights.expect("the last step's")).iter().all(|v| v.is_finite()));
}

#[test]
fn eight_pictures_are_learnt_by_heart() {
    let Some(weights) = mobile_weights() else { return };
    let mut place = Place::new(8);
    place.start.weights = weights;
    let mut data = place.data(0.0);
    data.held_out = data.train.clone();
    let options = FinetuneOptions {
        batch: 8,
        passes: 1,
        max_steps: Some(120),
        learning_rate: 5e-4,
        augment: Augmentation::None,
        validate_every: 10,
        save_every: 1000,
        ..quick()
    };
    let reached = std::cell::Cell::new(0.0);
    let done = finetune(
        &place.start,
        &data,
        &options,
        &mut |line| {
            if let MetricsLine::Validation { step, scores, .. } = line {
                println!("step {step}: {scores:?}");
                reached.set(scores.score());
            }
        },
        &|| reached.get() > 0.95,
    )
    .expect("trained");
    assert!(reached.get() > 0.95, "mean Dice {}", reached.get());
    let best = done.weights.expect("better than before");
    assert!(values(&best).iter().all(|value| value.is_finite()));
}

#[test]
fn settings_and_data_of_another_run_are_refused() {
    let place = Place::new(4);
    let data = place.data(0.25);
    let options = FinetuneOptions { passes: 1, max_steps: Some(2), ..quick() };
    place.run(&data, &options, 100).expect("trained");
    let refused = |data: &TrainingData, options: &FinetuneOptions| {
        let error = place.run(data, options, 100).expect_err("another run");
        assert!(matches!(error, FinetuneError::OtherRun { .. }), "{error}");
        error.to_string()
    };
    let text = refused(&data, &FinetuneOptions { seed: 5, ..options.clone() });
    assert!(text.contains("seed: 0 then, 5 now"), "{text}");
    let mut fewer = place.samples();
    fewer.pop();
    let fewer = split(fewer, Validation::Share(0.25), 1).expect("usable");
    assert!(refused(&fewer, &options).contains("data"));
    let text = refused(&data, &FinetuneOptions { absent_share: 0.5, ..options.clone() });
    assert!(text.contains("absent-share: 0.0 then, 0.5 now"), "{text}");
    std::fs::write(&place.start.weights, b"other weights").expect("written");
    assert!(refused(&data, &options).contains("weights"));

    let state = std::fs::read(place.file(STATE)).expect("readable");
    for damaged in [&state[..state.len() / 2], &[], b"something else, longer than a checksum is"] {
        std::fs::write(place.file(STATE), damaged).expect("written");
        let error = place.run(&data, &options, 100).expect_err("a damaged state");
        assert!(matches!(error, FinetuneError::State { .. }), "{error}");
    }
}

#[test]
fn a_loss_that_is_no_number_stops_with_the_last_good_state() {
    struct Broken;
    impl ModuleMapper<Dispatch> for Broken {
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<Dispatch, D>>,
        ) -> Param<Tensor<Dispatch, D>> {
            param.map(|tensor| tensor * f32::NAN)
        }
    }
    let place = Place::new(2);
    let data = place.data(0.0);
    let mut model = made_model();
    model.mask_decoder = model.mask_decoder.map(&mut Broken);
    let error = place.run_of(model, &data, &quick(), 100).expect_err("no number").to_string();
    for part in ["step 1: the loss is not finite", "0, 1", "last good weights"] {
        assert!(error.contains(part) || error.contains("1, 0"), "{error}");
    }
    assert!(!place.file(STATE).exists() && !place.file(BEST).exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_state_that_was() {
    let place = Place::new(3);
    let data = place.data(0.0);
    let options = FinetuneOptions { passes: 1, ..quick() };
    let log = place.file(LOG);
    let run = Run::begin(made_model(), ARCHITECTURE, &place.start, &data, &options).expect("begun");
    let error = run
        .run(
            &mut |line| {
                if line.step() == 3 {
                    std::fs::rename(&log, log.with_extension("whole")).expect("renamed");
                    std::os::unix::fs::symlink("/dev/full", &log).expect("linked");
                }
            },
            &|| false,
        )
        .expect_err("a full disk");
    assert!(matches!(error, FinetuneError::File { .. }), "{error}");
    assert!(error.to_string().contains("No space left"), "{error}");
    std::fs::remove_file(&log).expect("removed");
    let (done, _) = place.run(&data, &options, 100).expect("space again");
    assert_eq!((done.resumed_at, done.steps), (2, (4, 4)));
}

#[test]
fn data_that_teaches_nothing_is_refused_or_reported() {
    let place = Place::new(6);
    let write = |name: &str, on: bool| {
        let mask = Mask::new(128, 96, vec![on; 128 * 96]).expect("sizes agree");
        mask.save_png(&place.folder.path().join("masks").join(name)).expect("written");
    };
    write("0.png", false);
    // A mask of one grey level is read as full only if the level is above the middle.
    let full = image::GrayImage::from_fn(128, 96, |_, _| image::Luma([255]));
    full.save(place.folder.path().join("masks/1.png")).expect("written");
    let data = place.data(0.4);
    assert_eq!(data.skipped, ["1"]);
    assert_eq!(data.train.len() + data.absent.len() + data.held_out.len(), 5);
    assert_eq!(data.held_out.len(), 2);

    let options = FinetuneOptions { batch: 5, ..quick() };
    let error = place.run(&data, &options, 1).expect_err("too large").to_string();
    assert!(error.contains("a batch of 5 is larger than the"), "{error}");
    let all = split(place.samples(), Validation::Share(1.0), 1);
    let error = all.expect_err("all held out").to_string();
    assert!(error.contains("left to train on: 5 images held out, 0 with an empty mask, 1 with"));

    let options = FinetuneOptions { object_score: true, ..quick() };
    let error = place.run(&data, &options, 1).expect_err("no absence").to_string();
    assert!(error.contains("--absent-share") && error.contains("--object-score"), "{error}");

    for name in 1..6 {
        write(&format!("{name}.png"), false);
    }
    let error = split(place.samples(), Validation::Share(0.0), 1).expect_err("no object");
    let text = error.to_string();
    assert!(text.contains("no image with an object") && text.contains("6 with an empty"), "{text}");

    std::fs::write(place.folder.path().join("images/2.png"), b"no picture").expect("written");
    std::fs::write(place.folder.path().join("masks/3.png"), b"").expect("written");
    let error = split(place.samples(), Validation::Share(0.5), 1).expect_err("unreadable");
    let error = error.to_string();
    assert!(error.contains("images/2.png") && error.contains("masks/3.png"), "{error}");
}

#[test]
fn one_picture_is_enough_and_patients_stay_together() {
    let place = Place::new(1);
    let options = FinetuneOptions { batch: 1, passes: 1, max_steps: Some(1), ..quick() };
    let (done, _) = place.run(&place.data(0.0), &options, 100).expect("trained");
    assert_eq!(done.weights, Some(place.file(BEST)));

    let place = Place::new(9);
    let mut samples = place.samples();
    for (index, sample) in samples.iter_mut().enumerate() {
        sample.name = format!("p{}_{index}", index / 3);
    }
    let patient = |image: &TrainingImage| image.name[..2].to_owned();
    let part = |validation: Validation, patients: &[(&str, &str)]| {
        let set = DataSet { name: "made".to_owned(), samples: samples.clone(), absent: Vec::new() };
        let of = |(name, patient): &(&str, &str)| ((*name).to_owned(), (*patient).to_owned());
        let patients = patients.iter().map(of).collect();
        let split = Split { validation, patient_ends_at: Some("_".to_owned()), patients };
        TrainingData::new(vec![set], &split, 3)
    };
    let one = part(Validation::Share(0.34), &[]).expect("usable");
    assert_eq!((one.train.len(), one.held_out.len()), (6, 3));
    assert!(one.held_out.iter().all(|s| patient(s) == patient(&one.held_out[0])));

    // A name alone is validated with; its patient's others, and those said to be of it, are neither
    // here nor there.
    let named = Validation::Names(["p1_4".to_owned()].into());
    let said = part(named, &[("p0_0", "p1")]).expect("usable");
    let names =
        |images: &[TrainingImage]| images.iter().map(|i| i.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&said.held_out), ["p1_4"]);
    assert_eq!(said.beside, 3);
    assert_eq!(names(&said.train), ["p0_1", "p0_2", "p2_6", "p2_7", "p2_8"]);
    let error = part(Validation::Names(["p7_1".to_owned()].into()), &[]).expect_err("no such name");
    assert!(error.to_string().contains("p7_1"), "{error}");
}

#[test]
fn absence_is_learnt_kept_and_read_back() {
    let mut place = Place::new(6);
    let background: Vec<u8> = [90, 30, 30].repeat(128 * 96);
    let nothing = Frame::new(128, 96, background).expect("sizes agree");
    let absent = place.folder.path().join("absent");
    std::fs::create_dir(&absent).expect("made");
    for name in ["a.png", "b.png"] {
        nothing.save_png(&absent.join(name)).expect("written");
    }
    let annotated = DataSet { name: "made".to_owned(), samples: place.samples(), absent: vec![] };
    let others = DataSet::without_object(&absent).expect("two images");
    let split = Split::new(Validation::Share(0.0));
    let mut data = TrainingData::new(vec![annotated, others], &split, 1).expect("usable");
    assert_eq!((data.train.len(), data.absent.len()), (6, 2));
    data.held_out = [data.train.clone(), data.absent.clone()].concat();
    let options = FinetuneOptions {
        batch: 6,
        passes: 1,
        no_prompt_share: 1.0,
        object_score: true,
        absent_share: 0.5,
        average: 0.8,
        max_steps: Some(60),
        learning_rate: 1e-3,
        augment: Augmentation::None,
        validate_every: 60,
        save_every: 20,
        half: true,
        ..quick()
    };
    let polyp = crate::weights::find_weights("polyp").expect("shipped");
    let run = |until| {
        let (model, _) = load_unfused(&polyp, None, &cpu()).expect("whole weights");
        place.run_of(model, &data, &options, until).expect("trained")
    };
    let (_, first) = run(20);
    let (done, second) = run(1000);
    assert_eq!(done.resumed_at, 20);
    let losses = losses(&[first, second.clone()].concat());
    let mean = |part: &[(u64, StepLosses)]| part.iter().map(|l| l.1.object).sum::<f32>() / 10.0;
    assert!(mean(&losses[50..]) < 0.6 * mean(&losses[..10]), "{losses:?}");
    let Some(MetricsLine::Validation { scores, .. }) = second.last() else { panic!("no scores") };
    let known = scores.presence.expect("an object score");
    assert!(known.found + known.absent > 1.4, "{known:?}");
    assert_eq!(scores.sets.len(), 2);

    // What was kept says of an image what the run's average does, and other files say nothing.
    let kept = done.weights.expect("kept");
    let sam =
        Sam::load(&kept, None, &cpu()).expect("whole").with_trimmed_input(128).expect("a size");
    let embedding = sam.encode(&nothing).expect("encoded");
    let found = sam.predict(&embedding, &Prompt::default(), MaskOutput::Single).expect("decoded");
    assert!(found[0].object_score.is_some_and(f32::is_finite));
    assert!(!tensors_of(&made_model()).expect("tensors").keys().any(|n| n.contains("obj_score")));

    // Trained without a score, weights lose it: it would not fit the others any more.
    place.start.weights.clone_from(&kept);
    place.start.folder = place.folder.path().join("without");
    let options =
        FinetuneOptions { object_score: false, absent_share: 0.0, max_steps: Some(1), ..options };
    let (model, _) = load_unfused(&kept, None, &cpu()).expect("whole weights");
    data.held_out.clear();
    let (done, _) = place.run_of(model, &data, &options, 10).expect("trained");
    let without = Sam::load(&done.weights.expect("kept"), None, &cpu()).expect("whole");
    assert!(sam.has_object_score() && !without.has_object_score());
}
