"""Where images come from: files, folders, functions, the Hub."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import folder_set, picture, same_data, write_parquet
from unshaken.data import DATASETS, columns, load

REAL = Path(__file__).parents[3] / "shared" / "data"
DIGITS = [str(digit) for digit in range(10)]


@pytest.mark.parametrize("classes", [None, DIGITS])
@pytest.mark.parametrize(("column", "label"), [("image", "label"), ("img", "ClassId")])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_parquet_columns_are_found_by_type_or_name(tmp_path, classes, column, label, mode, channels):
    images = [picture(i, mode=mode) for i in range(4)]
    write_parquet(tmp_path / "test.parquet", images, [3, 0, 1, 2], column, label, classes)
    data = load(str(tmp_path))
    expected = np.stack([np.asarray(i) for i in images]).reshape(4, 6, 4, channels).transpose(0, 3, 1, 2)
    assert torch.equal(data.x, torch.from_numpy(expected / np.float32(255)))
    assert data.y.tolist() == [3, 0, 1, 2]
    assert data.labels == tuple(classes or "0123")
    assert data.classes == len(data.labels)


def test_the_number_of_classes_is_that_of_the_whole_split(tmp_path):
    write_parquet(tmp_path / "test.parquet", [picture(i) for i in range(3)], [0, 1, 6])
    assert load(str(tmp_path), limit=1).classes == 7


def test_only_the_images_asked_for_are_decoded(tmp_path, monkeypatch):
    write_parquet(tmp_path / "test.parquet", [picture(i) for i in range(5)], [0] * 5)
    decoded = []
    decode = columns.decode
    monkeypatch.setattr(columns, "decode", lambda *arguments: decoded.append(1) or decode(*arguments))
    load(str(tmp_path), limit=2, seed=3)
    assert len(decoded) == 2


def test_seeded_images_of_a_file_match_the_whole(tmp_path):
    write_parquet(tmp_path / "test.parquet", [picture(i) for i in range(8)], list(range(8)))
    whole, seeded = load(str(tmp_path)), load(str(tmp_path), limit=4, seed=5)
    assert seeded.y.tolist() != [0, 1, 2, 3]
    assert torch.equal(seeded.x, whole.x[seeded.y])


def test_a_rewritten_file_is_read_again(tmp_path):
    path = write_parquet(tmp_path / "test.parquet", [picture(0)], [0])
    load(str(tmp_path))
    write_parquet(path, [picture(1), picture(2)], [1, 0])
    assert load(str(tmp_path)).y.tolist() == [1, 0]


def test_nothing_is_written_beside_the_data(tmp_path):
    write_parquet(tmp_path / "set" / "test.parquet", [picture(0)], [0])
    load(str(tmp_path / "set"))
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["test.parquet"]


@pytest.mark.parametrize("folder", ["", "cropped_digits", "data"])
def test_shards_are_read_where_the_hub_puts_them(tmp_path, folder):
    for shard in range(2):
        write_parquet(tmp_path / "svhn" / folder / f"test-0000{shard}-of-00002.parquet", [picture(shard)], [shard])
    write_parquet(tmp_path / "svhn" / "full_numbers" / "test-00000-of-00001.parquet", [picture(5)], [5])
    assert load("svhn", data_root=tmp_path).y.tolist() == [0, 1]


def test_local_files_need_no_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address) or [])
    write_parquet(tmp_path / "a" / "test.parquet", [picture(0)], [0])
    folder_set(tmp_path / "b", {"test/cat/0.png": picture(0)})
    assert same_data(load(str(tmp_path / "a")), load(str(tmp_path / "a")))
    assert load(str(tmp_path / "b")).classes == 1
    assert asked == []


def test_a_path_with_pattern_characters_is_a_path(tmp_path):
    write_parquet(tmp_path / "[a]*" / "test.parquet", [picture(0)], [0])
    folder_set(tmp_path / "[b]?", {"test/cat/0.png": picture(0)})
    assert load(str(tmp_path / "[a]*")).y.tolist() == [0]
    assert load(str(tmp_path / "[b]?")).labels == ("cat",)


def test_progress_bars_are_quiet_and_come_back(tmp_path, capfd):
    import datasets

    write_parquet(tmp_path / "test.parquet", [picture(0)], [0])
    load(str(tmp_path))
    assert capfd.readouterr().err == ""
    assert not datasets.are_progress_bars_disabled()


# Image folders


def test_image_folders_are_ordered_by_class_and_file(tmp_path):
    pictures = {f"test/{c}/{i}.png": picture(i) for i in (1, 0) for c in ("dog", "cat")}
    folder_set(tmp_path, pictures)
    data = load(str(tmp_path))
    assert data.labels == ("cat", "dog")
    assert data.y.tolist() == [0, 0, 1, 1]
    assert torch.equal(data.x[2, 0], torch.from_numpy(np.asarray(picture(0), np.float32) / 255))


def test_a_class_has_one_number_in_every_split(tmp_path):
    folder_set(tmp_path, {f"train/{c}/0.png": picture(0) for c in ("9", "10", "11")})
    folder_set(tmp_path, {"test/10/0.png": picture(1), "test/11/0.png": picture(2)})
    assert load(str(tmp_path), split="train").labels == ("9", "10", "11")
    assert load(str(tmp_path)).y.tolist() == [1, 2]


def test_files_that_are_not_images_are_passed_over(tmp_path):
    folder_set(tmp_path, {"test/00000/0.ppm": picture(0, mode="RGB"), "test/00001/1.ppm": picture(1, mode="RGB")})
    for name in ("GT-00000.csv", "metadata.csv"):
        (tmp_path / "test" / "00000" / name).write_text("file_name,ClassId\n0.ppm,1\n")
    assert load(str(tmp_path)).y.tolist() == [0, 1]


# Traffic signs


def traffic_signs(root: Path) -> Path:
    """A data root with the layout of the official archive: 43 classes, 2 tracks each, of 2 images of growing size."""
    for sign in range(43):
        names = [f"{track:05}_{frame:05}.ppm" for track in range(2) for frame in range(2)]
        sides = [(6 + sign % 3 + i, 5 + i) for i in range(4)]
        images = [picture(10 * sign + i, *sides[i], mode="RGB") for i in range(4)]
        folder = root / "gtsrb" / "train" / f"{sign:05}"
        folder_set(folder, dict(zip(names, images, strict=True)))
        (folder / f"GT-{sign:05}.csv").write_text("Filename;Width;Height;ClassId\n")
    return root


def test_the_archive_of_gtsrb_is_read_as_it_is_unpacked(tmp_path):
    data = load("gtsrb", split="train", data_root=traffic_signs(tmp_path), size=8)
    assert (data.x.shape, data.classes) == ((172, 3, 8, 8), 43)
    assert data.y.tolist() == [sign for sign in range(43) for _ in range(4)]
    assert data.labels[:2] == ("00000", "00001")
    resized = picture(423, 6 + 42 % 3 + 3, 8, mode="RGB").resize((8, 8), Image.Resampling.BILINEAR)
    assert torch.equal(data.x[-1], torch.from_numpy(np.asarray(resized, np.float32) / 255).permute(2, 0, 1))
    with pytest.raises(ValueError, match=r"^the images of the train split of gtsrb differ in size .*: give size="):
        load("gtsrb", held_out=0.25, data_root=tmp_path)
    with pytest.raises(ValueError, match=r"gtsrb has no split 'test': choose one of train; `hf download"):
        load("gtsrb", data_root=tmp_path)


def test_traffic_signs_are_split_made_grey_and_limited_from_files_of_either_kind(tmp_path):
    root = traffic_signs(tmp_path / "folders")
    paths = sorted((root / "gtsrb" / "train").glob("*/*.ppm"))
    images, signs = [Image.open(path) for path in paths], [int(path.parent.name) for path in paths]
    write_parquet(tmp_path / "files" / "gtsrb" / "train.parquet", images, signs, classes=[f"{c:05}" for c in range(43)])
    settings = {"held_out": 0.25, "size": 8, "grey": True}
    whole = load("gtsrb", split="train", data_root=root, size=8)
    for source in (root, tmp_path / "files"):
        train, test = (load("gtsrb", split=split, data_root=source, **settings) for split in ("train", "test"))
        assert (train.x.shape, test.x.shape) == ((129, 1, 8, 8), (43, 1, 8, 8))
        assert (train.classes, test.classes) == (43, 43)
        both = torch.cat([train.x, test.x])
        order = torch.cdist(whole.x.mean(1).flatten(1), both.flatten(1)).argmin(1)
        assert sorted(order.tolist()) == list(range(172))
        torch.testing.assert_close(both[order, 0], whole.x.mean(1))
        assert torch.equal(torch.cat([train.y, test.y])[order], whole.y)
    some = load("gtsrb", data_root=tmp_path / "files", limit=9, seed=4, **settings)
    assert all((test.x == x).flatten(1).all(1).any() for x in some.x)


# Where sets are looked for


def test_the_data_root_is_an_argument_or_a_variable(tmp_path, monkeypatch):
    write_parquet(tmp_path / "a" / "mnist" / "test.parquet", [picture(0)], [1])
    folder_set(tmp_path / "b" / "mnist", {"test/0/0.png": picture(0), "test/1/0.png": picture(1)})
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path / "b"))
    assert len(load("mnist").y) == 2
    assert len(load("mnist", data_root=tmp_path / "a").y) == 1
    assert load("mnist").name == "mnist"


def test_a_function_of_another_package_is_a_source(tmp_path, monkeypatch):
    (tmp_path / "their_sets.py").write_text(
        "import torch\nfrom unshaken.data import Data, local_images\n"
        "def noise(split, data_root):\n"
        "    return Data(torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 0, 1]), 2, '', ('a', 'b'))\n"
        "def files(split, data_root):\n    return local_images(data_root, split)\n"
    )
    write_parquet(tmp_path / "test.parquet", [picture(0), picture(1)], [0, 1])
    monkeypatch.syspath_prepend(tmp_path)
    data = load("their_sets:noise", limit=2, size=5)
    assert data.x.shape == (2, 3, 5, 5)
    assert load("their_sets:noise", size=5, grey=True).x.shape == (4, 1, 5, 5)
    assert (data.name, data.labels) == ("their_sets:noise", ("a", "b"))
    assert load("their_sets:files", data_root=tmp_path).y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"unknown function of their_sets 'nose': did you mean 'noise'"):
        load("their_sets:nose")
    sys.modules.pop("their_sets")


def test_a_hub_name_is_asked_of_the_hub(tmp_path, monkeypatch):
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet

    write_parquet(tmp_path / "test.parquet", [picture(0)], [0])
    asked = []

    def builder(path, name=None):
        asked.append((path, name))
        return Parquet(data_files={"test": str(tmp_path / "test.parquet")})

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    assert load("someone/some.set").y.tolist() == [0]
    assert load("svhn", data_root=tmp_path).y.tolist() == [0]
    assert asked == [("someone/some.set", None), ("ufldl-stanford/svhn", "cropped_digits")]
    with pytest.raises(ValueError, match=r"^someone/some.set has no split 'val': choose one of test\.$"):
        load("someone/some.set", split="val")


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_set_names_its_splits(name):
    with pytest.raises(ValueError, match=r"has no split 'tset': choose one of (extra, )?test, train\.$"):
        load(name, split="tset")


# Real files, where there are some


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="no real MNIST here")
def test_real_mnist():
    data = load("mnist", data_root=REAL, limit=500)
    assert data.x.shape == (500, 1, 28, 28)
    assert data.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert (data.classes, data.labels) == (10, tuple(DIGITS))
    assert same_data(load("mnist", data_root=REAL, limit=20, seed=4), load("mnist", data_root=REAL, limit=20, seed=4))


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no real CIFAR-10 here")
def test_real_cifar10():
    data = load("cifar10", split="train", data_root=REAL, limit=500, seed=1)
    assert data.x.shape == (500, 3, 32, 32)
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert data.labels[data.classes - 1] == "truck"
    assert set(data.y.tolist()) == set(range(10))


def test_a_folder_of_the_data_root_is_a_set_by_its_name(tmp_path):
    folder = tmp_path / "mine" / "test" / "a"
    folder.mkdir(parents=True)
    Image.new("L", (4, 4), 128).save(folder / "0.png")
    assert load("mine", data_root=tmp_path).x.shape == (1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"unknown dataset 'mime'.*There is no folder .*mime either"):
        load("mime", data_root=tmp_path)
