//! What the parts of a frame cost, each by itself: `cargo bench --bench kernels [-- FILTER]`. The
//! weights are those of this repository; random weights would take the same time.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use p2sam::{
    Annotation, Color, Device, DeviceChoice, EMBEDDING_DIM, Frame, Mask, MaskOutput, MaskPatch,
    MethodConfig, OverlayStyle, Phantom, PhantomOptions, PlaneLayout, PlanesInfo, PlanesMut,
    PointPrompt, Prompt, Reference, Sam, draw_patch, find_weights, kmeans, nearest,
};

/// The synthetic clip's first picture and its polyp.
fn picture(width: u32, height: u32) -> (Frame, Mask) {
    let clip = Phantom::new(PhantomOptions { width, height, ..PhantomOptions::default() });
    let shown = clip.and_then(|clip| clip.render(0)).expect("a picture of a usual size");
    (shown.frame, shown.mask)
}

fn sam() -> Sam {
    let device = Device::open(DeviceChoice::Cpu).expect("there always is a CPU");
    let weights = find_weights("polyp").expect("run from the repository's root");
    Sam::load(&weights, None, &device).expect("the weights are whole")
}

fn encoder(c: &mut Criterion) {
    let (frame, _) = picture(640, 480);
    let whole = sam();
    c.bench_function("preprocess/1024", |b| b.iter(|| whole.preprocess(black_box(&frame))));
    let mut group = c.benchmark_group("image encoder");
    group.sample_size(10);
    let mut encode = |name: &str, sam: &Sam| {
        let input = sam.upload(sam.preprocess(&frame)).expect("the CPU works");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_batched(
                || input.clone(),
                |input| sam.encode_input(input),
                BatchSize::LargeInput,
            );
        });
    };
    encode("1024 with padding", &whole);
    for side in [1024, 512, 384, 256] {
        let sam = sam().with_trimmed_input(side).expect("a usable size");
        encode(&side.to_string(), &sam);
    }
}

fn decoder(c: &mut Criterion) {
    let (frame, truth) = picture(640, 480);
    let sam = sam();
    let embedding = sam.encode(&frame).expect("the CPU works");
    let on = truth.bounding_box().expect("a polyp");
    let points: Vec<PointPrompt> = (0..6)
        .map(|index| PointPrompt {
            x: (on.x0 + index * (on.x1 - on.x0) / 6) as f32,
            y: ((on.y0 + on.y1) / 2) as f32,
            positive: index > 0,
        })
        .collect();
    let prompt = |count: usize| Prompt { points: &points[..count], ..Prompt::default() };
    let last = sam.predict(&embedding, &prompt(2), MaskOutput::Single).expect("the CPU works");
    let single = |prompt| [(prompt, MaskOutput::Single)];
    let mut group = c.benchmark_group("decoder pass");
    group.sample_size(20);
    let mut run = |name: &str, prompts: &[(Prompt, MaskOutput)]| {
        group.bench_function(name, |b| b.iter(|| sam.predict_all(&embedding, prompts)));
    };
    run("2 points", &single(prompt(2)));
    run("2 points and a mask", &single(Prompt { mask: Some(&last[0].logits), ..prompt(2) }));
    run("2 points, three masks", &[(prompt(2), MaskOutput::Multi)]);
    let five: Vec<_> = (2..=6).map(|count| (prompt(count), MaskOutput::Single)).collect();
    run("five candidates", &five);
}

fn method(c: &mut Criterion) {
    // Polyps of about 300 and 1500 patches.
    let sam = Arc::new(sam());
    for (name, share) in [("300 patches", 0.34), ("1500 patches", 0.78)] {
        let (frame, _) = picture(640, 480);
        let (width, height) = (frame.width(), frame.height());
        let inside = |x: u32, y: u32| {
            let from_centre =
                |at: u32, side: u32| (2.0 * f64::from(at) / f64::from(side) - 1.0).abs();
            from_centre(x, width).max(from_centre(y, height)) < share
        };
        let on = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let on = on.map(|(x, y)| inside(x, y)).collect();
        let mask = Mask::new(width, height, on).expect("sizes agree");
        let embedding = sam.encode(&frame).expect("the CPU works");
        let features = embedding.patches().expect("the CPU works");
        let [columns, rows] = embedding.grid();
        let at = |patch: usize| {
            let scale = f64::from(width) / columns as f64;
            let [x, y] =
                [patch % columns, patch / columns].map(|i| ((i as f64 + 0.5) * scale) as u32);
            y < height && mask.data()[(y * width + x) as usize]
        };
        let on: Vec<u32> = (0..columns * rows).filter(|&p| at(p)).map(|p| p as u32).collect();
        let patches: Vec<f32> = on
            .iter()
            .flat_map(|&p| &features[p as usize * EMBEDDING_DIM..][..EMBEDDING_DIM])
            .copied()
            .collect();
        c.bench_function(&format!("k-means, 5 parts/{name}"), |b| {
            b.iter(|| kmeans(black_box(&patches), EMBEDDING_DIM, 5, 0));
        });
        // Five candidates: the object, each moved by some patches.
        let candidates: Vec<Vec<u32>> = (0..5)
            .map(|by| on.iter().map(move |&p| (p + by * 2).min((columns * rows - 1) as u32)))
            .map(|moved| moved.collect::<std::collections::BTreeSet<u32>>().into_iter().collect())
            .collect();
        let mut group = c.benchmark_group("retrieval, five candidates");
        group.sample_size(20);
        group.bench_function(name, |b| {
            b.iter(|| nearest(&patches, &features, EMBEDDING_DIM, black_box(&candidates)));
        });
        group.finish();
        let (config, annotation) = (MethodConfig::default(), Annotation::from(&mask));
        let mut group = c.benchmark_group("reference");
        group.sample_size(10);
        group.bench_function(name, |b| {
            b.iter(|| Reference::new(&sam, &frame, &annotation, &config));
        });
    }
}

fn overlay(c: &mut Criterion) {
    let (_, mask) = picture(1920, 1080);
    let patch = MaskPatch::of(&mask).expect("a polyp");
    let info = PlanesInfo::packed(PlaneLayout::I420, 1920, 1080, Color::usual(1080));
    let sizes = info.layout.plane_sizes(1920, 1080);
    let mut planes = sizes.map(|(stride, rows)| vec![90u8; stride * rows]);
    c.bench_function("overlay, I420 at 1080p", |b| {
        b.iter(|| {
            let planes = planes.each_mut().map(Vec::as_mut_slice);
            let mut canvas = PlanesMut::new(info, planes).expect("sizes agree");
            draw_patch(&mut canvas, &patch, &OverlayStyle::default(), 1.0);
        });
    });
}

criterion_group!(benches, encoder, decoder, method, overlay);
criterion_main!(benches);
