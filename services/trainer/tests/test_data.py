"""The rows that `signet_trainer.data` hands out."""

import numpy as np
import torch
from pandas import concat
from signet_trainer import data
from signet_trainer.data import Iris, IrisDataModule


def test_split_is_stratified_and_complete(iris: Iris) -> None:
    """90, 30 and 30 rows, as many of each species, and together the whole of Iris."""
    parts = (iris.train, iris.validation, iris.test)
    assert [np.bincount(part.target).tolist() for part in parts] == [[30] * 3, [10] * 3, [10] * 3]
    assert iris.species == ("SETOSA", "VERSICOLOR", "VIRGINICA")
    whole = concat([part.frame for part in parts]).to_numpy()
    expected = data.load_iris().data
    assert np.array_equal(whole[np.lexsort(whole.T)], expected[np.lexsort(expected.T)])


def test_split_is_the_same_each_time(iris: Iris) -> None:
    """Two versions are compared on the same rows, whatever their seeds."""
    assert data.load().test.frame.equals(iris.test.frame)


def test_order_follows_the_seed(iris: Iris) -> None:
    """The same seed gives the rows in the same order; another seed does not."""

    def first(seed: int) -> torch.Tensor:
        return next(iter(IrisDataModule(iris, 16, seed).train_dataloader()))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
