use super::*;

#[test]
fn each_format_keeps_count_times_and_colours() {
    let dir = tempfile::tempdir().unwrap();
    // JPEG means the full range. Neither jpegenc nor videoconvert from I420 to I420 sees to it.
    let full = "videoconvert ! video/x-raw,format=RGB ! videoconvert ! \
                video/x-raw,colorimetry=(string)1:4:0:0,format=";
    let cases = [
        ("h264.mp4", "x264enc bframes=2 ! mp4mux", "264"),
        ("h264.mkv", "x264enc ! matroskamux", "264"),
        ("mjpeg.avi", &format!("{full}I420 ! jpegenc quality=95 ! avimux"), "JPEG"),
        ("vp8.webm", "vp8enc deadline=1 target-bitrate=4000000 ! webmmux", "VP8"),
        ("ffv1.mkv", "avenc_ffv1 ! matroskamux", "v1"),
        ("422.avi", &format!("{full}Y42B ! jpegenc quality=95 ! avimux"), "JPEG"),
        ("10bit.mkv", "videoconvert ! video/x-raw,format=I420_10LE ! x264enc ! matroskamux", "264"),
    ];
    for (name, chain, codec) in cases {
        let path = dir.path().join(name);
        encode(&path, chain, "framerate=25/1", &steady(24));
        let (info, pictures, report) = read(&path);
        println!("{name}: {info:?} {report:?}");
        assert_times(&pictures, &steady(24));
        assert_numbered(&pictures, 12);
        assert!(report.is_complete(), "{name}: {report:?}");
        assert_eq!(report.expected, Some(24), "{name}");
        assert_eq!((info.width, info.height, info.par), (W, H, (1, 1)));
        assert_eq!(info.frame_rate, Some((25, 1)), "{name}");
        assert!(info.codec.contains(codec), "{name}: {}", info.codec);
        let yuv = pictures[5].yuv420().unwrap();
        let [y, cb, cr] = yuv.planes();
        assert_eq!((yuv.width(), yuv.height()), (W, H));
        let code = yuv.color().encode([200, 30, 30]);
        let at = (H / 4 * W + W / 4) as usize;
        let chroma_at = (H / 8 * W / 2 + W / 8) as usize;
        assert!(near([y[at], cb[chroma_at], cr[chroma_at]], code, 8), "{name}");
    }
}

#[test]
fn mpeg2_program_streams_are_read() {
    init().unwrap();
    if ["mpeg2enc", "mpegpsmux"].iter().any(|e| gst::ElementFactory::find(e).is_none()) {
        eprintln!("skipped: gstreamer1.0-plugins-bad is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mpg");
    encode(
        &path,
        "mpeg2enc format=3 bitrate=1000 ! mpegvideoparse ! mpegpsmux",
        "framerate=25/1",
        &steady(24),
    );
    let (info, pictures, report) = read(&path);
    println!("{info:?} {report:?}");
    assert_eq!(pictures.len(), 24);
    assert_numbered(&pictures, 14);
    assert!(report.is_complete(), "{report:?}");
}

#[test]
fn uneven_times_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let times = [0, 40, 200, 233, 500, 501, 900, 1700];
    for (name, chain) in [
        ("v.mkv", "x264enc ! matroskamux"),
        ("v.mp4", "x264enc option-string=bframes=0 ! mp4mux trak-timescale=90000"),
    ] {
        let path = dir.path().join(name);
        encode(&path, chain, "framerate=0/1", &times);
        let (_, pictures, report) = read(&path);
        assert_times(&pictures, &times);
        assert!(report.is_complete(), "{name}: {report:?}");
        assert_numbered(&pictures, 12);
    }
}

#[test]
fn a_stored_rotation_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.mp4");
    encode(&path, "x264enc ! mp4mux", "framerate=25/1,pixel-aspect-ratio=4/3", &steady(5));
    // A quarter turn in the track header's matrix.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 44;
    let matrix: [i32; 9] = [0, 1 << 16, 0, -(1 << 16), 0, 0, (H as i32) << 16, 0, 1 << 30];
    for (i, value) in matrix.iter().enumerate() {
        bytes[at + i * 4..][..4].copy_from_slice(&value.to_be_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let (info, pictures, _) = read(&path);
    assert_eq!((info.width, info.height, info.par), (H, W, (3, 4)));
    for picture in &pictures {
        assert_eq!((picture.frame.width(), picture.frame.height()), (H, W));
        // The red quarter goes from the upper left to the upper right.
        assert!(near(pixel(&picture.frame, H * 3 / 4, W / 4), [200, 30, 30], 12));
        assert!(near(pixel(&picture.frame, H / 4, W / 4), [grey(picture.index as usize); 3], 3));
        assert_eq!(picture.yuv420().unwrap().width(), H);
    }
}

#[test]
fn the_pixel_aspect_ratio_is_told_and_pixels_stay() {
    let dir = tempfile::tempdir().unwrap();
    for (name, chain) in [("p.mkv", "x264enc ! matroskamux"), ("p.mp4", "x264enc ! mp4mux")] {
        let path = dir.path().join(name);
        encode(&path, chain, "framerate=25/1,pixel-aspect-ratio=3/2", &steady(3));
        let (info, _, _) = read(&path);
        assert_eq!((info.width, info.height, info.par), (W, H, (3, 2)), "{name}");
    }
}

#[test]
fn files_cut_short_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    for (name, chain) in [
        ("t.mkv", "x264enc key-int-max=10 ! matroskamux"),
        ("t.mp4", "x264enc key-int-max=10 ! mp4mux faststart=true"),
        ("t.avi", "jpegenc ! avimux"),
    ] {
        let path = dir.path().join(name);
        encode(&path, chain, "framerate=25/1", &steady(100));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
        let (_, pictures, report) = read(&path);
        println!("{name}: {} {report:?}", pictures.len());
        assert!(!pictures.is_empty() && pictures.len() < 95, "{name}: {}", pictures.len());
        assert!(!report.is_complete(), "{name}: {report:?}");
        assert_eq!(report.decoded, pictures.len() as u64);
    }
}

#[test]
fn an_mp4_without_its_index_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.mp4");
    encode(&path, "x264enc ! mp4mux", "framerate=25/1", &steady(50));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = error_of(&path);
    assert!(matches!(error, StreamError::NotVideo { .. }), "{error}");
    assert!(error.to_string().contains("t.mp4"));
}

#[test]
fn damaged_bytes_are_reported_and_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    for (name, chain) in [
        ("d.mkv", "x264enc key-int-max=25 ! matroskamux"),
        ("d.mp4", "x264enc key-int-max=25 ! mp4mux faststart=true"),
    ] {
        let path = dir.path().join(name);
        encode(&path, chain, "framerate=25/1", &steady(100));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        for i in 0..400 {
            bytes[middle + i] ^= 0x5a;
        }
        std::fs::write(&path, bytes).unwrap();
        let (_, pictures, report) = read(&path);
        println!("{name}: {} {report:?}", pictures.len());
        assert!(pictures.len() > 25, "{name}");
        assert!(!report.is_complete(), "{name}: {report:?}");
    }
}

#[test]
fn sound_beside_the_video_neither_blocks_nor_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mux) in [("s.mp4", "mp4mux"), ("s.mkv", "matroskamux")] {
        let path = dir.path().join(name);
        // Two seconds of video in six of sound.
        launch(&format!(
            "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=64,height=48,\
             framerate=25/1 ! x264enc ! queue ! {mux} name=m ! filesink location={} \
             audiotestsrc num-buffers=258 ! audio/x-raw,rate=44100 ! avenc_aac ! queue ! m.",
            path.display()
        ));
        let (info, pictures, report) = read(&path);
        println!("{name}: {info:?} {report:?}");
        assert_eq!(pictures.len(), 50, "{name}");
        assert!(report.is_complete(), "{name}: {report:?}");
    }
}

#[test]
fn the_first_of_two_videos_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.mkv");
    launch(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1 \
         ! x264enc ! queue ! matroskamux name=m ! filesink location={} \
         videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=32,height=32,framerate=25/1 \
         ! x264enc ! queue ! m.",
        path.display()
    ));
    let (info, pictures, report) = read(&path);
    println!("{report:?}");
    assert_eq!((info.width, pictures.len()), (64, 30));
}

#[test]
fn sound_alone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    launch(&format!(
        "audiotestsrc num-buffers=50 ! avenc_aac ! mp4mux ! filesink location={}",
        path.display()
    ));
    let error = error_of(&path);
    assert!(matches!(error, StreamError::NoVideoStream { .. }), "{error}");
    assert!(error.to_string().contains("AAC"), "{error}");
}

#[test]
fn files_that_are_no_video_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        error_of(&path)
    };
    assert!(matches!(file("empty.mp4", b""), StreamError::Empty { .. }));
    let text = file("text.mp4", "These are words, not pictures.\n".repeat(50).as_bytes());
    assert!(matches!(text, StreamError::NotVideo { .. }), "{text}");
    let noise: Vec<u8> =
        (0u32..5000).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let noise = file("noise.mkv", &noise);
    assert!(matches!(noise, StreamError::NotVideo { .. }), "{noise}");
    let missing = error_of(&dir.path().join("missing.mp4"));
    assert!(matches!(missing, StreamError::Open { .. }), "{missing}");
    assert!(missing.to_string().contains("missing.mp4"));
    assert!(matches!(error_of(dir.path()), StreamError::Open { .. }));
}

#[test]
fn a_codec_without_a_decoder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.mkv");
    encode(&path, "avenc_ffv1 ! matroskamux", "framerate=25/1", &steady(3));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|w| w == b"V_FFV1").unwrap();
    bytes[at..at + 6].copy_from_slice(b"V_XYZ1");
    std::fs::write(&path, bytes).unwrap();
    let error = error_of(&path);
    println!("{error}");
    assert!(matches!(error, StreamError::UnsupportedCodec { .. }), "{error}");
}

#[test]
fn each_frame_has_its_own_size_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.ts");
    let mut bytes = Vec::new();
    // Two raw H.264 streams, one behind the other.
    for (width, height) in [(64, 48), (96, 32)] {
        let part = dir.path().join("part.h264");
        launch(&format!(
            "videotestsrc num-buffers=10 ! video/x-raw,format=I420,width={width},height={height},\
             framerate=25/1 ! x264enc ! video/x-h264,stream-format=byte-stream ! filesink \
             location={}",
            part.display()
        ));
        bytes.extend(std::fs::read(&part).unwrap());
    }
    std::fs::write(&path, bytes).unwrap();
    let (_, pictures, report) = read(&path);
    println!("{report:?}");
    let sizes: Vec<_> = pictures.iter().map(|p| (p.frame.width(), p.frame.height())).collect();
    assert_eq!(sizes, [[(64, 48); 10], [(96, 32); 10]].concat());
    assert_eq!(pictures[15].yuv420().unwrap().width(), 96);
}

#[test]
fn an_unclosed_recording_is_read_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.mkv");
    encode(
        &path,
        "x264enc key-int-max=10 ! matroskamux streamable=true",
        "framerate=25/1",
        &steady(60),
    );
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 300]).unwrap();
    let (_, pictures, report) = read(&path);
    println!("{} {report:?}", pictures.len());
    assert!(pictures.len() > 40);
    assert!(report.warnings.iter().any(|w| w.contains("never closed")), "{report:?}");
}
