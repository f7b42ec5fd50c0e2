"""scikit-learn's Iris: 150 flowers, split once and for all into training, validation and test rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from pandas import DataFrame
from sklearn.datasets import load_iris  # type: ignore[import-untyped]  # scikit-learn ships no types
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]  # scikit-learn ships no types
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

# The split does not depend on --seed, so that every version is measured on test rows that no version has trained on.
SPLIT_SEED = 0
VALIDATION_ROWS = 30
TEST_ROWS = 30

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Rows:
    """Some flowers: `frame` holds the four float64 columns, `target` the species as 0, 1 or 2, row for row."""

    frame: DataFrame
    target: NDArray[np.int64]

    @cached_property
    def features(self) -> Tensor:
        """The columns as float32 [n, 4], what the network takes."""
        return torch.tensor(self.frame.to_numpy(dtype=np.float32))

    @cached_property
    def labels(self) -> Tensor:
        """The species as int64 [n]."""
        return torch.tensor(self.target)

    def dataset(self) -> TensorDataset:
        """Pairs of features and label."""
        return TensorDataset(self.features, self.labels)


@dataclass(frozen=True)
class Iris:
    """The three parts, 90, 30 and 30 rows with equally many of each species, and the species' names by number."""

    train: Rows
    validation: Rows
    test: Rows
    species: tuple[str, ...]


def load() -> Iris:
    """The same split each time and everywhere."""
    bunch = load_iris(as_frame=True)
    frame: DataFrame = bunch.data
    target = bunch.target.to_numpy(dtype=np.int64)

    def split(rows: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        kept, taken = train_test_split(rows, test_size=size, stratify=target[rows], random_state=SPLIT_SEED)
        return kept, taken

    rest, test = split(np.arange(len(frame)), TEST_ROWS)
    train, validation = split(rest, VALIDATION_ROWS)

    def rows(chosen: NDArray[np.int64]) -> Rows:
        return Rows(frame.iloc[chosen].reset_index(drop=True), target[chosen])

    species = tuple(str(name).upper() for name in bunch.target_names)
    return Iris(rows(train), rows(validation), rows(test), species)


class IrisDataModule(LightningDataModule):
    """Gives the training rows in a seeded order and the validation rows as one batch."""

    def __init__(self, iris: Iris, batch_size: int, seed: int) -> None:
        super().__init__()
        self.iris = iris
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """Each process of a distributed training gets its share of the rows."""
        dataset = self.iris.train.dataset()
        if self.trainer is not None and self.trainer.world_size > 1:
            sampler: DistributedSampler[Batch] = DistributedSampler(
                dataset, num_replicas=self.trainer.world_size, rank=self.trainer.global_rank, seed=self.seed
            )
            return DataLoader(dataset, batch_size=self.batch_size, sampler=sampler)
        order = torch.Generator().manual_seed(self.seed)
        return DataLoader(dataset, batch_size=self.batch_size, shuffle=True, generator=order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Each process gets all rows: to share 30 rows out would cost more, and could count a row twice."""
        return DataLoader(self.iris.validation.dataset(), batch_size=VALIDATION_ROWS)
