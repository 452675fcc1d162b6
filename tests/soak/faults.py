"""Kills, signals, disks, and two runs at a time."""

import json
import random
import signal
import subprocess
import time

from kit import (MODEL, NotRun, Page, TEST_SOURCE, frames_of, free_port, need, png, run, scene, square,
                 start, stop)


def kills(item, out, seconds):
    """Killed five times while recording, and started again into the same prefix."""
    need("ffprobe")
    lost = []
    for turn in range(5):
        before = set(item.folder.glob("*.mkv"))
        child = start(["live", *TEST_SOURCE, *MODEL, "--record", "case", "--min-free", "0",
                       "--web", "127.0.0.1:0"], item.folder, f"log{turn}")
        page = Page(child, item.folder / f"log{turn}")
        page.wait("frames recorded", lambda s: s["recording"]["on"] and s["source"]["fps"] > 20)
        time.sleep(2 + 6 * random.random())
        recorded = page.count("record_frames")
        child.kill()
        child.wait()
        new = set(item.folder.glob("*.mkv")) - before
        item.check(len(new) == 2, f"files of their own: {sorted(p.name for p in new)}")
        read = sum(frames_of(path)[0] for path in new)
        lost.append(recorded - read)
    item.figure("frames lost in each kill, both videos", lost)
    item.check(max(lost) <= 60, "the last moments at most")
    lines = (item.folder / "case-results.jsonl").read_bytes().split(b"\n")
    broken = 0
    for line in lines[:-1]:
        try:
            json.loads(line)
        except ValueError:
            broken += 1
    item.check(broken == 0, f"{broken} broken lines among {len(lines)}")


def signals(item, out, seconds):
    """SIGTERM and SIGINT in start-up, while an object is made and while the recorder starts."""
    need("ffprobe")
    slowest, count = 0, 0
    mask = square(640, 360, 200, 120, 90)
    # A program that is started in the background by a shell has SIGINT ignored until it asks for it.
    for sig in (signal.SIGTERM, signal.SIGINT):
        for delay in (0.02, 0.1, 0.3, 0.8, 1.5):
            prefix = f"start{count}"
            child = start(["live", *TEST_SOURCE, *MODEL, "--record", prefix, "--min-free", "0"],
                          item.folder, "log")
            time.sleep(delay)
            code, took = stop(child, sig)
            item.check(code in (130, -sig), f"start-up {delay} s: exit {code}")
            slowest, count = max(slowest, took), count + 1
        for what in ("object", "recorder"):
            for delay in (0.0, 0.05, 0.3):
                prefix = f"{what}{count}"
                child = start(["live", *TEST_SOURCE, *MODEL, "--record-to", prefix, "--min-free", "0",
                               "--web", "127.0.0.1:0"], item.folder, f"log{count}")
                page = Page(child, item.folder / f"log{count}")
                page.wait("frames", lambda s: s["source"]["state"] == "running")
                if what == "object":
                    frozen = page.post("/api/freeze")[2]["x-frozen"]
                    request = lambda: page.post(f"/api/upload?frozen={frozen}", mask,
                                                kind="application/octet-stream")
                else:
                    request = lambda: page.post("/api/record", {"on": True})
                import threading

                def ask():
                    try:
                        request()
                    except OSError:
                        pass
                asking = threading.Thread(target=ask)
                asking.start()
                time.sleep(delay)
                code, took = stop(child, sig)
                asking.join()
                item.check(code == 130, f"{what} {delay} s: exit {code}")
                slowest, count = max(slowest, took), count + 1
    item.figure("signals sent; longest time to the end, s", [count, round(slowest, 2)])
    item.check(slowest < 10, "it ends soon")
    for path in item.folder.glob("*.mkv"):
        frames, _, clean = frames_of(path)
        item.check(path.stat().st_size == 0 or (frames > 0 and clean), f"{path.name}: whole")


INSIDE = r"""
set -e
mount -t tmpfs -o size=60m tmpfs "$1"
if [ "$2" = inside ]; then cd "$1"; fi
shift 2
exec "$@"
"""


def on_tmpfs(item, name, args, where="inside"):
    """Starts the program on a small tmpfs in a mount namespace of its own; a handle on that disk."""
    need("unshare", "mount", "nsenter")
    place = item.folder / name
    place.mkdir(exist_ok=True)
    log = item.folder / f"{name}.log"
    inside = ["unshare", "-m", "bash", "-c", INSIDE, "bash", str(place), where]
    probe = subprocess.run([*inside, "true"], capture_output=True)
    if probe.returncode:
        raise NotRun("no right to mount a tmpfs (run as root)")
    child = start(args, item.folder, log.name, prefix=inside)
    disk = lambda line: subprocess.run(
        ["nsenter", "-t", str(child.pid), "-m", "bash", "-c", line], cwd="/", capture_output=True,
        text=True)
    return child, log, place, disk


def disk_full(item, out, seconds):
    """A full disk at the start, one that fills up, and one that becomes free again."""
    need("ffprobe")
    args = ["live", *TEST_SOURCE, *MODEL, "--record", "case", "--min-free", "20",
            "--web", "127.0.0.1:0", "--summary", "summary.json"]
    child, log, place, disk = on_tmpfs(item, "full", args)
    page = Page(child, log)
    page.wait("recording", lambda s: s["recording"]["on"] and s["recording"]["problem"] is None)
    time.sleep(4)
    disk(f"fallocate -l 50M {place}/filler")
    status, took = page.wait("the pause", lambda s: s["recording"]["problem"], 30)
    item.figure("seconds until a full disk is reported", round(took, 1))
    shown = page.count("frames_shown")
    time.sleep(3)
    item.check(page.count("frames_shown") > shown + 50, "the picture goes on")
    item.check(page.ask("GET", "/healthz")[0] == 200, "health")
    lost = status["recording"]["dropped"]
    disk(f"rm {place}/filler")
    status, took = page.wait("recording again", lambda s: s["recording"]["problem"] is None, 30)
    item.figure("seconds until it records again", round(took, 1))
    time.sleep(3)
    item.check(page.status()["recording"]["dropped"] > lost, "what was lost is counted")
    files = disk(f"for f in {place}/*.mkv; do ffprobe -v error -count_frames -show_entries "
                 f"stream=nb_read_frames -of csv=p=0 $f; done; cp {place}/*.mkv {item.folder}/")
    code, took = stop(child)
    item.check(code == 130, f"exit {code} after {took:.1f} s")
    item.check("not recorded" in log.read_text() and "recorded again" in log.read_text(), "the log")
    videos = sorted(item.folder.glob("case-*.mkv"))
    item.check(len(videos) == 4, f"two files before, two behind: {len(videos)}; {files.stderr}")
    item.check(all(frames_of(path)[0] > 20 for path in videos[:2]), "readable")

    child, log, place, disk = on_tmpfs(item, "full-at-start", [a if a != "20" else "100" for a in args])
    page = Page(child, log)
    status, _ = page.wait("the word", lambda s: s["recording"]["problem"], 30)
    item.check("MB are free" in status["recording"]["problem"], str(status["recording"]))
    item.check(status["source"]["state"] == "running", "the picture is there")
    item.check(stop(child)[0] == 130, "the end")


def disk_read_only(item, out, seconds):
    """A disk that takes no new files any more, and takes them again. A tmpfs with open files cannot be
    remounted read-only, so that it is covered by one that is; files are named by their whole path."""
    place = item.folder / "disk"
    args = ["live", *TEST_SOURCE, *MODEL, "--record", place / "case", "--min-free", "10",
            "--segment-seconds", "3", "--web", "127.0.0.1:0"]
    child, log, place, disk = on_tmpfs(item, "disk", args, "outside")
    page = Page(child, log)
    page.wait("recording", lambda s: s["recording"]["on"])
    time.sleep(3)
    done = disk(f"mount -t tmpfs -o ro,size=50m tmpfs {place}")
    if done.returncode:
        raise NotRun(done.stderr)
    status, took = page.wait("the report", lambda s: s["recording"]["problem"], 30)
    item.figure("reported", status["recording"]["problem"])
    shown = page.count("frames_shown")
    time.sleep(3)
    item.check(page.count("frames_shown") > shown + 50, "the picture goes on")
    item.check(page.ask("GET", "/healthz")[0] == 200, "health")
    disk(f"umount {place}")
    _, took = page.wait("recording again", lambda s: s["recording"]["problem"] is None, 100)
    item.figure("seconds until it records again", round(took, 1))
    code, took = stop(child)
    item.check(code == 130, f"exit {code} after {took:.1f} s")


def twice(item, out, seconds):
    """Two processes with one prefix, one port, one output."""
    need("ffprobe")
    port = free_port()
    args = ["live", *TEST_SOURCE, *MODEL, "--record", "case", "--min-free", "0"]
    one = start([*args, "--web", f"127.0.0.1:{port}"], item.folder, "one")
    page = Page(one, item.folder / "one")
    page.wait("recording", lambda s: s["recording"]["on"])
    code, text, *_ = run([*args, "--duration", "5"], item.folder)
    item.check(code == 1 and "another recording" in text, f"one prefix: {code} {text[-300:]}")
    code, text, *_ = run(["live", *TEST_SOURCE, *MODEL, "--duration", "5",
                          "--web", f"127.0.0.1:{port}"], item.folder)
    item.check(code == 1 and "cannot listen" in text, f"one port: {code} {text[-300:]}")
    recorded = None
    page.post("/api/record", {"on": False})
    recorded = page.count("record_frames")
    stop(one)
    read = sum(frames_of(path)[0] for path in item.folder.glob("*.mkv"))
    item.check(recorded == read, f"{recorded} recorded, {read} read")
    place = scene(out)
    track = ["track", place / "images", "--reference", place / "masks/000000.png", "--weights", "polyp",
             "--profile", "live", "--input-side", "128", "--summary", "same.json", "--coco", "same-coco.json"]
    both = [start(track, item.folder, f"track{n}") for n in range(2)]
    codes = [child.wait(600) for child in both]
    item.check(all(code in (0, 1) for code in codes), f"one output: {codes}")
    for name in ("same.json", "same-coco.json"):
        item.check(bool(json.loads((item.folder / name).read_text())), f"{name} is whole")


def small_object(item, out, seconds):
    """An object of 6 x 6 pixels that one profile can use and another cannot, beside a large one."""
    child = start(["live", *TEST_SOURCE, "--weights", "polyp", "--profile", "paper", "--gate", "off",
                   "--web", "127.0.0.1:0"], item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("frames", lambda s: s["source"]["state"] == "running" and s["model"]["state"] == "ready")
    answers = []
    for mask in (square(640, 360, 200, 120, 90), square(640, 360, 320, 180, 6)):
        frozen = page.post("/api/freeze")[2]["x-frozen"]
        answers.append(page.post(f"/api/upload?frozen={frozen}", mask, kind="application/octet-stream"))
    item.figure("answers", [a[1].decode()[:200] for a in answers])
    # On a slow machine the page's patience may end before the model has answered.
    page.wait("both objects in `paper`", lambda s: len(s["objects"]) == 2, 600)
    page.post("/api/profile", {"name": "live"})
    status, _ = page.wait("results of the large one", lambda s: s["profile"] == "live" and any(
        o["suspended"] for o in s["objects"]) and s["model"]["results_per_second"] > 0, 200)
    item.figure("suspended", [o["suspended"] for o in status["objects"]])
    item.check(page.ask("GET", "/healthz")[0] == 200, "health")
    item.check(page.count("model_faults") == 0, "no fault")
    page.post("/api/profile", {"name": "paper"})
    page.wait("both again", lambda s: len(s["objects"]) == 2 and all(
        o["suspended"] is None for o in s["objects"]), 200)
    item.check(stop(child)[0] == 130, "the end")
