"""A live run for hours, and the model changed over and over."""

import json
import threading
import time

from kit import Page, frames_of, scene, square, start, stop, usage, need


def clients(page, ending):
    """Ten clients of the picture, of which five never read. Cut ones come back."""
    def one(reads):
        while not ending.is_set():
            try:
                with page.watcher() as client:
                    client.settimeout(5)
                    while not ending.is_set():
                        if reads:
                            if not client.recv(1 << 16):
                                break
                        else:
                            time.sleep(0.5)
                            client.send(b"")
            except OSError:
                time.sleep(0.5)
    threads = [threading.Thread(target=one, args=(n < 5,), daemon=True) for n in range(10)]
    for thread in threads:
        thread.start()
    return threads


def live(item, out, seconds):
    need("ffprobe")
    args = ["live", "--source", "phantom:?width=640&height=360&fps=25&seconds=12", "--sink", "none",
            "--weights", "polyp", "--web", "127.0.0.1:0", "--record", "case", "--min-free", "200",
            "--segment-seconds", "300", "--summary", "summary.json"]
    child = start(args, item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("the first object", lambda s: s["objects"], 900)
    ending = threading.Event()
    threads = clients(page, ending)
    begun = time.monotonic()
    added = recorders = switches = refused = turn = 0
    first = None
    while time.monotonic() - begun < seconds:
        turn += 1
        # Three objects by mask, at three places, then away again.
        objects = []
        for place in range(3):
            try:
                status, _, headers = page.post("/api/freeze")
                mask = square(640, 360, 80 + 160 * place, 120, 70)
                frozen = headers.get("x-frozen")
                status, data, _ = page.post(f"/api/upload?frozen={frozen}", mask,
                                            kind="application/octet-stream")
                if status == 200:
                    objects.append(json.loads(data)["object"])
                    added += 1
                else:
                    refused += 1
            except OSError as error:
                item.check(False, f"the page: {error!r}")
        if turn % 2 == 0:
            profile = ["fast", "live"][switches % 2]
            item.check(page.post("/api/profile", {"name": profile})[0] == 200, "a profile")
            switches += 1
        deadline = time.monotonic() + 25
        while time.monotonic() < deadline:
            health = page.ask("GET", "/healthz")[0]
            item.check(health in (200, 503), f"health {health}")
            time.sleep(1)
        for number in objects:
            page.post("/api/remove", {"object": number})
        # While it records: a recorder that is off has fewer handles and threads.
        if first is None and time.monotonic() - begun > 60:
            first = usage(child.pid)
            item.figure("at minute 1", first)
        if turn % 3 == 0:
            item.check(page.post("/api/record", {"on": False})[0] == 200, "the recorder stops")
            item.check(page.post("/api/record", {"on": True})[0] == 200, "the recorder starts")
            recorders += 1
        if child.poll() is not None:
            break
    item.check(child.poll() is None, "it runs to the end")
    last = usage(child.pid)
    item.figure("at the end", last)
    metrics = page.ask("GET", "/metrics")[1].decode()
    ending.set()
    code, took = stop(child)
    item.check(code == 130 and took < 20, f"exit {code} after {took:.1f} s")
    for thread in threads:
        thread.join(10)
    summary = json.loads((item.folder / "summary.json").read_text())
    stream, delay = summary["stream"], summary["added_delay"]
    item.figure("minutes", round((time.monotonic() - begun) / 60, 1))
    item.figure("frames in, shown, dropped before the overlay",
                [stream["frames_in"], stream["frames_shown"], stream["frames_dropped"]])
    item.figure("delay added by the overlay, ms", {k: delay[k] for k in ("p50", "p99", "max")})
    item.figure("objects added, refused; recorder restarts; profile switches",
                [added, refused, recorders, switches])
    item.figure("faults of the model", summary["model_worker"]["faults"])
    item.figure("peak memory, MB", summary["peak_memory"] >> 20)
    item.check(summary["model_worker"]["faults"] == 0, "no fault of the model")
    item.check("p2sam_recording_failing 0" in metrics, "all is recorded")
    if first:
        item.check(last["threads"] <= first["threads"] + 8, f"threads {first} {last}")
        item.check(last["handles"] <= first["handles"] + 8, f"handles {first} {last}")
        item.check(last["rss"] <= first["rss"] * 1.5 + 50, f"memory {first} {last}")
    videos = sorted(item.folder.glob("case-*.mkv"))
    read = [frames_of(path) for path in videos]
    item.figure("recorded files, frames, largest step in ms",
                [len(read), sum(r[0] for r in read), round(max(r[1] for r in read))])
    item.check(all(r[0] > 0 and r[2] for r in read), "every file can be read")
    text = (item.folder / "case-results.jsonl").read_text()
    item.check(all(json.loads(line) for line in text.splitlines()), "every line is JSON")


def profiles(item, out, seconds):
    """Memory over changes of the profile: it is not to grow with each."""
    args = ["live", "--source", "phantom:?width=640&height=360&fps=25&seconds=3", "--sink", "none",
            "--weights", "polyp", "--web", "127.0.0.1:0"]
    child = start(args, item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("a result", lambda s: s["model"]["results_per_second"] > 0, 600)
    memory = [usage(child.pid)["rss"]]
    for change in range(20):
        page.post("/api/profile", {"name": ["fast", "live"][change % 2]})
        results = page.count("results")
        page.wait("results", lambda s: next(
            c["value"] for c in s["counters"] if c["name"] == "results") > results + 1, 600)
        memory.append(usage(child.pid)["rss"])
    item.figure("MB after each of 20 changes", memory)
    item.check(max(memory[11:]) <= max(memory[:11]) * 1.15 + 10, "no growth in the second half")
    item.check(stop(child)[0] == 130, "the end")
