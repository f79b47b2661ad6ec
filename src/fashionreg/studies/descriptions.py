"""What a regularizer is, read from its source: summary, text, arguments and paper of the docstring.

The source is parsed and never imported: a study's records may name any class, and reading them runs no code.
"""

import ast
import inspect
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Where the classes of this package are named, and where their files are.
PACKAGE = "fashionreg.regularizers."
FOLDER = Path(__file__).parents[1] / "regularizers"

#: A section of a docstring, and an argument in it; what follows is indented.
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Example|Examples|Note):$")
_ARGUMENT = re.compile(r"^(\w+): (.*)$")

#: A paper as docstrings cite it: `Ioffe and Szegedy 2015`, `Srivastava et al. (2014)`.
_PAPER = re.compile(r"\b([A-Z][\w'-]+(?: et al\.|(?:, [A-Z][\w'-]+)*,? and [A-Z][\w'-]+)?) \(?(\d{4})\b")


@dataclass(frozen=True)
class Argument:
    """An argument of a regularizer.

    Attributes:
        name: Its name.
        default: Its value if it is not given, as JSON; None where it must be given.
        text: What it means, and its range.
    """

    name: str
    default: str | None
    text: str


@dataclass(frozen=True)
class Description:
    """What the docstring of a regularizer says.

    Attributes:
        name: The class, without its module where it is one of this package.
        summary: What it does, in one sentence.
        text: The paragraphs after that: formula, remarks, limits.
        arguments: Its arguments.
        source: The papers that introduced it, `Zhang et al. 2018`; empty where none is cited.
    """

    name: str
    summary: str
    text: list[str]
    arguments: list[Argument]
    source: str


def class_name(class_path: str) -> str:
    """Return how a class is named where it may be written in a configuration: `Dropout`, `my_module.Noise`."""
    return class_path.removeprefix(PACKAGE) if class_path.startswith(PACKAGE) else class_path


@cache
def describe(class_path: str) -> Description:
    """Read what a regularizer is; empty texts where its source is not found in the package or the working folder."""
    module, _, name = class_path.rpartition(".")
    inside = class_path.startswith(PACKAGE)
    files = sorted(FOLDER.glob("*.py")) if inside else [Path(*module.split(".")).with_suffix(".py")]
    for file in (file for file in files if file.is_file()):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return _described(class_name(class_path), node, ast.get_docstring(tree) or "")
    return Description(class_name(class_path), "", [], [], "")


def _described(name: str, node: ast.ClassDef, about_module: str) -> Description:
    paragraphs, section, arguments = list[str](), "", dict[str, str]()
    for part in (ast.get_docstring(node) or "").split("\n\n"):
        lines = part.strip("\n").splitlines()
        if lines and (heading := _SECTION.match(lines[0])):
            section, lines = heading[1], lines[1:]
        if section == "Args":
            arguments |= _arguments(inspect.cleandoc("\n".join(["", *lines])))
        elif not section:
            paragraphs.append(_joined("\n".join(lines)))
    first, *text = paragraphs or [""]
    sentence = re.match(r".*?[.!](?=\s+[A-Z]|$)", first)
    summary = sentence[0] if sentence else first
    rest = first[len(summary) :].strip()
    papers = _papers(about_module) or _papers(" ".join(paragraphs))[:1]
    defaults = _defaults(node)
    known = [Argument(argument, defaults.get(argument), said) for argument, said in arguments.items()]
    return Description(name, summary, [*([rest] if rest else []), *text], known, ", ".join(papers))


def _arguments(text: str) -> dict[str, str]:
    """Return what a section on arguments says of each."""
    found, name = dict[str, str](), ""
    for line in text.splitlines():
        if argument := _ARGUMENT.match(line):
            name = argument[1]
            found[name] = argument[2]
        elif name:
            found[name] += f" {line.strip()}"
    return found


def _defaults(node: ast.ClassDef) -> dict[str, str]:
    """Return the default of each argument of a class's constructor that has a literal one."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            positional = [*part.args.posonlyargs, *part.args.args]
            pairs = [*zip(reversed(positional), reversed(part.args.defaults), strict=False)]
            pairs += [
                (one, value) for one, value in zip(part.args.kwonlyargs, part.args.kw_defaults, strict=True) if value
            ]
            return {one.arg: json.dumps(value.value) for one, value in pairs if isinstance(value, ast.Constant)}
    return {}


def _papers(text: str) -> list[str]:
    return list(dict.fromkeys(f"{names} {year}" for names, year in _PAPER.findall(_joined(text))))


def _joined(text: str) -> str:
    return " ".join(text.split())
