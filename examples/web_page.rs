//! The operator's page on a made run, for work on the page and for `tests/web/drive.py`:
//! `cargo run --example web_page -- [ADDR] [TOKEN]`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use p2sam::live::{MAX_OBJECTS, ObjectId, State};
use p2sam::web::*;

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../src/web/tests/double.rs"]
mod double;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let addr = arguments.next().unwrap_or_else(|| "127.0.0.1:8088".to_owned()).parse()?;
    let run = double::Double::new(Duration::from_millis(300));
    let stop = Arc::new(AtomicBool::new(false));
    let player = run.play(25.0, 0, &stop);
    let server = WebServer::start(addr, arguments.next(), run)?;
    println!("http://{}", server.addr());
    player.join().map_err(|_| "the pictures have ended")?;
    Ok(())
}
