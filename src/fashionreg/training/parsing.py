"""What surrounds the parser of options: layers that are parsed at once, regularizers by name, errors in one line."""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from fashionreg.config import REGULARIZERS, Layer
from fashionreg.errors import UserError
from fashionreg.models.schedulers import options_of
from fashionreg.regularizers import Regularizer


class OptionParser(LightningArgumentParser):
    """Lightning's parser, for which learning rate schedulers have the options that `models.schedulers` says."""

    def add_class_arguments(self, class_type: type, *args: Any, **kwargs: Any) -> list[str]:
        """Add the options of a class, those of a scheduler that are this project's own in place of torch's."""
        own = options_of(class_type)
        kwargs["skip"] = {*(kwargs.get("skip") or ()), *own}
        added: list[str] = super().add_class_arguments(class_type, *args, **kwargs)
        for name, option in own.items():
            self.add_argument(f"--{name}", **{"default": None} | option)
        return added + list(own)


def joined(layers: Sequence[Layer]) -> list[Layer]:
    """Join neighbours that share no part of a configuration: the parser takes as long for one option as for all."""
    result: list[Layer] = []
    for layer in layers:
        parts = {str(name).partition(".")[0] for name in layer}
        if result and parts.isdisjoint(str(name).partition(".")[0] for name in result[-1]):
            result[-1] = result[-1] | layer
        else:
            result.append(layer)
    return result


def check_named(regularizers: Mapping[str, Any]) -> None:
    """Refuse regularizers whose class cannot be found, by name: the parser names the class of the model only.

    Raises:
        UserError: With the name of the regularizer.
    """
    for name, part in regularizers.items():
        where = f"{REGULARIZERS.rpartition('.')[2]}.{name}"
        path = part.get("class_path") if isinstance(part, dict) else part
        # as the parser does: a class that is imported needs no module before its name
        known = {cls.__name__ for cls in _subclasses(Regularizer)}
        there_are = f"there are {', '.join(sorted(known))}, and yours as module.Class"
        if not isinstance(path, str):
            raise UserError(f"{where}: names no class by class_path; {there_are}")
        module, _, last = path.rpartition(".")
        if not module and last not in known:
            raise UserError(f"{where}: there is no class {path}; {there_are}")
        if module:
            try:
                getattr(importlib.import_module(module), last)
            except (ImportError, AttributeError, ValueError) as error:
                raise UserError(f"{where}: {path} cannot be imported: {error}; {there_are}") from error


def _subclasses(cls: type[Regularizer]) -> Iterator[type[Regularizer]]:
    """Yield every class that derives from `cls` and is imported."""
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)


def in_one_line(error: Exception) -> str:
    """Return what an error of the parser or of Lightning says, in one line and without names of Python classes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    message = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(error))
    message = re.sub(r'Parser key "([^"]+)":', r"\1:", message)
    message = re.sub(r"Type typing\.Callable\[.*?\] expects a function or a callable class: ", "", message)
    # a class with all its arguments is shown for each level that it stands in: the innermost is the one at fault
    kinds = re.findall(r" value: Namespace\(class_path='(?:\w+\.)*(\w+)'", message)
    message = re.sub(
        r"(\. Got|Given) value: (Namespace\(|\{'(class_path|init_args)'|\[(Namespace|\{'class_path)).*", "", message
    )
    lines = [line.strip(" -") for line in message.splitlines()]
    # jsonargparse tells of each type that an option could have had, None among them
    noise = ("Does not validate against", "Subtypes:", "Errors:", "Given value type:", "Given value: NestedArg")
    lines = [line for line in lines if line and not line.startswith(noise) and line != "Expected a NoneType"]
    # the parser repeats a value for each type that it does not have
    text = (
        "; ".join(dict.fromkeys(lines))
        .replace("Given value: ", "got ")
        .replace("Expected a ", "expected ")
        .replace(":;", ":")
    )
    if kinds and kinds[0] not in text:
        text += f" ({kinds[0]})"
    if "is not accepted" in text:
        text += "; see --model.help or --data.help CLASS for the options of a class"
    return text if len(text) <= 1000 else f"{text[:800]} ... {text[-200:]}"
