"""What a TensorBoard server shows of finished runs, asked through its HTTP interface."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BASE = {"train/loss", "train/acc", "test/loss", "test/acc", "test/ece"}


@pytest.fixture
def two_runs(run):
    """A run of one seed, and one of three seeds with a validation split."""
    decay = "{decay: {class_path: WeightDecay, init_args: {strength: 0.02}}}"
    same = ["--config", "tiny.yaml", "--model.init_args.regularizers", decay]
    assert run("fit", *same, "--name", "single")[0] == 0
    assert run("fit", *same, "--name", "several", "--seeds", 3, "--data.init_args.val_size", 50)[0] == 0
    return run


@pytest.fixture
def ask(two_runs):
    """Asks a TensorBoard server on `logs` and returns the answer, decoded from JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "logs", "--port", str(port), "--bind_all"]
    command[-1:] = ["--host", "127.0.0.1"]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(path, body=None):
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/data/{path}", data=data, headers=headers)
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    if len(ask("runs")) >= 2:
                        break
                except OSError:
                    pass
                assert time.monotonic() < deadline, "TensorBoard did not start"
                time.sleep(0.2)
            yield ask
        finally:
            server.terminate()


def test_a_server_serves_the_tags_points_and_hyperparameters_of_both_runs(ask):
    tags = {run: set(found) for run, found in ask("plugin/scalars/tags").items()}
    assert tags["single/version_0"] == BASE
    assert tags["several/version_0"] == BASE | {
        "val/loss",
        "val/acc",
        "val/ece",
        "train/acc_std",
        "test/acc_std",
        "val/acc_std",
        *(f"test_acc_by_seed/{seed}" for seed in range(3)),
    }

    points = ask("plugin/scalars/scalars?run=single%2Fversion_0&tag=test%2Facc")
    assert [step for _, step, _ in points] == [1, 2]
    record = pd.read_csv("logs/single/version_0/record.csv").query("split == 'test' and metric == 'acc'")
    assert [value for _, _, value in points] == pytest.approx(record.value.to_list())

    # TensorBoard describes the columns of all runs by what one of them says, whichever it reads first
    experiment = ask("plugin/hparams/experiment", {"experimentName": ""})
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {
        "model",
        "optimizer",
        "optimizer/lr",
        "optimizer/weight_decay",
        "dropout",
        "batch_norm",
        "batch_size",
        "regularizers/decay",
        "regularizers/decay/strength",
    } <= names
    metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert metrics >= BASE
    statuses = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
    query = {"experimentName": "", "allowedStatuses": statuses, "colParams": [], "startIndex": 0, "sliceSize": 9}
    rows = {
        row["sessions"][0]["name"]: row["hparams"]
        for row in ask("plugin/hparams/session_groups", query)["sessionGroups"]
    }
    assert {name: values["val_size"] for name, values in rows.items()} == {
        "single/version_0": 0,
        "several/version_0": 50,
    }
    assert rows["several/version_0"]["regularizers/decay"] == "WeightDecay"
    assert rows["several/version_0"]["regularizers/decay/strength"] == 0.02
    assert all(values["optimizer/weight_decay"] == 0.001 for values in rows.values())

    text = str(ask("plugin/text/text?run=single%2Fversion_0&tag=run%2Ftext_summary"))
    assert "synthetic garments" in text


def scalars(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_curves_of_a_resumed_run_begin_at_the_first_epoch(two_runs):
    assert two_runs("fit", "--ckpt_path", "last", "--name", "several", "--trainer.max_epochs", 4)[0] == 0
    assert two_runs("fit", "--config", "tiny.yaml", "--name", "whole", "--seeds", 3, "--trainer.max_epochs", 4)[0] == 0
    curves = scalars("logs/several/version_1")
    assert {step for step, _ in curves["test/acc"]} == {1, 2, 3, 4}
    assert curves["test/acc"][:2] == scalars("logs/several/version_0")["test/acc"]
    for tag, points in scalars("logs/whole/version_0").items():
        assert [step for step, _ in points] == [1, 2, 3, 4], tag
        assert [step for step, _ in curves[tag]] == [1, 2, 3, 4], tag


def test_mean_and_spread_are_those_of_the_record(two_runs):
    import pandas as pd

    table = pd.read_csv("logs/several/version_0/record.csv")
    curves = scalars("logs/several/version_0")
    by_epoch = table[table.metric == "acc"].groupby(["split", "epoch"]).value
    for split in ("train", "val", "test"):
        assert [value for _, value in curves[f"{split}/acc"]] == pytest.approx(by_epoch.mean()[split].tolist())
        assert [value for _, value in curves[f"{split}/acc_std"]] == pytest.approx(by_epoch.std()[split].tolist())
