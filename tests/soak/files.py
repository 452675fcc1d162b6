"""Hostile and large files, many jobs, and weights that are none."""

import json
import os
import shutil
import struct
import zlib

from kit import BINARY, MODEL, Page, ROOT, TEST_SOURCE, chunk, need, png, run, scene, start, stop, usage

QUICK = ["--weights", "polyp", "--profile", "live", "--input-side", "128"]


def black(side):
    """A black PNG of side x side pixels, of which every thousandth byte is needed."""
    import zlib as z

    packer, row = z.compressobj(9), b"\0" + bytes(side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def images(item, out, seconds):
    """Small files that declare enormous sizes, as uploads and as references."""
    place = scene(out)
    huge = {
        "huge.png": png(8, 8, declared=(60000, 60000)),
        "tall.png": png(8, 8, declared=(8, 2_000_000_000)),
        "text.png": png(8, 8)[:33] + chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(1 << 28), 9)) + png(8, 8)[33:],
        "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(46),
        "huge.gif": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0" + struct.pack("<HH", 65535, 65535) + b"\0\2\1\0\0;",
        "huge.pgm": b"P5 60000 60000 255\n" + bytes(64),
    }
    for name, data in huge.items():
        (item.folder / name).write_bytes(data)
        code, text, took, peak = run(["track", place / "images", "--reference", name, *QUICK, "--json"],
                                     item.folder, limit=120)
        item.figure(f"{name} as a mask: exit, s, peak MB", [code, round(took, 1), peak])
        item.check(code == 1 and "panicked" not in text and took < 20, f"{name}: {code} {text[-200:]}")
        item.check(peak < 900, f"{name}: {peak} MB")
    child = start(["live", *TEST_SOURCE, *MODEL, "--web", "127.0.0.1:0"], item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("frames", lambda s: s["source"]["state"] == "running")
    before = usage(child.pid)
    huge["black.png"] = black(30000)
    for name in ("huge.png", "tall.png", "text.png", "black.png"):
        frozen = page.post("/api/freeze")[2]["x-frozen"]
        status, data, _ = page.post(f"/api/upload?frozen={frozen}", huge[name],
                                    kind="application/octet-stream")
        item.check(status == 409, f"{name} as an upload: {status} {data[:200]}")
    after = usage(child.pid)
    item.figure("uploads: peak MB before and after", [before["peak"], after["peak"]])
    item.check(after["peak"] - before["peak"] < 200, "memory of uploads")
    item.check(stop(child)[0] == 130, "the end")


def batch(item, out, seconds):
    """300 jobs in one process."""
    place = scene(out)
    small = item.folder / "frames"
    small.mkdir()
    for name in sorted(os.listdir(place / "images"))[:2]:
        shutil.copy(place / "images" / name, small)
    rows = [f"frames,{place}/masks/000000.png,results/{n:03}" for n in range(300)]
    (item.folder / "list.csv").write_text("input,reference,output\n" + "\n".join(rows) + "\n")
    child = start(["batch", "list.csv", *QUICK, "--report", "report.jsonl"], item.folder, "log")
    import time

    samples = []
    while child.poll() is None:
        samples.append(usage(child.pid))
        time.sleep(0.5)
    samples = [s for s in samples if s]
    item.check(child.returncode == 0, f"exit {child.returncode}")
    lines = (item.folder / "report.jsonl").read_text().splitlines()
    item.check(len([l for l in lines if json.loads(l)]) >= 300, f"{len(lines)} lines")
    third = samples[len(samples) // 3]
    item.figure("a third of the way, at the end", [third, samples[-2 if len(samples) > 1 else -1]])
    item.figure("handles at most", max(s["handles"] for s in samples))
    item.check(samples[-2]["rss"] <= third["rss"] + 30, "memory")


def long_file(item, out, seconds):
    """20,000 frames in one file."""
    need("ffmpeg")
    import subprocess

    clip, place = item.folder / "long.mkv", scene(out)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-stream_loop", "400", "-i", place / "clip.mkv",
                    "-frames:v", "20000", "-vf", "scale=160:90", "-c:v", "libx264", "-preset", "ultrafast", clip],
                   check=True)
    shutil.copy(place / "masks/000000.png", item.folder / "mask.png")
    child = start(["track", clip, "--reference", "mask.png", "--resize-mask", *QUICK, "--jsonl", "frames.jsonl"],
                  item.folder, "log")
    import time

    samples = []
    while child.poll() is None:
        samples.append(usage(child.pid))
        time.sleep(1)
    samples = [s["rss"] for s in samples if s]
    item.check(child.returncode == 0, f"exit {child.returncode}: {(item.folder / 'log').read_text()[-300:]}")
    frames = sum(1 for _ in open(item.folder / "frames.jsonl"))
    item.check(frames == 20000, f"{frames} lines")
    item.figure("MB a third of the way and at the end", [samples[len(samples) // 3], samples[-1]])
    item.check(samples[-1] <= samples[len(samples) // 3] * 1.1 + 10, "memory")


def weights_file(change):
    """The shipped weights with another head or other numbers."""
    data = (ROOT / "weights/polyp.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    head, body = json.loads(data[8:8 + size]), bytearray(data[8 + size:])
    head, body = change(head, body)
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(body)


def refused(item, name, out):
    place = scene(out)
    code, text, took, peak = run(
        ["track", place / "images", "--reference", place / "masks/000000.png", "--weights", name,
         "--profile", "live", "--input-side", "128", "--masks", "masks", "--json"], item.folder, limit=120)
    item.figure(f"{name}: exit, s, peak MB", [code, round(took, 1), peak])
    item.check(code == 1 and "panicked" not in text, f"{name}: {code} {text[-300:]}")
    item.check(not (item.folder / "masks").exists(), f"{name}: no masks are left")
    return text, took, peak


def nan_weights(item, out, seconds):
    """Weights of NaN: refused, no empty masks with exit 0."""
    def change(head, body):
        name = next(n for n, t in head.items() if n != "__metadata__" and t["dtype"] in ("F16", "F32", "BF16"))
        a, b = head[name]["data_offsets"]
        body[a:b] = b"\xff" * (b - a)
        return head, body
    (item.folder / "nan.safetensors").write_bytes(weights_file(change))
    text, *_ = refused(item, "nan.safetensors", out)
    item.check("finite" in text.lower() or "nan" in text.lower(), text[-300:])


def short_weights(item, out, seconds):
    """A tensor that is declared beyond its file."""
    def change(head, body):
        name = max((n for n in head if n != "__metadata__"), key=lambda n: head[n]["data_offsets"][1])
        head[name]["data_offsets"][1] += 1 << 40
        return head, body
    (item.folder / "short.safetensors").write_bytes(weights_file(change))
    _, took, peak = refused(item, "short.safetensors", out)
    item.check(took < 5 and peak < 300, f"{took:.1f} s, {peak} MB")


def many_tensors(item, out, seconds):
    """100,000 tiny tensors."""
    head = {f"t{n}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n in range(100_000)}
    text = json.dumps(head).encode()
    (item.folder / "many.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(400_000))
    code, text, took, peak = run(["weights", "info", "many.safetensors"], item.folder, limit=120)
    item.figure("weights info: exit, s, peak MB", [code, round(took, 1), peak])
    item.check(took < 5 and peak < 500, f"{took:.1f} s, {peak} MB")
    _, took, peak = refused(item, "many.safetensors", out)
    item.check(took < 10 and peak < 500, f"{took:.1f} s, {peak} MB")


def local_catalog(item, out, seconds):
    """A catalog, or a file called `polyp`, in the current folder is not used in place of the shipped one."""
    place = scene(out)
    (item.folder / "weights").mkdir()
    (item.folder / "weights/catalog.toml").write_text((ROOT / "weights/catalog.toml").read_text())
    shutil.copy(ROOT / "weights/README.md", item.folder / "weights/polyp.safetensors")
    shutil.copy(ROOT / "weights/README.md", item.folder / "polyp")
    code, text, *_ = run(["track", place / "images", "--reference", place / "masks/000000.png", *QUICK, "--json"],
                         item.folder)
    item.check(code == 0, f"{code}: {text[-300:]}")
    moved = item.folder / "p2sam"
    shutil.copy(BINARY, moved)
    import subprocess

    ran = subprocess.run([moved, "track", place / "images", "--reference", place / "masks/000000.png", *QUICK,
                          "--json"], cwd=item.folder, capture_output=True, text=True,
                         env={k: v for k, v in os.environ.items() if k != "P2SAM_WEIGHTS"})
    # It may find the shipped ones or say that there are none: it may not take what lies around.
    item.check(ran.returncode == 0 or "sha256" in ran.stderr or "checksum" in ran.stderr
               or "nowhere that is searched" in ran.stderr,
               f"without P2SAM_WEIGHTS: {ran.returncode} {ran.stderr[-300:]}")
