"""Sources that pause, send garbage, change their size, go away and come back."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from kit import MODEL, NotRun, Page, ROOT, free_port, need, run, scene, start, stop


def sender(size="640x360", sink="", seconds=3600, pattern="ball", keys=25):
    width, height = size.split("x")
    line = (f"-q videotestsrc is-live=true pattern={pattern} ! video/x-raw,format=I420,width={width},"
            f"height={height},framerate=25/1 ! x264enc tune=zerolatency speed-preset=ultrafast "
            f"key-int-max={keys} ! h264parse config-interval=1 ! mpegtsmux alignment=7 ! {sink}")
    return subprocess.Popen(["gst-launch-1.0", *line.split()], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(child):
    child.kill()
    child.wait()


def running(size=None):
    width, height = map(int, size.split("x")) if size else (None, None)
    def fits(status):
        source = status["source"]
        right = size is None or (source["width"], source["height"]) == (width, height)
        return source["state"] == "running" and right and (source["age_ms"] or 1e9) < 500
    return fits


def away(status):
    return status["source"]["state"] != "running"


class Relay:
    """A TCP server that passes on what a muxer sends, or what the item wants instead."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.feed, self.mode, self.clients = free_port(), "pass", []
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.accept, self.relay)]
        self.source = None
        for thread in self.threads:
            thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                self.clients.append(client)
            except OSError:
                return

    def use(self, size):
        if self.source:
            end(self.source)
        self.source = sender(size, f"tcpserversink host=127.0.0.1 port={self.feed}")

    def relay(self):
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.feed), timeout=2) as feed:
                    feed.settimeout(2)
                    while data := feed.recv(1 << 14):
                        if self.mode == "silent":
                            continue
                        if self.mode == "garbage":
                            data = os.urandom(len(data))
                        for client in list(self.clients):
                            try:
                                client.sendall(data)
                            except OSError:
                                self.clients.remove(client)
            except OSError:
                time.sleep(0.1)

    def drop(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def close(self):
        self.listener.close()
        self.drop()
        if self.source:
            end(self.source)


def tcp(item, out, seconds):
    """A TCP source that pauses, sends garbage, changes size, closes and returns; the object is kept."""
    need("gst-launch-1.0")
    relay = Relay()
    relay.use("640x360")
    place = scene(out)
    child = start(["live", "--pipeline", ROOT / "pipelines/tcp.launch", "--slot", f"port={relay.port}",
                   "--sink", "none", *MODEL, "--web", "127.0.0.1:0", "--reference-image",
                   place / "images/000000.png", "--reference", place / "masks/000000.png"],
                  item.folder, "log")
    try:
        page = Page(child, item.folder / "log")
        page.wait("frames", running("640x360"))
        for mode in ("silent", "garbage"):
            relay.mode = mode
            _, took = page.wait(f"{mode}: the loss", away, 30)
            item.figure(f"{mode}: seconds until it is reported", round(took, 1))
            time.sleep(2)
            relay.mode = "pass"
            _, took = page.wait(f"{mode}: the return", running(), 60)
            item.figure(f"{mode}: seconds from good data to a picture", round(took, 1))
        relay.use("320x240")
        _, took = page.wait("another size", running("320x240"), 60)
        item.figure("another size: seconds to a picture", round(took, 1))
        relay.drop()
        _, took = page.wait("the return", running(), 60)
        relay.close()
        page.wait("the loss", away, 30)
        objects = page.status()["objects"]
        item.check(len(objects) == 1, f"the object is kept: {objects}")
        item.check(page.count("model_faults") == 0, "no fault")
        code, took = stop(child)
        item.check(code == 130 and took < 10, f"exit {code} after {took:.1f} s")
    finally:
        relay.close()
        child.kill()


def transport_streams(item, out, seconds):
    """An MPEG transport stream as a file, damaged, and over UDP."""
    need("gst-launch-1.0", "ffmpeg")
    clip = item.folder / "clip.ts"
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", scene(out) / "clip.mkv", "-c", "copy", clip],
                   check=True)
    play = ["live", "--source", f"file:{clip}", "--sink", "none", *MODEL, "--json"]
    code, text, *_ = run(play, item.folder)
    item.check(code == 0 and '"frames_in": 50' in text, f"whole: {code} {text[-300:]}")
    damaged = bytearray(clip.read_bytes())
    for at in range(3000, len(damaged), 3777):
        damaged[at] ^= 0x55
    (item.folder / "damaged.ts").write_bytes(damaged)
    code, text, *_ = run([*play[:2], "file:damaged.ts", *play[3:]], item.folder)
    item.check(code in (0, 3) and "panicked" not in text, f"damaged: {code}")
    port = free_port()
    (item.folder / "udp.launch").write_text(
        f"udpsrc address=127.0.0.1 port={port} caps=video/mpegts ! tsdemux latency=20 ! h264parse "
        "! avdec_h264\n")
    source = sender(sink=f"udpsink host=127.0.0.1 port={port}")
    child = start(["live", "--pipeline", "udp.launch", "--sink", "none", *MODEL, "--web", "127.0.0.1:0"],
                  item.folder, "log")
    try:
        page = Page(child, item.folder / "log")
        page.wait("frames", running())
        end(source)
        _, took = page.wait("the loss", away, 30)
        source = sender("320x240", sink=f"udpsink host=127.0.0.1 port={port}")
        _, took = page.wait("the return", running("320x240"), 60)
        item.figure("UDP: seconds from good data to a picture", round(took, 1))
        code, took = stop(child)
        item.check(code == 130 and took < 10, f"exit {code} after {took:.1f} s")
    finally:
        end(source)
        child.kill()


def network(item, source, make):
    """A network source that is there, goes, comes back, freezes, and is stopped while frozen."""
    server = make()
    child = start(["live", "--source", source, "--sink", "none", *MODEL, "--web", "127.0.0.1:0"],
                  item.folder, "log")
    try:
        page = Page(child, item.folder / "log")
        _, took = page.wait("frames", running(), 60)
        item.figure("seconds to the first picture", round(took, 1))
        end(server)
        _, took = page.wait("the loss", away, 30)
        item.figure("killed: seconds until it is reported", round(took, 1))
        time.sleep(3)
        server = make()
        _, took = page.wait("the return", running(), 60)
        item.figure("back: seconds to a picture", round(took, 1))
        server.send_signal(19)
        _, took = page.wait("the freeze", away, 30)
        item.figure("frozen: seconds until it is reported", round(took, 1))
        code, took = stop(child)
        item.figure("stopped while frozen: seconds to the end", round(took, 1))
        item.check(code == 130 and took < 10, f"exit {code}")
        log = (item.folder / "log").read_text()
        item.check("secretpw" not in log and "theatre1" not in log, "no address in the log")
    finally:
        server.send_signal(18)
        end(server)
        child.kill()


def srt(item, out, seconds):
    """SRT, as a caller; then a listener that nobody calls, and an SRT sink."""
    need("gst-launch-1.0")
    if subprocess.run(["gst-inspect-1.0", "srtsrc"], capture_output=True).returncode:
        raise NotRun("GStreamer has no srtsrc")
    port = free_port()
    sink = f"srtsink uri=srt://127.0.0.1:{port}?mode=listener wait-for-connection=false"
    network(item, f"srt://127.0.0.1:{port}", lambda: sender(sink=sink))
    port = free_port()
    child = start(["live", "--source", f"srt://:{port}?mode=listener", "--sink", "none", *MODEL,
                   "--web", "127.0.0.1:0"], item.folder, "log2")
    page = Page(child, item.folder / "log2")
    time.sleep(2)
    caller = sender(sink=f"srtsink uri=srt://127.0.0.1:{port}")
    _, took = page.wait("a caller", running(), 60)
    item.figure("listener: seconds from the call to a picture", round(took, 1))
    end(caller)
    code, took = stop(child)
    item.check(code == 130 and took < 10, f"exit {code} after {took:.1f} s")


RTSP = r"""
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1]); server.set_address("127.0.0.1")
media = GstRtspServer.RTSPMediaFactory()
media.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,"
                 "framerate=25/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 "
                 "! rtph264pay name=pay0 pt=96 )")
media.set_shared(True)
auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "user")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("user", "secretpw"), token)
server.set_auth(auth)
rights = GstRtspServer.RTSPPermissions()
for right in ("access", "construct"):
    rights.add_permission_for_role("user", "media.factory." + right, True)
media.set_permissions(rights)
server.get_mount_points().add_factory("/theatre1", media)
server.attach(None)
GLib.MainLoop().run()
"""


def rtsp(item, out, seconds):
    """RTSP with a password, by GStreamer's own server."""
    python = next((p for p in ("/usr/bin/python3", sys.executable) if subprocess.run(
        [p, "-c", 'import gi; gi.require_version("GstRtspServer", "1.0"); '
                  'from gi.repository import GstRtspServer'], capture_output=True).returncode == 0), None)
    if python is None:
        raise NotRun("no GstRtspServer for Python (gir1.2-gst-rtsp-server-1.0, python3-gi)")
    port = free_port()

    def make():
        server = subprocess.Popen([python, "-c", RTSP, str(port)], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        return server
    network(item, f"rtsp://user:secretpw@127.0.0.1:{port}/theatre1", make)
    server = make()
    code, text, took, _ = run(["live", "--source", f"rtsp://user:wrongsecret@127.0.0.1:{port}/theatre1",
                               "--sink", "none", *MODEL, "--duration", "6"], item.folder)
    end(server)
    item.check(code == 1 and "Unauthorized" in text, f"a wrong password: {code} {text[-300:]}")
    item.check("wrongsecret" not in text and "theatre1" not in text, "no address in what is printed")


def pipe(item, out, seconds):
    """A FIFO without a writer, with one, and one that stops to write."""
    fifo = item.folder / "fifo"
    os.mkfifo(fifo)
    child = start(["live", "--source", f"file:{fifo}", "--sink", "none", *MODEL, "--web", "127.0.0.1:0"],
                  item.folder, "log")
    page = Page(child, item.folder / "log")
    time.sleep(3)
    code, took = stop(child, 2)
    item.check(code == 130 and took < 5, f"without a writer: exit {code} after {took:.1f} s")
    child = start(["live", "--source", f"file:{fifo}", "--sink", "none", *MODEL, "--web", "127.0.0.1:0",
                   "--summary", "summary.json"], item.folder, "log2")
    page = Page(child, item.folder / "log2")
    time.sleep(12)
    # A writer that comes late is waited for.
    writer = sender(sink=f"filesink location={fifo}")
    page.wait("frames", running(), 60)
    end(writer)
    code = child.wait(60)
    item.check(code == 0, f"the writer's end is the end: {code}")


def looped_file(item, out, seconds):
    """A looped file that becomes unreadable while it plays, and good again."""
    file = item.folder / "clip.mkv"
    whole = (scene(out) / "clip.mkv").read_bytes()
    file.write_bytes(whole)
    child = start(["live", "--source", f"file:{file}?loop", "--sink", "none", *MODEL,
                   "--web", "127.0.0.1:0"], item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("frames", running())
    with open(file, "r+b") as open_file:
        open_file.truncate(400)
    _, took = page.wait("the loss", away, 30)
    item.figure("seconds until it is reported", round(took, 1))
    item.check(page.ask("GET", "/healthz")[0] == 503, "health")
    before = Path(f"/proc/{child.pid}/stat").read_text().split()
    time.sleep(5)
    after = Path(f"/proc/{child.pid}/stat").read_text().split()
    busy = (int(after[13]) + int(after[14]) - int(before[13]) - int(before[14])) / 500
    item.figure("share of a core meanwhile", round(busy, 2))
    item.check(busy < 0.5, "no busy loop")
    file.write_bytes(whole)
    _, took = page.wait("the return", running(), 30)
    item.figure("seconds from a good file to a picture", round(took, 1))
    item.check(stop(child)[0] == 130, "the end")
