"""What each of several processes ended its training with."""

import hashlib
import json
import os
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback


class RankRecord(Callback):
    """Writes how many processes there are, the seed and a hash of the parameters into ``FOLDER/RANK.json``."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        weights = hashlib.sha256()
        for name, parameter in sorted(pl_module.named_parameters()):
            weights.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
        self.folder.mkdir(parents=True, exist_ok=True)
        seen = {"world": trainer.world_size, "seed": os.environ["PL_GLOBAL_SEED"], "weights": weights.hexdigest()}
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(seen))
