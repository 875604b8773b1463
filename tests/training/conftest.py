from pathlib import Path

import pytest

from saltext.data import SyntheticDataModule


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> SyntheticDataModule:
    """A dozen generated images, ready to serve."""
    folder: Path = tmp_path_factory.mktemp("synthetic")
    module = SyntheticDataModule(
        folder / "data", images=20, image_size=(64, 96), map_size=(16, 24), batch_size=8, cache_dir=folder / "cache"
    )
    module.prepare_data()
    return module
