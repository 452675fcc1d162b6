#!/bin/bash
# H.264 may say that its values use the full range and nothing of its matrix; GStreamer's decoder passes
# that on as colorimetry 1:0:0:0. gst_video_info_from_caps does not take a colorimetry whose matrix is
# unknown, and puts its default for the size in the place of all of it: the range becomes 16 to 235, and
# what is black and white is stretched without a word. Elements that negotiate by GstVideoInfo do the same.
# p2sam reads the caps' own words beside it (src/stream/convert.rs, `described`; test
# the_range_of_values_is_the_streams_whatever_the_container_leaves_out).
#
# Seen on Debian 12 with GStreamer 1.22.0:
#   caps say range 1 (0 to 255); GstVideoInfo says range 2 (16 to 235), matrix 4
#   with a matrix in the caps (1:4:0:0): range 1, matrix 4
#
# Exits non-zero if that changes. Needs the Debian packages python3-gi and gir1.2-gst-plugins-base-1.0.
set -u
/usr/bin/python3 - <<'PYTHON'
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo
Gst.init(None)
Gst.debug_set_active(False)
print(Gst.version_string())

def colours(words):
    caps = Gst.Caps.from_string(f"video/x-raw,format=I420,width=64,height=48,colorimetry={words}")
    found = GstVideo.VideoInfo.new_from_caps(caps).colorimetry
    return int(found.range), int(found.matrix)

untold, told = colours("1:0:0:0"), colours("1:4:0:0")
print("caps 1:0:0:0: range %d, matrix %d" % untold)
print("caps 1:4:0:0: range %d, matrix %d" % told)
sys.exit(0 if untold == (2, 4) and told == (1, 4) else 1)
PYTHON
