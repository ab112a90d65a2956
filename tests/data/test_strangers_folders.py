"""Folders as people have them: somebody's split is read or refused, never drawn anew; a class is one class."""

import gzip
import json
import os
import pickle
import struct
import unicodedata

import numpy as np
import pytest
from PIL import Image

from anrot_lib.core.errors import UserError
from anrot_lib.data import splits
from anrot_lib.data.preparation import split_choice
from anrot_lib.data.preparation.prepare import plan, prepare
from anrot_lib.data.readers import layouts
from anrot_lib.data.readers.split_names import read_part

KINDS = tuple(f"kind{c}" for c in range(6))
OWN = {"train": KINDS[:3], "val": KINDS[3:4], "test": KINDS[4:]}


def read_split(folder, layout="auto"):
    """{part: classes} that `prepare` would take."""
    return split_choice.choose(layouts.read(folder, layout), "auto", 0).classes


def picture(path, seed=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(abs(hash(str(path))) if seed is None else seed)
    Image.fromarray(noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def tree(folder, *patterns, images=2, suffix="png"):
    """Two pictures in each folder; "a|b/x|y" stands for a/x, a/y, b/x and b/y."""
    for pattern in patterns:
        places = [folder]
        for part in pattern.split("/"):
            places = [place / name for place in places for name in part.split("|")]
        for place in places:
            for i in range(images):
                picture(place / f"{i}.{suffix}")
    return folder


# --- folders of a split ---


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "dev", "test"), ("train", "val", "test")),
        (("Training", "Validation", "Testing"), ("train", "val", "test")),
        (("training_set", "val_set", "test_set"), ("train", "val", "test")),
        (("meta_train", "meta_val", "meta_test"), ("train", "val", "test")),
        (("metatrain", "metaval", "metatest"), ("train", "val", "test")),
        (("base", "val", "novel"), ("train", "val", "test")),
        (("trainval", "test"), ("train", "test")),
        (("train_val", "test"), ("train", "test")),
        (("background", "evaluation"), ("train", "test")),
        (("train", "eval"), ("train", "test")),
        (("train", "eval", "test"), ("train", "val", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("images_train", "images_test"), ("train", "test")),
        (("train2017", "val2017", "test2017"), ("train", "val", "test")),
        (("TRAIN SET", "Test-Set"), ("train", "test")),
        (("train_set", "validate", "test_set"), ("train", "val", "test")),
        (("birds_train", "birds_test"), ("train", "test")),
        (("few_shot_train", "few_shot_val", "few_shot_test"), ("train", "val", "test")),
        (("ILSVRC2012_img_train", "ILSVRC2012_img_val"), ("train", "val")),
        (("TrainIJCNN2013", "TestIJCNN2013"), ("train", "test")),
        (("trainA", "testA"), ("train", "test")),
        (("trn", "tst"), ("train", "test")),
        (("Xtrain", "Xval", "Xtest"), ("train", "val", "test")),
        (("trainimages", "testimages"), ("train", "test")),
        (("seen", "unseen"), ("train", "test")),
        (("训练集", "测试集"), ("train", "test")),
    ],
)
def test_folders_of_a_split_are_known_by_their_usual_names(tmp_path, names, parts):
    for k, name in enumerate(names):
        tree(tmp_path, f"{name}/kind{2 * k}|kind{2 * k + 1}")
    (tmp_path / "docs").mkdir()
    tree(tmp_path, "predictions")  # photos without a class, beside the split
    expected = {part: (f"kind{2 * k}", f"kind{2 * k + 1}") for k, part in enumerate(parts)}
    assert read_split(tmp_path) == expected
    assert "passed over beside them: docs, predictions" in layouts.read(tmp_path).summary


@pytest.mark.parametrize(
    "word", ["bus", "train ticket", "background noise", "contest", "basement", "value", "2017", ""]
)
def test_other_names_are_no_part_of_a_split(word):
    assert read_part(word) is None


@pytest.mark.parametrize(
    "names", ["Training|Testing", "train|test", "seg_train|seg_test", "trainval|test", "train|eval"]
)
def test_classes_on_both_sides_of_a_split_are_refused_not_counted_twice(tmp_path, names):
    tree(tmp_path, f"{names}/kind0|kind1|kind2|kind3")
    with pytest.raises(UserError, match="train and test share 4 classes"):
        prepare(tmp_path, size=8, out=tmp_path / "out")
    drawn = prepare(tmp_path, size=8, split="random", out=tmp_path.parent / f"{tmp_path.name}-out")
    assert drawn.class_names == ("kind0", "kind1", "kind2", "kind3") and len(drawn) == 16


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("train/a|b", "training/c|d", "test/e"), "'train' and 'training' both look like the train part"),
        (("trainval/a|b", "train/a", "val/b", "test/c"), "both look like the train part"),
        (("train/a|b", "holdout/c|d"), "'train' looks like a part of a split, and 'holdout' beside it does not"),
        (("tr/a|b", "te/c|d"), "'te' and 'tr' may be the parts of a split"),
        (("Trainingsdaten/a|b", "Testdaten/c"), "'Testdaten' and 'Trainingsdaten' may be the parts of a split"),
        (("mini/train/a|b", "mini/test/c", "tiered/train/d", "tiered/test/e"), "'mini' is split into train and test"),
        (("images/train/a|b", "images/test/c", "thumbnails"), "'images' is split into train and test"),
        (("train", "val", "test"), "look like the parts of a split, but hold no folder for each class"),
        (("train/a|b|c", "test"), "only train has images with classes.*--split random"),
        (("train/a|b|c", "test/images"), "only train has images with classes.*--split random"),
        (("train_cat|train_dog|val_owl|test_cow",), "'test_cow' and 'val_owl', say a part of a split"),
        (("cat train|dog train|cow test",), "'cat train' and 'dog train', say a part of a split"),
    ],
)
def test_a_split_that_cannot_be_read_is_refused_and_not_drawn(tmp_path, patterns, message):
    with pytest.raises(UserError, match=message):
        read_split(tree(tmp_path, *patterns))


def test_archives_that_hold_their_folder_twice_are_entered(tmp_path):
    tree(tmp_path, "seg_train/seg_train/a|b", "seg_test/seg_test/c", "seg_pred/seg_pred")
    assert read_split(tmp_path) == {"train": ("a", "b"), "test": ("c",)}


def tiny_imagenet(folder):
    """tiny-imagenet-200 as it comes: val is one folder with a list, test has no classes at all."""
    tree(folder, "train/n01|n02|n03|n04/images", suffix="JPEG")
    lines = []
    for k in range(8):
        picture(folder / "val" / "images" / f"val_{k}.JPEG")
        lines.append(f"val_{k}.JPEG\tn0{k % 4 + 1}\t0\t32\t44\t62")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines))
    tree(folder, "test/images", suffix="JPEG", images=3)
    (folder / "wnids.txt").write_text("n01\nn02\nn03\nn04\n")
    (folder / "words.txt").write_text("n01\tfish\nn02\tdog\n")
    return folder


@pytest.mark.parametrize("place", ["val_annotations.txt", "val/labels.txt", "val/images/val_annotations.txt"])
def test_the_annotations_of_a_part_may_lie_beside_it_or_in_it(tmp_path, place):
    folder = tiny_imagenet(tmp_path / "x")
    (folder / "val" / "val_annotations.txt").rename(folder / place)
    assert sum(item.split == "val" for item in layouts.read(folder).items) == 8


def test_annotations_that_number_named_classes_are_refused(tmp_path):
    folder = tiny_imagenet(tmp_path / "x")
    (folder / "val" / "val_annotations.txt").write_text("".join(f"val_{k}.JPEG {k % 4}\n" for k in range(8)))
    with pytest.raises(UserError, match="calls the classes by numbers, such as '0', and the other folders by names"):
        layouts.read(folder)


def test_tiny_imagenet_is_read_with_its_annotations(tmp_path):
    listed = layouts.read(tiny_imagenet(tmp_path / "tiny-imagenet-200"))
    assert listed.class_names == ("n01", "n02", "n03", "n04") and len(listed.items) == 16
    assert {(i.class_name, i.file) for i in listed.items if i.split == "val"} == {
        (f"n0{k % 4 + 1}", f"val/images/val_{k}.JPEG") for k in range(8)
    }
    assert "images without classes in test were passed over" in listed.summary
    with pytest.raises(UserError, match="train and val share 4 classes"):
        prepare(tmp_path / "tiny-imagenet-200", size=8, out=tmp_path / "out")
    drawn = prepare(tmp_path / "tiny-imagenet-200", size=8, split="random", out=tmp_path / "out")
    part_of_class = {name: part for part, names in drawn.split_names.items() for name in names}
    for file, label in zip(drawn.files, drawn.labels, strict=True):
        name = drawn.class_names[label]
        of_val = [f for f, c in zip(drawn.files, drawn.labels, strict=True) if c == label and f.startswith("val/")]
        assert name in part_of_class and len(of_val) == 2 and not file.startswith("test/")


# --- trees ---


@pytest.mark.parametrize(
    ("patterns", "classes"),
    [
        (("cup|ball|pen/session1|session2|session3",), ("ball", "cup", "pen")),
        (("object01|object02|object03/s1|s2",), ("object01", "object02", "object03")),
        (("obj1|obj2|obj3/0|1|2",), ("obj1", "obj2", "obj3")),
        (("s1|s2|s3/o1|o2|o3|o4",), ("o1", "o2", "o3", "o4")),
        (("day|night/cup|ball|pen",), ("ball", "cup", "pen")),
        (("cup|ball|pen/front|back/images",), ("ball", "cup", "pen")),
        (("cup|ball|pen/session1|session2/cam1|cam2",), ("ball", "cup", "pen")),
        (("owl/images|more", "hawk", "wren/more"), ("hawk", "owl", "wren")),
        (("owl", "owl/night", "hawk|wren"), ("hawk", "owl", "wren")),
        (("Greek|Latin|Runes/character01|character02|character03",), 9),
        (("fish/ray|shark", "tree/oak|elm"), ("fish/ray", "fish/shark", "tree/elm", "tree/oak")),
        (("fish/ray|shark|other", "tree/oak|elm|other"), 6),
        (("cup|ball|pen/train|test",), ("ball", "cup", "pen")),
        (("cup|ball|pen/2020-01-03|2020-01-04",), ("ball", "cup", "pen")),
        (("cup/20200103|20200104", "ball/20200201", "pen/20200301|20200302"), ("ball", "cup", "pen")),
        (("birds/owl|wren/2020-01-03|2020-01-04", "fish/cod|eel/2020-01-03"), 4),
    ],
)
def test_sessions_belong_to_their_class_and_groups_hold_classes(tmp_path, patterns, classes):
    found = layouts.read(tree(tmp_path, *patterns)).class_names
    assert (len(found) if isinstance(classes, int) else found) == classes


def test_twelve_objects_in_three_sessions_are_twelve_classes_in_one_part_each(tmp_path):
    objects = "|".join(f"thing{chr(97 + c)}" for c in range(12))
    ready = prepare(tree(tmp_path / "x", f"{objects}/session1|session2|session3"), size=8, out=tmp_path / "out")
    assert len(ready.class_names) == 12 and np.bincount(ready.labels).tolist() == [6] * 12


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (("red|green/apple|pear",), "a folder 'apple' lies in 'green' and in 'red', so it is one class or several"),
        (("1|2|3/1|2|3",), "one class or several"),
        (("apple/apple_1|apple_2", "cap/cap_1|cap_2|cap_3"), "'apple_1' in 'apple' is a class, or some of the images"),
        (("apple/110_13051|110_13060", "cap/98_1|98_2"), "is a class, or some of the images of the class 'apple'"),
        (("session1/Cat|dog", "session2/cat|dog"), "'Cat' and 'cat' differ in capital letters only"),
        (("animals/cat|dog", "bus"), "'bus' holds images and 'animals' holds folders of images"),
    ],
)
def test_a_tree_that_can_be_read_in_two_ways_is_refused_until_the_layout_is_given(tmp_path, patterns, message):
    tree(tmp_path, *patterns)
    with pytest.raises(UserError, match=message):
        layouts.read(tmp_path)
    places = {str(p.parent.relative_to(tmp_path)) for p in tmp_path.rglob("*.png")}
    assert set(layouts.read(tmp_path, "folders").class_names) == places


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("twins", "message"),
    [
        (("Cat", "cat"), "'Cat' and 'cat' differ in capital letters only"),
        (("birds/Owl", "birds/owl"), "'birds/Owl' and 'birds/owl'"),
        (("Tree/oak", "tree/elm"), "'Tree' and 'tree'"),
        ((NFC, NFD), r"'cafe\\u0301' and 'caf\\xe9' differ in the Unicode form"),
        (("\uff43at", "cat"), r"'cat' and '\\uff43at' differ in their Unicode form only"),
        (("cat\u200b", "cat"), r"'cat' and 'cat\\u200b' differ in their Unicode form only"),
        (("Stra\xdfe", "STRASSE"), "'STRASSE' and 'Stra\xdfe' differ in capital letters only"),
        (("red fox", "red_fox"), "'red fox' and 'red_fox' differ in spaces, dashes or underscores only"),
        (("red fox", "red\xa0fox"), r"'red fox' and 'red\\xa0fox' differ in spaces, dashes or underscores only"),
        (("cat ", "cat"), "'cat' and 'cat ' differ in spaces"),
        (("1", "01"), "'01' and '1' differ in zeros before a number only"),
    ],
)
def test_twin_folders_are_refused_and_both_named(tmp_path, twins, message):
    with pytest.raises(UserError, match=message):
        read_split(tree(tmp_path, *twins, "dog", "emu"))


def test_twins_in_two_parts_of_a_split_are_a_shared_class_and_never_two(tmp_path):
    tree(tmp_path, "train/Cat|dog", "test/cat")
    with pytest.raises(UserError, match=r"train and test share 1 class \(Cat\)"):
        read_split(tmp_path)
    with pytest.raises(UserError, match="'Cat' and 'cat' differ in capital letters only"):
        split_choice.choose(layouts.read(tmp_path), "random", 0)


@pytest.mark.parametrize("twin", ["cat", "CAT", "\uff43at", "cat ", "cat\u200b"])
def test_no_spelling_of_a_class_lets_it_into_two_parts_of_a_split(tmp_path, twin):
    tree(tmp_path, "train/Cat|dog", f"test/{twin}|emu")
    with pytest.raises(UserError, match=r"train and test share 1 class \(Cat\)"):
        read_split(tmp_path)


def test_background_and_evaluation_of_omniglot_are_its_split_unless_the_published_one_fits(tmp_path):
    tree(
        tmp_path, "images_background_small1/Greek|Latin/character01|character02", "images_evaluation/Oriya/character01"
    )
    assert read_split(tmp_path) == {
        "train": ("Greek/character01", "Greek/character02", "Latin/character01", "Latin/character02"),
        "test": ("Oriya/character01",),
    }
    tree(tmp_path, "images_background_small2/Greek/character01")
    with pytest.raises(UserError, match="small1 and images_background_small2 hold the same drawings; keep one"):
        layouts.read(tmp_path)


def test_twin_labels_of_a_csv_are_refused(tmp_path):
    tree(tmp_path, "images")
    (tmp_path / "list.csv").write_text("filename,label\n0.png,Cat\n1.png,cat\n")
    with pytest.raises(UserError, match="'Cat' and 'cat'"):
        layouts.read(tmp_path)


# --- split files of the owner ---


def rows(part, form):
    """The lines of a list of one part: two pictures of each class, in images/CLASS/."""
    pairs = [(name, i) for name in OWN[part] for i in range(2)]
    return "".join(form.format(name=name, i=i, part=part) for name, i in pairs)


FORMS = {
    "class_name,image_name": ("{part}.csv", "class_name,image_name\n", "{name},{i}.png\n"),
    "semicolons": ("{part}.csv", "filename;label\n", "{name}/{i}.png;{name}\n"),
    "tabs": ("{part}.tsv", "filename\tlabel\n", "{name}/{i}.png\t{name}\n"),
    "no header": ("{part}.csv", "", "{name}/{i}.png,{name}\n"),
    "no header, label first": ("{part}.csv", "", "{name},{name}/{i}.png\n"),
    "backslashes": ("{part}.csv", "filename,label\n", "images\\{name}\\{i}.png,{name}\n"),
    "another machine": ("{part}.csv", "filename,label\n", "C:\\data\\shop\\images\\{name}\\{i}.png,{name}\n"),
    "absolute": ("{part}.csv", "path,label\n", "/elsewhere/shop/images/{name}/{i}.png,{name}\n"),
    "in a folder split": ("split/{part}.csv", "filename,label\n", "{name}/{i}.png,{name}\n"),
    "in a folder splits": ("splits/{part}.txt", "", "{name}/{i}.png {name}\n"),
    "image list": ("{part}.txt", "", "{name}/{i}.png\n"),
    "image list with images/": ("{part}_list.txt", "", "images/{name}/{i}.png\n"),
    "file and label": ("{part}.txt", "", "images/{name}/{i}.png {name}\n"),
    "no suffix": ("{part}.csv", "image_id,label\n", "{name}/{i},{name}\n"),
    "capital header": ("{part}.CSV", "Image Name , Class\n", "{name}/{i}.png , {name}\n"),
    "utf-16": ("{part}.csv", "filename,label\n", "{name}/{i}.png,{name}\n"),
    "carriage returns": ("{part}.csv", "filename,label\r", "{name}/{i}.png,{name}\r"),
    "a remark": ("{part}.csv", "# our split\nfilename,label\n", "{name}/{i}.png,{name}\n"),
    "of a spreadsheet": ("{part}.csv", "sep=;\nfilename;label\n", "{name}/{i}.png;{name}\n"),
    "numbered lines": ("{part}.csv", "", "{i},{name}/{i}.png,{name}\n"),
    "called after the set": ("shop_{part}.csv", "filename,label\n", "{name}/{i}.png,{name}\n"),
    "camel case": ("shop{part}.csv", "filename,label\n", "{name}/{i}.png,{name}\n"),
    "numbered lists": ("{part}list01.txt", "", "{name}/{i}.png {name}\n"),
    "joined words": ("{part}images.txt", "", "{name}/{i}.png {name}\n"),
    "in some folder": ("by hand/2024/{part}.csv", "filename,label\n", "{name}/{i}.png,{name}\n"),
    "other words": ("meta_{part}.csv", "file,category\n", "{name}/{i}.png,{name}\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_split_files_of_the_owner_are_read_in_every_usual_form(tmp_path, form):
    tree(tmp_path, f"images/{'|'.join(KINDS)}")
    name, header, line = FORMS[form]
    for part in OWN:
        path = tmp_path / name.format(part=part.capitalize() if form == "camel case" else part)
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(header + rows(part, line), "utf-16" if form == "utf-16" else "utf-8")
    listed = layouts.read(tmp_path)
    assert read_split(tmp_path) == OWN and listed.layout == "csv" and len(listed.items) == 12
    assert all(item.path.is_file() and item.path.parent.name == item.class_name for item in listed.items)


def write_lists(folder, kind):
    if kind in ("class lists", "classes in one word"):
        for part, names in OWN.items():
            file = f"{part}.txt" if kind == "class lists" else f"{part}classes.txt"
            (folder / file).write_text("\n".join(names) + "\n")
    elif kind == "class,split":
        lines = [f"{name},{part}" for part, names in OWN.items() for name in names]
        (folder / "split.csv").write_text("\n".join(["class,split", *lines]))
    elif kind == "one table":
        text = "".join(rows(part, "{name}/{i}.png;{name};{part}\n") for part in OWN)
        (folder / "labels.csv").write_text("image;species;set\n" + text)
    elif kind == "flag":
        lines = [line for part in OWN for line in rows(part, f"{{name}}/{{i}}.png,{{name}},{int(part != 'test')}\n")]
        (folder / "labels.csv").write_text("filename,label,is_train\n" + "".join(lines))
    elif kind == "json":
        for part, names in OWN.items():
            listed = [
                (str(k), f"/old/place/images/{name}/{i}.png", k) for k, name in enumerate(names) for i in range(2)
            ]
            content = {"label_names": list(names), "image_names": [v[1] for v in listed]}
            (folder / f"{part}.json").write_text(json.dumps(content | {"image_labels": [v[2] for v in listed]}))


def test_a_column_of_yes_and_no_for_training_is_the_split(tmp_path):
    write_lists(tree(tmp_path, f"images/{'|'.join(KINDS)}"), "flag")
    assert read_split(tmp_path) == {"train": (*OWN["train"], *OWN["val"]), "test": OWN["test"]}


def test_a_list_without_a_header_and_with_two_labels_is_named(tmp_path):
    tree(tmp_path, "images/" + "|".join(KINDS))
    lines = [f"{name}/{i}.png,{'ab'[i]},x{n % 2}" for n, name in enumerate(KINDS) for i in range(2)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="any of the columns 2 and 3 may be the label; name the columns"):
        read_split(tmp_path)


def test_the_split_lists_of_two_folders_are_not_chosen_between(tmp_path):
    tree(tmp_path, f"images/{'|'.join(KINDS)}")
    for place in ("one", "two"):
        for part in OWN:
            path = tmp_path / "by" / place / f"{part}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("filename,label\n" + rows(part, "{name}/{i}.png,{name}\n"))
    with pytest.raises(UserError, match="one is one of 2 folders with lists of a split"):
        read_split(tmp_path)


def test_the_validation_list_beside_a_test_list_is_not_tested_on(tmp_path):
    tree(tmp_path, f"images/{'|'.join(KINDS)}")
    for part, name in zip(OWN, ("train", "eval", "test"), strict=True):
        (tmp_path / f"{name}.csv").write_text("filename,label\n" + rows(part, "{name}/{i}.png,{name}\n"))
    assert read_split(tmp_path) == OWN


def test_one_list_of_a_split_that_is_not_understood_is_not_left_out(tmp_path):
    tree(tmp_path, f"images/{'|'.join(KINDS)}")
    for part in OWN:
        (tmp_path / f"{part}.csv").write_text("filename,label\n" + rows(part, "{name}/{i}.png,{name}\n"))
    (tmp_path / "val.csv").write_text("fruit,price\nkaki,2\n")
    with pytest.raises(UserError, match=r"not understood \(.*val\.csv.*choose --split folders"):
        read_split(tmp_path)


@pytest.mark.parametrize("kind", ["class lists", "classes in one word", "class,split", "one table", "json"])
def test_lists_of_classes_tables_and_json_are_read_too(tmp_path, kind):
    write_lists(tree(tmp_path, f"images/{'|'.join(KINDS)}"), kind)
    assert read_split(tmp_path) == OWN and len(layouts.read(tmp_path).items) == 12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.csv", "fruit,price\nkaki,2\n"),
        ("split/train.txt", "mostly the red ones\n"),
        ("splits.json", '{"train": ["kind0"]}'),
        ("split.yaml", "train: [kind0, kind1]\n"),
        ("train.jsonl", '{"file": "kind0/0.png", "label": "kind0"}\n'),
        ("splits/splits.mat", "MATLAB"),
        ("shop_test.xlsx", "PK"),
        ("train_split.csv", "0\n1\n2\n"),
        ("test.csv", "filename,notes\n0.png,blurred\n"),
        ("list.csv", "bild,art,teil\n0.png,kind0,train\n1.png,kind1,val\n0.png,kind2,test\n"),
        ("bilder.txt", "0.png;kind0;gut;training\n1.png;kind1;gut;training\n0.png;kind2;schlecht;testing\n"),
    ],
)
def test_a_split_file_that_is_not_understood_is_named_with_the_split_that_would_be_drawn(tmp_path, name, text):
    tree(tmp_path, "|".join(KINDS))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    said = (
        rf"split files were not understood \(.*{name.rsplit('/', 1)[-1]}.*--split random, .* drawn with seed 0: 4 train"
    )
    with pytest.raises(UserError, match=said):
        prepare(tmp_path, size=8, out=tmp_path / "out")
    drawn = prepare(tmp_path, size=8, split="random", out=tmp_path.parent / f"{tmp_path.name}-out")
    assert drawn.split_names == splits.draw_split(KINDS, 0)


def test_folders_of_a_system_are_no_classes_and_those_without_images_are_named(tmp_path):
    tree(tmp_path, "|".join(KINDS), "@eaDir", "$RECYCLE.BIN", "kind0/@eaDir/0.png")
    (tmp_path / "kind9").mkdir()
    (tmp_path / "kind9" / "notes.txt").write_text("no photo yet")
    listed = layouts.read(tmp_path)
    assert listed.class_names == KINDS and len(listed.items) == 12
    assert "passed over without images: kind9:" in listed.summary


def test_a_csv_that_is_no_list_is_said_to_be_passed_over(tmp_path):
    tree(tmp_path, "|".join(KINDS))
    (tmp_path / "prices.csv").write_text("fruit,price\nkaki,2\n")
    listed = layouts.read(tmp_path)
    assert listed.layout == "folders" and "prices.csv was not understood as a list of images" in listed.summary


@pytest.mark.parametrize("place", ["", "images"])
def test_a_table_that_is_not_understood_is_named_where_its_classes_are_missed(tmp_path, place):
    for k in range(6):
        picture(tmp_path / place / f"{k}.png")
    (tmp_path / "list.csv").write_text("a;b\n" + "".join(f"{k};kind{k // 2}\n" for k in range(6)))
    with pytest.raises(UserError, match=r"list\.csv was not understood as a list of images$"):
        prepare(tmp_path, size=8, out=tmp_path.parent / f"{tmp_path.name}-out")


def test_bare_names_are_found_wherever_they_lie_if_only_one_file_is_called_so(tmp_path):
    for k, name in enumerate(("a", "b", "c")):
        picture(tmp_path / "photos" / f"deep{k}" / f"{name}.png")
        picture(tmp_path / "photos" / f"deep{k}" / "same.png")
    (tmp_path / "labels.csv").write_text("filename,label\na.png,x\nb.png,y\nc.png,z\nsame.png,x\n")
    items = layouts.read(tmp_path).items
    assert [i.path.name for i in items if not i.problem] == ["a.png", "b.png", "c.png"]
    assert [i.problem for i in items if i.problem] == ["labels.csv lists it, but several files are called so"]


def test_a_latin_1_list_keeps_its_accents(tmp_path):
    tree(tmp_path, "images")
    (tmp_path / "labels.csv").write_bytes("filename;label\n0.png;Äpfel\n1.png;thé\n".encode("latin-1"))
    assert layouts.read(tmp_path).class_names == ("thé", "Äpfel")


def test_a_dry_run_refuses_the_missing_files_that_the_real_run_refuses(tmp_path):
    tree(tmp_path, "images", images=4)
    lines = [f"{i}.png,{'abcd'[i]}" for i in range(4)] + ["gone.png,a"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label", *lines]))
    for act in (plan, lambda *a, **k: prepare(*a, out=tmp_path / "out", **k)):
        with pytest.raises(UserError, match=r"1 of 5 images cannot be read: gone\.png"):
            act(tmp_path, size=8)


# --- arrays ---


def write_idx(path, array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize(
    "form",
    [
        "{0}-images-idx3-ubyte",
        "{0}-images.idx3-ubyte",
        "{0}-images-idx3-ubyte.gz",
        "MNIST/raw/{0}-images-idx3-ubyte",
        "{0}-images-idx3-ubyte/{0}-images.idx3-ubyte",
        "folder",
    ],
)
def test_idx_files_are_read_with_dot_and_gz_and_in_a_folder_of_their_name(tmp_path, form):
    chance = np.random.default_rng(0)
    arrays = {part: (chance.integers(0, 256, (20, 9, 7)), np.arange(20) % 5) for part in ("train", "t10k")}
    for part, (images, labels) in arrays.items():
        name = ("{0}-images-idx3-ubyte/{0}-images-idx3-ubyte" if form == "folder" else form).format(part)
        write_idx(tmp_path / name, images)
        write_idx(tmp_path / name.replace("images", "labels").replace("idx3", "idx1"), labels)
    listed = layouts.read(tmp_path)
    assert listed.layout == "idx" and listed.class_names == tuple("01234") and len(listed.items) == 40
    item = next(i for i in listed.items if i.split == "test" and i.row == 7)
    assert np.array_equal(listed.open(item), arrays["t10k"][0][7]) and item.class_name == "2"


@pytest.mark.parametrize(
    "stem", ["CIFAR_FS_{0}", "CIFAR-FS/cifar-fs-{0}", "{0}set", "FC100_{0}", "miniImageNet_category_split_{0}", "{0}"]
)
@pytest.mark.parametrize("local", [True, False])
def test_the_pickles_of_metaoptnet_are_read(tmp_path, disk, stem, local):
    first = 0
    for part, n in (("train", 6), ("val", 2), ("test", 3)):
        images = np.concatenate(list(disk.pictures([f"{part}{c}" for c in range(n)]).values()))
        content = {b"data": images, b"labels": [c + (0 if local else first) for c in range(n) for _ in range(2)]}
        name = part.replace("train", "train_phase_train") if stem.startswith("mini") else part
        path = tmp_path / f"{stem.format(name)}.pickle"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(content, 2))
        first += n
    split = read_split(tmp_path)
    assert {part: len(names) for part, names in split.items()} == {"train": 6, "val": 2, "test": 3}
    assert split["val"] == (("val-000", "val-001") if local else ("006", "007"))


def test_numbers_that_may_or_may_not_be_the_same_classes_are_refused(tmp_path, disk):
    for part in ("train", "test"):
        content = {"data": np.concatenate(list(disk.pictures("abc").values())), "labels": [0, 0, 1, 1, 2, 2]}
        (tmp_path / f"SET_{part}.pickle").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="the same numbers, from 0 to 2"):
        layouts.read(tmp_path)


@pytest.mark.parametrize("file", ["train_data.hdf5", "images.npz", "set.tar.gz", "data.parquet"])
@pytest.mark.parametrize("below", ["", "miniimagenet/"])
def test_forms_that_are_not_read_are_named_with_those_that_are(tmp_path, file, below):
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / file).write_bytes(b"\x89HDF\r\n")
    with pytest.raises(UserError, match=rf"{file} cannot be read; what can be read: folders of images .* IDX"):
        layouts.read(tmp_path)


def test_whatever_is_in_a_folder_without_images_the_forms_that_are_read_are_named(tmp_path):
    (tmp_path / "train.images").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no image found .* what can be read: folders of images .* IDX"):
        layouts.read(tmp_path)


# --- names and places ---


def test_a_dry_run_refuses_what_the_real_run_refuses(tmp_path, shop, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    prepare(shop, name="mine", size=8, seed=0)
    other = next(
        s for s in range(1, 9) if splits.draw_split(plan_names(shop), s) != splits.draw_split(plan_names(shop), 0)
    )
    (shop / "kaki" / "broken.jpg").write_bytes(b"x")
    for act in (plan, prepare):
        for options, message in (
            ({"name": "Synthetic"}, "name of an embedded set"),
            ({"name": "mine", "seed": other}, "exists with another split"),
            ({"name": "../"}, "cannot be the name of a set"),
            ({"on_duplicates": "ignore"}, "--on-duplicates must be one of"),
            ({}, "1 of 21 images cannot be read"),
        ):
            with pytest.raises(UserError, match=message):
                act(shop, size=8, **options)


def plan_names(folder):
    return layouts.read(folder).class_names


def test_the_name_of_the_embedded_set_is_reserved(tmp_path, shop, monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match="'synthetic' is the name of an embedded set"):
        prepare(shop, name="Synthetic", size=8)
    assert not (tmp_path / "home" / "packed").exists()


def test_a_set_with_another_split_is_not_replaced_unless_asked(tmp_path, shop):
    first = prepare(shop, size=8, seed=0, out=tmp_path / "out")
    other = next(s for s in range(1, 9) if splits.draw_split(first.class_names, s) != first.split_names)
    with pytest.raises(UserError, match=r"exists with another split .* choose another --name, or --replace"):
        prepare(shop, size=8, seed=other, out=tmp_path / "out")
    again = prepare(shop, size=8, seed=0, out=tmp_path / "out")
    assert again.split_hash == first.split_hash
    replaced = prepare(shop, size=8, seed=other, out=tmp_path / "out", replace_split=True)
    assert replaced.split_names == splits.draw_split(first.class_names, other)


@pytest.mark.parametrize("kind", ["pipe", "zero", "huge"])
def test_what_is_no_regular_file_is_one_sentence_and_never_read(tmp_path, shop, kind):
    path = shop / "kaki" / "x.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    else:
        with open(path, "wb") as file:
            file.truncate(1 << 36)
    with pytest.raises(UserError, match=r"1 of 21 images cannot be read: kaki/x\.jpg \((it is no regular|it has 64)"):
        prepare(shop, size=8, out=tmp_path / "out")


def test_names_that_forge_lines_or_command_the_terminal_are_escaped(tmp_path, shop):
    (shop / "kaki" / "a\n\x1b[2Jb.jpg").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        prepare(shop, size=8, out=tmp_path / "out")
    assert r"a\n\x1b[2Jb.jpg" in str(caught.value) and str(caught.value).isprintable()
