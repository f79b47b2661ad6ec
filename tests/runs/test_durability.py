"""Nothing that is finished is lost: full disks, lost permission, damaged files, and signals at any moment."""

import builtins
import errno
import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fashionreg as fr
from fashionreg.errors import UserError
from fashionreg.files import remove_orphans, whole_file
from fashionreg.runs.checkpoint import WholeCheckpointIO, whole_bytes, with_checksum
from forked import end, start_and_wait
from samples import LAST, files, message

OLD = Path(__file__).parents[1] / "fixtures" / "version_0_1" / LAST
SMOKE = Path(__file__).parents[2] / "configs" / "studies" / "smoke.yaml"

# ------------------------------------------------------------------------------------------------ full disks

#: What a file system answers on a full disk, over a quota, when it has become read-only, and without permission.
FAULTS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES]


class FullFile(io.FileIO):
    """A file for which the disk has room for some bytes and no more."""

    def __init__(self, path, number, room):
        super().__init__(path, "ab")
        self.number, self.room = number, room

    def write(self, data):
        if self.room <= 0:
            raise OSError(self.number, os.strerror(self.number))
        taken = super().write(data[: self.room])
        self.room -= taken
        return taken


@pytest.fixture
def break_disk():
    """Make calls fail, for paths with `word` in them, from the nth on; `write` fails after `room` bytes."""

    def break_disk(call, number, word="", nth=1, room=100):
        counter = itertools.count(1)

        def fails(path):
            return word in str(path) and next(counter) >= nth

        def opened(path, mode="r", *args, **kwargs):
            if set(mode) & set("wxa") and fails(path):
                if call == "write":
                    return io.BufferedWriter(FullFile(path, number, room))
                raise OSError(number, os.strerror(number), str(path))
            return open_file(path, mode, *args, **kwargs)

        def called(path, *args, **kwargs):
            if fails(path):
                raise OSError(number, os.strerror(number), str(path))
            return function(path, *args, **kwargs)

        if call in ("open", "write"):
            open_file = io.open
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
        else:
            function = getattr(os, call)
            patch.setattr(os, call, called)

    with pytest.MonkeyPatch.context() as patch:
        break_disk.mend = patch.undo
        yield break_disk


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "replace"])
def test_after_a_failed_write_everything_is_as_it_was(call, number, break_disk, tmp_path):
    (tmp_path / "file").write_text("old")
    before = files(tmp_path)
    path = tmp_path / "new" / "file" if call == "mkdir" else tmp_path / "file"
    break_disk(call, number)
    with pytest.raises(UserError) as error, whole_file(path) as file:
        file.write(b"new" * 1000)
    assert message(error) == f"{path}: cannot be written: {os.strerror(number)}"
    assert files(tmp_path) == before


def test_a_file_system_that_becomes_read_only_does_not_hide_the_reason(break_disk, tmp_path):
    break_disk("write", errno.ENOSPC)
    break_disk("unlink", errno.EROFS)
    with pytest.raises(UserError, match="No space left on device"), whole_file(tmp_path / "file") as file:
        file.write(b"new" * 1000)


def test_a_written_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (order.append(name), real(*args)))
    with whole_file(tmp_path / "file") as file:
        file.write(b"new")
    # the content, the name, the folder that holds the name
    assert order == ["fsync", "replace", "fsync"]


#: Which file, which call and which of the calls fail, and how many epochs a checkpoint then holds.
FIT_FAULTS = [
    ("config.yaml", "open", 1, errno.EROFS, 0),
    ("hparams.yaml", "open", 1, errno.EACCES, 0),
    ("last.ckpt", "write", 1, errno.ENOSPC, 0),
    ("last.ckpt", "write", 3, errno.ENOSPC, 2),
    ("last.ckpt", "replace", 2, errno.EACCES, 1),
    ("last.ckpt", "open", 2, errno.EDQUOT, 1),
    ("correct.npy", "write", 1, errno.ENOSPC, 3),
    ("record.csv", "write", 1, errno.ENOSPC, 3),
    ("record.json", "replace", 1, errno.EDQUOT, 3),
]


@pytest.mark.parametrize(("name", "call", "nth", "number", "kept"), FIT_FAULTS)
def test_a_fit_that_cannot_write_says_which_file_and_keeps_what_is_finished(
    name, call, nth, number, kept, break_disk, refusal
):
    break_disk(call, number, name, nth)
    code, line = refusal("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 3)
    assert code == 1
    assert f"{name}: cannot be written: {os.strerror(number)}" in line
    if not kept and name != "last.ckpt":
        assert not files("logs")
        return
    if not kept:
        # the first epoch is finished, though there is no checkpoint of it
        assert fr.Run.load("logs/tiny/version_0").history.epoch.max() == 1
        assert not list(Path("logs").rglob("*.tmp"))
        return
    assert line.endswith(f"; go on with: fashionreg fit --ckpt_path {LAST}")
    assert torch.load(io.BytesIO(whole_bytes(Path(LAST))), weights_only=True)["epoch"] == kept - 1
    assert not list(Path("logs").rglob("*.tmp"))
    if not name.startswith(("record", "correct")):
        # the epoch whose checkpoint could not be written is finished as well
        assert pd.read_csv("logs/tiny/version_0/record.csv").epoch.max() == kept + 1
        assert json.loads(Path("logs/tiny/version_0/record.json").read_text())["status"] == "failed"


def test_a_disk_that_stays_full_ends_a_fit_with_one_line(break_disk, refusal):
    break_disk("write", errno.ENOSPC, ".tmp", nth=4)
    _, line = refusal("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 5)
    assert "last.ckpt: cannot be written: No space left on device; go on with" in line
    assert whole_bytes(Path(LAST))


@pytest.mark.parametrize(("name", "nth"), [("last.ckpt", 3), ("correct.npy", 1), ("record.csv", 1), ("record.json", 1)])
def test_a_resumed_fit_goes_on_after_a_full_disk_as_if_there_had_been_none(name, nth, break_disk, refusal, run):
    break_disk("write", errno.ENOSPC, name, nth)
    words = refusal("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 4)[1].split("go on with: fashionreg ")[1]
    break_disk.mend()
    code, _, err = run(*words.split())
    assert code == 0, err
    assert run("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 4, "--name", "whole")[0] == 0
    records = [Path(f"logs/{name}/record.csv").read_text() for name in ("tiny/version_1", "whole/version_0")]
    assert records[0] == records[1]
    answers = [Path(f"logs/{name}/correct.npy").read_bytes() for name in ("tiny/version_1", "whole/version_0")]
    assert answers[0] == answers[1]
    assert json.loads(Path("logs/tiny/version_1/record.json").read_text())["status"] == "finished"


def test_the_curves_of_a_fit_without_checkpoints_stay_where_its_record_cannot_be_written(break_disk, refusal):
    break_disk("write", errno.ENOSPC, "record.csv")
    _, line = refusal("fit", "--config", "tiny.yaml", "--trainer.enable_checkpointing", "false")
    assert line.endswith("record.csv: cannot be written: No space left on device")
    assert len(EventAccumulator("logs/tiny/version_0").Reload().Scalars("test/acc")) == 2


@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("open", errno.EACCES)])
def test_curves_that_cannot_be_written_are_one_warning_and_training_goes_on(call, number, break_disk, run):
    break_disk(call, number, "tfevents", room=4000)
    code, _, err = run("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 9)
    assert code == 0
    assert len(err.splitlines()) == 1
    assert err.startswith("fashionreg: warning: ")
    assert "tfevents" in err
    assert f"cannot be written: {os.strerror(number)}; no more curves" in err
    assert pd.read_csv("logs/tiny/version_0/record.csv").epoch.max() == 9
    if call == "write":
        events = EventAccumulator("logs/tiny/version_0").Reload()
        assert 1 <= len(events.Scalars("test/acc")) < 9


# ------------------------------------------------------------------------------------------------- checksums


@pytest.fixture(scope="module")
def sealed():
    """A checkpoint with a checksum."""
    return b"".join(with_checksum(OLD.read_bytes()))


def is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        whole_bytes(path)
    assert re.match(rf"ckpt_path: {path}: is not a whole checkpoint: ", message(error))
    return True


def places(length):
    """Every byte at both ends, where the format has its structure, and some hundred between."""
    some = random.Random(0).sample(range(length), 200)
    return sorted({*range(100), *range(length - 200, length), *some})


def test_every_flipped_bit_is_refused(sealed, tmp_path):
    for place in places(len(sealed)):
        for bit in range(8) if place >= len(sealed) - 120 or place < 8 else [place % 8]:
            damaged = bytearray(sealed)
            damaged[place] ^= 1 << bit
            assert is_refused(bytes(damaged), tmp_path / "x.ckpt"), (place, bit)


def test_every_truncation_and_every_addition_is_refused(sealed, tmp_path):
    for length in places(len(sealed)):
        assert is_refused(sealed[:length], tmp_path / "x.ckpt"), length
    for added in (b"\0", b"\n", sealed[-64:], sealed):
        assert is_refused(sealed + added, tmp_path / "x.ckpt")


def test_every_stretch_of_other_bytes_is_refused(sealed, tmp_path):
    # a lost block of the disk reads as zeros; a torn write leaves the old content
    luck = random.Random(1)
    for _ in range(200):
        start = luck.randrange(len(sealed) - 1)
        end = min(len(sealed), start + luck.choice([2, 64, 512, 4096]))
        if any(sealed[start:end]):
            assert is_refused(sealed[:start] + bytes(end - start) + sealed[end:], tmp_path / "x.ckpt")


def test_torch_opens_a_checkpoint_with_a_checksum_as_one_without(fitted):
    with_it = torch.load(LAST, weights_only=True)
    mapped = torch.load(LAST, weights_only=True, mmap=True)
    content = Path(LAST).read_bytes()
    assert whole_bytes(Path(LAST)) == content
    for name, value in with_it["state_dict"].items():
        assert torch.equal(value, mapped["state_dict"][name])


def in_the_weights(content):
    """A flipped bit in the largest tensor: torch loads it without complaint, as another number."""
    weights = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]
    largest = max(weights.values(), key=torch.numel).numpy().tobytes()
    place = content.index(largest) + len(largest) // 2
    damaged = bytearray(content)
    damaged[place] ^= 64
    torch.load(io.BytesIO(bytes(damaged)), weights_only=True)
    return bytes(damaged)


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "export"])
def test_no_command_uses_a_damaged_checkpoint(command, fitted, refusal):
    Path("damaged.ckpt").write_bytes(in_the_weights(Path(LAST).read_bytes()))
    before = files(".")
    words = {"fit": ["--trainer.max_epochs", 9], "predict": ["--images", "x.png"]}.get(command, [])
    code, line = refusal(command, "--ckpt_path", "damaged.ckpt", *words)
    assert code == 1
    assert "ckpt_path: damaged.ckpt: is not a whole checkpoint: its checksum does not match" in line
    assert files(".") == before


def test_what_lightning_loads_is_verified_too(sealed, tmp_path):
    path = tmp_path / "x.ckpt"
    path.write_bytes(sealed)
    assert WholeCheckpointIO().load_checkpoint(path, weights_only=True)["epoch"] == 1
    path.write_bytes(in_the_weights(sealed))
    with pytest.raises(UserError, match="its checksum does not match"):
        WholeCheckpointIO().load_checkpoint(path, weights_only=True)


def test_a_checkpoint_without_a_checksum_loads_unless_it_is_damaged(run, refusal):
    shutil.copy(OLD, "old.ckpt")
    code, out, err = run("test", "--ckpt_path", "old.ckpt")
    assert (code, err) == (0, "")
    assert "generalization gap" in out
    Path("old.ckpt").write_bytes(in_the_weights(OLD.read_bytes()))
    assert "is not a whole checkpoint: the checksum of" in refusal("test", "--ckpt_path", "old.ckpt")[1]


def test_a_checkpoint_of_a_users_own_callback_carries_a_checksum(run, refusal):
    own = ["--trainer.callbacks", "ModelCheckpoint", "--trainer.callbacks.dirpath", "mine"]
    assert run("fit", "--config", "tiny.yaml", *own, "--trainer.callbacks.filename", "best")[0] == 0
    content = Path("mine/best.ckpt").read_bytes()
    Path("mine/best.ckpt").write_bytes(in_the_weights(content))
    assert "its checksum does not match" in refusal("test", "--ckpt_path", "mine/best.ckpt")[1]


# ------------------------------------------------------------------------------------------- the last checkpoint


def version(number):
    return Path(f"logs/tiny/version_{number}/checkpoints/last.ckpt")


def test_last_is_the_newest_whole_checkpoint_and_says_what_it_passes_over(fitted):
    for number in range(1, 5):
        shutil.copytree("logs/tiny/version_0", f"logs/tiny/version_{number}")
    version(2).write_bytes(in_the_weights(version(2).read_bytes()))
    version(3).write_bytes(b"")
    version(4).unlink()
    reasons = (
        "version_4 has no last.ckpt; version_3's last.ckpt is not a whole checkpoint: the file is empty; "
        "version_2's last.ckpt is not a whole checkpoint: its checksum does not match"
    )
    code, out, err = fitted("validate", "--config", "tiny.yaml", "--seeds", 3, "--ckpt_path", "last")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"checkpoint: {version(1)} (the newest whole one: {reasons})"
    out = fitted("fit", "--name", "tiny", "--ckpt_path", "last", "--trainer.max_epochs", 3)[1]
    assert out.splitlines()[0] == f"resume: {version(1)} (the newest whole one: {reasons})"
    out = fitted("fit", "--name", "tiny", "--ckpt_path", "last", "--trainer.max_epochs", 4)[1]
    assert out.splitlines()[0] == f"resume: {version(5)} (the newest run's)"


def test_where_no_checkpoint_is_whole_there_is_no_last(fitted, refusal):
    version(0).write_bytes(version(0).read_bytes()[:-1])
    _, line = refusal("fit", "--config", "tiny.yaml", "--ckpt_path", "last")
    assert f"there is no {version('*')} to go on from: version_0's last.ckpt is not a whole checkpoint" in line


# ---------------------------------------------------------------------------------------------- orphaned files


#: A process that is killed while it writes a file.
KILLED = """
import os, signal, sys
from pathlib import Path
from fashionreg.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("open", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def writer(path, what="wait"):
    command = [sys.executable, "-c", KILLED, str(path), what]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"open\n"
    return process


def test_the_next_start_removes_the_temporary_files_of_dead_processes_in_its_runs_only(fitted):
    folder = Path("logs/tiny/version_0/checkpoints")
    for place in (folder, Path("logs/tiny/other")):
        writer(place / "x", "die").communicate()
    dead, elsewhere = (next(place.glob(".x.*.fashionreg.tmp")) for place in (folder, Path("logs/tiny/other")))
    foreign = [
        folder / dead.name.replace(".x.", ".x.otherhost"),
        folder / ".users-own.3999999.tmp",
        folder / ".notes.tmp",
    ]
    for path in foreign:
        path.touch()
    assert fitted("fit", "--config", "tiny.yaml", "--trainer.max_epochs", 1)[0] == 0
    assert not dead.exists()
    assert [path for path in [elsewhere, *foreign] if not path.exists()] == []


def test_a_file_that_a_process_writes_is_not_removed_whatever_its_number(tmp_path):
    process = writer(tmp_path / "x")
    (temporary,) = tmp_path.glob(".x.*")
    # in another container the same number can be that of another process, or of none
    unknown = temporary.with_name(re.sub(r"-\d+\.", f"-{10**9}.", temporary.name))
    temporary.rename(unknown)
    remove_orphans(tmp_path)
    assert unknown.exists()
    unknown.rename(temporary)
    process.communicate(b"")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def _write_often(folder, stop):
    count = 0
    while not stop.is_set():
        with whole_file(folder / "file") as file:
            file.write(b"x" * 1000)
        count += 1
    return count


def test_a_process_that_removes_orphans_never_takes_the_file_of_a_writer(tmp_path):
    import threading

    stop = threading.Event()

    def clean():
        # another open file of the same process is another owner to flock, as another process would be
        while not stop.is_set():
            remove_orphans(tmp_path)

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    for cleaner in cleaners:
        cleaner.start()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    try:
        # without the lock at every moment this fails within a few of them
        assert _write_often(tmp_path, stop) > 20
    finally:
        stop.set()
        for cleaner in cleaners:
            cleaner.join()
    assert (tmp_path / "file").read_bytes() == b"x" * 1000


def test_an_orphan_that_cannot_be_removed_stops_nothing(break_disk, tmp_path):
    writer(tmp_path / "x", "die").communicate()
    (orphan,) = tmp_path.iterdir()
    break_disk("unlink", errno.EROFS)
    remove_orphans(tmp_path)
    assert orphan.exists()
    remove_orphans(tmp_path / "nowhere")


def test_an_orphan_that_is_a_link_is_no_way_to_a_file_of_the_user(tmp_path):
    writer(tmp_path / "x", "die").communicate()
    (orphan,) = tmp_path.iterdir()
    orphan.rename(tmp_path / "mine")
    orphan.symlink_to("mine")
    remove_orphans(tmp_path)
    assert (tmp_path / "mine").read_bytes() == b"half"


@pytest.mark.parametrize("name", ["n" * 250, "ä" * 125], ids=["ASCII", "UTF-8"])
def test_a_name_as_long_as_the_file_system_takes_can_be_written(name, tmp_path):
    with whole_file(tmp_path / name) as file:
        file.write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_is_replaced_and_not_the_file_that_it_leads_to(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    with whole_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_a_checkpoint_is_written_without_a_copy_of_it(tmp_path):
    size = 20_000_000
    checkpoint = {"a": torch.zeros(size // 4)}
    tracemalloc.start()
    try:
        WholeCheckpointIO().save_checkpoint(checkpoint, tmp_path / "x.ckpt")
        assert tracemalloc.get_traced_memory()[1] < 1.5 * size
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- signals


#: Longer than a test waits; so long a fit would be compiled by itself, which takes more time than all the rest.
LONG = ["--trainer.max_epochs", 100000, "--compile", "false"]


#: Which signals a fit is sent: a second one, of a scheduler or a closed terminal, changes nothing.
SIGNALS = {"SIGINT": [signal.SIGINT], "SIGHUP": [signal.SIGHUP] * 2, "SIGTERM": [signal.SIGTERM] * 2}


@pytest.mark.parametrize("numbers", SIGNALS.values(), ids=SIGNALS)
def test_a_fit_that_is_told_to_end_keeps_the_finished_epochs_and_says_how_to_go_on(numbers, workplace):
    process = start_and_wait("fit", "--config", "tiny.yaml", *LONG, until="epoch      3/")
    for number in numbers:
        os.kill(process.pid, number)
    code, err = end(process)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert re.search(rf"interrupted after \d+ of 100000 epochs; go on with: fashionreg fit --ckpt_path {LAST}$", err)
    assert whole_bytes(Path(LAST))
    about = json.loads(Path("logs/tiny/version_0/record.json").read_text())
    assert about["status"] == "interrupted"
    assert len(about["epoch_seconds"]) >= 3


def test_a_study_whose_terminal_is_closed_says_how_to_go_on(workplace):
    words = ["study", SMOKE, "--seeds", 2, "--trainer.max_epochs", 30, "--out", "results"]
    process = start_and_wait(*words, until="[1/3] plain: test accuracy")
    os.kill(process.pid, signal.SIGHUP)
    code, err = end(process)
    assert (code, len(err.splitlines())) == (1, 1), err
    assert "error: smoke: interrupted; the same command goes on with what is missing" in err
    records = [json.loads(path.read_text()) for path in Path("results").rglob("record.json")]
    assert [about["status"] for about in records].count("finished") >= 1
