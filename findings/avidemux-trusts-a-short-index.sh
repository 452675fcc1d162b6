#!/bin/bash
# GStreamer's avidemux gives as many frames as the index at the end of an AVI holds, however many the
# header counts and the file has: without an error, a warning or a shorter duration than it says. Behind a
# queue, through which it cannot reach to the index, it gives all of them, as FFmpeg does. p2sam
# compares index and header and reads such files without the index (src/stream/container/avi.rs; test
# an_avi_is_as_long_as_its_header_says_whatever_its_index).
#
# Seen on Debian 12 with GStreamer 1.22.0 and FFmpeg 5.1, for 12 frames and an index of 6:
#   avidemux           6 frames
#   queue ! avidemux  12 frames
#   ffprobe           12 frames
#
# Exits non-zero if that changes. Needs the Debian packages ffmpeg, python3, gstreamer1.0-tools and
# gstreamer1.0-plugins-good.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2

gst-launch-1.0 --version | head -1
ffmpeg -version | head -1 | cut -d' ' -f1-3

ffmpeg -v error -f lavfi -i testsrc=s=320x240:r=25:d=0.48 -c:v mjpeg whole.avi || exit 2
python3 - <<'PYTHON' || exit 2
import struct
data = bytearray(open("whole.avi", "rb").read())
index = data.rfind(b"idx1")
size, = struct.unpack("<I", data[index + 4:index + 8])
data[index + 4:index + 8] = struct.pack("<I", size // 2)
del data[index + 8 + size // 2:]
data[4:8] = struct.pack("<I", len(data) - 8)
open("half.avi", "wb").write(data)
PYTHON

frames() { # launch line
    timeout 60 gst-launch-1.0 -v $1 ! fakesink silent=false 2>/dev/null | grep -c 'chain '
}
indexed=$(frames "filesrc location=half.avi ! avidemux")
streamed=$(frames "filesrc location=half.avi ! queue ! avidemux")
probed=$(ffprobe -v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0 half.avi)
printf 'avidemux          %2s frames\nqueue ! avidemux  %2s frames\nffprobe           %2s frames\n' \
    "$indexed" "$streamed" "$probed"

[ "$indexed" = 6 ] && [ "$streamed" = 12 ] && [ "$probed" = 12 ]
