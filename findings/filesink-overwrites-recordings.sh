#!/usr/bin/env bash
# GStreamer's filesink and splitmuxsink open their files over whatever is there, also over a file that
# another process is recording to: two recorders with one location both end with 0, without a warning,
# and leave one file that holds neither recording. There is no property to refuse. p2sam makes the file
# of a segment itself, exclusively, and hands its descriptor to fdsink (src/stream/live/files.rs; test
# two_recordings_never_write_to_one_prefix_and_no_file_is_overwritten).
# Seen with GStreamer 1.22.0 of Debian 12. Needs its packages gstreamer1.0-tools, -plugins-base,
# -plugins-good, -plugins-ugly, and ffmpeg. Ends with another code than 0 if that has changed.
set -euo pipefail
gst-launch-1.0 --version | sed -n 1,2p
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
video() { echo "videotestsrc is-live=true num-buffers=$1 pattern=$2 ! video/x-raw,width=64,height=48,framerate=25/1 ! x264enc tune=zerolatency"; }
frames() { ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1"; }

echo "== filesink, two at a time"
gst-launch-1.0 -q $(video 75 ball) ! matroskamux ! filesink location="$dir/case.mkv" buffer-mode=unbuffered &
first=$!
sleep 1
gst-launch-1.0 -q $(video 75 snow) ! matroskamux ! filesink location="$dir/case.mkv" buffer-mode=unbuffered &
second=$!
wait "$first" && wait "$second" && echo "both end with 0"
ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$dir/case.mkv" > "$dir/told" 2>&1 || true
cat "$dir/told"
if [ "$(cat "$dir/told")" = 75 ]; then echo "CHANGED: one recording is whole"; exit 1; fi

echo "== splitmuxsink, one after the other"
for count in 75 10; do
  gst-launch-1.0 -q $(video "$count" ball) ! h264parse ! splitmuxsink muxer=matroskamux location="$dir/case-%05d.mkv"
  echo "$count frames recorded; files: $(cd "$dir" && ls case-*); frames in the first: $(frames "$dir/case-00000.mkv")"
done
[ "$(frames "$dir/case-00000.mkv")" = 10 ] || { echo "CHANGED: the first recording is still there"; exit 1; }
