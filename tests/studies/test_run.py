"""`fashionreg study`: what is missing is trained, and nothing else; what is interrupted goes on."""

import json
import random
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

from conftest import made_by
from fashionreg.cli import main
from fashionreg.studies.results import read_results
from forked import start, wait_until
from samples import files

SMOKE = Path(__file__).parents[2] / "configs" / "studies" / "smoke.yaml"
OUT = Path("results")


@pytest.fixture
def study(run, drawn):
    """Runs the smoke study without rendering figures; returns exit code, standard output and standard error."""

    def study(*arguments):
        return run("study", SMOKE, "--out", OUT, *arguments)

    return study


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory):
    """A folder with the smoke study of two seeds, finished; tests work on copies of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fashionreg.studies.plots.render", lambda figure, kind: b"<svg></svg>")
        return made_by(tmp_path_factory.mktemp("finished"), "study", SMOKE, "--out", OUT, "--seeds", 2)


@pytest.fixture
def finished(study, finished_folder):
    """The smoke study of two seeds, finished; returns the runner."""
    shutil.copytree(finished_folder / OUT, OUT)
    return study


def numbers(folder=OUT):
    return read_results(Path(folder)).table


def test_every_variant_and_seed_gets_its_numbers(study):
    code, out, err = study("--seeds", 3)
    assert (code, err) == (0, "")
    table = numbers()
    assert set(table.variant) == {"plain", "bn", "dropout"}
    assert set(table.seed) == {0, 1, 2}
    assert set(table.epoch) == {1, 2, 3, 4}
    assert set(table.split + "/" + table.metric) == {
        f"{split}/{metric}" for split in ("train", "test") for metric in ("acc", "loss", "ece")
    }
    assert len(table) == 3 * 3 * 4 * 6
    assert not table.duplicated(["variant", "seed", "epoch", "split", "metric"]).any()
    assert (OUT / "report.html").is_file()
    pd.testing.assert_frame_equal(pd.read_csv(OUT / "results.csv"), table, check_exact=False)
    assert "[3/3] dropout: test accuracy" in out


def test_a_variant_in_a_study_is_the_fit_of_its_configuration(study, run):
    study("--seeds", 3)
    config = OUT / "bn" / "version_0" / "config.yaml"
    assert run("fit", "--config", config, "--trainer.default_root_dir", "alone")[0] == 0
    alone = Path("alone/bn/version_0/record.csv")
    assert alone.read_text() == (OUT / "bn" / "version_0" / "record.csv").read_text()


def test_the_same_command_again_trains_nothing(finished):
    before = files(OUT)
    code, out, _ = finished("--seeds", 2)
    assert code == 0
    assert out.count("has all 2 seeds already") == 3
    changed = {path for path, content in files(OUT).items() if before.get(path) != content}
    # reports and plan are written anew, with the same bytes
    assert all(path.read_bytes() == before[path][0] for path in changed)
    assert not any("version_" in str(path) for path in changed)


def test_more_seeds_train_only_the_new_ones_and_fewer_show_fewer(finished):
    assert finished("--seeds", 5)[0] == 0
    records = [json.loads(path.read_text())["seeds"] for path in sorted(OUT.glob("bn/*/record.json"))]
    assert records == [[0, 1], [2, 3, 4]]
    assert set(numbers().seed) == {0, 1, 2, 3, 4}
    finished("--seeds", "[1, 3]")
    assert set(numbers().seed) == {1, 3}
    assert len(list(OUT.glob("*/version_*"))) == 6


def test_a_changed_configuration_is_run_anew_and_never_mixed_with_the_old(finished):
    first = numbers()
    finished("--seeds", 2, "--model.init_args.hidden_sizes", "[12]")
    assert len(list(OUT.glob("plain/version_*"))) == 2
    second = numbers()
    assert len(second) == len(first)
    assert not second.value.equals(first.value)
    assert finished("--seeds", 2)[1].count("has all 2 seeds already") == 3
    pd.testing.assert_frame_equal(numbers(), first)


def test_a_variant_that_fails_does_not_end_the_study(study, monkeypatch):
    from fashionreg.models.classifier import Classifier

    step = Classifier.training_step

    def breaking(self, batch, batch_idx):
        if "batch_norm" in self.regularizers:
            raise RuntimeError("out of\nluck")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", breaking)
    code, out, err = study("--seeds", 2)
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "1 of 3 variants failed: bn" in err
    assert "[2/3] bn: failed: RuntimeError: out of luck (see" in out
    assert "RuntimeError: out of" in (OUT / "bn" / "failed.txt").read_text()
    assert set(numbers().variant) == {"plain", "dropout"}
    assert "Incomplete: bn has no results for 2 of 2 seeds." in out


@pytest.mark.usefixtures("finished")
def test_a_folder_belongs_to_one_study_and_one_process(refusal):
    other = SMOKE.read_text().replace("name: smoke", "name: other")
    Path("other.yaml").write_text(other)
    _, line = refusal("study", "other.yaml", "--out", OUT)
    assert "holds the study smoke" in line
    from filelock import FileLock

    with FileLock(OUT / ".lock"):
        _, line = refusal("study", SMOKE, "--out", OUT)
    assert "another process runs this study" in line


@pytest.mark.usefixtures("drawn")
def test_a_grid_of_lists_is_trained_once_and_reported(run):
    text = SMOKE.read_text().replace("reference: plain", "reference: hidden_sizes=[8]")
    Path("grid.yaml").write_text(text[: text.index("variants:")] + "grid: {hidden_sizes: [[8], [9, 8]]}")
    arguments = ["study", "grid.yaml", "--out", OUT, "--seeds", 2, "--trainer.max_epochs", 1]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "2 seeds are too few to test hidden_sizes=[9, 8] against hidden_sizes=[8]" in out
    assert run(*arguments)[1].count("has all 2 seeds already") == 2
    assert "fashionreg study grid.yaml --seeds 2 --trainer.max_epochs 1" in (OUT / "report.md").read_text()


def test_what_is_not_the_studys_own_stays(study, run):
    for name in ("bn", "other"):
        assert run("fit", "--config", "tiny.yaml", "--name", name, "--trainer.default_root_dir", OUT)[0] == 0
    record = OUT / "bn" / "version_0" / "record.json"
    record.write_text(record.read_text().replace("finished", "interrupted"))
    before = files(OUT)
    code, out, _ = study("--seeds", 1)
    assert code == 0
    assert out.count(" over 1 seed in ") == 3
    assert before.items() <= files(OUT).items()
    assert (OUT / "bn" / "version_1" / "record.json").is_file()


def test_a_study_that_is_over_or_refused_holds_no_lock(study, monkeypatch):
    from filelock import FileLock

    from fashionreg.studies import run

    locks = []

    class Watched(FileLock):
        def __init__(self, *args):
            super().__init__(*args)
            locks.append(self)

    monkeypatch.setattr(run, "FileLock", Watched)
    assert study("--seeds", 1)[0] == 0
    plan = (OUT / "study.json").read_text()
    (OUT / "study.json").write_text(plan.replace('"smoke"', '"other"'))
    assert study("--seeds", 1)[0] == 1
    assert len(locks) == 2
    assert not any(lock.is_locked for lock in locks)


def test_dry_run_trains_nothing(study):
    code, out, _ = study("--dry_run")
    assert code == 0
    assert "nothing was run" in out
    assert not OUT.exists()


def test_options_are_checked_before_anything_runs(run):
    code, _, err = run("study", SMOKE, "--trainer.max_epoch", 3)
    assert code == 1
    assert "3 problems, nothing was run" in err
    assert "max_epoch" in err
    assert not Path("logs").exists()
    assert run("study", SMOKE, "--seeds", "some")[0] == 1


def test_killed_again_and_again_a_study_ends_with_the_records_of_one_never_interrupted(study, workplace):
    arguments = ["study", SMOKE, "--seeds", 2, "--trainer.max_epochs", 40]
    luck = random.Random(0)
    place, reached = Path("killed"), 0
    for _ in range(4):
        before = set(place.glob("*/version_*"))
        process = start(*arguments, "--out", place)
        wait_until(lambda before=before: set(place.glob("*/version_*")) - before, process)
        # anywhere in the first third of what is left to train: from the folder of a run, still empty, on
        process.join(luck.uniform(0, 0.25))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        reached += any(not (path / "record.json").is_file() for path in place.glob("*/version_*"))
    # a kill may come just after the end of a run, before the next
    assert reached >= 2
    assert main([*map(str, arguments), "--out", "killed"]) == 0
    assert study("--seeds", 2, "--trainer.max_epochs", 40)[0] == 0
    pd.testing.assert_frame_equal(numbers("killed"), numbers())
    assert all((path / "record.json").is_file() for path in place.glob("*/version_*"))


def test_an_observer_added_to_a_finished_study_retrains_nothing(finished):
    before = files(OUT)
    code, out, err = finished("--seeds", 2, "--trainer.callbacks+=fashionreg.callbacks.Histograms")
    assert code == 0, err
    assert out.count("has all 2 seeds already") == 3
    assert {path for path in files(OUT) if "version_" in str(path)} == {p for p in before if "version_" in str(p)}


@pytest.mark.usefixtures("drawn")
def test_a_grid_reaches_into_regularizers_by_their_names(run):
    text = """
name: rates
seeds: 2
reference: dropout.p=0.0
shared:
  - tiny.yaml
  - model: {init_args: {dropout: 0.0, regularizers: {dropout: {class_path: Dropout}, decay: {class_path: WeightDecay}}}}
grid: {dropout.p: [0.0, 0.5]}
"""
    Path("rates.yaml").write_text(text)
    code, _, err = run("study", "rates.yaml", "--trainer.max_epochs", 1)
    assert code == 0, err
    plan = json.loads(Path("logs/studies/rates/study.json").read_text())
    assert [variant["levels"] for variant in plan["variants"]] == [{"dropout.p": 0.0}, {"dropout.p": 0.5}]
    chosen = [variant["config"]["model"]["init_args"]["regularizers"] for variant in plan["variants"]]
    assert [each["dropout"]["init_args"]["p"] for each in chosen] == [0.0, 0.5]
    # the other regularizers of what is shared stay
    assert all(each.keys() == {"dropout", "decay"} for each in chosen)
    assert "model.init_args.regularizers.dropout.init_args.p" in Path("logs/studies/rates/report.md").read_text()


@pytest.fixture(scope="module")
def cut_off_folder(tmp_path_factory):
    """A folder with the smoke study, interrupted in its first variant; tests work on copies of it."""
    from fashionreg.callbacks.progress import StudyProgress

    with pytest.MonkeyPatch.context() as patch:
        tell = StudyProgress.on_train_epoch_end

        def interrupting(self, trainer, module):
            tell(self, trainer, module)
            if "plain" in self._where and trainer.current_epoch == 2:
                raise KeyboardInterrupt

        patch.setattr(StudyProgress, "on_train_epoch_end", interrupting)
        arguments = ["study", SMOKE, "--out", OUT, "--seeds", 2]
        return made_by(tmp_path_factory.mktemp("cut_off"), *arguments, code=1)


@pytest.fixture
def cut_off(cut_off_folder, workplace):
    """The run of the smoke study that was interrupted after two of its four epochs."""
    shutil.copytree(cut_off_folder / OUT, OUT)
    return OUT / "plain" / "version_0"


def test_a_study_goes_on_within_the_variant_that_was_interrupted(study, cut_off, finished_folder):
    (cut_off / "record.json").unlink()  # a killed run has none
    code, out, err = study("--seeds", 2)
    assert (code, err) == (0, "")
    assert f"[1/3] plain: goes on after epoch 2 ({cut_off}/checkpoints/last.ckpt)" in out
    assert [path.name for path in OUT.glob("plain/version_*")] == ["version_1"]
    assert (OUT / "results.csv").read_bytes() == (finished_folder / OUT / "results.csv").read_bytes()


@pytest.mark.parametrize("damage", ["checkpoint", "mark", "seeds"])
def test_what_a_study_cannot_go_on_from_stays_until_its_seeds_have_a_record(study, cut_off, damage, monkeypatch):
    checkpoint, mark = cut_off / "checkpoints" / "last.ckpt", cut_off / ".study"
    if damage == "checkpoint":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    elif damage == "mark":
        mark.write_text("")
    seeds = 3 if damage == "seeds" else 2
    with monkeypatch.context() as patch:
        patch.setattr("fashionreg.studies.run.train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = study("--seeds", seeds)
    assert code == 1
    assert "interrupted; the same command goes on" in err
    assert checkpoint.is_file()
    code, out, _ = study("--seeds", seeds)
    assert code == 0
    assert "goes on" not in out
    assert not cut_off.exists()
    assert set(numbers().seed) == set(range(seeds))


def test_a_cut_off_run_of_another_configuration_stays(study, cut_off):
    assert study("--seeds", 2, "--model.init_args.hidden_sizes", "[12]")[0] == 0
    assert (cut_off / "checkpoints" / "last.ckpt").is_file()
    assert "goes on after epoch 2" in study("--seeds", 2)[1]
    assert not cut_off.exists()


def test_a_run_that_was_interrupted_after_its_last_epoch_is_only_recorded(finished):
    record = OUT / "bn" / "version_0" / "record.json"
    record.write_text(record.read_text().replace('"finished"', '"interrupted"'))
    before = (OUT / "results.csv").read_bytes()
    code, out, err = finished("--seeds", 2)
    assert (code, err) == (0, "")
    assert "bn: goes on after epoch 4" in out
    assert "bn: test accuracy" in out
    assert [path.name for path in OUT.glob("bn/version_*")] == ["version_1"]
    assert (OUT / "results.csv").read_bytes() == before


def test_a_study_leaves_its_folder_through_no_link(refusal, workplace):
    victim = workplace / "victim"
    for version in ("version_7", "version_8"):
        (victim / version).mkdir(parents=True)
    for name in ("thesis.txt", ".study"):
        (victim / "version_7" / name).write_text("precious")
    OUT.mkdir()
    (OUT / "plain").symlink_to(victim)
    assert f"{OUT / 'plain'}: is a link" in refusal("study", SMOKE, "--out", OUT)[1]
    assert sorted(path.name for path in victim.rglob("*")) == [".study", "thesis.txt", "version_7", "version_8"]


def test_a_lock_that_is_a_link_is_no_way_to_a_file_of_the_user(refusal):
    OUT.mkdir()
    Path("mine").write_text("precious")
    (OUT / ".lock").symlink_to(Path("mine").resolve())
    refusal("study", SMOKE, "--out", OUT)
    assert Path("mine").read_text() == "precious"


def test_neither_a_link_nor_a_folder_that_a_fit_has_just_claimed_is_taken_away(study, workplace):
    for folder in ("linked", OUT / "plain" / "version_3"):
        Path(folder).mkdir(parents=True)
    Path("linked/.study").touch()
    (OUT / "plain" / "version_2").symlink_to(workplace / "linked")
    assert study("--seeds", 1)[0] == 0
    assert Path("linked/.study").is_file()
    assert (OUT / "plain" / "version_2").is_symlink()
    assert (OUT / "plain" / "version_3").is_dir()
