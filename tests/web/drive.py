#!/usr/bin/env python3
"""Drives the operator's page in headless Chromium as a person would.

    cargo run --example web_page &
    python3 tests/web/drive.py --url http://127.0.0.1:8088 --shots /tmp/shots

Needs the packages `playwright` (PyPI) and `chromium` (Debian). Against a real run, give a point on
the object with --at X Y, as fractions of the picture's width and height.
"""

import argparse
import base64
import contextlib
import pathlib
import sys
import time

from playwright.sync_api import expect, sync_playwright

# Without --at: where the example's disc is in the held picture. It is the pinkest part of it.
FIND_DISC = """() => {
  const c = document.getElementById('frozen-canvas');
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  let n = 0, x = 0, y = 0;
  for (let i = 0; i < c.width * c.height; i += 3) {
    if (d[4 * i + 1] > 0.535 * d[4 * i]) { n++; x += i % c.width; y += Math.floor(i / c.width); }
  }
  return [x / n / c.width, y / n / c.height];
}"""

# Pixels in the live picture that are near the first object's colour, and their mean place.
FIND_OVERLAY = """(rgb) => {
  const c = document.getElementById('live-canvas');
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  let n = 0, x = 0, y = 0;
  for (let i = 0; i < c.width * c.height; i++) {
    const far = Math.abs(d[4*i]-rgb[0]) + Math.abs(d[4*i+1]-rgb[1]) + Math.abs(d[4*i+2]-rgb[2]);
    if (far < 70) { n++; x += i % c.width; y += Math.floor(i / c.width); }
  }
  return [n, x / n, y / n];
}"""


# A white disc at a place of the held picture, as a PNG file of its size in base64.
MAKE_MASK = """async ([fx, fy]) => {
  const [w, h] = [frozen.width, frozen.height];
  const c = new OffscreenCanvas(w, h), pen = c.getContext('2d');
  pen.fillRect(0, 0, w, h);
  pen.fillStyle = '#fff';
  pen.arc(fx * w, fy * h, w / 14, 0, 7);
  pen.fill();
  const bytes = new Uint8Array(await (await c.convertToBlob()).arrayBuffer());
  return btoa(String.fromCharCode(...bytes));
}"""


class Drive:
    def __init__(self, page, args):
        self.page, self.args = page, args
        self.faults = []
        page.on("console", self.hear)
        page.on("pageerror", lambda e: self.faults.append(str(e)))

    def hear(self, message):
        # The hint about reading pixels back is about this script.
        if message.type in ("error", "warning") and "willReadFrequently" not in message.text:
            self.faults.append(message.text)

    def shot(self, name, **how):
        if self.args.shots:
            self.page.screenshot(path=str(pathlib.Path(self.args.shots) / f"{name}.png"), **how)

    def open(self):
        url = self.args.url + (f"/?token={self.args.token}" if self.args.token else "/")
        self.page.goto(url)
        expect(self.page.locator("#live-mark")).to_be_visible(timeout=15000)
        expect(self.page.get_by_text("Research use only – not a medical device")).to_be_visible()

    def objects(self):
        return self.page.locator("#objects li")

    def clear(self):
        while self.objects().count():
            before = self.objects().count()
            button = self.objects().first.get_by_role("button")
            button.click()
            button.click()
            expect(self.objects()).to_have_count(before - 1)

    def spot(self):
        if self.args.at:
            return self.args.at
        return self.page.evaluate(FIND_DISC)

    def at(self, fraction):
        """Where a fraction of the held picture is inside the canvas element."""
        return self.page.evaluate(
            """([fx, fy]) => { const c = document.getElementById('frozen-canvas');
            const a = c.getBoundingClientRect();
            const by = Math.min(a.width / c.width, a.height / c.height);
            return {x: (a.width - c.width * by) / 2 + fx * c.width * by,
                    y: (a.height - c.height * by) / 2 + fy * c.height * by}; }""",
            list(fraction),
        )

    def wait_for_mask(self):
        expect(self.page.locator("#accept")).to_be_enabled(timeout=self.args.patience * 1000)

    def mouse(self, tag):
        """Freeze, click, refine, undo, accept; the overlay is seen to follow."""
        page = self.page
        self.clear()
        page.get_by_role("button", name="Freeze").click()
        expect(page.locator("#frozen")).to_be_visible()
        expect(page.locator("#accept")).to_be_disabled()
        canvas = page.locator("#frozen-canvas")
        spot = self.spot()
        start = time.monotonic()
        canvas.click(position=self.at(spot))
        self.wait_for_mask()
        print(f"{tag}: mask shown after {time.monotonic() - start:.2f} s")
        self.shot(f"{tag}-proposal")
        canvas.click(position=self.at((spot[0], min(spot[1] + 0.2, 0.97))), button="right")
        self.wait_for_mask()
        canvas.click(position=self.at((max(spot[0] - 0.12, 0.03), spot[1])), modifiers=["Shift"])
        self.wait_for_mask()
        self.shot(f"{tag}-refined")
        page.locator("#undo").click()
        page.locator("#clear").click()
        expect(page.locator("#accept")).to_be_disabled()
        box = canvas.bounding_box()
        corners = [self.at((spot[0] + d * 0.09, spot[1] + d * 0.16)) for d in (-1, 1)]
        page.mouse.move(box["x"] + corners[0]["x"], box["y"] + corners[0]["y"])
        page.mouse.down()
        page.mouse.move(box["x"] + corners[1]["x"], box["y"] + corners[1]["y"], steps=5)
        page.mouse.up()
        self.wait_for_mask()
        self.shot(f"{tag}-box")
        page.locator("#accept").click()
        expect(self.objects()).to_have_count(1, timeout=self.args.patience * 1000)
        expect(page.locator("#frozen")).to_be_hidden()
        expect(self.objects().first.locator(".state")).to_have_text("in view", timeout=20000)
        self.follows()
        self.shot(f"{tag}-tracking")

    def follows(self):
        chip = self.objects().first.locator(".number")
        rgb = chip.evaluate("e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)")
        places = []
        for _ in range(3):
            self.page.wait_for_timeout(700)
            places.append(self.page.evaluate(FIND_OVERLAY, rgb))
        assert all(n > 30 for n, *_ in places), f"no overlay in the live picture: {places}"
        if not self.args.at:
            moved = abs(places[0][1] - places[2][1]) + abs(places[0][2] - places[2][2])
            assert moved > 20, f"the overlay did not follow: {places}"

    def keyboard(self):
        """A second object without a mouse, by its keys alone."""
        page = self.page
        page.locator("body").press("Escape")
        page.keyboard.press("Space")
        expect(page.locator("#frozen")).to_be_visible()
        spot = self.spot()
        steps = (round((spot[0] - 0.5) / 0.01), round((spot[1] - 0.5) * 9 / 16 / 0.01))
        for count, less, more in ((steps[0], "ArrowLeft", "ArrowRight"), (steps[1], "ArrowUp", "ArrowDown")):
            for _ in range(abs(count)):
                page.keyboard.press(less if count < 0 else more)
        page.keyboard.press("Space")
        self.wait_for_mask()
        page.keyboard.press("n")
        expect(page.locator("#negative")).to_have_attribute("aria-pressed", "true")
        for _ in range(2):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Space")
        self.wait_for_mask()
        page.keyboard.press("z")
        self.wait_for_mask()
        self.shot("keyboard")
        before = self.objects().count()
        page.keyboard.press("Enter")
        expect(self.objects()).to_have_count(before + 1, timeout=self.args.patience * 1000)
        page.keyboard.press("Space")
        expect(page.locator("#frozen")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#frozen")).to_be_hidden()
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        self.shot("help")
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()
        self.tab_reaches_all()

    def tab_reaches_all(self):
        page = self.page
        page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id"))
        missing = {"freeze", "snapshot", "help-open", "profile"} - reached
        assert not missing, f"Tab does not reach {missing}"

    def record_and_more(self):
        page = self.page
        if page.locator("#record").is_enabled():
            page.locator("#record").click()
            expect(page.locator("#rec")).to_be_visible()
            page.wait_for_timeout(1500)
            expect(page.locator("#rec-time")).not_to_have_text("0:00")
            self.shot("recording")
            page.evaluate("document.activeElement.blur()")
            page.keyboard.press("r")
            expect(page.locator("#rec")).to_be_hidden()
        with page.expect_download() as download:
            page.locator("#snapshot").click()
        size = pathlib.Path(download.value.path()).stat().st_size
        assert size > 1000, f"snapshot of {size} bytes"
        names = page.locator("#profile option").all_text_contents()
        page.locator("#profile").select_option(names[-1])
        page.wait_for_timeout(900)
        expect(page.locator("#profile")).to_have_value(names[-1])
        self.clear()

    def upload(self):
        """A mask from a file; a wrong file is refused in words."""
        page = self.page
        page.get_by_role("button", name="Freeze").click()
        expect(page.locator("#frozen")).to_be_visible()
        page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no"})
        expect(page.locator("#toasts")).to_contain_text("Mask not taken")
        png = base64.b64decode(page.evaluate(MAKE_MASK, list(self.spot())))
        page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png})
        expect(self.objects()).to_have_count(1, timeout=self.args.patience * 1000)
        expect(page.locator("#frozen")).to_be_hidden()
        # What the browser says of the refused file.
        self.faults = [text for text in self.faults if "409" not in text]
        self.clear()

    def broken(self):
        """The picture must never look live when it is not."""
        page = self.page
        page.context.set_offline(True)
        # Chromium's offline switch spares running streams; the status polls end.
        expect(page.locator("#fault-word")).to_have_text("NO CONNECTION", timeout=5000)
        expect(page.locator("#live-mark")).to_be_hidden()
        self.shot("no-connection")
        page.context.set_offline(False)
        expect(page.locator("#live-mark")).to_be_visible(timeout=6000)

        def stall(route):
            reply = route.fetch()
            told = reply.json()
            told["run"]["source"].update(state="stalled", age_ms=4200)
            route.fulfill(response=reply, json=told)

        page.route("**/api/status", stall)
        expect(page.locator("#fault-word")).to_have_text("STALE", timeout=3000)
        self.shot("stale")
        page.unroute("**/api/status")
        expect(page.locator("#live-mark")).to_be_visible(timeout=3000)

    def touch(self):
        """A phone: tap, box by touch toggle, nothing wider than the screen."""
        page = self.page
        self.clear()
        page.locator("#freeze").tap()
        expect(page.locator("#frozen")).to_be_visible()
        spot = self.at(self.spot())
        page.locator("#frozen-canvas").tap(position=spot)
        self.wait_for_mask()
        page.locator("#negative").tap()
        page.locator("#frozen-canvas").tap(position={"x": spot["x"] + 50, "y": spot["y"]})
        self.wait_for_mask()
        self.shot("360-proposal")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"the page is {wide} wide on a screen of 360"
        small = page.evaluate(
            """[...document.querySelectorAll('button, select')].filter(e => e.offsetParent)
            .map(e => [e.id, e.getBoundingClientRect()]).filter(([, r]) => r.height < 40).map(([id]) => id)"""
        )
        assert not small, f"too small for a finger: {small}"
        page.locator("#accept").tap()
        expect(self.objects()).to_have_count(1, timeout=self.args.patience * 1000)
        page.wait_for_timeout(800)
        self.shot("360-tracking")
        self.shot("360-whole", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        self.clear()


@contextlib.contextmanager
def opened(browser, args, **context):
    context = browser.new_context(**context)
    drive = Drive(context.new_page(), args)
    drive.open()
    yield drive
    context.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8088")
    parser.add_argument("--token")
    parser.add_argument("--at", nargs=2, type=float, metavar=("X", "Y"))
    parser.add_argument("--patience", type=float, default=20, help="seconds to wait for the model")
    parser.add_argument("--shots", help="folder for screenshots")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    args = parser.parse_args()
    if args.shots:
        pathlib.Path(args.shots).mkdir(parents=True, exist_ok=True)
    faults = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        with opened(browser, args, viewport={"width": 1280, "height": 800}) as drive:
            drive.shot("1280-live")
            drive.mouse("1280")
            drive.keyboard()
            drive.record_and_more()
            drive.upload()
            faults += drive.faults
            drive.broken()
        with opened(browser, args, viewport={"width": 1920, "height": 1080}) as drive:
            drive.mouse("1920")
            faults += drive.faults
        phone = {"width": 360, "height": 740}
        with opened(browser, args, viewport=phone, has_touch=True, is_mobile=True, device_scale_factor=2) as drive:
            drive.touch()
            faults += drive.faults
        browser.close()
    if faults:
        sys.exit("the browser complained:\n" + "\n".join(faults))
    print("all done as a person would")


if __name__ == "__main__":
    main()
