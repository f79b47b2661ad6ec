"""What `torch.load` would make of a checkpoint, found out without making it.

`weights_only=True` keeps a pickle from running code, not from taking all memory or time: an entry of the archive may be
compressed a thousandfold, `bytearray(10**10)` is one of the calls that it allows, and ten lists that each hold the one
before ten times are small in the file and endless to whoever walks them. Here the archive is read entry by entry and
the pickle operation by operation, and only what a checkpoint of a fit needs is allowed. It has a bounded size: as in
`fashionreg.yaml_files`, what is named several times counts as often.
"""

import io
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fashionreg.errors import MAX_DEPTH, shortened

#: Values of a checkpoint besides the elements of its tensors; a value takes about 100 bytes of memory.
MAX_VALUES = 10_000_000

#: The types of stored numbers that a tensor may have, and the bytes of a number.
_STORAGES = {
    **{f"torch {name}Storage": 1 for name in ("Bool", "Byte", "Char")},
    **{f"torch {name}Storage": 2 for name in ("Short", "Half", "BFloat16")},
    **{f"torch {name}Storage": 4 for name in ("Int", "Float")},
    **{f"torch {name}Storage": 8 for name in ("Long", "Double")},
}

#: What a pickle may call: the state of a module, the milestones of a scheduler, a tensor.
_ORDERED, _COUNTER, _TENSOR = "collections OrderedDict", "collections Counter", "torch._utils _rebuild_tensor_v2"

_PLAIN = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_EMPTY = {"EMPTY_DICT": "dict", "EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class ArchiveError(Exception):
    """A fault of an archive, as the end of a sentence."""


class ForeignError(ArchiveError):
    """The pickle asks for more than a checkpoint of a fit holds."""


@dataclass(slots=True, eq=False)
class _Made:
    """A value with parts that the pickle would make.

    Attributes:
        kind: `dict`, `list`, `tuple`, `storage`, or what is called to make it.
        parts: What it is made of, keys and values of a mapping in turn; plain values stand for themselves.
        values: How many values it holds, itself included.
        depth: How deep they are nested.
        complete: Whether it is part of another; nothing may be added then, so that nothing becomes part of itself.
    """

    kind: str
    parts: list[Any] = field(default_factory=list)
    values: int = 1
    depth: int = 1
    complete: bool = False

    def add(self, parts: list[Any], limit: int) -> "_Made":
        """Add parts, which are complete from now on."""
        made = [part for part in parts if isinstance(part, _Made)]
        for part in made:
            part.complete = True
        if self.complete:
            raise ForeignError("it holds a value within itself")
        self.parts += parts
        self.values += len(parts) + sum(part.values - 1 for part in made)
        self.depth = max([self.depth, *(part.depth + 1 for part in made)])
        if self.values > limit:
            raise ForeignError(f"it holds more than {limit:,} values")
        if self.depth > MAX_DEPTH:
            raise ForeignError(f"it is nested more than {MAX_DEPTH} levels deep")
        return self


@dataclass(frozen=True, slots=True)
class _Name:
    """A type or function that the pickle names: module and name with a space between them."""

    name: str


def checked_archive(content: bytes) -> io.BytesIO:
    """Return an archive for `torch.load` with the entries of another one that was checked.

    The entries are copied, so that torch's reader of archives cannot find others than the one here.

    Args:
        content: A zip archive as `torch.save` writes it, a comment at its end perhaps.

    Raises:
        ArchiveError: If it is damaged, an entry is compressed or its sum does not match, or its pickle would make more
            than a checkpoint of a fit holds.
    """
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(copy, "w") as checked:
            entries = archive.infolist()
            # torch finds an entry by its name in small letters
            if len({entry.filename.lower() for entry in entries}) != len(entries):
                raise ArchiveError("two of its entries have the same name")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                    raise ArchiveError(
                        f"its entry {shortened(entry.filename)} is compressed; torch.save compresses none"
                    )
            if sum(entry.file_size for entry in entries) > len(content):
                raise ArchiveError("its entries are larger than the file")
            if (damaged := archive.testzip()) is not None:
                raise ArchiveError(f"the checksum of {damaged} in it does not match")
            # torch looks for every entry in the folder of the first
            folder = entries[0].filename.partition("/")[0] if entries else ""
            sizes = {entry.filename.removeprefix(f"{folder}/"): entry.file_size for entry in entries}
            if "data.pkl" not in sizes:
                raise ArchiveError("it has no data.pkl")
            _check_pickle(archive.read(f"{folder}/data.pkl"), sizes)
            for entry in entries:
                checked.writestr(entry.filename, archive.read(entry))
    except ArchiveError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise ArchiveError(str(error) or type(error).__name__) from error
    copy.seek(0)
    return copy


def _check_pickle(pickle: bytes, sizes: Mapping[str, int]) -> None:
    """Go through the operations of a pickle as `torch.load` would, with the sizes of values in place of values.

    Args:
        pickle: `data.pkl` of the archive.
        sizes: The sizes of the archive's entries in bytes.

    Raises:
        ForeignError: If it asks for what no checkpoint of a fit holds.
        Exception: Of any other kind if it is damaged.
    """
    # written out, a value takes a byte or more
    limit = min(len(pickle), MAX_VALUES)
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def popped(count: int) -> list[Any]:
        parts = stack[count:]
        del stack[count:]
        return parts

    for operation, argument, _ in pickletools.genops(pickle):
        name = operation.name
        if name in _PLAIN:
            stack.append(argument)  # None for true and false, whose operations have no argument
        elif name in _EMPTY:
            stack.append(_Made(_EMPTY[name]))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(_Made("tuple").add(popped(marks.pop()), limit))
        elif name in _TUPLES:
            stack.append(_Made("tuple").add(popped(-_TUPLES[name]), limit))
        elif name in ("APPEND", "APPENDS"):
            parts = popped(-1 if name == "APPEND" else marks.pop())
            _target(stack, "list").add(parts, limit)
        elif name in ("SETITEM", "SETITEMS"):
            parts = popped(-2 if name == "SETITEM" else marks.pop())
            # to find its place, all that is in a key is read
            if any(not isinstance(key, str | int | float | None) for key in parts[::2]):
                raise ForeignError("it has a key that is neither text nor a number")
            _target(stack, "dict", _ORDERED).add(parts, limit)
        elif name == "GLOBAL":
            named = str(argument)
            if named not in (_ORDERED, _COUNTER, _TENSOR) and named not in _STORAGES:
                raise ForeignError(f"it asks to run {shortened(named.replace(' ', '.'))}")
            stack.append(_Name(named))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), sizes))
        elif name == "REDUCE":
            called, arguments = popped(-2)
            stack.append(_called(called.name, arguments, limit))
        elif name == "BUILD":
            state = stack.pop()
            # what a state dict knows of the versions of modules; any other name could hide a method
            if state.kind != "dict" or set(state.parts[::2]) != {"_metadata"}:
                raise ForeignError("it sets an attribute")
            _target(stack, _ORDERED).add([state], limit)
        elif name not in ("PROTO", "STOP"):
            raise ForeignError("it holds more than tensors and plain data")


def _target(stack: list[Any], *kinds: str) -> _Made:
    """Return what is on top of the stack, to which something is added."""
    target = stack[-1]
    if not isinstance(target, _Made) or target.kind not in kinds:
        raise ForeignError(f"it adds to what is no {kinds[0]}")
    return target


def _storage(reference: _Made, sizes: Mapping[str, int]) -> _Made:
    """Return the numbers of a tensor that a pickle refers to, which are an entry of the archive."""
    kind, numbers, key, location, count = reference.parts
    if kind != "storage" or not isinstance(key, str) or not isinstance(location, str) or type(count) is not int:
        raise ForeignError("it refers to what is no storage")
    if sizes.get(f"data/{key}") != count * _STORAGES[numbers.name]:
        raise ForeignError(f"the entry data/{shortened(key)} has not the size that it says")
    return _Made("storage", complete=True)


def _called(name: str, arguments: _Made, limit: int) -> _Made:
    """Return what a call makes, if it is one of the calls in a checkpoint of a fit."""
    kinds = [part.kind if isinstance(part, _Made) else type(part).__name__ for part in arguments.parts]
    known = {
        _ORDERED: [],
        _COUNTER: ["dict"],
        _TENSOR: ["storage", "int", "tuple", "tuple", "NoneType", _ORDERED],
    }
    if arguments.kind != "tuple" or kinds != known.get(name):
        raise ForeignError(f"it calls {name.replace(' ', '.')} as torch.save does not")
    return _Made(name).add([arguments], limit)
