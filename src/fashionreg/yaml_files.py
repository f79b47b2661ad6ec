"""The one reader of YAML: whatever a file holds, it becomes plain data or one line that says what is wrong and where.

YAML can say more than a configuration needs, and some of it never ends: an alias within what it names, ten aliases of
ten aliases, a thousand nested lists. Limits on size, depth and the number of values, counted as they are after every
alias is replaced by what it names, keep reading fast and everything that walks the result safe.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from fashionreg.errors import LARGEST_NUMBER, MAX_DEPTH, UserError, shortened
from fashionreg.files import read_text

#: Limits of a file besides its depth: bytes, values (aliases replaced by what they name), characters of a number. The
#: configuration of a run has 3 kB, 150 values, 6 levels.
MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DIGITS = 100

_NUMBERS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


class LimitsError(ConstructorError):
    """YAML that has no end, or more values or levels than the limits of this module."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(None, None, problem, mark)


class PlainLoader(yaml.SafeLoader):
    """Loads YAML of bounded size without endless aliases, keys that appear twice, and NaN.

    Every fault is a `yaml.YAMLError`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0
        # of every node that is complete: the number of its values, and how deep they are nested
        self._sizes: dict[Node, tuple[int, int]] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose a node, and count what it holds."""
        event, before = self.peek_event(), self._values  # type: ignore[no-untyped-call]
        self._values += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        assert node is not None
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise LimitsError(f"alias {event.anchor} is part of what it names", event.start_mark)
            values, height = self._sizes[node]
            self._values = before + values
        else:
            height = 1 + max((self._sizes[child][1] for child in _children(node)), default=0)
            self._sizes[node] = self._values - before, height
        if self._depth + height - 1 > MAX_DEPTH:
            raise LimitsError(f"is nested more than {MAX_DEPTH} levels deep", event.start_mark)
        self._depth -= 1
        if self._values > MAX_VALUES:
            raise LimitsError(f"holds more than {MAX_VALUES:,} values", event.start_mark)
        return node

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Stop before the depth of the file becomes that of Python's stack."""
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise LimitsError(f"is nested more than {MAX_DEPTH} levels deep", mark)
        super().descend_resolver(current_node, current_index)

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Compose a mapping in which every key appears once."""
        node: MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if key.value in seen:
                    raise ConstructorError(None, None, f"{shortened(key.value)} appears twice", key.start_mark)
                seen.add(key.value)
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Make plain data of a node."""
        if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
            raise ConstructorError(None, None, f"a number of {len(node.value)} characters", node.start_mark)
        try:
            value = super().construct_object(node, deep=deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            what = node.tag.rpartition(":")[2]
            message = f"{shortened(node.value)} cannot be read as {what}; put it in quotes if it is text"
            raise ConstructorError(None, None, message, node.start_mark) from None
        if isinstance(value, float) and value != value:
            raise ConstructorError(None, None, ".nan is not a number; there is no option for it", node.start_mark)
        if isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            raise ConstructorError(None, None, f"the number {node.value} is too large", node.start_mark)
        return value


# 1e-4 is a number in YAML 1.2, and to the parser of a run's options; YAML 1.1 asks for 1.0e-4
PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return [] if isinstance(node, ScalarNode) else node.value


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """Read a file that holds a mapping from names to plain data; an empty file is an empty mapping.

    Args:
        path: The file.
        kind: What it is, for errors: `configuration file`, `study file`.

    Raises:
        UserError: As `read_text` and `parse_yaml`.
    """
    return parse_yaml(read_text(path, kind, MAX_BYTES), shortened(path, 300))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse YAML that holds a mapping from names to plain data; empty text is an empty mapping.

    Args:
        text: The YAML.
        where: Where it stands, for errors.

    Raises:
        UserError: With the line, if it is not YAML, says more than plain data, has a key that appears twice, an alias
            within what it names, a number that is NaN or beyond 64 bits, no mapping or a name that is not text at the
            top, or exceeds the limits of this module.
    """
    content = parse_value(text, where)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{where}: must hold a mapping (key: value), found a {type(content).__name__}")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{where}: {key!r}: must be a name (put it in quotes?)")
    return content


def parse_value(text: str, where: str) -> Any:
    """Parse YAML that holds plain data of any kind.

    Raises:
        UserError: As `parse_yaml`, but for what stands at the top.
    """
    # of UTF-8 text, at most one byte too lenient for each character that needs several
    if len(text) > MAX_BYTES:
        raise UserError(f"{where}: is larger than {MAX_BYTES:,} bytes; a configuration cannot be that large")
    try:
        return yaml.load(text, PlainLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: {_fault(error, text)}") from None


def check_limits(text: str, where: str) -> None:
    """Refuse text that, read as YAML, has no end or exceeds the limits of this module.

    For a value that another reader makes something of; whether it is YAML at all is left to that reader.

    Raises:
        UserError: If it does.
    """
    try:
        yaml.compose(text, PlainLoader)
    except LimitsError as error:
        raise UserError(f"{where}: {error.problem}, got {shortened(text)}") from None
    except yaml.YAMLError:
        pass


def _fault(error: yaml.YAMLError, text: str) -> str:
    """What is wrong with YAML, and in which line, on one line."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"line {line}: is not valid YAML: character #x{ord(text[error.position]):02x} is not allowed"
    mark = getattr(error, "problem_mark", None)
    line_number = f"line {mark.line + 1}: " if mark else ""
    problem = str(getattr(error, "problem", None) or error)
    if problem.startswith(("but ", "second ")):  # the first half of the sentence is the context
        problem = f"{getattr(error, 'context', '')}, {problem}"
    problem = " ".join(problem.split())
    return f"{line_number}is not valid YAML: {problem}" + (
        "; indent with spaces" if "character '\\t'" in problem else ""
    )
