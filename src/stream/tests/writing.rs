use super::*;

fn options(width: u32, height: u32) -> WriterOptions {
    WriterOptions {
        width,
        height,
        par: (1, 1),
        frame_rate: Some((25, 1)),
        color: Color::usual(height),
        interlacing: Interlacing::Progressive,
        lossless: false,
    }
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Writes numbered pictures at the given times and reads them again.
fn round_trip(
    path: &Path,
    options: &WriterOptions,
    times_ms: &[u64],
) -> (SourceInfo, Vec<Picture>) {
    let mut writer = VideoWriter::create(path, options.clone()).unwrap();
    for (i, &ms) in times_ms.iter().enumerate() {
        let duration = times_ms.get(i + 1).map(|next| Duration::from_millis(next - ms));
        let yuv = Yuv420::from_frame(&numbered(i, options.width, options.height));
        writer.write(yuv, Duration::from_millis(ms), duration).unwrap();
    }
    let report = writer.finish().unwrap();
    assert_eq!(report, WriteReport { frames: times_ms.len() as u64, moved_times: 0 });
    assert_eq!(names(path.parent().unwrap()).len(), 1, "leftovers");
    let (info, pictures, end) = read(path);
    println!("{}: {info:?} {end:?}", path.display());
    assert!(end.is_complete(), "{}: {end:?}", path.display());
    (info, pictures)
}

#[test]
fn what_is_written_can_be_read_again() {
    for (name, lossless) in [("o.mkv", false), ("o.mp4", false), ("o.mkv", true)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let options = WriterOptions { par: (3, 2), lossless, ..options(W, H) };
        let (info, pictures) = round_trip(&path, &options, &steady(60));
        assert_times(&pictures, &steady(60));
        assert_numbered(&pictures, 10);
        assert_eq!(
            (info.par, info.frame_rate, info.color),
            (options.par, Some((25, 1)), options.color)
        );
        if lossless {
            for (i, picture) in pictures.iter().enumerate() {
                let given = Yuv420::from_frame(&numbered(i, W, H));
                assert_eq!(picture.yuv420().unwrap(), given, "{name} frame {i}");
            }
        }
    }
}

#[test]
fn uneven_times_and_a_late_start_survive() {
    for start in [0, 700] {
        for name in ["o.mkv", "o.mp4"] {
            let dir = tempfile::tempdir().unwrap();
            let times: Vec<u64> =
                [0, 40, 200, 233, 500, 517, 900, 1700].iter().map(|t| t + start).collect();
            let options = WriterOptions { frame_rate: None, ..options(W, H) };
            let (_, pictures) = round_trip(&dir.path().join(name), &options, &times);
            // GStreamer's MP4 muxer cannot start late.
            let shift = if name == "o.mp4" { start } else { 0 };
            assert_times(&pictures, &times.iter().map(|t| t - shift).collect::<Vec<_>>());
            assert_numbered(&pictures, 12);
        }
    }
}

#[test]
fn odd_and_tiny_sizes_are_kept() {
    for (name, lossless, width, height) in [
        ("o.mkv", false, 33, 17),
        ("o.mp4", false, 33, 17),
        ("o.mkv", true, 33, 17),
        ("o.mkv", false, 1, 1),
        ("o.mkv", true, 1, 1),
        ("o.mkv", false, 2, 2),
        ("o.mp4", false, 16, 16),
        ("o.mkv", false, 64, 33),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = WriterOptions { lossless, ..options(width, height) };
        let (info, pictures) = round_trip(&dir.path().join(name), &options, &steady(3));
        assert_eq!((info.width, info.height), (width, height));
        assert_times(&pictures, &steady(3));
        if width > 2 {
            assert_numbered(&pictures, 20);
        }
    }
    let error = VideoWriter::create(Path::new("/tmp/o.mp4"), options(1, 1)).unwrap_err();
    assert!(error.to_string().contains(".mkv"), "{error}");
}

#[test]
fn both_colour_matrices_and_ranges_survive() {
    use {ColorMatrix::*, ColorRange::*};
    for (matrix, range) in [(Bt601, Limited), (Bt709, Limited), (Bt709, Full), (Bt601, Full)] {
        for name in ["o.mkv", "o.mp4"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            let color = Color { matrix, range };
            let [y, cb, cr] = color.encode([200, 30, 30]);
            let mut writer =
                VideoWriter::create(&path, WriterOptions { color, ..options(W, H) }).unwrap();
            for i in 0..3u32 {
                let mut data = vec![y; (W * H) as usize];
                data.extend(vec![cb; (W * H / 4) as usize]);
                data.extend(vec![cr; (W * H / 4) as usize]);
                let yuv = Yuv420::new(W, H, color, data).unwrap();
                writer.write(yuv, Duration::from_millis(40) * i, None).unwrap();
            }
            writer.finish().unwrap();
            let (info, pictures, _) = read(&path);
            // MP4 is always written in limited range.
            let range = if name == "o.mp4" { Limited } else { range };
            assert_eq!(info.color, Color { matrix, range }, "{name}");
            let seen = pixel(&pictures[1].frame, W / 2, H / 2);
            assert!(near(seen, [200, 30, 30], 6), "{name} {color:?}: {seen:?}");
        }
    }
}

#[test]
fn a_dropped_writer_leaves_nothing_and_keeps_the_older_file() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["o.mkv", "o.mp4"] {
        let path = dir.path().join(name);
        std::fs::write(&path, "older").unwrap();
        let mut writer = VideoWriter::create(&path, options(W, H)).unwrap();
        for i in 0..30u32 {
            let yuv = Yuv420::from_frame(&numbered(i as usize, W, H));
            writer.write(yuv, Duration::from_millis(40) * i, None).unwrap();
        }
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }
}

#[test]
fn wrong_uses_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str, options| VideoWriter::create(&dir.path().join(name), options);
    let error = create("o.wmv", options(W, H)).unwrap_err();
    assert!(error.to_string().contains(".mkv or .mp4"), "{error}");
    let error = create("no/o.mkv", options(W, H)).unwrap_err();
    assert!(matches!(error, StreamError::Write { .. }), "{error}");
    let lossless = WriterOptions { lossless: true, ..options(W, H) };
    assert!(matches!(create("o.mp4", lossless), Err(StreamError::Unwritable { .. })));

    let mut writer = create("o.mkv", options(W, H)).unwrap();
    let small = Yuv420::from_frame(&numbered(0, 16, 16));
    let error = writer.write(small, Duration::ZERO, None).unwrap_err();
    assert!(error.to_string().contains("16x16"), "{error}");
    assert!(matches!(writer.finish(), Err(StreamError::NoFrames { .. })));
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn times_that_do_not_rise_are_moved_and_no_frame_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o.mp4");
    let mut writer = VideoWriter::create(&path, options(W, H)).unwrap();
    for (i, ms) in [0, 40, 40, 30, 120].into_iter().enumerate() {
        let yuv = Yuv420::from_frame(&numbered(i, W, H));
        writer.write(yuv, Duration::from_millis(ms), None).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), WriteReport { frames: 5, moved_times: 2 });
    let (_, pictures, _) = read(&path);
    assert_times(&pictures, &[0, 40, 41, 42, 120]);
}

#[test]
fn pictures_keep_their_bytes_from_decoder_to_lossless_file() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.mp4"), dir.path().join("b.mkv"));
    encode(&first, "x264enc ! mp4mux", "framerate=30000/1001", &steady(20));
    let mut reader = VideoReader::open(&first).unwrap();
    let options = WriterOptions { lossless: true, ..WriterOptions::like(reader.info()) };
    let mut writer = VideoWriter::create(&second, options).unwrap();
    let mut given = Vec::new();
    while let Some(picture) = reader.next_picture().unwrap() {
        let yuv = picture.yuv420().unwrap();
        given.push((yuv.clone(), picture.pts));
        writer.write(yuv, picture.pts, picture.duration).unwrap();
    }
    writer.finish().unwrap();
    let (_, pictures, _) = read(&second);
    assert_eq!(pictures.len(), given.len());
    for (picture, (yuv, pts)) in pictures.iter().zip(&given) {
        assert_eq!(&picture.yuv420().unwrap(), yuv);
        assert!(picture.pts.abs_diff(*pts) <= Duration::from_millis(1));
    }
}
