#!/bin/bash
# GStreamer describes where the components of a raw format lie (gst_video_format_get_info: poffset,
# pixel_stride). For packed Y412 (12 bits in 16, 4:4:4 with alpha) it says that all four lie at byte 0 of a
# pixel, but its own elements write U, Y, V, A one after the other: luma read by the description is chroma.
# p2sam reads components by the description only where a plane is theirs alone or they have 8 bits
# (src/stream/samples.rs; test every_format_keeps_its_colours_in_rgb_and_in_yuv).
#
# Seen on Debian 12 with GStreamer 1.22.0:
#   described: luma at byte 0, pixels 8 bytes apart
#   written:   0x8080 0xebe0 0x8080 0xfff0     (white: U, Y, V, A)
#   by the description luma is 0x8080, white is 0xebe0
#
# Exits non-zero if that changes. Needs the Debian packages python3-gi, gir1.2-gst-plugins-base-1.0,
# gstreamer1.0-tools and gstreamer1.0-plugins-base.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2

gst-launch-1.0 --version | head -1
gst-launch-1.0 -q videotestsrc num-buffers=1 pattern=white ! video/x-raw,format=Y412_LE,width=4,height=2 \
    ! filesink location=white.raw || exit 2
/usr/bin/python3 - <<'PYTHON'
import struct
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo
Gst.init(None)
described = GstVideo.VideoFormat.get_info(GstVideo.VideoFormat.Y412_LE)
offset, stride = described.poffset[0], described.pixel_stride[0]
written = open("white.raw", "rb").read(8)
words = struct.unpack("<4H", written)
luma, = struct.unpack_from("<H", written, offset)
print(f"described: luma at byte {offset}, pixels {stride} bytes apart")
print("written:  ", *(hex(word) for word in words), "(white: U, Y, V, A)")
print(f"by the description luma is {hex(luma)}, white is {hex(words[1])}")
sys.exit(0 if (offset, luma) == (0, words[0]) and luma != words[1] else 1)
PYTHON
