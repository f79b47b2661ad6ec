"""Makes the pictures and the kept studies of README and docs with the project's own commands.

    python docs/make_pictures.py            # everything: ten minutes on two cores
    python docs/make_pictures.py pictures   # only the pictures, from the records that docs/studies holds
    python docs/make_pictures.py tensorboard

Run it from the checkout, where Fashion-MNIST is at hand (see `fashionreg data fetch`). The pictures of TensorBoard need
Chromium, and are left as they are where there is none.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from browser import ALL_TEXT, CHROMIUM, Browser

import fashionreg as fr
from fashionreg.cli import main
from fashionreg.data.location import data_root
from fashionreg.studies.findings import find
from fashionreg.studies.results import read_results
from fashionreg.text import POINTS, p_cell

DOCS = Path(__file__).parent.absolute()
STUDIES = ("batch_norm", "batch_norm_tuned", "lecture7")

#: What is kept of a study and its runs: the records, not the events and checkpoints.
KEPT = ("study.json", "looks.json", "record.csv", "record.json", "drift.csv", "correct.npy")


def fashionreg(*words: str) -> None:
    """Run a command; stop where it fails."""
    print("$ fashionreg", *words)
    if main(list(words)):
        raise SystemExit(1)


def keep(study: Path, place: Path) -> None:
    """Copy a finished study's plan and records to `place`, in place of what is there."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for file in (file for name in KEPT for file in study.rglob(name)):
        target = place / file.relative_to(study)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


@contextlib.contextmanager
def tensorboard(logs: Path) -> Iterator[str]:
    """A TensorBoard server on `logs`; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--host", "127.0.0.1"]
    with subprocess.Popen([*serve, "--port", str(port)], stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()


def open_when_there(browser: Browser, address: str) -> None:
    """Open a page of a server that may still be starting."""
    for _ in range(60):
        with contextlib.suppress(RuntimeError):
            # what differs after the # alone is not loaded again
            browser.open("about:blank")
            browser.open(address)
            # what ended may be the loading of the blank page: the other one follows, later where the machine is busy
            if browser.wait_for("location.protocol == 'http:'", seconds=1):
                return
        browser.wait_for("false", seconds=1)
    raise RuntimeError(f"{address}: nobody answers")


def shows(browser: Browser, *texts: str) -> bool:
    """Whether the page comes to show all of these texts."""
    wanted = " && ".join(f"text.includes({text!r})" for text in texts)
    return bool(browser.wait_for(f"(text => {wanted})({ALL_TEXT})", seconds=20))


def open_view(browser: Browser, address: str, *texts: str) -> None:
    """Open a view of TensorBoard that shows these texts.

    A view keeps what the server had read when it was opened. Open it again, as a user would, where a text is missing.
    """
    for _ in range(5):
        open_when_there(browser, address)
        if shows(browser, *texts):
            return
    page = browser.ask(ALL_TEXT)
    raise SystemExit(f"{address} does not show {[text for text in texts if text not in page]}")


#: For each picture the part of TensorBoard that it shows, and texts that are there when it is drawn.
VIEWS = {
    "tensorboard": ("?darkMode=false&smoothing=0&tagFilter=%5Etest%2Facc%24#timeseries", ("test/acc", "bn/version_0")),
    "tensorboard_images": ("?darkMode=false#images", ("confusion_matrix", "worst_mistakes")),
    "tensorboard_hparams": ("?darkMode=false#hparams", ("optimizer/weight_decay", "bn/version_0")),
}


def photograph_tensorboard(logs: Path, folder: Path) -> None:
    """Write one picture of each view on a finished study into `folder`."""
    if CHROMIUM is None:
        print("no Chromium here: the pictures of TensorBoard stay as they are")
        return
    with tensorboard(logs) as address, Browser(1280, 720) as browser:
        photograph_views(browser, address, folder)


def photograph_views(browser: Browser, address: str, folder: Path, *names: str) -> None:
    """Write one picture of each view of a TensorBoard into `folder`; each must show its texts and these names."""
    for name, (view, texts) in VIEWS.items():
        open_view(browser, address + view, *texts, *names)
        photograph_when_still(browser, folder / f"{name}.png")


def photograph_when_still(browser: Browser, image: Path) -> None:
    """Write the first picture that is like the one of a second before: charts are drawn after their texts are there."""
    before = None
    for _ in range(20):
        browser.photograph(image)
        if before == (before := image.read_bytes()):
            return
        browser.wait_for("false", seconds=1)
    raise RuntimeError(f"{image.stem}: the page still changes after 20 seconds")


#: Languages of fenced code, by the suffix of a file.
LANGUAGES = {".py": "python", ".yaml": "yaml"}


def quoted(page: Path) -> str:
    """A page with what it quotes brought up to date.

    Text between `<!-- from FILE -->` and `<!-- end -->` is replaced by the file, as code or as Markdown. A part of the
    file is named after a colon: `SECTION` of a Markdown file, `SECTION[N]` for its first N lines, `rows A; B` for the
    rows of the benchmark's table with these first cells, `results` of a folder of studies for the table of what they
    found.
    """

    def quote(match: re.Match[str]) -> str:
        source, part = page.parent / match["file"], match["part"]
        text = results_table(source) if part == "results" else source.read_text(encoding="utf-8").strip()
        if source.suffix in LANGUAGES:
            text = f"```{LANGUAGES[source.suffix]}\n{text}\n```"
        elif part and part.startswith("rows "):
            text = rows(text, part.removeprefix("rows ").split("; "))
        elif part and part != "results":
            title, _, count = part.rstrip("]").partition("[")
            text = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)[1].strip()
            text = "\n".join(text.splitlines()[: int(count) if count else None])
        return f"{match['begin']}\n{text}\n{match['end']}"

    pattern = r"(?P<begin><!-- from (?P<file>\S+?)(: (?P<part>.+?))? -->)\n.*?(?P<end><!-- end -->)"
    return re.sub(pattern, quote, page.read_text(encoding="utf-8"), flags=re.DOTALL)


def rows(text: str, names: list[str]) -> str:
    """Head and named rows of the first table of the benchmark, with its date, machine and number of repeats."""
    table = text.partition("\n\n")[0].splitlines()
    chosen = {line.split("|")[1].strip(): line for line in table[2:]}
    circumstances = text.splitlines()[-1].split("; ")
    repeats = next(part for part in circumstances if part.startswith("repeats"))
    return "\n".join([*table[:2], *(chosen[name] for name in names), "", f"{'; '.join(circumstances[:2])}; {repeats}."])


def results_table(studies: Path) -> str:
    """A row for each variant of the kept studies, and a line with what they ran on."""
    lines = ["| study | variant | seeds | test accuracy | difference, 95% simultaneous interval | adjusted p | gap |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    made_with = set()
    for name in STUDIES:
        found = find(read_results(studies / name))
        for variant in found.variants:
            final, gap = variant.final["test/acc"], variant.final["gap"]
            against, p = "reference", ""
            if (one := found.compared["acc"].get(variant.name)) is not None:
                unit = replace(POINTS, decimals=1)
                against, p = unit.with_interval(one.difference.mean, *one.simultaneous), p_cell(one.t_p_holm)
            cells = [name, variant.name, final.n, f"{100 * final.mean:.1f} ± {100 * final.std:.1f}%", against, p]
            lines.append(f"| {' | '.join(map(str, cells))} | {100 * gap.mean:.1f} |")
        for run in found.results.runs:
            made_with.add(f"{run.machine['system']} {run.machine['processor']}, {run.device}, {run.threads} threads")
    return "\n".join([*lines, "", f"{'; '.join(sorted(made_with))}."])


def make(what: str) -> None:
    """Make everything, or only what is named."""
    images = DOCS / "images"
    images.mkdir(exist_ok=True)
    if what in ("everything", "pictures"):
        fashionreg("data", "show", "--out", str(images / "garments.png"), "--force")
        fashionreg("data", "show", "--synthetic", "--out", str(images / "synthetic.png"), "--force")
    if what in ("everything", "tensorboard"):
        # a folder of its own, so that neither numbers nor pictures depend on what `logs` holds already
        os.environ["FASHIONREG_DATA"] = str(data_root().absolute())
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            shutil.copytree(DOCS.parent / "configs", "configs")
            studies = STUDIES if what == "everything" else STUDIES[:1]
            if "lecture7" in studies:
                fashionreg("data", "subset", "--size", "6000", "--seed", "0", "--out", "data/fmnist_small.csv")
            for name in studies:
                print(fr.study(f"configs/studies/{name}.yaml", seeds=10).verdict())
                if what == "everything":
                    keep(Path("logs/studies", name), DOCS / "studies" / name)
            photograph_tensorboard(Path("logs/studies/batch_norm"), images)
    if what != "tensorboard":
        for name in STUDIES:
            fashionreg("report", str(DOCS / "studies" / name))
        for page in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
            page.write_text(quoted(page), encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else "everything")
