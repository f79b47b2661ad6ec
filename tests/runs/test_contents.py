"""What a checkpoint says is checked before anything is made or resumed from it."""

import copy
import io
from pathlib import Path

import pytest
import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, StepLR

from fashionreg.errors import UserError
from fashionreg.models import RegularizedMLP
from fashionreg.models.classifier import SHAPE_KEY
from fashionreg.runs.archive import checked_archive
from fashionreg.runs.checkpoint import CONFIG_KEY, check_resume, read_checkpoint
from fashionreg.runs.contents import check_contents, check_optimization, check_parameters, outline
from fashionreg.yaml_files import parse_yaml
from samples import LAST, files, message

OLD = Path(__file__).parents[1] / "fixtures" / "version_0_1" / LAST
GOOD = torch.load(OLD, weights_only=True)
WEIGHT = "network.layers.0.weight"
BATCHES = ("loops", "fit_loop", "epoch_loop.batch_progress")
EPOCHS = ("loops", "fit_loop", "epoch_progress")


def changed(*places, value):
    """A good checkpoint with another value at one place."""
    checkpoint = copy.deepcopy(GOOD)
    part = checkpoint
    for place in places[:-1]:
        part = part[place]
    part[places[-1]] = value
    return checkpoint


def test_a_checkpoint_of_a_fit_is_taken():
    check_contents(GOOD, "x.ckpt")
    check_contents(GOOD | {SHAPE_KEY: (784, 10)}, "x.ckpt")
    check_resume(GOOD, "x.ckpt", parse_yaml(GOOD[CONFIG_KEY], "x"), 5)


@pytest.mark.parametrize(
    ("places", "value", "fault"),
    [
        (["loops"], {}, "its loops have no fit_loop"),
        (["loops"], [1], "its loops must be a mapping, found a list of 1"),
        (["loops"], None, "its loops must be a mapping, found None"),
        ([*BATCHES, "is_last_batch"], 1, "is_last_batch must be true or false, found 1"),
        (BATCHES, {"is_last_batch": True}, "epoch_loop.batch_progress must have total and current"),
        ([*EPOCHS, "current", "processed"], "x", "epoch_progress.current.processed must be a number from 0, found x"),
        ([*EPOCHS, "current", "processed"], -1, "processed must be a number from 0, found -1"),
        ([*EPOCHS, "current", "reset_on_run"], 1, "current.reset_on_run is unknown"),
        ([*EPOCHS, "current"], None, "epoch_progress.current is unknown"),
        (["epoch"], "x", "its epoch must be a whole number, found x"),
        (["epoch"], True, "its epoch must be a whole number, found True"),
        (["epoch"], 10**30, "its epoch must be a number from 0, found a number of more than 64 bits"),
        (["global_step"], None, "its global_step must be a whole number"),
        (["callbacks"], [], "its callbacks must be a mapping"),
        (["callbacks", 3], {}, "its callbacks must have names as keys, found 3"),
        (["hyper_parameters"], None, "its hyper_parameters must be a mapping, found None"),
        (["hyper_parameters", "seeds"], 3, "hyper_parameters: seeds must be a list of numbers"),
        (["hyper_parameters", "seeds"], [2**32], "hyper_parameters: seeds must be a list of numbers"),
        (["optimizer_states"], None, "its optimizer_states must be a list"),
        (["optimizer_states"], [1], "its optimizer_states must be a list of mappings"),
        (["lr_schedulers"], [1], "its lr_schedulers must be a list of mappings"),
        (["pytorch-lightning_version"], "garbage", "its pytorch-lightning_version must be 2.x, found garbage"),
        (["pytorch-lightning_version"], "99.0.0", "its pytorch-lightning_version must be 2.x, found 99.0.0"),
        (["pytorch-lightning_version"], "0.0.1", "its pytorch-lightning_version must be 2.x, found 0.0.1"),
        (["pytorch-lightning_version"], 3, "its pytorch-lightning_version must be text, found 3"),
        (["state_dict", 3], torch.ones(1), "its state_dict must have names as keys, found 3"),
        (["state_dict", WEIGHT], 3, f"state_dict: {WEIGHT} must be a tensor, found 3"),
        (
            ["callbacks", "Mine"],
            [{"a": (torch.ones(1).expand(10**9),)}],
            "a tensor in its callbacks must be a tensor with its",
        ),
        (["state_dict", WEIGHT], torch.ones(1).expand(10**9), "must be a tensor with its numbers in the file"),
        ([SHAPE_KEY], 784, f"its {SHAPE_KEY} must be two positive numbers, found 784"),
        ([SHAPE_KEY], (784, 0), f"its {SHAPE_KEY} must be two positive numbers"),
        ([SHAPE_KEY], (784.0, 10), f"its {SHAPE_KEY} must be two positive numbers"),
    ],
)
def test_a_checkpoint_of_another_shape_is_one_line(tmp_path, places, value, fault):
    path = tmp_path / "x.ckpt"
    torch.save(changed(*places, value=value), path)
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert message(error).startswith(f"ckpt_path: {path}: is not a Lightning checkpoint of a fit: ")
    assert fault in message(error)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (torch.ones(2).to_sparse(), f"state_dict: {WEIGHT} must be a dense tensor"),
        (torch.ones(2, device="meta"), f"state_dict: {WEIGHT} must be a dense tensor"),
        (torch.ones(2).to(torch.complex64), "must be a tensor of real numbers, found torch.co"),
    ],
)
def test_a_tensor_of_another_kind_is_refused_before_and_after_it_is_loaded(tmp_path, value, fault):
    checkpoint = changed("state_dict", WEIGHT, value=value)
    with pytest.raises(UserError) as error:
        check_contents(checkpoint, "x.ckpt")
    assert fault in message(error)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(UserError):
        read_checkpoint(tmp_path / "x.ckpt")


RECORD = ("callbacks", "RunRecord")
FIRST = (*RECORD, "epochs", 0, "test")


@pytest.mark.parametrize(
    ("places", "value", "fault"),
    [
        (RECORD, None, "was not saved at the end of an epoch"),
        (
            RECORD,
            {"epochs": [1, 2], "seconds": [0, 0], "seeds": [0, 1]},
            "RunRecord: epochs[0]: must be a mapping, got 1",
        ),
        ([*RECORD, "epochs"], [{}], "was not saved at the end of an epoch"),
        ([*RECORD, "evil"], 1, "RunRecord: evil: unknown"),
        ([*RECORD, 3], 1, "RunRecord: 3: unknown"),
        ([*RECORD, "seconds"], [0.1], "RunRecord: seconds: must have a value for each of 2 epochs"),
        ([*RECORD, "seconds"], [0.1, -1.0], "RunRecord: seconds[1]: must be at least 0"),
        ([*RECORD, "seeds"], [4242, 4243], "RunRecord: has the numbers of seeds [4242, 4243], not of [0, 1]"),
        ([*RECORD, "seeds"], [0, 0], "RunRecord: seeds: 0 appears twice"),
        ([*FIRST, "acc"], [46.8, 0.1], "RunRecord: epochs[0].test.acc: cannot be 46.8"),
        ([*FIRST, "acc"], ["x", 0.1], "RunRecord: epochs[0].test.acc: cannot be x"),
        ([*FIRST, "acc"], [0.1], "RunRecord: epochs[0].test.acc: must have a value for each of 2 seeds"),
        ([*FIRST, "loss"], [-0.1, 0.1], "RunRecord: epochs[0].test.loss: cannot be -0.1"),
        ([*FIRST, "f1"], [0.1, 0.1], "RunRecord: epochs[0].test.f1: unknown"),
        ([*RECORD, "epochs", 1], {}, "RunRecord: epochs[1]: must have the splits and metrics of the first epoch"),
        ([*EPOCHS, "current", "processed"], 5, "loops: the counts of epochs are [2, 2, 5], expected 2"),
        ([*EPOCHS, "current", "completed"], 0, "loops: the counts of epochs are"),
        (EPOCHS, {"total": {}, "current": {}}, "loops: the counts of epochs are [None, None, None]"),
        (["epoch"], 2, "was not saved at the end of an epoch"),
        (["hyper_parameters", "seeds"], [0, 2], "RunRecord: has the numbers of seeds [0, 1], not of [0, 2]"),
    ],
)
def test_a_run_does_not_go_on_with_numbers_that_disagree(places, value, fault):
    checkpoint = changed(*places, value=value)
    check_contents(checkpoint, "x.ckpt")
    with pytest.raises(UserError) as error:
        check_resume(checkpoint, "x.ckpt", parse_yaml(GOOD[CONFIG_KEY], "x"), 5)
    assert fault in message(error)


@pytest.mark.parametrize("seeds", [1, 3, [0, 2], 4 * 10**9])
def test_a_run_goes_on_with_its_own_seeds(seeds):
    config = parse_yaml(GOOD[CONFIG_KEY], "x") | {"seeds": seeds}
    with pytest.raises(UserError, match=r"seeds: the checkpoint is of seeds \[0, 1\], not .*; leave out --seeds"):
        check_resume(GOOD, "x.ckpt", config, 5)


# ------------------------------------------------------------------------------------------ against the model

OPTIMIZERS = {
    "SGD": lambda parameters: SGD(parameters, lr=0.1),
    "momentum": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "Adam": Adam,
    "AMSGrad": lambda parameters: AdamW(parameters, amsgrad=True),
    "NAdam": NAdam,
    "RMSprop": RMSprop,
    "Adagrad": Adagrad,
}
SCHEDULERS = {
    "none": None,
    "StepLR": lambda optimizer: StepLR(optimizer, 3),
    "MultiStepLR": lambda optimizer: MultiStepLR(optimizer, [3, 5]),
    "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, 5),
    "ReduceLROnPlateau": ReduceLROnPlateau,
    "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=9),
}


def classifier(optimizer="Adam", scheduler="none", seeds=(0,)):
    model = RegularizedMLP(hidden_sizes=[8, 4], optimizer=OPTIMIZERS[optimizer], lr_scheduler=SCHEDULERS[scheduler])
    model.seeds = list(seeds)
    return model.build(784, 10)


def trained(optimizer="Adam", scheduler="none"):
    """The states that a checkpoint holds after two steps, as they are read from a file."""
    model = classifier(optimizer, scheduler)
    configured = model.configure_optimizers()
    both = configured if isinstance(configured, dict) else {"optimizer": configured}
    schedulers = [both["lr_scheduler"]] if "lr_scheduler" in both else []
    schedulers = [each["scheduler"] if isinstance(each, dict) else each for each in schedulers]
    for _ in range(2):
        both["optimizer"].zero_grad()
        model(torch.rand(3, 784)).sum().backward()
        both["optimizer"].step()
        for each in schedulers:
            each.step(*([1.0] if scheduler == "ReduceLROnPlateau" else []))
    states = {
        "optimizer_states": [both["optimizer"].state_dict()],
        "lr_schedulers": [each.state_dict() for each in schedulers],
    }
    file = io.BytesIO()
    torch.save(states, file)
    return torch.load(checked_archive(file.getvalue()), weights_only=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_an_optimizer_has_saved_is_taken(optimizer):
    check_optimization(trained(optimizer), classifier(optimizer), "x.ckpt")


def test_a_switch_that_an_older_torch_did_not_have_is_not_missed():
    states = trained("Adam")
    del states["optimizer_states"][0]["param_groups"][0]["decoupled_weight_decay"]
    check_optimization(states, classifier("Adam"), "x.ckpt")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_what_a_scheduler_has_saved_is_taken(scheduler):
    check_optimization(trained("SGD", scheduler), classifier("SGD", scheduler), "x.ckpt")


@pytest.mark.parametrize(
    ("places", "value", "fault"),
    [
        (["optimizer_states"], [], "optimizer_states: must be a list of 1, found 0"),
        (["lr_schedulers"], [], "lr_schedulers: must be a list of 1, found 0"),
        (["lr_schedulers", 0, "get_lr"], 5, "lr_schedulers: is not the state of the run's StepLR"),
        (["lr_schedulers", 0, "step_size"], "x", "lr_schedulers: is not the state of the run's StepLR"),
        (["lr_schedulers", 0, "base_lrs"], [], "lr_schedulers: is not the state of the run's StepLR"),
        (["optimizer_states", 0], {"state": {}, "param_groups": []}, "is not the state of the run's Adam"),
        (["optimizer_states", 0, "param_groups", 0, "lr"], "x", "is not the state of the run's Adam"),
        (["optimizer_states", 0, "param_groups", 0], {"params": [*range(6)]}, "is not the state of the run's Adam"),
        (["optimizer_states", 0, "param_groups", 0, "step"], 3, "is not the state of the run's Adam"),
        (["optimizer_states", 0, "param_groups", 0, "params"], [0], "is not the state of the run's Adam"),
        (["optimizer_states", 0, "state"], {}, "Adam must have an entry for each of 6 parameters"),
        (["optimizer_states", 0, "state", 0], {}, "entry 0 is not the state of Adam"),
        (["optimizer_states", 0, "state", 0, "exp_avg"], "x", "exp_avg of parameter 0: found x"),
        (["optimizer_states", 0, "state", 0, "exp_avg"], torch.ones(3), "exp_avg of parameter 0: has the shape (3,)"),
        (["optimizer_states", 0, "state", 1, "exp_avg"], torch.ones(1).to_sparse(), "must be a dense tensor"),
    ],
)
def test_a_state_that_the_optimizer_or_scheduler_could_not_have_had_is_refused(places, value, fault):
    states = trained("Adam", "StepLR")
    part = states
    for place in places[:-1]:
        part = part[place]
    part[places[-1]] = value
    with pytest.raises(UserError) as error:
        check_optimization(states, classifier("Adam", "StepLR"), "x.ckpt")
    assert message(error).startswith("x.ckpt: ")
    assert fault in message(error)


def test_parameters_are_compared_without_making_them():
    model = RegularizedMLP(hidden_sizes=[10**6, 10**6])
    network = outline(model, 784, 10, 0)
    assert all(parameter.is_meta for parameter in network.parameters())
    with pytest.raises(UserError, match=r"layers\.0\.weight is \(2, 784, 8\), expected \(2, 784, 1000000\)"):
        check_parameters(GOOD, network, 2, "x.ckpt")


@pytest.mark.parametrize("before", [False, True], ids=["without", "with"])
def test_an_outline_draws_nothing(before):
    torch.manual_seed(0)
    if before:
        outline(RegularizedMLP(hidden_sizes=[8]), 784, 10, 0)
    assert torch.rand(1).item() == pytest.approx(0.4963, abs=1e-4)


# ------------------------------------------------------------------------------------------ on the command line

COMMANDS = {"fit": ["--trainer.max_epochs", 3], "test": [], "export": ["--out", "net.pt"]}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("places", "value"),
    [
        (["loops"], None),
        (["hyper_parameters"], None),
        (["callbacks"], []),
        (["state_dict", WEIGHT], torch.ones(1).expand(10**9)),
        (["pytorch-lightning_version"], "garbage"),
    ],
)
def test_no_command_goes_on_with_a_checkpoint_of_another_shape(refusal, command, places, value):
    Path(LAST).parent.mkdir(parents=True)
    torch.save(changed(*places, value=value), LAST)
    before = files(".")
    code, line = refusal(command, "--ckpt_path", LAST, *COMMANDS[command])
    assert code == 1
    assert f"ckpt_path: {LAST}: is not a Lightning checkpoint of a fit: " in line
    assert files(".") == before


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"seeds": 60_000}, "has no parameters for 60000 seeds"),
        ({"seeds": 4 * 10**9}, "has no parameters for 4000000000 seeds"),
        ({"hidden_sizes": [18_000, 18_000]}, "its parameters are not those of the network"),
    ],
)
def test_export_makes_no_network_larger_than_what_the_file_holds(refusal, change, fault):
    text = GOOD[CONFIG_KEY]
    text = text.replace("seeds: 2", f"seeds: {change['seeds']}") if "seeds" in change else text
    text = text.replace("    - 8\n", "    - 18000\n    - 18000\n") if "hidden_sizes" in change else text
    torch.save(GOOD | {CONFIG_KEY: text}, "x.ckpt")
    assert fault in refusal("export", "--ckpt_path", "x.ckpt", "--out", "net.pt")[1]
