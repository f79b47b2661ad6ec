"""`fashionreg`: finds out which command is meant, and imports only what that command needs.

`fashionreg --help` must answer at once, and `import lightning` takes seconds: fit, validate, test and predict are
handed to `fashionreg.training.fit`, which is imported then and not before.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from fashionreg import __version__
from fashionreg.config import TRAINING_COMMANDS
from fashionreg.data import commands
from fashionreg.errors import UserError, printable
from fashionreg.runs import export
from fashionreg.studies import commands as study_commands

EXAMPLES = """\
examples:
  fashionreg fit --config configs/bn.yaml
  fashionreg fit --config configs/bn.yaml --seeds 10 --trainer.max_epochs 10
  fashionreg test --ckpt_path logs/bn/version_0/checkpoints/last.ckpt
  fashionreg predict --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --images shoe.png --out shoe.csv
  fashionreg export --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --out bn.onnx
  fashionreg study configs/studies/batch_norm.yaml
  fashionreg compare results.csv --reference plain --metric acc
  fashionreg data subset --size 6000 --seed 0 --out data/fmnist_small.csv
  tensorboard --logdir logs
"""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit with code 2."""
        self.exit(2, f"fashionreg: error: {printable(message)}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the commands that do not train; those that do are listed for `--help` only."""
    parser = Parser(
        prog="fashionreg",
        description="Which regularizer helps, with evidence: small networks on Fashion-MNIST.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fashionreg {__version__}")
    subparsers = parser.add_subparsers(metavar="command", required=True)
    for name, text in TRAINING_COMMANDS.items():
        subparsers.add_parser(name, help=text, add_help=False)
    commands.add_parser(subparsers)
    export.add_parser(subparsers)
    study_commands.add_parsers(subparsers)
    return parser


#: A request to end (`kill`, a scheduler) and a terminal that was closed; both end a command as Ctrl-C does.
STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt(signum: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, once: what a second signal interrupted would be the saving of what is finished."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def stopping_signals_interrupt() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP interrupt; a signal that is ignored (`nohup`) or handled already stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in STOPPING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def command() -> NoReturn:
    """Run the command of this process, and end the process with its exit code."""
    code = main()
    for number in (*STOPPING, signal.SIGINT):
        # nothing is left to interrupt; Python would otherwise end by the signal, not with this code
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The arguments after `fashionreg`; those of the process by default.

    Returns:
        The exit code: 0, 1 for what went wrong while running, 2 for arguments that cannot be understood.
    """
    _replace_closed_streams()
    try:
        try:
            with stopping_signals_interrupt():
                code = _run(list(sys.argv[1:] if args is None else args))
        except SystemExit as stop:  # argparse, after help or an error
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        # what is still in the buffer must not fail when the exit code is settled
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted")
    except BrokenPipeError:
        # the reader of our output (`| head`) has gone; nothing more can be said to it
        _discard_output()
        return 1
    except OSError as error:
        # a full disk, a path that is too long, a lost permission: the system says what, and mostly where
        where = f"{error.filename}: " if error.filename is not None else "standard output: " * _output_fails("\n")
        return _fail(printable(f"{where}{error.strerror or error}"))


def _run(arguments: list[str]) -> int:
    """Find out which command is meant and run it; errors stay exceptions."""
    for position, argument in enumerate(arguments, start=1):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            # an empty path would mean the working folder, an empty number nothing
            after = f" after {arguments[position - 2]}" if position > 1 and not argument else f": {argument}"
            return _fail(printable(f"argument {position} is empty{after}"), code=2)
        if "\0" in argument or any("\ud800" <= character <= "\udfff" for character in argument):
            # no configuration, record or table could hold it
            return _fail(printable(f"argument {position}: {argument}: must be UTF-8 without NUL"), code=2)
    try:
        here = os.getcwd()
    except OSError as error:
        raise UserError(f"the working folder: {error.strerror}; change to another folder") from error
    if here not in sys.path:
        # last, so that it hides nothing: configurations may name classes of modules in the working folder
        sys.path.append(here)
    if arguments and arguments[0] in TRAINING_COMMANDS:
        from fashionreg.training.fit import run_command

        return run_command(arguments)
    parser = build_parser()
    parsed, options = parser.parse_known_args(arguments)
    if options and not hasattr(parsed, "takes_options"):
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    parsed.options = options
    code: int = parsed.run(parsed)
    return code


def _fail(line: str, code: int = 1) -> int:
    """Say what is wrong on standard error, after all that was said before; returns the exit code."""
    _output_fails()
    print(f"fashionreg: error: {line}", file=sys.stderr)
    return code


def _output_fails(more: str = "") -> bool:
    """Whether what was printed cannot be written; it is discarded then.

    Args:
        more: What to print besides: an unbuffered stream (`PYTHONUNBUFFERED`) has nothing left of what failed.
    """
    try:
        print(more, end="", flush=True)
    except OSError:
        _discard_output()
        return True
    return False


def _discard_output() -> None:
    """Let what is still to be written to standard output vanish, so that the interpreter does not fail at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    """Open standard streams that the caller has closed (`>&-`) on the null device.

    Otherwise the next file that is opened gets the number of the closed stream, and what libraries print ends in it.
    """
    for number, (name, mode) in enumerate([("stdin", "r"), ("stdout", "w"), ("stderr", "w")]):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (open to the end)
