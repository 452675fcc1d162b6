"""Runs the items of the soak one after the other. See tests/soak.sh."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import kit
import faults
import files
import live
import sources
import web

ITEMS = {
    "live": live.live, "profiles": live.profiles, "kills": faults.kills, "signals": faults.signals,
    "disk-full": faults.disk_full, "disk-read-only": faults.disk_read_only,
    "twice": faults.twice, "small-object": faults.small_object, "pipe": sources.pipe,
    "tcp": sources.tcp, "transport-streams": sources.transport_streams, "srt": sources.srt,
    "rtsp": sources.rtsp, "looped-file": sources.looped_file, "askers": web.askers,
    "requests": web.requests, "slow-requests": web.slow_requests, "uploads": web.uploads,
    "images": files.images, "batch": files.batch, "long-file": files.long_file,
    "nan-weights": files.nan_weights, "short-weights": files.short_weights,
    "many-tensors": files.many_tensors, "local-catalog": files.local_catalog,
}


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--seconds", type=int, default=6 * 3600)
    parse.add_argument("--only", default="")
    parse.add_argument("--skip", default="")
    parse.add_argument("--out", type=Path)
    args = parse.parse_args()
    chosen = [name for name in args.only.split(",") if name] or list(ITEMS)
    chosen = [name for name in chosen if name not in args.skip.split(",")]
    unknown = [name for name in chosen if name not in ITEMS]
    if unknown:
        parse.error(f"unknown items {unknown}; known are {', '.join(ITEMS)}")
    out = (args.out or Path(tempfile.mkdtemp(prefix="p2sam-soak-"))).resolve()
    out.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                             cwd=kit.ROOT).stdout.strip()
    print(f"p2sam {version} on {kit.machine()}; files in {out}")
    results = {}
    for name in chosen:
        folder = out / name
        folder.mkdir(exist_ok=True)
        item = kit.Item(name, folder)
        begun = time.monotonic()
        try:
            ITEMS[name](item, out, args.seconds)
            word = "held" if not item.failures else "FAILED"
        except kit.NotRun as reason:
            word = f"not run: {reason}"
        except Exception as error:  # An item that breaks down has not held.
            item.failures.append(repr(error))
            word = f"FAILED: {error!r}"[:3000]
        seconds = time.monotonic() - begun
        print(f"{name}: {word} ({item.held} checks, {seconds:.0f} s)")
        results[name] = {"result": word, "checks": item.held, "failures": item.failures,
                         "seconds": round(seconds, 1), "figures": item.figures}
        (out / "results.json").write_text(json.dumps(
            {"version": version, "machine": kit.machine(), "items": results}, indent=1))
        kit.flush()
    bad = [name for name, result in results.items() if result["result"] != "held"]
    print("all held" if not bad else f"not held or not run: {', '.join(bad)}")
    sys.exit(bool(bad))


main()
