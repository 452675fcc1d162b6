#!/usr/bin/env bash
# GStreamer's srtsrc, as a caller, posts neither an error nor the end of the stream when its peer is
# killed: its property auto-reconnect makes it try again by itself, and for seconds there is no message
# at all. Whoever rebuilds a pipeline when an error comes keeps the last frame on the screen. p2sam goes by
# the time since the last frame (stall_limit, src/stream/live/supervisor.rs; test
# a_stalled_source_is_told_and_rebuilt; tests/soak.sh --only srt).
# Seen with GStreamer 1.22.0 of Debian 12. Needs its packages gstreamer1.0-tools, -plugins-base,
# -plugins-bad, -plugins-ugly. Ends with another code than 0 if that has changed.
set -euo pipefail
gst-launch-1.0 --version | sed -n 1,2p
dir=$(mktemp -d)
port=$((20000 + RANDOM % 20000))
trap 'kill -9 $peer $caller 2>/dev/null || true; rm -rf "$dir"' EXIT
gst-launch-1.0 -q videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=25 ! mpegtsmux alignment=7 \
  ! srtsink "uri=srt://127.0.0.1:$port?mode=listener" wait-for-connection=false &
peer=$!
sleep 2
gst-launch-1.0 -m srtsrc "uri=srt://127.0.0.1:$port" ! filesink buffer-mode=unbuffered \
  location="$dir/received" > "$dir/messages" 2>&1 &
caller=$!
sleep 4
size() { stat -c %s "$dir/received"; }
[ "$(size)" -gt 0 ] || { echo "nothing was received"; exit 1; }
kill -9 "$peer"
sleep 1
before=$(wc -l < "$dir/messages")
received=$(size)
sleep 3
echo "bytes received before the kill: $received, and 3 s later: $(size)"
echo "messages of the caller in seconds 1 to 4 after the kill: $(($(wc -l < "$dir/messages") - before))"
tail -n +$((before + 1)) "$dir/messages"
[ "$(size)" = "$received" ] || { echo "CHANGED: still something comes"; exit 1; }
kill -0 "$caller" || { echo "CHANGED: the pipeline has ended"; exit 1; }
if grep -qiE '\((error|eos)\)|^ERROR|EOS' "$dir/messages"; then echo "CHANGED: an error or the end is posted"; exit 1; fi
