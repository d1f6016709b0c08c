"""One rule for finding the labels of a sample."""

import collections

import pytest

from torchprotect.errors import LabelError
from torchprotect.transforms.labels import find_labels, map_labels

Point = collections.namedtuple("Point", "image label id")


@pytest.mark.parametrize(
    ("sample", "renamed"),
    [
        (("x", 4), ("x", 5)),
        (["x", 4, "id"], ["x", 5, "id"]),
        (Point("x", 4, "id"), Point("x", 5, "id")),
        ({"image": "x", "label": 4}, {"image": "x", "label": 5}),
        ({"image": "x", "Fine Labels": 4}, {"image": "x", "Fine Labels": 5}),
        ({"png": "x", "cls": 4}, {"png": "x", "cls": 5}),
        (("x", {"labels": 4, "id": 1}), ("x", {"labels": 5, "id": 1})),
    ],
)
def test_labels_are_found_and_renamed(sample, renamed):
    assert find_labels(sample) == 4
    result = map_labels(sample, lambda label: label + 1)
    assert result == renamed
    assert type(result) is type(sample)
    assert find_labels(sample) == 4  # the sample itself is unchanged


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("x", "no label in a str"),
        (("x",), "no label in a tuple"),
        ({"image": "x", 3: 4}, r"no label in a dict of \['3', 'image'\]"),
        (("x", {"id": 1}), r"no label in a dict of \['id'\]"),
        ({"label": 4, "label_name": "cat"}, r"several labels in a dict, \['label', 'label_name'\]"),
        ({"label": 4, "cls": 4}, "several labels"),
    ],
)
def test_samples_without_one_label(sample, message):
    for use in (find_labels, lambda sample: map_labels(sample, str)):
        with pytest.raises(LabelError, match=message):
            use(sample)
