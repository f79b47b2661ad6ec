"""`fashionreg`: finds out which command is meant, and imports only what that command needs.

`fashionreg --help` must answer at once, and `import lightning` takes seconds: fit, validate, test and predict are
handed to `fashionreg.launch`, which is imported then and not before.
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

from fashionreg import TRAINING_COMMANDS, __version__, export
from fashionreg.data import commands
from fashionreg.errors import UserError
from fashionreg.study import commands as study_commands

EXAMPLES = """\
examples:
  fashionreg fit --config configs/bn.yaml
  fashionreg fit --config configs/bn.yaml --seeds 10 --trainer.max_epochs 10
  fashionreg test --ckpt_path logs/bn/version_0/checkpoints/last.ckpt
  fashionreg predict --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --images shoe.png --out shoe.csv
  fashionreg export --ckpt_path logs/bn/version_0/checkpoints/last.ckpt --out bn.onnx
  fashionreg study configs/studies/batch_norm.yaml
  fashionreg data subset --size 6000 --seed 0 --out data/fmnist_small.csv
  tensorboard --logdir logs
"""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exit with code 2."""
        self.exit(2, f"fashionreg: error: {message}; see {self.prog} --help\n")


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
        args: The words after `fashionreg`; those of the process by default.

    Returns:
        The exit code: 0, 1 for what went wrong while running, 2 for words that cannot be understood.
    """
    words = list(sys.argv[1:] if args is None else args)
    if (here := os.getcwd()) not in sys.path:
        # last, so that it hides nothing: configurations may name classes of modules in the working folder
        sys.path.append(here)
    try:
        with stopping_signals_interrupt():
            if words and words[0] in TRAINING_COMMANDS:
                from fashionreg.launch import run

                return run(words)
            parser = build_parser()
            arguments, options = parser.parse_known_args(words)
            if options and not hasattr(arguments, "takes_options"):
                parser.error(f"unrecognized arguments: {' '.join(options)}")
            arguments.options = options
            code: int = arguments.run(arguments)
            return code
    except UserError as error:
        print(f"fashionreg: error: {error}", file=sys.stderr)
        return 1
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        print("fashionreg: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # the reader of our output (`| head`) has gone; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # disks fill and permissions go while libraries write, too
        where = f"{error.filename}: " if error.filename else ""
        print(f"fashionreg: error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
