//! Events of the model in GStreamer's words.

use gst::prelude::*;
use gstreamer as gst;

use crate::live::{Event, LiveResult, ObjectResult, State};

/// A result as a structure `p2sam-result`: `number`, `pts` (nanoseconds of running time), `elapsed`
/// (the model's, nanoseconds) and `objects`, a list of structures `object`.
pub(super) fn of_result(result: &LiveResult) -> gst::Structure {
    let objects = result.objects.iter().map(|o| of_object(o).to_send_value());
    gst::Structure::builder("p2sam-result")
        .field("number", result.number)
        .field("pts", nanoseconds(result.pts))
        .field("elapsed", nanoseconds(result.times.total()))
        .field("objects", gst::List::new(objects))
        .build()
}

/// An object: `id`, `state`, `distance` (if the mask covers any patch), `probability` (if it is decided
/// whether the object is in view), `object-score` (of weights with one), `predicted-iou`, `stability`;
/// and if there is a mask its `area` in pixels and its box `x`, `y`, `width`, `height`.
fn of_object(o: &ObjectResult) -> gst::Structure {
    let mut s = gst::Structure::builder("object")
        .field("id", u32::from(o.object))
        .field("state", word(o.state))
        .field_if_some("distance", o.distance)
        .field_if_some("probability", o.probability)
        .field_if_some("object-score", o.object_score)
        .field("predicted-iou", o.predicted_iou)
        .field("stability", o.stability)
        .build();
    if let Some(mask) = &o.mask
        && let Some(b) = mask.bounding_box()
    {
        s.set("area", mask.area() as u64);
        s.set("x", b.x0);
        s.set("y", b.y0);
        s.set("width", b.x1 - b.x0 + 1);
        s.set("height", b.y1 - b.y0 + 1);
    }
    s
}

/// Any other event as a structure `p2sam-event`: `kind`, and where they apply `id`, `reason` and
/// `faults`. `None` for a result.
pub(super) fn of_event(event: &Event) -> Option<gst::Structure> {
    let (kind, id, reason, faults) = match event {
        Event::Result(_) => return None,
        Event::Ready => ("ready", None, None, None),
        Event::ObjectAdded(id) => ("object-added", Some(*id), None, None),
        Event::ObjectRefused(id, reason) => ("object-refused", Some(*id), Some(reason), None),
        Event::ObjectSuspended(id, reason) => ("object-suspended", Some(*id), Some(reason), None),
        Event::ObjectRemoved(id) => ("object-removed", Some(*id), None, None),
        Event::Restarted { reason, faults } => ("restarted", None, Some(reason), Some(*faults)),
        Event::Failed(reason) => ("failed", None, Some(reason), None),
    };
    let s = gst::Structure::builder("p2sam-event")
        .field("kind", kind)
        .field_if_some("id", id.map(u32::from))
        .field_if_some("reason", reason.map(String::as_str))
        .field_if_some("faults", faults);
    Some(s.build())
}

fn word(state: State) -> &'static str {
    match state {
        State::Searching => "searching",
        State::Tracking => "tracking",
        State::Uncertain => "uncertain",
        State::Lost => "lost",
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
