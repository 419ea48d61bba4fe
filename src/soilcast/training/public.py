"""What other rooms take from this one as `soilcast.training`."""

from soilcast.training.config import Config, load_config
from soilcast.training.keys import commented_yaml
from soilcast.training.produce import train
from soilcast.training.run import Run, open_run

__all__ = ["Config", "Run", "commented_yaml", "load_config", "open_run", "train"]
