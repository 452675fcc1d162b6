#!/usr/bin/env python3
"""Scores against time for profiles and input sizes: a Markdown table and a plot.

    cargo build --release
    python3 benches/cost.py --cvc-clinicdb DIR --davis2016 DIR --out results

Needs nothing but Python and the program. Scores are of one `p2sam eval` a case, whose results stay under
OUT, so that a run that was stopped goes on. Then `p2sam bench` times every case on one of the sequences, in
rounds: the machine should do nothing else meanwhile. Writes OUT/cost.md and OUT/cost.svg.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

# Name in the table, and arguments.
CASES = {
    "paper": ["--profile", "paper"],
    "fast": ["--profile", "fast"],
    "fast, 512": ["--profile", "fast", "--input-side", "512"],
    "fast, 384": ["--profile", "fast", "--input-side", "384"],
    "fast, 256": ["--profile", "fast", "--input-side", "256"],
    "accurate (512)": ["--profile", "accurate"],
    "video": ["--profile", "video", "--gate", "off"],
    "live (512)": ["--profile", "live", "--gate", "off"],
    "live, 384": ["--profile", "live", "--gate", "off", "--input-side", "384"],
    "live, 256": ["--profile", "live", "--gate", "off", "--input-side", "256"],
}
# Score to show of each data set.
SCORES = {"cvc-clinicdb": "Video Dice", "davis2016": "J&F"}


def evaluate(program, dataset, folder, weights, arguments, out):
    """The score and its interval."""
    out.mkdir(parents=True, exist_ok=True)
    summary = out / "summary.json"
    command = [program, "eval", dataset, folder, "--weights", weights, *arguments]
    command += ["--out", out / "frames", "--summary", summary]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    method = json.loads(summary.read_text())["methods"][0]
    score = next(total for total in method["totals"] if total["name"] == SCORES[dataset])
    return {"score": score["value"], "interval": score["interval"]}


def sample(dataset, folder):
    """Pictures of one sequence and the mask of the first."""
    if dataset == "cvc-clinicdb":
        pictures = [folder / "images" / f"{number:03}.png" for number in range(28, 51)]
        return pictures, folder / "masks" / pictures[0].name
    images = min((folder / "images").iterdir())
    pictures = sorted(images.iterdir())[:23]
    return pictures, folder / "masks" / images.name / f"{pictures[0].stem}.png"


def measure(program, weights, arguments, pictures, mask, out):
    """Milliseconds of every frame after the first three."""
    listed, report = out / "pictures.txt", out / "bench.json"
    listed.write_text("".join(f"{picture.resolve()}\n" for picture in pictures))
    words = iter(arguments)
    # `bench` knows no gate; it costs nothing.
    arguments = [pair for pair in zip(words, words) if pair[0] != "--gate"]
    command = [program, "bench", listed, "--reference", mask, "--weights", weights, "--device", "cpu"]
    command += [word for pair in arguments for word in pair]
    command += ["--frames", len(pictures) - 3, "--cold-starts", 0, "--json", report]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())["cases"][0]["whole"]["milliseconds"]


def table(dataset, weights, rows):
    """A Markdown table; cases that none beats in both score and time are marked."""
    lines = [f"| `{dataset}`, `{weights}` | {SCORES[dataset]} (95 %) | ms a picture, p50 / p95 |", "|---|---|---|"]
    for name, row in rows.items():
        low, high = row["interval"]
        mark = "**" if best(row, rows.values()) else ""
        lines.append(f"| {mark}{name}{mark} | {row['score']:.3f} ({low:.3f} to {high:.3f}) | {row['p50']:.0f} / {row['p95']:.0f} |")
    return "\n".join(lines)


def best(row, rows):
    """Whether no other case is both as good and as quick."""
    return not any(o is not row and o["score"] >= row["score"] and o["p50"] <= row["p50"] for o in rows)


def plot(results):
    """Score against median time (logarithmic), a panel a data set, as SVG."""
    from math import log10

    width, height, left, bottom = 460, 320, 56, 48
    panels = []
    for index, (dataset, rows) in enumerate(results.items()):
        times = [row["p50"] for row in rows.values()]
        scores = [row["score"] for row in rows.values()]
        t0, t1 = log10(min(times) * 0.8), log10(max(times) * 1.6)
        s0, s1 = min(scores) - 0.03, max(scores) + 0.03
        x = lambda t: left + (log10(t) - t0) / (t1 - t0) * (width - left - 12)
        y = lambda s: height - bottom - (s - s0) / (s1 - s0) * (height - bottom - 30)
        parts = [f'<text x="{width / 2}" y="18" text-anchor="middle" font-weight="bold">{dataset}</text>']
        parts += [f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">ms a picture (median)</text>']
        parts += [f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">{SCORES[dataset].replace("&", "&amp;")}</text>']
        for tick in (10, 20, 50, 100, 200, 500, 1000, 2000):
            if t0 <= log10(tick) <= t1:
                parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="30" y2="{height - bottom}" stroke="#ddd"/>')
                parts.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 15}" text-anchor="middle">{tick}</text>')
        for step in range(0, 101, 5):
            if s0 <= step / 100 <= s1:
                parts.append(f'<line x1="{left}" x2="{width - 12}" y1="{y(step / 100):.1f}" y2="{y(step / 100):.1f}" stroke="#ddd"/>')
                parts.append(f'<text x="{left - 6}" y="{y(step / 100) + 4:.1f}" text-anchor="end">{step / 100:.2f}</text>')
        front = sorted((r for r in rows.values() if best(r, rows.values())), key=lambda r: r["p50"])
        line = " ".join(f"{x(r['p50']):.1f},{y(r['score']):.1f}" for r in front)
        parts.append(f'<polyline points="{line}" fill="none" stroke="#2a7" stroke-width="1.5"/>')
        for name, row in rows.items():
            color = "#2a7" if best(row, rows.values()) else "#888"
            parts.append(f'<circle cx="{x(row["p50"]):.1f}" cy="{y(row["score"]):.1f}" r="4" fill="{color}"/>')
            parts.append(f'<text x="{x(row["p50"]) + 6:.1f}" y="{y(row["score"]) - 5:.1f}">{name}</text>')
        panels.append(f'<g transform="translate({index * width} 0)">{"".join(parts)}</g>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(panels)}" height="{height}" '
            f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n')


def main():
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p2sam", default="target/release/p2sam", help="the program")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--rounds", type=int, default=3, help="times that all cases are timed")
    parser.add_argument("--limit", default={}, type=json.loads,
                        help="JSON object: data set to the number of scored pictures a sequence")
    parser.add_argument("--weights", default={"cvc-clinicdb": "polyp", "davis2016": "mobile-sam"},
                        type=json.loads, help="JSON object: data set to weights")
    for dataset in SCORES:
        parser.add_argument(f"--{dataset}", dest=dataset, type=Path, help="the data set's folder")
    args = parser.parse_args()
    results, text = {}, []

    def place(dataset, name):
        return args.out / dataset / name.replace(" ", "-").replace(",", "")

    for dataset in SCORES:
        folder = getattr(args, dataset)
        if folder is None:
            continue
        weights = args.weights[dataset]
        rows = {}
        for name, arguments in CASES.items():
            limit = ["--limit-frames", args.limit[dataset]] if dataset in args.limit else []
            rows[name] = evaluate(args.p2sam, dataset, folder, weights, arguments + limit, place(dataset, name))
            print(f"{dataset}, {name}: {rows[name]['score']:.3f}", flush=True)
        pictures, mask = sample(dataset, folder)
        for _ in range(args.rounds):
            for name, arguments in CASES.items():
                times = measure(args.p2sam, weights, arguments, pictures, mask, place(dataset, name))
                rows[name].setdefault("times", []).extend(times)
        for row in rows.values() if args.rounds else ():
            row["p50"], row["p95"] = statistics.median(row["times"]), statistics.quantiles(row["times"], n=20)[18]
        results[dataset] = rows
        text.append(table(dataset, weights, rows))
    if not results:
        parser.error("give the folder of one data set at least")
    (args.out / "cost.md").write_text("\n\n".join(text) + "\n")
    (args.out / "cost.svg").write_text(plot(results))
    print("\n\n".join(text))


if __name__ == "__main__":
    main()
