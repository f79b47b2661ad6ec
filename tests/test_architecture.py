"""Imports point one way, and a command imports only what it needs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fashionreg"


def imports(path, code=None, top=False):
    """Modules that a file (or `code` in its place) imports, at its top or in a function, or only at its `top`."""
    tree = ast.parse(code or path.read_text())
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


#: Packages and loose modules from the bottom to the top: a file imports from its package and from those below it, but
#: not from another one on the same line.
LAYERS = [
    {"errors"},
    {"files", "palette"},
    {"yaml_files", "randomness"},
    {"config", "text"},
    {"regularizers"},
    {"data", "models"},
    {"runs"},
    {"callbacks"},
    {"training"},
    {"studies"},
    {"cli"},
    {"__main__"},
]
LAYER = {package: level for level, packages in enumerate(LAYERS) for package in packages}

#: Files that need neither torch nor Lightning: records are read, tested and shown where neither is installed.
NUMBERS_ONLY = ["errors", "files", "palette", "yaml_files", "config", "text", "cli"]
NUMBERS_ONLY += [f"runs/{name}" for name in ("record", "schema", "tables", "run")]
NUMBERS_ONLY += [
    f"studies/{name}"
    for name in (
        "commands",
        "statistics/__init__",
        "results",
        "elsewhere",
        "fits",
        "findings",
        "notes",
        "verdict",
        "methods",
        "plots/__init__",
        "page",
        "pictures",
        "sections",
        "report",
        "atlas",
        "study",
    )
]

#: The one file that may use private names of Lightning.
PRIVATE_NAMES = "training/loop.py"


def package_of(module):
    """The package or loose module that a dotted name of this package is in; None for fashionreg itself."""
    return [*module.split("."), None][1]


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_a_place_and_loose_ones_are_few():
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert found == {"__init__", *LAYER}
    assert len(list(PACKAGE.glob("*.py"))) <= 10


def upward(path, code=None):
    """The imports of a file that point up, or to a neighbour on the same level."""
    package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(path, code):
        other = package_of(module) if module.split(".")[0] == "fashionreg" else None
        if other in LAYER and other != package and LAYER[other] >= LAYER.get(package, 99):
            yield module


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    assert not list(upward(path))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("models/layers.py", "from fashionreg.runs import export"),
        ("text.py", "import fashionreg.cli"),
        ("regularizers/dropout.py", "from fashionreg.data import splits"),
        ("models/layers.py", "from fashionreg.data.images import CLASS_NAMES"),
        ("data/splits.py", "def f():\n    import fashionreg.models.layers"),
        ("yaml_files.py", "from fashionreg import randomness"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(file, line):
    path = PACKAGE / file
    assert list(upward(path, f"{path.read_text()}\n{line}\n"))


def test_imports_have_no_circle():
    arrows = {}
    for path in modules():
        name = ".".join(("fashionreg", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        # the package itself imports its parts at their first use only
        arrows[name] = set(imports(path)) - {name, "fashionreg"} if name != "fashionreg" else set()
    done = set()
    while ready := {name for name in arrows.keys() - done if not targets_left(arrows, name, done)}:
        done |= ready
    assert done == arrows.keys(), sorted(arrows.keys() - done)


def targets_left(arrows, name, done):
    return (arrows[name] & arrows.keys()) - done


@pytest.mark.parametrize("name", NUMBERS_ONLY)
def test_numbers_are_read_without_torch_and_lightning(name):
    """Followed through every import at the top of a file, as Python follows it."""
    seen, waiting = set(), [PACKAGE / f"{name}.py"]
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for module in imports(path, top=True):
            assert module.split(".")[0] not in ("torch", "lightning", "torchmetrics", "torchvision"), (path, module)
            inside = PACKAGE.joinpath(*module.split(".")[1:])
            found = [inside.with_suffix(".py"), inside / "__init__.py"] if module.startswith("fashionreg.") else []
            waiting += [each for each in found if each.is_file() and each not in seen]


def private_imports(tree):
    """Names with an underscore that a file imports from Lightning or jsonargparse."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("lightning", "jsonargparse")):
            for alias in node.names:
                if any(part.startswith("_") for part in [*node.module.split("."), alias.name]):
                    yield f"{node.module}.{alias.name}"


def private_attributes(tree):
    """Attributes with an underscore that a file reads or sets, each with the object that it belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            yield node.attr, ast.unparse(node.value)


def defined(tree):
    """Names that a file defines itself: functions, methods, and attributes that it sets of `self` or in a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


LOOP = ast.parse((PACKAGE / PRIVATE_NAMES).read_text())
#: The private attributes of Lightning that the one file uses: those that it does not define.
OF_LIGHTNING = {name for name, _ in private_attributes(LOOP)} - {*defined(LOOP)}


def private_names(path, code=None):
    """Private names of Lightning or jsonargparse that a file uses."""
    tree = ast.parse(code or path.read_text())
    yield from private_imports(tree)
    for name, owner in private_attributes(tree):
        # on any object those that the one file uses; on a trainer, a module or a loop all others too
        if (
            name in OF_LIGHTNING
            or name == "_trainer"
            or owner.split(".")[-1]
            in ("trainer", "pl_module", "lightning_module", "fit_loop", "epoch_loop", "val_loop", "_logger_connector")
        ):
            yield f"{owner}.{name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_of_lightning_stand_in_one_file(path):
    assert str(path.relative_to(PACKAGE)) == PRIVATE_NAMES or not list(private_names(path))


def test_private_names_of_lightning_are_found():
    for line in (
        "self._trainer",
        "trainer._loop()",
        "self.trainer._x = 1",
        "from lightning.pytorch._graveyard import x",
        "self._current_fx_name = None",
        "loop.automatic_optimization._skip_backward",
        "module._current_fx_name",
        "anything._logger_connector.on_batch_end()",
        "self._num_ready_batches_reached()",
    ):
        assert list(private_names(None, line)), line
    assert {"_current_fx_name", "_skip_backward", "_logger_connector", "_num_ready_batches_reached"} <= OF_LIGHTNING
    assert list(private_names(PACKAGE / PRIVATE_NAMES))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in ("data", "export", "study", "report", "atlas")),
        ["data", "subset", "--help"],
    ],
)
def test_help_imports_none_of_the_slow_libraries(arguments):
    slow = {"torch", "lightning", "pandas", "matplotlib", "torchvision", "numpy", "scipy", "sklearn"}
    code = f"import sys; from fashionreg.cli import main; main({arguments}); print(sorted({slow} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_fitting_does_not_import_what_only_reports_need():
    unused = "{'fashionreg.runs.figures', 'fashionreg.runs.prediction'}"
    code = f"import sys, fashionreg.training.fit; print({unused} & sys.modules.keys())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
