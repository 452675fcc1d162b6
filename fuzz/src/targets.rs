//! Readers of untrusted input, each on bytes that may be anything: it comes to an end, and what it refuses
//! it refuses by name. The fuzz targets feed them, and the ordinary tests feed them the corpus.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::Path;

use p2sam::{CocoRle, Volume, VolumeOptions, adapter_info, inspect, open_masks};
use tempfile::TempDir;

// The program's own module: it is in no library.
#[allow(dead_code)]
#[path = "../../src/cli/batch/list.rs"]
mod list;

thread_local! {
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Runs a reader on a file of that name with these bytes.
fn with_file(name: &str, bytes: &[&[u8]], read: impl FnOnce(&Path)) {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| {
            let memory = Path::new("/dev/shm");
            let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
            tempfile::tempdir_in(place).expect("room for a file")
        });
        let path = folder.path().join(name);
        std::fs::write(&path, bytes.concat()).expect("room for a file");
        read(&path);
    });
}

/// An error names the file it is about.
fn names<T, E: Display>(name: &str, result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let text = format!("{error:#}");
            assert!(text.contains(name), "{text}");
            None
        }
    }
}

/// The list of tensors of a file that `torch.save` wrote in its older form, and what follows it.
pub fn pickle(bytes: &[u8]) {
    // Magic number, version and system, as PyTorch writes them.
    let head = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\
        \x80\x02}(X\x10\0\0\0protocol_versionM\xe9\x03X\x0d\0\0\0little_endian\x88u.";
    with_file("weights.pt", &[head, bytes], |path| {
        names("weights.pt", inspect(path, None));
    });
}

/// A whole safetensors file: its header and what it says of itself.
pub fn safetensors(bytes: &[u8]) {
    with_file("weights.safetensors", &[bytes], |path| {
        names("weights.safetensors", inspect(path, None));
        names("weights.safetensors", adapter_info(path));
    });
}

/// A NIfTI file, as a volume and as the mask of it.
pub fn nifti(bytes: &[u8]) {
    volume("volume.nii", bytes);
}

/// A DICOM file, as a volume and as what is marked on it.
pub fn dicom(bytes: &[u8]) {
    volume("slice.dcm", bytes);
}

fn volume(name: &str, bytes: &[u8]) {
    with_file(name, &[bytes], |path| {
        let opened = Volume::open(path, &VolumeOptions::default());
        if let Some(volume) = names(name, opened) {
            let [width, height] = volume.size();
            if let Some(frame) = names(name, volume.frame(0)) {
                assert_eq!((frame.width(), frame.height()), (width, height));
            }
            let masks = open_masks(path, &volume, None, p2sam::Foreground::default());
            if let Some(masks) = names(name, masks) {
                let count = volume.range().count();
                assert_eq!(masks.masks.len(), count);
                let sizes = masks.masks.iter().flatten().map(|mask| [mask.width(), mask.height()]);
                sizes.for_each(|size| assert_eq!(size, [width, height]));
            }
        }
    });
}

/// A launch file; what its slots are filled with is the input's last line.
pub fn launch(bytes: &[u8]) {
    use p2sam::stream::live::LaunchFile;

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let value = text.lines().last().unwrap_or_default();
    let Some(file) = names("file.launch", LaunchFile::parse(Path::new("file.launch"), text)) else {
        return;
    };
    for (slot, _) in file.slots() {
        if let Some(filled) = names("file.launch", file.clone().with(slot, value)) {
            assert!(filled.slots().iter().any(|(name, filled)| name == slot && filled == value));
        }
    }
    assert!(file.with("no such slot", "").is_err());
}

/// A list of jobs, as either kind.
pub fn jobs(bytes: &[u8]) {
    for name in ["list.csv", "list.jsonl"] {
        with_file(name, &[bytes], |path| {
            for job in names(name, list::read(path)).into_iter().flatten() {
                assert!(!job.words(true).is_empty());
            }
        });
    }
}

/// A mask as COCO files hold it.
pub fn coco(bytes: &[u8]) {
    let Ok(rle) = serde_json::from_slice::<CocoRle>(bytes) else { return };
    let Some(mask) = rle.mask() else { return };
    assert_eq!([mask.height(), mask.width()], rle.size);
    assert_eq!(CocoRle::new(&mask).mask(), Some(mask));
}

/// What a client sends to the operator's page: the head of a request with its queries, and what follows.
pub fn http(bytes: &[u8]) {
    page::ask(bytes);
}

mod page {
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use p2sam::live::ObjectId;
    use p2sam::web::{
        Frozen, LatencyPoint, Operator, PagePrompt, Preview, Proposal, Status, WebServer,
    };
    use tokio::net::TcpSocket;
    use tokio::runtime::Runtime;

    /// A run in which nothing can be done.
    #[derive(Default)]
    struct Nothing(Preview);

    fn no<T>() -> Result<T, String> {
        Err("there is nothing here".to_owned())
    }

    impl Operator for Nothing {
        fn status(&self) -> Status {
            Status::default()
        }
        fn latency(&self) -> Vec<LatencyPoint> {
            Vec::new()
        }
        fn preview(&self) -> &Preview {
            &self.0
        }
        fn freeze(&self) -> Result<Frozen, String> {
            no()
        }
        fn segment(&self, _: u64, _: &PagePrompt) -> Result<Proposal, String> {
            no()
        }
        fn accept(&self, _: u64, _: Option<ObjectId>) -> Result<ObjectId, String> {
            no()
        }
        fn upload(&self, _: u64, _: &[u8], _: Option<ObjectId>) -> Result<ObjectId, String> {
            no()
        }
        fn remove(&self, _: ObjectId) -> Result<(), String> {
            no()
        }
        fn set_profile(&self, _: &str) -> Result<(), String> {
            no()
        }
        fn record(&self, _: bool) -> Result<(), String> {
            no()
        }
        fn snapshot(&self) -> Result<Vec<u8>, String> {
            no()
        }
    }

    /// How long an answer is waited for: requests without an end and the stream have none.
    const PATIENCE: Duration = Duration::from_millis(100);

    thread_local! {
        static PAGE: (Runtime, WebServer) = {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let token = Some("a token for tests".to_owned());
            let server = WebServer::start(address, token, Arc::new(Nothing::default()));
            (runtime.expect("a runtime"), server.expect("a free port"))
        };
    }

    /// Sends bytes and checks that what comes back, if anything, is an answer.
    pub fn ask(bytes: &[u8]) {
        let answer = PAGE.with(|(runtime, server)| send(runtime, server.addr(), bytes));
        if answer.is_empty() {
            return;
        }
        let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let fine = status.is_some_and(|status: u16| (100..600).contains(&status) && status != 500);
        assert!(fine, "{}", String::from_utf8_lossy(&answer));
    }

    fn send(runtime: &Runtime, server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        // Each from an address of its own, so that none is refused for asking too often.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let [_, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let from = SocketAddr::from(([127, b, c, d.max(2)], 0));
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(from)?;
            socket.connect(server).await?.into_std()
        });
        let mut stream = stream.expect("the page listens");
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // Whoever sends nonsense may be cut off.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = vec![0; 4096];
        let mut length = 0;
        while let Ok(read @ 1..) = stream.read(&mut answer[length..]) {
            length += read;
        }
        answer.truncate(length);
        answer
    }
}
