"""The programs of `signet_trainer.network`."""

import torch
from signet_trainer.data import Iris
from signet_trainer.network import IrisNet, Labeller


def test_logits_are_raw(iris: Iris) -> None:
    """Nothing cuts the logits off at 0, which the original example did."""
    torch.manual_seed(0)
    assert (IrisNet(iris.train.features)(iris.test.features) < 0).any()


def test_scaling_is_part_of_the_network(iris: Iris) -> None:
    """The network takes centimetres; mean and deviation of the training rows travel with its weights."""
    net = IrisNet(iris.train.features)
    state = net.state_dict()
    assert torch.allclose(state["mean"], iris.train.features.mean(dim=0))
    scaled = (iris.train.features - state["mean"]) / state["std"]
    assert torch.allclose(net(iris.train.features), net.layers(scaled))


def test_labeller_answers_class_numbers(iris: Iris) -> None:
    """int64 [n], the `long` of the signature, also for one row and after the export."""
    labeller = Labeller(IrisNet(iris.train.features)).eval()
    batch = {0: torch.export.Dim.AUTO}
    program = torch.export.export(labeller, (iris.train.features[:5],), dynamic_shapes=[batch]).module()
    for rows in (iris.test.features[:1], iris.test.features):
        answer = program(rows)
        assert answer.dtype is torch.int64
        assert torch.equal(answer, labeller(rows))


def test_logits_that_are_no_numbers_are_of_no_class(iris: Iris) -> None:
    """Lengths that overflow in the network get -1, and the rows beside them their class."""
    labeller = Labeller(IrisNet(iris.train.features)).eval()
    rows = iris.test.features[:3].clone()
    expected = labeller(rows)
    for odd in (3e38, -3e38, torch.nan, torch.inf):
        rows[1] = odd
        answer = labeller(rows)
        assert answer.tolist() == [expected[0].item(), -1, expected[2].item()]
