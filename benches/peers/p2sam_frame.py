#!/usr/bin/env python3
"""Time the published P2SAM procedure, frame by frame, in PyTorch + scikit-learn + POT.

    pip install -r requirements.txt
    python p2sam_frame.py --weights mobile_sam.pt --reference-image 003.png --reference-mask 003m.png \\
        --images 004.png 005.png --n-min 1 --n-max 5 --m-min 1 --m-max 1 --threads 2 --masks out/

Written from the method's description (arXiv 2403.05433, the medical variant), with what the
procedure as published spends on every frame: the reference is encoded again, k-means runs again for
every number of parts, the decoder runs three times for each candidate, one candidate after the
other, and each candidate's earth mover's distance is solved exactly, in one thread.

Prints one JSON object a line: the frame, seconds in all and a stage, the chosen n and m, the points
in the frame's pixels as (x, y), their labels, the distance, and every candidate's distance.
"""

import argparse
import json
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import ot
import torch
import torch.nn.functional as F
from mobile_sam import SamPredictor, sam_model_registry
from PIL import Image
from sklearn.cluster import KMeans

GRID = 64
EMPTY_DISTANCE = 999999.0


class Clock:
    """Adds up seconds by stage."""

    def __init__(self):
        self.seconds = {}

    @contextmanager
    def stage(self, name):
        """Count the block's time under `name`."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def read_rgb(path):
    """A picture as uint8 HxWx3."""
    return np.asarray(Image.open(path).convert("RGB"))


def read_mask(path):
    """A mask's grey levels, uint8 HxW."""
    return np.asarray(Image.open(path).convert("L"))


def encode(predictor, picture):
    """Raw features, 4096 x 256, in row order of the 64 x 64 grid."""
    predictor.set_image(picture)
    return predictor.features[0].flatten(1).T.contiguous()


def foreground_patches(predictor, mask):
    """Which of the 4096 patches are foreground.

    The mask's grey levels, not thresholded first, take the picture's way: the same uint8 resize, the
    same padding, then bilinear to the 64 x 64 grid. Foreground is above half of full white.
    """
    grey = np.repeat(mask[..., None], 3, axis=-1)
    resized = torch.from_numpy(predictor.transform.apply_image(grey)[..., 0].copy()).float() / 255.0
    size = predictor.model.image_encoder.img_size
    padded = F.pad(resized, (0, size - resized.shape[1], 0, size - resized.shape[0]))
    small = F.interpolate(padded[None, None], size=(GRID, GRID), mode="bilinear", align_corners=False)
    return (small > 0.5).reshape(-1)


def parts(patches, count):
    """`count` unit vectors that stand for the patches: the mean, or k-means' cluster means."""
    if count == 1:
        centres = patches.mean(dim=0, keepdim=True)
    else:
        # On the raw features; one start, seed 0; the draws depend on scikit-learn's version.
        found = KMeans(n_clusters=count, init="k-means++", n_init=1, random_state=0).fit(patches.numpy())
        centres = torch.from_numpy(found.cluster_centers_).float()
    return centres / centres.norm(dim=1, keepdim=True)


def best_points(predictor, vectors, unit_features):
    """The pixel (x, y) of the frame that is most like each part."""
    maps = (vectors @ unit_features.T).reshape(-1, 1, GRID, GRID)
    maps = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)
    maps = predictor.model.postprocess_masks(maps, predictor.input_size, predictor.original_size)
    width = maps.shape[-1]
    where = maps.flatten(1).argmax(dim=1).tolist()
    return [[i % width, i // width] for i in where]


def cascade(predictor, points, labels):
    """Three passes: points; points and logits; points, logits and the mask's box."""
    points, labels = np.array(points), np.array(labels)
    _, _, logits = predictor.predict(points, labels, multimask_output=False)
    masks, _, logits = predictor.predict(points, labels, mask_input=logits, multimask_output=False)
    box = None
    if masks[0].any():
        y, x = np.nonzero(masks[0])
        box = np.array([x.min(), y.min(), x.max(), y.max()])[None]
    masks, _, logits = predictor.predict(points, labels, box=box, mask_input=logits,
                                         multimask_output=False)
    return masks[0], logits


def distance(reference, features, logits):
    """Exact earth mover's distance between the reference's patches and the mask's patches."""
    small = F.interpolate(torch.from_numpy(logits)[None], size=(GRID, GRID), mode="bilinear",
                          align_corners=False)
    chosen = features[(small[0, 0] > 0).reshape(-1)]
    if len(chosen) == 0:
        return EMPTY_DISTANCE
    cost = ot.dist(reference.double().numpy(), chosen.double().numpy(), metric="sqeuclidean")
    return float(ot.emd2([], [], cost, numItermax=10_000_000))


@torch.no_grad()
def frame(predictor, reference, reference_mask, picture, ns, ms):
    """Segment one frame as published; returns the chosen candidate, all candidates and the clock."""
    clock = Clock()
    with clock.stage("encode_reference"):
        reference_features = encode(predictor, reference)
        inside = foreground_patches(predictor, reference_mask)
        positive, negative = reference_features[inside], reference_features[~inside]
    if len(positive) == 0:
        raise SystemExit("the reference mask vanishes on the 64 x 64 grid")
    with clock.stage("kmeans"):
        positive_parts = {n: parts(positive, n) for n in ns if n <= len(positive)}
        negative_parts = {m: parts(negative, m) for m in ms if m <= len(negative)}
    with clock.stage("encode_frame"):
        features = encode(predictor, picture)
    with clock.stage("points"):
        unit = features / features.norm(dim=1, keepdim=True)
        positive_points = {n: best_points(predictor, v, unit) for n, v in positive_parts.items()}
        negative_points = {m: best_points(predictor, v, unit) for m, v in negative_parts.items()}
    candidates = []
    for n, plus in positive_points.items():
        for m, minus in negative_points.items():
            points, labels = plus + minus, [1] * len(plus) + [0] * len(minus)
            with clock.stage("decode"):
                mask, logits = cascade(predictor, points, labels)
            with clock.stage("emd"):
                d = distance(positive, features, logits)
            candidates.append({"n": n, "m": m, "points": points, "labels": labels, "distance": d,
                               "mask": mask})
    best = min(candidates, key=lambda c: c["distance"])
    return best, candidates, clock.seconds


def main():
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--reference-image", type=Path, required=True)
    parser.add_argument("--reference-mask", type=Path, required=True)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--n-min", type=int, default=1)
    parser.add_argument("--n-max", type=int, default=5)
    parser.add_argument("--m-min", type=int, default=1)
    parser.add_argument("--m-max", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, help="times to run each frame (one line each)")
    parser.add_argument("--masks", type=Path, help="folder for the masks, PNG 0/255")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = sam_model_registry["vit_t"]()
    model.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True))
    predictor = SamPredictor(model.eval())
    reference, reference_mask = read_rgb(args.reference_image), read_mask(args.reference_mask)
    ns, ms = range(args.n_min, args.n_max + 1), range(args.m_min, args.m_max + 1)
    if args.masks:
        args.masks.mkdir(parents=True, exist_ok=True)
    for path in args.images:
        picture = read_rgb(path)
        for run in range(args.repeat):
            start = time.perf_counter()
            best, candidates, stages = frame(predictor, reference, reference_mask, picture, ns, ms)
            seconds = time.perf_counter() - start
            print(json.dumps({
                "image": path.name, "run": run, "seconds": round(seconds, 4),
                "stages": {k: round(v, 4) for k, v in stages.items()},
                "n": best["n"], "m": best["m"], "points": best["points"], "labels": best["labels"],
                "distance": best["distance"], "mask_px": int(best["mask"].sum()),
                "candidates": [[c["n"], c["m"], c["distance"]] for c in candidates],
            }), flush=True)
        if args.masks:
            Image.fromarray(best["mask"].astype(np.uint8) * 255).save(args.masks / f"{path.stem}.png")


if __name__ == "__main__":
    main()
