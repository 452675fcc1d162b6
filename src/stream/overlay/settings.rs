use std::sync::LazyLock;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gstreamer as gst;

use crate::image::OverlayStyle;
use crate::live::{DisplaySettings, ModelSettings, ObjectId, object_color};

/// The element's properties.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) reference: String,
    pub(super) mask: String,
    pub(super) model: ModelSettings,
    /// 0xRRGGBB of object 1.
    pub(super) color: u32,
    pub(super) thickness: u32,
    pub(super) opacity: f32,
    /// Milliseconds.
    pub(super) age_limit: u32,
    /// Milliseconds.
    pub(super) confirm_limit: u32,
    pub(super) warp: bool,
    pub(super) mark: bool,
    pub(super) post_messages: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let style = OverlayStyle::default();
        let [r, g, b] = object_color(1).map(u32::from);
        let display = DisplaySettings::default();
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Self {
            reference: String::new(),
            mask: String::new(),
            model: ModelSettings::default(),
            color: r << 16 | g << 8 | b,
            thickness: style.thickness,
            opacity: style.opacity,
            age_limit: ms(display.age_limit),
            confirm_limit: ms(display.confirm_limit),
            warp: display.warp,
            mark: true,
            post_messages: true,
        }
    }
}

impl Settings {
    pub(super) fn display(&self) -> DisplaySettings {
        DisplaySettings {
            age_limit: Duration::from_millis(u64::from(self.age_limit)),
            confirm_limit: Duration::from_millis(u64::from(self.confirm_limit)),
            warp: self.warp,
        }
    }

    pub(super) fn color_of(&self, object: ObjectId) -> [u8; 3] {
        match object {
            1 => [16, 8, 0].map(|shift| (self.color >> shift & 0xff) as u8),
            _ => object_color(object),
        }
    }

    pub(super) fn style_of(&self, object: ObjectId) -> OverlayStyle {
        let color = self.color_of(object);
        OverlayStyle { color, thickness: self.thickness, opacity: self.opacity }
    }

    /// Sets a property; the type was checked by its specification.
    pub(super) fn set(&mut self, name: &str, value: &glib::Value) {
        fn take<T>(to: &mut T, value: &glib::Value)
        where
            T: StaticType
                + for<'a> glib::value::FromValue<
                    'a,
                    Checker = glib::value::GenericValueTypeChecker<T>,
                >,
        {
            if let Ok(value) = value.get() {
                *to = value;
            }
        }
        let text = |to: &mut String| {
            *to = value.get::<Option<String>>().ok().flatten().unwrap_or_default();
        };
        match name {
            "reference" => text(&mut self.reference),
            "mask" => text(&mut self.mask),
            "weights" => text(&mut self.model.weights),
            "device" => text(&mut self.model.device),
            "profile" => text(&mut self.model.profile),
            "presence" | "gate" => take(&mut self.model.presence, value),
            "color" => take(&mut self.color, value),
            "thickness" => take(&mut self.thickness, value),
            "opacity" => take(&mut self.opacity, value),
            "age-limit" => take(&mut self.age_limit, value),
            "confirm-limit" => take(&mut self.confirm_limit, value),
            "warp" => take(&mut self.warp, value),
            "mark" => take(&mut self.mark, value),
            "post-messages" => take(&mut self.post_messages, value),
            _ => {}
        }
    }

    /// A property's value; `None` if it is not a setting.
    pub(super) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "reference" => self.reference.to_value(),
            "mask" => self.mask.to_value(),
            "weights" => self.model.weights.to_value(),
            "device" => self.model.device.to_value(),
            "profile" => self.model.profile.to_value(),
            "presence" | "gate" => self.model.presence.to_value(),
            "color" => self.color.to_value(),
            "thickness" => self.thickness.to_value(),
            "opacity" => self.opacity.to_value(),
            "age-limit" => self.age_limit.to_value(),
            "confirm-limit" => self.confirm_limit.to_value(),
            "warp" => self.warp.to_value(),
            "mark" => self.mark.to_value(),
            "post-messages" => self.post_messages.to_value(),
            _ => return None,
        })
    }
}

/// When a property may be set.
const AT_START: glib::ParamFlags = gst::PARAM_FLAG_MUTABLE_READY;
const ALWAYS: glib::ParamFlags = gst::PARAM_FLAG_MUTABLE_PLAYING;

fn text(name: &str, nick: &str, blurb: &str, usual: &str) -> glib::ParamSpec {
    let spec = glib::ParamSpecString::builder(name).nick(nick).blurb(blurb);
    spec.default_value(Some(usual)).flags(glib::ParamFlags::READWRITE | AT_START).build()
}

fn flag(
    when: glib::ParamFlags,
    name: &str,
    nick: &str,
    blurb: &str,
    usual: bool,
) -> glib::ParamSpec {
    let spec = glib::ParamSpecBoolean::builder(name).nick(nick).blurb(blurb);
    spec.default_value(usual).flags(glib::ParamFlags::READWRITE | when).build()
}

fn number(
    when: glib::ParamFlags,
    name: &str,
    nick: &str,
    blurb: &str,
    (most, usual): (u32, u32),
) -> glib::ParamSpec {
    let spec = glib::ParamSpecUInt::builder(name).nick(nick).blurb(blurb).maximum(most);
    spec.default_value(usual).flags(glib::ParamFlags::READWRITE | when).build()
}

/// What the element's properties are called and may be.
pub(super) fn specifications() -> &'static [glib::ParamSpec] {
    static ALL: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
        let s = Settings::default();
        let model = &s.model;
        let opacity = glib::ParamSpecFloat::builder("opacity")
            .nick("Opacity")
            .blurb("Opacity of the fill, 0 (none) to 1")
            .minimum(0.0)
            .maximum(1.0)
            .default_value(s.opacity)
            .flags(glib::ParamFlags::READWRITE | ALWAYS)
            .build();
        let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb(STATS)
            .read_only()
            .build();
        vec![
            text("reference", "Reference", "Picture file of object 1; empty for none", ""),
            text("mask", "Mask", "Mask file of object 1, of the reference's size", ""),
            text("weights", "Weights", WEIGHTS, &model.weights),
            text("device", "Device", DEVICE, &model.device),
            text("profile", "Profile", PROFILE, &model.profile),
            flag(AT_START, "presence", "Presence", PRESENCE, model.presence),
            flag(AT_START, "gate", "Gate", GATE, model.presence),
            number(ALWAYS, "color", "Colour", COLOR, (0x00ff_ffff, s.color)),
            number(ALWAYS, "thickness", "Thickness", THICKNESS, (64, s.thickness)),
            opacity,
            number(AT_START, "age-limit", "Age limit", AGE_LIMIT, (60_000, s.age_limit)),
            number(
                AT_START,
                "confirm-limit",
                "Confirmation limit",
                CONFIRM_LIMIT,
                (600_000, s.confirm_limit),
            ),
            flag(AT_START, "warp", "Warp", WARP, s.warp),
            flag(ALWAYS, "mark", "Mark", MARK, s.mark),
            flag(ALWAYS, "post-messages", "Post messages", POST_MESSAGES, s.post_messages),
            stats,
        ]
    });
    &ALL
}

const WEIGHTS: &str = "The model's weights, by name or file; empty for the usual ones";
const DEVICE: &str = "What computes the model; empty for the best there is";
const PROFILE: &str = "The method's settings by name; empty for the usual ones";
const PRESENCE: &str = "Decide whether objects are in view, and show no mask where they are not";
const GATE: &str = "Another name for presence";
const COLOR: &str = "Colour of object 1 as 0xRRGGBB";
const THICKNESS: &str = "Width of the contour in pixels; 0 draws none";
const AGE_LIMIT: &str = "Milliseconds after which a mask whose motion is not known is gone";
const CONFIRM_LIMIT: &str =
    "Milliseconds after which a mask that the model did not confirm is gone";
const WARP: &str = "Move masks with the picture between two results";
const MARK: &str = "Write each object's state and its mask's age into the corner";
const POST_MESSAGES: &str = "Post results and events on the bus";
const STATS: &str = "Frames passed, pictures offered to the model, replaced before it was free and \
                     searched (results), faults of the model, QoS events from downstream";
