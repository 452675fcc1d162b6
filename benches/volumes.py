"""What is reached on stacks of slices with known masks, and how fast many of them are done.

python benches/volumes.py DATA [--program p2sam] [--stacks N] [--profile NAME]    (packages: numpy, pillow)
python benches/volumes.py DATA --batch 1,2,4 [--rounds 3] [--options '--profile live']

DATA holds STACK/images and STACK/masks, a PNG a slice. The middle one of the marked slices is annotated;
`nearest` has three annotated slices instead (at a quarter, the middle and three quarters of the object),
`copy` is the annotated mask on every slice, `propagate` walks up and down with the last mask in the race,
`+ gate` leaves slices empty where the object is judged to be absent. Twelve slices of another patient,
cut or padded to the size, are appended as slices without the object.

Prints a Markdown table: mean Dice of the slices at each distance, annotated slices left out; how many of
these are left empty; how many of the other patient's slices are marked. With --batch: slices a minute and
the most memory of `p2sam batch` over all stacks, by jobs at a time, in turns, medians of the rounds.
"""

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy
from PIL import Image

BANDS = [(1, 2), (3, 5), (6, 10), (11, 99)]
FOREIGN = 12


def read(path):
    return numpy.array(Image.open(path).convert("L")) > 0


def dice(a, b):
    total = a.sum() + b.sum()
    return 1.0 if total == 0 else 2.0 * (a & b).sum() / total


def annotate(stack, annotated, folder):
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name in annotated:
        Image.fromarray(read(stack / "masks" / name).astype("uint8") * 255).save(folder / name)


def with_foreign(stack, other, folder):
    """The stack's pictures, and behind them some of another patient in the same size."""
    folder.mkdir()
    pictures = sorted((stack / "images").iterdir())
    for path in pictures:
        (folder / path.name).symlink_to(path)
    height, width = numpy.array(Image.open(pictures[0]).convert("L")).shape
    others = sorted((other / "images").iterdir())
    for index in range(FOREIGN):
        levels = numpy.array(Image.open(others[index * len(others) // FOREIGN]).convert("L"))
        levels = levels[:height, :width]
        missing = [(0, height - levels.shape[0]), (0, width - levels.shape[1])]
        Image.fromarray(numpy.pad(levels, missing, mode="edge")).save(folder / f"z{index:03}.png")


def run(arguments, images, masks, options, out):
    line = [arguments.program, "track", images, "--reference-image", images, "--reference", masks]
    line += ["--masks", out, "--json", "--profile", arguments.profile, *options]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return {path.name: read(path) for path in sorted(out.iterdir())}, json.loads(done.stdout)


def marked_names(stack):
    names = sorted(path.name for path in (stack / "images").iterdir())
    truth = {name: read(stack / "masks" / name) for name in names}
    return names, truth, [name for name in names if truth[name].any()]


def kind(stack):
    return stack.name.split("_", 2)[-1]


def quality(arguments, stacks):
    scores = defaultdict(lambda: defaultdict(list))
    empty, foreign = defaultdict(int), defaultdict(list)
    for stack in stacks:
        names, truth, marked = marked_names(stack)
        middle = marked[len(marked) // 2]
        three = [marked[len(marked) * part // 4] for part in (1, 2, 3)]
        base = arguments.profile
        cases = {
            base: ([middle], []),
            "nearest (3)": (three, []),
            "propagate": ([middle], ["--propagate"]),
            f"{base} + gate": ([middle], ["--gate", "on"]),
            "propagate + gate": ([middle], ["--propagate", "--gate", "on"]),
        }
        alike = [other for other in stacks if kind(other) == kind(stack)]
        other = alike[(alike.index(stack) + 1) % len(alike)]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            with_foreign(stack, other, folder / "images")
            results = {"copy": ({name: truth[middle] for name in names}, [middle])}
            for case, (annotated, options) in cases.items():
                annotate(stack, annotated, folder / "masks")
                out = folder / f"out-{case}"
                found, summary = run(
                    arguments, folder / "images", folder / "masks", options, out
                )
                results[case] = (found, annotated)
                print(stack.name, case, f"{summary['frames_per_second']:.2f}/s", file=sys.stderr)
        for case, (found, annotated) in results.items():
            for name in marked:
                if name in annotated:
                    continue
                away = min(abs(names.index(name) - names.index(other)) for other in annotated)
                band = next(band for band in BANDS if band[0] <= away <= band[1])
                scores[case][band].append(dice(found[name], truth[name]))
                empty[case] += not found[name].any()
            others = [mask.any() for name, mask in found.items() if name not in truth]
            foreign[case] += others if other != stack else []
    heads = [f"{first} to {last}" if last < 99 else f"{first} and more" for first, last in BANDS]
    heads += ["all", "left empty", "other patient's, marked"]
    print("| | " + " | ".join(heads) + " |\n|---" + "|---" * len(heads) + "|")
    for case, bands in scores.items():
        values = [bands[band] for band in BANDS]
        every = [score for value in values for score in value]
        cells = [f"{numpy.mean(v):.3f} ({len(v)})" if v else "-" for v in [*values, every]]
        cells.append(f"{empty[case]} of {len(every)}")
        cells.append(f"{sum(foreign[case])} of {len(foreign[case])}" if foreign[case] else "-")
        print(f"| {case} | " + " | ".join(cells) + " |")


def batch(arguments, stacks):
    counts = [int(count) for count in arguments.batch.split(",")]
    speeds, memory = defaultdict(list), defaultdict(list)
    for number in range(arguments.rounds):
        # Every round begins with another count.
        turn = number % len(counts)
        for jobs in counts[turn:] + counts[:turn]:
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                rows = [["input", "reference", "reference_image", "output", "propagate"]]
                slices = 0
                for stack in stacks:
                    names, _, marked = marked_names(stack)
                    masks = folder / stack.name
                    annotate(stack, [marked[len(marked) // 2]], masks)
                    images, out = (stack / "images").resolve(), folder / f"out-{stack.name}"
                    rows.append([images, masks, images, out, "true"])
                    slices += len(names)
                with open(folder / "list.csv", "w", newline="") as file:
                    csv.writer(file).writerows(rows)
                line = [arguments.program, "batch", folder / "list.csv", "--jobs", str(jobs)]
                line += shlex.split(arguments.options)
                start = time.monotonic()
                process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                assert process.returncode == 0, f"exit code {process.returncode}"
                speeds[jobs].append(60.0 * slices / (time.monotonic() - start))
                memory[jobs].append(usage.ru_maxrss / 1024)
                told = f"{speeds[jobs][-1]:.0f} slices a minute, {memory[jobs][-1]:.0f} MiB"
                print(f"round {number + 1}, {jobs} jobs: {told}", file=sys.stderr)
    first = speeds[counts[0]]
    print("| jobs at a time | slices a minute | against " + str(counts[0]) + " | most memory, MiB |")
    print("|---|---|---|---|")
    for jobs in counts:
        median = statistics.median(speeds[jobs])
        ratios = [a / b for a, b in zip(speeds[jobs], first)]
        low, high = min(speeds[jobs]), max(speeds[jobs])
        print(
            f"| {jobs} | {median:.0f} ({low:.0f} to {high:.0f}) | {statistics.median(ratios):.2f} "
            f"| {statistics.median(memory[jobs]):.0f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--program", default="target/release/p2sam")
    parser.add_argument("--stacks", type=int, default=5)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--batch", metavar="JOBS,JOBS,...")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--options", default="", help="of `p2sam batch`")
    arguments = parser.parse_args()
    stacks = sorted(path for path in arguments.data.iterdir() if (path / "images").is_dir())
    stacks = [stack.resolve() for stack in stacks[: arguments.stacks]]
    (batch if arguments.batch else quality)(arguments, stacks)


if __name__ == "__main__":
    main()
