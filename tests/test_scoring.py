import torch

from saltext.data import SyntheticDataModule
from saltext.scoring import centre_prior


def test_the_centre_prior_is_the_mean_of_the_training_maps_of_the_task(data: SyntheticDataModule) -> None:
    prior = centre_prior(data)
    of_task = [i for i in data.indices("train") if data.pairs[i].task == "salient"]
    maps = torch.stack([torch.from_numpy(data.cache.density[i].astype("float64")) for i in of_task])
    expected = (maps / maps.sum((1, 2), keepdim=True)).mean(0)
    torch.testing.assert_close(prior.predict(["salient"])[0, 0].double(), expected, atol=1e-7, rtol=0)
