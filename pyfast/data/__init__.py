"""Batches from arrays and datasets, reshuffled every epoch from one seed."""

from .dataset import Dataset, TensorDataset
from .loader import DataLoader

__all__ = ["DataLoader", "Dataset", "TensorDataset"]
