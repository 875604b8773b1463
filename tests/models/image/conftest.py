import pytest
import timm


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Names that timm is asked for from now on, and whether with the weights of their tags; it fetches none."""
    names: list[tuple[str, bool]] = []
    create = timm.create_model

    def recorded(name: str, pretrained: bool = False, **options: object) -> object:
        names.append((name, pretrained))
        return create(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", recorded)
    return names
