"""Floods of requests, slow ones, uploads without an end, and operators who ask at the same time."""

import socket
import threading
import time

from kit import MODEL, Page, TEST_SOURCE, start, stop, usage


def page_of(item, more=()):
    child = start(["live", *TEST_SOURCE, *MODEL, "--web", "127.0.0.1:0", *more], item.folder, "log")
    page = Page(child, item.folder / "log")
    page.wait("frames", lambda s: s["source"]["state"] == "running")
    time.sleep(1)
    item.before = [page.count("frames_in"), page.count("frames_dropped")]
    return child, page


def finish(item, child, page):
    passed = page.count("frames_in") - item.before[0]
    dropped = page.count("frames_dropped") - item.before[1]
    item.figure("frames meanwhile, and of them dropped before the overlay", [passed, dropped])
    item.check(dropped <= passed // 50, "the picture does not stutter")
    code, took = stop(child)
    item.check(code == 130 and took < 10, f"exit {code} after {took:.1f} s")


def askers(item, out, seconds):
    """Freezes and snapshots of several clients at the same time."""
    child, page = page_of(item)
    answers = {}
    def ask(method, path):
        for _ in range(40):
            status, data, _ = page.ask(method, path, {} if method == "POST" else None)
            answers.setdefault((path, status), []).append(data[:80])
            time.sleep(0.02)
    threads = [threading.Thread(target=ask, args=pair) for pair in
               [("POST", "/api/freeze"), ("GET", "/api/snapshot")] * 2]
    [t.start() for t in threads]
    [t.join() for t in threads]
    item.figure("answers", {f"{path} {status}": len(all) for (path, status), all in answers.items()})
    item.check(all(status == 200 for _, status in answers), "every one gets a picture")
    finish(item, child, page)


def requests(item, out, seconds):
    """10,000 quick requests from one address, an open page among them."""
    child, page = page_of(item)
    before = usage(child.pid)
    _, _, headers = page.ask("GET", "/")
    cookie = headers["set-cookie"].split(";")[0]
    counts, slow, ending = {}, [], threading.Event()

    def flood():
        for _ in range(1250):
            try:
                status = page.ask("GET", "/api/status")[0]
            except OSError:
                status = "cut"
            counts[status] = counts.get(status, 0) + 1
    def open_page():
        import http.client
        while not ending.is_set():
            begun = time.monotonic()
            for path, headers in (("/api/status", {"Cookie": cookie}), ("/healthz", {})):
                client = http.client.HTTPConnection(page.host, page.port, timeout=20)
                client.request("GET", path, headers=headers)
                slow.append((time.monotonic() - begun, client.getresponse().status))
                client.close()
            time.sleep(0.4)
    begun = time.monotonic()
    threads = [threading.Thread(target=flood) for _ in range(8)]
    watch = threading.Thread(target=open_page)
    [t.start() for t in (*threads, watch)]
    [t.join() for t in threads]
    item.figure("10000 requests, s", round(time.monotonic() - begun, 1))
    ending.set()
    watch.join()
    item.figure("answers by status", {str(k): v for k, v in counts.items()})
    item.figure("an open page and health meanwhile: asked, slowest in ms",
                [len(slow), round(1000 * max(s for s, _ in slow))])
    item.check(all(status == 200 for _, status in slow), "none of them is turned away")
    after = usage(child.pid)
    item.figure("before and after", [before, after])
    item.check(after["handles"] <= before["handles"] + 3, "handles")
    time.sleep(2)
    finish(item, child, page)


def slow_requests(item, out, seconds):
    """100 unfinished requests, made anew whenever they are cut."""
    child, page = page_of(item)
    ending = threading.Event()
    def half(n):
        while not ending.is_set():
            try:
                with socket.create_connection((page.host, page.port), timeout=5) as client:
                    client.sendall(b"GET /api/status HTTP/1.1\r\nHost: localhost"[: n % 40])
                    client.settimeout(1)
                    while not ending.is_set():
                        try:
                            if not client.recv(1):
                                break
                        except TimeoutError:
                            pass
            except OSError:
                time.sleep(0.05)
    threads = [threading.Thread(target=half, args=(n,), daemon=True) for n in range(100)]
    [t.start() for t in threads]
    time.sleep(1)
    took = []
    for _ in range(100):
        begun = time.monotonic()
        try:
            status = page.ask("GET", "/api/status", limit=20)[0]
        except OSError:
            status = None
        took.append((time.monotonic() - begun, status))
    good = [seconds for seconds, status in took if status == 200]
    item.figure("answers of 100; median and slowest, s",
                [len(good), round(sorted(good)[len(good) // 2], 2), round(max(good), 2)])
    item.check(len(good) == 100, "the operator gets every answer")
    ending.set()
    [t.join(5) for t in threads]
    finish(item, child, page)


def uploads(item, out, seconds):
    """40 uploads of 32 MB that never end."""
    child, page = page_of(item)
    before = usage(child.pid)
    head = (f"POST /api/upload?frozen=1 HTTP/1.1\r\nHost: {page.host}:{page.port}\r\nX-P2SAM: 1\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 33000000\r\n\r\n").encode()
    def upload():
        try:
            with socket.create_connection((page.host, page.port), timeout=40) as client:
                client.sendall(head)
                for _ in range(31):
                    client.sendall(bytes(1 << 20))
                client.recv(100)
        except OSError:
            pass
    threads = [threading.Thread(target=upload) for _ in range(40)]
    [t.start() for t in threads]
    most = 0
    begun = time.monotonic()
    while any(t.is_alive() for t in threads) and time.monotonic() - begun < 120:
        most = max(most, usage(child.pid)["rss"])
        time.sleep(0.05)
    item.figure("MB before, at most, afterwards", [before["rss"], most, usage(child.pid)["rss"]])
    item.figure("seconds until all are cut", round(time.monotonic() - begun, 1))
    item.check(most - before["rss"] < 200, "a budget")
    item.check(usage(child.pid)["rss"] - before["rss"] < 150, "given back")
    item.check(page.ask("GET", "/healthz")[0] == 200, "health")
    finish(item, child, page)
