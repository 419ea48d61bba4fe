"""Training: configuration, split, normalisation, sampling, the loop and the run on disk."""

from soilcast.training.config import Config, load_config
from soilcast.training.keys import commented_yaml
from soilcast.training.run import Run, open_run
from soilcast.training.train import train

__all__ = ["Config", "Run", "commented_yaml", "load_config", "open_run", "train"]
