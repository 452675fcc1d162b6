#!/usr/bin/env bash
# Load and faults, outside CI: what hours of a live run, kills, full disks, broken sources, floods of
# requests and hostile files do. Figures go to docs/reliability.md by hand.
#
#   tests/soak.sh [--seconds N] [--only ITEM,ITEM] [--skip ITEM,ITEM] [--out DIR]
#
# --seconds is the length of the item `live`: six hours (21600) unless given, 900 for a trial. Needs a
# release build (cargo build --release), python3, ffmpeg, gst-launch-1.0; the disk items need root and
# mount a tmpfs in a mount namespace of their own; `rtsp` needs gir1.2-gst-rtsp-server-1.0 and python3-gi
# of Debian. What is not there is reported as not run, never as held. Ends with 0 if all held.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x "${P2SAM_BINARY:-target/release/p2sam}" ] || { echo "build first: cargo build --release" >&2; exit 2; }
exec python3 -u tests/soak/run.py "$@"
