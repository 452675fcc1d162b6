#!/usr/bin/env python3
"""On a GPU: first whether it computes what the processor does, then times, beside PyTorch's.

`make gpu` sets up all that this needs and runs it. Models without a file get random weights: the time
is the same. Prints Markdown and writes it to benches/results/gpu-NAME.md. Ends with an error, and
times nothing, where an embedding or a mask is not the processor's.
"""

import argparse
import datetime
import json
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import p2sam_frame
import torch
import torch_side
from peers import phantom
from side import Side

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"mobile-sam": "vit_t", "sam-vit-b": "vit_b", "sam-vit-l": "vit_l", "sam-vit-h": "vit_h"}
# Largest relative error of an embedding, smallest IoU of a mask.
EMBEDDING, MASK = 5e-3, 0.99
ROUNDS = 50


def numerics(args, name, weights, shots, folder):
    """A line: how far the device's embedding and mask are from the processor's."""
    reference, mask, pictures = shots
    found = {}
    for device in ("cpu", args.device):
        side = Side(args.target / "release" / "examples" / "peers", weights, device)
        side.ask("encode", picture=pictures[0], save=folder / "embedding.bin")
        embedding = np.fromfile(folder / "embedding.bin", dtype="<f4")
        side.ask("reference", picture=reference, mask=mask)
        distance = side.ask("frame", picture=pictures[0], save=folder / "mask.png")["distance"]
        found[device] = embedding, p2sam_frame.read_mask(folder / "mask.png") > 127, distance
        side.close()
    (a, mask_a, distance_a), (b, mask_b, distance_b) = found["cpu"], found[args.device]
    error = np.linalg.norm(a - b) / np.linalg.norm(a)
    iou = (mask_a & mask_b).sum() / max((mask_a | mask_b).sum(), 1)
    # Random weights draw masks whose every pixel is a coin's throw.
    known = name in args.weights
    if error > EMBEDDING or (known and iou < MASK):
        raise SystemExit(f"{name}: embedding off by {error:.1e}, mask IoU {iou:.4f}: not the processor's result")
    judged = f"{iou:.4f}" if known else "(random weights)"
    return f"| {name} | {error:.1e} | {judged} | {abs(distance_b / distance_a - 1):.1e} |"


def encoder_times(args, kind, weights, picture):
    """By form of PyTorch, its encoder's median milliseconds; each is waited for."""
    predictor = torch_side.load(kind, weights)
    device = args.device.split(":")[0]
    encoder = predictor.model.to(args.device).image_encoder
    pixels = torch_side.prepared(predictor, p2sam_frame.read_rgb(picture)).to(args.device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = {}
    for name, run, half in [("eager", encoder, False), ("compiled", torch.compile(encoder), False),
                            ("compiled, bf16", torch.compile(encoder), True)]:
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=half):
            taken = []
            for _ in range(ROUNDS + 5):
                wait()
                start = time.perf_counter()
                run(pixels)
                wait()
                taken.append((time.perf_counter() - start) * 1e3)
        times[name] = statistics.median(taken[5:])
    return times


def bench(args, weights, folder):
    """By profile, p2sam's own measurement of whole frames."""
    report = folder / "bench.json"
    command = [args.target / "release" / "p2sam", "bench", "--weights", weights, "--device", args.device]
    command += ["--profile", "paper,fast", "--frames", args.frames, "--warmup", 20, "--json", report]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    report = json.loads(report.read_text())
    return report["machine"], {case["case"]["profile"]: case for case in report["cases"]}


def line(name, cases, times):
    """A line of the table of times."""
    cells = [name]
    for profile in ("paper", "fast"):
        case = cases[profile]
        encode = next(stage for stage in case["stages"] if stage["name"] == "encode")["summary"]
        whole = case["whole"]["summary"]
        cells.append(f"{whole['p50']:.1f} / {whole['p99']:.1f}")
        cells.append(f"{encode['p50']:.1f}")
    cells += [f"{value:.1f}" for value in times.values()]
    return "| " + " | ".join(cells) + " |"


def main():
    """Check, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="as p2sam and PyTorch both name it")
    parser.add_argument("--target", type=Path, default=ROOT / "target", help="Cargo's folder")
    parser.add_argument("--weights", nargs="*", default=["mobile-sam=" + str(ROOT / "weights" / "mobile_sam.pt")],
                        metavar="NAME=FILE", help="real weights")
    parser.add_argument("--models", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--frames", type=int, default=300)
    args = parser.parse_args()
    args.weights = dict(pair.split("=", 1) for pair in args.weights)
    checks, lines, machine = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        shots = phantom(args.target / "release" / "p2sam", folder)
        files = {}
        for name in args.models:
            files[name] = Path(args.weights.get(name, folder / f"{name}.pth"))
            if name not in args.weights:
                torch_side.random_weights(KINDS[name], files[name])
            checks.append(numerics(args, name, files[name], shots, folder))
            print(checks[-1], flush=True)
        for name, weights in files.items():
            machine, cases = bench(args, weights, folder)
            lines.append(line(name, cases, encoder_times(args, KINDS[name], weights, shots[2][0])))
            print(lines[-1], flush=True)
    device = ", ".join(machine["gpus"]) or machine["cpu"]
    text = "\n".join([
        f"# On {device}", "",
        f"{datetime.date.today()}; {machine['system']}; PyTorch {torch.__version__}. Made by `make gpu`.", "",
        "| model | embedding off by | mask IoU | distance off by |", "|---|---|---|---|", *checks, "",
        "Milliseconds; a whole frame of 640 x 360 as p50 / p99, the encoder as p50.", "",
        "| model | `paper` | its encoder | `fast` | its encoder | PyTorch's encoder, eager | compiled | compiled, bf16 |",
        "|---|---|---|---|---|---|---|---|", *lines, ""])
    output = ROOT / "benches" / "results" / f"gpu-{re.sub('[^a-z0-9]+', '-', device.lower()).strip('-')}.md"
    output.write_text(text)
    print(f"\n{text}\nwritten to {output}")


if __name__ == "__main__":
    main()
