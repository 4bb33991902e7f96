"""The dataset's former place."""

from distill.data.dataset import Dataset as Dataset
from distill.data.dataset import Example as Example
from distill.data.dataset import build as build
from distill.data.dataset import common_head as common_head
