"""Dice by distance from the annotated slice, on stacks of slices with known masks.

python benches/volumes.py DATA [--program p2sam] [--stacks N]     (packages: numpy, pillow)

DATA holds STACK/images and STACK/masks, a PNG a slice. The middle one of the marked slices is annotated;
`nearest` has three annotated slices instead (at a quarter, the middle and three quarters of the object),
`copy` is the annotated mask on every slice, `propagate` walks up and down with the last mask in the race.
Prints a Markdown table: mean Dice of the slices at each distance, annotated slices left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy
from PIL import Image

BANDS = [(1, 2), (3, 5), (6, 10), (11, 99)]


def read(path):
    return numpy.array(Image.open(path).convert("L")) > 0


def dice(a, b):
    total = a.sum() + b.sum()
    return 1.0 if total == 0 else 2.0 * (a & b).sum() / total


def run(program, stack, annotated, options, folder):
    masks = folder / "annotated"
    masks.mkdir(exist_ok=True)
    for old in masks.iterdir():
        old.unlink()
    for name in annotated:
        Image.fromarray(read(stack / "masks" / name).astype("uint8") * 255).save(masks / name)
    out = folder / "out"
    line = [program, "track", stack / "images", "--reference-image", stack / "images"]
    line += ["--reference", masks, "--masks", out, "--json", *options]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    found = {path.name: read(path) for path in sorted(out.iterdir())}
    return found, json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--program", default="target/release/p2sam")
    parser.add_argument("--stacks", type=int, default=5)
    arguments = parser.parse_args()
    scores = defaultdict(lambda: defaultdict(list))
    stacks = sorted(path for path in arguments.data.iterdir() if (path / "images").is_dir())
    for stack in stacks[: arguments.stacks]:
        names = sorted(path.name for path in (stack / "images").iterdir())
        truth = {name: read(stack / "masks" / name) for name in names}
        marked = [name for name in names if truth[name].any()]
        middle = marked[len(marked) // 2]
        three = [marked[len(marked) * part // 4] for part in (1, 2, 3)]
        cases = {
            "paper": ([middle], []),
            "nearest (3)": (three, []),
            "propagate": ([middle], ["--propagate"]),
        }
        with tempfile.TemporaryDirectory() as folder:
            results = {"copy": ({name: truth[middle] for name in names}, [middle])}
            for case, (annotated, options) in cases.items():
                found, summary = run(arguments.program, stack, annotated, options, Path(folder))
                results[case] = (found, annotated)
                print(stack.name, case, f"{summary['frames_per_second']:.2f}/s", file=sys.stderr)
        for case, (found, annotated) in results.items():
            for name in marked:
                if name in annotated:
                    continue
                away = min(abs(names.index(name) - names.index(other)) for other in annotated)
                band = next(band for band in BANDS if band[0] <= away <= band[1])
                scores[case][band].append(dice(found[name], truth[name]))
    heads = [f"{first} to {last}" if last < 99 else f"{first} and more" for first, last in BANDS]
    print("| | " + " | ".join(heads) + " | all |\n|---" * 1 + "|---" * (len(BANDS) + 1) + "|")
    for case, bands in scores.items():
        values = [bands[band] for band in BANDS]
        cells = [f"{numpy.mean(value):.3f} ({len(value)})" if value else "-" for value in values]
        every = [score for value in values for score in value]
        print(f"| {case} | " + " | ".join(cells) + f" | {numpy.mean(every):.3f} ({len(every)}) |")


if __name__ == "__main__":
    main()
