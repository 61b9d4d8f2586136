"""Image sets: what `load` returns, from every place it reads, and what it says when it cannot."""

from __future__ import annotations

import json
import socket
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unshaken import data
from unshaken.data import DATASETS, Data, load, load_images
from unshaken.runs.recipe import read_recipe
from unshaken.runs.units import load_data, load_split, load_unlabelled

REAL = Path(__file__).parents[3] / "shared" / "data"
WORDS = [str(c) for c in range(10)]


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    """`datasets` keeps prepared sets in a cache: give every test its own, and no data root."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.delenv("UNSHAKEN_DATA", raising=False)


@pytest.fixture
def offline(monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def picture(seed: int, height: int = 6, width: int = 4, mode: str = "L") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png(image: Image.Image, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def write(path: Path, images: list, labels: list, column="image", label="label", classes=None) -> Path:
    """A parquet file in the Hub's schema; with `classes` also with the Hub's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"bytes": png(i) if isinstance(i, Image.Image) else i, "path": None} for i in images]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({column: pa.array(cells, struct), label: pa.array(labels)})
    if classes is not None:
        features = {column: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": classes}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def folder_set(root: Path, images: dict[str, Image.Image]) -> Path:
    for name, image in images.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return root


def same(a: Data, b: Data) -> bool:
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a[2:] == b[2:]


# Digits


def test_digits_are_two_fixed_parts_of_the_whole():
    train, test = load("digits", split="train"), load("digits")
    assert train.x.shape == (1200, 1, 8, 8)
    assert test.x.shape == (597, 1, 8, 8)
    assert test.x.dtype == torch.float32
    assert test.y.dtype == torch.int64
    assert test.x.min() == 0
    assert test.x.max() == 1
    assert (test.classes, test.name, test.labels) == (10, "digits", tuple(WORDS))
    assert train.y[:5].tolist() == [0, 1, 2, 3, 4]
    assert not torch.equal(train.x[:597], test.x)


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_a_smaller_limit_is_a_prefix_of_a_larger_one(seed):
    few, more = load("digits", limit=5, seed=seed), load("digits", limit=9, seed=seed)
    assert torch.equal(few.x, more.x[:5])
    assert torch.equal(few.y, more.y[:5])


def test_a_seed_chooses_other_images_and_keeps_them_with_their_labels():
    whole, seeded = load("digits"), load("digits", seed=1)
    assert not torch.equal(whole.y, seeded.y)
    assert sorted(whole.y.tolist()) == sorted(seeded.y.tolist())
    assert not torch.equal(seeded.y, load("digits", seed=2).y)
    at = {tuple(x.flatten().tolist()): int(y) for x, y in zip(whole.x, whole.y, strict=True)}
    assert all(at[tuple(x.flatten().tolist())] == y for x, y in zip(seeded.x, seeded.y, strict=True))


def test_size_resizes_tensors_in_height_then_width():
    x = load("digits", limit=3, size=(5, 12)).x
    assert x.shape == (3, 1, 5, 12)
    assert x.min() >= 0
    assert x.max() <= 1
    assert load("digits", limit=3, size=8).x.equal(load("digits", limit=3).x)
    drift = load("digits", limit=3, size=[16, 16]).x.mean() - load("digits", limit=3).x.mean()
    assert abs(drift) < 0.01


# Parquet files


@pytest.mark.parametrize("classes", [None, WORDS])
@pytest.mark.parametrize(("column", "label"), [("image", "label"), ("img", "ClassId")])
@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_parquet_columns_are_found_by_type_or_name(tmp_path, classes, column, label, mode, channels):
    images = [picture(i, mode=mode) for i in range(4)]
    write(tmp_path / "test.parquet", images, [3, 0, 1, 2], column, label, classes)
    found = load(str(tmp_path))
    expected = np.stack([np.asarray(i) for i in images]).reshape(4, 6, 4, channels).transpose(0, 3, 1, 2)
    assert torch.equal(found.x, torch.from_numpy(expected / np.float32(255)))
    assert found.y.tolist() == [3, 0, 1, 2]
    assert found.labels == tuple(classes or "0123")
    assert found.classes == len(found.labels)


def test_the_number_of_classes_is_that_of_the_whole_split(tmp_path):
    write(tmp_path / "test.parquet", [picture(i) for i in range(3)], [0, 1, 6])
    assert load(str(tmp_path), limit=1).classes == 7


def test_only_the_images_asked_for_are_decoded(tmp_path, monkeypatch):
    write(tmp_path / "test.parquet", [picture(i) for i in range(5)], [0] * 5)
    decoded = []
    pixels = data._pixels
    monkeypatch.setattr(data, "_pixels", lambda *arguments: decoded.append(1) or pixels(*arguments))
    load(str(tmp_path), limit=2, seed=3)
    assert len(decoded) == 2


def test_seeded_images_of_a_file_match_the_whole(tmp_path):
    write(tmp_path / "test.parquet", [picture(i) for i in range(8)], list(range(8)))
    whole, part = load(str(tmp_path)), load(str(tmp_path), limit=4, seed=5)
    assert part.y.tolist() != [0, 1, 2, 3]
    assert torch.equal(part.x, whole.x[part.y])


def test_a_rewritten_file_is_read_again(tmp_path):
    path = write(tmp_path / "test.parquet", [picture(0)], [0])
    load(str(tmp_path))
    write(path, [picture(1), picture(2)], [1, 0])
    assert load(str(tmp_path)).y.tolist() == [1, 0]


def test_nothing_is_written_beside_the_data(tmp_path):
    write(tmp_path / "set" / "test.parquet", [picture(0)], [0])
    load(str(tmp_path / "set"))
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["test.parquet"]


@pytest.mark.parametrize("place", ["", "cropped_digits", "data"])
def test_shards_are_read_where_the_hub_puts_them(tmp_path, place):
    for part in range(2):
        write(tmp_path / "svhn" / place / f"test-0000{part}-of-00002.parquet", [picture(part)], [part])
    write(tmp_path / "svhn" / "full_numbers" / "test-00000-of-00001.parquet", [picture(5)], [5])
    assert load("svhn", data_root=tmp_path).y.tolist() == [0, 1]


def test_local_files_need_no_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address) or [])
    write(tmp_path / "a" / "test.parquet", [picture(0)], [0])
    folder_set(tmp_path / "b", {"test/cat/0.png": picture(0)})
    assert same(load(str(tmp_path / "a")), load(str(tmp_path / "a")))
    assert load(str(tmp_path / "b")).classes == 1
    assert asked == []


def test_a_path_with_pattern_characters_is_a_path(tmp_path):
    write(tmp_path / "[a]*" / "test.parquet", [picture(0)], [0])
    folder_set(tmp_path / "[b]?", {"test/cat/0.png": picture(0)})
    assert load(str(tmp_path / "[a]*")).y.tolist() == [0]
    assert load(str(tmp_path / "[b]?")).labels == ("cat",)


def test_progress_bars_are_quiet_and_come_back(tmp_path, capfd):
    import datasets

    write(tmp_path / "test.parquet", [picture(0)], [0])
    load(str(tmp_path))
    assert capfd.readouterr().err == ""
    assert not datasets.are_progress_bars_disabled()


# Image modes


def test_a_mixed_set_is_rgb_whatever_the_limit(tmp_path):
    grey, colour = picture(0), picture(1, mode="RGB")
    write(tmp_path / "test.parquet", [grey, grey, colour], [0, 0, 0])
    whole = load(str(tmp_path))
    assert whole.x.shape == (3, 3, 6, 4)
    assert torch.equal(whole.x[0, 0], whole.x[0, 2])
    assert torch.equal(load(str(tmp_path), limit=1).x, whole.x[:1])


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("LA", 1), ("RGBA", 3), ("P", 3)])
def test_other_modes_become_grey_or_rgb(tmp_path, mode, channels):
    image = picture(0, mode=mode)
    write(tmp_path / "test.parquet", [image], [0])
    x = load(str(tmp_path)).x
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.float32) / 255
    assert torch.equal(x[0], torch.from_numpy(expected.reshape(6, 4, channels).transpose(2, 0, 1)))


def test_a_transparent_palette_is_rgb(tmp_path):
    write(tmp_path / "test.parquet", [png(picture(0, mode="P"), transparency=bytes([9, 20, 30]))], [0])
    assert load(str(tmp_path)).x.shape == (1, 3, 6, 4)


def test_sixteen_bits_keep_their_range(tmp_path):
    pixels = np.array([[0, 257, 65535]], np.uint16)
    write(tmp_path / "test.parquet", [Image.fromarray(pixels)], [0])
    x = load(str(tmp_path)).x
    assert torch.allclose(x, torch.tensor([0, 1 / 255, 1]).reshape(1, 1, 1, 3))


def test_a_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    write(tmp_path / "test.parquet", [png(picture(0), exif=exif)], [0])
    upright = np.rot90(np.asarray(picture(0), np.float32) / 255, -1)
    assert torch.equal(load(str(tmp_path)).x[0, 0], torch.from_numpy(upright.copy()))


def test_size_brings_images_of_many_sizes_together(tmp_path):
    images = [picture(0), picture(1, 7, 5)]
    write(tmp_path / "test.parquet", images, [0, 1])
    x = load(str(tmp_path), size=(6, 4)).x
    resized = images[1].resize((4, 6), Image.Resampling.BILINEAR)
    assert torch.equal(x[0, 0], torch.from_numpy(np.asarray(images[0], np.float32) / 255))
    assert torch.equal(x[1, 0], torch.from_numpy(np.asarray(resized, np.float32) / 255))


# Image folders


def test_image_folders_are_ordered_by_class_and_file(tmp_path):
    pictures = {f"test/{c}/{i}.png": picture(i) for i in (1, 0) for c in ("dog", "cat")}
    folder_set(tmp_path, pictures)
    found = load(str(tmp_path))
    assert found.labels == ("cat", "dog")
    assert found.y.tolist() == [0, 0, 1, 1]
    assert torch.equal(found.x[2, 0], torch.from_numpy(np.asarray(picture(0), np.float32) / 255))


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
    found = load("gtsrb", split="train", data_root=traffic_signs(tmp_path), size=8)
    assert (found.x.shape, found.classes) == ((172, 3, 8, 8), 43)
    assert found.y.tolist() == [sign for sign in range(43) for _ in range(4)]
    assert found.labels[:2] == ("00000", "00001")
    resized = picture(423, 6 + 42 % 3 + 3, 8, mode="RGB").resize((8, 8), Image.Resampling.BILINEAR)
    assert torch.equal(found.x[-1], torch.from_numpy(np.asarray(resized, np.float32) / 255).permute(2, 0, 1))
    with pytest.raises(ValueError, match=r"^the images of the train split of gtsrb differ in size .*: give size="):
        load("gtsrb", held_out=0.25, data_root=tmp_path)
    with pytest.raises(ValueError, match=r"gtsrb has no split 'test': choose one of train; `hf download"):
        load("gtsrb", data_root=tmp_path)


def test_traffic_signs_are_split_made_grey_and_limited_from_files_of_either_kind(tmp_path):
    root = traffic_signs(tmp_path / "folders")
    paths = sorted((root / "gtsrb" / "train").glob("*/*.ppm"))
    images, signs = [Image.open(path) for path in paths], [int(path.parent.name) for path in paths]
    write(tmp_path / "files" / "gtsrb" / "train.parquet", images, signs, classes=[f"{c:05}" for c in range(43)])
    how = {"held_out": 0.25, "size": 8, "grey": True}
    whole = load("gtsrb", split="train", data_root=root, size=8)
    for source in (root, tmp_path / "files"):
        train, test = (load("gtsrb", split=split, data_root=source, **how) for split in ("train", "test"))
        assert (train.x.shape, test.x.shape) == ((129, 1, 8, 8), (43, 1, 8, 8))
        assert (train.classes, test.classes) == (43, 43)
        both = torch.cat([train.x, test.x])
        order = torch.cdist(whole.x.mean(1).flatten(1), both.flatten(1)).argmin(1)
        assert sorted(order.tolist()) == list(range(172))
        torch.testing.assert_close(both[order, 0], whole.x.mean(1))
        assert torch.equal(torch.cat([train.y, test.y])[order], whole.y)
    some = load("gtsrb", data_root=tmp_path / "files", limit=9, seed=4, **how)
    assert all((test.x == x).flatten(1).all(1).any() for x in some.x)


# A part of the train split to test on


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_held_out_images_are_the_same_for_every_seed_and_limit(tmp_path, seed):
    write(tmp_path / "train.parquet", [picture(i) for i in range(12)], list(range(12)))
    write(tmp_path / "test.parquet", [picture(i) for i in range(3)], [0, 1, 2])

    def labels(split: str, **how) -> list[int]:
        return load(str(tmp_path), split=split, held_out=0.25, seed=seed, **how).y.tolist()

    train, test = labels("train"), labels("test")
    assert sorted(test) == [0, 5, 8]
    assert sorted(train + test) == list(range(12))
    assert [train[:5], test[:2]] == [labels("train", limit=5), labels("test", limit=2)]
    if seed is None:
        assert train != sorted(train)  # a folder is ordered by class: the first of a part are not of one class
    elif seed:
        assert train != load(str(tmp_path), split="train", held_out=0.25).y.tolist()


def test_held_out_leaves_other_splits_and_the_set_alone(tmp_path):
    write(tmp_path / "train.parquet", [picture(i) for i in range(4)], [0, 1, 2, 3])
    write(tmp_path / "extra.parquet", [picture(i) for i in range(4, 7)], [4, 5, 6])
    assert load(str(tmp_path), split="extra", held_out=0.5).y.tolist() == [4, 5, 6]
    assert load(str(tmp_path), split="train").y.tolist() == [0, 1, 2, 3]


def test_shares_are_rounded():
    sizes = {share: len(load("digits", held_out=share).y) for share in (0.0005, 0.25, 0.9)}
    assert sizes == {0.0005: 1, 0.25: 300, 0.9: 1080}
    assert len(load("digits", split="train", held_out=0.25).y) == 900


@pytest.mark.parametrize("how", [{}, {"held_out": 0.25}, {"held_out": 0.25, "seed": 3}, {"seed": 3}, {"limit": 100}])
def test_validation_images_are_taken_from_those_to_train_on(how):
    whole = load("digits", split="train", **how)
    parts = [load("digits", split=split, validation=0.2, **how) for split in ("train", "validation")]
    rows = [{(*x.flatten().tolist(), int(y)) for x, y in zip(part.x, part.y, strict=True)} for part in (whole, *parts)]
    assert len(parts[1].y) == round(0.2 * len(whole.y)) == len(whole.y) - len(parts[0].y)
    assert rows[0] == rows[1] | rows[2]
    assert not rows[1] & rows[2]
    assert len({*parts[1].y.tolist()}) > 5, "they are not the first ones"
    assert same(load("digits", **how), load("digits", validation=0.2, **how)), "the test is what it was"


def test_images_without_labels_are_of_the_same_part_in_the_same_order():
    train = load("digits", split="train", held_out=0.25, seed=2)
    assert torch.equal(load_images("digits", held_out=0.25, seed=2, skip=10, limit=5), train.x[10:15])
    with pytest.raises(ValueError, match=r"^skip is 900, but the train part of the train split of digits has only 900"):
        load_images("digits", held_out=0.25, skip=900)


# Grey


def test_grey_is_the_plain_mean_of_the_colours(tmp_path):
    pure = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 255, 0), (10, 20, 60))]
    write(tmp_path / "test.parquet", [*pure, Image.new("L", (2, 2), 70)], [0, 0, 0, 0])
    x = load(str(tmp_path), grey=True).x
    assert x.shape == (4, 1, 2, 2)
    torch.testing.assert_close(x[:, 0, 0, 0], torch.tensor([1 / 3, 1 / 3, 30 / 255, 70 / 255]))
    assert torch.equal(load_images(str(tmp_path), split="test", grey=True), x)


def test_grey_images_stay_what_they_are():
    assert same(load("digits", limit=5, grey=True), load("digits", limit=5))


# What a recipe loads


def recipe_data(**settings) -> dict:
    words = [f"data.{word}={value}" for word, value in settings.items()]
    return read_recipe("demo", preset="smoke", settings=words).config


def test_a_recipe_loads_both_parts_of_its_train_split():
    config = recipe_data(held_out=0.25, train_limit=600, test_limit=200)
    found = load_data(config, None, torch.device("cpu"))
    rows = {split: {tuple(x.flatten().tolist()) for x in data.x} for split, data in found.items()}
    assert (len(rows["train"]), len(rows["test"])) == (600, 200)
    assert not rows["train"] & rows["test"]
    assert same(found["test"], load("digits", held_out=0.25, limit=200))


def test_a_recipe_loads_the_images_that_its_curves_are_on():
    config = recipe_data(validation=0.25, train_limit=200, test_limit=50)
    sizes = []
    for split in (None, "test", "validation"):
        curves = {"curves": {"split": split, "limit": 50}} if split else {}
        found = load_data(config | curves, None, torch.device("cpu"))
        sizes.append({name: len(data.y) for name, data in found.items()})
    assert sizes == [{"test": 50, "train": 150}] * 2 + [{"test": 50, "train": 150, "validation": 50}]
    with pytest.raises(ValueError, match=r"^\[curves\]: limit is 51, but there are 50 images of validation\.$"):
        load_data(config | {"curves": {"split": "validation", "limit": 51}}, None, torch.device("cpu"))


def test_unlabelled_images_are_held_out_where_their_set_is_the_same(tmp_path):
    colours = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(20)]
    write(tmp_path / "other" / "train.parquet", colours, [0] * 20)
    config = recipe_data(held_out=0.25, grey=True) | {"models": [{"training": {"teacher": "a"}}]}

    def unlabelled(name: str) -> torch.Tensor | None:
        config["data"]["unlabelled"] = {"name": name, "skip": 5, "limit": 9}
        return load_unlabelled(config, tmp_path, torch.device("cpu"))

    assert torch.equal(unlabelled("digits"), load_images("digits", skip=5, limit=9, held_out=0.25))
    assert torch.equal(unlabelled("other")[:, 0, 0, 0], torch.arange(50, 140, 10) / 255 / 3)


def test_a_stored_recipe_from_before_these_settings_still_says_what_to_load():
    section = recipe_data(test_limit=20)["data"]
    older = {word: value for word, value in section.items() if word not in ("grey", "held_out")}
    assert same(load_split(older, "test", None, torch.device("cpu")), load("digits", limit=20))


# Where sets are looked for


def test_the_data_root_is_an_argument_or_a_variable(tmp_path, monkeypatch):
    write(tmp_path / "a" / "mnist" / "test.parquet", [picture(0)], [1])
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
    write(tmp_path / "test.parquet", [picture(0), picture(1)], [0, 1])
    monkeypatch.syspath_prepend(tmp_path)
    found = load("their_sets:noise", limit=2, size=5)
    assert found.x.shape == (2, 3, 5, 5)
    assert load("their_sets:noise", size=5, grey=True).x.shape == (4, 1, 5, 5)
    assert (found.name, found.labels) == ("their_sets:noise", ("a", "b"))
    assert load("their_sets:files", data_root=tmp_path).y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"unknown function of their_sets 'nose': did you mean 'noise'"):
        load("their_sets:nose")
    sys.modules.pop("their_sets")


def test_a_hub_name_is_asked_of_the_hub(tmp_path, monkeypatch):
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet

    write(tmp_path / "test.parquet", [picture(0)], [0])
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


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnits"}, "unknown dataset 'mnits': did you mean 'mnist'?"),
        (
            {"name": "no_such_package:f"},
            "cannot import 'no_such_package' for the dataset 'no_such_package:f'",
        ),
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
        (
            [picture(0), picture(1, 9, 5)],
            [0, 1],
            "differ in size (image 0 is 6 x 4, image 1 is 9 x 5): give size=",
        ),
        ([picture(0), png(picture(1, 64, 64))[:-900]], [0, 1], "image 1 of the test split of"),
        ([picture(0), b"nothing"], [0, 1], "image 1 of the test split of"),
        ([picture(0)], ["cat"], "(column 'label') must be integers, got string."),
        ([picture(0)], [0.5], "(column 'label') must be integers, got double."),
        ([picture(0), picture(1)], [0, None], "1 labels of the test split of"),
        ([picture(0), picture(1)], [0, -1], "(column 'label') must be 0 or more, got -1."),
    ],
)
def test_a_wrong_image_or_label_is_named(tmp_path, images, labels, message):
    write(tmp_path / "test.parquet", images, labels)
    with pytest.raises(ValueError) as error:
        load(str(tmp_path))
    assert message in str(error.value)


def test_an_image_without_bytes_or_of_floats_is_named(tmp_path):
    stream = BytesIO()
    Image.new("F", (3, 3)).save(stream, "TIFF")
    write(tmp_path / "test.parquet", [stream.getvalue(), None], [0, 1])
    with pytest.raises(ValueError, match=r"image 0 of .* decoded: its pixels are floats of unknown range\.$"):
        load(str(tmp_path), limit=1)
    write(tmp_path / "train.parquet", [picture(0), None], [0, 1])
    with pytest.raises(ValueError, match=r"image 1 of .* cannot be decoded: it is missing\.$"):
        load(str(tmp_path), split="train")


def test_a_broken_image_matters_only_where_it_is_loaded(tmp_path):
    write(tmp_path / "test.parquet", [picture(0), b"nothing"], [0, 1])
    assert load(str(tmp_path), limit=1).x.shape == (1, 1, 6, 4)


def test_a_truncated_file_of_a_folder_is_named(tmp_path):
    folder_set(tmp_path, {f"test/cat/{i}.png": picture(i, 32, 32) for i in range(3)})
    path = tmp_path / "test" / "cat" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"image 2 of the test split of .* cannot be decoded: .*truncated"):
        load(str(tmp_path))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_is_named(tmp_path, label):
    write(tmp_path / "test.parquet", [picture(0)], [label], classes=["cat", "dog"])
    with pytest.raises(ValueError, match=rf"\(column 'label'\) must be from 0 to 1, got {label}\."):
        load(str(tmp_path))


def test_missing_columns_are_named(tmp_path):
    write(tmp_path / "test.parquet", [picture(0)], [0], label="kind")
    with pytest.raises(ValueError, match=r"has no labels: expected a ClassLabel column or .*, got image, kind\."):
        load(str(tmp_path))
    import datasets

    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"has no image column, got text, label\."):
        load(str(tmp_path), split="train")


def test_an_empty_set_is_refused(tmp_path):
    write(tmp_path / "test.parquet", [], [], classes=["cat"])
    with pytest.raises(ValueError, match=r"^the test split of .* is empty\.$"):
        load(str(tmp_path))
    (tmp_path / "folder" / "test" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^the test split of .* is empty\.$"):
        load(str(tmp_path / "folder"))


def test_a_truncated_parquet_file_is_named(tmp_path):
    path = write(tmp_path / "test.parquet", [picture(0)], [0])
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"^cannot read .*test\.parquet as parquet, is it truncated\?"):
        load(str(tmp_path))


def test_a_missing_split_names_the_others(tmp_path):
    write(tmp_path / "mnist" / "train.parquet", [picture(0)], [0])
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


# Real files, where there are some


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="no real MNIST here")
def test_real_mnist():
    found = load("mnist", data_root=REAL, limit=500)
    assert found.x.shape == (500, 1, 28, 28)
    assert found.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert (found.classes, found.labels) == (10, tuple(WORDS))
    assert same(load("mnist", data_root=REAL, limit=20, seed=4), load("mnist", data_root=REAL, limit=20, seed=4))


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="no real CIFAR-10 here")
def test_real_cifar10():
    found = load("cifar10", split="train", data_root=REAL, limit=500, seed=1)
    assert found.x.shape == (500, 3, 32, 32)
    assert (found.x.min(), found.x.max()) == (0, 1)
    assert found.labels[found.classes - 1] == "truck"
    assert set(found.y.tolist()) == set(range(10))


def test_a_folder_of_the_data_root_is_a_set_by_its_name(tmp_path):
    folder = tmp_path / "mine" / "test" / "a"
    folder.mkdir(parents=True)
    Image.new("L", (4, 4), 128).save(folder / "0.png")
    assert load("mine", data_root=tmp_path).x.shape == (1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"unknown dataset 'mime'.*There is no folder .*mime either"):
        load("mime", data_root=tmp_path)
