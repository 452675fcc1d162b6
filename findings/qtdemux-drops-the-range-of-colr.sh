#!/bin/bash
# GStreamer's qtdemux reads primaries, transfer and matrix of an MP4's `colr` box, but not its flag for
# the full range of values, and libav's decoder then does not say what the coded stream itself says: H.264
# in full range arrives as limited range, with blacks crushed. The same stream in Matroska is right, and so
# it is for FFmpeg. p2sam keeps the demuxer's word from the decoder and reads the flag itself
# (src/stream/pipeline.rs, src/stream/container/iso.rs; test the_range_of_values_is_the_streams...).
#
# Seen on Debian 12 with GStreamer 1.22.0 and FFmpeg 5.1:
#   ffprobe (MP4)     pc
#   qtdemux           bt601           (GStreamer's short name for limited range)
#   decoded from MP4  bt601
#   decoded from MKV  1:4:16:4        (1 is the full range)
#
# Exits non-zero if that changes. Needs the Debian packages ffmpeg, gstreamer1.0-tools,
# gstreamer1.0-plugins-good and gstreamer1.0-libav.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2

gst-launch-1.0 --version | head -1
ffmpeg -version | head -1 | cut -d' ' -f1-3

for file in full.mp4 full.mkv; do
    ffmpeg -v error -f lavfi -i testsrc=s=320x240:r=25:d=0.4 -c:v libx264 -pix_fmt yuvj420p \
        -color_range pc -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m $file || exit 2
done

# The colours in the caps that reach a sink.
colours() { # launch line
    timeout 60 gst-launch-1.0 -v $1 ! fakesink 2>/dev/null | grep 'fakesink.*caps' |
        grep -o 'colorimetry=(string)[^,]*' | tail -1 | cut -d')' -f2
}
told=$(ffprobe -v error -show_entries stream=color_range -of csv=p=0 full.mp4)
demuxed=$(colours "filesrc location=full.mp4 ! qtdemux")
from_mp4=$(colours "filesrc location=full.mp4 ! decodebin")
from_mkv=$(colours "filesrc location=full.mkv ! decodebin")
printf 'ffprobe (MP4)     %s\nqtdemux           %s\ndecoded from MP4  %s\ndecoded from MKV  %s\n' \
    "$told" "$demuxed" "$from_mp4" "$from_mkv"

[ "$told" = pc ] && [ "${demuxed%%:*}" != 1 ] && [ "${from_mp4%%:*}" != 1 ] && [ "${from_mkv%%:*}" = 1 ]
