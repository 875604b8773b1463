import torch

from saltext.models.attention import resize_positions


def test_positions_of_the_learned_grid_are_used_as_they_are() -> None:
    embeddings = torch.randn(1, 6, 8)
    assert resize_positions(embeddings, (2, 3), (2, 3)) is embeddings


def test_resized_positions_keep_their_place() -> None:
    rows = torch.arange(4.0).view(4, 1).expand(4, 6)
    resized = resize_positions(rows.reshape(1, 24, 1), (4, 6), (8, 6)).view(8, 6)
    assert (resized.diff(dim=0) > 0).all()
    torch.testing.assert_close(resized[:, 0], resized[:, -1])
