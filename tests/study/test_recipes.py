"""Recipes: what is out of range cannot be built, and each range is the same for a recipe and for a chapter."""

import pytest

from blurnb.errors import UserError
from blurnb.study import chapters
from blurnb.study.recipes import Recipe, SegmentationRecipe


def validate(chapter, given):
    return chapters.found(chapter).Parameters.validate(given)


OUT_OF_RANGE = [
    {"mix": []}, {"mix": {}}, {"mix": "blurry"}, {"mix": {"D8": -1}}, {"mix": {"D8": 0}},
    {"epochs": -1}, {"epochs": 1.5}, {"epochs": True}, {"batch": 0}, {"batch": "64"}, {"learning_rate": -0.1},
    {"learning_rate": float("nan")}, {"learning_rate": 1e6}, {"momentum": 1.5}, {"weight_decay": -1}, {"warmup": 2},
    {"clip": float("inf")}, {"clip": -1}, {"frozen_blocks": -1}, {"frozen_blocks": 1001},
    {"label_smoothing": 1.5}, {"scale": -1}, {"max_shift": -1}, {"max_shift": 65}, {"frame": 0}, {"schedule": "linear"},
    {"precision": "fp16"}, {"optimizer": "adam"}, {"augmentation": "round"}, {"border": "mirror"},
    {"seed": -1}, {"seed": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("field", OUT_OF_RANGE, ids=str)
def test_a_field_out_of_range_is_one_line_that_names_it(field):
    for build in (
        lambda: Recipe(**field),
        lambda: Recipe().model_copy(update=field),
        lambda: SegmentationRecipe(**field),
    ):
        with pytest.raises(UserError) as caught:
            build()
        assert next(iter(field)) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_recipe_is_what_was_said_and_stays_so():
    recipe = Recipe(mix={"D8": 1, "sharp": 2}, epochs=4)
    assert recipe.model_copy(update={"seed": 3}) == Recipe(mix={"D8": 1, "sharp": 2}, epochs=4, seed=3)
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 5
    assert isinstance(SegmentationRecipe().model_copy(update={"start": "further"}), SegmentationRecipe)


def test_a_crop_much_wider_than_high_is_one_line():
    with pytest.raises(UserError, match="crop_width=200 is twice scale=64 or more"):
        SegmentationRecipe(scale=64, crop_width=200)
    with pytest.raises(UserError, match="crop_width=128 is twice scale=64 or more"):  # nothing reflects that far
        SegmentationRecipe(scale=64, crop_width=128)
    with pytest.raises(UserError, match="crop_width=200 is twice scale=64 or more"):
        SegmentationRecipe(crop_width=200).model_copy(update={"scale": 64})


def test_an_unknown_field_is_one_line():
    with pytest.raises(UserError, match="field of a recipe 'epoch' is unknown; did you mean epochs"):
        Recipe(epoch=3)


@pytest.mark.parametrize("given", [
    {"epochs": 10_001}, {"epochs": 0}, {"base_epochs": -1}, {"learning_rate": 0}, {"learning_rate": "nan"},
    {"learning_rate": 101}, {"train_batch": 0}, {"weight_decay": 11}, {"warmup": 1.5}, {"max_shift": 65},
    {"base_frozen": 1001}, {"optimizer": "adam"}, {"augmentation": "mirror"}, {"frame": 15}, {"seed": 2**31 + 1},
])  # fmt: skip
def test_a_chapter_refuses_what_a_recipe_refuses(given):
    (name,) = given
    for chapter in ("rq2",) if name in ("max_shift", "base_frozen") else ("rq2", "rq5"):  # rq5 makes nothing of these
        with pytest.raises(UserError, match=f"parameter {name}="):
            validate(chapter, given)


def test_norms_are_frozen_where_a_teacher_answers_and_nothing_else_is_said():
    assert Recipe().batch_norm == "updated"
    assert Recipe(targets="teacher").batch_norm == "frozen"
    assert Recipe().model_copy(update={"targets": "teacher"}).batch_norm == "frozen"
    assert Recipe(targets="teacher", batch_norm="updated").batch_norm == "updated"
    with pytest.raises(UserError, match="teacher='resnet50' teaches nothing where targets='labels'"):
        Recipe(teacher="resnet50")
    with pytest.raises(UserError, match="targets='teacher' is for classifiers"):
        SegmentationRecipe(targets="teacher")
