#!/usr/bin/env python3
"""Time a `paper` frame against the published procedure in PyTorch, in one run on one machine.

    pip install torch torchvision mobilesam-mirror==1.0.0 timm scikit-learn POT numpy pillow
    cargo build --release
    python benches/peers/compare.py --reference-image 003.png --reference-mask 003m.png \\
        --images 004.png 005.png 006.png --rounds 3

Both programs get the same pictures, weights and settings (n 1..5, m 1) and take turns, so that a
machine whose speed drifts treats them alike. Prints the median milliseconds a frame of both, by stage,
and the ratio of each round: quote the ratios, not the times.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def ours(args, folder):
    """Milliseconds of every frame by stage, from p2sam's JSON lines."""
    listed = folder / "images.txt"
    listed.write_text("".join(f"{Path(i).resolve()}\n" for i in args.images))
    frames = folder / "frames.jsonl"
    command = [args.p2sam, "track", listed, "--reference-image", args.reference_image]
    command += ["--reference", args.reference_mask, "--weights", args.weights, "--device", "cpu"]
    subprocess.run([*map(str, command), "--jsonl", str(frames)], check=True, capture_output=True)
    records = [json.loads(line) for line in frames.read_text().splitlines()]
    return [(r["milliseconds"]["total"], r["milliseconds"], r["distance"]) for r in records]


def theirs(args):
    """Milliseconds of every frame by stage, from p2sam_frame.py."""
    command = [sys.executable, HERE / "p2sam_frame.py", "--weights", args.weights]
    command += ["--reference-image", args.reference_image, "--reference-mask", args.reference_mask]
    command += ["--threads", args.threads, "--images", *args.images]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [(1e3 * r["seconds"], r["stages"], r["distance"]) for r in records]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p2sam", default="target/release/p2sam")
    parser.add_argument("--weights", default="weights/mobile_sam.pt")
    parser.add_argument("--reference-image", required=True)
    parser.add_argument("--reference-mask", required=True)
    parser.add_argument("--images", nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    ratios, mine, peers = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            a, b = ours(args, Path(folder)), theirs(args)
            mine += a
            peers += b
            ratios.append(statistics.median(x[0] for x in a) / statistics.median(x[0] for x in b))
            print(f"round {number + 1}: ours / published {ratios[-1]:.2f}", flush=True)
            worst = max(abs(x[2] - y[2]) / max(y[2], 1e-9) for x, y in zip(a, b))
            print(f"  distances differ by at most {worst:.1e}", flush=True)
    for name, rows in [("p2sam", mine), ("published", peers)]:
        whole = statistics.median(r[0] for r in rows)
        stages = {k: statistics.median(r[1][k] for r in rows) for k in rows[0][1] if k != "total"}
        scale = 1 if name == "p2sam" else 1e3
        parts = ", ".join(f"{k} {v * scale:.0f}" for k, v in stages.items())
        print(f"{name}: median {whole:.0f} ms a frame ({parts})")
    print(f"ratio of medians: {statistics.median(ratios):.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
