"""The metrics of a split against torchmetrics."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from fashionreg.models.metrics import CALIBRATION_BINS, Totals
from samples import rounding


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_totals_over_uneven_batches_are_those_of_torchmetrics_for_each_replica(scale):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(3, 500, 10, generator=generator)
    labels = torch.randint(0, 10, (500,), generator=generator)
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels.expand(3, -1), reduction="none")  # (S, B)
    totals = Totals(3, torch.device("cpu"), calibrated=True)
    for part in torch.arange(500).split([200, 299, 1]):
        totals.add(losses[:, part].mean(dim=1), logits[:, part], labels[part])
    means = totals.means()
    mean = losses.mean(dim=1)
    torch.testing.assert_close(means["loss"], mean, rtol=0, atol=rounding(500, mean.max()))
    for replica in range(3):
        accuracy = multiclass_accuracy(logits[replica], labels, num_classes=10, average="micro")
        probabilities = logits[replica].softmax(dim=-1)
        error = multiclass_calibration_error(probabilities, labels, num_classes=10, n_bins=CALIBRATION_BINS)
        torch.testing.assert_close(means["acc"][replica], accuracy.double())
        torch.testing.assert_close(means["ece"][replica], error, rtol=0, atol=rounding(500, 1))


def test_a_network_that_is_sure_and_right_is_calibrated():
    logits = 100 * torch.eye(10).expand(2, -1, -1)
    totals = Totals(2, torch.device("cpu"), calibrated=True)
    totals.add(torch.zeros(2), logits, torch.arange(10))
    assert totals.means()["ece"].tolist() == [0, 0]


def test_a_network_that_has_diverged_has_metrics_that_are_no_numbers_and_harms_no_other():
    logits = torch.stack([torch.full((10, 10), torch.nan), 100 * torch.eye(10)])
    totals = Totals(2, torch.device("cpu"), calibrated=True)
    totals.add(torch.tensor([torch.nan, 0.0]), logits, torch.arange(10))
    means = totals.means()
    assert means["loss"].isnan().tolist() == means["ece"].isnan().tolist() == [True, False]
    assert means["acc"][1] == 1
