#!/usr/bin/env python3
"""Time p2sam against PyTorch, torch.compile, ONNX Runtime, POT and candle, in turns on one machine.

`make peers` sets up all that this needs and runs it. Both sides are warm processes that get the same
weights and pictures and take turns; while one is timed, the other sleeps, which is checked. Without
--reference the pictures are those of the program's own synthetic clip.

Prints a Markdown table and writes it to benches/results/peers-CORES-cores-VECTORS.md (avx512, avx2):
medians in milliseconds with the middle 80 % of the rounds, the ratio of the medians with its 95 %
interval by bootstrap over rounds, the goal for the ratio with the fastest peer, and how far the results
agree. Quote the ratios: times of two runs on one machine differ by more.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["torch", "onnxruntime", "mobilesam-mirror", "POT", "scikit-learn", "numpy"]
ROWS = ["encoder", "pass", "passes", "retrieval", "frame", "cold"]
COLD_GOAL = 1500.0


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=ROOT / "target", help="Cargo's folder")
    parser.add_argument("--weights", type=Path, default=ROOT / "weights" / "mobile_sam.pt", help="of MobileSAM")
    parser.add_argument("--reference", type=Path, help="the annotated picture")
    parser.add_argument("--mask", type=Path, help="its mask")
    parser.add_argument("--pictures", type=Path, nargs="+", help="the pictures to work on")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--encoders", nargs="+", choices=["eager", "compile", "onnx"],
                        default=["eager", "compile", "onnx"], help="forms of PyTorch's encoder")
    parser.add_argument("--candle", type=Path, help="program of benches/peers/candle")
    parser.add_argument("--vit-b", action="store_true", help="ViT-B's encoder, too (random weights; minutes)")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="Markdown file (default: in benches/results)")
    parsed = parser.parse_args()
    if bool(parsed.reference) != bool(parsed.mask) or bool(parsed.reference) != bool(parsed.pictures):
        parser.error("--reference, --mask and --pictures go together")
    return parsed


def phantom(program, folder):
    """Renders a clip: its first picture, that one's mask, and the other pictures in which the polyp is."""
    command = [program, "phantom", "-o", folder, "--images", "--rate", "2", "--length", "4"]
    subprocess.run(command, check=True, capture_output=True)
    images = sorted((folder / "images").iterdir())
    return images[0], folder / "masks" / images[0].name, images[1:5]


def cold_start(args, program):
    """A line of the table: a new process's time to its first mask, by `p2sam bench`."""
    from rounds import spread
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "bench.json"
        command = [program, "bench", "--weights", args.weights, "--device", "cpu", "--frames", "1"]
        command += ["--warmup", "0", "--cold-starts", args.rounds, "--json", report]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        times = json.loads(report.read_text())["cases"][0]["cold_start"]
    median = sorted(times)[len(times) // 2]
    goal = f"{COLD_GOAL:.0f} ms: {'met' if median <= COLD_GOAL else 'missed'}"
    return ["cold start to the first mask", spread(times), "", "", "", goal, ""]


def processor(field):
    """A field of what Linux says of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(field):
            return line.split(":")[1].strip()
    return platform.processor()


def vectors():
    """The widest vectors that the processor computes with."""
    known = {"avx512f": "avx512", "avx2": "avx2"}
    flags = processor("flags").split()
    return next((name for flag, name in known.items() if flag in flags), platform.machine())


def machine(args, load):
    """What all this ran on."""
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (f"{datetime.date.today()}, {processor('model name')} ({vectors()}), {os.cpu_count()} cores, "
            f"{args.threads} threads a side, 32-bit floats, {args.rounds} rounds, commit {commit or 'unknown'}. "
            f"Load average before: {load:.2f}. Python {platform.python_version()}, {packages}.")


def main():
    """Measure, print and write."""
    args = arguments()
    load = os.getloadavg()[0]
    for name in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
        os.environ[name] = str(args.threads)
    warnings.filterwarnings("ignore", module="timm|mobile_sam|torch")
    # They read the number of threads when they are loaded.
    import torch
    import rows
    import torch_side
    from rounds import OURS, table
    from side import Side
    torch.set_num_threads(args.threads)
    program, server = args.target / "release" / "p2sam", args.target / "release" / "examples" / "peers"
    lines, notes, disturbed = [], [], 0.0

    def measure(row, rounds, ours):
        nonlocal disturbed
        row.measure(rounds, ours)
        disturbed = max(disturbed, row.disturbed)
        lines.extend(row.lines())
        print(table(row.lines()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if args.reference:
            reference, mask, pictures = args.reference, args.mask, args.pictures
        else:
            reference, mask, pictures = phantom(program, folder)
        ours, predictor = Side(server, args.weights), torch_side.load("vit_t", args.weights)
        ours.ask("reference", picture=reference, mask=mask)
        bench = rows.Bench(ours, predictor, reference, mask, pictures, folder, args.threads)
        if "encoder" in args.rows:
            candle = Side(args.candle, args.weights) if args.candle else None
            row, flops, product = rows.encoder(
                bench, "MobileSAM image encoder, 1024", 0.8, args.encoders, candle)
            measure(row, args.rounds, ours)
            rates = {name: operations / sorted(row.times[name])[args.rounds // 2] / 1e6
                     for name, operations in [(OURS, flops), ("product", product)]}
            notes.append(
                f"MobileSAM's encoder takes {flops / 1e9:.1f} GFLOP: p2sam does {rates[OURS]:.0f} GFLOP/s, "
                f"{rates[OURS] / rates['product']:.2f} of the {rates['product']:.0f} GFLOP/s of PyTorch's "
                f"product of two {rows.PRODUCT} x {rows.PRODUCT} matrices (goal: at least 0.5).")
            if candle:
                candle.close()
        if "pass" in args.rows:
            measure(rows.one_pass(bench, 0.4), args.rounds, ours)
        if "passes" in args.rows:
            measure(rows.all_passes(bench, 0.3), args.rounds, ours)
        if "retrieval" in args.rows:
            measure(rows.retrieval(bench, 0.1, args.rounds), args.rounds, ours)
        if "frame" in args.rows:
            measure(rows.frame(bench, 0.2), args.rounds, ours)
        ours.close()
        if args.vit_b:
            weights = folder / "vit_b.pth"
            torch_side.random_weights("vit_b", weights)
            ours, predictor = Side(server, weights), torch_side.load("vit_b", weights)
            bench = rows.Bench(ours, predictor, reference, mask, pictures[:1], folder, args.threads)
            row, _, _ = rows.encoder(bench, "ViT-B image encoder, random weights", 0.6, ["eager"])
            measure(row, max(args.rounds // 4, 3), ours)
            ours.close()
    if "cold" in args.rows:
        lines.append(cold_start(args, program))
    notes.append(f"While one side was timed, the other used at most {100 * disturbed:.1f} % of a processor.")
    text = "\n\n".join(["# Against peers, in turns", machine(args, load), table(lines), *notes,
                        "Made by `make peers`: median (middle 80 % of rounds); ratio of medians (95 % interval)."])
    output = args.output or ROOT / "benches" / "results" / f"peers-{os.cpu_count()}-cores-{vectors()}.md"
    output.write_text(text + "\n")
    print(f"\n{text}\n\nwritten to {output}")


if __name__ == "__main__":
    main()
