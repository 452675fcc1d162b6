//! What GStreamer asks of the element.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::BaseTransformMode;
use gst_video::subclass::prelude::*;
use gstreamer as gst;
use gstreamer_base as gst_base;
use gstreamer_video as gst_video;

use super::settings::specifications;
pub use super::state::Overlay;
use super::state::{Stream, lock, open_files};
use crate::stream::convert::own_color;

/// What the element logs: `GST_DEBUG=p2samoverlay:4`.
pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    let name = "p2samoverlay";
    gst::DebugCategory::new(name, gst::DebugColorFlags::empty(), Some("P2SAM overlay"))
});

#[glib::object_subclass]
impl ObjectSubclass for Overlay {
    const NAME: &'static str = "P2samOverlay";
    type Type = super::P2samOverlay;
    type ParentType = gst_video::VideoFilter;
}

impl ObjectImpl for Overlay {
    fn properties() -> &'static [glib::ParamSpec] {
        specifications()
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static ALL: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            let result = glib::subclass::Signal::builder("result")
                .param_types([gst::Structure::static_type()])
                .build();
            let add = glib::subclass::Signal::builder("add-object")
                .param_types([u32::static_type(), String::static_type(), String::static_type()])
                .return_type::<bool>()
                .action()
                .class_handler(|values| {
                    let element = values.first()?.get::<super::P2samOverlay>().ok()?;
                    let text = |at: usize| {
                        values.get(at).and_then(|v| v.get::<Option<String>>().ok().flatten())
                    };
                    let id = values.get(1)?.get().ok()?;
                    let (picture, mask) =
                        (text(2).unwrap_or_default(), text(3).unwrap_or_default());
                    Some(element.imp().add_files(id, &picture, &mask).to_value())
                })
                .build();
            let remove = glib::subclass::Signal::builder("remove-object")
                .param_types([u32::static_type()])
                .action()
                .class_handler(|values| {
                    let element = values.first()?.get::<super::P2samOverlay>().ok()?;
                    element.imp().remove(values.get(1)?.get().ok()?);
                    None
                })
                .build();
            vec![result, add, remove]
        });
        &ALL
    }

    fn constructed(&self) {
        self.parent_constructed();
        let element = self.obj();
        element.set_in_place(true);
        element.set_gap_aware(true);
        // Every frame passes, however late: dropping is for those who sit behind a queue.
        element.set_qos(false);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        lock(&self.settings).set(spec.name(), value);
    }

    fn property(&self, _id: usize, spec: &glib::ParamSpec) -> glib::Value {
        let setting = lock(&self.settings).get(spec.name());
        setting.unwrap_or_else(|| self.stats().to_value())
    }

    fn dispose(&self) {
        self.unlink(true);
    }
}

impl GstObjectImpl for Overlay {}

impl ElementImpl for Overlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "P2SAM overlay",
                "Filter/Effect/Video",
                "Follows annotated objects and draws them into the video without holding it up. \
                 For research use; not a medical device",
                "The p2sam authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list([gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12])
                .build();
            let pad = |name: &str, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            };
            let pads = [pad("sink", gst::PadDirection::Sink), pad("src", gst::PadDirection::Src)];
            pads.into_iter().flatten().collect()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for Overlay {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.stream) = Stream::default();
        if lock(&self.link).given {
            return Ok(());
        }
        let (reference, mask) = {
            let settings = lock(&self.settings);
            (settings.reference.clone(), settings.mask.clone())
        };
        let own = if reference.is_empty() && mask.is_empty() {
            None
        } else {
            let opened = open_files(&reference, &mask).map_err(|reason| {
                gst::error_msg!(
                    gst::ResourceError::OpenRead,
                    ["{reason} (properties `reference` and `mask`)"]
                )
            })?;
            Some(opened)
        };
        self.begin(own).map_err(|e| {
            gst::error_msg!(gst::ResourceError::Failed, ["no thread for the model: {e}"])
        })
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        lock(&self.objects).running = false;
        self.unlink(false);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if matches!(event.type_(), gst::EventType::FlushStop | gst::EventType::Segment) {
            lock(&self.stream).last = None;
            if let Some(session) = self.session() {
                session.clear();
            }
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Qos {
            self.qos_events.fetch_add(1, Ordering::Relaxed);
        }
        self.parent_src_event(event)
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        lock(&self.stream).arrived = Some(Instant::now());
        self.parent_submit_input_buffer(is_discont, buffer)
    }
}

impl VideoFilterImpl for Overlay {
    fn set_info(
        &self,
        input: &gst::Caps,
        info: &gst_video::VideoInfo,
        output: &gst::Caps,
        output_info: &gst_video::VideoInfo,
    ) -> Result<(), gst::LoggableError> {
        {
            let mut stream = lock(&self.stream);
            stream.color = Some(own_color(info));
            let (n, d) = (info.fps().numer(), info.fps().denom());
            stream.frame_time =
                (n > 0 && d > 0).then(|| Duration::from_secs_f64(f64::from(d) / f64::from(n)));
        }
        if let Some(session) = self.session() {
            session.clear();
        }
        self.parent_set_info(input, info, output, output_info)
    }

    fn transform_frame_ip(
        &self,
        frame: &mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        // A picture that cannot be drawn on passes as it is: the video goes on.
        if let Err(error) = self.draw(frame) {
            gst::debug!(CAT, imp = self, "a frame passes undrawn: {error}");
        }
        Ok(gst::FlowSuccess::Ok)
    }
}
