"""What `load` says when it cannot."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from image_files import folder_set, picture, png, write_parquet
from unshaken.data import load


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnits"}, "unknown dataset 'mnits': did you mean 'mnist'?"),
        ({"name": "no_such_package:f"}, "cannot import 'no_such_package' for the dataset 'no_such_package:f'"),
        ({"limit": 0}, "limit must be at least 1, got 0."),
        ({"limit": 598}, "limit is 598, but the test split of digits has only 597 images."),
        ({"held_out": 0}, "held_out must be a number above 0 and below 1; got 0."),
        ({"held_out": 1.0}, "held_out must be a number above 0 and below 1; got 1.0."),
        ({"held_out": 25, "split": "extra"}, "held_out must be a number above 0 and below 1; got 25."),
        ({"held_out": float("nan")}, "held_out must be a number above 0 and below 1; got nan."),
        (
            {"held_out": 0.0001},
            "held_out must leave an image in each part; got 0.0001, 0 of the 1200 of the train split of digits.",
        ),
        (
            {"held_out": 0.9999},
            "held_out must leave an image in each part; got 0.9999, 1200 of the 1200 of the train split of digits.",
        ),
        (
            {"held_out": 0.25, "limit": 301},
            "limit is 301, but the test part of the train split of digits has only 300 images.",
        ),
        ({"validation": 1}, "validation must be a number above 0 and below 1; got 1."),
        (
            {"validation": 0.01, "split": "train", "limit": 20},
            "validation must leave an image in each part; got 0.01, 0 of the 20 of the images of digits to train on.",
        ),
        ({"split": "validation"}, "digits has no split 'validation': choose one of test, train."),
        ({"size": (8, 8, 8)}, "size must be (height, width) or one number, each at least 1, got (8, 8, 8)."),
        ({"size": 0}, "size must be (height, width) or one number, each at least 1, got 0."),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError) as error:
        load(**{"name": "digits"} | arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([picture(0), picture(1, 9, 5)], [0, 1], "differ in size (image 0 is 6 x 4, image 1 is 9 x 5): give size="),
        ([picture(0), png(picture(1, 64, 64))[:-900]], [0, 1], "image 1 of the test split of"),
        ([picture(0), b"nothing"], [0, 1], "image 1 of the test split of"),
        ([picture(0)], ["cat"], "(column 'label') must be integers, got string."),
        ([picture(0)], [0.5], "(column 'label') must be integers, got double."),
        ([picture(0), picture(1)], [0, None], "1 labels of the test split of"),
        ([picture(0), picture(1)], [0, -1], "(column 'label') must be 0 or more, got -1."),
    ],
)
def test_a_wrong_image_or_label_is_named(tmp_path, images, labels, message):
    write_parquet(tmp_path / "test.parquet", images, labels)
    with pytest.raises(ValueError) as error:
        load(str(tmp_path))
    assert message in str(error.value)


def test_an_image_without_bytes_or_of_floats_is_named(tmp_path):
    stream = BytesIO()
    Image.new("F", (3, 3)).save(stream, "TIFF")
    write_parquet(tmp_path / "test.parquet", [stream.getvalue(), None], [0, 1])
    with pytest.raises(ValueError, match=r"image 0 of .* decoded: its pixels are floats of unknown range\.$"):
        load(str(tmp_path), limit=1)
    write_parquet(tmp_path / "train.parquet", [picture(0), None], [0, 1])
    with pytest.raises(ValueError, match=r"image 1 of .* cannot be decoded: it is missing\.$"):
        load(str(tmp_path), split="train")


def test_a_broken_image_matters_only_where_it_is_loaded(tmp_path):
    write_parquet(tmp_path / "test.parquet", [picture(0), b"nothing"], [0, 1])
    assert load(str(tmp_path), limit=1).x.shape == (1, 1, 6, 4)


def test_a_truncated_file_of_a_folder_is_named(tmp_path):
    folder_set(tmp_path, {f"test/cat/{i}.png": picture(i, 32, 32) for i in range(3)})
    path = tmp_path / "test" / "cat" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"image 2 of the test split of .* cannot be decoded: .*truncated"):
        load(str(tmp_path))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_is_named(tmp_path, label):
    write_parquet(tmp_path / "test.parquet", [picture(0)], [label], classes=["cat", "dog"])
    with pytest.raises(ValueError, match=rf"\(column 'label'\) must be from 0 to 1, got {label}\."):
        load(str(tmp_path))


def test_missing_columns_are_named(tmp_path):
    write_parquet(tmp_path / "test.parquet", [picture(0)], [0], label="kind")
    with pytest.raises(ValueError, match=r"has no labels: expected a ClassLabel column or .*, got image, kind\."):
        load(str(tmp_path))
    import datasets

    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"has no image column, got text, label\."):
        load(str(tmp_path), split="train")


def test_an_empty_set_is_refused(tmp_path):
    write_parquet(tmp_path / "test.parquet", [], [], classes=["cat"])
    with pytest.raises(ValueError, match=r"^the test split of .* is empty\.$"):
        load(str(tmp_path))
    (tmp_path / "folder" / "test" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^the test split of .* is empty\.$"):
        load(str(tmp_path / "folder"))


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = write_parquet(tmp_path / "test.parquet", [picture(0)], [0])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"^cannot read .*test\.parquet as parquet, is it truncated\?"):
        load(str(tmp_path))


def test_a_missing_split_names_the_others(tmp_path):
    write_parquet(tmp_path / "mnist" / "train.parquet", [picture(0)], [0])
    folder_set(tmp_path / "mnist", {"extra/0/0.png": picture(0)})
    with pytest.raises(ValueError, match=r"has no split 'test': choose one of extra, train; `hf download ylecun/mnist"):
        load("mnist", data_root=tmp_path)


def test_a_missing_file_is_named_with_the_command_that_gets_it(tmp_path):
    (tmp_path / "mnist").mkdir()
    command = rf"`hf download ylecun/mnist --repo-type dataset --local-dir {tmp_path / 'mnist'}`"
    with pytest.raises(FileNotFoundError, match=rf"no {tmp_path / 'mnist' / 'test'}\.parquet .*{command}"):
        load("mnist", data_root=tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"no {tmp_path / 'mnist' / 'test'}\.parquet .* put one of them"):
        load(str(tmp_path / "mnist"))
    with pytest.raises(FileNotFoundError, match=r"nowhere' is not a folder: expected one with test\.parquet"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"the data root '.*nowhere' is not a folder"):
        load("mnist", data_root=tmp_path / "nowhere")


@pytest.mark.usefixtures("offline")
def test_an_unreachable_hub_is_said_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load("cifar10")
    assert "cannot get 'uoft-cs/cifar10' from the Hugging Face Hub (" in str(error.value)
    assert "`hf download uoft-cs/cifar10 --repo-type dataset --local-dir DATA_ROOT/cifar10`" in str(error.value)
    assert "--data-root DATA_ROOT" in str(error.value)
    assert isinstance(error.value.__cause__, OSError)
