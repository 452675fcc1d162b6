"""What the items of the soak share: the program, its page, its files, and what held."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("P2SAM_BINARY", ROOT / "target/release/p2sam"))
MODEL = ["--weights", "polyp", "--profile", "live", "--input-side", "128"]
TEST_SOURCE = ["--source", "test:ball?width=640&height=360&fps=25", "--sink", "none"]


class NotRun(Exception):
    """Something that an item needs is not there."""


class Item:
    """One item's checks and figures."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.figures, self.failures, self.held = {}, [], 0

    def check(self, ok, text):
        if ok:
            self.held += 1
        else:
            self.failures.append(text)
            print(f"  {self.name}: FAILED: {text}")
        return ok

    def figure(self, name, value):
        self.figures[name] = value
        print(f"  {self.name}: {name}: {value}")


def environment():
    return dict(os.environ, P2SAM_WEIGHTS=str(ROOT / "weights"))


def start(args, folder, log, prefix=()):
    """Starts the program; what it prints goes to a file."""
    out = open(folder / log, "ab")
    return subprocess.Popen(
        [*prefix, str(BINARY), *map(str, args)],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
    )


def run(args, folder, limit=600, prefix=(), cwd=None):
    """Runs the program to its end: code, text, seconds, peak memory in MB."""
    begun = time.monotonic()
    child = subprocess.Popen(
        [*prefix, str(BINARY), *map(str, args)],
        cwd=cwd or folder, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    peak = 0
    import threading

    text = []
    reader = threading.Thread(target=lambda: text.append(child.stdout.read()))
    reader.start()
    while child.poll() is None:
        peak = max(peak, usage(child.pid).get("peak", 0))
        if time.monotonic() - begun > limit:
            child.kill()
        time.sleep(0.05)
    reader.join()
    seconds = time.monotonic() - begun
    return child.returncode, text[0].decode(errors="replace"), seconds, peak


def stop(child, sig=signal.SIGTERM, limit=30):
    """Sends a signal: exit code and seconds until the end; a hanging one is killed."""
    begun = time.monotonic()
    child.send_signal(sig)
    try:
        child.wait(limit)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return None, time.monotonic() - begun
    return child.returncode, time.monotonic() - begun


def usage(pid):
    """Resident and peak memory in MB, threads and handles of a process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        number = lambda name: int(re.search(rf"{name}:\s+(\d+)", text)[1])
        return {
            "rss": number("VmRSS") // 1024,
            "peak": number("VmHWM") // 1024,
            "threads": number("Threads"),
            "handles": len(os.listdir(f"/proc/{pid}/fd")),
        }
    except (FileNotFoundError, ProcessLookupError, TypeError):
        return {}


class Page:
    """The operator's page of a run; its address is read from what the program prints."""

    def __init__(self, child, log, limit=120):
        begun = time.monotonic()
        while True:
            found = re.search(rb"page is at http://([0-9.]+):(\d+)/", log.read_bytes())
            if found:
                self.host, self.port = found[1].decode(), int(found[2])
                return
            if child.poll() is not None or time.monotonic() - begun > limit:
                raise RuntimeError(log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)

    def ask(self, method, path, body=None, kind="application/json", limit=70):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=limit)
        headers = {}
        if method == "POST":
            headers = {"Content-Type": kind, "X-P2SAM": "1"}
            if kind == "application/json":
                body = json.dumps(body or {})
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, dict(answer.getheaders())

    def post(self, path, body=None, **more):
        return self.ask("POST", path, body, **more)

    def status(self):
        return json.loads(self.ask("GET", "/api/status")[1])["run"]

    def count(self, name):
        counters = {c["name"]: c["value"] for c in self.status()["counters"]}
        return counters[name]

    def wait(self, what, fits, limit=120):
        begun = time.monotonic()
        while time.monotonic() - begun < limit:
            try:
                status = self.status()
                if fits(status):
                    return status, time.monotonic() - begun
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"waited in vain: {what}")

    def watcher(self, reads=True):
        """A client of the picture."""
        client = socket.create_connection((self.host, self.port), timeout=30)
        client.sendall(f"GET /stream.mjpeg HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        return client


def frames_of(path):
    """Frames, largest step between two in ms and whether a video can be decoded without an error."""
    found = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time",
         "-of", "csv=p=0", str(path)], capture_output=True, text=True)
    times = [float(t.strip(",")) for t in found.stdout.split() if t.strip(",")]
    steps = [b - a for a, b in zip(times, times[1:])]
    return len(times), max(steps, default=0) * 1000, not found.stderr.strip()


def scene(folder):
    """The phantom's clip and masks, rendered once."""
    place = folder / "scene"
    if not (place / "clip.mkv").is_file():
        code, text, *_ = run(["phantom", "-o", place, "--length", "2", "--images"], folder)
        if code != 0:
            raise RuntimeError(text)
    return place


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise NotRun(f"{program} is not there")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows=b"", declared=None):
    """A grey PNG; `declared` is what its head says instead of its size."""
    w, h = declared or (width, height)
    raw = rows or b"".join(b"\0" + bytes(width) for _ in range(height))
    head = struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw))
            + chunk(b"IEND", b""))


def square(width, height, left, top, side):
    """A mask of one square as PNG."""
    def row(y):
        inside = top <= y < top + side
        return b"\0" + bytes(255 if inside and left <= x < left + side else 0 for x in range(width))
    return png(width, height, b"".join(map(row, range(height))))


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    load = os.getloadavg()
    return f"{cpu[1] if cpu else '?'}, {os.cpu_count()} cores, {int(memory[1]) >> 20} GiB, load {load[0]:.1f}"


def flush():
    sys.stdout.flush()
