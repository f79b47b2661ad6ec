"""Headless Chromium looks at a page and says what it finds there."""

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and there is none")

#: The page in a frame of the wanted width; what `look` finds in it is written into the page that Chromium prints.
PROBE = """<!DOCTYPE html><html><head><meta name="color-scheme" content="{scheme}">
<link rel="icon" href="data:,"></head><body style="margin:0">
<iframe id="frame" src="{page}" style="width:{width}px;height:900px;border:0;color-scheme:{scheme}"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("frame").addEventListener("load", () => setTimeout(() => {{
  const view = document.getElementById("frame").contentWindow, page = view.document.documentElement;
  const pictures = [...view.document.images].map(image => image.naturalWidth);
  const dark = view.matchMedia("(prefers-color-scheme: dark)").matches;
  const colours = [view.document.body].map(body => view.getComputedStyle(body).backgroundColor);
  const found = {{width: view.innerWidth, page_width: page.scrollWidth, pictures, dark, background: colours[0],
    text: view.document.body.innerText, requests: view.performance.getEntriesByType("resource").map(e => e.name)}};
  document.getElementById("found").textContent = JSON.stringify(found);
}}, 500));
</script></body></html>"""


def look(folder, page, *, width, dark):
    """What a browser finds in `folder/page` at a width in pixels: its own width, that of its pictures, text, errors."""
    probe = Path(folder) / "_probe.html"
    scheme = "dark" if dark else "light"
    probe.write_text(PROBE.format(page=page, width=width, scheme=scheme))
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{probe.name}"
        printed = chromium(profile, "--dump-dom", f"--window-size={max(width, 500) + 40},1000", address)
        server.shutdown()
    probe.unlink()
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', printed.stdout, flags=re.DOTALL)[1]))
    errors = [line for line in printed.stderr.splitlines() if ":CONSOLE" in line]
    return found | {"errors": errors}


def chromium(profile, *words, seconds=20):
    """Run Chromium without a window until `seconds` of the page's own time are over."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    options += ["--disable-background-networking", "--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}"]
    options += [f"--virtual-time-budget={1000 * seconds}"]
    command = [CHROMIUM, *options, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
