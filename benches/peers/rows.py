"""The comparisons: what each side does, and how far both agree on it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import p2sam_frame
import torch
import torch_side
from rounds import OURS, Row
from side import Side
from torch_side import timed

# Numbers of positive and negative parts of the published settings.
NS, MS = range(1, 6), range(1, 2)
# Side of the square matrices whose product tells what the machine can do.
PRODUCT = 2048


@dataclass
class Bench:
    """What every comparison works with."""

    ours: Side
    # PyTorch's predictor with the same weights.
    predictor: object
    reference: Path
    mask: Path
    pictures: list
    # For files that both sides read.
    folder: Path
    threads: int


def read_numbers(path, width):
    """Our 32-bit floats, so many a row."""
    return np.fromfile(path, dtype="<f4").reshape(-1, width)


def features(predictor, picture):
    """Features of a picture file, 4096x256; the predictor then holds that picture."""
    return p2sam_frame.encode(predictor, p2sam_frame.read_rgb(picture)).numpy()


def encoder(bench, name, goal, wanted, candle=None):
    """The image encoder on pixels that lie ready, and a large matrix product beside it.

    Returns the row, and the operations of the encoder and of the product.
    """
    model = bench.predictor.model
    pixels = {p: torch_side.prepared(bench.predictor, p2sam_frame.read_rgb(p)) for p in bench.pictures}
    first = pixels[bench.pictures[0]]
    runs = torch_side.encoders(model.image_encoder, first, wanted, bench.folder, bench.threads)
    a, b = torch.randn(2, PRODUCT, PRODUCT)
    sides = {OURS: lambda p: bench.ours.milliseconds("encode", picture=p)}
    for peer, run in runs.items():
        sides[peer] = lambda p, run=run: timed(run)(pixels[p])
    save, others = bench.folder / "embedding.bin", {}
    bench.ours.ask("encode", picture=bench.pictures[0], save=save)
    others[OURS] = read_numbers(save, 256)
    if candle:
        resized = bench.folder / "scaled.bin"
        scaled = bench.predictor.transform.apply_image(p2sam_frame.read_rgb(bench.pictures[0]))
        scaled.tofile(resized)
        size = {"width": scaled.shape[1], "height": scaled.shape[0]}
        sides["candle"] = lambda _: candle.milliseconds("encode", scaled=resized, **size)
        candle.ask("encode", scaled=resized, save=save, **size)
        others["candle"] = read_numbers(save, 256)
    sides["product"] = lambda _: timed(torch.matmul)(a, b)
    want = features(bench.predictor, bench.pictures[0])
    for peer, run in runs.items():
        others[peer] = run(first)[0].flatten(1).T.numpy()
    apart = [f"{peer} {np.abs(got - want).max():.0e}" for peer, got in others.items()
             if peer != "PyTorch eager"]
    agreement = f"largest difference from PyTorch eager: {', '.join(apart)} (values to {np.abs(want).max():.1f})"
    row = Row(name, sides, bench.pictures, goal, agreement, apart=("product",))
    return row, torch_side.flops(model.image_encoder, first), 2 * PRODUCT**3


def iou(a, b):
    """Intersection over union of two masks."""
    return (a & b).sum() / max((a | b).sum(), 1)


def candidates(bench, picture):
    """The published points and labels for a picture; the predictor then holds it."""
    reference = torch.from_numpy(features(bench.predictor, bench.reference))
    inside = p2sam_frame.foreground_patches(bench.predictor, p2sam_frame.read_mask(bench.mask))
    positive = {n: p2sam_frame.parts(reference[inside], n) for n in NS}
    negative = {m: p2sam_frame.parts(reference[~inside], m) for m in MS}
    found = torch.from_numpy(features(bench.predictor, picture))
    unit = found / found.norm(dim=1, keepdim=True)
    places = [{k: p2sam_frame.best_points(bench.predictor, v, unit) for k, v in parts.items()}
              for parts in (positive, negative)]
    return [(plus + minus, [1] * n + [0] * m)
            for n, plus in places[0].items() for m, minus in places[1].items()]


def one_pass(bench, goal):
    """A decoder pass with two points."""
    picture, save = bench.pictures[0], bench.folder / "logits.bin"
    points, labels = candidates(bench, picture)[0]
    told = [{"x": x, "y": y, "positive": bool(on)} for (x, y), on in zip(points, labels)]
    bench.ours.ask("pass", picture=picture, points=told, save=save)
    got = read_numbers(save, 256)
    want = torch_side.decode(bench.predictor, points, labels)[0, 0].numpy()
    sides = {
        OURS: lambda _: bench.ours.milliseconds("pass", picture=picture, points=told),
        "PyTorch eager": lambda _: timed(torch_side.decode)(bench.predictor, points, labels),
    }
    agreement = f"logits differ by at most {np.abs(got - want).max():.0e}, mask IoU {iou(got > 0, want > 0):.4f}"
    return Row("one decoder pass, 2 points", sides, [picture], goal, agreement)


def all_passes(bench, goal):
    """All decoder passes of a frame: five candidates of n + 1 points, three passes each."""
    picture = bench.pictures[0]
    told = candidates(bench, picture)
    got = bench.ours.ask("passes", picture=picture)
    points, labels = told[got["n"] - 1]
    same = [[p["x"], p["y"]] for p in got["points"]] == points
    assert got["candidates"] == len(told), "the sides have another number of candidates"
    sides = {
        OURS: lambda _: bench.ours.milliseconds("passes", picture=picture),
        "PyTorch eager": lambda _: timed(torch_side.cascades)(bench.predictor, told),
    }
    agreement = f"{len(told)} candidates each; points of the chosen one {'identical' if same else 'DIFFER'}"
    return Row(f"{len(told)} candidates x 3 decoder passes", sides, [picture], goal, agreement)


def ellipse(shape, centre, axes):
    """Numbers of the patches of a 64x64 grid within an ellipse, in its first rows and columns."""
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    on = ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 < 1
    return np.flatnonzero(np.pad(on, [(0, 64 - side) for side in shape]))


def retrieval(bench, goal, count):
    """The nearest of five candidates, exactly, for an object of more than 1000 patches.

    The object is an ellipse over most of the reference; candidates are ellipses that differ by a few
    patches, as the masks of one object do.
    """
    pool = {p: features(bench.predictor, p) for p in [bench.reference, *bench.pictures]}
    shape = [-(-side // 16) for side in bench.predictor.input_size]
    centre, axes = np.array(shape) / 2, np.array(shape) * [0.45, 0.41]
    patches = pool[bench.reference][ellipse(shape, centre, axes)]
    patches.tofile(bench.folder / "reference.bin")
    random, cases = np.random.default_rng(0), []
    for number in range(count):
        picture = bench.pictures[number % len(bench.pictures)]
        file = bench.folder / f"{picture.stem}.bin"
        pool[picture].tofile(file)
        sets = [ellipse(shape, centre + random.uniform(-3, 3, 2), axes * random.uniform(0.9, 1.1, 2))
                for _ in NS]
        cases.append((pool[picture], file, [rows.tolist() for rows in sets]))

    def ask(case):
        reference = bench.folder / "reference.bin"
        return bench.ours.ask("retrieval", reference=reference, pool=case[1], candidates=case[2])

    same, apart = 0, 0.0
    for case in cases:
        got, want = ask(case), torch_side.distances(patches, case[0], case[2])
        same += got["index"] == int(np.argmin(want))
        apart = max(apart, abs(got["distance"] / min(want) - 1))
    sides = {
        OURS: lambda case: ask(case)["milliseconds"],
        "POT": lambda case: timed(torch_side.distances)(patches, case[0], case[2]),
    }
    agreement = f"same choice in {same} of {count}, distance within {apart:.0e}"
    name = f"retrieval, 5 candidates, {len(patches)} reference patches"
    return Row(name, sides, cases, goal, agreement)


def frame(bench, goal):
    """A whole frame of profile `paper`, from pixels to mask."""
    reference, mask = p2sam_frame.read_rgb(bench.reference), p2sam_frame.read_mask(bench.mask)
    pictures = {p: p2sam_frame.read_rgb(p) for p in bench.pictures}

    def published(picture):
        return p2sam_frame.frame(bench.predictor, reference, mask, pictures[picture], NS, MS)[0]

    save, worst, apart = bench.folder / "mask.png", 1.0, 0.0
    for picture in bench.pictures:
        got, want = bench.ours.ask("frame", picture=picture, save=save), published(picture)
        worst = min(worst, iou(p2sam_frame.read_mask(save) > 127, want["mask"]))
        apart = max(apart, abs(got["distance"] / want["distance"] - 1))
    sides = {
        OURS: lambda p: bench.ours.milliseconds("frame", picture=p),
        "published procedure": timed(published),
    }
    agreement = f"mask IoU at least {worst:.4f}, distance within {apart:.0e}, {len(pictures)} pictures"
    return Row("`paper` frame", sides, bench.pictures, goal, agreement)
