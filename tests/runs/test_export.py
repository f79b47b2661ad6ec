import onnxruntime
import pytest
import torch
from torch import nn

from fashionreg.data.datamodules import SyntheticDataModule
from fashionreg.models import RegularizedMLP
from samples import PIXELS, rounding

#: Of a logit: a sum over the pixels, in which no partial sum passes 10.
TOLERANCE = rounding(PIXELS, 10)

LAST = "logs/tiny/version_0/checkpoints/last.ckpt"


@pytest.fixture
def fitted(run):
    assert run("fit", "--config", "tiny.yaml", "--seeds", "[4, 7]", "--model.init_args.hidden_sizes", "[8, 6]")[0] == 0
    return run


@pytest.fixture
def images():
    return SyntheticDataModule(train_size=200, test_size=50).splits.test.images.flatten(1).float() / 255


def expected(images, replica):
    model = RegularizedMLP.load_from_checkpoint(LAST, map_location="cpu", weights_only=True).eval()
    with torch.no_grad():
        return model(images)[replica]


@pytest.mark.parametrize("keep", [[], ["--keep_batch_norm"]])
@pytest.mark.parametrize(("seed", "replica"), [(4, 0), (7, 1)])
def test_onnx_file_computes_the_logits_of_its_replica(fitted, images, keep, seed, replica):
    code, out, err = fitted("export", "--ckpt_path", LAST, "--seed", seed, "--out", "net.onnx", *keep)
    assert (code, err) == (0, "")
    assert ("BatchNorm1d" in out) == bool(keep)
    session = onnxruntime.InferenceSession("net.onnx")
    for batch in (images, images[:1]):
        (logits,) = session.run(["logits"], {"images": batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected(batch, replica), rtol=0, atol=TOLERANCE)


def test_torch_file_is_a_state_dict_of_a_plain_sequential(fitted, images):
    assert fitted("export", "--ckpt_path", LAST, "--seed", 7, "--out", "net.pt")[0] == 0
    net = nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 10))
    net.load_state_dict(torch.load("net.pt", weights_only=True))
    with torch.no_grad():
        torch.testing.assert_close(net(images), expected(images, 1), rtol=0, atol=TOLERANCE)


def test_torch_file_with_batch_norm_kept_has_the_layers_of_the_replica(fitted, images):
    words = ["--format", "torch", "--out", "net.bin", "--keep_batch_norm"]
    assert fitted("export", "--ckpt_path", LAST, *words)[0] == 0
    model = RegularizedMLP(hidden_sizes=[8, 6], batch_norm=True, dropout=0.2).build(784, 10)
    net = model.network.replica(0).eval()
    net.load_state_dict(torch.load("net.bin", weights_only=True))
    with torch.no_grad():
        torch.testing.assert_close(net(images), expected(images, 0), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (
            ["--seed", "5", "--out", "net.pt"],
            "seed: logs/tiny/version_0/checkpoints/last.ckpt holds the seeds [4, 7], not 5",
        ),
        (["--out", "net"], "net: the suffix says no format"),
        (["--out", "tiny.yaml", "--format", "torch"], "tiny.yaml: exists"),
        (["--out", "net.pt", "--ckpt_path", "no.ckpt"], "ckpt_path: no.ckpt: no such file"),
    ],
)
def test_what_cannot_be_exported_is_said(fitted, refusal, words, fault):
    _, line = refusal("export", "--ckpt_path", LAST, *words)
    assert fault in line
