import copy

import pytest
import torch

from fashionreg.errors import UserError
from fashionreg.models.networks import MLP
from fashionreg.regularizers import EMA, BatchNorm
from samples import rounding


def test_the_average_is_that_of_torchs_swa_utils():
    net = MLP([5, 4, 3], [0, 1], {"batch_norm": BatchNorm()}).double()
    average = EMA(0.9)
    average.attach(net, [0, 1])
    reference, generator = copy.deepcopy(net), torch.Generator().manual_seed(0)
    for step in range(1, 200):
        with torch.no_grad():
            for tensor in net.state_dict().values():
                tensor.add_(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
            average.after_step(net)
            decay = min(0.9, (1 + step) / (10 + step))
            update = torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
            update(list(reference.state_dict().values()), list(net.state_dict().values()), None)
    trained = copy.deepcopy(net.state_dict())
    with average.evaluating(net):
        for name, value in net.state_dict().items():
            # the weight of an update is a float32 number, whatever the precision; the average remembers about ten
            # updates, none of which is 40 away from it
            torch.testing.assert_close(value, reference.state_dict()[name], rtol=0, atol=rounding(10, 40))
    for name, value in net.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_the_average_is_evaluated_exported_kept_in_checkpoints_and_resumed(run):
    import torch

    mapping = "{ema: {class_path: EMA, init_args: {decay: 0.5}}}"
    options = ["--config", "tiny.yaml", "--seeds", 2, "--model.init_args.regularizers", mapping]
    for name, epochs in (("whole", 4), ("part", 2)):
        code, _, err = run("fit", *options, "--name", name, "--trainer.max_epochs", epochs)
        assert code == 0, err
    code, _, err = run("fit", "--ckpt_path", "last", "--name", "part", "--trainer.max_epochs", 4)
    assert code == 0, err
    whole, part = (
        torch.load(f"logs/{path}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for path in ("whole/version_0", "part/version_1")
    )
    assert "regularizers.ema.network/layers/0/weight".replace("network/", "") in whole
    for key, value in whole.items():
        assert torch.equal(value, part[key]), key
    assert run("export", "--ckpt_path", "logs/whole/version_0/checkpoints/last.ckpt", "--out", "net.pt")[0] == 0
    exported = torch.load("net.pt", weights_only=True)
    last = exported[max(key for key in exported if key.endswith("weight"))]
    averaged = whole["regularizers.ema.layers/4/weight"][0].T
    assert torch.equal(last, averaged)
    assert not torch.equal(averaged, whole["network.layers.4.weight"][0].T)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(UserError, match="ema: decay: must be at least 0 and below 1"):
        EMA(decay)
