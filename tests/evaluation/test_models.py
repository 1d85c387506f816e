import pytest

from rlhf.errors import ConfigError
from rlhf.evaluation.models import labelled_models


def test_labels():
    assert labelled_models(None, "hub/name") == {"model": "hub/name"}
    assert labelled_models(["outputs/a/", "b"], "x") == {"a": "outputs/a/", "b": "b"}
    assert labelled_models({"start": "p"}, "x") == {"start": "p"}


@pytest.mark.parametrize(
    ("models", "said"), [(["x/a", "y/a"], "two models would be called 'a'"), ([], "models is empty")]
)
def test_what_is_refused(models, said):
    with pytest.raises(ConfigError, match=said):
        labelled_models(models, "x")
