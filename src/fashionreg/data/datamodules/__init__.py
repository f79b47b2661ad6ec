"""LightningDataModules, one file for each kind of source; configurations name them by this package."""

from fashionreg.data.datamodules.arrays import ArrayDataModule
from fashionreg.data.datamodules.base import ImageDataModule, Splits
from fashionreg.data.datamodules.csv_file import CSVDataModule
from fashionreg.data.datamodules.fashion_mnist import FashionMNISTDataModule
from fashionreg.data.datamodules.sklearn_sets import SklearnDataModule
from fashionreg.data.datamodules.synthetic import SyntheticDataModule

__all__ = [
    "ArrayDataModule",
    "CSVDataModule",
    "FashionMNISTDataModule",
    "ImageDataModule",
    "SklearnDataModule",
    "Splits",
    "SyntheticDataModule",
]
