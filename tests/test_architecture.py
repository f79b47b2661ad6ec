"""Imports point one way, and a command imports only what it needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fashionreg"


def imports(path):
    """Modules that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


#: What is left behind is read, tested and shown where neither torch nor Lightning is installed.
NUMBERS_ONLY = [
    "torch",
    "lightning",
    "fashionreg.data",
    "fashionreg.models",
    "fashionreg.callbacks",
    "fashionreg.training",
    "fashionreg.launch",
    "fashionreg.study.plan",
    "fashionreg.study.execute",
]

FORBIDDEN = {
    "data": [
        "fashionreg.models",
        "fashionreg.callbacks",
        "fashionreg.study",
        "fashionreg.cli",
        "fashionreg.training",
        "fashionreg.launch",
    ],
    "models": [
        "fashionreg.data",
        "fashionreg.callbacks",
        "fashionreg.study",
        "fashionreg.cli",
        "fashionreg.training",
        "fashionreg.launch",
    ],
    "callbacks": ["fashionreg.cli", "fashionreg.training", "fashionreg.launch"],
    "study/records.py": [
        "torch",
        "pandas",  # a fit writes records, and reads none
        "lightning",
        "fashionreg.data",
        "fashionreg.models",
        "fashionreg.training",
        "fashionreg.launch",
    ],
    "figures.py": ["fashionreg.models", "fashionreg.callbacks", "fashionreg.training", "lightning"],
    "errors.py": ["fashionreg"],
    "checkpoint.py": [
        "fashionreg.models",
        "fashionreg.data",
        "fashionreg.callbacks",
        "fashionreg.study",
        "fashionreg.training",
        "fashionreg.launch",
        "fashionreg.runs",
    ],
    **{
        f"study/{name}.py": NUMBERS_ONLY
        for name in (
            *("schema", "tables", "statistics", "results", "findings", "verdict", "methods", "plots", "page", "report"),
        )
    },
    "files.py": ["torch", "fashionreg.data", "fashionreg.models"],
    "yaml_files.py": ["torch", "lightning", "fashionreg.configs", "fashionreg.study"],
    "configs.py": ["torch", "lightning", "fashionreg.training", "fashionreg.launch"],
}


@pytest.mark.parametrize("place", FORBIDDEN)
def test_imports_point_one_way(place):
    where = PACKAGE / place
    files = [where] if where.is_file() else list(where.glob("*.py"))
    assert files
    for path in files:
        for module in imports(path):
            for forbidden in FORBIDDEN[place]:
                assert not f"{module}.".startswith(f"{forbidden}."), f"{path.name} imports {module}"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        *([*command, "--help"] for command in (["data"], ["data", "subset"], ["export"], ["study"], ["report"])),
    ],
)
def test_help_imports_none_of_the_slow_libraries(words):
    slow = {"torch", "lightning", "pandas", "matplotlib", "torchvision", "numpy", "scipy", "sklearn"}
    code = f"import sys; from fashionreg.cli import main; main({words}); print(sorted({slow} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_fitting_does_not_import_what_only_reports_need():
    code = "import sys, fashionreg.launch; print({'fashionreg.figures', 'fashionreg.prediction'} & sys.modules.keys())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
