//! `p2sam live`: live video with the overlay, recording, and the operator's page.

mod args;
mod console;
mod operator;
mod phantom;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gstreamer::prelude::*;
use p2sam::P2samOverlay;
use p2sam::live::{ObjectId, Session, SharedModel, Statistics};
use p2sam::stream::live::{LiveOptions, LiveStream, SinkSpec, has_screen};
use p2sam::web::WebServer;

use super::outputs::write_text;
use super::{Outcome, interrupt};
pub use args::LiveArgs;
use console::Console;
use phantom::{Clip, Interrupted, Judge};

/// How often the run looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps memory from growing with each change of the model. By default the C library gives nearly every
/// thread an arena of its own, and what a dropped model leaves in one is of no use to the others.
fn limit_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        const ARENAS: i32 = 2;
        // SAFETY: a setting of the allocator; it may be made at any time, and is best made before
        // there are threads.
        if unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) } == 0 {
            log::warn!("the number of the allocator's arenas cannot be limited");
        }
    }
}

/// Runs `p2sam live`.
pub fn run(args: LiveArgs) -> anyhow::Result<Outcome> {
    limit_arenas();
    let duration = args.duration.map(Duration::try_from_secs_f64).transpose();
    let duration = duration.ok().filter(|d| d.is_none_or(|d| !d.is_zero()));
    let duration = duration.context("--duration needs a number of seconds above 0")?;
    if let Some(path) = &args.summary {
        p2sam::can_write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.pipeline.is_none() && !args.slots.is_empty() {
        bail!("--slot fills a launch line's slots: give the file with --pipeline");
    }
    if args.record.record.is_none() && args.record.record_to.is_none() {
        if args.record.clean_only || args.record.overlay_only {
            bail!(
                "--clean-only and --overlay-only say what is recorded: add --record or --record-to"
            );
        }
    } else if let Some(options) = args.record.options()
        && options.free_bytes().is_none()
    {
        bail!(
            "cannot record to {}: its folder is not there; make the folder, or name another",
            options.prefix.display()
        );
    }
    let mut references = args.references()?;
    p2sam::find_weights_and_base(&args.model.weights)?;
    let _ =
        rayon::ThreadPoolBuilder::new().start_handler(|_| p2sam::live::give_way()).build_global();
    interrupt::install()?;
    let clip = match args.source.as_deref().and_then(|source| source.strip_prefix("phantom:")) {
        Some(options) => match Clip::render(options) {
            Err(e) if e.is::<Interrupted>() => return Ok(Outcome::Interrupted),
            clip => Some(Arc::new(clip?)),
        },
        None => None,
    };
    let source = args.source(clip.as_ref())?;
    let judged = references.is_empty() && clip.is_some();
    if let Some(clip) = clip.as_ref().filter(|_| judged) {
        references.push(clip.reference());
    }
    if references.is_empty() && args.web.is_none() {
        tell!("note: there is nothing to follow: give --reference, or annotate with --web");
    }

    let model = Arc::new(SharedModel::new(args.settings()));
    // What can never work is told before anything starts.
    model.open().map_err(anyhow::Error::msg)?;
    let session = Arc::new(Session::start(model.factory(), args.display())?);
    let statistics = Arc::new(Statistics::default());
    let judge = match clip.as_ref().filter(|_| judged) {
        Some(clip) => Some(Arc::new(Judge::start(Arc::clone(clip))?)),
        None => None,
    };
    let overlay = overlay(&args, &session, &statistics, judge.clone())?;

    let console = Arc::new(Console::new(
        Arc::clone(&session),
        Arc::clone(&statistics),
        Arc::clone(&model),
        args.record.options(),
        args.display().confirm_limit,
    ));
    let sinks = match args.sinks.is_empty() {
        // Whoever opens the page looks there.
        true if args.web.is_some() && !has_screen() => vec![SinkSpec::None],
        true => vec![SinkSpec::Display],
        false => args.sinks.clone(),
    };
    let web = match args.web {
        Some(addr) => Some(serve(addr, args.web_token.clone(), &console)?),
        None => None,
    };
    let hooks = console.hooks();
    let stream = LiveStream::start(LiveOptions::new(source, sinks), overlay.upcast(), hooks)?;
    let stream = Arc::new(stream);
    console.attach(&stream);
    let listener = console.listen();
    console.loaded();
    for (index, (frame, annotation)) in references.into_iter().enumerate() {
        session.add((index + 1) as ObjectId, frame, annotation);
    }
    if args.record.record.is_some() {
        // Without space the picture goes on, and recording starts as soon as there is some.
        console.start_recording(true).map_err(anyhow::Error::msg)?;
    }

    let outcome = watch(&stream, &console, duration);
    drop(web);
    session.unsubscribe(listener);
    console.detach();
    model.give_up();
    stream.stop_recording();
    let (stats, cut_short) = (stream.stats(), stream.cut_short());
    console.recorded(&stats.record);
    // Should the page still look at it, its last look ends it.
    if let Some(stream) = Arc::into_inner(stream) {
        stream.stop();
    }
    let judged = judge.map(|judge| judge.finish());
    let mut outcome = outcome?;
    if stats.frames_in == 0 && !matches!(outcome, Outcome::Interrupted) {
        bail!("no picture ever came from the source");
    }
    let unrecorded =
        console.recording_failed().map(|reason| format!("the recording is incomplete: {reason}"));
    let cut_short =
        cut_short.map(|reason| format!("the source was not played to its end: {reason}"));
    for reason in unrecorded.into_iter().chain(cut_short) {
        tell!("{reason}");
        if matches!(outcome, Outcome::Done) {
            outcome = Outcome::Incomplete;
        }
    }
    let report = report::Report::new(&statistics, &session, stats, console.events(), judged);
    let text = serde_json::to_string_pretty(&report)?;
    let written = args.summary.as_ref().map_or(Ok(()), |path| write_text(path, &text));
    // The figures are not lost with a file that cannot be written.
    report.print(args.json)?;
    written?;
    Ok(outcome)
}

/// The overlay element, wired to session and statistics.
fn overlay(
    args: &LiveArgs,
    session: &Arc<Session>,
    statistics: &Arc<Statistics>,
    judge: Option<Arc<Judge>>,
) -> anyhow::Result<P2samOverlay> {
    let overlay = P2samOverlay::new()?;
    overlay.set_session(Arc::clone(session));
    overlay.set_gap_notice("NO SIGNAL");
    overlay.set_property("mark", !args.overlay.no_mark);
    overlay.set_property("post-messages", false);
    let statistics = Arc::clone(statistics);
    overlay.set_on_shown(Some(Arc::new(move |frame| {
        statistics.shown(frame.shown, frame.added_delay);
        if let (Some(judge), Some(number)) = (&judge, frame.source_number) {
            judge.frame(number, frame.shown);
        }
    })));
    Ok(overlay)
}

/// Serves the page and says where.
fn serve(
    addr: SocketAddr,
    token: Option<String>,
    console: &Arc<Console>,
) -> anyhow::Result<WebServer> {
    let operator: Arc<dyn p2sam::web::Operator> = Arc::clone(console) as _;
    let server = WebServer::start(addr, token, operator)?;
    tell!("the operator's page is at http://{}/", server.addr());
    if !addr.ip().is_loopback() {
        tell!(
            "note: the page is plain HTTP: whoever can read along in the network sees the picture and \
             the token; elsewhere than in a network of your own put a proxy with TLS, or an SSH \
             tunnel to 127.0.0.1, in front of it"
        );
    }
    Ok(server)
}

/// Until the source ends, the time is over or the user stops it.
fn watch(
    stream: &LiveStream,
    console: &Console,
    duration: Option<Duration>,
) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    loop {
        if interrupt::requested() {
            return Ok(Outcome::Interrupted);
        }
        if duration.is_some_and(|duration| start.elapsed() >= duration) {
            return Ok(Outcome::Done);
        }
        if stream.wait(LOOK)? {
            return Ok(Outcome::Done);
        }
        console.tick();
    }
}
